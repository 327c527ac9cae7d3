//! Single sends: one message to one person, now or later, and what became of it.
//!
//! A send is durable before it is answered. It is answered `sent` only when the provider's acceptance is recorded; whoever
//! must not be written to, and whomever the provider refuses at once, is a problem with its reason.

mod request;
mod sending;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use fanfare_engine::{
    domain::{channel::Channel, permission::needs, price::Micros, status::MessageStatus},
    id::MessageId,
    store::direct::{self, Cancellation},
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    request::{NewMessage, Single},
    sending::Sent,
};
use super::{Work, messages::seen};
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope, Made},
        extract::{Body, PathId},
        idempotency::RequestKey,
        problem::{Code, Problem, ProblemDetails},
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(send_whatsapp))
        .routes(routes!(send_sms))
        .routes(routes!(send_email))
        .routes(routes!(delivery_status))
        .routes(routes!(cancel))
}

/// A message that was taken in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SentView {
    #[schema(value_type = String, example = "msg_01jd3v9x2gfk8s5m7q4w6r0t1z00000007")]
    message_id: MessageId,
    /// `sent` once the provider has accepted it, else `queued`, or `scheduled`; `unknown` when it may have been sent. Of a
    /// message that was taken in before under the same key, whatever it is by now.
    #[schema(value_type = String, example = "sent")]
    status: MessageStatus,
    /// Of this answer.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    /// What the account charges for it; absent where no price is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, example = 0.05)]
    cost: Option<Micros>,
    /// ISO 4217, of `cost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    /// SMS only: how many it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    scheduled_at: Option<Timestamp>,
    /// True when a message with this `businessKey` or `Idempotency-Key` had been taken in before: this one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl SentView {
    /// One that was new is answered as made.
    fn answer(sent: Sent) -> Response {
        let duplicate = sent.duplicate;
        let view = Self {
            message_id: sent.message,
            status: sent.status,
            timestamp: sent.at,
            cost: sent.cost.as_ref().map(|(cost, _)| *cost),
            currency: sent.cost.map(|(_, currency)| currency),
            segments: sent.segments,
            scheduled_at: sent.scheduled_at,
            duplicate,
        };
        if duplicate { Data(view).into_response() } else { Made(view).into_response() }
    }
}

/// Sends one WhatsApp message from a template.
///
/// `message`, `subject`, `html` and `class` are for other channels. Answers within about two seconds: `sent` when the provider
/// accepted it by then, else `queued`. With a `businessKey`, or without one under an `Idempotency-Key`, it is sent once, for ever.
#[utoipa::path(post, path = "/api/communication/whatsapp/send", tag = "communication", security(("bearer" = ["messages:send"])),
    request_body = NewMessage,
    responses((status = 201, description = "It was taken in", body = Envelope<SentView>),
              (status = 200, description = "It had been taken in before, under the same key", body = Envelope<SentView>),
              (status = 422, description = "A field can't be taken, or the message must not be sent (`message_refused`, with its `reason`), or the address is not on the allow-list (`not_allow_listed`)", body = ProblemDetails, content_type = "application/problem+json")))]
async fn send_whatsapp(
    State(service): State<Service>,
    may: May<needs::MessagesSend>,
    key: Option<RequestKey>,
    Body(new): Body<NewMessage>,
) -> Result<Response, Problem> {
    let single = Single::read(Channel::Whatsapp, new, key)?;
    sending::send(&service, &may.caller, single).await.map(SentView::answer)
}

/// Sends one SMS, from a template or as `message`.
///
/// `subject` and `html` are for e-mail. Otherwise as `POST /api/communication/whatsapp/send`.
#[utoipa::path(post, path = "/api/communication/sms/send", tag = "communication", security(("bearer" = ["messages:send"])),
    request_body = NewMessage,
    responses((status = 201, description = "It was taken in", body = Envelope<SentView>),
              (status = 200, description = "It had been taken in before, under the same key", body = Envelope<SentView>),
              (status = 422, description = "A field can't be taken, or the message must not be sent (`message_refused`, with its `reason`), or the address is not on the allow-list (`not_allow_listed`)", body = ProblemDetails, content_type = "application/problem+json")))]
async fn send_sms(
    State(service): State<Service>,
    may: May<needs::MessagesSend>,
    key: Option<RequestKey>,
    Body(new): Body<NewMessage>,
) -> Result<Response, Problem> {
    let single = Single::read(Channel::Sms, new, key)?;
    sending::send(&service, &may.caller, single).await.map(SentView::answer)
}

/// Sends one e-mail, from a template, or as `subject` with `message`, `html` or both.
///
/// Otherwise as `POST /api/communication/whatsapp/send`.
#[utoipa::path(post, path = "/api/communication/email/send", tag = "communication", security(("bearer" = ["messages:send"])),
    request_body = NewMessage,
    responses((status = 201, description = "It was taken in", body = Envelope<SentView>),
              (status = 200, description = "It had been taken in before, under the same key", body = Envelope<SentView>),
              (status = 422, description = "A field can't be taken, or the message must not be sent (`message_refused`, with its `reason`), or the address is not on the allow-list (`not_allow_listed`)", body = ProblemDetails, content_type = "application/problem+json")))]
async fn send_email(
    State(service): State<Service>,
    may: May<needs::MessagesSend>,
    key: Option<RequestKey>,
    Body(new): Body<NewMessage>,
) -> Result<Response, Problem> {
    let single = Single::read(Channel::Email, new, key)?;
    sending::send(&service, &may.caller, single).await.map(SentView::answer)
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeliveryStatus {
    #[schema(value_type = String)]
    message_id: MessageId,
    /// `scheduled`, `queued`, `sent`, `delivered`, `failed`, `suppressed`, `cancelled` or `unknown`. Of one that was read it
    /// is `delivered`: `readAt` says the rest.
    #[schema(value_type = String, example = "delivered")]
    status: MessageStatus,
    /// When the provider accepted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    sent_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    delivered_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    read_at: Option<Timestamp>,
    /// Why it was not sent, or not yet, as one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
}

/// What became of one message, of a single send or of a campaign.
#[utoipa::path(get, path = "/api/communication/delivery-status/{message_id}", tag = "communication", security(("bearer" = ["messages:read"])),
    params(("message_id" = String, Path, description = "`msg_…`")),
    responses((status = 200, description = "Its status", body = Envelope<DeliveryStatus>)))]
async fn delivery_status(
    State(service): State<Service>,
    may: May<needs::MessagesRead>,
    PathId(id): PathId<MessageId>,
) -> Result<Data<DeliveryStatus>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    let message = seen(&mut work, &may.caller, id).await?;
    let now = service.clock.now();
    let reason = message.reason(now);
    work.end();
    Ok(Data(DeliveryStatus {
        message_id: id,
        status: delivery(message.status(now)),
        sent_at: message.accepted().map(|fact| fact.at),
        delivered_at: message.delivered_at(),
        read_at: message.read_at(),
        reason: reason.map(|reason| reason.as_str()),
        because: reason.map(|reason| reason.sentence()),
    }))
}

/// How far a message got on its way. To be read is no part of that: clients that wait for `delivered` must not wait for ever
/// because somebody was quick.
const fn delivery(status: MessageStatus) -> MessageStatus {
    match status {
        MessageStatus::Read => MessageStatus::Delivered,
        other => other,
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Cancelled {
    #[schema(value_type = String)]
    message_id: MessageId,
    /// `cancelled`.
    #[schema(value_type = String, example = "cancelled")]
    status: MessageStatus,
}

/// Stops a single message that waits for its time, or for its turn. After this answer it can't leave any more.
#[utoipa::path(delete, path = "/api/communication/messages/{message_id}", tag = "communication", security(("bearer" = ["messages:send"])),
    params(("message_id" = String, Path, description = "`msg_…`")),
    responses((status = 200, description = "It will not leave; also when it was cancelled before", body = Envelope<Cancelled>),
              (status = 409, description = "It has left, or may have; or it is one of a campaign's", body = ProblemDetails, content_type = "application/problem+json")))]
async fn cancel(
    State(service): State<Service>,
    may: May<needs::MessagesSend>,
    PathId(id): PathId<MessageId>,
) -> Result<Data<Cancelled>, Problem> {
    let mut work = Work::begin(&service, &may.caller).await?;
    seen(&mut work, &may.caller, id).await?;
    match direct::cancel(&mut work.tx, may.caller.tenant, id).await? {
        None => Err(Code::NotFound.into()),
        Some(Cancellation::TooLate) => Err(Problem::say(
            Code::Conflict,
            "It is too late: the message has left, or may have, or was refused before.",
        )),
        Some(Cancellation::OfCampaign) => Err(Problem::say(
            Code::Conflict,
            "This message is one of a campaign's: pause or cancel the campaign.",
        )),
        Some(Cancellation::Cancelled) => {
            work.note("message.cancel", &id.to_string(), json!({})).await?;
            work.commit().await?;
            Ok(Data(Cancelled { message_id: id, status: MessageStatus::Cancelled }))
        }
    }
}
