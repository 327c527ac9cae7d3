//! How a single send goes: to whom, whether it may, taken in, and then a short wait for the provider.
//!
//! When this process dies after the message was taken in, the caller has no answer and the message is sent all the same:
//! whoever asks again under the same key is told of it.

use std::time::Duration;

use fanfare_engine::{
    deliver::direct::{DirectContent, DirectError, DirectRequest, Taken},
    domain::{
        address::{self, EmailAddress, PhoneNumber, Region, masked},
        channel::Channel,
        outcome::{Outcome, Reason},
        price::Micros,
        status::MessageStatus,
    },
    id::{ContactId, MessageId},
    store::{
        StoreError,
        addressees::{self, Addressee},
        audit::Deed,
        contacts, message_search,
        tenants::Tenant,
    },
};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;
use tokio::{
    sync::oneshot::Receiver,
    time::{Instant, sleep, timeout_at},
};

use super::request::{Content, Single};
use crate::{
    auth::caller::Caller,
    http::problem::{Code, Problem},
    routes::{
        Work,
        contacts::{sees, sight},
    },
    service::Service,
};

/// A message that was taken in, as it stood when the caller had waited long enough.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) message: MessageId,
    pub(super) status: MessageStatus,
    pub(super) at: Timestamp,
    pub(super) cost: Option<(Micros, String)>,
    pub(super) segments: Option<u32>,
    pub(super) scheduled_at: Option<Timestamp>,
    pub(super) duplicate: bool,
}

/// An address in its normal form, and who has it.
struct To {
    address: String,
    who: Option<Addressee>,
}

/// Where a message is, and why it is there.
type Stands = (MessageStatus, Option<Reason>);

/// The first look at a message that was left to the queue; every later one waits twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(50);

pub(super) async fn send(service: &Service, caller: &Caller, single: Single) -> Result<Sent, Problem> {
    let until = Instant::now() + service.send_wait;
    let to = to(service, caller, &single).await?;
    let (content, variables) = match &single.content {
        Content::Template { name, parameters } => (DirectContent::Template(name), parameters.clone()),
        Content::Written { class, parts } => (DirectContent::Written(*class), parts.clone()),
    };
    let business_key = single.business_key.as_deref().map(|key| caller.environment.own(key));
    let locale = single.locale.as_deref().or(to.who.as_ref().and_then(|who| who.locale.as_deref()));
    let request = DirectRequest {
        contact: to.who.as_ref().map(|who| who.contact),
        locale,
        variables,
        business_key: business_key.as_deref(),
        not_before: single.scheduled_at,
        references: single.references.clone(),
        deed: Some(deed(service, caller, &single, &to.address)),
        ..DirectRequest::new(&caller.home, single.channel, content, &to.address)
    };
    let taken = service
        .direct
        .take(request)
        .await
        .map_err(|error| problem(error, &single, (&caller.home, service.clock.now())))?;
    match taken {
        Taken::Refused { message, reason } => Err(Problem::refused(message, reason)),
        Taken::Duplicate { message } => again(service, caller, message, &to.address).await,
        Taken::Accepted { message, outcome, price, units } => {
            let (status, reason) = match single.scheduled_at {
                Some(_) => (MessageStatus::Scheduled, None),
                None => settled(service, caller, message, outcome, until).await,
            };
            if let (MessageStatus::Failed | MessageStatus::Suppressed, Some(reason)) = (status, reason) {
                return Err(Problem::refused(message, reason));
            }
            Ok(Sent {
                message,
                status,
                at: service.clock.now(),
                cost: price.map(|price| (price.micros.times(units), price.currency)),
                segments: (single.channel == Channel::Sms).then_some(units),
                scheduled_at: single.scheduled_at,
                duplicate: false,
            })
        }
    }
}

/// To whom, and whether this caller may write to them.
async fn to(service: &Service, caller: &Caller, single: &Single) -> Result<To, Problem> {
    let mut work = Work::read(service, caller).await?;
    let (address, who) = if single.to.starts_with("cont_") {
        let (address, who) = of_contact(&mut work, caller, single).await?;
        (address, Some(who))
    } else {
        let address = normal(single.channel, &single.to, &caller.home)?;
        let who = addressees::at(&mut work.tx, caller.tenant, single.channel, &address).await?;
        (address, who)
    };
    work.may_reach(single.channel, &address).await?;
    work.end();
    Ok(To { address, who })
}

async fn of_contact(
    work: &mut Work<'_>,
    caller: &Caller,
    single: &Single,
) -> Result<(String, Addressee), Problem> {
    let id = single.to.parse::<ContactId>().map_err(|error| Problem::field("to", error.to_string()))?;
    let nobody = || Problem::field("to", "there is no such contact");
    match contacts::get(&mut work.tx, sight(caller), id).await {
        Ok(_) => {}
        Err(StoreError::NotFound { .. }) => return Err(nobody()),
        Err(error) => return Err(error.into()),
    }
    let who = addressees::by_id(&mut work.tx, caller.tenant, id).await?.ok_or_else(nobody)?;
    let address = who.address(single.channel);
    let address = address.ok_or_else(|| {
        Problem::field(
            "to",
            format!("this contact has no address for {}: give them one first", single.channel),
        )
    })?;
    Ok((address, who))
}

fn normal(channel: Channel, text: &str, tenant: &Tenant) -> Result<String, Problem> {
    let address = match channel {
        Channel::Email => EmailAddress::parse(text).map(EmailAddress::into_string),
        Channel::Sms | Channel::Whatsapp => {
            let region = Region::parse(&tenant.region)
                .map_err(|error| StoreError::Corrupt(format!("tenant {}: {error}", tenant.id)))?;
            PhoneNumber::parse(text, &region).map(PhoneNumber::into_string)
        }
        Channel::InApp => address::normalised(channel, text),
    };
    address.map_err(|error| Problem::field("to", error.to_string()))
}

/// What the engine can't take, said of the field that it is about.
fn problem(error: DirectError, single: &Single, (tenant, now): (&Tenant, Timestamp)) -> Problem {
    let whole = matches!(single.content, Content::Written { .. });
    match error {
        DirectError::Address(error) => Problem::field("to", error.to_string()),
        DirectError::NoAccount(_) => Problem::say(Code::Conflict, format!("Nothing can be sent: {error}.")),
        DirectError::Render(why) => Problem::field(if whole { "message" } else { "parameters" }, why),
        DirectError::NeedsTemplate(_) | DirectError::NotPublished(_) | DirectError::Inactive(_) => {
            Problem::field("templateId", error.to_string())
        }
        DirectError::Capped => Problem::from(Code::SendCapReached).retry_after(until_tomorrow(tenant, now)),
        DirectError::Schedule(error) => Problem::field("scheduledAt", error.to_string()),
        DirectError::Store(StoreError::NotFound { .. }) if !whole => {
            Problem::field("templateId", format!("names no template for {}", single.channel))
        }
        DirectError::Store(error) => error.into(),
    }
}

/// Until the tenant's next day begins.
fn until_tomorrow(tenant: &Tenant, now: Timestamp) -> Duration {
    let today = now.to_zoned(TimeZone::get(&tenant.time_zone).unwrap_or(TimeZone::UTC));
    let tomorrow = today.tomorrow().and_then(|moment| moment.start_of_day());
    let left = tomorrow.map(|tomorrow| tomorrow.timestamp().duration_since(now));
    left.ok().and_then(|left| Duration::try_from(left).ok()).unwrap_or_default()
}

/// Waits until something is known of a message, or the caller has waited long enough.
async fn settled(
    service: &Service,
    caller: &Caller,
    message: MessageId,
    outcome: Receiver<Outcome>,
    until: Instant,
) -> Stands {
    // The one who sends it tells when the outcome is recorded; where it was left to the queue, nobody tells.
    if let Ok(Ok(outcome)) = timeout_at(until, outcome).await {
        let status = match &outcome {
            Outcome::Accepted { .. } => MessageStatus::Sent,
            Outcome::Retry { .. } => MessageStatus::Queued,
            Outcome::Failed { .. } => MessageStatus::Failed,
            Outcome::Suppressed { .. } => MessageStatus::Suppressed,
            Outcome::Unknown { .. } | Outcome::Abandoned { .. } => MessageStatus::Unknown,
        };
        return (status, outcome.reason());
    }
    let mut pause = FIRST_LOOK;
    while Instant::now() + pause < until {
        sleep(pause).await;
        pause *= 2;
        match stands(service, caller, message).await {
            Ok((MessageStatus::Queued, _)) => {}
            Ok(known) => return known,
            Err(problem) => {
                tracing::debug!(?problem, %message, "taken in, and could not be looked at");
                break;
            }
        }
    }
    (MessageStatus::Queued, None)
}

async fn stands(service: &Service, caller: &Caller, message: MessageId) -> Result<Stands, Problem> {
    let mut work = Work::read(service, caller).await?;
    let found = message_search::read(&mut work.tx, caller.tenant, &[message]).await?;
    let message = found.first().ok_or(Code::NotFound)?;
    let now = service.clock.now();
    work.end();
    Ok((message.status(now), message.reason(now)))
}

/// A message that bears the key already, as it stands.
async fn again(
    service: &Service,
    caller: &Caller,
    message: MessageId,
    address: &str,
) -> Result<Sent, Problem> {
    let mut work = Work::read(service, caller).await?;
    let found = message_search::read(&mut work.tx, caller.tenant, &[message]).await?;
    // Its records may be past their retention: the key outlives them.
    let known = found.first();
    // Whoever wrote to an address that nobody has asks again by naming it.
    if let Some(known) = known.filter(|known| known.contact.is_some() || known.address != address)
        && !sees(&mut work, caller, known.contact).await?
    {
        return Err(Problem::say(
            Code::Conflict,
            "A message to somebody whom you do not see bears this key: send yours under another.",
        ));
    }
    let now = service.clock.now();
    if let Some((MessageStatus::Failed | MessageStatus::Suppressed, Some(reason))) =
        known.map(|known| (known.status(now), known.reason(now)))
    {
        return Err(Problem::refused(message, reason));
    }
    work.end();
    Ok(Sent {
        message,
        status: known.map_or(MessageStatus::Unknown, |known| known.status(now)),
        at: now,
        cost: None,
        segments: None,
        scheduled_at: known.and_then(|known| known.not_before),
        duplicate: true,
    })
}

/// As the audit log tells it. What became of the message its own record says.
fn deed(service: &Service, caller: &Caller, single: &Single, address: &str) -> Deed {
    let content = match &single.content {
        Content::Template { name, .. } => json!({"template": name}),
        Content::Written { class, .. } => json!({"class": class}),
    };
    let detail = json!({
        "channel": single.channel,
        "to": masked(address),
        "content": content,
        "scheduledAt": single.scheduled_at,
    });
    caller.deed(service.clock.now(), "message.send", "", detail)
}
