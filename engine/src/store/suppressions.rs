//! Addresses that must not be written to. The rule that reads them is the function `refusals` of the migrations.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Store, StoreResult};
use crate::{
    domain::{channel::Channel, event::Scope, outcome::Reason},
    id::TenantId,
};

/// An address that must not be written to, or a person's word that it may be again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression<'a> {
    pub channel: Channel,
    /// In its normal form.
    pub address: &'a str,
    pub scope: Scope,
    pub reason: Reason,
    /// Where it comes from: `webhook`, `send` (the provider's answer), `api`, `import`.
    pub source: &'a str,
    /// When the person or the provider said so.
    pub at: Timestamp,
}

/// As it stands in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub channel: Channel,
    pub address: String,
    pub scope: Scope,
    pub reason: String,
    pub source: String,
    pub since: Timestamp,
}

impl Store {
    /// Suppresses addresses of a tenant and returns how many are new or newer. With the `Ok` the stop may be
    /// acknowledged: nothing whose intent was not committed before will be sent there.
    pub async fn add_suppressions(
        &self,
        tenant: TenantId,
        suppressions: &[Suppression<'_>],
    ) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let added =
            insert(&mut tx, &Columns::of(suppressions.iter().map(|suppression| (tenant, suppression))))
                .await?;
        tx.commit().await?;
        self.grace(tenant).await?;
        Ok(added)
    }

    /// One address, as of now.
    #[expect(
        clippy::too_many_arguments,
        reason = "the columns of the row; whoever has many uses add_suppressions"
    )]
    pub async fn suppress(
        &self,
        tenant: TenantId,
        channel: Channel,
        address: &str,
        scope: Scope,
        reason: Reason,
        source: &str,
    ) -> StoreResult<()> {
        let at = self.now().await?;
        self.add_suppressions(tenant, &[Suppression { channel, address, scope, reason, source, at }])
            .await
            .map(drop)
    }

    /// Takes an address off the list; returns whether it was on it. Needs no grace: it stops nothing.
    pub async fn remove_suppression(
        &self,
        tenant: TenantId,
        channel: Channel,
        address: &str,
        scope: Scope,
    ) -> StoreResult<bool> {
        let removed = sqlx::query!(
            "delete from suppressions where tenant_id = $1 and channel = $2 and address = $3 and scope = $4",
            tenant.uuid(),
            channel.as_str(),
            address,
            scope.as_str(),
        )
        .execute(self.pool())
        .await?;
        Ok(removed.rows_affected() == 1)
    }

    /// A page of a tenant's list, in the order of its key; `after` is the last entry of the page before.
    pub async fn suppressions(
        &self,
        tenant: TenantId,
        after: Option<&Listed>,
        limit: i64,
    ) -> StoreResult<Vec<Listed>> {
        let (channel, address, scope) = after
            .map_or(("", "", ""), |last| (last.channel.as_str(), last.address.as_str(), last.scope.as_str()));
        let rows = sqlx::query_as!(
            Row,
            r#"select channel as "channel: Channel", address, scope as "scope: Scope", reason, source,
                      created_at as "created_at: jiff_sqlx::Timestamp"
               from suppressions
               where tenant_id = $1 and (channel, address, scope) > ($2, $3, $4)
               order by channel, address, scope
               limit $5"#,
            tenant.uuid(),
            channel,
            address,
            scope,
            limit,
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(Listed::from).collect())
    }
}

struct Row {
    channel: Channel,
    address: String,
    scope: Scope,
    reason: String,
    source: String,
    created_at: jiff_sqlx::Timestamp,
}

impl From<Row> for Listed {
    fn from(row: Row) -> Self {
        Self {
            channel: row.channel,
            address: row.address,
            scope: row.scope,
            reason: row.reason,
            source: row.source,
            since: row.created_at.to_jiff(),
        }
    }
}

/// Suppressions as columns, sorted by key: whoever inserts several takes their locks in the same order.
#[derive(Debug, Default)]
pub(super) struct Columns<'a> {
    tenants: Vec<Uuid>,
    channels: Vec<&'static str>,
    addresses: Vec<&'a str>,
    scopes: Vec<&'static str>,
    reasons: Vec<&'static str>,
    sources: Vec<&'a str>,
    at: Vec<jiff_sqlx::Timestamp>,
}

impl<'a> Columns<'a> {
    pub(super) fn of<'s>(suppressions: impl Iterator<Item = (TenantId, &'s Suppression<'a>)>) -> Self
    where
        'a: 's,
    {
        let mut columns = Self::default();
        for (tenant, suppression) in suppressions {
            columns.tenants.push(tenant.uuid());
            columns.channels.push(suppression.channel.as_str());
            columns.addresses.push(suppression.address);
            columns.scopes.push(suppression.scope.as_str());
            columns.reasons.push(suppression.reason.as_str());
            columns.sources.push(suppression.source);
            columns.at.push(suppression.at.to_sqlx());
        }
        columns
    }

    const fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }
}

/// Adds what is not on the list. `created_at` is the latest moment at which the address was said to be unwanted.
pub(super) async fn insert(tx: &mut PgConnection, columns: &Columns<'_>) -> StoreResult<u64> {
    if columns.is_empty() {
        return Ok(0);
    }
    let added = sqlx::query!(
        "insert into suppressions (tenant_id, channel, address, scope, reason, source, created_at)
         select distinct on (tenant, channel, address, scope) *
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
              as s (tenant, channel, address, scope, reason, source, at)
         order by tenant, channel, address, scope, at desc
         on conflict (tenant_id, channel, address, scope) do update set created_at = excluded.created_at
         where suppressions.created_at < excluded.created_at",
        &columns.tenants,
        &columns.channels as _,
        &columns.addresses as _,
        &columns.scopes as _,
        &columns.reasons as _,
        &columns.sources as _,
        &columns.at as _,
    )
    .execute(tx)
    .await?;
    Ok(added.rows_affected())
}

/// People who want marketing again. Only their own word is taken back, and only an older one: a resumption that arrives
/// late, or twice, never undoes a newer stop.
pub(super) async fn resume(tx: &mut PgConnection, columns: &Columns<'_>) -> StoreResult<u64> {
    if columns.is_empty() {
        return Ok(0);
    }
    let removed = sqlx::query!(
        "delete from suppressions s
         using (select tenant, channel, address, scope, max(at) as at
                from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
                     as w (tenant, channel, address, scope, at)
                group by tenant, channel, address, scope) w
         where s.tenant_id = w.tenant and s.channel = w.channel and s.address = w.address and s.scope = w.scope
           and s.reason = 'unsubscribed' and s.created_at <= w.at",
        &columns.tenants,
        &columns.channels as _,
        &columns.addresses as _,
        &columns.scopes as _,
        &columns.at as _,
    )
    .execute(tx)
    .await?;
    Ok(removed.rows_affected())
}
