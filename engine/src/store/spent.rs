//! What proved something once and proves nothing any more: answers past their day, failures that are forgotten, links and
//! tokens past their time, sessions long over. Whoever asks for one is told the same with or without its row.

use super::{Store, StoreResult};

impl Store {
    /// Deletes at most so many rows of each table; of the table that had most, how many they were.
    pub async fn delete_spent(&self, limit: i64) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let keys = sqlx::query!(
            "delete from idempotency_keys where ctid = any (array(
                 select ctid from idempotency_keys where started_at < now() - interval '24 hours' limit $1))",
            limit,
        );
        let mut most = keys.execute(&mut *tx).await?.rows_affected();
        let failures = sqlx::query!(
            "delete from sign_in_failures where ctid = any (array(
                 select ctid from sign_in_failures
                 where last_at < now() - interval '1 day' and coalesce(locked_until, last_at) < now() limit $1))",
            limit,
        );
        most = most.max(failures.execute(&mut *tx).await?.rows_affected());
        let links = sqlx::query!(
            "delete from one_time_links where ctid = any (array(
                 select ctid from one_time_links where expires_at < now() limit $1))",
            limit,
        );
        most = most.max(links.execute(&mut *tx).await?.rows_affected());
        // One that was used stays until it ends: that it comes again shows that it was stolen.
        let tokens = sqlx::query!(
            "delete from refresh_tokens where ctid = any (array(
                 select ctid from refresh_tokens where expires_at < now() limit $1))",
            limit,
        );
        most = most.max(tokens.execute(&mut *tx).await?.rows_affected());
        // Their last tokens go with them: few, since all others ended long before.
        let sessions = sqlx::query!(
            "delete from sessions where ctid = any (array(
                 select ctid from sessions where coalesce(revoked_at, expires_at) < now() - interval '30 days' limit $1))",
            limit,
        );
        most = most.max(sessions.execute(&mut *tx).await?.rows_affected());
        tx.commit().await?;
        Ok(most)
    }
}
