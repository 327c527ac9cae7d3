//! Uploads: files of people and policies, and what became of them.
//!
//! A file is stored before the answer, and taken afterwards by whichever process of the engine claims it: `processing`, then
//! `completed` or `failed`. One that failed leaves nothing but its reason.

mod downloads;
mod finish;
mod form;
mod metadata;
mod receive;
mod sessions;
mod template;

use axum::{
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
};
use fanfare_engine::{
    blobs::BlobError,
    domain::{
        permission::needs,
        upload::{UploadState, duration_text, estimated_time},
    },
    id::UploadId,
    store::{
        listing::{Order, Way},
        upload_history::{self, UploadEntry},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Work;
use crate::{
    auth::caller::{Caller, May},
    http::{
        envelope::{Data, Envelope},
        extract::{PathId, Query},
        page::{Pagination, Wanted},
        problem::{Code, Problem},
        sort::Sortable,
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    // Files are counted while they come: their limits are settings.
    let files = OpenApiRouter::new().routes(routes!(receive::upload)).layer(DefaultBodyLimit::disable());
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(history))
        .routes(routes!(delete))
        .routes(routes!(downloads::download))
        .routes(routes!(downloads::errors))
        .routes(routes!(downloads::workbook))
        .routes(routes!(sessions::create))
        .routes(routes!(sessions::show, sessions::put, sessions::delete))
        .routes(routes!(sessions::complete))
        .merge(files)
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UploadView {
    #[schema(value_type = String, example = "upl_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    upload_id: UploadId,
    #[schema(example = "policies.xlsx")]
    filename: String,
    description: String,
    /// `receiving`, `processing`, `completed` or `failed`.
    #[schema(example = "completed")]
    status: &'static str,
    bytes: i64,
    /// Rows below the header: counted when the file was taken, before that counted or estimated at the upload.
    #[schema(example = 150)]
    total_records: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    total_is_estimate: bool,
    /// Rows that were read so far.
    #[schema(example = 150)]
    processed_records: i64,
    /// Rows that were taken; once it is completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 142)]
    successful_records: Option<i64>,
    /// Rows that were refused; once it is completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 8)]
    failed_records: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contacts_created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contacts_updated: Option<i64>,
    /// While it is processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2-3 minutes")]
    estimated_processing_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2m 15s")]
    processing_time: Option<String>,
    /// Why it failed, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<String>,
    /// The file itself, where it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/api/upload/download/upl_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    download_url: Option<String>,
    /// What of it was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/api/upload/errors/upl_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    errors_url: Option<String>,
    /// Which column became what; of a single upload that is completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    columns: Option<Value>,
    /// `user:usr_…` or `key:key_…`; absent where it came by the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    uploaded_by: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<jiff::Timestamp>,
}

impl From<UploadEntry> for UploadView {
    fn from(entry: UploadEntry) -> Self {
        let completed = entry.state == UploadState::Completed;
        let once = |count: i64| completed.then_some(count);
        let expected = entry.rows_expected.filter(|_| !completed);
        let total = expected.unwrap_or(entry.rows_read);
        let took = entry.started_at.zip(entry.finished_at);
        let processing = entry.state == UploadState::Processing;
        Self {
            upload_id: entry.id,
            filename: entry.file_name,
            description: entry.description,
            status: entry.state.as_str(),
            bytes: entry.bytes,
            total_records: total,
            total_is_estimate: expected.is_some() && !entry.expected_exactly,
            processed_records: entry.rows_read,
            successful_records: once(entry.rows_taken),
            failed_records: once(entry.rows_refused),
            contacts_created: once(entry.contacts_created),
            contacts_updated: once(entry.contacts_updated),
            estimated_processing_time: processing.then(|| estimated_time(total.unsigned_abs())),
            processing_time: took
                .map(|(started, finished)| duration_text(finished.duration_since(started).unsigned_abs())),
            failure_reason: entry.failure,
            download_url: entry
                .blob
                .filter(|_| completed)
                .map(|_| format!("/api/upload/download/{}", entry.id)),
            errors_url: completed.then(|| format!("/api/upload/errors/{}", entry.id)),
            columns: completed.then_some(entry.mapping),
            uploaded_by: entry.uploaded_by,
            created_at: entry.created_at,
            finished_at: entry.finished_at,
        }
    }
}

/// How far an upload is, and what came of it.
#[utoipa::path(get, path = "/api/upload/status/{upload_id}", tag = "uploads", security(("bearer" = ["uploads:read"])),
    params(("upload_id" = String, Path, description = "`upl_…`")),
    responses((status = 200, description = "The upload", body = Envelope<UploadView>)))]
async fn status(
    State(service): State<Service>,
    may: May<needs::UploadsRead>,
    PathId(id): PathId<UploadId>,
) -> Result<Data<UploadView>, Problem> {
    whole(&may.caller)?;
    let mut work = Work::read(&service, &may.caller).await?;
    let upload = upload_history::get(&mut work.tx, may.caller.tenant, id).await?;
    work.end();
    Ok(Data(upload.into()))
}

/// What uploads are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ByMoment;

impl Sortable for ByMoment {
    const FIELDS: &'static [(&'static str, Self)] = &[("createdAt", Self)];
    const USUAL: Order<Self> = (Self, Way::Down);
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// `receiving`, `processing`, `completed` or `failed`.
    #[param(value_type = Option<String>)]
    status: Option<UploadState>,
}

#[derive(Debug, Serialize, ToSchema)]
struct History {
    uploads: Vec<UploadView>,
    pagination: Pagination,
}

/// All uploads, the newest first if no `sort` is said.
#[utoipa::path(get, path = "/api/upload/history", tag = "uploads", security(("bearer" = ["uploads:read"])),
    params(Wanted<ByMoment>, HistoryQuery), responses((status = 200, description = "The uploads", body = Envelope<History>)))]
async fn history(
    State(service): State<Service>,
    may: May<needs::UploadsRead>,
    Query(wanted): Query<Wanted<ByMoment>>,
    Query(HistoryQuery { status }): Query<HistoryQuery>,
) -> Result<Data<History>, Problem> {
    whole(&may.caller)?;
    let tenant = may.caller.tenant;
    let window = wanted.window()?;
    let mut work = Work::read(&service, &may.caller).await?;
    let entries =
        upload_history::list(&mut work.tx, tenant, status, wanted.sort.way(), &window.part()).await?;
    let total = upload_history::count(&mut work.tx, tenant, status).await?;
    let (entries, next) = window.cut(entries, |entry: &UploadEntry| entry.id);
    let view = |entry: UploadEntry| UploadView { columns: None, ..UploadView::from(entry) };
    let uploads = entries.into_iter().map(view).collect();
    work.end();
    Ok(Data(History { uploads, pagination: window.pagination(total, next) }))
}

/// Deletes an upload, its rows and its file. The people who came with it stay.
#[utoipa::path(delete, path = "/api/upload/{upload_id}", tag = "uploads", security(("bearer" = ["uploads:delete"])),
    params(("upload_id" = String, Path, description = "`upl_…`")),
    responses((status = 204, description = "It is gone"),
              (status = 409, description = "It is being taken, or a campaign has it as audience", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
async fn delete(
    State(service): State<Service>,
    may: May<needs::UploadsDelete>,
    PathId(id): PathId<UploadId>,
) -> Result<StatusCode, Problem> {
    let caller = &may.caller;
    whole(caller)?;
    let mut work = Work::begin(&service, caller).await?;
    let entry = upload_history::get(&mut work.tx, caller.tenant, id).await?;
    upload_history::delete(&mut work.tx, caller.tenant, id).await?;
    let detail = json!({"filename": entry.file_name, "rows": entry.rows_taken});
    work.note("upload.delete", &id.to_string(), detail).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A file holds everybody's rows: whoever sees only some people's does without.
fn whole(caller: &Caller) -> Result<(), Problem> {
    caller.sees_everybody("You see only some of the contacts, and files hold those of everybody.")
}

fn lost(error: BlobError) -> Problem {
    match error {
        BlobError::Store(error) => error.into(),
        error => {
            tracing::error!(%error, "a file could not be stored or read");
            Code::Broken.into()
        }
    }
}
