-- One send to an audience over one channel. `kind = 'direct'` gathers a day's transactional messages of one template.
create table campaigns (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    kind text not null check (kind in ('campaign', 'direct')),
    name text not null,
    channel text not null check (channel in ('email', 'sms', 'whatsapp')),
    class text not null check (class in ('transactional', 'obligation', 'marketing')),
    template_id uuid not null references templates,
    -- {"upload": id} or {"contacts": "all"}.
    audience jsonb,
    -- Handlebars over the recipient's values: what makes the message unique to the business.
    business_key text,
    -- Nothing leaves outside these local hours of the contact; null: at any hour.
    window_from time,
    window_to time,
    state text not null check (state in
        ('draft', 'in_review', 'scheduled', 'launching', 'sending', 'paused', 'finished', 'cancelled')),
    -- What a paused campaign goes back to.
    paused_from text check (paused_from in ('scheduled', 'launching', 'sending')),
    scheduled_at timestamptz,
    launched_at timestamptz,
    finished_at timestamptz,
    created_at timestamptz not null default now(),
    -- Pinned at launch: the published version per locale (the tenant's locale first), the variables they use, and the route.
    variants uuid[],
    locales text[],
    variables text[],
    route uuid[],
    -- The duplicate addresses of the audience are known.
    prepared boolean not null default false,
    -- How far the audience is frozen: the last row's (time zone, contact, row number), and the last number given.
    cursor_zone text,
    cursor_contact uuid,
    cursor_row bigint,
    frozen integer not null default 0,
    -- Every chunk up to this number is done: whoever looks for work starts after it.
    done_through bigint not null default 0,
    check ((state = 'paused') = (paused_from is not null)),
    check (state not in ('launching', 'sending', 'finished') or launched_at is not null)
);
create index campaigns_by_tenant on campaigns (tenant_id, created_at desc);
create index campaigns_open on campaigns (state)
    where state in ('scheduled', 'launching', 'sending', 'paused', 'cancelled');
-- One gatherer of direct messages per template, version set, class and day.
create unique index campaigns_direct on campaigns (template_id, name) where kind = 'direct';

-- Addresses that occur more than once in an audience, and who keeps each: found in one pass before the freeze.
create table duplicate_addresses (
    campaign_id uuid not null references campaigns on delete cascade,
    address text collate "C" not null,
    kept_contact uuid not null,
    kept_row bigint not null,
    primary key (campaign_id, address)
);
