//! What an account charges: by the beginning of a number, from a moment on. A new price is a new row; what was sent before
//! keeps its own.

use jiff::Timestamp;
use sqlx::PgConnection;

use super::StoreResult;
use crate::{
    domain::channel::Channel,
    id::{AccountId, TenantId},
};

/// For a message, or for each segment of an SMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Digits that numbers begin with, without the plus sign; the longest holds, and none is everything.
    pub prefix: String,
    /// Millionths of the currency's unit.
    pub micros: i64,
    pub currency: String,
}

/// The prices that hold now, and since when.
pub async fn current(
    tx: &mut PgConnection,
    tenant: TenantId,
    account: AccountId,
    channel: Channel,
) -> StoreResult<Vec<(Price, Timestamp)>> {
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
    let price = |prefix, micros, currency| Price { prefix, micros, currency };
    Ok(rows
        .into_iter()
        .map(|row| (price(row.prefix, row.micros, row.currency), row.valid_from.to_jiff()))
        .collect())
}

/// From now on these hold; those of other prefixes stay. A price that holds already makes no row.
pub async fn set(
    tx: &mut PgConnection,
    tenant: TenantId,
    account: AccountId,
    channel: Channel,
    prices: &[Price],
) -> StoreResult<()> {
    let prefixes: Vec<String> = prices.iter().map(|price| price.prefix.clone()).collect();
    let micros: Vec<i64> = prices.iter().map(|price| price.micros).collect();
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
