//! Errors on the wire: RFC 9457 problem details with `success: false`, a stable `code`, and for a request that can't be
//! taken every field that was wrong and why.
//!
//! A code never changes its meaning; `type` leads to its paragraph in the documentation. What went wrong inside is logged,
//! never told.

use std::{borrow::Cow, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use fanfare_engine::{domain::outcome::Reason, id::MessageId, store::StoreError};
use serde::Serialize;
use utoipa::ToSchema;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident => $status:ident, $code:literal, $detail:literal;)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What is said where nothing more is known.
            pub(crate) const fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)+ }
            }
        }
    };
}

codes! {
    NoSuchRoute => NOT_FOUND, "no_such_route", "There is nothing at this path.";
    NoSuchMethod => METHOD_NOT_ALLOWED, "no_such_method", "This path does not take this method.";
    NotFound => NOT_FOUND, "not_found", "There is no such thing, or it is not yours.";
    Invalid => UNPROCESSABLE_ENTITY, "invalid", "Some of what was sent can't be taken; `errors` names each field.";
    Malformed => BAD_REQUEST, "malformed", "The body is not what is documented.";
    WrongContentType => UNSUPPORTED_MEDIA_TYPE, "wrong_content_type", "Send it as application/json.";
    Stalled => REQUEST_TIMEOUT, "stalled", "The body stopped coming: send it again, without a pause.";
    TooLarge => PAYLOAD_TOO_LARGE, "too_large", "The body is larger than this path takes.";
    Unauthenticated => UNAUTHORIZED, "unauthenticated", "Send a token or an API key as `Authorization: Bearer …`.";
    WrongCredentials => UNAUTHORIZED, "wrong_credentials", "Address, password or code is wrong, or this account is locked for a while.";
    SecondFactorWanted => UNAUTHORIZED, "second_factor_wanted", "The password is right; send `code`, too.";
    Forbidden => FORBIDDEN, "forbidden", "You may not do this.";
    Conflict => CONFLICT, "conflict", "It is not in a state that allows this.";
    Changed => PRECONDITION_FAILED, "changed", "Somebody has changed it since you read it: read it again.";
    KeyReused => UNPROCESSABLE_ENTITY, "idempotency_key_reused", "This Idempotency-Key came with another request before.";
    UnderWay => CONFLICT, "under_way", "A request with this Idempotency-Key is still under way.";
    Refused => UNPROCESSABLE_ENTITY, "message_refused", "The message was not sent and will not be; `reason` says why, and it is kept as `messageId`.";
    NotAllowListed => UNPROCESSABLE_ENTITY, "not_allow_listed", "Outside production messages go to addresses on the allow-list only, or over accounts that are sandboxes.";
    SendCapReached => TOO_MANY_REQUESTS, "send_cap_reached", "As many single messages as your caps allow have gone to such numbers today: nothing was taken in.";
    TooMany => TOO_MANY_REQUESTS, "too_many_requests", "More requests than your limit: wait as Retry-After says.";
    NotReady => SERVICE_UNAVAILABLE, "not_ready", "This process can't do its work at the moment.";
    Broken => INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong here; tell us the request id.";
    NoSuchAccount => NOT_FOUND, "no_such_account", "No account of this process has this id; `fanfare doctor` lists them.";
    Forged => UNAUTHORIZED, "forged", "The request does not prove that it comes from the provider.";
    ForeignPeer => FORBIDDEN, "foreign_peer", "The request does not come from a network of the provider.";
    HandshakeRefused => FORBIDDEN, "handshake_refused", "This is no handshake with this account's verify token.";
    /// 429, because Brevo retries that and gives up on a 5xx; Meta retries anything.
    Away => TOO_MANY_REQUESTS, "try_again_later", "The webhook could not be stored now; send it again.";
}

/// When to come again while the database is away.
const AWAY: Duration = Duration::from_secs(5);

/// A field that can't be taken, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// `recipients[2].phone`, as the request wrote it.
    pub(crate) field: String,
    pub(crate) message: String,
}

/// Why a request was not honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    refusal: Option<Box<Refusal>>,
}

/// Which message was not sent, and why, as one word.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    message: String,
    reason: &'static str,
}

/// As it is sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemDetails<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    success: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    /// The message that was refused.
    #[serde(rename = "messageId", skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    /// Why it was, as one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        let retry_after = (code == Code::Away || code == Code::NotReady).then_some(AWAY);
        Self { code, detail: Cow::Borrowed(code.detail()), errors: Vec::new(), retry_after, refusal: None }
    }
}

impl Problem {
    pub(crate) fn say(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: detail.into(), ..code.into() }
    }

    pub(crate) fn fields(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Code::Invalid.into() }
    }

    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// The same, where only a part of the request was read.
    pub(crate) fn within(mut self, part: &str) -> Self {
        for error in &mut self.errors {
            error.field =
                if error.field == "body" { part.to_owned() } else { format!("{part}.{}", error.field) };
        }
        self
    }

    /// A message that is kept, and that must not or can't be sent.
    pub(crate) fn refused(message: MessageId, reason: Reason) -> Self {
        let refusal = Refusal { message: message.to_string(), reason: reason.as_str() };
        let said = Self::say(Code::Refused, format!("Not sent: {}.", reason.sentence()));
        Self { refusal: Some(Box::new(refusal)), ..said }
    }

    /// The same about a field that goes by another name in the request.
    pub(crate) fn about(mut self, field: &str, instead: &str) -> Self {
        for error in self.errors.iter_mut().filter(|error| error.field == field) {
            instead.clone_into(&mut error.field);
        }
        self
    }

    /// To be told together with others.
    pub(crate) fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }

    #[cfg(test)]
    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { .. } => Code::NotFound.into(),
            StoreError::Conflict(why) => Self::say(Code::Conflict, why),
            error if error.is_of_the_text() => {
                Self::say(Code::Invalid, "A text holds what can't be kept: the character NUL, say.")
            }
            StoreError::Busy => {
                Self::say(Code::NotReady, "Somebody else is at work on this: try again in a moment.")
            }
            error if error.is_of_a_moment() => {
                Self::say(Code::Invalid, "A moment is earlier or later than any that can be kept.")
            }
            error if error.is_transient() => {
                tracing::warn!(%error, "the database is away");
                Code::NotReady.into()
            }
            error => {
                tracing::error!(%error, "a request failed");
                Code::Broken.into()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = ProblemDetails {
            kind: format!("{}#{}", super::openapi::ERRORS, self.code.as_str()),
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            success: false,
            errors: &self.errors,
            message_id: self.refusal.as_ref().map(|refusal| refusal.message.as_str()),
            reason: self.refusal.as_ref().map(|refusal| refusal.reason),
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}
