-- The rows of messages. Recipients are immutable once frozen, results and events are only appended, and chunks are the
-- only rows that change, on columns that no index covers. All are partitioned by the month of the campaign's UUIDv7.

create table recipients (
    campaign_id uuid not null,
    n integer not null,
    -- Which of the campaign's pinned variants, counted from 0.
    variant smallint not null,
    -- Why this recipient is not sent to at all; null for those who are.
    excluded text,
    contact_id uuid,
    address text collate "C" not null,
    -- The pinned values: a JSON array of objects, in which a later one's member holds before an earlier one's. As text, since
    -- nobody looks into it here, and checking each once more would cost a sixth of writing it.
    variables text not null,
    -- The hash of the business key that this message bears, if it bears one.
    business_key uuid,
    primary key (campaign_id, n)
) partition by range (campaign_id);
create index recipients_excluded on recipients (campaign_id, n) where excluded is not null;

create table chunks (
    campaign_id uuid not null,
    -- A launched range bears the number of its first recipient; retries and replays come after all of them.
    no bigint not null,
    tenant_id uuid not null,
    account_id uuid not null,
    attempt smallint not null,
    -- How many of the attempts count against the retry schedule.
    burned smallint not null,
    -- Who: the recipients from first to last that are not excluded, or a list.
    first_n integer,
    last_n integer,
    members integer[],
    size integer not null check (size > 0),
    not_before timestamptz,
    -- Set where the campaign keeps to local hours.
    time_zone text,
    -- When its messages were first due; a retry keeps the time of the first attempt.
    born_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    -- Who works on it, and how far the intents have come. Everything below changes; none of it is indexed.
    epoch integer not null default 0,
    owner uuid,
    owned_until timestamptz,
    -- Members before this position (in sending order) have had an intent.
    watermark integer not null default 0,
    -- Intents that may be on the wire: [{"from", "to", "at", "key", "skip"}], positions as the watermark.
    intents jsonb,
    accepted integer not null default 0,
    failed integer not null default 0,
    suppressed integer not null default 0,
    unknown integer not null default 0,
    -- Gone on to a later chunk, to be tried again.
    moved integer not null default 0,
    done_at timestamptz,
    primary key (campaign_id, no),
    check ((first_n is null) = (last_n is null) and (first_n is null) <> (members is null))
) partition by range (campaign_id);
-- Numbers of chunks that are not launched ranges, beyond any recipient number.
create sequence chunk_no as bigint start 4294967296;
-- Numbers of direct messages: unique within a day's gatherer, whichever process accepts.
create sequence direct_n as integer cycle;

-- Facts about attempts. Several may be known of one attempt: a retry means that a later attempt speaks for the message,
-- else the most certain holds (accepted, failed, suppressed, abandoned, unknown).
create table results (
    campaign_id uuid not null,
    n integer not null,
    attempt smallint not null,
    -- 0 accepted, 1 retry, 2 failed, 3 suppressed, 4 unknown, 5 abandoned.
    kind smallint not null check (kind between 0 and 5),
    account_no smallint,
    at timestamptz not null default now(),
    reason text,
    detail text,
    provider_id text,
    primary key (campaign_id, n, attempt, kind)
) partition by range (campaign_id);
-- The exceptions only: "who was not sent, and why" reads these and nothing else.
create index results_not_sent on results (campaign_id, n) where kind >= 2;
create index results_unknown on results (at) where kind = 4;

-- What providers and recipients told about messages. The key makes a repeated webhook a no-op.
create table events (
    campaign_id uuid not null,
    n integer not null,
    kind text not null,
    dedup uuid not null,
    at timestamptz not null,
    received_at timestamptz not null default now(),
    detail text,
    primary key (campaign_id, n, kind, dedup)
) partition by range (campaign_id);

create function uuid_floor(moment timestamptz) returns uuid immutable strict language sql as $$
    select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partitions of the months from `first` to `last`; those that exist stay. Returns how many are new.
create function ensure_partitions(first date, last date) returns integer language plpgsql as $$
declare
    parent text;
    month date := date_trunc('month', first);
    made integer := 0;
    part text;
begin
    while month <= last loop
        foreach parent in array array['recipients', 'chunks', 'results', 'events'] loop
            part := parent || to_char(month, '_YYYY_MM');
            if to_regclass(part) is null then
                execute format('create table %I partition of %I for values from (%L) to (%L) %s',
                    part, parent,
                    uuid_floor(month::timestamp at time zone 'UTC'),
                    uuid_floor((month + interval '1 month')::timestamp at time zone 'UTC'),
                    case parent when 'chunks' then 'with (fillfactor = 50)' else '' end);
                made := made + 1;
            end if;
        end loop;
        month := month + interval '1 month';
    end loop;
    return made;
end $$;

create table recipients_other partition of recipients default;
create table chunks_other partition of chunks default;
create table results_other partition of results default;
create table events_other partition of events default;
select ensure_partitions((now() at time zone 'UTC')::date, ((now() at time zone 'UTC') + interval '2 months')::date);

-- At most one message ever bears a key, and the key outlives its message.
create table business_keys (
    tenant_id uuid not null,
    key_hash uuid not null,
    campaign_id uuid not null,
    n integer not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, key_hash)
) partition by hash (tenant_id, key_hash);
do $$ begin
    for i in 0..7 loop
        execute format('create table business_keys_%s partition of business_keys for values with (modulus 8, remainder %s)', i, i);
    end loop;
end $$;

-- Webhooks as they came, kept until they are applied; whoever applies them deletes them in the same transaction. Those of
-- an account that were committed together share a row: a row each costs Postgres more than the webhook itself.
create table inbox (
    id bigint generated always as identity primary key,
    -- No foreign key: whoever stores knows the account, and to look it up again costs as much as to store.
    account_id uuid not null,
    received_at timestamptz not null default now(),
    -- How many there are, and their size: what a portion is measured by without reading them.
    webhooks integer not null check (webhooks > 0),
    bytes integer not null,
    bodies bytea[] not null check (cardinality(bodies) = webhooks)
);
-- Webhooks that nobody could make sense of, for a person to look at.
create table inbox_rejected (
    id bigint generated always as identity primary key,
    account_id uuid not null,
    received_at timestamptz not null,
    rejected_at timestamptz not null default now(),
    reason text not null,
    body bytea not null
);

-- Retention: drops the partitions of months that ended more than `months` months ago. Returns their names.
create function drop_partitions(months integer) returns setof text language plpgsql as $$
declare
    part text;
    oldest date := date_trunc('month', now() at time zone 'UTC') - make_interval(months => months);
begin
    for part in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
        where p.relname in ('recipients', 'chunks', 'results', 'events') and c.relname ~ '_\d{4}_\d{2}$'
          and to_date(right(c.relname, 7), 'YYYY_MM') < oldest
    loop
        execute format('drop table %I', part);
        return next part;
    end loop;
end $$;
