//! Webhooks that come back: where they are posted, and whether what they say is applied.

use std::time::Duration;

use anyhow::ensure;
use sqlx::PgPool;
use tokio::time::Instant;

use crate::{fleet::Fleet, receiver::Receiver, seed::Seeded};

/// Webhooks of which none is taken in or applied for so long have come to a stop.
const STALLED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// Where the provider posts them.
pub(crate) async fn path(seeded: &Seeded) -> anyhow::Result<String> {
    Ok(format!("/hooks/{}", seeded.account().await?))
}

/// Whether so many events were taken in and none waits. A webhook leaves the inbox in the transaction that applies it.
pub(crate) async fn all_applied(pool: &PgPool, receiver: &Receiver, events: u64) -> anyhow::Result<bool> {
    Ok(receiver.hooked().await?.answered >= events
        && sqlx::query_scalar("select not exists (select from inbox)").fetch_one(pool).await?)
}

/// Returns once that is so.
pub(crate) async fn applied(
    pool: &PgPool,
    receiver: &Receiver,
    fleet: &mut Fleet,
    events: u64,
) -> anyhow::Result<()> {
    let (mut last, mut changed) = ((0, 0), Instant::now());
    while !all_applied(pool, receiver, events).await? {
        let now = (receiver.hooked().await?.answered, backlog(pool).await?);
        if now != last {
            (last, changed) = (now, Instant::now());
        }
        fleet.check()?;
        let (answered, waiting) = now;
        ensure!(
            changed.elapsed() < STALLED,
            "of {events} events {answered} were taken in, {waiting} webhooks wait, and nothing has moved for {STALLED:?}"
        );
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Webhooks that wait.
pub(crate) async fn backlog(pool: &PgPool) -> anyhow::Result<u64> {
    let sql = "select coalesce(sum(webhooks), 0) from inbox";
    Ok(sqlx::query_scalar::<_, i64>(sql).fetch_one(pool).await?.unsigned_abs())
}
