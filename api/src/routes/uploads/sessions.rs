//! Files in pieces: for large ones, and for lines that break off.
//!
//! Pieces come in order. Whatever was stored of a piece counts, also when its request broke off: `received` says where to go
//! on. A piece that comes again, or begins before that place, is harmless. Two requests that write at once both write what
//! the file has there, so neither harms the other; if they do not, the SHA-256 tells.

use std::sync::Arc;

use axum::{
    body::Body as Stream,
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use fanfare_engine::{
    blobs::{Blob, Writer},
    contacts::landing::Landed,
    domain::permission::needs,
    id::{UploadId, UploadSessionId},
    store::{
        intake, upload_history,
        upload_sessions::{self, NewSession, UploadSession},
    },
};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    UploadView, Work,
    finish::{self, Arrived},
    lost,
    metadata::{Metadata, Reading, file_name},
    whole,
};
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope, Made},
        extract::{Body, PathId},
        incoming::stalled,
        problem::{Code, Problem},
    },
    service::Service,
};

/// Of a piece, so often `received` is moved on: what a broken line costs.
const NOTED_BYTES: u64 = 4 << 20;
const DAY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionInput {
    #[schema(min_length = 1, max_length = 255, example = "policies.csv")]
    filename: String,
    /// Bytes of the whole file.
    #[schema(example = 734003200)]
    size: u64,
    /// Of the whole file, in hexadecimal digits: checked when all of it is there.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    sha256: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadSessionView {
    #[schema(value_type = String, example = "upls_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    session_id: UploadSessionId,
    filename: String,
    size: u64,
    /// The next piece begins with this byte.
    received: u64,
    /// When it is forgotten if no piece comes, RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    expires_at: jiff::Timestamp,
    /// What it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    upload_id: Option<UploadId>,
}

impl From<UploadSession> for UploadSessionView {
    fn from(session: UploadSession) -> Self {
        Self {
            session_id: session.id,
            filename: session.file_name,
            size: session.bytes,
            received: session.received,
            expires_at: session.heard_at.saturating_add(DAY).unwrap_or(session.heard_at),
            upload_id: session.upload,
        }
    }
}

/// Begins a file that comes in pieces.
#[utoipa::path(post, path = "/api/upload/sessions", tag = "uploads", security(("bearer" = ["uploads:create"])),
    request_body = SessionInput, responses((status = 201, description = "The session", body = Envelope<UploadSessionView>)))]
pub(super) async fn create(
    State(service): State<Service>,
    may: May<needs::UploadsCreate>,
    Body(new): Body<SessionInput>,
) -> Result<Made<UploadSessionView>, Problem> {
    let caller = &may.caller;
    whole(caller)?;
    let most = service.files.limits.max_bytes;
    if !(1..=most).contains(&new.size) {
        return Err(Problem::field("size", format!("must be between 1 and {most}")));
    }
    let name = file_name(&new.filename, "filename")?;
    let sha256 = new.sha256.as_deref().map(digest).transpose()?;
    let reading = new.metadata.check()?;
    let now = service.clock.now();
    let id = service.ids.next(now);
    let session = NewSession {
        id,
        blob: Blob { tenant: caller.tenant, id: service.ids.next(now) },
        file_name: &name,
        bytes: new.size,
        sha256,
        description: &reading.description,
        options: &reading.options,
        by: &caller.actor.name(),
    };
    let mut work = Work::begin(&service, caller).await?;
    upload_sessions::create(&mut work.tx, &session).await?;
    let made = upload_sessions::get(&mut work.tx, caller.tenant, id).await?;
    work.note("upload.begin", &id.to_string(), json!({"filename": name, "bytes": new.size})).await?;
    work.commit().await?;
    Ok(Made(made.into()))
}

fn digest(text: &str) -> Result<[u8; 32], Problem> {
    let mut sha256 = [0; 32];
    hex::decode_to_slice(text, &mut sha256)
        .map_err(|_| Problem::field("sha256", "must be 64 hexadecimal digits"))?;
    Ok(sha256)
}

/// How far a file is that comes in pieces.
#[utoipa::path(get, path = "/api/upload/sessions/{upload_session_id}", tag = "uploads", security(("bearer" = ["uploads:create"])),
    params(("upload_session_id" = String, Path, description = "`upls_…`")),
    responses((status = 200, description = "The session", body = Envelope<UploadSessionView>)))]
pub(super) async fn show(
    State(service): State<Service>,
    may: May<needs::UploadsCreate>,
    PathId(id): PathId<UploadSessionId>,
) -> Result<Data<UploadSessionView>, Problem> {
    whole(&may.caller)?;
    let mut work = Work::read(&service, &may.caller).await?;
    let session = upload_sessions::get(&mut work.tx, may.caller.tenant, id).await?;
    work.end();
    Ok(Data(session.into()))
}

/// Takes the next piece.
///
/// `Content-Range: bytes 0-999999/734003200` says which bytes the body holds. It begins at `received` or before it; what is
/// known already is passed over. When a request breaks off, ask how far the session is and go on there.
#[utoipa::path(put, path = "/api/upload/sessions/{upload_session_id}", tag = "uploads", security(("bearer" = ["uploads:create"])),
    params(("upload_session_id" = String, Path, description = "`upls_…`"),
           ("Content-Range" = String, Header, description = "`bytes first-last/size`")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "The session", body = Envelope<UploadSessionView>)))]
pub(super) async fn put(
    State(service): State<Service>,
    may: May<needs::UploadsCreate>,
    PathId(id): PathId<UploadSessionId>,
    headers: HeaderMap,
    body: Stream,
) -> Result<Data<UploadSessionView>, Problem> {
    let caller = &may.caller;
    whole(caller)?;
    let mut look = Work::read(&service, caller).await?;
    let session = upload_sessions::get(&mut look.tx, caller.tenant, id).await?;
    look.end();
    if session.upload.is_some() {
        return Err(Problem::say(Code::Conflict, "All of this file is there: the session is complete."));
    }
    let range = range(&headers, session.bytes)?;
    if range.first > session.received {
        let detail = format!("{} bytes of the file are here: go on there.", session.received);
        return Err(Problem::say(Code::Conflict, detail));
    }
    let written = write(&service, &may, &session, &range, body).await;
    let mut look = Work::read(&service, caller).await?;
    let session = upload_sessions::get(&mut look.tx, caller.tenant, id).await?;
    look.end();
    written.map(|()| Data(session.into()))
}

/// Stores what of the piece is new, also of one that breaks off.
async fn write(
    service: &Service,
    may: &May<needs::UploadsCreate>,
    session: &UploadSession,
    range: &Range,
    body: Stream,
) -> Result<(), Problem> {
    let mut writer = Writer::resume(Arc::clone(&service.files.blobs), session.blob, session.received)
        .await
        .map_err(lost)?;
    let (mut known, mut left) = (session.received - range.first, range.length());
    let (mut body, mut noted) = (body.into_data_stream(), session.received);
    let came = loop {
        let piece = match body.try_next().await {
            Ok(Some(piece)) => piece,
            Ok(None) if left == 0 => break Ok(()),
            Ok(None) => {
                break Err(Problem::field(
                    "Content-Range",
                    format!("says {left} bytes more than the body has"),
                ));
            }
            Err(error) => {
                let code = if stalled(&error) { Code::Stalled } else { Code::Malformed };
                break Err(Problem::say(code, "The request broke off: ask how far the session is."));
            }
        };
        if piece.len() as u64 > left {
            break Err(Problem::field("Content-Range", "says fewer bytes than the body has"));
        }
        left -= piece.len() as u64;
        let passed = usize::try_from(known).unwrap_or(usize::MAX).min(piece.len());
        known -= passed as u64;
        writer.write(&piece[passed..]).await.map_err(lost)?;
        if writer.stored() >= noted + NOTED_BYTES {
            noted = writer.stored();
            advance(service, may, session, noted).await?;
        }
    };
    let received = writer.end().await.map_err(lost)?;
    advance(service, may, session, received).await?;
    came
}

async fn advance(
    service: &Service,
    may: &May<needs::UploadsCreate>,
    session: &UploadSession,
    received: u64,
) -> Result<(), Problem> {
    let mut work = Work::begin(service, &may.caller).await?;
    upload_sessions::advance(&mut work.tx, may.caller.tenant, session.id, received).await?;
    work.commit().await
}

/// Ends a file that came in pieces: from now on it is an upload like every other. Again is harmless.
#[utoipa::path(post, path = "/api/upload/sessions/{upload_session_id}/complete", tag = "uploads", security(("bearer" = ["uploads:create"])),
    params(("upload_session_id" = String, Path, description = "`upls_…`")),
    responses((status = 201, description = "The upload", body = Envelope<UploadView>),
              (status = 409, description = "Pieces are missing, or the file was uploaded before", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json"),
              (status = 422, description = "The file can't be taken", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(super) async fn complete(
    State(service): State<Service>,
    may: May<needs::UploadsCreate>,
    PathId(id): PathId<UploadSessionId>,
) -> Result<Made<UploadView>, Problem> {
    let caller = &may.caller;
    whole(caller)?;
    let mut look = Work::read(&service, caller).await?;
    let session = upload_sessions::get(&mut look.tx, caller.tenant, id).await?;
    if let Some(upload) = session.upload {
        return Ok(Made(upload_history::get(&mut look.tx, caller.tenant, upload).await?.into()));
    }
    look.end();
    let (arrived, reading) = arrived(&service, &session).await?;
    let look = finish::look_at(&service, caller, &arrived.landed, &reading, &arrived.place).await?;

    let mut work = Work::begin(&service, caller).await?;
    // Under its lock: two requests may complete it at once.
    let again = upload_sessions::lock(&mut work.tx, caller.tenant, id).await?;
    if let Some(upload) = again.upload {
        return Ok(Made(upload_history::get(&mut work.tx, caller.tenant, upload).await?.into()));
    }
    let by = caller.actor.name();
    let begun = intake::Receiving {
        upload: arrived.upload,
        blob: session.blob,
        file_name: &session.file_name,
        by: &by,
    };
    intake::begin(&mut work.tx, &begun).await?;
    finish::process(&mut work, caller, &arrived, &look, &reading).await?;
    upload_sessions::became(&mut work.tx, caller.tenant, id, arrived.upload).await?;
    let entry = upload_history::get(&mut work.tx, caller.tenant, arrived.upload).await?;
    work.commit().await?;
    Ok(Made(entry.into()))
}

/// The whole file, as it was meant.
async fn arrived(service: &Service, session: &UploadSession) -> Result<(Arrived, Reading), Problem> {
    if session.received < session.bytes {
        let detail = format!("{} of {} bytes are here: go on there.", session.received, session.bytes);
        return Err(Problem::say(Code::Conflict, detail));
    }
    let blobs = Arc::clone(&service.files.blobs);
    let landed = Landed::from_blob(blobs, session.blob, session.bytes).await.map_err(lost)?;
    if session.sha256.as_ref().is_some_and(|stated| landed.sha256[..] != stated[..]) {
        let message =
            format!("is another one: what came has {}; send the file again", hex::encode(landed.sha256));
        return Err(Problem::field("sha256", message));
    }
    let upload = service.ids.next(service.clock.now());
    let arrived = Arrived { upload, file_name: session.file_name.clone(), landed, place: "file".to_owned() };
    let reading = Reading { description: session.description.clone(), options: session.options.clone() };
    Ok((arrived, reading))
}

/// Gives a file up that comes in pieces. What it became already stays.
#[utoipa::path(delete, path = "/api/upload/sessions/{upload_session_id}", tag = "uploads", security(("bearer" = ["uploads:create"])),
    params(("upload_session_id" = String, Path, description = "`upls_…`")),
    responses((status = 204, description = "It is forgotten")))]
pub(super) async fn delete(
    State(service): State<Service>,
    may: May<needs::UploadsCreate>,
    PathId(id): PathId<UploadSessionId>,
) -> Result<StatusCode, Problem> {
    let caller = &may.caller;
    whole(caller)?;
    let mut work = Work::begin(&service, caller).await?;
    let session = upload_sessions::lock(&mut work.tx, caller.tenant, id).await?;
    upload_sessions::delete(&mut work.tx, &session).await?;
    work.note("upload.give_up", &id.to_string(), json!({"received": session.received})).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Bytes of a file, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
}

impl Range {
    const fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// `bytes first-last/size`
    fn parse(text: &str, size: u64) -> Option<Self> {
        let (range, stated) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        // `parse` would take a sign.
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        let range = Self { first: number(first)?, last: number(last)? };
        (number(stated)? == size && range.first <= range.last && range.last < size).then_some(range)
    }
}

fn range(headers: &HeaderMap, size: u64) -> Result<Range, Problem> {
    let stated = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    stated.and_then(|text| Range::parse(text, size)).ok_or_else(|| {
        Problem::field(
            "Content-Range",
            format!("must be `bytes first-last/{size}`, as in `bytes 0-{}/{size}`", size - 1),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        assert_eq!(Range::parse("bytes 0-9/10", 10), Some(Range { first: 0, last: 9 }));
        assert_eq!(Range::parse("bytes 4-4/10", 10).map(Range::length), Some(1));
        for refused in [
            "",
            "bytes 0-9",
            "bytes 0-9/11",
            "bytes 0-10/10",
            "bytes 5-4/10",
            "bytes */10",
            "bytes -9/10",
            "bytes +0-9/10",
            "0-9/10",
            "bytes 0-99999999999999999999999/10",
        ] {
            assert_eq!(Range::parse(refused, 10), None, "{refused}");
        }
    }
}
