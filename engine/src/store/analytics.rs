//! What became of a campaign, read: sums over its chunks and its hours, a few thousand rows of the largest.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

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

#[derive(Debug, Clone, Deserialize)]
pub struct HourRow {
    pub hour: Timestamp,
    pub measure: Measure,
    pub variant: i16,
    pub recipients: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct VariantRow {
    #[serde(deserialize_with = "version")]
    pub version: TemplateVersionId,
    pub slug: String,
    pub locale: String,
    pub number: i32,
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TemplateVersionId, D::Error> {
    Uuid::deserialize(deserializer).map(TemplateVersionId::from_uuid)
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

/// In one statement: it is asked for over and over while a campaign runs.
pub async fn numbers(tx: &mut PgConnection, tenant: TenantId, id: CampaignId) -> StoreResult<Numbers> {
    let row = sqlx::query!(
        r#"select o.time_zone,
                  (select json_agg(json_build_array(hour, sent))
                   from (select date_bin('1 hour', coalesce(done_at, now()), '2000-01-01T00:00:00Z') as hour, sum(accepted) as sent
                         from chunks where campaign_id = $2 and accepted > 0 group by 1) s
                  ) as "sent: Json<Vec<(Timestamp, i64)>>",
                  (select json_agg(json_build_object(
                              'hour', hour, 'measure', measure, 'variant', variant, 'recipients', recipients) order by hour)
                   from campaign_hours where campaign_id = k.id
                  ) as "hours: Json<Vec<HourRow>>",
                  (select json_agg(json_build_object(
                              'version', v.id, 'slug', t.slug, 'locale', v.locale, 'number', v.version) order by pinned.at)
                   from unnest(k.variants) with ordinality as pinned (id, at)
                   join template_versions v on v.id = pinned.id
                   join templates t on t.id = v.template_id
                  ) as "variants: Json<Vec<VariantRow>>"
           from campaigns k join tenants o on o.id = k.tenant_id
           where k.tenant_id = $1 and k.id = $2 and k.kind = 'campaign'"#,
        tenant.uuid(),
        id.uuid(),
    );
    let row = row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?;
    Ok(Numbers {
        sent: row.sent.map_or_else(BTreeMap::new, |Json(sent)| sent.into_iter().collect()),
        hours: row.hours.map_or_else(Vec::new, |Json(hours)| hours),
        variants: row.variants.map_or_else(Vec::new, |Json(variants)| variants),
        time_zone: row.time_zone,
    })
}
