//! What accounts charge: by the beginning of a number, from a moment on. A new price is a new row; what was sent before keeps
//! its own. [`price`](crate::domain::price::price) says which of the rows holds.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::StoreResult;
use crate::{
    domain::{
        channel::Channel,
        price::{Micros, Price},
    },
    id::{AccountId, TenantId},
};

/// The beginning of numbers, since when, micro-units, currency.
pub(super) type PriceLine = (String, Timestamp, i64, String);

pub(super) fn price((prefix, valid_from, micros, currency): PriceLine) -> Price {
    Price { prefix, valid_from, micros: Micros(micros), currency }
}

macro_rules! priced {
    ($row:expr) => {
        price(($row.prefix, $row.valid_from.to_jiff(), $row.micros, $row.currency))
    };
}

/// The prices that may hold for an address, of the account that results call `no`.
pub async fn of(
    tx: &mut PgConnection,
    tenant: TenantId,
    no: i16,
    (channel, address): (Channel, &str),
) -> StoreResult<Vec<Price>> {
    let rows = sqlx::query!(
        r#"select prefix, valid_from as "valid_from: jiff_sqlx::Timestamp", micros, currency
           from prices
           where tenant_id = $1 and account_id = (select id from accounts where tenant_id = $1 and no = $2)
             and channel = $3 and starts_with($4, prefix)"#,
        tenant.uuid(),
        no,
        channel.as_str(),
        address.trim_start_matches('+'),
    );
    Ok(rows.fetch_all(tx).await?.into_iter().map(|row| priced!(row)).collect())
}

/// The prices that hold now, and since when.
pub async fn current(
    tx: &mut PgConnection,
    tenant: TenantId,
    account: AccountId,
    channel: Channel,
) -> StoreResult<Vec<Price>> {
    let rows = sqlx::query!(
        r#"select distinct on (prefix) prefix, micros, currency, valid_from as "valid_from: jiff_sqlx::Timestamp"
           from prices where tenant_id = $1 and account_id = $2 and channel = $3 and valid_from <= clock_timestamp()
           order by prefix, valid_from desc"#,
        tenant.uuid(),
        account.uuid(),
        channel.as_str(),
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| priced!(row)).collect())
}

/// What is to hold for a prefix from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPrice {
    pub prefix: String,
    pub micros: Micros,
    pub currency: String,
}

/// From now on these hold; those of other prefixes stay. A price that holds already makes no row.
pub async fn set(
    tx: &mut PgConnection,
    tenant: TenantId,
    account: AccountId,
    channel: Channel,
    prices: &[NewPrice],
) -> StoreResult<()> {
    let prefixes: Vec<String> = prices.iter().map(|price| price.prefix.clone()).collect();
    let micros: Vec<i64> = prices.iter().map(|price| price.micros.0).collect();
    let currencies: Vec<String> = prices.iter().map(|price| price.currency.clone()).collect();
    sqlx::query!(
        "insert into prices (tenant_id, account_id, channel, prefix, valid_from, micros, currency)
         select $1, $2, $3, p.prefix, clock.now, p.micros, p.currency
         from unnest($4::text[], $5::bigint[], $6::text[]) as p (prefix, micros, currency)
         cross join (select clock_timestamp() as now) clock
         where not exists (
             select from (select micros, currency from prices k
                          where k.account_id = $2 and k.channel = $3 and k.prefix = p.prefix
                          order by k.valid_from desc limit 1) latest
             where latest.micros = p.micros and latest.currency = p.currency)",
        tenant.uuid(),
        account.uuid(),
        channel.as_str(),
        &prefixes,
        &micros,
        &currencies,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Every price of the tenant that may have held before a moment, by account.
pub async fn until(
    tx: &mut PgConnection,
    tenant: TenantId,
    to: Timestamp,
) -> StoreResult<Vec<(AccountId, Price)>> {
    let rows = sqlx::query!(
        r#"select account_id, prefix, valid_from as "valid_from: jiff_sqlx::Timestamp", micros, currency
           from prices where tenant_id = $1 and valid_from < $2"#,
        tenant.uuid(),
        to.to_sqlx() as _,
    );
    let rows = rows.fetch_all(tx).await?.into_iter();
    Ok(rows.map(|row| (row.account_id.into(), priced!(row))).collect())
}
