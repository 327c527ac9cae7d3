//! Blobs: that they exist, that nobody needs them any more, and the parts of those that lie in this database.

use sqlx::PgConnection;

use super::{Store, StoreResult};
use crate::{blobs::Blob, id::TenantId};

pub async fn make(tx: &mut PgConnection, blob: Blob) -> StoreResult<()> {
    sqlx::query!("insert into blobs (id, tenant_id) values ($1, $2)", blob.id.uuid(), blob.tenant.uuid())
        .execute(tx)
        .await?;
    Ok(())
}

/// Nobody needs them any more: upkeep removes their bytes.
pub async fn condemn(tx: &mut PgConnection, tenant: TenantId, ids: &[uuid::Uuid]) -> StoreResult<()> {
    sqlx::query!(
        "update blobs set condemned_at = now() where tenant_id = $1 and id = any($2) and condemned_at is null",
        tenant.uuid(),
        ids,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Of two that write the same part the one that had more of it is right.
pub async fn put_part(tx: &mut PgConnection, blob: Blob, n: i32, bytes: &[u8]) -> StoreResult<()> {
    sqlx::query!(
        "insert into blob_parts as known (blob_id, tenant_id, n, bytes) values ($1, $2, $3, $4)
         on conflict (blob_id, n) do update set bytes = excluded.bytes
             where known.tenant_id = $2 and octet_length(known.bytes) < octet_length(excluded.bytes)",
        blob.id.uuid(),
        blob.tenant.uuid(),
        n,
        bytes,
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn part(tx: &mut PgConnection, blob: Blob, n: i32) -> StoreResult<Option<Vec<u8>>> {
    Ok(sqlx::query_scalar!(
        "select bytes from blob_parts where blob_id = $1 and tenant_id = $2 and n = $3",
        blob.id.uuid(),
        blob.tenant.uuid(),
        n,
    )
    .fetch_optional(tx)
    .await?)
}

pub async fn remove_parts(tx: &mut PgConnection, blob: Blob) -> StoreResult<()> {
    sqlx::query!(
        "delete from blob_parts where blob_id = $1 and tenant_id = $2",
        blob.id.uuid(),
        blob.tenant.uuid()
    )
    .execute(tx)
    .await?;
    Ok(())
}

impl Store {
    /// Blobs whose bytes are to be removed. Not at once: somebody may be reading one, or still write to it.
    pub(crate) async fn condemned_blobs(&self, limit: i64) -> StoreResult<Vec<Blob>> {
        let rows = sqlx::query!(
            "select id, tenant_id from blobs where condemned_at < now() - interval '1 minute' order by condemned_at limit $1",
            limit,
        );
        let rows = rows.fetch_all(self.pool()).await?;
        Ok(rows.into_iter().map(|row| Blob { tenant: row.tenant_id.into(), id: row.id.into() }).collect())
    }

    /// Its bytes are gone.
    pub(crate) async fn forget_blob(&self, blob: Blob) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "delete from blobs where id = $1 and tenant_id = $2 and condemned_at is not null",
            blob.id.uuid(),
            blob.tenant.uuid()
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
