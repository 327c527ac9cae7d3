//! Webhooks as they came: stored before they are acknowledged, deleted in the transaction that applies them.
//!
//! A row holds the webhooks of one account that were committed together, up to [`ROW_BYTES`] of them.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Store, StoreResult};
use crate::id::AccountId;

/// A row is closed before it would grow beyond this; a larger body has one of its own.
const ROW_BYTES: usize = 1 << 20;

/// Webhooks of one account that were stored together, and have been claimed.
#[derive(Debug, Clone)]
pub struct InboxRow {
    pub id: i64,
    pub account: AccountId,
    pub received_at: Timestamp,
    /// How long they have been stored.
    pub waited: Duration,
    pub bodies: Vec<Vec<u8>>,
}

/// A webhook that nobody could make sense of, and why.
#[derive(Debug, Clone)]
pub struct Rejected {
    pub account: AccountId,
    pub received_at: Timestamp,
    pub body: Vec<u8>,
    pub reason: String,
}

/// What is waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    pub webhooks: i64,
    /// Age of the oldest.
    pub oldest_seconds: i64,
}

impl Store {
    /// One statement, one commit, for webhooks of any accounts.
    pub async fn add_to_inbox(&self, accounts: &[Uuid], bodies: &[&[u8]]) -> StoreResult<()> {
        sqlx::query!(
            "insert into inbox (account_id, webhooks, bytes, bodies)
             select account_id, count(*), sum(octet_length(body)), array_agg(body)
             from unnest($1::uuid[], $2::integer[], $3::bytea[]) as one (account_id, portion, body)
             group by account_id, portion",
            accounts,
            &portions(accounts, bodies),
            bodies as &[&[u8]],
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    pub async fn inbox_backlog(&self) -> StoreResult<Backlog> {
        let row = sqlx::query!(
            r#"select coalesce(sum(webhooks), 0) as "webhooks!",
                      coalesce(extract(epoch from now() - min(received_at)), 0)::bigint as "oldest!"
               from inbox"#,
        )
        .fetch_one(self.pool())
        .await?;
        Ok(Backlog { webhooks: row.webhooks, oldest_seconds: row.oldest })
    }
}

/// Which row of its account each body goes to: a new one whenever one is full.
fn portions(accounts: &[Uuid], bodies: &[&[u8]]) -> Vec<i32> {
    let mut filled: HashMap<Uuid, (i32, usize)> = HashMap::new();
    let place = |(account, body): (&Uuid, &&[u8])| {
        let (portion, bytes) = filled.entry(*account).or_default();
        if *bytes > 0 && *bytes + body.len() > ROW_BYTES {
            (*portion, *bytes) = (*portion + 1, 0);
        }
        *bytes += body.len();
        *portion
    };
    accounts.iter().zip(bodies).map(place).collect()
}

/// How much one transaction takes; the first row is taken whatever its size.
#[derive(Debug, Clone, Copy)]
pub struct Portion {
    pub webhooks: i64,
    /// Bodies together.
    pub bytes: i64,
}

/// A row as the statements return it.
struct Claimed {
    id: i64,
    account_id: Uuid,
    received_at: jiff_sqlx::Timestamp,
    waited: f64,
    bodies: Vec<Vec<u8>>,
}

impl From<Claimed> for InboxRow {
    fn from(row: Claimed) -> Self {
        Self {
            id: row.id,
            account: row.account_id.into(),
            received_at: row.received_at.to_jiff(),
            waited: Duration::from_secs_f64(row.waited.max(0.0)),
            bodies: row.bodies,
        }
    }
}

/// Deletes the oldest webhooks of these accounts and returns them; a rollback puts them back. Rows that another worker
/// has in hand are passed over.
pub async fn claim(tx: &mut PgConnection, accounts: &[Uuid], portion: Portion) -> StoreResult<Vec<InboxRow>> {
    let mut rows = sqlx::query_as!(
        Claimed,
        r#"with locked as materialized (
               select id, webhooks, bytes from inbox
               where account_id = any ($1)
               order by id
               limit $2
               for update skip locked
           ), fitting as (
               select id, sum(webhooks) over (order by id) - webhooks as webhooks_before,
                      sum(bytes) over (order by id) - bytes as bytes_before
               from locked
           )
           -- As an array: joined, the sums would be made anew for every row where this was planned while the inbox was empty.
           delete from inbox
           where id = any (array(select id from fitting where webhooks_before < $2 and bytes_before < $3))
           returning inbox.id, inbox.account_id, inbox.received_at as "received_at: jiff_sqlx::Timestamp", inbox.bodies,
                     extract(epoch from now() - inbox.received_at)::float8 as "waited!""#,
        accounts,
        portion.webhooks,
        portion.bytes,
    )
    .fetch_all(tx)
    .await?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows.into_iter().map(InboxRow::from).collect())
}

/// Deletes one row by its id, if nobody else has it in hand.
pub async fn claim_one(tx: &mut PgConnection, id: i64) -> StoreResult<Option<InboxRow>> {
    let row = sqlx::query_as!(
        Claimed,
        r#"delete from inbox where id = (select id from inbox where id = $1 for update skip locked)
           returning id, account_id, received_at as "received_at: jiff_sqlx::Timestamp", bodies,
                     extract(epoch from now() - received_at)::float8 as "waited!""#,
        id,
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(InboxRow::from))
}

pub async fn reject(tx: &mut PgConnection, rejected: &[Rejected]) -> StoreResult<()> {
    let accounts: Vec<Uuid> = rejected.iter().map(|r| r.account.uuid()).collect();
    let received: Vec<jiff_sqlx::Timestamp> = rejected.iter().map(|r| r.received_at.to_sqlx()).collect();
    let reasons: Vec<&str> = rejected.iter().map(|r| r.reason.as_str()).collect();
    let bodies: Vec<&[u8]> = rejected.iter().map(|r| r.body.as_slice()).collect();
    sqlx::query!(
        "insert into inbox_rejected (account_id, received_at, reason, body)
         select * from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::bytea[])",
        &accounts,
        &received as _,
        &reasons as _,
        &bodies as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_filled_before_the_next_is_begun() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (large, small) = (vec![0; ROW_BYTES - 1], vec![0; 1]);
        let bodies: [&[u8]; 6] = [&large, &large, &small, &small, &large, &small];
        assert_eq!(portions(&[a, b, a, a, b, b], &bodies), [0, 0, 0, 1, 1, 1]);
    }
}
