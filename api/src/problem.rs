//! Errors on the wire: RFC 9457 problem details with `success: false` and a stable `code`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Seconds after which a provider should try again while the database is away.
const RETRY_AFTER: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    NoSuchRoute,
    NoSuchMethod,
    NoSuchAccount,
    Forged,
    ForeignPeer,
    Malformed,
    HandshakeRefused,
    TooLarge,
    NotReady {
        why: String,
    },
    /// The database is away. 429, because Brevo retries that and gives up on a 5xx; Meta retries anything.
    Away,
}

impl Problem {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchRoute | Self::NoSuchAccount => StatusCode::NOT_FOUND,
            Self::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Forged => StatusCode::UNAUTHORIZED,
            Self::ForeignPeer | Self::HandshakeRefused => StatusCode::FORBIDDEN,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotReady { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Away => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchRoute => "no_such_route",
            Self::NoSuchMethod => "no_such_method",
            Self::NoSuchAccount => "no_such_account",
            Self::Forged => "forged",
            Self::ForeignPeer => "foreign_peer",
            Self::Malformed => "malformed",
            Self::HandshakeRefused => "handshake_refused",
            Self::TooLarge => "too_large",
            Self::NotReady { .. } => "not_ready",
            Self::Away => "try_again_later",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NoSuchRoute => "There is nothing at this path.".to_owned(),
            Self::NoSuchMethod => "This path does not take this method.".to_owned(),
            Self::NoSuchAccount => {
                "No account of this process has this id; `fanfare doctor` lists them.".to_owned()
            }
            Self::Forged => "The request does not prove that it comes from the provider.".to_owned(),
            Self::ForeignPeer => "The request does not come from a network of the provider.".to_owned(),
            Self::Malformed => "The body is not what the provider documents.".to_owned(),
            Self::HandshakeRefused => "This is no handshake with this account's verify token.".to_owned(),
            Self::TooLarge => "The body is larger than any webhook of the provider.".to_owned(),
            Self::NotReady { why } => why.clone(),
            Self::Away => "The webhook could not be stored now; send it again.".to_owned(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": self.detail(),
            "code": self.code(),
            "success": false,
        });
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self == Self::Away {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        response
    }
}
