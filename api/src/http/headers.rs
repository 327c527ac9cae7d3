//! What every answer bears: the request's id, and headers that keep browsers from doing what they were not asked to.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::FromRequestParts,
    http::{
        Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header, request::Parts,
    },
    response::Response,
};

use crate::{auth::tokens::Kind, public::without_token, service::Service};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_ID: usize = 64;

/// Names a request in the log, in the audit log and to the caller: their own id, or one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The id that [`Mark::of`] gave the request.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_else(|| Self("".into()))
    }

    fn theirs(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(REQUEST_ID)?.to_str().ok()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        ((1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(plain)).then(|| Self(text.into()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.extensions))
    }
}

/// What a request is known by: put on its answer, and in one line of the log. Queries, headers, peers and bodies are left out.
#[derive(Debug)]
pub(crate) struct Mark {
    id: RequestId,
    started: Instant,
    /// Method and path, if somebody reads the line.
    logged: Option<(Method, String)>,
    in_chunks: bool,
}

impl Mark {
    /// Gives the request its id.
    pub(crate) fn of<B>(service: &Service, request: &mut Request<B>) -> Self {
        let id = RequestId::theirs(request.headers())
            .unwrap_or_else(|| RequestId(format!("req_{}", service.ids.random_uuid().simple()).into()));
        request.extensions_mut().insert(id.clone());
        let logged = tracing::enabled!(tracing::Level::DEBUG)
            .then(|| (request.method().clone(), shown(without_token(request.uri().path()))));
        let in_chunks = request.headers().contains_key(header::TRANSFER_ENCODING);
        Self { id, started: Instant::now(), logged, in_chunks }
    }

    pub(crate) fn put_on(self, mut response: Response) -> Response {
        let Self { id, started, logged, in_chunks } = self;
        // Whoever passed it on may have seen another end of it, by its Content-Length: what follows is not to be a request. Nor is
        // what comes late of a body that nobody waits for any more.
        if in_chunks || response.status() == StatusCode::REQUEST_TIMEOUT {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some((method, path)) = logged {
            let elapsed_ms = started.elapsed().as_secs_f64() * 1_000.0;
            let status = response.status().as_u16();
            tracing::debug!(%method, path, status, elapsed_ms, request_id = id.as_str(), "answered");
        }
        let value = HeaderValue::from_str(id.as_str()).expect("plain ASCII");
        response.headers_mut().insert(REQUEST_ID, value);
        guard(response.headers_mut());
        response
    }
}

/// A path as the log may have it: words of ours and ids. A link that is good once, and what somebody calls a thing, are not.
fn shown(path: &str) -> String {
    let plain = |part: &str| {
        !part.starts_with(Kind::Link.prefix())
            && !part.starts_with(|c: char| c.is_ascii_digit())
            && part.len() <= LONGEST_ID
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte))
    };
    path.split('/').map(|part| if plain(part) { part } else { "*" }).collect::<Vec<_>>().join("/")
}

/// Where a route has said something itself, that holds.
fn guard(headers: &mut HeaderMap) {
    let usual = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        // Answers hold people's data, each for one caller.
        (header::CACHE_CONTROL, "no-store"),
        // Browsers heed it over TLS only, which somebody in front of us speaks.
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
    ];
    for (name, value) in usual {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_no_link_and_nobodys_address() {
        for (path, expected) in [
            (
                "/api/campaigns/camp_06h04fm9mnvqfb8gh67n07q2m4/status",
                "/api/campaigns/camp_06h04fm9mnvqfb8gh67n07q2m4/status",
            ),
            ("/api/auth/accept-invitation/ffl_vv8dry8c", "/api/auth/accept-invitation/*"),
            ("/api/auth/reset-password/FFL_vv8dry8c", "/api/auth/reset-password/*"),
            ("/api/references/mail/ann@example.com", "/api/references/mail/*"),
            ("/api/references/phone/23052345678", "/api/references/phone/*"),
        ] {
            assert_eq!(shown(path), expected);
        }
    }

    #[test]
    fn only_a_plain_id_is_taken_over() {
        let theirs = |text: &str| {
            let value = HeaderValue::from_bytes(text.as_bytes()).expect("a header's value");
            RequestId::theirs(&HeaderMap::from_iter([(REQUEST_ID, value)])).map(|id| id.as_str().to_owned())
        };
        assert_eq!(theirs("order-42_a.b").as_deref(), Some("order-42_a.b"));
        for refused in ["", "a b", "a\"b", "ä", &"x".repeat(65)] {
            assert_eq!(theirs(refused), None, "{refused}");
        }
    }
}
