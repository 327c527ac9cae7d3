//! Conversions: somebody who was written to paid, renewed, or did what a campaign is for. Told by whoever knows: the payment
//! system knows a contact or a reference, a landing page the message.

use axum::extract::State;
use fanfare_engine::{
    domain::permission::needs,
    id::{CampaignId, ContactId, MessageId},
    store::{
        conversions::{self, Conversion, Who},
        sheets,
        users::RowScope,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Work, input};
use crate::{
    auth::caller::{Caller, May},
    http::{
        envelope::{Data, Envelope},
        extract::{Body, PathId},
        problem::Problem,
    },
    routes::{contacts::in_sight, messages::seen},
    service::Service,
};

/// How far another system's clock may be ahead of ours.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);
const LONGEST_REFERENCE: usize = 200;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(of_campaign)).routes(routes!(of_any))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewConversion {
    /// `payment`, `renewal`, or the name of an event.
    #[schema(pattern = "^[a-z0-9_.-]{1,64}$", example = "payment")]
    kind: String,
    /// Who did it; one of `contact`, `reference` and `message`.
    #[schema(value_type = Option<String>, example = "cont_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    contact: Option<ContactId>,
    /// A business key, or the `reference` of a row of the campaign's upload: a policy number, say.
    #[schema(max_length = 200)]
    reference: Option<String>,
    #[schema(value_type = Option<String>, example = "msg_01jd3v9x2gfk8s5m7q4w6r0t1z000007")]
    message: Option<MessageId>,
    /// When; now if not said.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Counted {
    #[schema(value_type = String)]
    campaign_id: CampaignId,
    #[schema(value_type = String)]
    message_id: MessageId,
}

#[derive(Debug, Serialize, ToSchema)]
struct Conversions {
    /// What it counted for. Empty: they were not written to within a window, or had been counted before.
    conversions: Vec<Counted>,
}

/// Tells that a recipient of this campaign did what it is for. Counts once a recipient, within the campaign's window.
#[utoipa::path(post, path = "/api/campaigns/{campaign_id}/conversions", tag = "campaigns", security(("bearer" = ["campaigns:update"])),
    params(("campaign_id" = String, Path, description = "`camp_…`")),
    request_body = NewConversion, responses((status = 200, description = "What it counted for", body = Envelope<Conversions>)))]
async fn of_campaign(
    State(service): State<Service>,
    may: May<needs::CampaignsUpdate>,
    PathId(id): PathId<CampaignId>,
    Body(new): Body<NewConversion>,
) -> Result<Data<Conversions>, Problem> {
    let mut work = Work::begin(&service, &may.caller).await?;
    sheets::get(&mut work.tx, may.caller.tenant, id).await?;
    record(&service, work, &may.caller, new, Some(id)).await
}

/// Tells that somebody did what campaigns are for. It counts for every campaign that wrote to them within its window.
#[utoipa::path(post, path = "/api/conversions", tag = "campaigns", security(("bearer" = ["campaigns:update"])),
    request_body = NewConversion, responses((status = 200, description = "What it counted for", body = Envelope<Conversions>)))]
async fn of_any(
    State(service): State<Service>,
    may: May<needs::CampaignsUpdate>,
    Body(new): Body<NewConversion>,
) -> Result<Data<Conversions>, Problem> {
    let work = Work::begin(&service, &may.caller).await?;
    record(&service, work, &may.caller, new, None).await
}

async fn record(
    service: &Service,
    mut work: Work<'_>,
    caller: &Caller,
    new: NewConversion,
    campaign: Option<CampaignId>,
) -> Result<Data<Conversions>, Problem> {
    let at = checked(&new, service.clock.now())?;
    let conversion = Conversion { kind: &new.kind, at, campaign };
    let who = match (new.contact, new.message, &new.reference) {
        (Some(contact), None, None) => {
            in_sight(&mut work, caller, Some(contact)).await?;
            vec![Who::Contact(contact)]
        }
        (None, Some(message), None) => {
            if caller.scope != RowScope::All {
                seen(&mut work, caller, message).await?;
            }
            vec![Who::Message(message)]
        }
        (None, None, Some(reference)) => {
            caller.sees_everybody(
                "You see only some of the contacts: say who did it by `contact` or `message`.",
            )?;
            conversions::bearers(&mut work.tx, caller.tenant, reference, &conversion).await?
        }
        _ => {
            return Err(Problem::field(
                "contact",
                "say who did it by one of `contact`, `reference` and `message`",
            ));
        }
    };
    let mut counted = Vec::new();
    for who in &who {
        let messages = conversions::record(&mut work.tx, caller.tenant, who, &conversion).await?;
        counted.extend(
            messages
                .into_iter()
                .map(|message| Counted { campaign_id: message.campaign, message_id: message }),
        );
    }
    for one in &counted {
        let detail = json!({"kind": new.kind, "message": one.message_id});
        work.note("campaign.conversion", &one.campaign_id.to_string(), detail).await?;
    }
    work.commit().await?;
    Ok(Data(Conversions { conversions: counted }))
}

fn checked(new: &NewConversion, now: Timestamp) -> Result<Timestamp, Problem> {
    input::event_name(&new.kind).map_err(|message| Problem::field("kind", message))?;
    if let Some(reference) = &new.reference {
        input::text(reference, LONGEST_REFERENCE).map_err(|message| Problem::field("reference", message))?;
    }
    let at = new.at.unwrap_or(now);
    if at > now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX) {
        return Err(Problem::field("at", "is still to come"));
    }
    // Nothing was sent before there were computers; an interval before it can't be told to the database.
    if at < Timestamp::UNIX_EPOCH {
        return Err(Problem::field("at", "is too long ago"));
    }
    Ok(at)
}
