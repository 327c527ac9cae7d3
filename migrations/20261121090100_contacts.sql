-- A person who can be addressed. Known by the e-mail address; without one, by the phone number.
create table contacts (
    id uuid primary key,
    -- A tenant's, without a foreign key: checking it row by row is a third of the cost of taking a file of a million.
    -- Whoever writes contacts has read the tenant before.
    tenant_id uuid not null,
    name text,
    -- Addresses compare by their bytes, here and in every table: nobody reads them in a language's order.
    email text collate "C",
    phone text collate "C" check (phone ~ '^\+[1-9][0-9]{5,14}$'),
    locale text,
    time_zone text not null,
    -- Everything else a file or an API call said about the person: a flat object.
    attributes jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    erased_at timestamptz
);
create unique index contacts_by_email on contacts (tenant_id, email) where email is not null;
create unique index contacts_by_phone_alone on contacts (tenant_id, phone) where email is null and phone is not null;
-- The launch walks the contacts in this order.
create index contacts_walk on contacts (tenant_id, time_zone, id);

-- The latest word of a contact about marketing on a channel.
create table consents (
    contact_id uuid not null references contacts,
    channel text not null check (channel in ('email', 'sms', 'whatsapp')),
    granted boolean not null,
    source text not null,
    recorded_at timestamptz not null default now(),
    primary key (contact_id, channel)
);

-- An address that must not be written to, and for which messages: all, or marketing.
create table suppressions (
    tenant_id uuid not null references tenants,
    channel text not null check (channel in ('email', 'sms', 'whatsapp')),
    address text collate "C" not null,
    scope text not null check (scope in ('all', 'marketing')),
    reason text not null,
    source text not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, channel, address, scope)
);

-- A file that was taken in whole, in one transaction; one that failed leaves nothing.
create table uploads (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    file_name text not null,
    sha256 bytea not null,
    bytes bigint not null,
    format text not null,
    -- Which column became what: shown, so that nothing is guessed silently.
    mapping jsonb not null,
    rows_read bigint not null,
    rows_taken bigint not null,
    rows_refused bigint not null,
    contacts_created bigint not null,
    contacts_updated bigint not null,
    created_at timestamptz not null default now()
);
create index uploads_by_hash on uploads (tenant_id, sha256);

-- A taken row: what the file said about a contact. One contact may have several (one per policy).
create table upload_rows (
    -- Written in the upload's own transaction and deleted with it; no foreign key, for the same reason.
    upload_id uuid not null,
    -- The launch walks the rows in the order of this key.
    time_zone text not null,
    contact_id uuid not null,
    row_no bigint not null,
    attributes jsonb not null,
    primary key (upload_id, time_zone, contact_id, row_no)
);

-- What was wrong with a row. A refused row was not taken; in a row that was taken only the field was left out.
create table upload_problems (
    upload_id uuid not null references uploads on delete cascade,
    row_no bigint not null,
    field text not null,
    value text not null,
    reason text not null,
    refused boolean not null,
    primary key (upload_id, row_no, field)
);
