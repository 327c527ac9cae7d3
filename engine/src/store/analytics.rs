//! What became of a campaign, read: sums over its chunks and its hours, a few thousand rows of the largest.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::PgConnection;

use super::{StoreError, StoreResult};
use crate::{
    domain::measure::Measure,
    id::{CampaignId, TemplateVersionId, TenantId},
};

/// Everything that analytics are made of.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    /// Messages that a provider accepted, by the hour in which their chunk was done.
    pub sent: BTreeMap<Timestamp, i64>,
    /// Recipients by the hour in which they first reached a measure, and the variant that they got.
    pub hours: Vec<HourRow>,
    /// The published content of each variant, in their order.
    pub variants: Vec<VariantRow>,
    /// The tenant's zone, in which days are days.
    pub time_zone: String,
}

#[derive(Debug, Clone)]
pub struct HourRow {
    pub hour: Timestamp,
    pub measure: Measure,
    pub variant: i16,
    pub recipients: i64,
}

#[derive(Debug, Clone)]
pub struct VariantRow {
    pub version: TemplateVersionId,
    pub slug: String,
    pub locale: String,
    pub number: i32,
}

impl Numbers {
    pub fn sent(&self) -> i64 {
        self.sent.values().sum()
    }

    pub fn sum(&self, measure: Measure) -> i64 {
        self.hours.iter().filter(|row| row.measure == measure).map(|row| row.recipients).sum()
    }

    pub fn sum_of(&self, variant: i16, measure: Measure) -> i64 {
        let of = |row: &&HourRow| row.measure == measure && row.variant == variant;
        self.hours.iter().filter(of).map(|row| row.recipients).sum()
    }
}

pub async fn numbers(tx: &mut PgConnection, tenant: TenantId, id: CampaignId) -> StoreResult<Numbers> {
    let head = sqlx::query!(
        "select o.time_zone from campaigns k join tenants o on o.id = k.tenant_id
         where k.tenant_id = $1 and k.id = $2 and k.kind = 'campaign'",
        tenant.uuid(),
        id.uuid(),
    );
    let head = head.fetch_optional(&mut *tx).await?.ok_or_else(|| StoreError::not_found(id))?;
    Ok(Numbers {
        sent: sent(&mut *tx, id).await?,
        hours: hours(&mut *tx, id).await?,
        variants: variants(tx, id).await?,
        time_zone: head.time_zone,
    })
}

async fn sent(tx: &mut PgConnection, id: CampaignId) -> StoreResult<BTreeMap<Timestamp, i64>> {
    let rows = sqlx::query!(
        r#"select date_trunc('hour', coalesce(done_at, now()), 'UTC') as "hour!: jiff_sqlx::Timestamp",
                  sum(accepted) as "sent!"
           from chunks where campaign_id = $1 and accepted > 0 group by 1"#,
        id.uuid(),
    );
    Ok(rows.fetch_all(tx).await?.into_iter().map(|row| (row.hour.to_jiff(), row.sent)).collect())
}

async fn hours(tx: &mut PgConnection, id: CampaignId) -> StoreResult<Vec<HourRow>> {
    let rows = sqlx::query!(
        r#"select hour as "hour: jiff_sqlx::Timestamp", measure as "measure: Measure", variant, recipients
           from campaign_hours where campaign_id = $1 order by hour"#,
        id.uuid(),
    );
    let rows = rows.fetch_all(tx).await?.into_iter();
    Ok(rows
        .map(|row| HourRow {
            hour: row.hour.to_jiff(),
            measure: row.measure,
            variant: row.variant,
            recipients: row.recipients.into(),
        })
        .collect())
}

async fn variants(tx: &mut PgConnection, id: CampaignId) -> StoreResult<Vec<VariantRow>> {
    let rows = sqlx::query!(
        r#"select v.id, t.slug, v.locale, v.version
           from campaigns k
           cross join lateral unnest(k.variants) with ordinality as pinned (id, at)
           join template_versions v on v.id = pinned.id
           join templates t on t.id = v.template_id
           where k.id = $1 order by pinned.at"#,
        id.uuid(),
    );
    let rows = rows.fetch_all(tx).await?.into_iter();
    Ok(rows
        .map(|row| VariantRow {
            version: row.id.into(),
            slug: row.slug,
            locale: row.locale,
            number: row.version,
        })
        .collect())
}
