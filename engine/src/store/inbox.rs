//! Webhooks as they came: stored before they are acknowledged, deleted in the transaction that applies them.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Store, StoreResult};
use crate::id::AccountId;

/// A stored webhook that has been claimed.
#[derive(Debug, Clone)]
pub struct InboxRow {
    pub id: i64,
    pub account: AccountId,
    pub received_at: Timestamp,
    /// How long it has been stored.
    pub waited: Duration,
    pub body: Vec<u8>,
}

/// A webhook that nobody could make sense of, and why.
#[derive(Debug, Clone)]
pub struct Rejected {
    pub row: InboxRow,
    pub reason: String,
}

/// What is waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    pub rows: i64,
    /// Age of the oldest row.
    pub oldest_seconds: i64,
}

impl Store {
    /// One statement, one commit, for webhooks of any accounts.
    pub async fn add_to_inbox(&self, accounts: &[Uuid], bodies: &[&[u8]]) -> StoreResult<()> {
        sqlx::query!(
            "insert into inbox (account_id, body) select * from unnest($1::uuid[], $2::bytea[])",
            accounts,
            bodies as &[&[u8]],
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    pub async fn inbox_backlog(&self) -> StoreResult<Backlog> {
        let row = sqlx::query!(
            r#"select count(*) as "rows!", coalesce(extract(epoch from now() - min(received_at)), 0)::bigint as "oldest!"
               from inbox"#,
        )
        .fetch_one(self.pool())
        .await?;
        Ok(Backlog { rows: row.rows, oldest_seconds: row.oldest })
    }
}

/// How much one transaction takes.
#[derive(Debug, Clone, Copy)]
pub struct Portion {
    pub rows: i64,
    /// Bodies together; the first row is taken whatever its size.
    pub bytes: i64,
}

/// Deletes the oldest webhooks of these accounts and returns them; a rollback puts them back. Rows that another worker
/// has in hand are passed over.
pub async fn claim(tx: &mut PgConnection, accounts: &[Uuid], portion: Portion) -> StoreResult<Vec<InboxRow>> {
    let rows = sqlx::query!(
        r#"with locked as materialized (
               select id, octet_length(body) as bytes from inbox
               where account_id = any ($1)
               order by id
               limit $2
               for update skip locked
           ), fitting as (
               select id, sum(bytes) over (order by id) - bytes as before from locked
           )
           -- As an array: joined, the sums would be made anew for every row where this was planned while the inbox was empty.
           delete from inbox
           where id = any (array(select id from fitting where before < $3))
           returning inbox.id, inbox.account_id, inbox.received_at as "received_at: jiff_sqlx::Timestamp", inbox.body,
                     extract(epoch from now() - inbox.received_at)::float8 as "waited!""#,
        accounts,
        portion.rows,
        portion.bytes as _,
    )
    .fetch_all(tx)
    .await?;
    let mut rows: Vec<InboxRow> = rows
        .into_iter()
        .map(|row| InboxRow {
            id: row.id,
            account: row.account_id.into(),
            received_at: row.received_at.to_jiff(),
            waited: Duration::from_secs_f64(row.waited.max(0.0)),
            body: row.body,
        })
        .collect();
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// Deletes one webhook by its id, if nobody else has it in hand.
pub async fn claim_one(tx: &mut PgConnection, id: i64) -> StoreResult<Option<InboxRow>> {
    let row = sqlx::query!(
        r#"delete from inbox where id = (select id from inbox where id = $1 for update skip locked)
           returning id, account_id, received_at as "received_at: jiff_sqlx::Timestamp", body,
                     extract(epoch from now() - received_at)::float8 as "waited!""#,
        id,
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| InboxRow {
        id: row.id,
        account: row.account_id.into(),
        received_at: row.received_at.to_jiff(),
        waited: Duration::from_secs_f64(row.waited.max(0.0)),
        body: row.body,
    }))
}

pub async fn reject(tx: &mut PgConnection, rejected: &[Rejected]) -> StoreResult<()> {
    let column = |f: fn(&Rejected) -> Uuid| rejected.iter().map(f).collect::<Vec<_>>();
    let ids: Vec<i64> = rejected.iter().map(|r| r.row.id).collect();
    let received: Vec<jiff_sqlx::Timestamp> = rejected.iter().map(|r| r.row.received_at.to_sqlx()).collect();
    let reasons: Vec<&str> = rejected.iter().map(|r| r.reason.as_str()).collect();
    let bodies: Vec<&[u8]> = rejected.iter().map(|r| r.row.body.as_slice()).collect();
    sqlx::query!(
        "insert into inbox_rejected (id, account_id, received_at, reason, body)
         select * from unnest($1::bigint[], $2::uuid[], $3::timestamptz[], $4::text[], $5::bytea[])
         on conflict do nothing",
        &ids,
        &column(|r| r.row.account.uuid()),
        &received as _,
        &reasons as _,
        &bodies as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}
