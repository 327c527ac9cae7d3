//! What a person asks after a campaign: of the rows in plain SQL, and of the engine.

use fanfare_engine::id::CampaignId;
use sqlx::{PgPool, Row as _};
use tokio::time::Instant;

use crate::seed::Seeded;

/// State, provider id and time of each recipient.
const STATES: &str = "select r.n, r.address,
       case f.kind when 0 then 'accepted' when 2 then 'failed' when 3 then 'suppressed' when 4 then 'unknown'
                   when 5 then 'abandoned' else coalesce(r.excluded, 'waiting') end as state,
       f.reason, f.provider_id, f.at::text as at
from recipients r
left join lateral (select * from facts_of(r.campaign_id, r.n)
                   order by attempt desc, array_position(array[1, 0, 2, 3, 5, 4]::smallint[], kind) limit 1) f on true
where r.campaign_id = $1 order by r.n";

/// Rows of the page that is timed.
const PAGE: i64 = 50;

/// Prints the states of the first recipients, and the statement that lists them all.
pub(crate) async fn show_states(pool: &PgPool, campaign: CampaignId) -> anyhow::Result<()> {
    println!("\nState, provider id and time of every recipient:\n\n{STATES};\n");
    // Of the same statement, so that nothing but its end differs from what is printed.
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{STATES} limit 3")))
        .bind(campaign.uuid())
        .fetch_all(pool)
        .await?;
    for row in rows {
        let text = |name: &str| row.get::<Option<String>, _>(name).unwrap_or_default();
        let (n, address, state) = (row.get::<i32, _>("n"), text("address"), text("state"));
        println!("  {n:>7}  {address}  {state}  {}{}  {}", text("reason"), text("provider_id"), text("at"));
    }
    Ok(())
}

/// How long the engine takes for the first page of "who was not sent, and why", in milliseconds, and how many are on it.
pub(crate) async fn not_sent(seeded: &Seeded, campaign: CampaignId) -> anyhow::Result<(f64, usize)> {
    let started = Instant::now();
    let page = seeded.not_sent(campaign, PAGE).await?;
    Ok((started.elapsed().as_secs_f64() * 1e3, page.len()))
}
