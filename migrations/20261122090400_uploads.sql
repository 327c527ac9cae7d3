-- Files that come over the API: their bytes, how far each of them is, and those that come in pieces.

-- A file's bytes, wherever they lie. Condemned in the transaction that no longer needs them, and removed afterwards: a store
-- that is no part of this database can't roll back.
create table blobs (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    created_at timestamptz not null default now(),
    condemned_at timestamptz
);
create index blobs_condemned on blobs (condemned_at) where condemned_at is not null;

-- The bytes themselves, where they lie in this database: parts of one size, the last one shorter. No foreign key: a part
-- that comes while its blob is removed is removed by the next look.
create table blob_parts (
    blob_id uuid not null,
    tenant_id uuid not null,
    n integer not null check (n >= 0),
    bytes bytea not null,
    primary key (blob_id, n)
);
-- Workbooks are packed already, and a part is read whole.
alter table blob_parts alter column bytes set storage external;

-- An upload begins before its file was taken. One by the command has none of this and is completed when it is seen.
alter table uploads
    alter column sha256 set default '',
    alter column bytes set default 0,
    alter column format set default '',
    alter column mapping set default '[]',
    alter column rows_read set default 0,
    alter column rows_taken set default 0,
    alter column rows_refused set default 0,
    alter column contacts_created set default 0,
    alter column contacts_updated set default 0,
    add column state text not null default 'completed',
    add column description text not null default '',
    -- How the file is to be read, as the request said.
    add column options jsonb not null default '{}',
    -- `user:usr_…` or `key:key_…`; null: the command.
    add column uploaded_by text,
    -- The file itself, while there is one to download or to read.
    add column blob_id uuid references blobs,
    -- Counted or estimated before the file was taken.
    add column rows_expected bigint,
    add column expected_exactly boolean not null default true,
    -- What a person can do about a file that was not taken.
    add column failure text,
    -- Who reads the file, and until when without a word. Whoever takes over raises the number: what an earlier one still
    -- wants to commit bears an old number and is refused.
    add column claim integer not null default 0,
    add column claimed_by uuid,
    add column claimed_until timestamptz,
    -- When something was last heard of a file that is being received.
    add column heard_at timestamptz not null default now(),
    add column started_at timestamptz,
    add column finished_at timestamptz,
    add constraint uploads_state check (state in ('receiving', 'processing', 'completed', 'failed')),
    add constraint uploads_failure check ((state = 'failed') = (failure is not null)),
    add constraint uploads_file check (state <> 'processing' or blob_id is not null);
-- The history, newest first: ids follow time.
create index uploads_by_tenant on uploads (tenant_id, id);
create index uploads_open on uploads (state, id) where state in ('receiving', 'processing');

-- A large file that comes in pieces, one after the other. Forgotten after a day without a word.
create table upload_sessions (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    file_name text not null,
    bytes bigint not null check (bytes > 0),
    -- As the client says; checked when all of it is there.
    sha256 bytea check (octet_length(sha256) = 32),
    blob_id uuid not null references blobs,
    received bigint not null default 0,
    description text not null,
    options jsonb not null,
    created_by text not null,
    created_at timestamptz not null default now(),
    heard_at timestamptz not null default now(),
    -- What it became; to complete it again answers the same.
    upload_id uuid,
    check (received between 0 and bytes)
);
create index upload_sessions_by_word on upload_sessions (heard_at);

select protect(wall, 'tenant_id = this_tenant()')
from unnest(array['blobs', 'blob_parts', 'upload_sessions']::regclass[]) wall;
-- Rows of an upload that were not taken belong to its tenant.
select protect('upload_problems', 'exists (select from uploads p where p.id = upload_id and p.tenant_id = this_tenant())');
