//! Contacts by the million, a JSON object a line. The body is written to disk before anything else, so that a slow sender
//! holds no lock and no transaction; then it goes the way of every imported file: one transaction for all of it.

use axum::{
    body::Body,
    extract::{Request, State},
    http::header,
};
use fanfare_engine::{
    contacts::{self, Author, ImportError, ImportOptions, ImportReport, ImportRequest, Limits, Shape},
    domain::permission::needs,
    id::UploadId,
    store::{StoreResult, users::RowScope},
};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;
use utoipa::ToSchema;

use super::person::NewContact;
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        incoming::unfinished,
        problem::{Code, Problem},
    },
    service::Service,
};

const KIND: &str = "application/x-ndjson";
/// Problems that the answer tells of; the upload keeps all of them.
const TOLD: usize = 1_000;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Taken {
    /// Under which the lines are kept, as those of an uploaded file: a campaign's audience may name it.
    #[schema(value_type = String)]
    upload_id: UploadId,
    lines_read: u64,
    lines_taken: u64,
    lines_refused: u64,
    contacts_created: u64,
    /// Contacts that were known and that a line changed.
    contacts_updated: u64,
    /// In the order of lines, the first 1,000.
    problems: Vec<LineProblem>,
    /// How many more there are.
    problems_left_out: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct LineProblem {
    /// From 1.
    line: i64,
    /// `row` for the line as a whole.
    field: String,
    reason: String,
}

/// Adds or adds to many contacts, one JSON object a line, each as in `POST /api/contacts` but for `branch` and `assignedTo`.
/// 1 GiB at most. A line that can't be taken is refused whole and told of; all others are taken together, or, when something
/// goes wrong here, none. Of several lines about one person each field's last word holds, attributes as a whole. The same
/// body twice changes nothing the second time. Needs `contacts:update`, too, and sight of all contacts.
#[utoipa::path(post, path = "/api/contacts/bulk", tag = "contacts",
    security(("bearer" = ["contacts:create", "contacts:update"])),
    request_body(content = NewContact, content_type = "application/x-ndjson"),
    responses((status = 200, description = "What became of the lines", body = Envelope<Taken>)))]
pub(super) async fn take(
    State(service): State<Service>,
    may: May<needs::ContactsCreate>,
    _: May<needs::ContactsUpdate>,
    request: Request,
) -> Result<Data<Taken>, Problem> {
    let caller = &may.caller;
    if caller.scope != RowScope::All {
        return Err(Problem::say(
            Code::Forbidden,
            "Whoever sees only some contacts can't change them by the million.",
        ));
    }
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(KIND) {
        return Err(Problem::say(
            Code::WrongContentType,
            "Send it as application/x-ndjson, one JSON object a line.",
        ));
    }
    let limits = Limits::default();
    let _room = service.spools.room(caller.tenant).await?;
    let file = spool(request.into_body(), limits.max_bytes).await?;
    let _turn = service.heavy_turn().await?;
    let import = ImportRequest {
        tenant: caller.tenant,
        path: file.path().to_owned(),
        file_name: "contacts.ndjson".to_owned(),
        options: ImportOptions { shape: Shape::Lines, force: true, limits, ..ImportOptions::default() },
        author: Some(Author {
            actor: caller.actor.name(),
            action: "contact.bulk",
            request_id: Some(caller.request.as_str().to_owned()),
        }),
    };
    let imported = Box::pin(contacts::import(&service.store, &service.ids, &*service.clock, import, &|_| {}));
    let report = imported.await.map_err(not_taken)?;
    let problems = problems(&service, report.upload).await?;
    Ok(Data(taken(report, problems)))
}

/// The body as a file, which is gone when it is dropped.
async fn spool(body: Body, most: u64) -> Result<NamedTempFile, Problem> {
    let broken = |error: std::io::Error| {
        tracing::error!(%error, "a body could not be kept");
        Problem::from(Code::Broken)
    };
    let file = NamedTempFile::new().map_err(broken)?;
    let mut written = tokio::fs::File::from_std(file.reopen().map_err(broken)?);
    let (mut pieces, mut bytes) = (body.into_data_stream(), 0_u64);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| unfinished(&error))?;
        bytes = bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if bytes > most {
            return Err(Problem::say(
                Code::TooLarge,
                format!("The body has more than {most} bytes: send it in parts."),
            ));
        }
        written.write_all(&piece).await.map_err(broken)?;
    }
    written.flush().await.map_err(broken)?;
    Ok(file)
}

fn not_taken(error: ImportError) -> Problem {
    match error {
        ImportError::Store(error) => error.into(),
        ImportError::TooLarge { .. } => Problem::say(Code::TooLarge, error.to_string()),
        ImportError::Empty => Problem::field("body", "holds no line"),
        ImportError::NotLines
        | ImportError::NotATable { .. }
        | ImportError::EndsInsideCharacter
        | ImportError::MixedEncodings { .. } => {
            Problem::field("body", "is no UTF-8 text with a JSON object a line")
        }
        error => {
            tracing::error!(%error, "lines could not be taken");
            Code::Broken.into()
        }
    }
}

async fn problems(service: &Service, upload: UploadId) -> StoreResult<Vec<LineProblem>> {
    let first = service.store.upload_problems(upload).take(TOLD);
    let told = first.map_ok(|row| LineProblem { line: row.row_no, field: row.field, reason: row.reason });
    told.try_collect().await
}

fn taken(report: ImportReport, problems: Vec<LineProblem>) -> Taken {
    let all: u64 = report.reasons.iter().map(|reason| reason.refused + reason.left_out).sum();
    Taken {
        upload_id: report.upload,
        lines_read: report.rows_read,
        lines_taken: report.rows_taken,
        lines_refused: report.rows_refused,
        contacts_created: report.contacts_created,
        contacts_updated: report.contacts_updated,
        problems_left_out: all.saturating_sub(u64::try_from(problems.len()).unwrap_or(u64::MAX)),
        problems,
    }
}
