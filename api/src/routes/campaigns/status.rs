//! What a person makes of a campaign by naming the status that it is to have, and sending what failed once more.

use axum::extract::State;
use fanfare_engine::{
    domain::{campaign::CampaignState, campaign_status::CampaignStatus, permission::needs},
    id::CampaignId,
    launch,
    store::{
        campaigns, results,
        sheets::{self, Sheet},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Work, departure};
use crate::{
    auth::caller::{Caller, May},
    http::{
        envelope::{Data, Envelope},
        etag::{IfMatch, Tagged},
        extract::{Body, PathId},
        problem::Problem,
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(set)).routes(routes!(retry_failed))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedStatus {
    /// `active`: launches a draft, or schedules it if its time is to come; launches a scheduled one at once; goes on after a
    /// pause. `paused`: nothing more leaves until it is active again. `stopped`: it is over; who was not sent to will not be.
    #[schema(value_type = String, example = "paused")]
    status: CampaignStatus,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StatusView {
    #[schema(value_type = String)]
    campaign_id: CampaignId,
    #[schema(value_type = String)]
    status: CampaignStatus,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<&Sheet> for StatusView {
    fn from(sheet: &Sheet) -> Self {
        Self { campaign_id: sheet.id, status: CampaignStatus::of(sheet.state), updated_at: sheet.updated_at }
    }
}

/// Launches, pauses, resumes or stops a campaign. `active` needs the permission `campaigns:launch`, too. After the answer to
/// `paused` and `stopped` only what was on its way may still leave, within a second. To name the status that it has already
/// changes nothing.
#[utoipa::path(put, path = "/api/campaigns/{campaign_id}/status", tag = "campaigns", security(("bearer" = ["campaigns:update"])),
    params(("campaign_id" = String, Path, description = "`camp_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = WantedStatus, responses((status = 200, description = "The status that it has now", body = Envelope<StatusView>)))]
async fn set(
    State(service): State<Service>,
    may: May<needs::CampaignsUpdate>,
    PathId(id): PathId<CampaignId>,
    demand: IfMatch,
    Body(wanted): Body<WantedStatus>,
) -> Result<Tagged<Data<StatusView>>, Problem> {
    let (caller, wanted) = (&may.caller, wanted.status);
    departure::for_everybody(caller)?;
    // Another tenant's is not there, whatever is wanted of it.
    service.store.campaign(caller.tenant, id).await?;
    let answer = match wanted {
        CampaignStatus::Active => activate(&service, caller, id, &demand).await?,
        CampaignStatus::Paused | CampaignStatus::Stopped => {
            stop(&service, caller, id, (wanted, &demand)).await?
        }
        _ => {
            let mut work = Work::read(&service, caller).await?;
            let sheet = sheets::get(&mut work.tx, caller.tenant, id).await?;
            demand.check(sheet.updated_at)?;
            match CampaignStatus::of(sheet.state) {
                same if same == wanted => StatusView::from(&sheet),
                from => return Err(departure::no_sense(from, wanted)),
            }
        }
    };
    Ok(Tagged::new(answer.updated_at, Data(answer)))
}

async fn activate(
    service: &Service,
    caller: &Caller,
    id: CampaignId,
    demand: &IfMatch,
) -> Result<StatusView, Problem> {
    let mut look = Work::read(service, caller).await?;
    let sheet = sheets::get(&mut look.tx, caller.tenant, id).await?;
    look.end();
    departure::must_launch(caller, sheet.environment)?;
    let seen = service.store.campaign(caller.tenant, id).await?;
    let from = CampaignStatus::of(seen.state);
    let pins = match from {
        CampaignStatus::Draft | CampaignStatus::InReview | CampaignStatus::Scheduled => {
            Some(launch::pins(&service.store, &seen).await.map_err(departure::not_launched)?.0)
        }
        _ => None,
    };
    let mut work = Work::begin(service, caller).await?;
    demand.check(sheets::lock(&mut work.tx, caller.tenant, id).await?.updated_at)?;
    match (from, pins) {
        (CampaignStatus::Active, _) => {}
        (CampaignStatus::Paused, _) => {
            campaigns::change(&mut work.tx, caller.tenant, id, |state, _| state.resume(), None)
                .await
                .map_err(departure::refused)?;
        }
        (_, Some(pins)) => {
            departure::launch(service, &mut work, &seen, &pins).await?;
        }
        _ => return Err(departure::no_sense(from, CampaignStatus::Active)),
    }
    changed(work, id, from, "campaign.activate").await
}

async fn stop(
    service: &Service,
    caller: &Caller,
    id: CampaignId,
    (wanted, demand): (CampaignStatus, &IfMatch),
) -> Result<StatusView, Problem> {
    let mut work = Work::begin(service, caller).await?;
    let sheet = sheets::lock(&mut work.tx, caller.tenant, id).await?;
    demand.check(sheet.updated_at)?;
    let from = CampaignStatus::of(sheet.state);
    if from != wanted {
        if !from.reachable().contains(&wanted) {
            return Err(departure::no_sense(from, wanted));
        }
        let transition = |state: CampaignState, now| match wanted {
            CampaignStatus::Paused => state.pause(),
            _ => state.cancel(now),
        };
        campaigns::change(&mut work.tx, caller.tenant, id, transition, None)
            .await
            .map_err(departure::refused)?;
    }
    let action = if wanted == CampaignStatus::Paused { "campaign.pause" } else { "campaign.stop" };
    let answer = changed(work, id, from, action).await?;
    // Also for one who asks again because the first answer was lost.
    service.store.grace(caller.tenant).await?;
    Ok(answer)
}

/// Notes and commits a change of status, if it is one.
async fn changed(
    mut work: Work<'_>,
    id: CampaignId,
    from: CampaignStatus,
    action: &'static str,
) -> Result<StatusView, Problem> {
    let sheet = sheets::get(&mut work.tx, work.caller.tenant, id).await?;
    let to = CampaignStatus::of(sheet.state);
    if from != to {
        work.note(action, &id.to_string(), json!({"before": from, "after": to})).await?;
    }
    work.commit().await?;
    Ok(StatusView::from(&sheet))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Retried {
    #[schema(value_type = String)]
    campaign_id: CampaignId,
    /// How many are sent once more.
    messages: i64,
    #[schema(value_type = String)]
    status: CampaignStatus,
}

/// Sends the messages that failed for good once more, and only those. A completed campaign is active again.
#[utoipa::path(post, path = "/api/campaigns/{campaign_id}/retry-failed", tag = "campaigns", security(("bearer" = ["campaigns:launch"])),
    params(("campaign_id" = String, Path, description = "`camp_…`")),
    responses((status = 200, description = "How many", body = Envelope<Retried>),
              (status = 409, description = "It is neither active nor completed", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
async fn retry_failed(
    State(service): State<Service>,
    may: May<needs::CampaignsLaunch>,
    PathId(id): PathId<CampaignId>,
) -> Result<Data<Retried>, Problem> {
    let caller = &may.caller;
    departure::for_everybody(caller)?;
    let mut work = Work::begin(&service, caller).await?;
    let sheet = sheets::lock(&mut work.tx, caller.tenant, id).await?;
    departure::must_launch(caller, sheet.environment)?;
    sheet.state.reopen().map_err(|why| departure::refused(why.into()))?;
    let messages = results::replay_failed(&mut work.tx, caller.tenant, id, service.retry_chunk).await?;
    let after = sheets::get(&mut work.tx, caller.tenant, id).await?;
    work.note("campaign.retry_failed", &id.to_string(), json!({"messages": messages})).await?;
    work.commit().await?;
    Ok(Data(Retried { campaign_id: id, messages, status: CampaignStatus::of(after.state) }))
}
