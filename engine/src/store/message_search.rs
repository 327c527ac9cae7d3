//! Messages as callers of the API see them: searched, and read with their facts, events and references.
//!
//! A list finds the ids of its messages first, and then reads what it shows of them in one statement. What an address, a person
//! or a reference names is little, and is sorted; the messages of a campaign, or of all campaigns, are walked from the newest or
//! the oldest on and never gathered. The newest are those of the campaign that was made last, with the highest number in it.

use jiff::Timestamp;
use serde::Deserialize;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{StoreResult, accounts::moment, listing::Way};
use crate::{
    domain::{
        channel::{Channel, MessageClass},
        event::EventKind,
        outcome::{FactKind, Reason},
        status::{AttemptFact, Known, MessageStatus},
    },
    id::{CampaignId, ContactId, MessageId, TemplateId, TenantId},
};

/// What messages are looked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By<'a> {
    Contact(ContactId),
    /// In its normal form: of whoever has it now, and of single sends to nobody who is known.
    Address(&'a str),
    Reference(&'a str, &'a str),
    Campaign(CampaignId),
    Everything,
}

/// Which of them, and which part of the list.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    pub by: By<'a>,
    pub channel: Option<Channel>,
    /// Of campaigns that were made before this.
    pub made_before: Option<Timestamp>,
    pub way: Way,
    pub after: Option<MessageId>,
    pub offset: i64,
    pub limit: i64,
}

/// A list is counted up to here.
pub const COUNTED: i64 = 10_000;

/// A message with all that is known of it.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: MessageId,
    pub channel: Channel,
    pub class: MessageClass,
    pub template: TemplateId,
    /// Sent by itself, not with a campaign.
    pub single: bool,
    pub contact: Option<ContactId>,
    pub address: String,
    pub variant: i16,
    /// As they were pinned.
    pub variables: String,
    pub excluded: Option<Reason>,
    pub taken_at: Timestamp,
    /// Until when it waits, or waited.
    pub not_before: Option<Timestamp>,
    pub facts: Vec<Fact>,
    /// The first of each kind.
    pub events: Vec<(EventKind, Timestamp)>,
    pub references: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub fact: AttemptFact,
    pub at: Timestamp,
    pub account_no: Option<i16>,
    pub detail: Option<String>,
    pub provider_id: Option<String>,
}

impl Message {
    fn attempt_facts(&self) -> Vec<AttemptFact> {
        self.facts.iter().map(|fact| fact.fact).collect()
    }

    fn known<T>(&self, now: Timestamp, ask: impl FnOnce(&Known<'_>) -> T) -> T {
        let facts = self.attempt_facts();
        let scheduled = self.not_before.is_some_and(|at| at > now);
        ask(&Known { excluded: self.excluded, facts: &facts, events: &self.events, scheduled })
    }

    pub fn status(&self, now: Timestamp) -> MessageStatus {
        self.known(now, |known| known.status())
    }

    /// Why it was not sent, or not yet.
    pub fn reason(&self, now: Timestamp) -> Option<Reason> {
        self.known(now, |known| known.reason())
    }

    pub fn delivered_at(&self) -> Option<Timestamp> {
        self.known(self.taken_at, |known| known.delivered_at())
    }

    pub fn read_at(&self) -> Option<Timestamp> {
        self.known(self.taken_at, |known| known.read_at())
    }

    /// The fact that a provider accepted it.
    pub fn accepted(&self) -> Option<&Fact> {
        self.facts.iter().find(|fact| fact.fact.kind == FactKind::Accepted)
    }

    /// How often it was tried; what must not be sent is no attempt.
    pub fn attempts(&self) -> usize {
        let tried = self.facts.iter().filter(|fact| fact.fact.kind != FactKind::Suppressed);
        tried.map(|fact| fact.fact.attempt).collect::<std::collections::BTreeSet<_>>().len()
    }
}

/// The ids of a part of a list.
pub async fn ids(
    tx: &mut PgConnection,
    tenant: TenantId,
    search: &Search<'_>,
) -> StoreResult<Vec<MessageId>> {
    let ids = match search.by {
        By::Contact(contact) => of_contact(tx, tenant, contact, search).await?,
        By::Address(address) => of_address(tx, tenant, address, search).await?,
        By::Reference(name, value) => of_reference(tx, tenant, (name, value), search).await?,
        By::Campaign(campaign) => walked(tx, tenant, Some(campaign), search).await?,
        By::Everything => walked(tx, tenant, None, search).await?,
    };
    Ok(ids.into_iter().map(|id| MessageId { campaign: id.campaign.into(), n: id.n }).collect())
}

/// How many there are, whichever part is wanted; at most [`COUNTED`].
pub async fn count(tx: &mut PgConnection, tenant: TenantId, search: &Search<'_>) -> StoreResult<u64> {
    let all = Search { after: None, offset: 0, limit: COUNTED, ..*search };
    macro_rules! counted {
        ($of:literal, $campaign:expr) => {
            sqlx::query_scalar!(
                r#"select count(*) as "count!" from (
                       select from campaigns k
                       cross join lateral (select from recipients r where r.campaign_id = k.id limit $5) r
                       where k.tenant_id = $1 and "#
                    + $of
                    + r#" and ($3::text is null or k.channel = $3)
                         and ($4::timestamptz is null or k.id < uuid_floor($4))
                       limit $5
                   ) counted"#,
                tenant.uuid(),
                $campaign as _,
                search.channel.map(Channel::as_str) as _,
                moment(search.made_before) as _,
                COUNTED,
            )
            .fetch_one(tx)
            .await?
        };
    }
    let count = match search.by {
        By::Campaign(campaign) => counted!("k.id = $2", Some(campaign.uuid())),
        By::Everything => counted!("$2::uuid is null", None::<Uuid>),
        By::Contact(_) | By::Address(_) | By::Reference(..) => {
            return Ok(ids(tx, tenant, &all).await?.len() as u64);
        }
    };
    Ok(count.unsigned_abs())
}

/// The messages that `$found` names by `$2`. They are found before anything else: a plan that begins with the tenant's campaigns
/// looks for them in each of these.
macro_rules! gathered {
    ($tx:ident, $found:literal, $what:expr, $tenant:ident, $search:ident) => {
        match $search.way {
            Way::Up => {
                gathered!($tx, $found, $what, $tenant, $search, ">", "found.campaign_id, found.n")
            }
            Way::Down => {
                gathered!($tx, $found, $what, $tenant, $search, "<", "found.campaign_id desc, found.n desc")
            }
        }
    };
    ($tx:ident, $found:literal, $what:expr, $tenant:ident, $search:ident, $after:literal, $order:literal) => {
        sqlx::query_as!(
            Id,
            "with found as materialized ("
                + $found
                + r#") select found.campaign_id as "campaign!", found.n as "n!"
                   from found
                   cross join lateral (
                       select channel from campaigns where id = found.campaign_id and tenant_id = $1 offset 0
                   ) k
                   where ($3::text is null or k.channel = $3)
                     and ($4::timestamptz is null or found.campaign_id < uuid_floor($4))
                     and ($5::uuid is null or (found.campaign_id, found.n) "#
                + $after
                + " ($5, $6::integer)) order by "
                + $order
                + " offset $7 limit $8",
            $tenant.uuid(),
            $what,
            $search.channel.map(Channel::as_str) as _,
            moment($search.made_before) as _,
            $search.after.map(|message| message.campaign.uuid()) as _,
            $search.after.map_or(0, |message| message.n),
            $search.offset,
            $search.limit,
        )
        .fetch_all($tx)
        .await?
    };
}

struct Id {
    campaign: Uuid,
    n: i32,
}

async fn of_contact(
    tx: &mut PgConnection,
    tenant: TenantId,
    contact: ContactId,
    search: &Search<'_>,
) -> StoreResult<Vec<Id>> {
    Ok(gathered!(
        tx,
        "select campaign_id, n from recipients where contact_id = $2::uuid",
        contact.uuid(),
        tenant,
        search
    ))
}

async fn of_address(
    tx: &mut PgConnection,
    tenant: TenantId,
    address: &str,
    search: &Search<'_>,
) -> StoreResult<Vec<Id>> {
    Ok(gathered!(
        tx,
        "select campaign_id, n from recipients where address = $2::text and contact_id is null
         union all
         select r.campaign_id, r.n
         from (select id from contacts where tenant_id = $1 and email = $2 and email is not null
               union all
               select id from contacts where tenant_id = $1 and phone = $2 and phone is not null and email is not null
               union all
               select id from contacts where tenant_id = $1 and phone = $2 and phone is not null and email is null) who
         join recipients r on r.contact_id = who.id and r.address = $2",
        address,
        tenant,
        search
    ))
}

async fn of_reference(
    tx: &mut PgConnection,
    tenant: TenantId,
    (name, value): (&str, &str),
    search: &Search<'_>,
) -> StoreResult<Vec<Id>> {
    Ok(gathered!(
        tx,
        "select campaign_id, n from message_references
         where tenant_id = $1 and name = ($2::text[])[1] and value = ($2::text[])[2]",
        &[name, value] as _,
        tenant,
        search
    ))
}

async fn walked(
    tx: &mut PgConnection,
    tenant: TenantId,
    campaign: Option<CampaignId>,
    search: &Search<'_>,
) -> StoreResult<Vec<Id>> {
    // One campaign has a statement of its own: the plan for any number of them walks all of the tenant's.
    macro_rules! page {
        ($beyond:literal, $next:literal, $from:literal, $order:literal) => {
            match campaign {
                Some(_) => page!($beyond, $next, $from, $order, "k.id = $2"),
                None => page!($beyond, $next, $from, $order, "$2::uuid is null"),
            }
        };
        ($beyond:literal, $next:literal, $from:literal, $order:literal, $of:literal) => {
            sqlx::query_as!(
                Id,
                r#"select k.id as campaign, r.n as "n!"
                   from campaigns k
                   cross join lateral (
                       select n from recipients r
                       -- One comparison of `n`, so that the index begins where the list before ended.
                       where r.campaign_id = k.id and n "#
                    + $beyond
                    + " order by "
                    + $next
                    + r#" limit $7::bigint + $8::bigint
                   ) r
                   where k.tenant_id = $1 and "#
                    + $of
                    + r#" and ($3::text is null or k.channel = $3)
                     and ($4::timestamptz is null or k.id < uuid_floor($4)) and ($5::uuid is null or k.id "#
                    + $from
                    + " $5) order by "
                    + $order
                    + " offset $7::bigint limit $8::bigint",
                tenant.uuid(),
                campaign.map(|id| id.uuid()) as _,
                search.channel.map(Channel::as_str) as _,
                moment(search.made_before) as _,
                search.after.map(|message| message.campaign.uuid()) as _,
                search.after.map_or(0, |message| i64::from(message.n)),
                search.offset,
                search.limit,
            )
            .fetch_all(tx)
            .await?
        };
    }
    Ok(match search.way {
        Way::Up => page!("> case when k.id = $5 then $6::bigint else 0 end", "n", ">=", "k.id, r.n"),
        Way::Down => page!(
            "< case when k.id = $5 then $6::bigint else 2147483648 end",
            "n desc",
            "<=",
            "k.id desc, r.n desc"
        ),
    })
}

/// A fact as the statement gathers it.
#[derive(Debug, Deserialize)]
struct FactLine {
    attempt: i16,
    kind: i16,
    at: Timestamp,
    account_no: Option<i16>,
    reason: Option<String>,
    detail: Option<String>,
    provider_id: Option<String>,
}

impl FactLine {
    fn into_fact(self) -> Option<Fact> {
        let kind = FactKind::PRECEDENCE.iter().copied().find(|kind| *kind as i16 == self.kind)?;
        let reason = self.reason.and_then(|reason| reason.parse().ok());
        Some(Fact {
            fact: AttemptFact { attempt: self.attempt, kind, reason },
            at: self.at,
            account_no: self.account_no,
            detail: self.detail,
            provider_id: self.provider_id,
        })
    }
}

/// These messages, as far as the tenant has them, in this order: in one statement, since each is a round trip. That they are
/// between the first and the last campaign needs no saying but to whoever opens the months in which they may be.
pub async fn read(
    tx: &mut PgConnection,
    tenant: TenantId,
    messages: &[MessageId],
) -> StoreResult<Vec<Message>> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let (campaigns, numbers): (Vec<Uuid>, Vec<i32>) =
        messages.iter().map(|message| (message.campaign.uuid(), message.n)).unzip();
    let rows = sqlx::query!(
        r#"select k.id as campaign_id, r.n, k.channel as "channel: Channel", k.class as "class: MessageClass", k.template_id,
                  k.kind = 'direct' as "single!", r.contact_id, r.address, r.variant, r.variables, r.excluded,
                  coalesce(c.created_at, k.launched_at, k.created_at) as "taken_at!: jiff_sqlx::Timestamp",
                  c.not_before as "not_before?: jiff_sqlx::Timestamp",
                  (select json_agg(json_build_object(
                              'attempt', f.attempt, 'kind', f.kind, 'at', f.at, 'account_no', f.account_no,
                              'reason', f.reason, 'detail', f.detail, 'provider_id', f.provider_id)
                          order by f.attempt, f.at)
                   from facts_of(r.campaign_id, r.n) f
                   where f.campaign_id between $4 and $5
                  ) as "facts: Json<Vec<FactLine>>",
                  (select json_agg(json_build_array(e.kind, e.first))
                   from (select kind, min(at) as first from events
                         where campaign_id = r.campaign_id and n = r.n and campaign_id between $4 and $5 group by kind) e
                  ) as "events: Json<Vec<(String, Timestamp)>>",
                  (select json_agg(json_build_array(m.name, m.value) order by m.name)
                   from message_references m
                   where m.campaign_id = r.campaign_id and m.n = r.n and m.tenant_id = $1 and m.campaign_id between $4 and $5
                  ) as "references: Json<Vec<(String, String)>>"
           from unnest($2::uuid[], $3::integer[]) with ordinality as wanted (campaign_id, n, at)
           join campaigns k on k.id = wanted.campaign_id and k.tenant_id = $1
           join recipients r on r.campaign_id = wanted.campaign_id and r.n = wanted.n and r.campaign_id between $4 and $5
           left join chunks c on k.kind = 'direct' and c.campaign_id = wanted.campaign_id and c.no = wanted.n
                              and c.campaign_id between $4 and $5
           order by wanted.at"#,
        tenant.uuid(),
        &campaigns,
        &numbers,
        campaigns.iter().min(),
        campaigns.iter().max(),
    )
    .fetch_all(tx)
    .await?;
    let of = |rows: Vec<FactLine>| rows.into_iter().filter_map(FactLine::into_fact).collect();
    let told = |rows: Vec<(String, Timestamp)>| {
        rows.into_iter().filter_map(|(kind, at)| Some((kind.parse().ok()?, at))).collect()
    };
    Ok(rows
        .into_iter()
        .map(|row| Message {
            id: MessageId { campaign: row.campaign_id.into(), n: row.n },
            channel: row.channel,
            class: row.class,
            template: row.template_id.into(),
            single: row.single,
            contact: row.contact_id.map(Into::into),
            address: row.address,
            variant: row.variant,
            variables: row.variables,
            excluded: row.excluded.and_then(|reason| reason.parse().ok()),
            taken_at: row.taken_at.to_jiff(),
            not_before: row.not_before.map(jiff_sqlx::Timestamp::to_jiff),
            facts: row.facts.map_or_else(Vec::new, |Json(facts)| of(facts)),
            events: row.events.map_or_else(Vec::new, |Json(events)| told(events)),
            references: row.references.map_or_else(Vec::new, |Json(references)| references),
        })
        .collect())
}

/// What was told about a message, every time that it was, up to so many.
pub async fn events(
    tx: &mut PgConnection,
    message: MessageId,
    limit: i64,
) -> StoreResult<Vec<(EventKind, Timestamp, Option<String>)>> {
    let rows = sqlx::query!(
        r#"select kind, at as "at: jiff_sqlx::Timestamp", detail from events
           where campaign_id = $1 and n = $2 order by at, kind limit $3"#,
        message.campaign.uuid(),
        message.n,
        limit,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((row.kind.parse().ok()?, row.at.to_jiff(), row.detail)))
        .collect())
}

/// What was done about a reference over one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contacted {
    pub channel: Channel,
    pub messages: i64,
    pub attempts: i64,
    /// When a provider last accepted a message.
    pub last: Option<Timestamp>,
}

pub async fn contacted(
    tx: &mut PgConnection,
    tenant: TenantId,
    name: &str,
    value: &str,
) -> StoreResult<Vec<Contacted>> {
    let rows = sqlx::query!(
        r#"select k.channel as "channel: Channel", count(*) as "messages!", coalesce(sum(f.attempts), 0)::bigint as "attempts!",
                  max(f.last) as "last?: jiff_sqlx::Timestamp"
           from message_references m
           join campaigns k on k.id = m.campaign_id and k.tenant_id = $1
           cross join lateral (
               select count(distinct r.attempt) filter (where r.kind <> 3) as attempts,
                      max(r.at) filter (where r.kind = 0) as last
               from facts_of(m.campaign_id, m.n) r
           ) f
           where m.tenant_id = $1 and m.name = $2 and m.value = $3
           group by k.channel order by k.channel"#,
        tenant.uuid(),
        name,
        value,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Contacted {
            channel: row.channel,
            messages: row.messages,
            attempts: row.attempts,
            last: row.last.map(jiff_sqlx::Timestamp::to_jiff),
        })
        .collect())
}
