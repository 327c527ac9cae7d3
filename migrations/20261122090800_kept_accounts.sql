-- Accounts that are made by the API. Their settings stand here, and their secrets, sealed with a key that only the processes
-- have; those of the configuration keep theirs there.
alter table accounts
    -- Stated in the configuration of the processes, and changed there only.
    add column configured boolean not null default true,
    -- What the provider needs to know beside secrets, as the configuration would name it.
    add column settings jsonb,
    add column secrets bytea,
    -- The end of the key, so that a person can tell which one it is.
    add column secret_hint text,
    add column secret_changed_at timestamptz,
    add column people_per_day bigint check (people_per_day > 0),
    -- Processes notice by it that they have to look again.
    add column updated_at timestamptz not null default now(),
    -- The results that it leaves name it, so its row stays.
    add column deleted_at timestamptz,
    add constraint accounts_keep_their_settings
        check (configured = (settings is null) and configured = (secrets is null)) not valid;
