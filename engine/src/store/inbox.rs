//! Webhooks as they came, until they are applied.

use super::{Store, StoreResult};
use crate::id::AccountId;

impl Store {
    /// Durable when it returns.
    pub async fn keep_webhook(&self, account: AccountId, body: &[u8]) -> StoreResult<()> {
        sqlx::query!("insert into inbox (account_id, body) values ($1, $2)", account.uuid(), body)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}
