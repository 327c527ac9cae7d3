//! `/sandbox/*`: how tests and people steer the sandbox and read its audit.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::audit::ndjson;
use crate::config::Channel;
use crate::faults::{Faults, FaultsChange};
use crate::webhooks::{self, Event, Inbound, Sent, Targets};
use crate::world::World;

type Shared = State<Arc<World>>;

/// A request that makes no sense, in words.
#[derive(Debug)]
pub(crate) struct Misuse(String);

impl Misuse {
    fn new(problem: impl Display) -> Self {
        Self(problem.to_string())
    }
}

impl IntoResponse for Misuse {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({"error": self.0}))).into_response()
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Misuse> {
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(body)).map_err(Misuse::new)
}

const MAX_PAGE: usize = 100_000;

pub(crate) async fn clock(State(world): Shared) -> Response {
    Json(world.clock.reading()).into_response()
}

pub(crate) async fn faults(State(world): Shared) -> Response {
    Json(&*world.faults.current()).into_response()
}

pub(crate) async fn set_faults(State(world): Shared, body: Bytes) -> Result<Response, Misuse> {
    let change: FaultsChange = parse(&body)?;
    world.faults.change(change, world.clock.now_us()).map_err(Misuse::new)?;
    Ok(Json(&*world.faults.current()).into_response())
}

pub(crate) async fn clear_faults(State(world): Shared) -> StatusCode {
    world.faults.replace(Faults::default(), world.clock.now_us());
    StatusCode::NO_CONTENT
}

pub(crate) async fn webhooks(State(world): Shared) -> Response {
    Json(json!({"counts": world.webhooks.counts(), "targets": world.webhooks.urls()})).into_response()
}

pub(crate) async fn set_webhooks(State(world): Shared, body: Bytes) -> Result<Response, Misuse> {
    let targets: Targets = parse(&body)?;
    world.webhooks.change(targets);
    Ok(Json(world.webhooks.urls()).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Emitted {
    channel: Channel,
    body: Value,
}

/// Posts exactly this body to the receiver, signed or authorised as the provider would.
pub(crate) async fn emit(State(world): Shared, body: Bytes) -> Result<StatusCode, Misuse> {
    let emitted: Emitted = parse(&body)?;
    let sent = Sent::new(emitted.channel, world.clock.now_us(), None);
    world.webhooks.tell(&world, sent, Event::Raw(Arc::new(emitted.body)));
    Ok(StatusCode::ACCEPTED)
}

pub(crate) async fn audit(State(world): Shared) -> Response {
    Json(world.audit.summary()).into_response()
}

pub(crate) async fn reset_audit(State(world): Shared) -> StatusCode {
    world.audit.reset();
    world.used_keys.clear();
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PageQuery {
    after: u64,
    limit: usize,
    since_us: u64,
}

impl Default for PageQuery {
    fn default() -> Self {
        Self { after: 0, limit: 10_000, since_us: 0 }
    }
}

pub(crate) async fn audit_messages(State(world): Shared, Query(query): Query<PageQuery>) -> Response {
    let page = world.audit.messages(query.after, query.limit.clamp(1, MAX_PAGE), query.since_us);
    ([(header::CONTENT_TYPE, "application/x-ndjson")], ndjson(&page)).into_response()
}

pub(crate) async fn audit_message(State(world): Shared, Path(id): Path<String>) -> Response {
    let records = world.audit.message(&id);
    let status = if records.is_empty() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    (status, Json(records)).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Between {
    #[serde(default)]
    from_us: u64,
    #[serde(default = "forever")]
    to_us: u64,
}

fn forever() -> u64 {
    u64::MAX
}

pub(crate) async fn audit_arrivals(State(world): Shared, Query(between): Query<Between>) -> Response {
    Json(json!({"count": world.audit.arrivals(between.from_us, between.to_us)})).into_response()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VerifyOrder {
    url: Option<String>,
    verify_token: Option<String>,
}

/// Makes the handshake with the receiver, or with the address given.
pub(crate) async fn verify_whatsapp(State(world): Shared, body: Bytes) -> Result<Response, Misuse> {
    let order: VerifyOrder = if body.is_empty() { VerifyOrder::default() } else { parse(&body)? };
    let url = order.url.or_else(|| world.webhooks.whatsapp_url());
    let url = url.ok_or_else(|| Misuse::new("no url: give one, or configure webhooks.whatsapp.url"))?;
    let token = order
        .verify_token
        .or_else(|| world.any_whatsapp_account().map(|account| account.verify_token.clone()));
    let timeout = Duration::from_millis(world.config.webhooks.timeout_ms);
    match webhooks::verify(&world, &url, &token.unwrap_or_default(), timeout).await {
        Ok(handshake) => Ok(Json(handshake).into_response()),
        Err(error) => {
            Ok((StatusCode::BAD_GATEWAY, Json(json!({"verified": false, "error": error.to_string()})))
                .into_response())
        }
    }
}

#[derive(Debug, Deserialize)]
struct InboundOrder {
    from: String,
    #[serde(flatten)]
    message: Inbound,
}

/// A person writes: the receiver gets the message.
pub(crate) async fn whatsapp_inbound(State(world): Shared, body: Bytes) -> Result<StatusCode, Misuse> {
    let order: InboundOrder = parse(&body)?;
    let from = order.from.trim_start_matches('+').to_owned();
    let sent = Sent { address: from, ..Sent::new(Channel::Whatsapp, world.clock.now_us(), None) };
    world.webhooks.tell(&world, sent, Event::Inbound(order.message));
    Ok(StatusCode::ACCEPTED)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreferenceOrder {
    from: String,
    stop: bool,
}

/// A person stops, or takes up again, marketing messages.
pub(crate) async fn whatsapp_preference(State(world): Shared, body: Bytes) -> Result<StatusCode, Misuse> {
    let order: PreferenceOrder = parse(&body)?;
    let from = order.from.trim_start_matches('+').to_owned();
    let sent = Sent { address: from, ..Sent::new(Channel::Whatsapp, world.clock.now_us(), None) };
    world.webhooks.tell(&world, sent, Event::Preference { stop: order.stop });
    Ok(StatusCode::ACCEPTED)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdict {
    name: String,
    /// As Meta words it: `APPROVED`, `REJECTED` …
    status: String,
    reason: Option<String>,
}

/// Says what Meta says of a submitted template, to whoever asks.
pub(crate) async fn whatsapp_template(State(world): Shared, body: Bytes) -> Result<StatusCode, Misuse> {
    let Verdict { name, status, reason } = parse(&body)?;
    if world.submissions.judge(&name, &status, reason.as_deref()) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Misuse::new("nobody submitted a template of this name"))
    }
}
