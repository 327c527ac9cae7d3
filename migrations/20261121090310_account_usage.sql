-- What an account's long windows (minute, hour, day) hold, so that they survive the loss of Redis:
-- {"windows": {"<bucket width in microseconds>": [[bucket, requests], …]}, "people": n}. Null: never used.
alter table account_pace
    add column used jsonb,
    -- When `used` was true.
    add column used_at timestamptz,
    -- A new account's permits never came from elsewhere: it need not wait until another source is quiet.
    alter column mode_since set default 'epoch';
