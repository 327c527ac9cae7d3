//! Addresses that must not be written to. The rule that reads them is the function `refusals` of the migrations.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Store, StoreError, StoreResult,
    listing::{Order, Part, Way},
};
use crate::{
    domain::{channel::Channel, event::Scope, outcome::Reason},
    id::{SuppressionId, TenantId},
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
    pub id: SuppressionId,
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
        let added = add(&mut tx, tenant, suppressions).await?;
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
            r#"select id, channel as "channel: Channel", address, scope as "scope: Scope", reason, source,
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
    id: Uuid,
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
            id: row.id.into(),
            channel: row.channel,
            address: row.address,
            scope: row.scope,
            reason: row.reason,
            source: row.source,
            since: row.created_at.to_jiff(),
        }
    }
}

/// Which entries a list shows; what is not said does not matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    pub channel: Option<Channel>,
    pub scope: Option<Scope>,
    pub reason: Option<Reason>,
    /// In its normal form.
    pub address: Option<&'a str>,
}

/// What the list is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Its key: channel, address and scope.
    Address,
    /// All that the filters leave is read.
    Since,
}

/// The last entry of a page, as far as any order goes by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    channel: Channel,
    address: String,
    scope: Scope,
    since: Timestamp,
}

impl Listed {
    pub fn place(&self) -> Place {
        Place { channel: self.channel, address: self.address.clone(), scope: self.scope, since: self.since }
    }
}

/// Adds entries within the caller's transaction; returns how many are new or newer. After the commit whoever did it waits
/// for [`Store::grace`] before the stop is acknowledged.
pub async fn add(
    tx: &mut PgConnection,
    tenant: TenantId,
    suppressions: &[Suppression<'_>],
) -> StoreResult<u64> {
    insert(tx, &Columns::of(suppressions.iter().map(|suppression| (tenant, suppression)))).await
}

/// The entry of an address, if there is one.
pub async fn of_address(
    tx: &mut PgConnection,
    tenant: TenantId,
    (channel, address, scope): (Channel, &str, Scope),
) -> StoreResult<Option<Listed>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, channel as "channel: Channel", address, scope as "scope: Scope", reason, source,
                  created_at as "created_at: jiff_sqlx::Timestamp"
           from suppressions where tenant_id = $1 and channel = $2 and address = $3 and scope = $4"#,
        tenant.uuid(),
        channel.as_str(),
        address,
        scope.as_str(),
    );
    Ok(row.fetch_optional(tx).await?.map(Listed::from))
}

/// One entry.
pub async fn get(tx: &mut PgConnection, tenant: TenantId, id: SuppressionId) -> StoreResult<Listed> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, channel as "channel: Channel", address, scope as "scope: Scope", reason, source,
                  created_at as "created_at: jiff_sqlx::Timestamp"
           from suppressions where tenant_id = $1 and id = $2"#,
        tenant.uuid(),
        id.uuid(),
    );
    Ok(row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?.into())
}

/// Takes an entry off the list and returns what it was. Needs no grace: it stops nothing.
pub async fn remove(tx: &mut PgConnection, tenant: TenantId, id: SuppressionId) -> StoreResult<Listed> {
    let row = sqlx::query_as!(
        Row,
        r#"delete from suppressions where tenant_id = $1 and id = $2
           returning id, channel as "channel: Channel", address, scope as "scope: Scope", reason, source,
                     created_at as "created_at: jiff_sqlx::Timestamp""#,
        tenant.uuid(),
        id.uuid(),
    );
    Ok(row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?.into())
}

/// A part of the list.
pub async fn list(
    tx: &mut PgConnection,
    tenant: TenantId,
    filter: Filter<'_>,
    order: Order<By>,
    part: &Part<Place>,
) -> StoreResult<Vec<Listed>> {
    let after = part.after.as_ref();
    macro_rules! page {
        ($after:literal, $order:literal) => {
            sqlx::query_as!(
                Row,
                r#"select id, channel as "channel: Channel", address, scope as "scope: Scope", reason, source,
                          created_at as "created_at: jiff_sqlx::Timestamp"
                   from suppressions
                   where tenant_id = $1 and ($2::text is null or channel = $2) and ($3::text is null or scope = $3)
                     and ($4::text is null or reason = $4) and ($5::text is null or address = $5)
                     and ($6::text is null or $7::text is null or $8::text is null or $9::timestamptz is null or "#
                    + $after
                    + ") order by "
                    + $order
                    + " limit $10 offset $11",
                tenant.uuid(),
                filter.channel.map(Channel::as_str),
                filter.scope.map(Scope::as_str),
                filter.reason.map(Reason::as_str),
                filter.address,
                after.map(|place| place.channel.as_str()),
                after.map(|place| place.address.as_str()),
                after.map(|place| place.scope.as_str()),
                after.map(|place| place.since.to_sqlx()) as _,
                part.limit,
                part.offset,
            )
            .fetch_all(tx)
            .await?
        };
    }
    let rows = match order {
        (By::Address, Way::Up) => {
            page!("(channel, address, scope) > ($6, $7, $8)", "channel, address, scope")
        }
        (By::Address, Way::Down) => {
            page!("(channel, address, scope) < ($6, $7, $8)", "channel desc, address desc, scope desc")
        }
        (By::Since, Way::Up) => page!(
            "(created_at, channel, address, scope) > ($9, $6, $7, $8)",
            "created_at, channel, address, scope"
        ),
        (By::Since, Way::Down) => page!(
            "(created_at, channel, address, scope) < ($9, $6, $7, $8)",
            "created_at desc, channel desc, address desc, scope desc"
        ),
    };
    Ok(rows.into_iter().map(Listed::from).collect())
}

/// How many entries there are in all.
pub async fn count(tx: &mut PgConnection, tenant: TenantId, filter: Filter<'_>) -> StoreResult<u64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from suppressions
           where tenant_id = $1 and ($2::text is null or channel = $2) and ($3::text is null or scope = $3)
             and ($4::text is null or reason = $4) and ($5::text is null or address = $5)"#,
        tenant.uuid(),
        filter.channel.map(Channel::as_str),
        filter.scope.map(Scope::as_str),
        filter.reason.map(Reason::as_str),
        filter.address,
    );
    Ok(u64::try_from(count.fetch_one(tx).await?).unwrap_or(0))
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
