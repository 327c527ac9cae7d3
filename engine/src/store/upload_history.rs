//! Uploads as people see them: the history, one of them, what of it was not taken, and its end.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgConnection;

use super::{
    StoreError, StoreResult, blobs,
    listing::{Part, Way},
    uploads::ProblemRow,
};
use crate::{
    domain::upload::UploadState,
    id::{BlobId, TenantId, UploadId},
};

#[derive(Debug, Clone)]
pub struct UploadEntry {
    pub id: UploadId,
    pub file_name: String,
    pub description: String,
    pub state: UploadState,
    pub format: String,
    pub bytes: i64,
    pub mapping: Value,
    pub rows_read: i64,
    pub rows_taken: i64,
    pub rows_refused: i64,
    pub contacts_created: i64,
    pub contacts_updated: i64,
    /// Before all rows are read.
    pub rows_expected: Option<i64>,
    pub expected_exactly: bool,
    pub failure: Option<String>,
    pub uploaded_by: Option<String>,
    /// The file itself, if it is kept.
    pub blob: Option<BlobId>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

struct Row {
    id: uuid::Uuid,
    file_name: String,
    description: String,
    state: UploadState,
    format: String,
    bytes: i64,
    mapping: Value,
    rows_read: i64,
    rows_taken: i64,
    rows_refused: i64,
    contacts_created: i64,
    contacts_updated: i64,
    rows_expected: Option<i64>,
    expected_exactly: bool,
    failure: Option<String>,
    uploaded_by: Option<String>,
    blob_id: Option<uuid::Uuid>,
    created_at: jiff_sqlx::Timestamp,
    started_at: Option<jiff_sqlx::Timestamp>,
    finished_at: Option<jiff_sqlx::Timestamp>,
}

impl From<Row> for UploadEntry {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            file_name: row.file_name,
            description: row.description,
            state: row.state,
            format: row.format,
            bytes: row.bytes,
            mapping: row.mapping,
            rows_read: row.rows_read,
            rows_taken: row.rows_taken,
            rows_refused: row.rows_refused,
            contacts_created: row.contacts_created,
            contacts_updated: row.contacts_updated,
            rows_expected: row.rows_expected,
            expected_exactly: row.expected_exactly,
            failure: row.failure,
            uploaded_by: row.uploaded_by,
            blob: row.blob_id.map(BlobId::from),
            created_at: row.created_at.to_jiff(),
            started_at: row.started_at.map(|at| at.to_jiff()),
            finished_at: row.finished_at.map(|at| at.to_jiff()),
        }
    }
}

/// A part of the uploads, all or those in one state, in the order in which they came.
pub async fn list(
    tx: &mut PgConnection,
    tenant: TenantId,
    state: Option<UploadState>,
    way: Way,
    part: &Part<UploadId>,
) -> StoreResult<Vec<UploadEntry>> {
    macro_rules! page {
        ($after:literal, $order:literal) => {
            sqlx::query_as!(
                Row,
                r#"select id, file_name, description, state as "state: _", format, bytes, mapping, rows_read, rows_taken,
                          rows_refused, contacts_created, contacts_updated, rows_expected, expected_exactly, failure,
                          uploaded_by, blob_id, created_at as "created_at: _", started_at as "started_at: _",
                          finished_at as "finished_at: _"
                   from uploads
                   where tenant_id = $1 and ($2::text is null or state = $2) and ($3::uuid is null or "#
                    + $after
                    + ") order by "
                    + $order
                    + " offset $4 limit $5",
                tenant.uuid(),
                state.map(UploadState::as_str),
                part.after.map(UploadId::uuid),
                part.offset,
                part.limit,
            )
            .fetch_all(tx)
            .await?
        };
    }
    let rows = match way {
        Way::Up => page!("id > $3", "id"),
        Way::Down => page!("id < $3", "id desc"),
    };
    Ok(rows.into_iter().map(UploadEntry::from).collect())
}

pub async fn count(tx: &mut PgConnection, tenant: TenantId, state: Option<UploadState>) -> StoreResult<u64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from uploads where tenant_id = $1 and ($2::text is null or state = $2)"#,
        tenant.uuid(),
        state.map(UploadState::as_str),
    );
    Ok(count.fetch_one(tx).await?.unsigned_abs())
}

pub async fn get(tx: &mut PgConnection, tenant: TenantId, id: UploadId) -> StoreResult<UploadEntry> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, file_name, description, state as "state: _", format, bytes, mapping, rows_read, rows_taken,
                  rows_refused, contacts_created, contacts_updated, rows_expected, expected_exactly, failure, uploaded_by,
                  blob_id, created_at as "created_at: _", started_at as "started_at: _", finished_at as "finished_at: _"
           from uploads where tenant_id = $1 and id = $2"#,
        tenant.uuid(),
        id.uuid(),
    );
    Ok(row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?.into())
}

/// Where a list of problems goes on: behind this row and field.
pub type ProblemKey = (i64, String);

/// What was not taken, in the order of rows. The upload came out of a query that took its tenant.
pub async fn problems(
    tx: &mut PgConnection,
    tenant: TenantId,
    upload: UploadId,
    way: Way,
    part: &Part<ProblemKey>,
) -> StoreResult<Vec<ProblemRow>> {
    let (row, field) = part.after.as_ref().map(|(row, field)| (*row, field.as_str())).unzip();
    macro_rules! page {
        ($after:literal, $order:literal) => {
            sqlx::query_as!(
                ProblemRow,
                "select p.row_no, p.field, p.value, p.reason, p.refused
                 from upload_problems p join uploads u on u.id = p.upload_id
                 where u.tenant_id = $1 and p.upload_id = $2
                   and ($3::bigint is null or (p.row_no, p.field) "
                    + $after
                    + " ($3, $4)) order by "
                    + $order
                    + " offset $5 limit $6",
                tenant.uuid(),
                upload.uuid(),
                row,
                field,
                part.offset,
                part.limit,
            )
            .fetch_all(tx)
            .await?
        };
    }
    Ok(match way {
        Way::Up => page!(">", "p.row_no, p.field"),
        Way::Down => page!("<", "p.row_no desc, p.field desc"),
    })
}

pub async fn count_problems(tx: &mut PgConnection, tenant: TenantId, upload: UploadId) -> StoreResult<u64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from upload_problems p join uploads u on u.id = p.upload_id
           where u.tenant_id = $1 and p.upload_id = $2"#,
        tenant.uuid(),
        upload.uuid(),
    );
    Ok(count.fetch_one(tx).await?.unsigned_abs())
}

/// Deletes an upload with its rows and its file; the people who came with it stay. Not while it is being taken, and not
/// once a campaign's audience is made of its rows.
pub async fn delete(tx: &mut PgConnection, tenant: TenantId, id: UploadId) -> StoreResult<()> {
    let row = sqlx::query!(
        r#"select state as "state: UploadState", blob_id from uploads where tenant_id = $1 and id = $2 for update"#,
        tenant.uuid(),
        id.uuid(),
    );
    let row = row.fetch_optional(&mut *tx).await?.ok_or_else(|| StoreError::not_found(id))?;
    if matches!(row.state, UploadState::Receiving | UploadState::Processing) {
        return Err(StoreError::Conflict("the file is being taken: wait until that has ended".to_owned()));
    }
    let campaigns = sqlx::query_scalar!(
        r#"select count(*) as "campaigns!" from campaigns where tenant_id = $1 and audience ->> 'upload' = $2::uuid::text"#,
        tenant.uuid(),
        id.uuid(),
    );
    match campaigns.fetch_one(&mut *tx).await? {
        0 => {}
        some => {
            let campaigns = if some == 1 { "campaign has" } else { "campaigns have" };
            return Err(StoreError::Conflict(format!(
                "{some} {campaigns} this upload as audience: it stays"
            )));
        }
    }
    // First the rows: who may see them follows from the upload.
    sqlx::query!("delete from upload_rows where upload_id = $1", id.uuid()).execute(&mut *tx).await?;
    sqlx::query!("delete from uploads where tenant_id = $1 and id = $2", tenant.uuid(), id.uuid())
        .execute(&mut *tx)
        .await?;
    blobs::condemn(tx, tenant, row.blob_id.as_slice()).await
}
