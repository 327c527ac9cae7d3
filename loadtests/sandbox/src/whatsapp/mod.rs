//! WhatsApp Cloud API: sending messages and reading a phone number. There is neither a batch nor an idempotency key;
//! our own id travels in `biz_opaque_callback_data` and comes back in the statuses.

mod message;
mod rules;
pub(crate) mod send;
pub(crate) mod templates;

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, header};
use serde_json::json;

use crate::dice::scramble;
use crate::reply;
use crate::world::{WhatsappDesk, World};

/// An error as the Graph API words it. A sender must go by the code alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphError {
    pub(crate) status: StatusCode,
    pub(crate) code: u32,
    pub(crate) details: Cow<'static, str>,
}

impl GraphError {
    pub(crate) fn new(code: u32, details: impl Into<Cow<'static, str>>) -> Self {
        Self { status: status_of(code), code, details: details.into() }
    }

    pub(crate) fn of_code(code: u32) -> Self {
        Self::new(code, title_of(code))
    }

    /// An HTTP status that an error mix asks for, with the code that usually comes with it.
    pub(crate) fn of_status(status: u32) -> Self {
        let code = match status {
            401 => 190,
            403 => 10,
            429 => 80_007,
            503 => 2,
            500..=599 => 1,
            _ => 100,
        };
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        Self { status: status.unwrap_or(StatusCode::BAD_REQUEST), ..Self::of_code(code) }
    }

    fn missing(field: &str) -> Self {
        Self::new(131_008, format!("Required parameter {field} is missing"))
    }

    fn value(details: impl Into<Cow<'static, str>>) -> Self {
        Self::new(131_009, details)
    }

    fn parameter(details: impl Into<Cow<'static, str>>) -> Self {
        Self::new(100, details)
    }

    pub(crate) fn response(&self, trace: u64) -> Response<Body> {
        if [502, 504].contains(&self.status.as_u16()) {
            return reply::gateway_page(self.status);
        }
        let body = json!({"error": {
            "message": format!("(#{}) {}", self.code, title_of(self.code)),
            "type": "OAuthException",
            "code": self.code,
            "error_data": {"messaging_product": "whatsapp", "details": self.details},
            "is_transient": matches!(self.code, 1 | 2 | 131_000 | 131_016),
            "fbtrace_id": format!("A{:016x}_sandbox", scramble(trace)),
        }});
        reply::json(self.status, body.to_string())
    }
}

/// The statuses that are documented; for the others 400 is assumed.
fn status_of(code: u32) -> StatusCode {
    match code {
        0 | 104 | 190 => StatusCode::UNAUTHORIZED,
        1 | 3 => StatusCode::INTERNAL_SERVER_ERROR,
        2 | 131_016 => StatusCode::SERVICE_UNAVAILABLE,
        4 | 80_007 => StatusCode::TOO_MANY_REQUESTS,
        10 | 200..=299 | 368 | 130_497 => StatusCode::FORBIDDEN,
        131_000 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

pub(crate) fn title_of(code: u32) -> &'static str {
    match code {
        0 => "AuthException",
        1 => "API Unknown",
        2 => "API Service",
        4 => "API Too Many Calls",
        10 => "Permission Denied",
        33 => "Parameter value is not valid",
        100 => "Invalid parameter",
        104 => "An access token is required to request this resource",
        190 => "Access token has expired",
        80_007 => "Rate limit issues",
        130_429 => "Rate limit hit",
        130_472 => "User's number is part of an experiment",
        131_000 => "Something went wrong",
        131_008 => "Required parameter is missing",
        131_009 => "Parameter value is not valid",
        131_016 => "Service unavailable",
        131_026 => "Message undeliverable",
        131_047 => "Re-engagement message",
        131_048 => "Spam rate limit hit",
        131_049 => "This message was not delivered to maintain healthy ecosystem engagement",
        131_050 => "User has stopped marketing messages from this business",
        131_051 => "Unsupported message type",
        131_056 => "(Business Account, Consumer Account) pair rate limit hit",
        132_000 => "Number of parameters does not match the expected number of params",
        132_001 => "Template name does not exist in the translation",
        132_012 => "Template parameter format mismatch",
        132_015 => "Template is paused",
        132_016 => "Template is disabled",
        _ => "Message failed",
    }
}

/// The desk that a token and a phone number id open, or why none does.
fn authorize<'w>(
    world: &'w World,
    headers: &HeaderMap,
    phone_number_id: &str,
) -> Result<&'w WhatsappDesk, GraphError> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token =
        token.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(|| GraphError::of_code(104))?;
    let of_token = world.whatsapp_desk_of_token(token).ok_or_else(|| GraphError::of_code(190))?;
    match world.whatsapp_desk(phone_number_id) {
        Some(desk) if desk.account.token == of_token.account.token => Ok(desk),
        _ => Err(GraphError {
            status: StatusCode::NOT_FOUND,
            ..GraphError::parameter(
                "Object with this id does not exist or cannot be loaded due to missing permissions",
            )
        }),
    }
}

/// `GET /{version}/{phone-number-id}`.
pub(crate) fn phone_number(world: &World, headers: &HeaderMap, phone_number_id: &str) -> Response<Body> {
    match authorize(world, headers, phone_number_id) {
        Err(error) => error.response(world.dice.draw()),
        Ok(desk) => {
            let body = json!({
                "verified_name": "Sandbox",
                "code_verification_status": "VERIFIED",
                "display_phone_number": desk.account.display_phone_number,
                "quality_rating": desk.account.quality_rating,
                "platform_type": "CLOUD_API",
                "throughput": {"level": "STANDARD"},
                "id": desk.account.phone_number_id,
            });
            reply::json(StatusCode::OK, body.to_string())
        }
    }
}
