-- Of an audience of which a part was counted: how many it reaches at most. Four eyes judge by it, because whoever writes a
-- file chooses which part that is. Null: all were counted, or the campaign was written by a version that did not note it.
alter table campaigns add column target_most bigint;
