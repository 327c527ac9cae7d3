//! The audit log: what was done, by whom, to what. Appended in the transaction of the deed, so that neither is without the
//! other.
//!
//! Each row bears a hash of itself and of the row before it, and each tenant's last hash stands beside. Whoever changes a row,
//! takes one out or puts one in has to make all later ones anew, and whoever has noted a hash elsewhere sees it.

use futures::TryStreamExt as _;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::{Store, StoreResult};
use crate::id::TenantId;

/// A deed. `actor` is `user:usr_…`, `key:key_…`, `command` or `system`; `action` a verb of the thing: `campaign.launch`.
#[derive(Debug, Clone)]
pub struct Deed<'a> {
    pub tenant: TenantId,
    pub actor: &'a str,
    pub action: &'a str,
    pub subject: &'a str,
    /// What changed: no secrets, addresses masked.
    pub detail: serde_json::Value,
    pub request_id: Option<&'a str>,
}

/// A row of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    pub seq: i64,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub subject: String,
    /// JSON, as it was written.
    pub detail: String,
    pub request_id: Option<String>,
    pub hash: Vec<u8>,
}

/// What checking a tenant's log came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// So many rows; the last one's hash, to be noted elsewhere.
    Whole { rows: i64, hash: Vec<u8> },
    /// The row at this place is missing, was put in, or is not what was written.
    Broken { seq: i64 },
}

/// What a hash is made of.
#[derive(Serialize)]
struct Hashed<'a> {
    tenant: uuid::Uuid,
    seq: i64,
    at_us: i64,
    actor: &'a str,
    action: &'a str,
    subject: &'a str,
    detail: &'a str,
    request_id: Option<&'a str>,
}

impl Hashed<'_> {
    fn after(&self, before: &[u8]) -> Vec<u8> {
        let row = serde_json::to_vec(self).expect("texts and numbers are JSON");
        Sha256::new().chain_update(before).chain_update(row).finalize().to_vec()
    }
}

/// Appends a deed. Whoever appends for the same tenant waits until this transaction ends.
pub async fn append(tx: &mut PgConnection, now: Timestamp, deed: &Deed<'_>) -> StoreResult<()> {
    let head = sqlx::query!(
        "insert into audit_heads (tenant_id, seq, hash) values ($1, 0, '')
         on conflict (tenant_id) do update set seq = audit_heads.seq
         returning seq, hash",
        deed.tenant.uuid(),
    )
    .fetch_one(&mut *tx)
    .await?;
    // As precise as the column is, or the hash could not be made again.
    let at = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
    let detail = deed.detail.to_string();
    let hashed = Hashed {
        tenant: deed.tenant.uuid(),
        seq: head.seq + 1,
        at_us: at.as_microsecond(),
        actor: deed.actor,
        action: deed.action,
        subject: deed.subject,
        detail: &detail,
        request_id: deed.request_id,
    };
    let hash = hashed.after(&head.hash);
    sqlx::query!(
        "with row as (
             insert into audit_log (tenant_id, seq, at, actor, action, subject, detail, request_id, hash)
             values ($1, $2, $3, $4, $5, $6, $7::text::json, $8, $9)
         )
         update audit_heads set seq = $2, hash = $9 where tenant_id = $1",
        deed.tenant.uuid(),
        hashed.seq,
        at.to_sqlx() as _,
        deed.actor,
        deed.action,
        deed.subject,
        detail,
        deed.request_id,
        hash,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Which rows of a log.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter<'a> {
    pub actor: Option<&'a str>,
    /// An action, or the beginning of some that ends with a dot.
    pub action: Option<&'a str>,
    pub subject: Option<&'a str>,
    pub before: Option<i64>,
    pub offset: i64,
    pub limit: i64,
}

/// Rows of a tenant, the newest first, and how many there are in all.
pub async fn list(
    tx: &mut PgConnection,
    tenant: TenantId,
    filter: &AuditFilter<'_>,
) -> StoreResult<(Vec<AuditRow>, u64)> {
    let rows = sqlx::query!(
        r#"select seq, at as "at: jiff_sqlx::Timestamp", actor, action, subject, detail::text as "detail!", request_id, hash
           from audit_log
           where tenant_id = $1 and ($2::bigint is null or seq < $2) and ($3::text is null or actor = $3)
             and ($4::text is null or action = $4 or (right($4, 1) = '.' and starts_with(action, $4)))
             and ($5::text is null or subject = $5)
           order by seq desc offset $6 limit $7"#,
        tenant.uuid(),
        filter.before,
        filter.actor,
        filter.action,
        filter.subject,
        filter.offset,
        filter.limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "total!" from audit_log
           where tenant_id = $1 and ($2::text is null or actor = $2)
             and ($3::text is null or action = $3 or (right($3, 1) = '.' and starts_with(action, $3)))
             and ($4::text is null or subject = $4)"#,
        tenant.uuid(),
        filter.actor,
        filter.action,
        filter.subject,
    );
    let rows = rows
        .into_iter()
        .map(|row| AuditRow {
            seq: row.seq,
            at: row.at.to_jiff(),
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            detail: row.detail,
            request_id: row.request_id,
            hash: row.hash,
        })
        .collect();
    Ok((rows, total.fetch_one(tx).await?.unsigned_abs()))
}

impl Store {
    /// Reads a tenant's whole log and makes every hash again.
    pub async fn verify_audit_log(&self, tenant: TenantId) -> StoreResult<Verified> {
        // Rows and head as of one moment, while others append.
        let mut tx = self.begin().await?;
        sqlx::query("set transaction isolation level repeatable read read only").execute(&mut *tx).await?;
        let mut rows = sqlx::query!(
            r#"select seq, at as "at: jiff_sqlx::Timestamp", actor, action, subject, detail::text as "detail!", request_id, hash
               from audit_log where tenant_id = $1 order by seq"#,
            tenant.uuid(),
        )
        .fetch(&mut *tx);
        let (mut seq, mut before) = (0, Vec::new());
        while let Some(row) = rows.try_next().await? {
            seq += 1;
            let hashed = Hashed {
                tenant: tenant.uuid(),
                seq,
                at_us: row.at.to_jiff().as_microsecond(),
                actor: &row.actor,
                action: &row.action,
                subject: &row.subject,
                detail: &row.detail,
                request_id: row.request_id.as_deref(),
            };
            if row.seq != seq || row.hash != hashed.after(&before) {
                return Ok(Verified::Broken { seq });
            }
            before = row.hash;
        }
        let head = sqlx::query!("select seq, hash from audit_heads where tenant_id = $1", tenant.uuid());
        drop(rows);
        let head = head.fetch_optional(&mut *tx).await?;
        match head {
            Some(head) if head.seq > seq => Ok(Verified::Broken { seq: seq + 1 }),
            Some(head) if head.seq < seq || head.hash != before => Ok(Verified::Broken { seq }),
            None if seq > 0 => Ok(Verified::Broken { seq }),
            _ => Ok(Verified::Whole { rows: seq, hash: before }),
        }
    }
}
