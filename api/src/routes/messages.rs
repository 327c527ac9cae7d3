//! Messages, of campaigns and of single sends: searched, and read with everything that happened to them.

use std::collections::BTreeMap;

use axum::extract::State;
use fanfare_engine::{
    domain::{
        address::{EmailAddress, PhoneNumber},
        channel::{Channel, MessageClass},
        permission::needs,
        price::{self, Micros},
        references,
        status::MessageStatus,
    },
    id::{CampaignId, ContactId, IdError, MessageId, TemplateId},
    store::{
        listing::{Order, Way},
        message_search::{self, By, Message, Search},
        prices,
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Work, contacts::in_sight};
use crate::{
    auth::caller::{Caller, May},
    http::{
        envelope::{Data, Envelope},
        extract::{PathId, Query},
        page::{Pagination, Start, Wanted, Window},
        problem::{Code, Problem},
        sort::Sortable,
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show))
}

/// Messages that a list by status or time looks at; where it ends, its cursor goes on.
const LOOKED_AT: i64 = 2_000;
/// Of those, read at a time.
const BATCH: usize = 500;
/// Events of one message that are shown.
const MOST_EVENTS: i64 = 1_000;

/// What messages are sorted by: when their campaign, or their day's single sends, began, and their number in it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ByMoment;

impl Sortable for ByMoment {
    const FIELDS: &'static [(&'static str, Self)] = &[("createdAt", Self)];
    const USUAL: Order<Self> = (Self, Way::Down);
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct Filter {
    /// E-mail address or phone number with its country code: messages to whoever has it now, and single sends to it. Of
    /// `address`, `contact`, `reference` and `campaign` one at a time.
    address: Option<String>,
    /// `cont_…`
    contact: Option<String>,
    /// `name:value`, as in `policyId:POL123456`.
    reference: Option<String>,
    /// `camp_…`
    campaign: Option<String>,
    /// `email`, `sms`, `whatsapp` or `in_app`.
    channel: Option<String>,
    /// `scheduled`, `queued`, `sent`, `delivered`, `read`, `failed`, `suppressed`, `cancelled` or `unknown`.
    status: Option<String>,
    /// Accepted by a provider, or while it was not, taken in, at this moment or later. RFC 3339.
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// The same, before this moment.
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
}

/// A checked [`Filter`], beside what it is by.
#[derive(Debug, Clone, Copy, Default)]
struct Narrowed {
    channel: Option<Channel>,
    status: Option<MessageStatus>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Narrowed {
    fn read(filter: &Filter) -> Result<Self, Problem> {
        let channel = filter.channel.as_deref().map(str::parse::<Channel>).transpose();
        let status = filter.status.as_deref().map(str::parse::<MessageStatus>).transpose();
        Ok(Self {
            channel: channel.map_err(|unknown| Problem::field("channel", unknown))?,
            status: status.map_err(|unknown| Problem::field("status", unknown))?,
            from: filter.from,
            to: filter.to,
        })
    }

    /// Whether messages must be read before it is known which of them are wanted.
    const fn looks_inside(&self) -> bool {
        self.status.is_some() || self.from.is_some() || self.to.is_some()
    }

    fn takes(&self, message: &Message, now: Timestamp) -> bool {
        let at = message.accepted().map_or(message.taken_at, |fact| fact.at);
        self.status.is_none_or(|status| message.status(now) == status)
            && self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at < to)
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MessageLine {
    #[schema(value_type = String)]
    message_id: MessageId,
    #[schema(value_type = String, example = "sms")]
    channel: Channel,
    #[schema(value_type = String, example = "transactional")]
    class: MessageClass,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    contact_id: Option<ContactId>,
    /// Absent of a single send.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    campaign_id: Option<CampaignId>,
    #[schema(value_type = String, example = "delivered")]
    status: MessageStatus,
    /// Why it was not sent, or not yet, as one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
    /// How often it was tried.
    attempts: usize,
    /// When it was taken in, or its campaign launched.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    scheduled_at: Option<Timestamp>,
    /// When a provider accepted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    sent_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    delivered_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    read_at: Option<Timestamp>,
    references: BTreeMap<String, String>,
}

impl MessageLine {
    fn of(message: &Message, now: Timestamp) -> Self {
        let reason = message.reason(now);
        Self {
            message_id: message.id,
            channel: message.channel,
            class: message.class,
            to: message.address.clone(),
            contact_id: message.contact,
            campaign_id: (!message.single).then_some(message.id.campaign),
            status: message.status(now),
            reason: reason.map(|reason| reason.as_str()),
            because: reason.map(|reason| reason.sentence()),
            attempts: message.attempts(),
            created_at: message.taken_at,
            scheduled_at: message.not_before,
            sent_at: message.accepted().map(|fact| fact.at),
            delivered_at: message.delivered_at(),
            read_at: message.read_at(),
            references: message.references.iter().cloned().collect(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Messages {
    messages: Vec<MessageLine>,
    pagination: Pagination,
}

/// Messages, newest first if no `sort` is said: those of the campaign, or of the day's single sends, that began last.
///
/// `total` counts at most 10,000. With `status`, `from` or `to` the next 2,000 messages are
/// looked at, and `total` counts what fits of them; a list may then be shorter than `limit` and still have a `nextCursor`.
#[utoipa::path(get, path = "/api/messages", tag = "messages", security(("bearer" = ["messages:read"])), params(Wanted<ByMoment>, Filter),
    responses((status = 200, description = "The messages", body = Envelope<Messages>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::MessagesRead>,
    Query(wanted): Query<Wanted<ByMoment>>,
    Query(filter): Query<Filter>,
) -> Result<Data<Messages>, Problem> {
    let caller = &may.caller;
    let window = wanted.window::<(CampaignId, i32)>()?;
    let narrowed = Narrowed::read(&filter)?;
    let address = filter.address.as_deref().map(normal).transpose()?;
    let by = by(&filter, address.as_deref())?;
    let search = Search {
        by,
        channel: narrowed.channel,
        // Ids begin with the years of computers.
        made_before: narrowed.to.map(|to| to.max(Timestamp::UNIX_EPOCH)),
        way: wanted.sort.way(),
        after: match window.start {
            Start::Page(_) => None,
            Start::After((campaign, n)) => Some(MessageId { campaign, n }),
        },
        offset: window.offset(),
        limit: i64::from(window.limit),
    };
    let mut work = Work::read(&service, caller).await?;
    match by {
        By::Contact(contact) => in_sight(&mut work, caller, Some(contact)).await?,
        By::Address(_) | By::Reference(..) | By::Campaign(_) | By::Everything => {
            caller.may_list_everybody()?
        }
    }
    let found = if narrowed.looks_inside() {
        looked_into(&mut work, caller, (&search, narrowed), service.clock.now()).await?
    } else {
        part(&mut work, caller, (&search, &window)).await?
    };
    let now = service.clock.now();
    let messages: Vec<MessageLine> =
        found.messages.iter().map(|message| MessageLine::of(message, now)).collect();
    work.seen("message.list", "messages", json!({"by": named(by), "shown": messages.len()})).await?;
    Ok(Data(Messages { messages, pagination: pagination(&window, &found) }))
}

fn by<'a>(filter: &'a Filter, address: Option<&'a str>) -> Result<By<'a>, Problem> {
    let mut all = Vec::new();
    if let Some(address) = address {
        all.push(("address", By::Address(address)));
    }
    if let Some(text) = &filter.contact {
        let id = text.parse().map_err(|error: IdError| Problem::field("contact", error.to_string()))?;
        all.push(("contact", By::Contact(id)));
    }
    if let Some(text) = &filter.reference {
        let (name, value) = references::pair(text)
            .ok_or_else(|| Problem::field("reference", "must be `name:value`, as in `policyId:POL123456`"))?;
        all.push(("reference", By::Reference(name, value)));
    }
    if let Some(text) = &filter.campaign {
        let id = text.parse().map_err(|error: IdError| Problem::field("campaign", error.to_string()))?;
        all.push(("campaign", By::Campaign(id)));
    }
    match all.as_slice() {
        [] => Ok(By::Everything),
        [(_, by)] => Ok(*by),
        [_, (field, _), ..] => {
            Err(Problem::field(*field, "one of address, contact, reference and campaign at a time"))
        }
    }
}

/// Of what is looked for, nothing personal.
const fn named(by: By<'_>) -> &'static str {
    match by {
        By::Contact(_) => "contact",
        By::Address(_) => "address",
        By::Reference(..) => "reference",
        By::Campaign(_) => "campaign",
        By::Everything => "everything",
    }
}

fn normal(text: &str) -> Result<String, Problem> {
    let address = if text.contains('@') {
        EmailAddress::parse(text).map(EmailAddress::into_string)
    } else {
        PhoneNumber::from_e164(text).map(PhoneNumber::into_string)
    };
    address.map_err(|error| Problem::field("address", error.to_string()))
}

/// A part of a list, and where the next one begins.
struct Found {
    messages: Vec<Message>,
    total: u64,
    next: Option<MessageId>,
}

fn pagination(window: &Window<(CampaignId, i32)>, found: &Found) -> Pagination {
    window.pagination(found.total, found.next.map(|next| (next.campaign, next.n)))
}

async fn part(
    work: &mut Work<'_>,
    caller: &Caller,
    (search, window): (&Search<'_>, &Window<(CampaignId, i32)>),
) -> Result<Found, Problem> {
    let one_more = Search { limit: search.limit + 1, ..*search };
    let mut ids = message_search::ids(&mut work.tx, caller.tenant, &one_more).await?;
    let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
    let more = ids.len() > limit;
    ids.truncate(limit);
    let total = match window.total(ids.len(), more) {
        Some(total) => total,
        None => message_search::count(&mut work.tx, caller.tenant, search).await?,
    };
    let messages = message_search::read(&mut work.tx, caller.tenant, &ids).await?;
    Ok(Found { messages, total, next: ids.last().copied().filter(|_| more) })
}

/// What a message is like is known only when it has been read: so many are looked at, and no more.
async fn looked_into(
    work: &mut Work<'_>,
    caller: &Caller,
    (search, narrowed): (&Search<'_>, Narrowed),
    now: Timestamp,
) -> Result<Found, Problem> {
    let looked_at = Search { offset: 0, limit: LOOKED_AT, ..*search };
    let ids = message_search::ids(&mut work.tx, caller.tenant, &looked_at).await?;
    let mut fitting = Vec::new();
    for batch in ids.chunks(BATCH) {
        let messages = message_search::read(&mut work.tx, caller.tenant, batch).await?;
        fitting.extend(messages.into_iter().filter(|message| narrowed.takes(message, now)));
    }
    let total = fitting.len() as u64;
    let passed = usize::try_from(search.offset).unwrap_or(usize::MAX);
    let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
    let rest = fitting.len().saturating_sub(passed) > limit;
    let messages: Vec<Message> = fitting.into_iter().skip(passed).take(limit).collect();
    let full = i64::try_from(ids.len()).is_ok_and(|count| count == LOOKED_AT);
    let next = match messages.last() {
        Some(last) if rest => Some(last.id),
        _ => ids.last().copied().filter(|_| full),
    };
    Ok(Found { messages, total, next })
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MessageView {
    #[serde(flatten)]
    line: MessageLine,
    #[schema(value_type = String)]
    template_id: TemplateId,
    /// What the account that accepted it charged; absent where no price is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, example = 0.05)]
    cost: Option<Micros>,
    /// ISO 4217, of `cost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    /// SMS only: how many it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<u32>,
    /// In the order of time.
    timeline: Vec<Entry>,
}

/// Something that happened to a message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `taken`; of an attempt `accepted`, `retry`, `failed`, `suppressed`, `unknown` or `abandoned`; and what was told
    /// afterwards: `delivered`, `opened`, `bounced` ….
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
    /// The provider's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What the provider calls the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<String>,
}

/// One message with everything that happened to it.
#[utoipa::path(get, path = "/api/messages/{message_id}", tag = "messages", security(("bearer" = ["messages:read"])),
    params(("message_id" = String, Path, description = "`msg_…`")),
    responses((status = 200, description = "The message", body = Envelope<MessageView>)))]
async fn show(
    State(service): State<Service>,
    may: May<needs::MessagesRead>,
    PathId(id): PathId<MessageId>,
) -> Result<Data<MessageView>, Problem> {
    let caller = &may.caller;
    let mut work = Work::read(&service, caller).await?;
    let message = &seen(&mut work, caller, id).await?;
    let timeline = timeline(&mut work, message).await?;
    let segments = match message.channel {
        Channel::Sms => service.direct.units(id, message.variant, &message.variables).await?,
        Channel::Email | Channel::Whatsapp | Channel::InApp => None,
    };
    let cost = cost(&mut work, caller, message, segments).await?;
    work.seen("message.read", &id.to_string(), json!({})).await?;
    let (cost, currency) = cost.unzip();
    let line = MessageLine::of(message, service.clock.now());
    Ok(Data(MessageView { line, template_id: message.template, cost, currency, segments, timeline }))
}

/// A message, if the caller sees whom it is for.
pub(super) async fn seen(work: &mut Work<'_>, caller: &Caller, id: MessageId) -> Result<Message, Problem> {
    let found = message_search::read(&mut work.tx, caller.tenant, &[id]).await?;
    let message = found.into_iter().next().ok_or(Code::NotFound)?;
    in_sight(work, caller, message.contact).await?;
    Ok(message)
}

async fn timeline(work: &mut Work<'_>, message: &Message) -> Result<Vec<Entry>, Problem> {
    let entry = |at, what| Entry {
        at,
        what,
        attempt: None,
        reason: None,
        because: None,
        detail: None,
        provider_id: None,
    };
    let mut entries = vec![Entry {
        reason: message.excluded.map(|reason| reason.as_str()),
        because: message.excluded.map(|reason| reason.sentence()),
        ..entry(message.taken_at, "taken")
    }];
    entries.extend(message.facts.iter().map(|fact| Entry {
        attempt: Some(fact.fact.attempt),
        reason: fact.fact.reason.map(|reason| reason.as_str()),
        because: fact.fact.reason.map(|reason| reason.sentence()),
        detail: fact.detail.clone(),
        provider_id: fact.provider_id.clone(),
        ..entry(fact.at, fact.fact.kind.as_str())
    }));
    let events = message_search::events(&mut work.tx, message.id, MOST_EVENTS).await?;
    entries.extend(events.into_iter().map(|(kind, at, detail)| Entry { detail, ..entry(at, kind.as_str()) }));
    entries.sort_by_key(|entry| entry.at);
    Ok(entries)
}

/// Of what a provider accepted, at the price of that moment.
async fn cost(
    work: &mut Work<'_>,
    caller: &Caller,
    message: &Message,
    segments: Option<u32>,
) -> Result<Option<(Micros, String)>, Problem> {
    let units = if message.channel == Channel::Sms { segments } else { Some(1) };
    let Some((accepted, units)) = message.accepted().zip(units) else { return Ok(None) };
    let Some(account) = accepted.account_no else { return Ok(None) };
    let prices =
        prices::of(&mut work.tx, caller.tenant, account, (message.channel, &message.address)).await?;
    let price = price::price(&prices, &message.address, accepted.at);
    Ok(price.map(|price| (price.micros.times(units), price.currency.clone())))
}
