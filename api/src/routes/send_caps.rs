//! Caps on single messages by the beginning of their numbers: against whoever has codes sent to numbers that earn them money.

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    domain::{channel::Channel, permission::needs},
    store::{
        listing::{Order, Way},
        send_caps::{self, SendCap},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Work;
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        extract::{Body, Query},
        page::{Pagination, Wanted},
        problem::{Code, Problem},
        sort::Sortable,
    },
    service::Service,
};

/// Digits of E.164.
const LONGEST_PREFIX: usize = 15;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(list, set, remove))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SendCapView {
    /// `sms` or `whatsapp`.
    #[schema(value_type = String, example = "sms")]
    channel: Channel,
    /// What the numbers begin with, without the plus sign; empty: every number.
    #[schema(example = "4490")]
    prefix: String,
    #[schema(example = 100)]
    per_day: i32,
    /// Single messages to such numbers that were taken in today, by the tenant's clock, since there is a cap.
    used_today: i32,
}

impl From<SendCap> for SendCapView {
    fn from(SendCap { channel, prefix, per_day, used_today }: SendCap) -> Self {
        Self { channel, prefix, per_day, used_today }
    }
}

/// What caps are sorted by: channel and prefix.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ByPrefix;

impl Sortable for ByPrefix {
    const FIELDS: &'static [(&'static str, Self)] = &[("prefix", Self)];
    const USUAL: Order<Self> = (Self, Way::Up);
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SendCaps {
    send_caps: Vec<SendCapView>,
    pagination: Pagination,
}

/// The caps on single messages, by channel and prefix.
#[utoipa::path(get, path = "/api/settings/send-caps", tag = "settings", security(("bearer" = ["settings:update"])), params(Wanted<ByPrefix>),
    responses((status = 200, description = "The caps", body = Envelope<SendCaps>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::SettingsUpdate>,
    Query(wanted): Query<Wanted<ByPrefix>>,
) -> Result<Data<SendCaps>, Problem> {
    let window = wanted.window::<(Channel, String)>()?;
    let mut work = Work::read(&service, &may.caller).await?;
    let (rows, total) =
        send_caps::list(&mut work.tx, may.caller.tenant, wanted.sort.way(), &window.part()).await?;
    let (rows, next) = window.cut(rows, |last: &SendCap| (last.channel, last.prefix.clone()));
    let send_caps = rows.into_iter().map(SendCapView::from).collect();
    work.end();
    Ok(Data(SendCaps { send_caps, pagination: window.pagination(total, next) }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewSendCap {
    /// `sms` or `whatsapp`.
    #[schema(value_type = String, example = "sms")]
    channel: Channel,
    /// What the numbers begin with, without the plus sign; empty: every number.
    #[schema(max_length = 15, pattern = "^[0-9]{0,15}$", example = "4490")]
    prefix: String,
    /// 0: none may go there.
    #[schema(minimum = 0, example = 100)]
    per_day: i32,
}

/// Caps the single messages of a day to numbers that begin with a prefix.
///
/// Where a number falls under several caps each of them must have room; a message beyond is refused as `send_cap_reached`,
/// and nothing is taken in. A message for later counts on the day on which it is taken in. A cap that was there is changed, and
/// what it has counted today stays. Campaigns are not capped: they are reviewed.
#[utoipa::path(put, path = "/api/settings/send-caps", tag = "settings", security(("bearer" = ["settings:update"])), request_body = NewSendCap,
    responses((status = 200, description = "The cap", body = Envelope<SendCapView>)))]
async fn set(
    State(service): State<Service>,
    may: May<needs::SettingsUpdate>,
    Body(new): Body<NewSendCap>,
) -> Result<Data<SendCapView>, Problem> {
    let NewSendCap { channel, prefix, per_day } = new;
    checked(channel, &prefix)?;
    if per_day < 0 {
        return Err(Problem::field("perDay", "must be 0 or more"));
    }
    let mut work = Work::begin(&service, &may.caller).await?;
    let cap = send_caps::set(&mut work.tx, may.caller.tenant, (channel, &prefix), per_day).await?;
    let detail = json!({"channel": channel, "prefix": prefix, "perDay": per_day});
    work.note("settings.set_send_cap", "send-caps", detail).await?;
    work.commit().await?;
    Ok(Data(cap.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Named {
    /// `sms` or `whatsapp`.
    #[param(value_type = String, example = "sms")]
    channel: Channel,
    #[param(max_length = 15, pattern = "^[0-9]{0,15}$", example = "4490")]
    prefix: String,
}

/// Takes a cap away.
#[utoipa::path(delete, path = "/api/settings/send-caps", tag = "settings", security(("bearer" = ["settings:update"])), params(Named),
    responses((status = 204, description = "It is gone"),
              (status = 404, description = "There was none", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
async fn remove(
    State(service): State<Service>,
    may: May<needs::SettingsUpdate>,
    Query(named): Query<Named>,
) -> Result<StatusCode, Problem> {
    let Named { channel, prefix } = named;
    checked(channel, &prefix)?;
    let mut work = Work::begin(&service, &may.caller).await?;
    if !send_caps::remove(&mut work.tx, may.caller.tenant, (channel, &prefix)).await? {
        return Err(Code::NotFound.into());
    }
    work.note("settings.remove_send_cap", "send-caps", json!({"channel": channel, "prefix": prefix})).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn checked(channel: Channel, prefix: &str) -> Result<(), Problem> {
    if !matches!(channel, Channel::Sms | Channel::Whatsapp) {
        return Err(Problem::field("channel", "must be sms or whatsapp: numbers have prefixes"));
    }
    if prefix.len() > LONGEST_PREFIX || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::field(
            "prefix",
            "must be the first digits of numbers with their country code, without +",
        ));
    }
    Ok(())
}
