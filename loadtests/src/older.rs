//! What an old database has that a fresh one lacks: results of earlier campaigns, and somebody else's snapshot.

use anyhow::Context as _;
use indicatif::ProgressBar;
use sqlx::PgPool;

/// Results of one earlier campaign.
const EACH: i64 = 1_000_000;

/// Results of campaigns of an hour ago, in the partition into which the run writes. One of a thousand is a failure.
pub(crate) async fn results(pool: &PgPool, count: u64, bar: &ProgressBar) -> anyhow::Result<()> {
    let count = i64::try_from(count)?;
    for before in (0..count).step_by(usize::try_from(EACH)?) {
        sqlx::query(
            "with told as (
                 select uuid_floor(now() - interval '1 hour' + make_interval(secs => $1::float8 / 1e6)) as campaign, n,
                        now() - interval '1 hour' as at, n % 1000 = 0 as failed
                 from generate_series(1, least($2, $3 - $1)::integer) n
             ), accepted as (
                 insert into acceptances (campaign_id, first_n, last_n, attempt, account_no, ats, provider_ids)
                 select campaign, min(n), max(n), 1, 1, array_agg(at order by n),
                        array_agg(lpad(to_hex($1 + n), 16, '0') || '@sink' order by n)
                 from told where not failed group by campaign, n / 100
             )
             insert into results (campaign_id, n, attempt, kind, account_no, at, reason)
             select campaign, n, 1, 2, 1, at, 'invalid_address' from told where failed",
        )
        .bind(before)
        .bind(EACH)
        .bind(count)
        .execute(pool)
        .await
        .context("older results")?;
        bar.set_position((before + EACH).min(count).unsigned_abs());
    }
    sqlx::query("vacuum analyze results, acceptances").execute(pool).await?;
    sqlx::query("checkpoint").execute(pool).await?;
    Ok(())
}

/// A transaction that sees the database as it is now, and keeps every row version since, until it is dropped.
pub(crate) async fn snapshot(pool: &PgPool) -> anyhow::Result<sqlx::PgTransaction<'static>> {
    let mut held = pool.begin_with("begin isolation level repeatable read").await?;
    sqlx::query("select count(*) from campaigns").execute(&mut *held).await?;
    Ok(held)
}
