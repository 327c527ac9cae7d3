//! Files in a form: streamed into their blobs while they come, looked at when all of them are here, and then left to the
//! engine. All files of a request are taken on, or none.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::{Request, State};
use fanfare_engine::{
    blobs::Blob,
    contacts::landing::{Landed, Landing},
    domain::permission::needs,
    id::UploadId,
    store::{blobs, intake},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Work,
    finish::{self, Arrived},
    form::{Form, Part},
    lost,
    metadata::{Metadata, file_name},
    whole,
};
use crate::{
    auth::caller::{Caller, May},
    http::{
        envelope::{Envelope, Made},
        extract,
        problem::{Code, Problem},
    },
    service::Service,
};

/// Of one request.
const MOST_FILES: usize = 20;
/// Of the metadata.
const LARGEST_METADATA: usize = 256 << 10;
/// How often files that are coming say so, or upkeep would forget them.
const WORD: Duration = Duration::from_secs(60);

/// The form. `metadata` may come before or after the files.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the form, which is read as a stream")]
pub(super) struct UploadForm {
    /// A CSV, TSV or XLSX file; may be repeated. What it is, its content says, not its name or stated type.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    metadata: Option<Metadata>,
}

/// A file that will be taken.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accepted {
    #[schema(value_type = String, example = "upl_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    pub(super) upload_id: UploadId,
    #[schema(example = "policies.xlsx")]
    pub(super) filename: String,
    #[schema(example = "processing")]
    pub(super) status: &'static str,
    /// Rows below the header, counted if that takes no more than two seconds, else estimated.
    #[schema(example = 150)]
    pub(super) total_records: u64,
    /// Only there where it is an estimate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) total_is_estimate: bool,
    #[schema(example = "2-3 minutes")]
    pub(super) estimated_processing_time: String,
}

/// The first file, and all of them where there are several.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AcceptedFiles {
    #[serde(flatten)]
    first: Accepted,
    /// Every file in the order of the form, the first too.
    #[serde(skip_serializing_if = "Option::is_none")]
    uploads: Option<Vec<Accepted>>,
}

/// Uploads one file or several.
///
/// The answer comes when every file is stored and its beginning makes sense; its rows are taken afterwards, and
/// `GET /api/upload/status/{id}` tells how far that is. All files of a request are taken on, or none. A file that was uploaded
/// before is refused, and the refusal names that upload, unless `metadata.force` says otherwise. Larger files than one
/// request may hold come in pieces: `POST /api/upload/sessions`.
#[utoipa::path(post, path = "/api/upload/file", tag = "uploads", security(("bearer" = ["uploads:create"])),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "They are stored and will be taken", body = Envelope<AcceptedFiles>)))]
pub(super) async fn upload(
    State(service): State<Service>,
    may: May<needs::UploadsCreate>,
    request: Request,
) -> Result<Made<AcceptedFiles>, Problem> {
    whole(&may.caller)?;
    let form = Form::read(request).await?;
    let mut receiver = Receiver { service: &service, caller: &may.caller, begun: Vec::new(), bytes: 0 };
    match receiver.take_on(form).await {
        Ok(accepted) => Ok(Made(accepted)),
        Err(problem) => {
            receiver.give_up().await;
            Err(problem)
        }
    }
}

struct Receiver<'a> {
    service: &'a Service,
    caller: &'a Caller,
    /// Uploads that have a row.
    begun: Vec<UploadId>,
    /// Of all files.
    bytes: u64,
}

impl Receiver<'_> {
    async fn take_on(&mut self, mut form: Form) -> Result<AcceptedFiles, Problem> {
        let (mut files, mut metadata) = (Vec::new(), None);
        while let Some(part) = form.next().await? {
            match part.name() {
                "file" if files.len() == MOST_FILES => {
                    return Err(Problem::field(
                        "file",
                        format!("at most {MOST_FILES} files come in one request"),
                    ));
                }
                "file" => {
                    let at = files.len();
                    files.push(self.receive(part, at).await?);
                }
                "metadata" if metadata.is_none() => metadata = Some(read_metadata(part).await?),
                "metadata" => return Err(Problem::field("metadata", "comes twice")),
                other => {
                    let name: String = other.chars().take(64).collect();
                    return Err(Problem::field(
                        name,
                        "is not a part of this form: send `file` and `metadata`",
                    ));
                }
            }
        }
        if files.is_empty() {
            return Err(Problem::field("file", "is missing"));
        }
        let reading = metadata.unwrap_or_default().check()?;
        let accepted = finish::take_on(self.service, self.caller, &files, &reading).await?;
        let first = accepted.first().cloned().ok_or(Code::Broken)?;
        Ok(AcceptedFiles { first, uploads: (accepted.len() > 1).then_some(accepted) })
    }

    async fn receive(&mut self, part: Part<'_>, at: usize) -> Result<Arrived, Problem> {
        let place = if at == 0 { "file".to_owned() } else { format!("file[{at}]") };
        let name = file_name(part.file_name(), &place)?;
        let now = self.service.clock.now();
        let upload = self.service.ids.next(now);
        let blob = Blob { tenant: self.caller.tenant, id: self.service.ids.next(now) };
        let by = self.caller.actor.name();
        let mut work = Work::begin(self.service, self.caller).await?;
        blobs::make(&mut work.tx, blob).await?;
        let begun = intake::Receiving { upload, blob, file_name: &name, by: &by };
        intake::begin(&mut work.tx, &begun).await?;
        work.commit().await?;
        self.begun.push(upload);
        let landed = self.land(part, blob).await?;
        Ok(Arrived { upload, file_name: name, landed, place })
    }

    async fn land(&mut self, mut part: Part<'_>, blob: Blob) -> Result<Landed, Problem> {
        let (files, tenant) = (&self.service.files, self.caller.tenant);
        let mut landing = Landing::begin(Arc::clone(&files.blobs), blob).map_err(lost)?;
        let mut word = Instant::now();
        while let Some(piece) = part.piece().await? {
            self.bytes += piece.len() as u64;
            if self.bytes > files.max_upload_bytes {
                let most = files.max_upload_bytes >> 20;
                let detail =
                    format!("The files of one request have at most {most} MiB: send a larger one in pieces.");
                return Err(Problem::say(Code::TooLarge, detail));
            }
            landing.write(&piece).await.map_err(lost)?;
            if word.elapsed() > WORD {
                let mut work = Work::begin(self.service, self.caller).await?;
                intake::heard(&mut work.tx, tenant, &self.begun).await?;
                work.commit().await?;
                word = Instant::now();
            }
        }
        landing.end().await.map_err(lost)
    }

    /// What was not taken on was never there. Where even that can't be said now, upkeep sees to it.
    async fn give_up(&self) {
        let forgotten = async {
            let mut work = Work::begin(self.service, self.caller).await?;
            intake::give_up(&mut work.tx, self.caller.tenant, &self.begun).await?;
            work.commit().await
        };
        if let Err(problem) = forgotten.await {
            tracing::debug!(?problem, "files that were refused are left to upkeep");
        }
    }
}

async fn read_metadata(mut part: Part<'_>) -> Result<Metadata, Problem> {
    let mut text = Vec::new();
    while let Some(piece) = part.piece().await? {
        text.extend_from_slice(&piece);
        if text.len() > LARGEST_METADATA {
            return Err(Problem::field("metadata", format!("must have at most {LARGEST_METADATA} bytes")));
        }
    }
    extract::read(&text).map_err(|problem| problem.within("metadata"))
}
