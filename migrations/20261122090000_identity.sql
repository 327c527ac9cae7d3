-- Who may use the API: people and programs, what they may do, and how they prove who they are. Whatever proves it is kept as
-- a hash only.

-- Whether strangers may make themselves a user, and with which role; null: people come by invitation only.
alter table tenants add column self_registration text;

-- A set of permissions under a name. A tenant is made with the usual ones and may change them.
create table roles (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    slug text not null check (slug ~ '^[a-z][a-z0-9_]{0,62}$'),
    name text not null,
    description text not null default '',
    permissions text[] not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, slug)
);

create table users (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    -- Signs in with it, so it belongs to one user of one tenant.
    email text not null unique check (email = lower(email)),
    first_name text not null,
    last_name text not null default '',
    phone text check (phone ~ '^\+[1-9][0-9]{5,14}$'),
    role_id uuid not null references roles,
    -- Invited: has no password yet. Blocked: may not sign in, until somebody says otherwise.
    status text not null check (status in ('invited', 'active', 'blocked')),
    password_hash text check ((status = 'invited') = (password_hash is null)),
    -- Sees and changes only rows of this branch, or only those assigned to this user; null: all of the tenant.
    scope text check (scope in ('branch', 'assigned')),
    branch text check (scope is distinct from 'branch' or branch is not null),
    -- The person that an agent or a customer is: their own notifications are this contact's.
    contact_id uuid,
    -- Sealed; null: no second factor. The last step that was used, so that a code is good for once.
    totp_secret bytea,
    totp_step bigint,
    -- Sealed: a second factor that has been begun, until a code proves that the device has it.
    totp_pending bytea,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    signed_in_at timestamptz
);
create index users_by_tenant on users (tenant_id, created_at, id);

-- Wrong passwords and codes of late, by what was tried and not by who exists: an unknown address is locked like a known one.
create table sign_in_failures (
    subject_hash bytea primary key,
    failures integer not null,
    last_at timestamptz not null,
    locked_until timestamptz
);

create table recovery_codes (
    user_id uuid not null references users on delete cascade,
    code_hash bytea not null,
    primary key (user_id, code_hash)
);

-- One sign-in on one device; ends when it is revoked, or when its last refresh token expires.
create table sessions (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    user_id uuid not null references users on delete cascade,
    environment text not null check (environment in ('production', 'sandbox')),
    user_agent text not null,
    peer inet,
    created_at timestamptz not null default now(),
    refreshed_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    revoked_because text
);
create index sessions_by_user on sessions (user_id) where revoked_at is null;

-- A token that was used already and comes again was stolen, or its thief was quicker: the whole session ends.
create table refresh_tokens (
    token_hash bytea primary key,
    session_id uuid not null references sessions on delete cascade,
    expires_at timestamptz not null,
    used_at timestamptz
);
create index refresh_tokens_by_session on refresh_tokens (session_id);

-- Links that are good once: an invitation, a new password.
create table one_time_links (
    token_hash bytea primary key,
    tenant_id uuid not null references tenants,
    purpose text not null check (purpose in ('invitation', 'password_reset')),
    user_id uuid not null references users on delete cascade,
    expires_at timestamptz not null
);

-- A program's key. `prefix` is shown, so that a person can tell keys apart.
create table api_keys (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    name text not null,
    prefix text not null,
    key_hash bytea not null unique,
    scopes text[] not null,
    environment text not null check (environment in ('production', 'sandbox')),
    created_by uuid references users on delete set null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    used_at timestamptz,
    revoked_at timestamptz
);
create index api_keys_by_tenant on api_keys (tenant_id, created_at desc);

-- What was done, by whom, to what. Each row bears the hash of the one before it: none can be changed or taken out unnoticed.
create table audit_log (
    tenant_id uuid not null,
    seq bigint not null,
    at timestamptz not null,
    -- `user:usr_…`, `key:key_…`, `command`, `system`.
    actor text not null,
    -- A verb of the thing: `campaign.launch`, `contact.read`.
    action text not null,
    subject text not null,
    -- What changed, without secrets; addresses masked. As it was hashed, byte by byte.
    detail json not null,
    request_id text,
    hash bytea not null,
    primary key (tenant_id, seq)
);
-- The last row of each tenant; locked by whoever appends.
create table audit_heads (
    tenant_id uuid primary key references tenants,
    seq bigint not null,
    hash bytea not null
);
create function refuse_audit_change() returns trigger language plpgsql as $$
begin
    raise exception 'the audit log is append-only';
end $$;
create trigger audit_log_is_append_only before update or delete or truncate on audit_log
    for each statement execute function refuse_audit_change();

-- Answers to requests that bore an Idempotency-Key, kept for a day. A row without an answer is a request under way.
create table idempotency_keys (
    tenant_id uuid not null,
    key text not null,
    -- Of method, path and body: the same key with another request is an error.
    request_hash bytea not null,
    started_at timestamptz not null default now(),
    status smallint,
    content_type text,
    body bytea,
    primary key (tenant_id, key)
);
create index idempotency_keys_by_age on idempotency_keys (started_at);
