//! Millions of messages and campaigns, put into the rows by SQL as the engine would have left them.

use std::ops::{Range, RangeInclusive};

use anyhow::Context as _;
use fanfare_engine::id::CampaignId;
use indicatif::ProgressBar;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::Options;
use crate::{
    seed::{TENANT, ZONE},
    site,
};

/// Days from one campaign with messages to the one before: their rows lie in many months.
const APART: i64 = 28;
/// Tenants beside the first who have a key, so that lists are read of several.
pub(super) const KEYS: u64 = 50;
/// Campaigns that are written in one statement.
const AT_ONCE: u64 = 100_000;

/// What there is to be asked about.
#[derive(Debug)]
pub(super) struct Large {
    /// Finished, with events.
    pub(super) campaign: CampaignId,
    /// Campaigns with a message to every contact.
    pub(super) campaigns: u64,
}

pub(super) async fn fill(pool: &PgPool, options: &Options) -> anyhow::Result<Large> {
    let mut connection = pool.acquire().await?;
    let campaigns = options.messages / options.contacts;
    number_contacts(&mut connection).await?;
    let oldest = i32::try_from(campaigns)?;
    sqlx::query("select ensure_partitions((now() - make_interval(days => $1 * 28))::date, now()::date)")
        .bind(oldest)
        .execute(&mut *connection)
        .await?;
    let bar = site::bar("seeding messages", campaigns * options.contacts);
    let mut newest = None;
    for at in 0..campaigns {
        let campaign = messages(&mut connection, i64::try_from(at)?).await.context("messages")?;
        newest.get_or_insert(campaign);
        bar.inc(options.contacts);
    }
    bar.finish();
    let newest = newest.context("there is a campaign with messages")?;
    events(&mut connection, newest).await.context("events")?;
    tenants(&mut connection, options.tenants).await.context("tenants")?;
    let bar = site::bar("seeding campaigns", options.campaigns);
    lists(&mut connection, options, &bar).await.context("campaigns")?;
    bar.finish();
    for statement in ["drop table numbered", "vacuum analyze", "checkpoint"] {
        sqlx::query(statement).execute(&mut *connection).await.context(statement)?;
    }
    Ok(Large { campaign: newest.into(), campaigns })
}

/// An audience is walked in the order of its contacts.
async fn number_contacts(connection: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query(
        "create unlogged table numbered as
         select (row_number() over (order by id))::integer as n, id, email, attributes::text as variables from contacts",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A finished campaign to everybody.
async fn messages(connection: &mut PgConnection, at: i64) -> anyhow::Result<Uuid> {
    let campaign: Uuid = sqlx::query_scalar(
        "insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, audience, state, launched_at,
                                finished_at, created_at, variants, locales, variables, route, prepared, frozen, target_count,
                                done_through)
         select (uuid_floor(began)::text)::uuid, o.id, 'campaign', 'Renewals ' || $1::bigint, 'email', 'obligation', t.id,
                '{\"contacts\": \"all\"}', 'finished', began, began + interval '5 minutes', began, array[v.id], array['en'],
                '{}', '{}', true, people, people, people
         from tenants o
         join templates t on t.tenant_id = o.id and t.slug = 'renewal'
         join template_versions v on v.template_id = t.id
         cross join (select now() - interval '1 hour' - make_interval(days => ($1::bigint * $2::bigint)::integer)) as moments (began)
         cross join (select count(*)::integer from numbered) as counted (people)
         where o.slug = $3 returning id",
    )
    .bind(at)
    .bind(APART)
    .bind(TENANT)
    .fetch_one(&mut *connection)
    .await?;
    for sql in [
        "insert into recipients (campaign_id, n, variant, contact_id, address, variables)
         select $1, n, 0, id, email, '[' || variables || ']' from numbered order by n",
        "insert into acceptances (campaign_id, first_n, last_n, attempt, account_no, ats, provider_ids)
         select k.id, min(n), max(n), 1, 1, array_agg(k.launched_at), array_agg(lpad(to_hex(n), 16, '0') || '@sink' order by n)
         from campaigns k, numbered where k.id = $1 group by k.id, (n - 1) / 100 order by min(n)",
        "insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, first_n, last_n, size, born_at, created_at,
                             epoch, accepted, done_at)
         select k.id, min(n), k.tenant_id, a.id, 1, 0, min(n), max(n), count(*), k.launched_at, k.launched_at, 1, count(*),
                k.launched_at + make_interval(secs => min(n) * 0.0002)
         from campaigns k join accounts a on a.tenant_id = k.tenant_id, numbered where k.id = $1 group by k.id, a.id, (n - 1) / 500",
    ] {
        sqlx::query(sql).bind(campaign).execute(&mut *connection).await?;
    }
    Ok(campaign)
}

/// Delivered to everybody, opened twice by one of five, clicked by one of ten; for the engine to count.
async fn events(connection: &mut PgConnection, campaign: Uuid) -> anyhow::Result<()> {
    for (kind, one_of) in [("delivered", 1), ("opened", 5), ("opened", 5), ("clicked", 10)] {
        sqlx::query(
            "insert into events (campaign_id, n, kind, dedup, at)
             select k.id, n, $2, gen_random_uuid(), k.launched_at + make_interval(secs => n % 3000)
             from campaigns k, numbered where k.id = $1 and n % $3 = 0",
        )
        .bind(campaign)
        .bind(kind)
        .bind(one_of)
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query(
        "insert into rollup_checks (campaign_id, folded_at) values ($1, now() - interval '2 minutes')",
    )
    .bind(campaign)
    .execute(connection)
    .await?;
    Ok(())
}

/// The key of tenant number `number`, from 1.
pub(super) fn key(number: u64) -> String {
    format!("ffk_size{number}")
}

/// How many of a tenant's campaigns are scheduled or paused.
pub(super) fn waiting(options: &Options) -> RangeInclusive<u64> {
    listed(options, |place| matches!(place % 20, 2 | 3))
}

/// How many of a tenant's campaigns are greetings whose number begins with these three digits.
pub(super) fn greetings(options: &Options, hundred: u64) -> RangeInclusive<u64> {
    listed(options, |place| place % 4 == 1 && place / 100 == hundred)
}

/// Of a tenant's campaigns, by their place in the turns; some tenants have one turn more than others.
fn listed(options: &Options, is: impl Fn(u64) -> bool) -> RangeInclusive<u64> {
    let Options { campaigns, tenants, .. } = *options;
    let count = |turns: u64| (0..turns).filter(|&place| is(place)).count() as u64;
    count(campaigns / tenants)..=count(campaigns.div_ceil(tenants))
}

/// Beside the first, each with a template; some have a key.
async fn tenants(connection: &mut PgConnection, tenants: u64) -> anyhow::Result<()> {
    for sql in [
        "insert into tenants (id, slug, name, region, locale, time_zone, currency)
         select gen_random_uuid(), 'size-' || i, 'Insurer ' || i, 'MU', 'en', $2::text, 'MUR' from generate_series(1, $1::bigint - 1) i",
        "insert into templates (id, tenant_id, slug, channel, class, name)
         select gen_random_uuid(), o.id, 'renewal', 'email', 'obligation', 'Renewal in ' || $2::text
         from tenants o where o.slug like 'size-%' and $1::bigint > 0",
    ] {
        sqlx::query(sql).bind(i64::try_from(tenants)?).bind(ZONE).execute(&mut *connection).await?;
    }
    sqlx::query(
        "insert into api_keys (id, tenant_id, name, prefix, key_hash, scopes, environment)
         select gen_random_uuid(), o.id, 'size', 'ffk_size', sha256(convert_to('ffk_' || replace(o.slug, '-', ''), 'UTF8')),
                '{*}', 'production'
         from tenants o where o.slug like 'size-%' and split_part(o.slug, '-', 2)::bigint <= $1",
    )
    .bind(i64::try_from(KEYS)?)
    .execute(connection)
    .await?;
    Ok(())
}

/// Campaigns without messages, in every state in which they need nobody: their owners take turns, so that a tenant's lie far
/// apart in the table.
async fn lists(connection: &mut PgConnection, options: &Options, bar: &ProgressBar) -> anyhow::Result<()> {
    sqlx::query(
        "create temporary table owners as
         select row_number() over (order by o.slug) - 1 as no, o.id as tenant, t.id as template
         from tenants o join templates t on t.tenant_id = o.id and t.slug = 'renewal'",
    )
    .execute(&mut *connection)
    .await?;
    for first in (0..options.campaigns).step_by(usize::try_from(AT_ONCE)?) {
        let Range { start, end } = first..options.campaigns.min(first + AT_ONCE);
        sqlx::query(
            "insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, audience, state, paused_from,
                                    scheduled_at, launched_at, finished_at, created_at, updated_at, target_count)
             select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || lpad(to_hex(i), 20, '0'))::uuid,
                    o.tenant, 'campaign',
                    (array['Renewals', 'Birthday greetings', 'Premium reminder', 'Claims survey'])[1 + i / $1::bigint % 4]
                        || ' ' || lpad((i / $1::bigint)::text, 5, '0'),
                    'email', 'obligation', o.template, '{\"contacts\": \"all\"}', s.state,
                    case when s.state = 'paused' then 'scheduled' end,
                    case when s.state in ('scheduled', 'paused') then now() + interval '100 days' end,
                    case when s.state = 'finished' then at end,
                    case when s.state in ('finished', 'cancelled') then at end, at, at, 1000
             from generate_series($2::bigint, $3::bigint - 1) i
             cross join lateral (select now() - make_interval(secs => i * 10 + 7200)) as moments (at)
             cross join lateral (select case i / $1::bigint % 20 when 0 then 'draft' when 1 then 'draft' when 2 then 'scheduled'
                                             when 3 then 'paused' when 4 then 'cancelled' else 'finished' end) as s (state)
             join owners o on o.no = i % $1::bigint
             order by i desc",
        )
        .bind(i64::try_from(options.tenants)?)
        .bind(i64::try_from(start)?)
        .bind(i64::try_from(end)?)
        .execute(&mut *connection)
        .await?;
        bar.set_position(end);
    }
    Ok(())
}
