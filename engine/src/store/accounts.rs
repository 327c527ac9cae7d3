//! Provider accounts: what the configuration says of them, without its secrets, and whether their provider refuses them.
//! Those that the API makes are in [`super::kept`], too.

use std::{num::NonZeroU64, time::Duration};

use jiff_sqlx::ToSqlx as _;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, StoreResult};
use crate::{
    domain::{
        channel::{Channel, Provider},
        outcome::Reason,
    },
    id::{AccountId, TenantId},
    limit::Window,
};

#[derive(Debug, Clone)]
pub struct Account {
    pub id: AccountId,
    pub no: i16,
    pub tenant: TenantId,
    pub slug: String,
    pub provider: Provider,
    pub limits: Vec<Window>,
    /// Distinct people that it may write to in 24 hours.
    pub people_per_day: Option<i64>,
    /// The provider refuses the account until then.
    pub blocked: Option<Blocked>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    pub until: jiff::Timestamp,
    pub reason: String,
}

/// An account as the configuration states it.
#[derive(Debug, Clone)]
pub struct AccountDeclaration<'a> {
    pub id: AccountId,
    pub tenant: TenantId,
    pub slug: &'a str,
    pub provider: Provider,
    pub priority: i16,
    pub limits: &'a [Window],
    pub people_per_day: Option<NonZeroU64>,
    /// Its messages reach nobody.
    pub sandbox: bool,
}

struct Row {
    id: uuid::Uuid,
    no: i16,
    tenant_id: uuid::Uuid,
    slug: String,
    provider: Provider,
    limits: sqlx::types::Json<Vec<Window>>,
    people_per_day: Option<i64>,
    blocked_until: Option<jiff_sqlx::Timestamp>,
    blocked_reason: Option<String>,
}

impl From<Row> for Account {
    fn from(row: Row) -> Self {
        let blocked = row
            .blocked_until
            .map(|until| Blocked { until: until.to_jiff(), reason: row.blocked_reason.unwrap_or_default() });
        Self {
            id: row.id.into(),
            no: row.no,
            tenant: row.tenant_id.into(),
            slug: row.slug,
            provider: row.provider,
            limits: row.limits.0,
            people_per_day: row.people_per_day,
            blocked,
        }
    }
}

impl Store {
    /// Makes the row of a configured account, or brings it up to date; gives the id that it has. An account that changes
    /// its provider is another account: give it another name.
    pub async fn declare_account(&self, account: &AccountDeclaration<'_>) -> StoreResult<AccountId> {
        let mut tx = self.begin().await?;
        let row = sqlx::query!(
            r#"insert into accounts (id, tenant_id, slug, provider, priority, limits, sandbox, people_per_day)
               values ($1, $2, $3, $4, $5, $6, $7, $8)
               -- One that the API made under this name is the configuration's from now on.
               on conflict (tenant_id, slug) do update set priority = excluded.priority, limits = excluded.limits,
                   sandbox = excluded.sandbox, configured = true, settings = null, secrets = null, secret_hint = null, secret_changed_at = null,
                   people_per_day = excluded.people_per_day,
                   updated_at = case when (accounts.configured, accounts.priority, accounts.limits, accounts.sandbox, accounts.people_per_day)
                                          is not distinct from (true, excluded.priority, excluded.limits, excluded.sandbox, excluded.people_per_day)
                                then accounts.updated_at else now() end
               returning id, provider as "provider: Provider""#,
            account.id.uuid(),
            account.tenant.uuid(),
            account.slug,
            account.provider.as_str(),
            account.priority,
            sqlx::types::Json(account.limits) as _,
            account.sandbox,
            account.people_per_day.map(|people| i64::try_from(people.get()).unwrap_or(i64::MAX)),
        )
        .fetch_one(&mut *tx)
        .await?;
        if row.provider != account.provider {
            return Err(StoreError::Conflict(format!(
                "account `{}` was a {} account before; give the {} account another name",
                account.slug, row.provider, account.provider
            )));
        }
        sqlx::query!("insert into account_pace (account_id) values ($1) on conflict do nothing", row.id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(row.id.into())
    }

    pub async fn accounts(&self) -> StoreResult<Vec<Account>> {
        let rows = sqlx::query_as!(
            Row,
            r#"select id, no, tenant_id, slug, provider as "provider: Provider", limits as "limits: _", people_per_day,
                      case when blocked_until > now() then blocked_until end as "blocked_until: _", blocked_reason
               from accounts where deleted_at is null order by tenant_id, priority, slug"#
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(Account::from).collect())
    }

    /// The accounts that serve a channel of a tenant, in the order in which they are tried.
    pub async fn route(&self, tenant: TenantId, channel: Channel) -> StoreResult<Vec<AccountId>> {
        let accounts = sqlx::query!(
            r#"select id, provider as "provider: Provider" from accounts
               where tenant_id = $1 and deleted_at is null order by priority, slug"#,
            tenant.uuid(),
        );
        let accounts = accounts.fetch_all(self.pool()).await?.into_iter();
        Ok(accounts.filter(|row| row.provider.channel() == channel).map(|row| row.id.into()).collect())
    }

    /// Notes that the provider refuses the account itself. Everybody leaves it alone for a while, then one tries again.
    pub async fn block_account(&self, account: AccountId, reason: Reason, wait: Duration) -> StoreResult<()> {
        sqlx::query!(
            "update accounts set blocked_until = now() + make_interval(secs => $2), blocked_reason = $3
             where id = $1 and (blocked_until is null or blocked_until < now())",
            account.uuid(),
            wait.as_secs_f64(),
            reason.as_str(),
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// The database's clock, by which everything that is due is decided.
    pub async fn now(&self) -> StoreResult<jiff::Timestamp> {
        let now = sqlx::query_scalar!(r#"select now() as "now!: jiff_sqlx::Timestamp""#)
            .fetch_one(self.pool())
            .await?;
        Ok(now.to_jiff())
    }
}

/// A moment as a statement takes it.
pub(crate) fn moment(at: Option<jiff::Timestamp>) -> Option<jiff_sqlx::Timestamp> {
    at.map(|at| at.to_sqlx())
}
