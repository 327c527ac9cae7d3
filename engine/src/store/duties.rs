//! Duties that one process does at a time: a lease row by the database's clock, with a fencing number.
//!
//! A session's advisory lock can live for hours on a half-open connection; a lease ends by itself. So a holder may be
//! frozen past its lease and wake while another has taken over. A duty therefore works with [`Store::on_duty`]: each of
//! its transactions begins by looking at the fence and shares a lock on that row until it commits. Whoever takes over
//! raises the fence, so it waits for a transaction that has begun, and every later one of the former holder fails with
//! [`StoreError::Superseded`]. A process that is frozen inside a transaction keeps nobody waiting for long: the server
//! ends its session (`IDLE_IN_TRANSACTION` in the parent module).
//!
//! The feeders write no row: they add hints, and a hint too many is a look at a row.

use std::time::Duration;

use sqlx::PgConnection;

use super::{Store, StoreError, StoreResult};
use crate::id::ProcessId;

/// Proves that this process held a duty when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DutyProof {
    name: &'static str,
    pub fence: i64,
}

impl DutyProof {
    /// Whether the duty is still held; until the end of the transaction nobody else can take it over.
    pub(super) async fn check(self, connection: &mut PgConnection) -> StoreResult<()> {
        sqlx::query!(
            "select 1 as one from duties where name = $1 and fence = $2 for share",
            self.name,
            self.fence
        )
        .fetch_optional(connection)
        .await?
        .map(drop)
        .ok_or(StoreError::Superseded(self.name))
    }
}

impl Store {
    /// Takes or renews a duty for `lease`; `None` while another process holds it.
    pub async fn hold_duty(
        &self,
        name: &'static str,
        holder: ProcessId,
        lease: Duration,
    ) -> StoreResult<Option<DutyProof>> {
        let fence = sqlx::query_scalar!(
            "insert into duties as d (name, holder, fence, until) values ($1, $2, 1, now() + make_interval(secs => $3))
             on conflict (name) do update
                 set holder = $2, until = excluded.until,
                     fence = case when d.holder = $2 then d.fence else d.fence + 1 end
                 where d.holder = $2 or d.until < now()
             returning fence",
            name,
            holder.uuid(),
            lease.as_secs_f64(),
        )
        .fetch_optional(self.pool())
        .await?;
        Ok(fence.map(|fence| DutyProof { name, fence }))
    }

    /// The same database, for one turn of a duty: each transaction begins by checking that the duty is still held.
    pub fn on_duty(&self, proof: DutyProof) -> Self {
        Self { duty: Some(proof), ..self.clone() }
    }

    /// Lets the duties of a process that ends go at once.
    pub async fn drop_duties(&self, holder: ProcessId) -> StoreResult<()> {
        sqlx::query!("update duties set until = now() where holder = $1", holder.uuid())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Makes the partitions of this month and the next ones; returns how many are new.
    pub async fn ensure_partitions(&self) -> StoreResult<i32> {
        let mut tx = self.begin().await?;
        let made = sqlx::query_scalar!(
            r#"select ensure_partitions((now() at time zone 'UTC')::date,
                                        ((now() at time zone 'UTC') + interval '2 months')::date) as "made!""#
        )
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Drops the partitions of months that ended more than `months` months ago; returns their names.
    pub async fn drop_partitions(&self, months: i32) -> StoreResult<Vec<String>> {
        let mut tx = self.begin().await?;
        let dropped = sqlx::query_scalar!(r#"select drop_partitions($1) as "dropped!""#, months)
            .fetch_all(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(dropped)
    }
}
