//! From a file that is here to one that the engine takes: a look at it, and the question whether it was here before.

use std::time::{Duration, Instant};

use fanfare_engine::{
    contacts::{
        ImportError,
        landing::Landed,
        look::{Look, LookRequest, look},
    },
    domain::upload::{UploadState, estimated_time},
    id::{Ids, UploadId},
    store::intake::{self, Received},
};
use serde_json::json;

use super::{Work, metadata::Reading, receive::Accepted};
use crate::{
    auth::caller::Caller,
    http::problem::{Code, Problem},
    service::Service,
};

/// How long rows are counted while somebody waits for the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A file that is stored, with its row.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) upload: UploadId,
    pub(super) file_name: String,
    pub(super) landed: Landed,
    /// Where it stands in the request.
    pub(super) place: String,
}

/// Takes on all of these files or none.
pub(super) async fn take_on(
    service: &Service,
    caller: &Caller,
    files: &[Arrived],
    reading: &Reading,
) -> Result<Vec<Accepted>, Problem> {
    let mut looks = Vec::with_capacity(files.len());
    for file in files {
        looks.push(look_at(service, caller, &file.landed, reading, &file.place).await?);
    }
    let mut work = Work::begin(service, caller).await?;
    // In one order for everybody, or two requests with the same two files would wait for each other.
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|&at| files[at].landed.sha256);
    for at in order {
        process(&mut work, caller, &files[at], &looks[at], reading).await?;
    }
    work.commit().await?;
    Ok(files.iter().zip(&looks).map(|(file, look)| accepted(file, look)).collect())
}

/// Whether the file can be taken at all, as far as its beginning tells, and how many rows it has.
pub(super) async fn look_at(
    service: &Service,
    caller: &Caller,
    landed: &Landed,
    reading: &Reading,
    place: &str,
) -> Result<Look, Problem> {
    let usual = service.store.tenant_defaults(caller.tenant).await?.ok_or(Code::NotFound)?;
    let request = LookRequest {
        tenant: caller.tenant,
        path: landed.path.to_path_buf(),
        options: reading.options.clone(),
        limits: service.files.limits,
        usual,
        ids: Ids::from_seed(0),
        now: service.clock.now(),
    };
    let _turn = service.files.looks.acquire().await.expect("never closed");
    let until = Instant::now() + PATIENCE;
    let looked = tokio::task::spawn_blocking(move || look(request, &|| Instant::now() >= until));
    match looked.await {
        Ok(looked) => looked.map_err(|error| refused(error, place)),
        Err(panic) => {
            tracing::error!(%panic, "a look at a file broke off");
            Err(Code::Broken.into())
        }
    }
}

/// Moves a file on to the engine, in the caller's transaction. Its row is there, and is being received.
pub(super) async fn process(
    work: &mut Work<'_>,
    caller: &Caller,
    file: &Arrived,
    look: &Look,
    reading: &Reading,
) -> Result<(), Problem> {
    let Landed { sha256, bytes, .. } = &file.landed;
    let known = intake::same_bytes(&mut work.tx, caller.tenant, sha256).await?;
    if let Some((upload, at)) = known.filter(|_| !reading.options.force) {
        let detail = format!(
            "This very file (`{}`) was uploaded as {upload} at {at}: send `force` in the metadata if its rows are to be taken again.",
            file.place
        );
        return Err(Problem::say(Code::Conflict, detail));
    }
    let received = Received {
        sha256: *sha256,
        bytes: *bytes,
        format: look.format,
        rows: look.rows,
        exactly: look.exactly,
        description: &reading.description,
        options: &reading.options,
    };
    intake::received(&mut work.tx, caller.tenant, file.upload, &received).await?;
    let detail = json!({"filename": file.file_name, "bytes": bytes, "format": look.format,
                        "sha256": hex::encode(sha256), "force": reading.options.force});
    work.note("upload.create", &file.upload.to_string(), detail).await
}

pub(super) fn accepted(file: &Arrived, look: &Look) -> Accepted {
    Accepted {
        upload_id: file.upload,
        filename: file.file_name.clone(),
        status: UploadState::Processing.as_str(),
        total_records: look.rows,
        total_is_estimate: !look.exactly,
        estimated_processing_time: estimated_time(look.rows),
    }
}

/// What is wrong with a file is the file's; what is wrong here is ours and is logged.
fn refused(error: ImportError, place: &str) -> Problem {
    match error {
        ImportError::TooLarge { .. } => Problem::say(Code::TooLarge, format!("`{place}`: {error}.")),
        ImportError::Mapping { .. } => Problem::field("metadata.mapping", error.to_string()),
        ImportError::NoSheet { .. } => Problem::field("metadata.sheet", error.to_string()),
        ImportError::Store(error) => error.into(),
        ImportError::UnknownTenant(_) | ImportError::TenantSetting { .. } => {
            Problem::say(Code::Conflict, format!("{error}."))
        }
        ImportError::Read(_) | ImportError::Broken(_) | ImportError::Changed => {
            tracing::error!(%error, "a look at a file broke off");
            Code::Broken.into()
        }
        error => Problem::field(place, error.to_string()),
    }
}
