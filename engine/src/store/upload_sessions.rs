//! Large files that come in pieces, in order.

use jiff::Timestamp;
use sqlx::PgConnection;

use super::{StoreError, StoreResult, blobs};
use crate::{
    blobs::Blob,
    contacts::options::ReadingOptions,
    id::{TenantId, UploadId, UploadSessionId},
};

#[derive(Debug, Clone)]
pub struct UploadSession {
    pub id: UploadSessionId,
    pub blob: Blob,
    pub file_name: String,
    pub bytes: u64,
    /// As the client says.
    pub sha256: Option<Vec<u8>>,
    pub received: u64,
    pub description: String,
    pub options: ReadingOptions,
    pub heard_at: Timestamp,
    /// What it became.
    pub upload: Option<UploadId>,
}

/// What a session begins with.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    pub id: UploadSessionId,
    pub blob: Blob,
    pub file_name: &'a str,
    pub bytes: u64,
    pub sha256: Option<[u8; 32]>,
    pub description: &'a str,
    pub options: &'a ReadingOptions,
    pub by: &'a str,
}

pub async fn create(tx: &mut PgConnection, new: &NewSession<'_>) -> StoreResult<()> {
    blobs::make(&mut *tx, new.blob).await?;
    sqlx::query!(
        "insert into upload_sessions (id, tenant_id, file_name, bytes, sha256, blob_id, description, options, created_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        new.id.uuid(),
        new.blob.tenant.uuid(),
        new.file_name,
        i64::try_from(new.bytes).unwrap_or(i64::MAX),
        new.sha256.as_ref().map(<[u8; 32]>::as_slice),
        new.blob.id.uuid(),
        new.description,
        serde_json::to_value(new.options).unwrap_or_default(),
        new.by,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A session.
pub async fn get(tx: &mut PgConnection, tenant: TenantId, id: UploadSessionId) -> StoreResult<UploadSession> {
    let row = sqlx::query!(
        r#"select blob_id, file_name, bytes, sha256, received, description, options,
                  heard_at as "heard_at: jiff_sqlx::Timestamp", upload_id
           from upload_sessions where tenant_id = $1 and id = $2"#,
        tenant.uuid(),
        id.uuid(),
    );
    let row = row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?;
    let options = serde_json::from_value(row.options)
        .map_err(|error| StoreError::Corrupt(format!("options of an upload session: {error}")))?;
    Ok(UploadSession {
        id,
        blob: Blob { tenant, id: row.blob_id.into() },
        file_name: row.file_name,
        bytes: row.bytes.unsigned_abs(),
        sha256: row.sha256,
        received: row.received.unsigned_abs(),
        description: row.description,
        options,
        heard_at: row.heard_at.to_jiff(),
        upload: row.upload_id.map(UploadId::from),
    })
}

/// The same, under the lock of an edit.
pub async fn lock(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: UploadSessionId,
) -> StoreResult<UploadSession> {
    let locked = sqlx::query!(
        "select 1 as one from upload_sessions where tenant_id = $1 and id = $2 for no key update",
        tenant.uuid(),
        id.uuid(),
    );
    locked.fetch_optional(&mut *tx).await?.ok_or_else(|| StoreError::not_found(id))?;
    get(tx, tenant, id).await
}

/// So many bytes of it are stored; fewer than are known already change nothing.
pub async fn advance(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: UploadSessionId,
    received: u64,
) -> StoreResult<u64> {
    let known = sqlx::query_scalar!(
        "update upload_sessions set received = greatest(received, $3), heard_at = now()
         where tenant_id = $1 and id = $2 and upload_id is null returning received",
        tenant.uuid(),
        id.uuid(),
        i64::try_from(received).unwrap_or(i64::MAX),
    );
    let known = known.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?;
    Ok(known.unsigned_abs())
}

/// What it became.
pub async fn became(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: UploadSessionId,
    upload: UploadId,
) -> StoreResult<()> {
    sqlx::query!(
        "update upload_sessions set upload_id = $3, heard_at = now() where tenant_id = $1 and id = $2",
        tenant.uuid(),
        id.uuid(),
        upload.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets a session; what it became stays.
pub async fn delete(tx: &mut PgConnection, session: &UploadSession) -> StoreResult<()> {
    let tenant = session.blob.tenant;
    sqlx::query!(
        "delete from upload_sessions where tenant_id = $1 and id = $2",
        tenant.uuid(),
        session.id.uuid()
    )
    .execute(&mut *tx)
    .await?;
    if session.upload.is_none() {
        blobs::condemn(tx, tenant, &[session.blob.id.uuid()]).await?;
    }
    Ok(())
}
