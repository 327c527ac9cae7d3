-- What became of a campaign's messages, counted: per hour and measure, how many recipients reached it then for the first time.
--
-- Whoever applies events notes the numbers of the recipients that they are about, a row for each campaign, variant, kind and
-- hour of a portion: looking up what is known of each recipient would cost 2.4 us an event, a tenth and a half of applying it;
-- a note costs 0.2. A duty of one process folds notes into marks, a bit for each recipient and measure, so that nobody is
-- counted twice whatever order events come in, and what it marks for the first time into the hours.

create table event_notes (
    id bigint generated always as identity primary key,
    campaign_id uuid not null,
    -- Which of the campaign's pinned variants the recipients got.
    variant smallint not null,
    -- What the events say, a bit each: `domain::measure`.
    measures smallint not null,
    hour timestamptz not null,
    -- Recipient numbers, four bytes each, the most significant first.
    numbers bytea not null
);

create table campaign_marks (
    campaign_id uuid not null,
    measure text not null,
    -- Recipients from block * 8192 on.
    block integer not null,
    bits bytea not null check (length(bits) = 1024),
    primary key (campaign_id, measure, block)
) with (fillfactor = 50);

create table campaign_hours (
    campaign_id uuid not null,
    hour timestamptz not null,
    measure text not null,
    variant smallint not null,
    recipients integer not null,
    primary key (campaign_id, hour, measure, variant)
) with (fillfactor = 70);

-- When a campaign's notes were last folded, and its numbers last compared with the rows that they sum up.
create table rollup_checks (
    campaign_id uuid primary key,
    folded_at timestamptz not null,
    -- '-infinity': never.
    checked_at timestamptz not null default '-infinity'
);
create index rollup_checks_due on rollup_checks (folded_at) where folded_at > checked_at;

-- A payment, a renewal or a named event within the campaign's window after the message; once a recipient.
create table conversions (
    campaign_id uuid not null references campaigns on delete cascade,
    n integer not null,
    kind text not null,
    at timestamptz not null,
    recorded_at timestamptz not null default now(),
    primary key (campaign_id, n)
);

select protect(wall, format('exists (select from campaigns p where p.id = %I.campaign_id and p.tenant_id = this_tenant())', wall))
from unnest(array['event_notes', 'campaign_marks', 'campaign_hours', 'rollup_checks', 'conversions']::regclass[]) wall;
