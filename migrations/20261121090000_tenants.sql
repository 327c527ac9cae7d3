-- An organisation. Every other row belongs to one.
create table tenants (
    id uuid primary key,
    slug text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name text not null,
    -- Numbers without a country code belong to this ISO 3166 country.
    region text not null check (region ~ '^[A-Z]{2}$'),
    locale text not null,
    time_zone text not null,
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    -- Whether marketing needs a yes, or only the absence of a no.
    consent_rule text not null default 'opt_out' check (consent_rule in ('opt_in', 'opt_out')),
    -- Names the advisory lock whose shared side every intent takes and whose exclusive side is a stop's grace period.
    lock_key bigint generated always as identity unique,
    created_at timestamptz not null default now()
);

-- A duty that one process does at a time, by the database's clock. The holder's writes check the fence.
create table duties (
    name text primary key,
    holder uuid not null,
    fence bigint not null,
    until timestamptz not null
);
