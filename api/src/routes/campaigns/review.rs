//! Review: a campaign to more people than the tenant has said is approved by somebody who did not write it.

use axum::extract::State;
use fanfare_engine::{
    domain::{campaign::CampaignState, permission::needs, schedule::Schedule},
    id::CampaignId,
    launch,
    store::{
        campaigns,
        drafts::{self, ReviewAction, ReviewRow},
        listing::{Order, Way},
        settings,
        sheets::{self, Sheet},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Perhaps, Work, actors, departure, input, view::CampaignView};
use crate::{
    auth::caller::{Caller, May},
    http::{
        envelope::{Data, Envelope},
        etag::{IfMatch, Tag, Tagged},
        extract::{Body, PathId, Query},
        page::{Pagination, Wanted},
        problem::{Code, Problem},
        sort::Sortable,
    },
    service::Service,
};

const LONGEST_COMMENT: usize = 2_000;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(submit))
        .routes(routes!(approve))
        .routes(routes!(reject))
        .routes(routes!(history))
        .routes(routes!(rule, set_rule))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Comment {
    #[schema(max_length = 2000)]
    comment: Option<String>,
}

impl Comment {
    fn checked(self) -> Result<Option<String>, Problem> {
        if let Some(comment) = &self.comment {
            input::text(comment, LONGEST_COMMENT).map_err(|message| Problem::field("comment", message))?;
        }
        Ok(self.comment)
    }
}

/// What is done in a review, and what is said.
struct Said<'a> {
    action: ReviewAction,
    actors: &'a [String],
    comment: Option<String>,
}

/// Notes it, and answers with the campaign as it is now.
async fn said(
    mut work: Work<'_>,
    id: CampaignId,
    said: Said<'_>,
) -> Result<Tagged<Data<CampaignView>>, Problem> {
    let tenant = work.caller.tenant;
    drafts::review(&mut work.tx, tenant, id, said.action, said.actors, said.comment.as_deref()).await?;
    let action = match said.action {
        ReviewAction::Submitted => "campaign.submit",
        ReviewAction::Approved => "campaign.approve",
        ReviewAction::Rejected => "campaign.reject",
    };
    work.note(action, &id.to_string(), json!({"comment": said.comment})).await?;
    let sheet = sheets::get(&mut work.tx, tenant, id).await?;
    work.commit().await?;
    Ok(Tagged::new(sheet.updated_at, Data(sheet.into())))
}

/// Hands a draft over for review. Whoever does is among its authors.
#[utoipa::path(post, path = "/api/campaigns/{campaign_id}/submit", tag = "campaigns", security(("bearer" = ["campaigns:update"])),
    params(("campaign_id" = String, Path, description = "`camp_…`")),
    request_body = Option<Comment>, responses((status = 200, description = "The campaign", body = Envelope<CampaignView>)))]
async fn submit(
    State(service): State<Service>,
    may: May<needs::CampaignsUpdate>,
    PathId(id): PathId<CampaignId>,
    Perhaps(comment): Perhaps<Comment>,
) -> Result<Tagged<Data<CampaignView>>, Problem> {
    let (caller, comment) = (&may.caller, comment.checked()?);
    departure::for_everybody(caller)?;
    let mut work = Work::begin(&service, caller).await?;
    campaigns::change(&mut work.tx, caller.tenant, id, |state, _| state.submit(), None)
        .await
        .map_err(departure::refused)?;
    let actors = actors(&mut work, caller).await?;
    said(work, id, Said { action: ReviewAction::Submitted, actors: &actors, comment }).await
}

/// Approves a campaign that is in review. One with a time to come is scheduled by it; any other may be launched from now on.
/// Above the tenant's limit its authors can't.
#[utoipa::path(post, path = "/api/campaigns/{campaign_id}/approve", tag = "campaigns", security(("bearer" = ["campaigns:approve"])),
    params(("campaign_id" = String, Path, description = "`camp_…`")),
    request_body = Option<Comment>, responses((status = 200, description = "The campaign", body = Envelope<CampaignView>)))]
async fn approve(
    State(service): State<Service>,
    may: May<needs::CampaignsApprove>,
    PathId(id): PathId<CampaignId>,
    Perhaps(comment): Perhaps<Comment>,
) -> Result<Tagged<Data<CampaignView>>, Problem> {
    let (caller, comment) = (&may.caller, comment.checked()?);
    departure::for_everybody(caller)?;
    let timed = is_launchable(&service, caller, id).await?;
    let mut work = Work::begin(&service, caller).await?;
    let sheet = sheets::lock(&mut work.tx, caller.tenant, id).await?;
    if sheet.state != CampaignState::InReview {
        return Err(not_in_review(&sheet));
    }
    departure::must_be_of(caller, sheet.environment)?;
    if sheet.approved_by.is_some() {
        return Err(Problem::say(Code::Conflict, "It is approved already."));
    }
    let actors = actors(&mut work, caller).await?;
    let review = drafts::counted(&mut work.tx, caller.tenant, &sheet).await?;
    review
        .may_approve(&actors)
        .map_err(|why| Problem::say(Code::Forbidden, departure::sentence(&why.to_string())))?;
    let due = sheet.schedule.due().filter(|due| timed && *due > service.clock.now());
    if let Some(at) = due {
        campaigns::change(&mut work.tx, caller.tenant, id, |state, _| state.schedule(at), None)
            .await
            .map_err(departure::refused)?;
    }
    said(work, id, Said { action: ReviewAction::Approved, actors: &actors, comment }).await
}

/// Whether there is anything to schedule; if so, everything that a launch needs has to be there.
async fn is_launchable(service: &Service, caller: &Caller, id: CampaignId) -> Result<bool, Problem> {
    let seen = service.store.campaign(caller.tenant, id).await?;
    let mut look = Work::read(service, caller).await?;
    let sheet = sheets::get(&mut look.tx, caller.tenant, id).await?;
    look.end();
    let timed = sheet.state == CampaignState::InReview && sheet.schedule != Schedule::Immediate;
    if timed {
        launch::pins(&service.store, &seen).await.map_err(departure::not_launched)?;
    }
    Ok(timed)
}

fn not_in_review(sheet: &Sheet) -> Problem {
    let status = fanfare_engine::domain::campaign_status::CampaignStatus::of(sheet.state);
    Problem::say(Code::Conflict, format!("It is {status}, not in review."))
}

/// Sends a campaign that is in review back to its authors, as a draft, and says why.
#[utoipa::path(post, path = "/api/campaigns/{campaign_id}/reject", tag = "campaigns", security(("bearer" = ["campaigns:approve"])),
    params(("campaign_id" = String, Path, description = "`camp_…`")),
    request_body = Comment, responses((status = 200, description = "The campaign", body = Envelope<CampaignView>)))]
async fn reject(
    State(service): State<Service>,
    may: May<needs::CampaignsApprove>,
    PathId(id): PathId<CampaignId>,
    Perhaps(comment): Perhaps<Comment>,
) -> Result<Tagged<Data<CampaignView>>, Problem> {
    let (caller, comment) = (&may.caller, comment.checked()?);
    departure::for_everybody(caller)?;
    let mut work = Work::begin(&service, caller).await?;
    let sheet = sheets::lock(&mut work.tx, caller.tenant, id).await?;
    if sheet.state != CampaignState::InReview {
        return Err(not_in_review(&sheet));
    }
    if comment.is_none() {
        return Err(Problem::field("comment", "is needed: its authors have to know why"));
    }
    campaigns::change(&mut work.tx, caller.tenant, id, |state, _| state.reject(), None)
        .await
        .map_err(departure::refused)?;
    let actors = actors(&mut work, caller).await?;
    said(work, id, Said { action: ReviewAction::Rejected, actors: &actors, comment }).await
}

#[derive(Debug, Serialize, ToSchema)]
struct ReviewEntry {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `submitted`, `approved` or `rejected`.
    #[schema(value_type = String)]
    action: ReviewAction,
    /// `user:usr_…` or `key:key_…`.
    actor: String,
    comment: Option<String>,
}

impl From<ReviewRow> for ReviewEntry {
    fn from(row: ReviewRow) -> Self {
        Self { at: row.at, action: row.action, actor: row.actor, comment: row.comment }
    }
}

/// What reviews are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ByMoment;

impl Sortable for ByMoment {
    const FIELDS: &'static [(&'static str, Self)] = &[("at", Self)];
    const USUAL: Order<Self> = (Self, Way::Down);
}

#[derive(Debug, Serialize, ToSchema)]
struct Reviews {
    reviews: Vec<ReviewEntry>,
    pagination: Pagination,
}

/// What was said of a campaign in review, of that the last hundred; the latest first if no `sort` is said.
#[utoipa::path(get, path = "/api/campaigns/{campaign_id}/reviews", tag = "campaigns", security(("bearer" = ["campaigns:read"])),
    params(("campaign_id" = String, Path, description = "`camp_…`"), Wanted<ByMoment>),
    responses((status = 200, description = "The reviews", body = Envelope<Reviews>)))]
async fn history(
    State(service): State<Service>,
    may: May<needs::CampaignsRead>,
    PathId(id): PathId<CampaignId>,
    Query(wanted): Query<Wanted<ByMoment>>,
) -> Result<Data<Reviews>, Problem> {
    let window = wanted.window::<Timestamp>()?;
    let mut work = Work::read(&service, &may.caller).await?;
    sheets::get(&mut work.tx, may.caller.tenant, id).await?;
    let all = drafts::reviews(&mut work.tx, may.caller.tenant, id).await?;
    let (rows, pagination) = window.of_all(all, wanted.sort.way(), |row: &ReviewRow| row.at);
    work.end();
    Ok(Data(Reviews { reviews: rows.into_iter().map(ReviewEntry::from).collect(), pagination }))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReviewRule {
    /// Above so many recipients somebody who did not write a campaign has to approve it; null: never.
    #[schema(minimum = 0, maximum = 2147483647)]
    review_above: Option<i32>,
}

/// When a campaign has to be approved.
#[utoipa::path(get, path = "/api/settings/campaigns", tag = "campaigns", security(("bearer" = ["campaigns:read"])),
    responses((status = 200, description = "The rule", body = Envelope<ReviewRule>)))]
async fn rule(
    State(service): State<Service>,
    may: May<needs::CampaignsRead>,
) -> Result<Tagged<Data<ReviewRule>>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    let review_above = settings::review_above(&mut work.tx, may.caller.tenant).await?;
    work.end();
    Ok(Tagged::whole(ReviewRule { review_above }))
}

/// Sets when a campaign has to be approved. What is scheduled already stays so.
#[utoipa::path(put, path = "/api/settings/campaigns", tag = "campaigns", security(("bearer" = ["settings:update"])),
    params(("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = ReviewRule, responses((status = 200, description = "The rule", body = Envelope<ReviewRule>)))]
async fn set_rule(
    State(service): State<Service>,
    may: May<needs::SettingsUpdate>,
    demand: IfMatch,
    Body(rule): Body<ReviewRule>,
) -> Result<Tagged<Data<ReviewRule>>, Problem> {
    if rule.review_above.is_some_and(|above| above < 0) {
        return Err(Problem::field("reviewAbove", "must be 0 or more, or null"));
    }
    let caller = &may.caller;
    let mut work = Work::begin(&service, caller).await?;
    settings::lock(&mut work.tx, caller.tenant).await?;
    let before = ReviewRule { review_above: settings::review_above(&mut work.tx, caller.tenant).await? };
    demand.check(Tag::of(&before))?;
    settings::set_review_above(&mut work.tx, caller.tenant, rule.review_above).await?;
    let detail = json!({"before": before.review_above, "after": rule.review_above});
    work.note("settings.change", "campaigns.review_above", detail).await?;
    work.commit().await?;
    Ok(Tagged::whole(rule))
}
