//! `POST /{version}/{phone-number-id}/messages`.

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::message::{Message, canonical};
use super::rules::{Checked, check};
use super::{GraphError, authorize};
use crate::audit::{Received, Recipient, digest};
use crate::brevo::given;
use crate::config::Channel;
use crate::faults::{After, Before, RetryAfter, Roll};
use crate::reply::{self, Ending, Reply};
use crate::script::{Effect, Scripted};
use crate::webhooks::Sent;
use crate::world::{WhatsappDesk, World};

enum Turned {
    Refused(GraphError),
    Silent(Ending),
}

impl From<GraphError> for Turned {
    fn from(error: GraphError) -> Self {
        Self::Refused(error)
    }
}

enum Taken {
    /// An inbound message was marked as read.
    Marked,
    Accepted {
        body: String,
        after: After,
    },
}

pub(crate) fn send(world: &World, headers: &HeaderMap, phone_number_id: &str, body: &[u8]) -> Reply {
    let desk = match authorize(world, headers, phone_number_id) {
        Ok(desk) => desk,
        Err(error) => {
            let tally = world.audit.lane(World::strangers(Channel::Whatsapp));
            tally.arrive(&world.clock);
            tally.refuse(&error.code.to_string());
            return Reply::now(error.response(world.dice.draw()));
        }
    };
    let tally = world.audit.lane(desk.lane);
    let at_us = tally.arrive(&world.clock);
    let roll = world.faults.roll(Channel::Whatsapp, &world.dice, at_us);
    match take(world, desk, at_us, &roll, body) {
        Ok(Taken::Marked) => Reply::after(reply::json(StatusCode::OK, r#"{"success":true}"#), roll.delay),
        Ok(Taken::Accepted { body, after }) => {
            tally.accept_request();
            if matches!(after, After::Hang | After::Drop) {
                tally.leave_unanswered();
            }
            Reply::accepted(StatusCode::OK, body, roll.delay, after)
        }
        Err(Turned::Silent(ending)) => {
            tally.leave_unanswered();
            Reply::silent(ending)
        }
        Err(Turned::Refused(error)) => {
            tally.refuse(&error.code.to_string());
            Reply::after(refuse(world, &error, roll.retry_after), roll.delay)
        }
    }
}

fn refuse(world: &World, error: &GraphError, retry_after: RetryAfter) -> axum::response::Response {
    let mut response = error.response(world.dice.draw());
    if [429, 503].contains(&error.status.as_u16()) {
        reply::add_retry_after(&mut response, retry_after, world.clock.wall_us(world.clock.now_us()));
    }
    response
}

fn take(world: &World, desk: &WhatsappDesk, at_us: u64, roll: &Roll, body: &[u8]) -> Result<Taken, Turned> {
    let message = parse(body)?;
    if given(&message.status) == Some("read") {
        let marked = given(&message.message_id).is_some();
        return if marked { Ok(Taken::Marked) } else { Err(GraphError::missing("message_id").into()) };
    }
    if !desk.limit.admit(&world.clock).admitted {
        return Err(
            rate_limited("too many messages sent from this phone number in a short period of time").into()
        );
    }
    match roll.before {
        Before::Proceed => {}
        Before::Throttled => {
            let error =
                GraphError { status: StatusCode::TOO_MANY_REQUESTS, ..rate_limited("throttled for a time") };
            return Err(error.into());
        }
        Before::Refuse(code @ 400..=599) => return Err(GraphError::of_status(code).into()),
        Before::Refuse(code) => return Err(GraphError::of_code(code).into()),
        Before::Drop => return Err(Turned::Silent(Ending::Drop)),
    }
    let checked = check(&message, &world.config.whatsapp.templates)?;
    let scripted = world.script.of(Channel::Whatsapp, checked.to);
    match scripted {
        Some(Scripted { effect: Effect::Refuse, code }) => {
            return Err(GraphError::of_code(code.unwrap_or(131_009)).into());
        }
        Some(Scripted { effect: Effect::ServerError, .. }) => return Err(GraphError::of_status(500).into()),
        Some(Scripted { effect: Effect::NeverAnswers, .. }) => return Err(Turned::Silent(Ending::Hang)),
        _ => {}
    }
    if !desk.pair.admit(&world.clock, &desk.account.phone_number_id, checked.to) {
        return Err(GraphError::of_code(131_056).into());
    }
    let body = accept(world, desk, at_us, &checked, scripted);
    let hangs = scripted.is_some_and(|scripted| scripted.effect == Effect::AcceptThenTimeout);
    Ok(Taken::Accepted { body, after: if hangs { After::Hang } else { roll.after } })
}

fn rate_limited(why: &str) -> GraphError {
    GraphError::new(130_429, format!("Message failed to send because there were {why}."))
}

fn parse(body: &[u8]) -> Result<Message<'_>, GraphError> {
    let mut input = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut input).map_err(|error| {
        GraphError::parameter(format!("Param {} is not valid: {}", error.path(), error.inner()))
    })
}

fn accept(
    world: &World,
    desk: &WhatsappDesk,
    at_us: u64,
    checked: &Checked<'_>,
    scripted: Option<Scripted>,
) -> String {
    let content = canonical(checked.content);
    let received = Received { lane: desk.lane, at_us, message_id: checked.message_id, tags: "" };
    let recipient = Recipient {
        address: checked.to,
        digest: digest(checked.to, checked.message_id, &[&content]),
        fate: Scripted::fate(scripted),
    };
    let serial = world.audit.receive(&received, std::iter::once(recipient));
    let id = world.audit.ids().whatsapp(serial, checked.to);
    if world.webhooks.wants(Channel::Whatsapp) {
        let sent = Sent {
            address: checked.to.to_owned(),
            message_id: checked.message_id.to_owned(),
            provider_id: id.clone(),
            category: checked.category.to_owned(),
            account: desk.number,
            ..Sent::new(Channel::Whatsapp, at_us, scripted)
        };
        world.webhooks.announce(world, sent);
    }
    let mut message = json!({ "id": id });
    if checked.template {
        message["message_status"] = Value::from("accepted");
    }
    json!({
        "messaging_product": "whatsapp",
        "contacts": [{"input": checked.input, "wa_id": checked.to}],
        "messages": [message],
    })
    .to_string()
}
