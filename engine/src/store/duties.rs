//! Duties that one process does at a time: a lease row by the database's clock, with a fencing number.
//!
//! A session's advisory lock can live for hours on a half-open connection; a lease ends by itself. Every duty here is
//! idempotent and ordered by row locks, so that two holders for a moment do no harm; the fence tells them apart.

use std::time::Duration;

use super::{Store, StoreResult};
use crate::id::ProcessId;

/// Proves that this process held a duty when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DutyProof {
    pub fence: i64,
}

impl Store {
    /// Takes or renews a duty for `lease`; `None` while another process holds it.
    pub async fn hold_duty(
        &self,
        name: &str,
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
        Ok(fence.map(|fence| DutyProof { fence }))
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
        Ok(sqlx::query_scalar!(
            r#"select ensure_partitions((now() at time zone 'UTC')::date,
                                        ((now() at time zone 'UTC') + interval '2 months')::date) as "made!""#
        )
        .fetch_one(self.pool())
        .await?)
    }

    /// Drops the partitions of months that ended more than `months` months ago; returns their names.
    pub async fn drop_partitions(&self, months: i32) -> StoreResult<Vec<String>> {
        Ok(sqlx::query_scalar!(r#"select drop_partitions($1) as "dropped!""#, months)
            .fetch_all(self.pool())
            .await?)
    }
}
