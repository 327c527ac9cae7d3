-- What the API keeps of a campaign beside what a launch needs: when it is wished for, who wrote it, who approved it.

alter table campaigns
    -- The moment of the last change, which is a campaign's ETag.
    add column updated_at timestamptz not null default now(),
    add column schedule_type text not null default 'immediate' check (schedule_type in ('immediate', 'scheduled', 'local')),
    -- When a draft is to leave once somebody lets it; `scheduled_at` is set when somebody has.
    add column wished_at timestamptz,
    -- The local time at which each recipient is written to. Chunks keep to it, see `freeze_slice`.
    add column local_at timestamp check ((schedule_type = 'local') = (local_at is not null)),
    -- Recipients that the audience reaches over the channel, as counted when it was last written; `target_exact`: all were.
    add column target_count bigint not null default 0,
    add column target_exact boolean not null default true,
    -- Whoever made, edited or submitted it, as the audit log names them: they can't approve it above the tenant's limit.
    add column authors text[] not null default '{}',
    add column approved_by text,
    add column approved_at timestamptz,
    -- A payment, a renewal or a named event counts as a conversion for so long after the message.
    add column conversion_hours integer not null default 168 check (conversion_hours between 1 and 2160),
    -- Null: any kind.
    add column conversion_kinds text[],
    -- Where whoever made it works: outside production it reaches allowed addresses only.
    add column environment text not null default 'production' check (environment in ('production', 'sandbox'));

-- Above so many recipients somebody other than the authors has to approve; null: never.
alter table tenants add column review_above integer check (review_above >= 0);

-- Whoever moves a campaign on, a worker or a person, changes what was read of it.
create function touch_campaign() returns trigger language plpgsql as $$
begin
    new.updated_at := clock_timestamp();
    return new;
end $$;
create trigger campaigns_touched before update of state on campaigns
    for each row when (old.state is distinct from new.state) execute function touch_campaign();

-- The list of a tenant's campaigns, newest first, down to something unique. Of all kinds: the policies of recipients, results
-- and events ask it which campaigns are the tenant's, and would read the whole table without it.
create index campaigns_listed on campaigns (tenant_id, created_at desc, id desc);
drop index campaigns_by_tenant;

-- What was said of a campaign in review.
create table campaign_reviews (
    campaign_id uuid not null references campaigns on delete cascade,
    at timestamptz not null default clock_timestamp(),
    action text not null check (action in ('submitted', 'approved', 'rejected')),
    actor text not null,
    comment text,
    primary key (campaign_id, at)
);

-- The latest pre-flight of a campaign, so that the recipients behind its numbers can be read page by page.
create table preflights (
    campaign_id uuid primary key references campaigns on delete cascade,
    -- The campaign as it was looked at.
    campaign_updated_at timestamptz not null,
    at timestamptz not null,
    report jsonb not null
);
create table preflight_problems (
    campaign_id uuid not null references preflights on delete cascade,
    n integer not null,
    contact_id uuid,
    address text not null,
    reason text not null,
    detail text,
    primary key (campaign_id, reason, n)
);

select protect(wall, format('exists (select from campaigns p where p.id = %I.campaign_id and p.tenant_id = this_tenant())', wall))
from unnest(array['campaign_reviews', 'preflights', 'preflight_problems']::regclass[]) wall;

-- As before, and chunks of a campaign at a local time wait until it is that time in their zone. Of a local time that a zone
-- leaves out, the clocks being put forward, the time after it holds; of one that it has twice, the second. And a campaign of
-- somebody who tries things out reaches allowed addresses only, unless its accounts reach nobody.
-- Freezes the next slice of a launching campaign: the first of at most `p_first` recipients. `complete` when the audience has ended: the campaign is sending then.
-- Returns nulls when the campaign does not launch (any more).
create or replace function freeze_slice(
    p_campaign uuid, p_first integer, p_limit integer, p_chunk integer, out taken integer, out complete boolean
)
language plpgsql set work_mem = '32MB' as $$
declare
    k campaigns;
    last record;
    -- A row that is looked at once more on its way costs half of what writing it does: only campaigns with keys pay for theirs.
    keyed boolean;
    -- The same holds for those who are looked up on the list of allowed addresses.
    tried boolean;
    size integer;
begin
    select * into k from campaigns where id = p_campaign for update;
    if k.state <> 'launching' then
        return;
    end if;
    if not k.prepared then
        perform prepare_audience(p_campaign);
        select * into k from campaigns where id = p_campaign;
    end if;
    size := case when k.frozen = 0 then p_first else p_limit end;
    keyed := k.business_key is not null;
    tried := k.environment <> 'production'
        and not coalesce((select bool_and(sandbox) from accounts where id = any (k.route)), false);
    execute $freeze$
        with judged as (
            select w.*, business_key_hash(key) as key_hash,
                   case when address is null then 'no_address'
$freeze$ || case when tried then $tried$
                        when not exists (select from allowed_addresses a
                                         where a.tenant_id = $1.tenant_id and a.channel = $1.channel
                                           and a.address in (w.address, '@' || split_part(w.address, '@', -1)))
                            then 'not_allow_listed' $tried$ else '' end || $freeze$
                        when $3 and exists (select from duplicate_addresses d
                                            where d.campaign_id = $1.id and d.address = w.address
                                              and (d.kept_contact, d.kept_row) <> (contact_id, row_no)) then 'duplicate_address'
                        when $4 and key is null then 'missing_variable'
                   end as unfit
            from ($freeze$ || audience_walk(k) || $freeze$) w
        ), $freeze$ || case when keyed then $keyed$ keyed as (
            insert into business_keys (tenant_id, key_hash, campaign_id, n)
            select $1.tenant_id, key_hash, $1.id, n from judged where key_hash is not null and unfit is null order by n
            on conflict do nothing
            returning n
        ), $keyed$ else '' end || $freeze$ numbered as (
            select j.*, $freeze$ || case when keyed then $keyed$
                   case when unfit is null and key_hash is not null and n not in (select keyed.n from keyed)
                        then 'duplicate_business_key' else unfit end $keyed$ else 'unfit' end || $freeze$ as excluded
            from judged j
        ), frozen as (
            insert into recipients (campaign_id, n, variant, excluded, contact_id, address, variables, business_key)
            select $1.id, n,
                   -- The variant of the person's locale, then of its language, then the first.
                   case when $5 then 0
                        else coalesce(array_position($1.locales, locale),
                                      array_position($1.locales, split_part(locale, '-', 1)), 1) - 1 end,
                   excluded, contact_id, coalesce(address, ''), variables, key_hash
            from numbered
        ), cut as (
            insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, first_n, last_n, size, time_zone,
                                not_before, born_at)
            select $1.id, min(n), $1.tenant_id, $1.route[1], 1, 0, min(n), max(n), count(*),
                   case when $1.window_from is not null then zone end,
                   $1.local_at at time zone zone, greatest(now(), $1.local_at at time zone zone)
            from (select n, zone, (row_number() over (partition by zone order by n) - 1) / $6 as part
                  from numbered where excluded is null) sendable
            group by zone, part
        )
        select zone, contact_id, row_no, n from numbered order by n desc limit 1
    $freeze$ into last using k, size,
        exists (select from duplicate_addresses where campaign_id = p_campaign),
        keyed, cardinality(k.locales) = 1, p_chunk;
    taken := coalesce(last.n - k.frozen, 0);
    complete := taken < size;
    update campaigns set
        cursor_zone = coalesce(last.zone, cursor_zone), cursor_contact = coalesce(last.contact_id, cursor_contact),
        cursor_row = coalesce(last.row_no, cursor_row), frozen = frozen + taken,
        state = case when complete then 'sending' else state end
    where id = p_campaign;
end $$;
