//! The audit log: what was done, by whom, to what. Noted in the transaction of the deed, so that neither is without the other.
//!
//! Each row of `audit_log` bears a hash of itself and of the row before it, and each tenant's last hash stands beside, in
//! `audit_heads`. Whoever changes a row, takes one out or puts one in has to make all later ones anew, and whoever has noted a
//! hash elsewhere sees it.
//!
//! A chain has one end, and whoever holds it until the disk has their commit holds up everybody else of the tenant. So a deed
//! is noted in `audit_pending`, where nobody waits for anybody else, and chained by a task of upkeep a second later, or by whoever reads or
//! verifies the log before that. Chaining moves rows in one transaction under the lock of the tenant's head: a crash leaves
//! them noted, and nothing is chained twice. What is not chained yet is only as safe as the database.

use futures::TryStreamExt as _;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, PgExecutor};

use super::{Store, StoreResult, listing::Way};
use crate::id::TenantId;

/// A deed. `actor` is `user:usr_…`, `key:key_…`, `command:` and who ran it, or `system`; `action` a verb of the thing: `campaign.launch`.
#[derive(Debug, Clone)]
pub struct Deed {
    pub at: Timestamp,
    pub tenant: TenantId,
    pub actor: String,
    pub action: &'static str,
    pub subject: String,
    /// What changed: no secrets, addresses masked.
    pub detail: serde_json::Value,
    pub request_id: Option<String>,
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

struct Row {
    seq: i64,
    at: jiff_sqlx::Timestamp,
    actor: String,
    action: String,
    subject: String,
    detail: String,
    request_id: Option<String>,
    hash: Vec<u8>,
}

impl From<Row> for AuditRow {
    fn from(row: Row) -> Self {
        Self {
            seq: row.seq,
            at: row.at.to_jiff(),
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            detail: row.detail,
            request_id: row.request_id,
            hash: row.hash,
        }
    }
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

/// Of a row of either table.
macro_rules! hashed {
    ($tenant:expr, $seq:expr, $row:expr) => {
        Hashed {
            tenant: $tenant.uuid(),
            seq: $seq,
            at_us: $row.at.to_jiff().as_microsecond(),
            actor: &$row.actor,
            action: &$row.action,
            subject: &$row.subject,
            detail: &$row.detail,
            request_id: $row.request_id.as_deref(),
        }
    };
}

impl Hashed<'_> {
    fn after(&self, before: &[u8]) -> Vec<u8> {
        let row = serde_json::to_vec(self).expect("texts and numbers are JSON");
        Sha256::new().chain_update(before).chain_update(row).finalize().to_vec()
    }
}

/// Notes a deed, to be chained soon.
pub async fn append(tx: &mut PgConnection, deed: &Deed) -> StoreResult<()> {
    append_all(tx, std::slice::from_ref(deed)).await
}

/// Notes deeds of several tenants; outside of a transaction they are durable when this returns: what was only read, and what
/// cannot be taken back.
pub async fn append_all(executor: impl PgExecutor<'_>, deeds: &[Deed]) -> StoreResult<()> {
    fn column<'d, T>(deeds: &'d [Deed], of: impl Fn(&'d Deed) -> T) -> Vec<T> {
        deeds.iter().map(of).collect()
    }
    sqlx::query!(
        "insert into audit_pending (tenant_id, at, actor, action, subject, detail, request_id)
         select tenant_id, at, actor, action, subject, detail::json, request_id
         from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
              with ordinality as deed (tenant_id, at, actor, action, subject, detail, request_id, place)
         order by place",
        &column(deeds, |deed| deed.tenant.uuid()),
        &column(deeds, |deed| deed.at.to_sqlx()) as _,
        &column(deeds, |deed| deed.actor.as_str()) as _,
        &column(deeds, |deed| deed.action) as _,
        &column(deeds, |deed| deed.subject.as_str()) as _,
        &column(deeds, |deed| deed.detail.to_string()),
        &column(deeds, |deed| deed.request_id.as_deref()) as _,
    )
    .execute(executor)
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
    pub way: Way,
    /// Behind this one, whichever way.
    pub after: Option<i64>,
    pub offset: i64,
    pub limit: i64,
}

/// A list is counted up to here.
pub const COUNTED: i64 = 100_000;

/// Rows of a tenant in their order.
pub async fn list(
    tx: &mut PgConnection,
    tenant: TenantId,
    filter: &AuditFilter<'_>,
) -> StoreResult<Vec<AuditRow>> {
    // What is looked for by an index has a statement of its own: no plan for all of them goes by it.
    macro_rules! page {
        ($after:literal, $order:literal) => {
            match (filter.subject, filter.actor) {
                (Some(_), _) => page!($after, $order, "subject = $5 and ($3::text is null or actor = $3)"),
                (None, Some(_)) => page!($after, $order, "actor = $3 and $5::text is null"),
                (None, None) => page!($after, $order, "$3::text is null and $5::text is null"),
            }
        };
        ($after:literal, $order:literal, $of:literal) => {
            sqlx::query_as!(
                Row,
                r#"select seq, at as "at: _", actor, action, subject, detail::text as "detail!", request_id, hash
                   from audit_log
                   where tenant_id = $1 and ($2::bigint is null or "#
                    + $after
                    + ") and "
                    + $of
                    + r#" and ($4::text is null or action = $4 or (right($4, 1) = '.' and starts_with(action, $4)))
                   order by "#
                    + $order
                    + " offset $6 limit $7",
                tenant.uuid(),
                filter.after,
                filter.actor,
                filter.action,
                filter.subject,
                filter.offset,
                filter.limit,
            )
            .fetch_all(&mut *tx)
            .await?
        };
    }
    let rows = match filter.way {
        Way::Up => page!("seq > $2", "seq"),
        Way::Down => page!("seq < $2", "seq desc"),
    };
    Ok(rows.into_iter().map(AuditRow::from).collect())
}

/// How many there are, whichever part is wanted; at most [`COUNTED`].
pub async fn count(tx: &mut PgConnection, tenant: TenantId, filter: &AuditFilter<'_>) -> StoreResult<u64> {
    macro_rules! counted {
        ($of:literal) => {
            sqlx::query_scalar!(
                r#"select count(*) as "total!" from (
                       select from audit_log where tenant_id = $1 and "#
                    + $of
                    + r#" and ($3::text is null or action = $3 or (right($3, 1) = '.' and starts_with(action, $3)))
                       limit $5
                   ) counted"#,
                tenant.uuid(),
                filter.actor,
                filter.action,
                filter.subject,
                COUNTED,
            )
            .fetch_one(tx)
            .await?
        };
    }
    let total = match (filter.subject, filter.actor) {
        (Some(_), _) => counted!("subject = $4 and ($2::text is null or actor = $2)"),
        (None, Some(_)) => counted!("actor = $2 and $4::text is null"),
        (None, None) => counted!("$2::text is null and $4::text is null"),
    };
    Ok(total.unsigned_abs())
}

/// Rows that a transaction chains.
const LINKS: i64 = 1_000;

impl Store {
    /// Chains what was noted, of all tenants.
    pub async fn chain_audit_logs(&self) -> StoreResult<()> {
        let tenants = sqlx::query_scalar!("select distinct tenant_id from audit_pending");
        for tenant in tenants.fetch_all(self.pool()).await? {
            self.chain_audit_log(TenantId::from(tenant)).await?;
        }
        Ok(())
    }

    /// Chains what a tenant has noted until now.
    pub async fn chain_audit_log(&self, tenant: TenantId) -> StoreResult<()> {
        let noted = sqlx::query_scalar!(
            r#"select coalesce(max(id), 0) as "id!" from audit_pending where tenant_id = $1"#,
            tenant.uuid()
        );
        let until = noted.fetch_one(self.pool()).await?;
        if until > 0 {
            while self.chain_portion(tenant, until).await? == LINKS.unsigned_abs() {}
        }
        Ok(())
    }

    async fn chain_portion(&self, tenant: TenantId, until: i64) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let head = sqlx::query!(
            "insert into audit_heads (tenant_id, seq, hash) values ($1, 0, '')
             on conflict (tenant_id) do update set seq = audit_heads.seq
             returning seq, hash",
            tenant.uuid(),
        )
        .fetch_one(&mut *tx)
        .await?;
        let noted = sqlx::query!(
            r#"select id, at as "at: jiff_sqlx::Timestamp", actor, action, subject, detail::text as "detail!", request_id
               from audit_pending where tenant_id = $1 and id <= $2 order by id limit $3"#,
            tenant.uuid(),
            until,
            LINKS,
        )
        .fetch_all(&mut *tx)
        .await?;
        let (mut ids, mut hashes): (Vec<i64>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        for (seq, row) in (head.seq + 1..).zip(&noted) {
            let hashed = hashed!(tenant, seq, row);
            ids.push(row.id);
            hashes.push(hashed.after(hashes.last().unwrap_or(&head.hash)));
        }
        let Some(last) = hashes.last() else { return Ok(0) };
        sqlx::query!(
            "with taken as (
                 delete from audit_pending p using unnest($2::bigint[], $3::bytea[]) with ordinality as l (id, hash, place)
                 where p.id = l.id returning p.*, $4 + l.place as seq, l.hash
             ), chained as (
                 insert into audit_log (tenant_id, seq, at, actor, action, subject, detail, request_id, hash)
                 select tenant_id, seq, at, actor, action, subject, detail, request_id, hash from taken
             )
             update audit_heads set seq = $4 + cardinality($2), hash = $5 where tenant_id = $1",
            tenant.uuid(),
            &ids,
            &hashes,
            head.seq,
            last,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(ids.len() as u64)
    }

    /// Reads a tenant's whole log and makes every hash again.
    pub async fn verify_audit_log(&self, tenant: TenantId) -> StoreResult<Verified> {
        self.chain_audit_log(tenant).await?;
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
            let hashed = hashed!(tenant, seq, row);
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
