//! Reading what became of messages: one by one, and "who was not sent, and why".

use jiff::Timestamp;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Store, StoreResult,
    listing::{Part, Way},
};
use crate::{
    domain::outcome::Reason,
    id::{CampaignId, ContactId, MessageId, TenantId},
};

/// A recipient who was not sent to, or of whom nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unsent {
    pub message: MessageId,
    pub contact: Option<ContactId>,
    pub address: String,
    /// `excluded`, `failed`, `suppressed`, `unknown` or `abandoned`.
    pub state: String,
    pub reason: String,
    /// The reason as a sentence.
    pub because: String,
    pub detail: Option<String>,
    pub at: Option<Timestamp>,
}

/// How many recipients share a state and a reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReasonCount {
    pub state: String,
    pub reason: String,
    pub recipients: i64,
}

/// The record of one message.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageRecord {
    pub message: MessageId,
    pub address: String,
    pub excluded: Option<String>,
    pub facts: Vec<FactRow>,
    pub events: Vec<EventRow>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FactRow {
    pub attempt: i16,
    pub kind: i16,
    #[serde(serialize_with = "as_text")]
    pub at: jiff_sqlx::Timestamp,
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub provider_id: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRow {
    pub kind: String,
    #[serde(serialize_with = "as_text")]
    pub at: jiff_sqlx::Timestamp,
    pub detail: Option<String>,
}

fn as_text<S: serde::Serializer>(at: &jiff_sqlx::Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&at.to_jiff())
}

struct UnsentRow {
    n: i32,
    state: String,
    reason: String,
    detail: Option<String>,
    at: Option<jiff_sqlx::Timestamp>,
    contact_id: Option<Uuid>,
    address: String,
}

/// Who was not sent, and why: the next page of a campaign behind recipient number `after`, whichever way the numbers go.
///
/// Reads only the two partial indexes of exceptions, so the first page does not depend on the size of the campaign.
pub async fn unsent(
    tx: &mut PgConnection,
    tenant: TenantId,
    campaign: CampaignId,
    way: Way,
    part: &Part<i32>,
) -> StoreResult<Vec<Unsent>> {
    macro_rules! page {
        ($beginning:expr, $after:literal, $order:literal) => {
            sqlx::query_as!(
                UnsentRow,
                r#"with exceptions as (
               (select n, 'excluded' as state, excluded as reason, null as detail, null::timestamptz as at
                from recipients
                where campaign_id = $2 and excluded is not null and n "#
                    + $after
                    + " $3
                order by "
                    + $order
                    + r#" limit $4::bigint + $5::bigint)
               union all
               (select r.n, (array['accepted', 'retry', 'failed', 'suppressed', 'unknown', 'abandoned'])[r.kind + 1],
                       r.reason, r.detail, r.at
                from results r
                -- Looked up one by one, whatever the statistics say: just after a campaign they know nothing of it.
                cross join lateral (
                    select f.attempt, f.kind from facts_of($2, r.n) f
                    order by f.kind = 0 desc, f.attempt desc, array_position(array[1, 2, 3, 5, 4]::smallint[], f.kind)
                    limit 1
                ) speaks
                where r.campaign_id = $2 and r.kind >= 2 and r.n "#
                    + $after
                    + " $3
                  and (r.attempt, r.kind) = (speaks.attempt, speaks.kind)
                order by r."
                    + $order
                    + r#" limit $4::bigint + $5::bigint)
           )
           select e.n as "n!", e.state as "state!", e.reason as "reason!", e.detail,
                  e.at as "at: _", r.contact_id as "contact_id?", r.address as "address!"
           from exceptions e
           -- By its key: a campaign that no statistics know seems to have one recipient.
           cross join lateral (select contact_id, address from recipients where campaign_id = $2 and n = e.n offset 0) r
           where exists (select 1 from campaigns where id = $2 and tenant_id = $1)
           order by e."#
                    + $order
                    + " limit $4 offset $5",
                tenant.uuid(),
                campaign.uuid(),
                part.after.unwrap_or($beginning),
                part.limit,
                part.offset,
            )
            .fetch_all(tx)
            .await?
        };
    }
    let rows = match way {
        Way::Up => page!(0, ">", "n"),
        Way::Down => page!(i32::MAX, "<", "n desc"),
    };
    Ok(rows
        .into_iter()
        .map(|row| Unsent {
            message: MessageId { campaign, n: row.n },
            contact: row.contact_id.map(Into::into),
            address: row.address,
            state: row.state,
            because: row
                .reason
                .parse()
                .map_or_else(|_| row.reason.clone(), |r: Reason| r.sentence().to_owned()),
            reason: row.reason,
            detail: row.detail,
            at: row.at.map(jiff_sqlx::Timestamp::to_jiff),
        })
        .collect())
}

/// Who was not sent is counted up to here: of each it is looked up what holds.
const COUNTED: i64 = 10_000;

/// How many were not sent; at most [`COUNTED`].
pub async fn count_unsent(tx: &mut PgConnection, tenant: TenantId, campaign: CampaignId) -> StoreResult<u64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from (
               select from recipients where campaign_id = $2 and excluded is not null
               union all
               select from results r
               cross join lateral (
                   select f.attempt, f.kind from facts_of($2, r.n) f
                   order by f.kind = 0 desc, f.attempt desc, array_position(array[1, 2, 3, 5, 4]::smallint[], f.kind)
                   limit 1
               ) speaks
               where r.campaign_id = $2 and r.kind >= 2 and (r.attempt, r.kind) = (speaks.attempt, speaks.kind)
               limit $3
           ) counted
           where exists (select from campaigns where id = $2 and tenant_id = $1)"#,
        tenant.uuid(),
        campaign.uuid(),
        COUNTED,
    );
    Ok(count.fetch_one(tx).await?.unsigned_abs())
}

impl Store {
    /// See [`unsent`]; in order of number, after recipient number `after`.
    pub async fn unsent(
        &self,
        tenant: TenantId,
        campaign: CampaignId,
        after: i32,
        limit: i64,
    ) -> StoreResult<Vec<Unsent>> {
        let mut connection = self.pool().acquire().await?;
        let part = Part { after: Some(after), offset: 0, limit };
        unsent(&mut connection, tenant, campaign, Way::Up, &part).await
    }

    /// The exceptions of a campaign, counted by state and reason.
    pub async fn reasons(&self, tenant: TenantId, campaign: CampaignId) -> StoreResult<Vec<ReasonCount>> {
        let mut counts = sqlx::query_as!(
            ReasonCount,
            r#"select state as "state!", reason as "reason!", count(*) as "recipients!"
               from (
                   select n, 'excluded' as state, excluded as reason from recipients
                   where campaign_id = $2 and excluded is not null
                   union all
                   select * from (
                       select distinct on (r.n) r.n,
                              (array['accepted', 'retry', 'failed', 'suppressed', 'unknown', 'abandoned'])[r.kind + 1], r.reason
                       from results r
                       where r.campaign_id = $2 and r.kind >= 2 and not exists (
                           select 1 from facts_of($2, r.n) better
                           where (better.kind = 0 or better.attempt > r.attempt
                                  or (better.attempt = r.attempt and better.kind = 1)))
                       order by r.n, array_position(array[2, 3, 5, 4]::smallint[], r.kind)) facts
               ) exceptions
               where exists (select 1 from campaigns where id = $2 and tenant_id = $1)
               group by state, reason"#,
            tenant.uuid(),
            campaign.uuid(),
        )
        .fetch_all(self.pool())
        .await?;
        counts.sort();
        Ok(counts)
    }

    /// Everything that is known of one message; `None` when the tenant has no such message.
    pub async fn message(&self, tenant: TenantId, message: MessageId) -> StoreResult<Option<MessageRecord>> {
        let head = sqlx::query!(
            "select r.address, r.excluded from recipients r join campaigns k on k.id = r.campaign_id
             where r.campaign_id = $1 and r.n = $2 and k.tenant_id = $3",
            message.campaign.uuid(),
            message.n,
            tenant.uuid(),
        )
        .fetch_optional(self.pool())
        .await?;
        let Some(head) = head else { return Ok(None) };
        let facts = sqlx::query_as!(
            FactRow,
            r#"select attempt as "attempt!", kind as "kind!", at as "at!: _", reason, detail, provider_id
               from facts_of($1, $2) order by attempt, at"#,
            message.campaign.uuid(),
            message.n,
        )
        .fetch_all(self.pool())
        .await?;
        let events = sqlx::query_as!(
            EventRow,
            r#"select kind, at as "at: _", detail from events where campaign_id = $1 and n = $2 order by at, kind"#,
            message.campaign.uuid(),
            message.n,
        )
        .fetch_all(self.pool())
        .await?;
        Ok(Some(MessageRecord { message, address: head.address, excluded: head.excluded, facts, events }))
    }
}
