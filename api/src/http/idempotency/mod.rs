//! `Idempotency-Key` on every POST of a caller who has signed in: the first request with a key is done, and its answer is given
//! to every repetition for a day. The same key with another request is refused, and so is a repetition while the first is
//! under way.
//!
//! An answer is kept unless it says that trying again may help (5xx, 429). A process that dies in between leaves the key
//! without an answer; after a minute the same request is done again, so what must never happen twice needs a key of its
//! own in its row, as messages have their business key.
//!
//! A file may be larger than memory should be, so it is not read before the key is looked at: what it says is hashed as it passes
//! ([`contents`]) and kept with the answer, and a repetition is read through and compared before it is answered.
//!
//! Answers are kept sealed: some tell an API key or a link, of which the database is to know a hash only.

mod contents;

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{OptionalFromRequestParts, Request, State},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use fanfare_engine::store::idempotency::{self, Answer, Begun, RequestHash};
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};

use self::contents::Contents;
use super::{
    incoming::{LARGEST, unfinished, whole},
    problem::{Code, Problem},
};
use crate::{
    auth::caller::{Caller, SignedIn},
    service::Service,
};

const LONGEST_KEY: usize = 255;
/// What is sent as these may be larger than memory should be.
const FILES: &[&str] = &["multipart/", "application/x-ndjson", "text/csv"];
/// What a form may be larger than the files in it.
const MOST_BESIDE: u64 = 1 << 20;
/// An answer that is larger is not kept.
const LARGEST_ANSWER: usize = 1 << 20;

/// A request with a key, as what must not happen twice remembers it: of another caller, or with another body, it is another.
#[derive(Debug, Clone)]
pub(crate) struct RequestKey(String);

impl RequestKey {
    pub(crate) fn new(key: &str, request: &RequestHash) -> Self {
        // No key that callers give to things begins like this by chance.
        Self(format!("idempotency-key:{}:{key}", hex::encode(request)))
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for RequestKey {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}

pub(crate) async fn once(State(service): State<Service>, request: Request, next: Next) -> Response {
    let key = match key(&request) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    match answer(&service, &key, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

fn key(request: &Request) -> Result<Option<String>, Problem> {
    let Some(value) = request.headers().get("idempotency-key").filter(|_| request.method() == Method::POST)
    else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    if (1..=LONGEST_KEY).contains(&text.len()) {
        Ok(Some(text.to_owned()))
    } else {
        Err(Problem::field(
            "Idempotency-Key",
            format!("must have 1 to {LONGEST_KEY} visible ASCII characters"),
        ))
    }
}

async fn answer(service: &Service, key: &str, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(caller) = SignedIn::seen(request.extensions()) else { return Ok(next.run(request).await) };
    let (mut parts, body) = request.into_parts();
    let (hash, contents, body) = fingerprint(&caller, &parts, body).await?;
    parts.extensions.insert(RequestKey::new(key, &hash));
    let mut tx = service.store.within(caller.tenant).await?;
    let begun = idempotency::begin(&mut tx, caller.tenant, key, &hash).await?;
    tx.commit().await?;
    match begun {
        Begun::Answered(answer) => {
            if let Some((known, contents)) = answer.contents.zip(contents)
                && through(service, body, &contents).await? != Some(known)
            {
                return Err(Code::KeyReused.into());
            }
            repeat(service, &about(&caller, key), answer)
        }
        Begun::UnderWay => Err(Code::UnderWay.into()),
        Begun::Reused => Err(Code::KeyReused.into()),
        Begun::First => {
            let response = next.run(Request::from_parts(parts, body)).await;
            keep(service, &caller, key, (response, contents)).await
        }
    }
}

/// Of who asks what. Of a file what it says is yet to pass by.
async fn fingerprint(
    caller: &Caller,
    parts: &Parts,
    body: Body,
) -> Result<(RequestHash, Option<Contents>, Body), Problem> {
    let mut hash = Sha256::new();
    for part in [
        &*caller.environment.own(&caller.actor.name()),
        parts.method.as_str(),
        parts.uri.path(),
        parts.uri.query().unwrap_or_default(),
    ] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if FILES.iter().any(|file| kind.starts_with(file)) {
        let contents = Contents::of(kind);
        let body = contents.tap(body);
        return Ok((hash.finalize().into(), Some(contents), body));
    }
    let bytes = whole(body, LARGEST).await?;
    hash.update(&bytes);
    Ok((hash.finalize().into(), None, Body::from(bytes)))
}

/// What a repeated file says, of which nothing is kept.
async fn through(service: &Service, body: Body, contents: &Contents) -> Result<Option<RequestHash>, Problem> {
    let files = &service.files;
    let mut left = files.max_upload_bytes.max(files.limits.max_bytes) + MOST_BESIDE;
    let mut bytes = body.into_data_stream();
    while let Some(piece) = bytes.next().await {
        let piece = piece.map_err(|error| unfinished(&error))?;
        left = left.checked_sub(piece.len() as u64).ok_or(Code::TooLarge)?;
    }
    Ok(contents.hash())
}

/// What a kept answer is sealed for.
fn about(caller: &Caller, key: &str) -> String {
    format!("{}:{key}", caller.tenant)
}

fn repeat(service: &Service, about: &str, answer: Answer) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let body = service.auth.answers.open(about, &answer.body).map_err(|error| {
        tracing::warn!(%error, "a kept answer can't be opened: JWT_SECRET differs between processes, or was changed");
        Problem::say(Code::Conflict, "This request was done before, and its answer can't be given again.")
    })?;
    let mut response = (status, body).into_response();
    if let Ok(kind) = HeaderValue::from_str(&answer.content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    Ok(response)
}

async fn keep(
    service: &Service,
    caller: &Caller,
    key: &str,
    (response, contents): (Response, Option<Contents>),
) -> Result<Response, Problem> {
    let status = response.status();
    let (parts, body) = response.into_parts();
    let body: Bytes = to_bytes(body, usize::MAX).await.map_err(|_| Code::Broken)?;
    let mut tx = service.store.within(caller.tenant).await?;
    // A file that was refused before its end is not known, and may come again corrected.
    let unread = contents.as_ref().is_some_and(|contents| contents.hash().is_none());
    let again = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || (unread && status.is_client_error());
    if again || body.len() > LARGEST_ANSWER {
        idempotency::forget(&mut tx, caller.tenant, key).await?;
    } else {
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let sealed = service.auth.answers.seal(&service.ids, &about(caller, key), &body);
        let answer = Answer {
            status: status.as_u16(),
            content_type: kind.unwrap_or_default().to_owned(),
            contents: contents.and_then(|contents| contents.hash()),
            body: sealed.map_err(|error| {
                tracing::error!(%error, "an answer could not be sealed");
                Problem::from(Code::Broken)
            })?,
        };
        idempotency::finish(&mut tx, caller.tenant, key, &answer).await?;
    }
    tx.commit().await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}
