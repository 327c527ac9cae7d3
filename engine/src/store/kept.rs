//! Accounts as the API shows them, and those that it makes: their settings stand in the database, their secrets sealed.
//!
//! Nothing here opens a seal, and nothing that is listed holds one: only [`sealed`] and [`Store::kept_accounts`] give them out.

use std::{num::NonZeroU64, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::{PgConnection, types::Json};

use super::{
    Store, StoreError, StoreResult,
    accounts::{Account, Blocked},
};
use crate::{
    domain::channel::Provider,
    id::{AccountId, TenantId},
    limit::Window,
};

/// An account, whoever made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub id: AccountId,
    pub slug: String,
    pub provider: Provider,
    pub priority: i16,
    pub limits: Vec<Window>,
    pub people_per_day: Option<u64>,
    /// Its messages reach nobody.
    pub sandbox: bool,
    /// The configuration of the processes states it; `None`: the API made it, with these settings.
    pub settings: Option<Map<String, Value>>,
    pub secret_hint: Option<String>,
    pub secret_changed_at: Option<Timestamp>,
    pub blocked: Option<Blocked>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An account of the API, as a process needs it to send.
#[derive(Debug, Clone)]
pub struct Kept {
    pub account: Account,
    pub settings: Map<String, Value>,
    /// Sealed.
    pub secrets: Vec<u8>,
    pub people_per_day: Option<NonZeroU64>,
    pub updated_at: Timestamp,
}

/// What may be changed of an account, beside its secrets.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    pub priority: i16,
    pub limits: &'a [Window],
    pub people_per_day: Option<i64>,
    pub settings: &'a Map<String, Value>,
}

/// Secrets as they are kept.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    pub secrets: &'a [u8],
    pub hint: Option<&'a str>,
}

struct Row {
    id: uuid::Uuid,
    slug: String,
    provider: Provider,
    priority: i16,
    limits: Json<Vec<Window>>,
    people_per_day: Option<i64>,
    sandbox: bool,
    settings: Option<Json<Map<String, Value>>>,
    secret_hint: Option<String>,
    secret_changed_at: Option<jiff_sqlx::Timestamp>,
    blocked_until: Option<jiff_sqlx::Timestamp>,
    blocked_reason: Option<String>,
    created_at: jiff_sqlx::Timestamp,
    updated_at: jiff_sqlx::Timestamp,
}

impl From<Row> for Listed {
    fn from(row: Row) -> Self {
        let reason = row.blocked_reason.unwrap_or_default();
        Self {
            id: row.id.into(),
            slug: row.slug,
            provider: row.provider,
            priority: row.priority,
            limits: row.limits.0,
            people_per_day: row.people_per_day.map(i64::unsigned_abs),
            sandbox: row.sandbox,
            settings: row.settings.map(|settings| settings.0),
            secret_hint: row.secret_hint,
            secret_changed_at: row.secret_changed_at.map(jiff_sqlx::Timestamp::to_jiff),
            blocked: row.blocked_until.map(|until| Blocked { until: until.to_jiff(), reason }),
            created_at: row.created_at.to_jiff(),
            updated_at: row.updated_at.to_jiff(),
        }
    }
}

/// All of a tenant, in the order in which they are tried.
pub async fn list(tx: &mut PgConnection, tenant: TenantId) -> StoreResult<Vec<Listed>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, slug, provider as "provider: _", priority, limits as "limits: _", people_per_day, sandbox,
                  settings as "settings: _", secret_hint, secret_changed_at as "secret_changed_at: _",
                  case when blocked_until > now() then blocked_until end as "blocked_until: _", blocked_reason,
                  created_at as "created_at: _", updated_at as "updated_at: _"
           from accounts where tenant_id = $1 and deleted_at is null order by priority, slug"#,
        tenant.uuid(),
    );
    Ok(rows.fetch_all(tx).await?.into_iter().map(Listed::from).collect())
}

/// One account.
pub async fn get(tx: &mut PgConnection, tenant: TenantId, id: AccountId) -> StoreResult<Listed> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, slug, provider as "provider: _", priority, limits as "limits: _", people_per_day, sandbox,
                  settings as "settings: _", secret_hint, secret_changed_at as "secret_changed_at: _",
                  case when blocked_until > now() then blocked_until end as "blocked_until: _", blocked_reason,
                  created_at as "created_at: _", updated_at as "updated_at: _"
           from accounts where tenant_id = $1 and id = $2 and deleted_at is null"#,
        tenant.uuid(),
        id.uuid(),
    );
    Ok(row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?.into())
}

/// The same, under the lock of an edit.
pub async fn lock(tx: &mut PgConnection, tenant: TenantId, id: AccountId) -> StoreResult<Listed> {
    let locked = sqlx::query!(
        "select 1 as one from accounts where tenant_id = $1 and id = $2 and deleted_at is null for no key update",
        tenant.uuid(),
        id.uuid(),
    );
    locked.fetch_optional(&mut *tx).await?.ok_or_else(|| StoreError::not_found(id))?;
    get(tx, tenant, id).await
}

/// The sealed secrets of an account that the API made.
pub async fn sealed(tx: &mut PgConnection, tenant: TenantId, id: AccountId) -> StoreResult<Vec<u8>> {
    let sealed = sqlx::query_scalar!(
        r#"select secrets as "secrets!" from accounts
           where tenant_id = $1 and id = $2 and deleted_at is null and secrets is not null"#,
        tenant.uuid(),
        id.uuid(),
    );
    sealed.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))
}

/// Whose account it is, and at which provider.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    pub tenant: TenantId,
    pub id: AccountId,
    pub slug: &'a str,
    pub provider: Provider,
}

/// Makes an account; another of the same name is a conflict.
pub async fn create(
    tx: &mut PgConnection,
    named: Named<'_>,
    terms: &Terms<'_>,
    sealed: Sealed<'_>,
) -> StoreResult<()> {
    let made = sqlx::query!(
        "insert into accounts (id, tenant_id, slug, provider, priority, limits, people_per_day, configured, settings,
                               secrets, secret_hint, secret_changed_at, sandbox)
         values ($1, $2, $3, $4, $5, $6, $7, false, $8, $9, $10, now(), coalesce(($8::jsonb -> 'sandbox')::boolean, false))
         on conflict (tenant_id, slug) do nothing",
        named.id.uuid(),
        named.tenant.uuid(),
        named.slug,
        named.provider.as_str(),
        terms.priority,
        Json(terms.limits) as _,
        terms.people_per_day,
        Json(terms.settings) as _,
        sealed.secrets,
        sealed.hint,
    )
    .execute(tx)
    .await?;
    if made.rows_affected() == 0 {
        return Err(StoreError::Conflict(format!("an account `{}` exists already", named.slug)));
    }
    Ok(())
}

pub async fn change(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: AccountId,
    terms: &Terms<'_>,
) -> StoreResult<()> {
    sqlx::query!(
        "update accounts set priority = $3, limits = $4, people_per_day = $5, settings = $6,
             sandbox = coalesce(($6::jsonb -> 'sandbox')::boolean, false), updated_at = clock_timestamp()
         where tenant_id = $1 and id = $2 and not configured",
        tenant.uuid(),
        id.uuid(),
        terms.priority,
        Json(terms.limits) as _,
        terms.people_per_day,
        Json(terms.settings) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Puts other secrets in their place. What the provider refused about the old ones no longer holds.
pub async fn change_secrets(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: AccountId,
    sealed: Sealed<'_>,
) -> StoreResult<()> {
    sqlx::query!(
        "update accounts set secrets = $3, secret_hint = $4, secret_changed_at = clock_timestamp(),
             updated_at = clock_timestamp(), blocked_until = null, blocked_reason = null
         where tenant_id = $1 and id = $2 and not configured",
        tenant.uuid(),
        id.uuid(),
        sealed.secrets,
        sealed.hint,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes an account over which nothing is still to be sent: it is in no list and no new route. Its row stays for the
/// results that name it, and its secrets until [`Store::forget_deleted_accounts`]: a launch or a single message may have
/// chosen it a moment ago.
pub async fn delete(tx: &mut PgConnection, tenant: TenantId, id: AccountId) -> StoreResult<()> {
    let campaigns = in_use(&mut *tx, tenant, id).await?;
    if campaigns > 0 {
        return Err(StoreError::Conflict(format!(
            "{campaigns} campaigns are still being sent over this account: let them finish, or cancel them"
        )));
    }
    sqlx::query!(
        "update accounts set deleted_at = now(), slug = slug || '~' || no
         where tenant_id = $1 and id = $2 and not configured",
        tenant.uuid(),
        id.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// How many campaigns may still send over an account.
async fn in_use(tx: &mut PgConnection, tenant: TenantId, id: AccountId) -> StoreResult<i64> {
    let campaigns =
        sqlx::query_scalar!(r#"select campaigns_over($1, $2) as "campaigns!""#, tenant.uuid(), id.uuid());
    Ok(campaigns.fetch_one(tx).await?)
}

struct KeptRow {
    id: uuid::Uuid,
    no: i16,
    tenant_id: uuid::Uuid,
    slug: String,
    provider: Provider,
    limits: Json<Vec<Window>>,
    settings: Json<Map<String, Value>>,
    secrets: Vec<u8>,
    people_per_day: Option<i64>,
    updated_at: jiff_sqlx::Timestamp,
}

impl From<KeptRow> for Kept {
    fn from(row: KeptRow) -> Self {
        let account = Account {
            id: row.id.into(),
            no: row.no,
            tenant: row.tenant_id.into(),
            slug: row.slug,
            provider: row.provider,
            limits: row.limits.0,
            people_per_day: row.people_per_day,
            blocked: None,
        };
        Self {
            account,
            settings: row.settings.0,
            secrets: row.secrets,
            people_per_day: row.people_per_day.and_then(|people| NonZeroU64::new(people.unsigned_abs())),
            updated_at: row.updated_at.to_jiff(),
        }
    }
}

impl Store {
    /// The accounts of all tenants that the API made, and those deleted over which something may still be sent.
    pub async fn kept_accounts(&self) -> StoreResult<Vec<Kept>> {
        let rows = sqlx::query_as!(
            KeptRow,
            r#"select id, no, tenant_id, slug, provider as "provider: _", limits as "limits: _",
                      settings as "settings!: _", secrets as "secrets!", people_per_day, updated_at as "updated_at: _"
               from accounts where not configured and secrets <> '\x' order by id"#,
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(Kept::from).collect())
    }

    /// Takes their secrets and settings from accounts that were deleted so long ago, unless something may still be sent over
    /// them; how many those were. What comes in for them afterwards nobody can read: it is put aside.
    pub async fn forget_deleted_accounts(&self, after: Duration) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let forgotten = sqlx::query!(
            r"update accounts a set settings = '{}', secrets = '\x', secret_hint = null
              where a.deleted_at < now() - make_interval(secs => $1) and a.secrets <> '\x'
                and campaigns_over(a.tenant_id, a.id) = 0",
            after.as_secs_f64(),
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        sqlx::query!(
            r"with left_over as (
                  delete from inbox where account_id = any (array(
                      select id from accounts where deleted_at is not null and secrets = '\x'))
                  returning account_id, received_at, bodies)
              insert into inbox_rejected (account_id, received_at, reason, body)
              select account_id, received_at, 'its account is deleted', body from left_over cross join unnest(bodies) body"
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(forgotten)
    }
}
