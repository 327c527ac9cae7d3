//! `account_pace`: where an account's permits come from, its shared pace, and grants while Redis is away.
//!
//! Decisions here are conditional updates of one row by the database's clock, so that any number of processes may make
//! them at once and one of them takes effect.

use std::time::Duration;

use sqlx::types::Json;

use super::{Store, StoreResult};
use crate::{
    id::AccountId,
    limit::{
        Limits,
        timeline::{Ask, Slots, Timeline, Used, Windows},
        window::RECOVERY_PER_SECOND,
    },
};

/// After a change of source, nothing is granted for so long: processes that have not heard of it yet stop within a
/// second of their last look.
pub const QUIET: Duration = Duration::from_millis(1_500);
/// Redis is used again when nobody has reported for so long that it can't reach it.
const HEALED_AFTER: f64 = 5.0;
/// Whoever uses an account first has so long to bring that to Redis.
const FIRST_USE: Duration = Duration::from_secs(2);
/// A refusal leaves this share of the pace.
const LOWERED_TO: f64 = 0.7;

/// The row as every process reads it a few times a second. Ages in microseconds by the database's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaceRow {
    pub account: AccountId,
    pub source: Source,
    /// When the source was chosen: larger with every change.
    pub epoch: i64,
    pub source_age: i64,
    pub cut_age: Option<i64>,
    pub lowered: Option<f64>,
    pub generation: i64,
    pub lowered_age: i64,
    /// How long nothing may leave.
    pub blocked: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Redis,
    Postgres,
}

/// What Postgres grants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum PostgresGrant {
    /// Times in microseconds of the database's clock.
    Slots { now: i64, slots: Slots },
    /// Permits come from Redis, or the change is too recent.
    NotYet,
}

impl Store {
    pub async fn ensure_pace(&self, accounts: &[AccountId]) -> StoreResult<()> {
        let ids: Vec<uuid::Uuid> = accounts.iter().map(|id| id.uuid()).collect();
        sqlx::query!(
            // An account that was deleted meanwhile has no row to pace.
            "insert into account_pace (account_id) select id from accounts where id = any($1)
             on conflict do nothing",
            &ids
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    pub async fn pace_rows(&self, accounts: &[AccountId]) -> StoreResult<Vec<PaceRow>> {
        let ids: Vec<uuid::Uuid> = accounts.iter().map(|id| id.uuid()).collect();
        let rows = sqlx::query!(
            r#"select account_id, mode = 'postgres' as "postgres!", adaptive_rate, rate_generation,
                      (extract(epoch from mode_since) * 1e6)::bigint as "epoch!",
                      (extract(epoch from now() - mode_since) * 1e6)::bigint as "source_age!",
                      (extract(epoch from now() - cut_reported_at) * 1e6)::bigint as cut_age,
                      (extract(epoch from now() - rate_changed_at) * 1e6)::bigint as "lowered_age!",
                      (extract(epoch from next_slot - now()) * 1e6)::bigint as "blocked!"
               from account_pace where account_id = any($1)"#,
            &ids
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| PaceRow {
                account: row.account_id.into(),
                source: if row.postgres { Source::Postgres } else { Source::Redis },
                epoch: row.epoch,
                source_age: row.source_age,
                cut_age: row.cut_age,
                lowered: row.adaptive_rate,
                generation: row.rate_generation,
                lowered_age: row.lowered_age,
                blocked: row.blocked.max(0),
            })
            .collect())
    }

    /// Lets permits come from Postgres, because this process can't reach Redis; answers how many accounts changed.
    pub async fn leave_redis(&self, accounts: &[AccountId]) -> StoreResult<u64> {
        let ids: Vec<uuid::Uuid> = accounts.iter().map(|id| id.uuid()).collect();
        let changed = sqlx::query!(
            "update account_pace
             set mode = 'postgres', mode_since = clock_timestamp(), cut_reported_at = clock_timestamp()
             where account_id = any($1) and mode = 'redis'",
            &ids
        )
        .execute(self.pool())
        .await?;
        Ok(changed.rows_affected())
    }

    /// Says that this process still can't reach Redis.
    pub async fn report_cut(&self, accounts: &[AccountId]) -> StoreResult<()> {
        let ids: Vec<uuid::Uuid> = accounts.iter().map(|id| id.uuid()).collect();
        sqlx::query!(
            "update account_pace set cut_reported_at = clock_timestamp()
             where account_id = any($1) and mode = 'postgres'
               and cut_reported_at < clock_timestamp() - interval '900 milliseconds'",
            &ids
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Lets permits come from Redis again where nobody has been cut from it lately; answers how many accounts changed.
    pub async fn return_to_redis(&self, accounts: &[AccountId]) -> StoreResult<u64> {
        let ids: Vec<uuid::Uuid> = accounts.iter().map(|id| id.uuid()).collect();
        let changed = sqlx::query!(
            "update account_pace
             set mode = 'redis', mode_since = clock_timestamp(), cut_reported_at = null,
                 -- Since its last grant Postgres knows that nothing was granted: there is no gap to assume the worst of.
                 used_at = case when used_at >= mode_since then clock_timestamp() else used_at end
             where account_id = any($1) and mode = 'postgres'
               and mode_since < clock_timestamp() - make_interval(secs => $2)
               and coalesce(cut_reported_at, '-infinity') < clock_timestamp() - make_interval(secs => $2)",
            &ids,
            HEALED_AFTER
        )
        .execute(self.pool())
        .await?;
        Ok(changed.rows_affected())
    }

    /// Lowers an account's pace, if the refused request had been permitted at the pace that holds now, and at most once
    /// a second. `limit` is what the pace recovers to, in requests a second.
    pub async fn lower_pace(&self, account: AccountId, generation: i64, limit: f64) -> StoreResult<bool> {
        let changed = sqlx::query!(
            "update account_pace
             set adaptive_rate = $3::float8 * least($4::float8, coalesce(adaptive_rate, $4)
                   + $5::float8 * $4 * extract(epoch from now() - rate_changed_at)::float8),
                 rate_generation = rate_generation + 1, rate_changed_at = now()
             where account_id = $1 and rate_generation = $2
               and (rate_generation = 0 or rate_changed_at < now() - interval '1 second')",
            account.uuid(),
            generation,
            LOWERED_TO,
            limit,
            RECOVERY_PER_SECOND
        )
        .execute(self.pool())
        .await?;
        Ok(changed.rows_affected() == 1)
    }

    /// Lets nothing leave for `wait`.
    pub async fn block_pace(&self, account: AccountId, wait: Duration) -> StoreResult<()> {
        sqlx::query!(
            "update account_pace set next_slot = greatest(next_slot, now() + make_interval(secs => $2))
             where account_id = $1",
            account.uuid(),
            wait.as_secs_f64()
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Keeps what the long windows hold, as Redis had it a moment ago while it spoke for `epoch`.
    pub(crate) async fn keep_used(
        &self,
        account: AccountId,
        epoch: i64,
        windows: &Windows,
    ) -> StoreResult<()> {
        sqlx::query!(
            "update account_pace
             set used = coalesce(used, '{}') || jsonb_build_object('windows', $3::jsonb), used_at = clock_timestamp()
             where account_id = $1 and mode = 'redis' and (extract(epoch from mode_since) * 1e6)::bigint = $2",
            account.uuid(),
            epoch,
            Json(windows) as _
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Keeps how many people Redis counted at its moment `at`, in microseconds.
    pub(crate) async fn keep_people(&self, account: AccountId, people: i64, at: i64) -> StoreResult<()> {
        sqlx::query!(
            "update account_pace
             set used = coalesce(used, '{}') || jsonb_build_object('people', $2::bigint, 'people_at', $3::bigint)
             where account_id = $1 and coalesce((used->>'people_at')::bigint, 0) < $3",
            account.uuid(),
            people,
            at
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// How many people Redis counted when it was last asked.
    pub(crate) async fn people(&self, account: AccountId) -> StoreResult<u64> {
        let people = sqlx::query_scalar!(
            r#"select coalesce((used->>'people')::bigint, 0) as "people!" from account_pace where account_id = $1"#,
            account.uuid()
        )
        .fetch_one(self.pool())
        .await?;
        Ok(u64::try_from(people).unwrap_or(0))
    }

    /// What to assume that the long windows hold, for a Redis that has lost it. The first to ask marks the row, so that
    /// an account that was never used is told apart from one whose past is unknown; `None` to the others until that one
    /// has had its time.
    pub(crate) async fn used(&self, account: AccountId, limits: &Limits) -> StoreResult<Option<Used>> {
        let row = sqlx::query!(
            r#"with before as (select account_id, used, used_at from account_pace where account_id = $1 for update)
               update account_pace set used = coalesce(account_pace.used, '{}'),
                                       used_at = coalesce(account_pace.used_at, clock_timestamp())
               from before where account_pace.account_id = before.account_id
               returning before.used as "used: Json<Used>",
                         (extract(epoch from clock_timestamp() - before.used_at) * 1e6)::bigint as gap,
                         (extract(epoch from clock_timestamp()) * 1e6)::bigint as "now!""#,
            account.uuid()
        )
        .fetch_one(self.pool())
        .await?;
        let first_asker_s_time = i64::try_from(FIRST_USE.as_micros()).expect("seconds");
        Ok(match (row.used, row.gap) {
            (Some(Json(used)), Some(gap)) if used.is_unused() && gap < first_asker_s_time => None,
            (Some(Json(used)), Some(gap)) => Some(used.after_gap(limits, gap, row.now)),
            _ => Some(Used::default()),
        })
    }

    /// Grants slots while Redis is away. The row's lock orders the askers; only what long windows count must survive a
    /// crash of the database, since the slots of a moment ago are past when it is back.
    pub(crate) async fn grant(
        &self,
        account: AccountId,
        limits: &Limits,
        ask: Ask,
    ) -> StoreResult<PostgresGrant> {
        let begin =
            if limits.long().is_empty() { "begin; set local synchronous_commit = off" } else { "begin" };
        let mut tx = self.begun(begin).await?;
        let row = sqlx::query!(
            r#"select (extract(epoch from next_slot) * 1e6)::bigint as "next!", used as "used: Json<Used>",
                      mode = 'postgres' and mode_since < clock_timestamp() - make_interval(secs => $2) as "granting!",
                      used_at < mode_since as "behind", 
                      (extract(epoch from clock_timestamp() - used_at) * 1e6)::bigint as gap,
                      (extract(epoch from clock_timestamp()) * 1e6)::bigint as "now!"
               from account_pace where account_id = $1 for update"#,
            account.uuid(),
            QUIET.as_secs_f64()
        )
        .fetch_one(&mut *tx)
        .await?;
        if !row.granting {
            return Ok(PostgresGrant::NotYet);
        }
        let used = match (row.used, row.behind, row.gap) {
            (Some(Json(used)), Some(true), Some(gap)) => used.after_gap(limits, gap, row.now),
            (Some(Json(used)), ..) => used,
            (None, ..) => Used::default(),
        };
        let mut timeline = Timeline { next: row.next, used };
        let slots = timeline.grant(limits, ask, row.now);
        if slots.count > 0 {
            let used = (!limits.long().is_empty()).then_some(Json(timeline.used));
            sqlx::query!(
                "update account_pace
                 set next_slot = to_timestamp($2::float8 / 1e6), used = coalesce($3, used),
                     used_at = case when $3::jsonb is null then used_at else clock_timestamp() end
                 where account_id = $1",
                account.uuid(),
                timeline.next as f64,
                used as _
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(PostgresGrant::Slots { now: row.now, slots })
    }
}
