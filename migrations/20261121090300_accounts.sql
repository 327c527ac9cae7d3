-- Credentials plus quota at a provider. The secrets themselves stay in the configuration of the processes.
create table accounts (
    id uuid primary key,
    -- Small, for the rows of results.
    no smallint generated always as identity unique,
    tenant_id uuid not null references tenants,
    slug text not null,
    provider text not null check (provider in ('brevo_email', 'brevo_sms', 'whatsapp_cloud')),
    -- The route of a channel: its accounts in this order.
    priority smallint not null default 0,
    -- A list of {"window": "second" | "minute" | "hour" | "day", "requests": n}.
    limits jsonb not null,
    -- The provider refuses the account (key, credit, permission): nobody sends over it until then.
    blocked_until timestamptz,
    blocked_reason text,
    created_at timestamptz not null default now(),
    unique (tenant_id, slug)
);

-- Where permits come from, and the shared pace of an account. Changed a few times a second at most.
create table account_pace (
    account_id uuid primary key references accounts on delete cascade,
    mode text not null default 'redis' check (mode in ('redis', 'postgres')),
    mode_since timestamptz not null default now(),
    -- The latest report of a process that can't reach Redis.
    cut_reported_at timestamptz,
    -- Requests a second that the provider was last seen to bear; null: as configured.
    adaptive_rate double precision,
    rate_generation bigint not null default 0,
    rate_changed_at timestamptz not null default now(),
    -- The next free slot while permits come from here.
    next_slot timestamptz not null default now()
) with (fillfactor = 50);
