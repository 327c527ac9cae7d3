//! The latest pre-flight of each campaign: its report, and page by page the recipients behind its numbers.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    StoreResult,
    listing::{Part, Way},
};
use crate::id::{CampaignId, ContactId, TenantId};

#[derive(Debug, Clone)]
pub struct Preflight {
    /// The campaign as it was looked at.
    pub campaign_updated_at: Timestamp,
    pub at: Timestamp,
    pub report: Value,
}

/// A recipient who would not be sent to.
#[derive(Debug, Clone)]
pub struct ProblemRow {
    pub n: i32,
    pub contact: Option<ContactId>,
    pub address: String,
    pub reason: String,
    pub detail: Option<String>,
}

/// Keeps a pre-flight in the place of the one before.
pub async fn keep(
    tx: &mut PgConnection,
    id: CampaignId,
    looked_at: Timestamp,
    report: &Value,
    problems: &[ProblemRow],
) -> StoreResult<()> {
    // Of two at once the later one waits here, and holds.
    sqlx::query!(
        "insert into preflights (campaign_id, campaign_updated_at, at, report) values ($1, $2, clock_timestamp(), $3)
         on conflict (campaign_id) do update set
             campaign_updated_at = excluded.campaign_updated_at, at = excluded.at, report = excluded.report",
        id.uuid(),
        looked_at.to_sqlx() as _,
        report,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("delete from preflight_problems where campaign_id = $1", id.uuid())
        .execute(&mut *tx)
        .await?;
    for page in problems.chunks(5_000) {
        sqlx::query!(
            "insert into preflight_problems (campaign_id, n, contact_id, address, reason, detail)
             select $1, n, contact_id, address, reason, detail
             from unnest($2::integer[], $3::uuid[], $4::text[], $5::text[], $6::text[])
                  as p (n, contact_id, address, reason, detail)",
            id.uuid(),
            &page.iter().map(|problem| problem.n).collect::<Vec<_>>(),
            page.iter().map(|problem| problem.contact.map(ContactId::uuid)).collect::<Vec<Option<Uuid>>>()
                as _,
            &page.iter().map(|problem| problem.address.clone()).collect::<Vec<_>>(),
            &page.iter().map(|problem| problem.reason.clone()).collect::<Vec<_>>(),
            page.iter().map(|problem| problem.detail.clone()).collect::<Vec<Option<String>>>() as _,
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

pub async fn get(tx: &mut PgConnection, tenant: TenantId, id: CampaignId) -> StoreResult<Option<Preflight>> {
    let row = sqlx::query!(
        r#"select p.campaign_updated_at as "campaign_updated_at: jiff_sqlx::Timestamp",
                  p.at as "at: jiff_sqlx::Timestamp", p.report
           from preflights p join campaigns k on k.id = p.campaign_id
           where k.tenant_id = $1 and k.id = $2"#,
        tenant.uuid(),
        id.uuid(),
    );
    Ok(row.fetch_optional(tx).await?.map(|row| Preflight {
        campaign_updated_at: row.campaign_updated_at.to_jiff(),
        at: row.at.to_jiff(),
        report: row.report,
    }))
}

/// A part of the recipients behind a pre-flight's numbers, all or those of one reason, by reason and number.
pub async fn problems(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: CampaignId,
    reason: Option<&str>,
    way: Way,
    part: &Part<(String, i32)>,
) -> StoreResult<Vec<ProblemRow>> {
    let (after, after_n) = part.after.as_ref().map(|(reason, n)| (reason.as_str(), *n)).unzip();
    macro_rules! page {
        ($after:literal, $order:literal) => {
            sqlx::query_as!(
                ProblemRow,
                r#"select p.n, p.contact_id as "contact: ContactId", p.address, p.reason, p.detail
                   from preflight_problems p join campaigns k on k.id = p.campaign_id
                   where k.tenant_id = $1 and p.campaign_id = $2 and ($3::text is null or p.reason = $3)
                     and ($4::text is null or (p.reason, p.n) "#
                    + $after
                    + " ($4, $5)) order by "
                    + $order
                    + " offset $6 limit $7",
                tenant.uuid(),
                id.uuid(),
                reason,
                after,
                after_n,
                part.offset,
                part.limit,
            )
            .fetch_all(tx)
            .await?
        };
    }
    Ok(match way {
        Way::Up => page!(">", "p.reason, p.n"),
        Way::Down => page!("<", "p.reason desc, p.n desc"),
    })
}

/// How many there are in all: no more are kept than can be counted at once.
pub async fn count(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: CampaignId,
    reason: Option<&str>,
) -> StoreResult<u64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from preflight_problems p join campaigns k on k.id = p.campaign_id
           where k.tenant_id = $1 and p.campaign_id = $2 and ($3::text is null or p.reason = $3)"#,
        tenant.uuid(),
        id.uuid(),
        reason,
    );
    Ok(count.fetch_one(tx).await?.unsigned_abs())
}
