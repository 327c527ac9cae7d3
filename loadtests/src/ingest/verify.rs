//! Whether every message has the event that was told of it, once.

use fanfare_engine::id::CampaignId;
use serde::Serialize;
use sqlx::{PgPool, Row as _};

/// All of it must be zero.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    /// Messages without a `delivered`.
    pub(super) lost: u64,
    /// `delivered` beyond one for each message.
    pub(super) doubled: u64,
    /// Events of another kind, of no message, or of no campaign.
    pub(super) foreign: u64,
    /// Webhooks that are still in the inbox.
    pub(super) left: u64,
    pub(super) rejected: u64,
}

impl Verdict {
    pub(super) fn is_clean(self) -> bool {
        self == Self::default()
    }
}

const COUNTS: &str = r#"
    with told as (select n, kind from events where campaign_id = $1),
         each as (
             select r.n is not null as known, count(*) filter (where t.kind = 'delivered') as delivered,
                    count(*) filter (where t.kind <> 'delivered') as others
             from (select n from recipients where campaign_id = $1) r full join told t using (n)
             group by n, r.n
         )
    select count(*) filter (where known and delivered = 0) as lost,
           coalesce(sum(delivered - 1) filter (where known and delivered > 1), 0)::bigint as doubled,
           (coalesce(sum(others), 0) + coalesce(sum(delivered) filter (where not known), 0))::bigint
               + (select count(*) from events e where not exists (select from campaigns c where c.id = e.campaign_id))
               as "foreign",
           (select coalesce(sum(webhooks), 0) from inbox) as "left",
           (select count(*) from inbox_rejected) as rejected
    from each"#;

pub(super) async fn verify(pool: &PgPool, campaign: CampaignId) -> anyhow::Result<Verdict> {
    let row = sqlx::query(COUNTS).bind(campaign.uuid()).fetch_one(pool).await?;
    let count = |name: &str| row.get::<i64, _>(name).unsigned_abs();
    Ok(Verdict {
        lost: count("lost"),
        doubled: count("doubled"),
        foreign: count("foreign"),
        left: count("left"),
        rejected: count("rejected"),
    })
}
