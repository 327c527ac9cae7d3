-- What the file said that came with a request: another one under the same key is another request.
alter table idempotency_keys add column contents bytea;
