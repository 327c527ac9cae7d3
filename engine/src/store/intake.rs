//! Uploads on their way: received, processed, completed or failed. [`super::uploads`] is what they come to.
//!
//! A row begins with its blob, before the first byte. What is being processed is claimed for a while by a process that goes
//! on saying so; when it is not heard of any more, another claims it, under a higher number. The import commits only if its
//! number still stands ([`super::uploads::Staging::merge`]).

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgConnection;

use super::{Store, StoreError, StoreResult, blobs};
use crate::{
    blobs::Blob,
    contacts::options::ReadingOptions,
    id::{ProcessId, TenantId, UploadId},
};

/// A file that begins to come in.
#[derive(Debug, Clone, Copy)]
pub struct Receiving<'a> {
    pub upload: UploadId,
    pub blob: Blob,
    /// As the person who sends it calls it.
    pub file_name: &'a str,
    /// As the audit log names them.
    pub by: &'a str,
}

/// A file that is there, and what a look at it told.
#[derive(Debug, Clone)]
pub struct Received<'a> {
    pub sha256: [u8; 32],
    pub bytes: u64,
    pub format: &'a str,
    pub rows: u64,
    pub exactly: bool,
    pub description: &'a str,
    pub options: &'a ReadingOptions,
}

/// A file to be taken, by whoever holds this.
#[derive(Debug, Clone)]
pub struct Claim {
    pub upload: UploadId,
    pub blob: Blob,
    pub bytes: u64,
    pub sha256: Vec<u8>,
    pub file_name: String,
    pub options: ReadingOptions,
    /// How often it was claimed, this time included.
    pub number: i32,
}

/// Begins an upload whose blob exists.
pub async fn begin(tx: &mut PgConnection, new: &Receiving<'_>) -> StoreResult<()> {
    sqlx::query!(
        "insert into uploads (id, tenant_id, file_name, state, uploaded_by, blob_id) values ($1, $2, $3, 'receiving', $4, $5)",
        new.upload.uuid(),
        new.blob.tenant.uuid(),
        new.file_name,
        new.by,
        new.blob.id.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The files of a request are still coming, or wait for those behind them.
pub async fn heard(tx: &mut PgConnection, tenant: TenantId, uploads: &[UploadId]) -> StoreResult<()> {
    let ids: Vec<_> = uploads.iter().map(|upload| upload.uuid()).collect();
    sqlx::query!(
        "update uploads set heard_at = now() where tenant_id = $1 and id = any($2) and state = 'receiving'",
        tenant.uuid(),
        &ids,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets files that were not received: they never were uploads.
pub async fn give_up(tx: &mut PgConnection, tenant: TenantId, uploads: &[UploadId]) -> StoreResult<()> {
    let ids: Vec<_> = uploads.iter().map(|upload| upload.uuid()).collect();
    let gone = sqlx::query_scalar!(
        r#"delete from uploads where tenant_id = $1 and id = any($2) and state = 'receiving' returning blob_id as "blob_id!""#,
        tenant.uuid(),
        &ids,
    );
    let gone = gone.fetch_all(&mut *tx).await?;
    blobs::condemn(tx, tenant, &gone).await
}

/// The upload of the same bytes that was taken or is about to be. Until this transaction ends nobody else asks the same
/// question about these bytes, so of two that come together one is the first.
pub async fn same_bytes(
    tx: &mut PgConnection,
    tenant: TenantId,
    sha256: &[u8; 32],
) -> StoreResult<Option<(UploadId, Timestamp)>> {
    sqlx::query!(
        "select 1 as one from pg_advisory_xact_lock(hashtextextended('upload ' || $1::uuid::text || encode($2, 'hex'), 0))",
        tenant.uuid(),
        sha256.as_slice(),
    )
    .fetch_one(&mut *tx)
    .await?;
    let known = sqlx::query!(
        r#"select id, created_at as "created_at: jiff_sqlx::Timestamp" from uploads
           where tenant_id = $1 and sha256 = $2 and state in ('processing', 'completed') order by id limit 1"#,
        tenant.uuid(),
        sha256.as_slice(),
    );
    let known = known.fetch_optional(tx).await?;
    Ok(known.map(|row| (row.id.into(), row.created_at.to_jiff())))
}

/// All of it is there: from now on the engine sees to it.
pub async fn received(
    tx: &mut PgConnection,
    tenant: TenantId,
    upload: UploadId,
    file: &Received<'_>,
) -> StoreResult<()> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let moved = sqlx::query!(
        "update uploads set state = 'processing', sha256 = $3, bytes = $4, format = $5, rows_expected = $6,
                            expected_exactly = $7, description = $8, options = $9
         where tenant_id = $1 and id = $2 and state = 'receiving'",
        tenant.uuid(),
        upload.uuid(),
        file.sha256.as_slice(),
        count(file.bytes),
        file.format,
        count(file.rows),
        file.exactly,
        file.description,
        serde_json::to_value(file.options).unwrap_or_default(),
    );
    match moved.execute(tx).await?.rows_affected() {
        0 => {
            Err(StoreError::Conflict("the file took so long that it was given up: send it again".to_owned()))
        }
        _ => Ok(()),
    }
}

impl Store {
    /// Claims the next file for a while: of each tenant one at a time, since their imports would wait for each other.
    pub async fn claim_file(&self, process: ProcessId, lease: Duration) -> StoreResult<Option<Claim>> {
        let claimed = sqlx::query!(
            r#"update uploads set claim = claim + 1, claimed_by = $1, claimed_until = now() + make_interval(secs => $2),
                                  started_at = coalesce(started_at, now())
               where id = (
                   select id from uploads u
                   where state = 'processing' and (claimed_until is null or claimed_until < now())
                     and not exists (select from uploads busy where busy.tenant_id = u.tenant_id
                                     and busy.state = 'processing' and busy.claimed_until >= now())
                   order by id limit 1 for update skip locked)
               returning id, tenant_id, blob_id as "blob_id!", bytes, sha256, file_name, options, claim"#,
            process.uuid(),
            lease.as_secs_f64(),
        );
        let Some(row) = claimed.fetch_optional(self.pool()).await? else { return Ok(None) };
        let options = serde_json::from_value(row.options)
            .map_err(|error| StoreError::Corrupt(format!("options of an upload: {error}")))?;
        Ok(Some(Claim {
            upload: row.id.into(),
            blob: Blob { tenant: row.tenant_id.into(), id: row.blob_id.into() },
            bytes: row.bytes.unsigned_abs(),
            sha256: row.sha256,
            file_name: row.file_name,
            options,
            number: row.claim,
        }))
    }

    /// Says that a file is still being taken, and how far it is; false when somebody else has claimed it.
    pub async fn keep_claim(&self, claim: &Claim, lease: Duration, rows_read: u64) -> StoreResult<bool> {
        let kept = sqlx::query!(
            "update uploads set claimed_until = now() + make_interval(secs => $3), rows_read = $4
             where id = $1 and claim = $2 and state = 'processing'",
            claim.upload.uuid(),
            claim.number,
            lease.as_secs_f64(),
            i64::try_from(rows_read).unwrap_or(i64::MAX),
        );
        Ok(kept.execute(self.pool()).await?.rows_affected() == 1)
    }

    /// The file can't be taken; nothing of it stays but its row and the reason.
    pub async fn fail_upload(&self, claim: &Claim, reason: &str) -> StoreResult<()> {
        let mut tx = self.begun("begin").await?;
        let failed = sqlx::query!(
            "update uploads set state = 'failed', failure = $3, blob_id = null, rows_read = 0, finished_at = now(),
                                claimed_by = null, claimed_until = null
             where id = $1 and claim = $2 and state = 'processing'",
            claim.upload.uuid(),
            claim.number,
            reason,
        );
        if failed.execute(&mut *tx).await?.rows_affected() == 1 {
            blobs::condemn(&mut tx, claim.blob.tenant, &[claim.blob.id.uuid()]).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Lets the files that a process was taking go at once, when it ends.
    pub async fn drop_claims(&self, holder: ProcessId) -> StoreResult<()> {
        sqlx::query!(
            "update uploads set claimed_until = now() where state = 'processing' and claimed_by = $1 and claimed_until > now()",
            holder.uuid()
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Forgets files whose sender has not been heard of for a quarter of an hour, and sessions after a day. Returns how many.
    pub(crate) async fn forget_unreceived(&self) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let files = sqlx::query!(
            "with gone as (
                 delete from uploads where state = 'receiving' and heard_at < now() - interval '15 minutes' returning blob_id
             )
             update blobs set condemned_at = now() from gone where blobs.id = gone.blob_id and condemned_at is null",
        );
        let files = files.execute(&mut *tx).await?.rows_affected();
        // What a session became has its blob now.
        let sessions = sqlx::query!(
            "with gone as (
                 delete from upload_sessions where heard_at < now() - interval '1 day' returning blob_id, upload_id
             )
             update blobs set condemned_at = now() from gone
             where blobs.id = gone.blob_id and gone.upload_id is null and condemned_at is null",
        );
        let sessions = sessions.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        Ok(files + sessions)
    }
}
