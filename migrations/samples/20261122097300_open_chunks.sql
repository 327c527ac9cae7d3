-- Only an index: it must be there.
select indexname from pg_indexes where indexname = 'chunks_open';
