//! Brevo: transactional e-mail and SMS, the event logs, and the account.
//!
//! A send request goes the same way in both: credentials, arrival stamped, chance rolled, parsed, quota, rules, script,
//! and only then accepted. Whatever turns it away before acceptance is a [`Turned`] and enters nothing in the audit but
//! a count.

pub(crate) mod account;
mod email;
mod email_rules;
pub(crate) mod email_send;
pub(crate) mod events;
mod segments;
pub(crate) mod sms;
mod substitute;

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::audit::Tally;
use crate::faults::{Before, RetryAfter, Roll};
use crate::reply::{self, Ending, Reply};
use crate::window::Quota;
use crate::world::World;

/// A string of a request, borrowed from the body unless it has escapes.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text, unless it is missing or empty: Brevo treats both alike.
pub(crate) fn given<'t>(text: &'t Option<Text<'_>>) -> Option<&'t str> {
    text.as_ref().map(Text::as_str).filter(|text| !text.is_empty())
}

/// An error as Brevo words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// From Brevo's list of codes; none where it documents none.
    pub(crate) code: Option<&'static str>,
    pub(crate) message: Cow<'static, str>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code: Some(code), message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", message)
    }

    pub(crate) fn missing(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "missing_parameter", message)
    }

    pub(crate) fn out_of_range(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "out_of_range", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Key not found")
    }

    pub(crate) fn duplicate_key() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "duplicate_parameter", "Idempotency-Key has already been used")
    }

    pub(crate) fn no_credits() -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, "not_enough_credits", "Not enough credits")
    }

    pub(crate) fn too_many() -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, code: None, message: "Too many requests".into() }
    }

    pub(crate) fn too_large() -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: None,
            message: "Request body is too large".into(),
        }
    }

    /// The refusal that an error mix or a script asks for by its status.
    pub(crate) fn of_status(status: u32) -> Self {
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code = match status.as_u16() {
            400 => Some("bad_request"),
            401 => return Self::unauthorized(),
            402 => return Self::no_credits(),
            403 => Some("permission_denied"),
            404 => Some("document_not_found"),
            405 => Some("method_not_allowed"),
            406 => Some("not_acceptable"),
            422 => Some("unprocessable_entity"),
            429 => return Self::too_many(),
            _ => None,
        };
        Self { status, code, message: status.canonical_reason().unwrap_or("Error").into() }
    }

    /// What the audit counts it under.
    fn label(&self) -> Cow<'static, str> {
        self.code.map_or_else(|| Cow::Owned(self.status.as_u16().to_string()), Cow::Borrowed)
    }

    fn response(&self) -> Response<Body> {
        if [502, 503, 504].contains(&self.status.as_u16()) {
            return reply::gateway_page(self.status);
        }
        let body = match self.code {
            Some(code) => json!({"code": code, "message": self.message}),
            None => json!({"message": self.message}),
        };
        reply::json(self.status, body.to_string())
    }
}

/// Why a request was not accepted.
#[derive(Debug)]
pub(crate) enum Turned {
    Refused(Refusal),
    Silent(Ending),
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What chance has against accepting.
fn obey(roll: &Roll) -> Result<(), Turned> {
    match roll.before {
        Before::Proceed => Ok(()),
        Before::Throttled => Err(Refusal::too_many().into()),
        Before::Refuse(status) => Err(Refusal::of_status(status).into()),
        Before::Drop => Err(Turned::Silent(Ending::Drop)),
    }
}

/// The answer to a request that was turned away, counted.
fn turn_away(world: &World, tally: &Tally, turned: Turned, roll: &Roll) -> Reply {
    match turned {
        Turned::Silent(ending) => {
            tally.leave_unanswered();
            Reply::silent(ending)
        }
        Turned::Refused(refusal) => {
            if refusal.code == Some("duplicate_parameter") {
                tally.deduplicate();
            } else {
                tally.refuse(&refusal.label());
            }
            Reply::after(refuse(world, &refusal, roll.retry_after), roll.delay)
        }
    }
}

/// A refusal on the wire, with `Retry-After` where it can stand.
fn refuse(world: &World, refusal: &Refusal, retry_after: RetryAfter) -> Response<Body> {
    let mut response = refusal.response();
    if [429, 503].contains(&refusal.status.as_u16()) {
        let now = world.clock.wall_us(world.clock.now_us());
        reply::add_retry_after(&mut response, retry_after, now);
    }
    response
}

/// The answer to a caller that no account knows.
pub(crate) fn stranger() -> Response<Body> {
    with_quota(
        Refusal::unauthorized().response(),
        Quota { admitted: true, limit: 0, remaining: 0, reset_s: 0 },
    )
}

/// Brevo tells the state of the limit on every response.
pub(crate) fn with_quota(mut response: Response<Body>, quota: Quota) -> Response<Body> {
    let headers = response.headers_mut();
    for (name, value) in [
        ("x-sib-ratelimit-limit", quota.limit),
        ("x-sib-ratelimit-remaining", quota.remaining),
        ("x-sib-ratelimit-reset", quota.reset_s),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
    response
}

/// Says which field of a body that does not parse is to blame. Reads the body a second time: only bad requests pay.
fn blame<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Refusal {
    if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err() {
        return Refusal::new(StatusCode::BAD_REQUEST, "bad_request", "Request body is not valid JSON");
    }
    let mut input = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, T>(&mut input) {
        Err(error) if error.path().iter().next().is_some() => {
            Refusal::invalid(format!("{} is not valid: {}", error.path(), error.inner()))
        }
        _ => Refusal::invalid("Request body should be an object"),
    }
}

/// Query parameters of a GET.
fn query<T: DeserializeOwned>(uri: &axum::http::Uri) -> Result<T, Refusal> {
    axum::extract::Query::<T>::try_from_uri(uri)
        .map(|axum::extract::Query(parameters)| parameters)
        .map_err(|error| Refusal::invalid(error.to_string()))
}

/// Enough of RFC 5321 to refuse what Brevo refuses: one `@`, a dotted domain, no blanks.
fn is_email(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let plain = |c: u8| !c.is_ascii_whitespace() && !c.is_ascii_control() && !b"<>(),;:\\\"[]@".contains(&c);
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    address.len() <= 254
        && (1..=64).contains(&local.len())
        && local.bytes().all(plain)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && domain.contains('.')
        && domain.bytes().all(|c| c.is_ascii_alphanumeric() || b"-.".contains(&c) || !c.is_ascii())
        && domain.split('.').all(label)
}

pub(crate) fn too_large() -> Response<Body> {
    Refusal::too_large().response()
}

/// What Brevo answers on a path that it does not have.
pub(crate) fn no_such_path() -> Response<Body> {
    Refusal::of_status(404).response()
}
