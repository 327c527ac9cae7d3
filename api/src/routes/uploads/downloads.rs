//! What can be taken home of uploads: the file itself, the list of what was not taken, and a workbook to begin with.

use std::sync::{Arc, OnceLock};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use fanfare_engine::{
    blobs::{self, Blob},
    contacts::refused,
    domain::permission::needs,
    id::{TenantId, UploadId},
    store::{
        Store, StoreResult,
        listing::{Order, Part, Way},
        upload_history::{self, ProblemKey},
        uploads::ProblemRow,
    },
};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Work, template, whole};
use crate::{
    auth::caller::May,
    http::{
        attachment::{Form, ListFormat, csv, file},
        envelope::{Data, Envelope},
        extract::{PathId, Query},
        page::{Pagination, Wanted},
        problem::{Code, Problem},
        sort::Sortable,
    },
    service::Service,
};

const WORKBOOK: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
/// Lines of a list that are read together.
const PAGE: i64 = 1_000;

/// The file as it was uploaded.
#[utoipa::path(get, path = "/api/upload/download/{upload_id}", tag = "uploads", security(("bearer" = ["uploads:read"])),
    params(("upload_id" = String, Path, description = "`upl_…`")),
    responses((status = 200, description = "The file, as what its content says it is", content((String = "text/csv"), (Vec<u8> = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")))))]
pub(super) async fn download(
    State(service): State<Service>,
    may: May<needs::UploadsRead>,
    PathId(id): PathId<UploadId>,
) -> Result<Response, Problem> {
    let caller = &may.caller;
    whole(caller)?;
    let mut work = Work::read(&service, caller).await?;
    let entry = upload_history::get(&mut work.tx, caller.tenant, id).await?;
    let Some(blob) = entry.blob.filter(|_| !entry.format.is_empty()) else {
        return Err(Problem::say(Code::NotFound, "The file itself is not kept of this upload."));
    };
    work.seen("upload.download", &id.to_string(), json!({"bytes": entry.bytes})).await?;
    let blob = Blob { tenant: caller.tenant, id: blob };
    let bytes = entry.bytes.unsigned_abs();
    let parts = blobs::read(Arc::clone(&service.files.blobs), blob, bytes);
    let kind = if entry.format == "xlsx" { WORKBOOK } else { "text/csv" };
    let mut response = file(Body::from_stream(parts), kind, &entry.file_name);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    Ok(response)
}

/// What problems are sorted by: row and field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ByRow;

impl Sortable for ByRow {
    const FIELDS: &'static [(&'static str, Self)] = &[("row", Self)];
    const USUAL: Order<Self> = (Self, Way::Up);
}

/// A row that was refused, or a value that was left out of a row that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RowError {
    /// As a spreadsheet program numbers rows.
    #[schema(example = 17)]
    row: i64,
    /// The column's header; `row` for the row as a whole.
    #[schema(example = "Mobile")]
    field: String,
    #[schema(example = "5234")]
    value: String,
    #[schema(example = "not a possible phone number in its region")]
    reason: String,
    /// Whether the row was refused, and not only the value.
    refused: bool,
}

impl From<ProblemRow> for RowError {
    fn from(row: ProblemRow) -> Self {
        Self { row: row.row_no, field: row.field, value: row.value, reason: row.reason, refused: row.refused }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RowErrors {
    errors: Vec<RowError>,
    pagination: Pagination,
}

/// What of a file was not taken, row by row.
///
/// As CSV it is safe to open in a spreadsheet program: what would run as a formula is text.
#[utoipa::path(get, path = "/api/upload/errors/{upload_id}", tag = "uploads", security(("bearer" = ["uploads:read"])),
    params(("upload_id" = String, Path, description = "`upl_…`"), Wanted<ByRow>, Form),
    responses((status = 200, description = "The rows and values", content((Envelope<RowErrors> = "application/json"), (String = "text/csv")))))]
pub(super) async fn errors(
    State(service): State<Service>,
    may: May<needs::UploadsRead>,
    PathId(id): PathId<UploadId>,
    Query(wanted): Query<Wanted<ByRow>>,
    Query(Form { format }): Query<Form>,
) -> Result<Response, Problem> {
    let (caller, tenant) = (&may.caller, may.caller.tenant);
    whole(caller)?;
    let window = wanted.window::<ProblemKey>()?;
    let mut work = Work::begin(&service, caller).await?;
    let entry = upload_history::get(&mut work.tx, tenant, id).await?;
    // Values of a list of people are what people said of themselves.
    work.note("upload.errors", &id.to_string(), json!({})).await?;
    if format == ListFormat::Csv {
        work.commit().await?;
        let name = format!("{} - errors.csv", entry.file_name);
        let store = service.store.clone();
        return Ok(csv(&name, refused::csv_header(), move |after| lines(store.clone(), (tenant, id), after)));
    }
    let rows = upload_history::problems(&mut work.tx, tenant, id, wanted.sort.way(), &window.part()).await?;
    let total = upload_history::count_problems(&mut work.tx, tenant, id).await?;
    work.commit().await?;
    let (rows, next) = window.cut(rows, |row: &ProblemRow| (row.row_no, row.field.clone()));
    let errors = rows.into_iter().map(RowError::from).collect();
    Ok(Data(RowErrors { errors, pagination: window.pagination(total, next) }).into_response())
}

/// The lines of the list after this one.
async fn lines(
    store: Store,
    (tenant, upload): (TenantId, UploadId),
    after: Option<ProblemKey>,
) -> StoreResult<Option<(Vec<u8>, ProblemKey)>> {
    let mut tx = store.reading(tenant).await?;
    let part = Part { after, offset: 0, limit: PAGE };
    let rows = upload_history::problems(&mut tx, tenant, upload, Way::Up, &part).await?;
    tx.end();
    let last = rows.last().map(|row| (row.row_no, row.field.clone()));
    Ok(last.map(|last| (refused::csv_lines(&rows), last)))
}

/// A workbook to fill in: the headers that are understood, what each means, and examples.
#[utoipa::path(get, path = "/api/upload/template", tag = "uploads", security(("bearer" = ["uploads:create"])),
    responses((status = 200, description = "policy_upload_template.xlsx", body = Vec<u8>,
               content_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")))]
pub(super) async fn workbook(_: May<needs::UploadsCreate>) -> Result<Response, Problem> {
    static MADE: OnceLock<Bytes> = OnceLock::new();
    let made = match MADE.get() {
        Some(made) => made.clone(),
        None => {
            let made = template::workbook().map_err(|error| {
                tracing::error!(%error, "the template could not be made");
                Problem::from(Code::Broken)
            })?;
            MADE.get_or_init(|| made.into()).clone()
        }
    };
    Ok(file(Body::from(made), WORKBOOK, "policy_upload_template.xlsx"))
}
