//! Everything that is sealed, so that it can be sealed anew with another key. A secret that is changed meanwhile stays as it
//! was changed.

use uuid::Uuid;

use super::{Store, StoreResult};
use crate::id::{AccountId, TenantId, UserId};

/// Rows that are read at once.
const PAGE: i64 = 500;

/// What a secret belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Account(TenantId, AccountId),
    /// A second factor that is in use, or one that waits for its first code.
    SecondFactor(UserId),
}

/// A secret as it is stored.
#[derive(Debug, Clone)]
pub struct SealedSecret {
    pub owner: Owner,
    pub sealed: Vec<u8>,
}

/// Where secrets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Account,
    SecondFactor,
}

impl Store {
    /// Some of the secrets after the row `after`, and the last row of them.
    pub async fn sealed(
        &self,
        kind: Kind,
        after: Option<Uuid>,
    ) -> StoreResult<(Vec<SealedSecret>, Option<Uuid>)> {
        match kind {
            Kind::Account => self.sealed_accounts(after).await,
            Kind::SecondFactor => self.sealed_factors(after).await,
        }
    }

    async fn sealed_accounts(&self, after: Option<Uuid>) -> StoreResult<(Vec<SealedSecret>, Option<Uuid>)> {
        let rows = sqlx::query!(
            r#"select id, tenant_id, secrets as "secrets!" from accounts
               where secrets is not null and ($1::uuid is null or id > $1) order by id limit $2"#,
            after as _,
            PAGE,
        )
        .fetch_all(self.pool())
        .await?;
        let last = rows.last().map(|row| row.id);
        let secret = rows.into_iter().map(|row| SealedSecret {
            owner: Owner::Account(row.tenant_id.into(), row.id.into()),
            sealed: row.secrets,
        });
        Ok((secret.collect(), last))
    }

    async fn sealed_factors(&self, after: Option<Uuid>) -> StoreResult<(Vec<SealedSecret>, Option<Uuid>)> {
        let rows = sqlx::query!(
            "select id, totp_secret, totp_pending from users
             where coalesce(totp_secret, totp_pending) is not null and ($1::uuid is null or id > $1) order by id limit $2",
            after as _,
            PAGE,
        )
        .fetch_all(self.pool())
        .await?;
        let last = rows.last().map(|row| row.id);
        let secrets = rows.into_iter().flat_map(|row| {
            let owner = Owner::SecondFactor(row.id.into());
            [row.totp_secret, row.totp_pending]
                .into_iter()
                .flatten()
                .map(move |sealed| SealedSecret { owner, sealed })
        });
        Ok((secrets.collect(), last))
    }

    /// Puts another seal on a secret; false where it has been changed since it was read.
    pub async fn seal_anew(&self, secret: &SealedSecret, sealed: &[u8]) -> StoreResult<bool> {
        let done = match secret.owner {
            Owner::Account(_, id) => {
                sqlx::query!(
                    "update accounts set secrets = $3 where id = $1 and secrets = $2",
                    id.uuid(),
                    secret.sealed,
                    sealed,
                )
                .execute(self.pool())
                .await?
            }
            Owner::SecondFactor(id) => {
                sqlx::query!(
                    "update users set totp_secret = case when totp_secret = $2 then $3 else totp_secret end,
                         totp_pending = case when totp_pending = $2 then $3 else totp_pending end
                     where id = $1 and (totp_secret = $2 or totp_pending = $2)",
                    id.uuid(),
                    secret.sealed,
                    sealed,
                )
                .execute(self.pool())
                .await?
            }
        };
        Ok(done.rows_affected() == 1)
    }
}
