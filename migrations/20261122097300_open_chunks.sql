-- Chunks that are not done. They were found by walking on from the mark below which all are, which was little to walk while a
-- chunk was hundreds of messages; a single send is one, and the mark stays a minute behind. A chunk enters here once and leaves once:
-- the updates between, which do not touch `done_at`, stay as cheap as they were. Where `chunks` is large, make the index of each
-- partition concurrently before: it is taken over then.
--
-- By `no + 0`, as the statements that look for open chunks say, too: to whoever plans them without knowing how many chunks are done
-- the primary key looks as good, and is read whole.
create index if not exists chunks_open on chunks (campaign_id, (no + 0)) where done_at is null;
