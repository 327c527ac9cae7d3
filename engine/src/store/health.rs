//! What the database says of itself: for readiness, and for whoever looks for what is wrong.

use super::{MIGRATOR, Store, StoreResult};
use crate::id::TenantId;

/// How the schema compares with the migrations that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    Current,
    /// `fanfare migrate` brings it up to date.
    Behind {
        missing: usize,
    },
    /// A newer program has migrated it; this one must not be let loose on it.
    Ahead {
        unknown: usize,
    },
}

/// A setting of the server.
#[derive(Debug, Clone)]
pub struct Setting {
    pub name: String,
    pub value: String,
}

impl Store {
    pub async fn schema(&self) -> StoreResult<Schema> {
        let known: Vec<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
        // Unchecked: the table is made by the first migration run, and may not be there.
        let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
            .fetch_one(self.pool())
            .await?;
        if !exists {
            return Ok(Schema::Behind { missing: known.len() });
        }
        let applied: Vec<i64> = sqlx::query_scalar("select version from _sqlx_migrations where success")
            .fetch_all(self.pool())
            .await?;
        let unknown = applied.iter().filter(|version| !known.contains(version)).count();
        let missing = known.iter().filter(|version| !applied.contains(version)).count();
        Ok(match (unknown, missing) {
            (0, 0) => Schema::Current,
            (0, missing) => Schema::Behind { missing },
            (unknown, _) => Schema::Ahead { unknown },
        })
    }

    /// Version of the server, as in `15.18`.
    pub async fn server_version(&self) -> StoreResult<String> {
        let text = sqlx::query_scalar!(r#"select current_setting('server_version') as "version!""#)
            .fetch_one(self.pool())
            .await?;
        Ok(text.split_whitespace().next().unwrap_or(&text).to_owned())
    }

    /// The settings on which "accepted is durable" rests, and how many connections there may be.
    pub async fn durability(&self) -> StoreResult<Vec<Setting>> {
        Ok(sqlx::query_as!(
            Setting,
            r#"select name as "name!", setting as "value!" from pg_settings
               where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'max_connections') order by name"#
        )
        .fetch_all(self.pool())
        .await?)
    }

    /// The last month that has partitions of its own, as `2026_12`; `None` when there is none.
    pub async fn last_partition(&self) -> StoreResult<Option<String>> {
        Ok(sqlx::query_scalar!(
            r#"select max(right(c.relname, 7)) from pg_inherits i
               join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
               where p.relname = 'recipients' and c.relname ~ '_\d{4}_\d{2}$'"#
        )
        .fetch_one(self.pool())
        .await?)
    }

    /// Webhooks of a tenant's accounts that are stored and not yet applied.
    pub async fn webhooks_waiting(&self, tenant: TenantId) -> StoreResult<i64> {
        Ok(sqlx::query_scalar!(
            r#"select coalesce(sum(webhooks), 0) as "waiting!" from inbox join accounts on accounts.id = inbox.account_id
               where accounts.tenant_id = $1"#,
            tenant.uuid(),
        )
        .fetch_one(self.pool())
        .await?)
    }
}
