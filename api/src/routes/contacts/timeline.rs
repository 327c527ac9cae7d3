//! Everything that was sent to one contact.

use axum::extract::State;
use fanfare_engine::{
    domain::{
        channel::{Channel, MessageClass},
        outcome::Reason,
        permission::needs,
        status::RecipientState,
    },
    id::{CampaignId, ContactId, MessageId},
    store::{
        contacts,
        listing::{Order, Way},
        timeline::{self, Moment, Place, Sent},
    },
};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::sight;
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        extract::{PathId, Query},
        page::{Counted, Pagination, Wanted},
        problem::Problem,
        sort::Sortable,
    },
    routes::Work,
    service::Service,
};

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ContactMessage {
    #[schema(value_type = String)]
    message_id: MessageId,
    #[schema(value_type = String)]
    campaign_id: CampaignId,
    campaign_name: String,
    /// Whether it was sent alone, and not in a campaign.
    alone: bool,
    #[schema(value_type = String, example = "email")]
    channel: Channel,
    #[schema(value_type = String, example = "obligation")]
    class: MessageClass,
    address: String,
    /// When the first attempt was recorded; before that, when its campaign was launched.
    #[schema(value_type = String, format = DateTime)]
    at: jiff::Timestamp,
    /// `excluded`, `waiting`, `accepted`, `sent`, `delivered`, `read`, `failed`, `suppressed`, `unknown` or `abandoned`.
    #[schema(value_type = String)]
    state: RecipientState,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<Reason>,
    /// The reason as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
    /// In the order of time.
    events: Vec<MomentView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct MomentView {
    /// What became of an attempt (`accepted`, `retry`, `failed` …), or what came back (`delivered`, `clicked` …).
    event: &'static str,
    #[schema(value_type = String, format = DateTime)]
    at: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl From<Moment> for MomentView {
    fn from(moment: Moment) -> Self {
        Self {
            event: moment.what,
            at: moment.at,
            attempt: moment.attempt,
            reason: moment.reason,
            detail: moment.detail,
        }
    }
}

impl From<Sent> for ContactMessage {
    fn from(sent: Sent) -> Self {
        Self {
            message_id: sent.message,
            campaign_id: sent.message.campaign,
            campaign_name: sent.campaign_name,
            alone: sent.alone,
            channel: sent.channel,
            class: sent.class,
            address: sent.address,
            at: sent.at,
            state: sent.state,
            because: sent.reason.map(Reason::sentence),
            reason: sent.reason,
            events: sent.moments.into_iter().map(MomentView::from).collect(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Timeline {
    messages: Vec<ContactMessage>,
    pagination: Pagination,
}

/// What messages are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ByMoment;

impl Sortable for ByMoment {
    const FIELDS: &'static [(&'static str, Self)] = &[("at", Self)];
    const USUAL: Order<Self> = (Self, Way::Down);
}

/// Every message to a contact over every channel, the newest first if no `sort` is said, each with what became of it. Needs `messages:read`, too.
#[utoipa::path(get, path = "/api/contacts/{contact_id}/timeline", tag = "contacts",
    security(("bearer" = ["contacts:read", "messages:read"])),
    params(("contact_id" = String, Path, description = "`cont_…`"), Wanted<ByMoment>),
    responses((status = 200, description = "The messages", body = Envelope<Timeline>)))]
pub(super) async fn show(
    State(service): State<Service>,
    may: May<needs::ContactsRead>,
    _: May<needs::MessagesRead>,
    PathId(id): PathId<ContactId>,
    Query(wanted): Query<Wanted<ByMoment>>,
) -> Result<Data<Timeline>, Problem> {
    let caller = &may.caller;
    let window = wanted.window::<Counted<Place>>()?;
    let mut work = Work::read(&service, caller).await?;
    contacts::get(&mut work.tx, sight(caller), id).await?;
    let total = match window.counted() {
        Some(total) => total,
        None => timeline::count(&mut work.tx, caller.tenant, id).await?,
    };
    let rows = timeline::page(&mut work.tx, caller.tenant, id, wanted.sort.way(), &window.places()).await?;
    let (rows, next) = window.cut(rows, |last: &Sent| Counted { place: last.place(), total });
    work.seen("contact.timeline", &id.to_string(), json!({"messages": rows.len()})).await?;
    let messages = rows.into_iter().map(ContactMessage::from).collect();
    Ok(Data(Timeline { messages, pagination: window.pagination(total, next) }))
}
