//! What accounts charge; [`price`](crate::domain::price::price) says which of the rows holds.

use sqlx::PgConnection;

use super::StoreResult;
use crate::{
    domain::{
        channel::Channel,
        price::{Micros, Price},
    },
    id::{AccountId, TenantId},
};

/// An account, by what is at hand.
#[derive(Debug, Clone, Copy)]
pub enum Over {
    Account(AccountId),
    /// As results bear it.
    No(i16),
}

/// The prices of an account that may hold for an address.
pub async fn of(
    tx: &mut PgConnection,
    tenant: TenantId,
    over: Over,
    channel: Channel,
    address: &str,
) -> StoreResult<Vec<Price>> {
    let (id, no) = match over {
        Over::Account(id) => (Some(id.uuid()), None),
        Over::No(no) => (None, Some(no)),
    };
    let rows = sqlx::query!(
        r#"select p.prefix, p.valid_from as "valid_from: jiff_sqlx::Timestamp", p.micros, p.currency
           from prices p join accounts a on a.id = p.account_id
           where p.tenant_id = $1 and ($2::uuid is null or a.id = $2) and ($3::smallint is null or a.no = $3)
             and p.channel = $4 and starts_with($5, p.prefix)"#,
        tenant.uuid(),
        id as _,
        no as _,
        channel.as_str(),
        address.trim_start_matches('+'),
    )
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Price {
            prefix: row.prefix,
            valid_from: row.valid_from.to_jiff(),
            micros: Micros(row.micros),
            currency: row.currency,
        })
        .collect())
}
