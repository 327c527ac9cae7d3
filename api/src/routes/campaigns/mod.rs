//! Campaigns: written, reviewed, launched, watched. Rules are the engine's (`domain::{campaign, campaign_status, review}`); what
//! stops something is acknowledged after the tenant's grace period, as everywhere.

mod analytics;
mod conversions;
mod departure;
mod input;
mod people;
mod preflight;
mod review;
mod status;
mod view;
mod wish;

use axum::{
    body::HttpBody as _,
    extract::{FromRequest, Request, State},
    http::StatusCode,
};
use fanfare_engine::{
    domain::{campaign::CampaignState, campaign_status::CampaignStatus, channel::Channel, permission::needs},
    id::CampaignId,
    store::{
        campaigns,
        drafts::{self, ReviewAction},
        listing::{Order, Way},
        settings,
        sheets::{self, By, Filter, Sheet},
    },
};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    input::{CampaignChange, Clockwork, NewCampaigns, Wrong},
    view::{CampaignShown, CampaignView},
    wish::Wish,
};
use super::Work;
use crate::{
    auth::caller::{Actor, Caller, May},
    http::{
        envelope::{Data, Envelope, Made},
        etag::{IfMatch, Tagged},
        extract::{Body, PathId, Query},
        page::{Pagination, Wanted},
        problem::{Code, Problem},
        sort::Sortable,
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, change, delete))
        .routes(routes!(copy))
        .merge(status::routes())
        .merge(review::routes())
        .merge(preflight::routes())
        .merge(people::routes())
        .merge(analytics::routes())
        .merge(conversions::routes())
}

/// A JSON body that may as well be left out.
#[derive(Debug)]
struct Perhaps<T>(T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for Perhaps<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if request.body().is_end_stream() {
            return Ok(Self(T::default()));
        }
        Body::from_request(request, state).await.map(|Body(body)| Self(body))
    }
}

/// The names of who asks: their own, and of a key also its maker's.
async fn actors(work: &mut Work<'_>, caller: &Caller) -> Result<Vec<String>, Problem> {
    let mut names = vec![caller.actor.name()];
    if let Actor::Key(key) = caller.actor
        && let Some(maker) = drafts::maker(&mut work.tx, caller.tenant, key).await?
    {
        names.push(format!("user:{}", fanfare_engine::id::UserId::from_uuid(maker)));
    }
    Ok(names)
}

fn clockwork(service: &Service, caller: &Caller) -> Clockwork {
    let zone = TimeZone::get(&caller.home.time_zone).unwrap_or(TimeZone::UTC);
    Clockwork { now: service.clock.now(), zone, tracks: service.links.exist() }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
struct Which {
    /// One or several of `draft`, `in_review`, `scheduled`, `active`, `paused`, `completed`, `stopped`, with commas.
    #[param(example = "active,paused,completed")]
    status: Option<String>,
    /// One or several of `email`, `sms`, `whatsapp`, `in_app`, with commas.
    #[serde(rename = "type")]
    #[param(example = "email,whatsapp,sms")]
    channels: Option<String>,
    /// Part of the name, whatever its case.
    name: Option<String>,
}

impl Which {
    fn filter(&self) -> Result<Filter, Problem> {
        let mut wrong = Wrong::default();
        let mut words =
            |field: &str, text: &Option<String>, known: &dyn Fn(&str) -> Result<Vec<String>, String>| {
                let text = text.as_deref()?;
                let mut found = Vec::new();
                for word in text.split(',').map(str::trim) {
                    match known(word) {
                        Ok(states) => found.extend(states),
                        Err(message) => wrong.note(field, message.chars().take(200).collect::<String>()),
                    }
                }
                Some(found)
            };
        let states = words("status", &self.status, &|word| {
            let status: CampaignStatus = word.parse()?;
            Ok(status.states().iter().map(|&state| state.to_owned()).collect())
        });
        let channels =
            words("type", &self.channels, &|word| Ok(vec![word.parse::<Channel>()?.as_str().to_owned()]));
        if let Some(name) = &self.name
            && let Err(message) = input::text(name, 255)
        {
            wrong.note("name", message);
        }
        wrong.end()?;
        Ok(Filter { states, channels, name: self.name.clone() })
    }
}

impl Sortable for By {
    const FIELDS: &'static [(&'static str, Self)] = &[("createdAt", Self::CreatedAt), ("name", Self::Name)];
    const USUAL: Order<Self> = (Self::CreatedAt, Way::Down);
}

#[derive(Debug, Serialize, ToSchema)]
struct Campaigns {
    campaigns: Vec<CampaignView>,
    pagination: Pagination,
}

/// The campaigns, newest first if no `sort` is said. `total` counts to 100,000.
#[utoipa::path(get, path = "/api/campaigns", tag = "campaigns", security(("bearer" = ["campaigns:read"])), params(Wanted<By>, Which),
    responses((status = 200, description = "The campaigns", body = Envelope<Campaigns>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::CampaignsRead>,
    Query(wanted): Query<Wanted<By>>,
    Query(which): Query<Which>,
) -> Result<Data<Campaigns>, Problem> {
    let filter = which.filter()?;
    let window = wanted.window()?;
    let mut work = Work::read(&service, &may.caller).await?;
    let sheets =
        sheets::list(&mut work.tx, may.caller.tenant, &filter, wanted.sort.0, &window.part()).await?;
    let limit = usize::try_from(window.limit).unwrap_or(usize::MAX);
    let total = match window.total(sheets.len(), sheets.len() > limit) {
        Some(total) => total,
        None => sheets::count(&mut work.tx, may.caller.tenant, &filter).await?,
    };
    let (sheets, next) = window.cut(sheets, Sheet::place);
    let campaigns = sheets.into_iter().map(CampaignView::from).collect();
    let pagination = window.pagination(total, next);
    work.end();
    Ok(Data(Campaigns { campaigns, pagination }))
}

#[derive(Debug, Serialize, ToSchema)]
struct NewlyMade {
    campaigns: Vec<CampaignView>,
}

/// Makes a campaign for each channel; of several, each bears its channel in its name. With a `scheduleType` it is on its way,
/// if you may launch and nobody else has to approve it: it is in review then. Without one, and for those who may not launch, it
/// is a draft.
#[utoipa::path(post, path = "/api/campaigns", tag = "campaigns", security(("bearer" = ["campaigns:create"])),
    request_body = NewCampaigns, responses((status = 201, description = "The campaigns", body = Envelope<NewlyMade>)))]
async fn create(
    State(service): State<Service>,
    may: May<needs::CampaignsCreate>,
    Body(new): Body<NewCampaigns>,
) -> Result<Made<NewlyMade>, Problem> {
    let caller = &may.caller;
    departure::for_everybody(caller)?;
    let wish = new.read(&clockwork(&service, caller))?;
    let mut look = Work::begin(&service, caller).await?;
    let facts = wish.facts(&mut look.tx, caller.tenant, None).await?;
    let above = settings::review_above(&mut look.tx, caller.tenant).await?;
    drop(look);
    let mut pins = Vec::new();
    for facts in &facts {
        let leaves = wish.leaves && departure::may_launch(caller);
        pins.push(if leaves {
            Some(departure::pins_of(&service, caller.tenant, facts).await?)
        } else {
            None
        });
    }
    let mut work = Work::begin(&service, caller).await?;
    // It may be gone since it was looked at.
    wish.hold(&mut work.tx, caller.tenant).await?;
    let authors = actors(&mut work, caller).await?;
    let mut ids = Vec::new();
    for (facts, pins) in facts.iter().zip(&pins) {
        let id: CampaignId = service.ids.next(service.clock.now());
        drafts::create(&mut work.tx, caller.tenant, id, facts, (&authors, caller.environment)).await?;
        if let Some(pins) = pins {
            let reviewed = above.is_some_and(|above| facts.target.most > i64::from(above));
            if reviewed {
                campaigns::change(&mut work.tx, caller.tenant, id, |state, _| state.submit(), None)
                    .await
                    .map_err(departure::refused)?;
                drafts::review(&mut work.tx, caller.tenant, id, ReviewAction::Submitted, &authors, None)
                    .await?;
            } else {
                departure::depart(&service, &mut work, id, facts.schedule, pins).await?;
            }
        }
        let detail = json!({"name": facts.name, "type": facts.template.channel, "recipients": facts.target.recipients});
        work.note("campaign.create", &id.to_string(), detail).await?;
        ids.push(id);
    }
    let made = sheets::some(&mut work.tx, caller.tenant, &ids).await?;
    work.commit().await?;
    Ok(Made(NewlyMade { campaigns: made.into_iter().map(CampaignView::from).collect() }))
}

/// One campaign, and how far it is. The ETag is of what people say of it and of its state, not of its progress.
#[utoipa::path(get, path = "/api/campaigns/{campaign_id}", tag = "campaigns", security(("bearer" = ["campaigns:read"])),
    params(("campaign_id" = String, Path, description = "`camp_…`")),
    responses((status = 200, description = "The campaign", body = Envelope<CampaignShown>)))]
async fn show(
    State(service): State<Service>,
    may: May<needs::CampaignsRead>,
    PathId(id): PathId<CampaignId>,
) -> Result<Tagged<Data<CampaignShown>>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    let sheet = sheets::get(&mut work.tx, may.caller.tenant, id).await?;
    let progress = campaigns::progress(&mut work.tx, may.caller.tenant, id).await?;
    work.end();
    Ok(Tagged::new(
        sheet.updated_at,
        Data(CampaignShown { campaign: sheet.into(), progress: progress.into() }),
    ))
}

/// Changes a draft. Whoever does is among its authors then.
#[utoipa::path(patch, path = "/api/campaigns/{campaign_id}", tag = "campaigns", security(("bearer" = ["campaigns:update"])),
    params(("campaign_id" = String, Path, description = "`camp_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = CampaignChange, responses((status = 200, description = "The campaign", body = Envelope<CampaignView>)))]
async fn change(
    State(service): State<Service>,
    may: May<needs::CampaignsUpdate>,
    PathId(id): PathId<CampaignId>,
    demand: IfMatch,
    Body(change): Body<CampaignChange>,
) -> Result<Tagged<Data<CampaignView>>, Problem> {
    let caller = &may.caller;
    departure::for_everybody(caller)?;
    let clock = clockwork(&service, caller);
    let mut work = Work::begin(&service, caller).await?;
    let sheet = sheets::lock(&mut work.tx, caller.tenant, id).await?;
    demand.check(sheet.updated_at)?;
    only_draft(&sheet)?;
    let wish = change.read(&sheet, &clock)?;
    let facts = wish.facts(&mut work.tx, caller.tenant, Some("template")).await?;
    let facts = facts.first().ok_or(Code::Broken)?;
    let authors = actors(&mut work, caller).await?;
    drafts::write(&mut work.tx, caller.tenant, id, facts, &authors).await?;
    let changed = sheets::get(&mut work.tx, caller.tenant, id).await?;
    let detail = json!({"before": {"name": sheet.name, "template": sheet.template, "recipients": sheet.target.recipients},
                        "after": {"name": changed.name, "template": changed.template, "recipients": changed.target.recipients}});
    work.note("campaign.change", &id.to_string(), detail).await?;
    work.commit().await?;
    Ok(Tagged::new(changed.updated_at, Data(changed.into())))
}

/// Deletes a draft.
#[utoipa::path(delete, path = "/api/campaigns/{campaign_id}", tag = "campaigns", security(("bearer" = ["campaigns:update"])),
    params(("campaign_id" = String, Path, description = "`camp_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 204, description = "It is gone"), (status = 409, description = "It is no draft any more", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
async fn delete(
    State(service): State<Service>,
    may: May<needs::CampaignsUpdate>,
    PathId(id): PathId<CampaignId>,
    demand: IfMatch,
) -> Result<StatusCode, Problem> {
    let caller = &may.caller;
    departure::for_everybody(caller)?;
    let mut work = Work::begin(&service, caller).await?;
    let sheet = sheets::lock(&mut work.tx, caller.tenant, id).await?;
    demand.check(sheet.updated_at)?;
    only_draft(&sheet)?;
    drafts::delete(&mut work.tx, caller.tenant, id).await?;
    work.note("campaign.delete", &id.to_string(), json!({"name": sheet.name})).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn only_draft(sheet: &Sheet) -> Result<(), Problem> {
    if sheet.state == CampaignState::Draft {
        return Ok(());
    }
    let status = CampaignStatus::of(sheet.state);
    Err(Problem::say(
        Code::Conflict,
        format!("It is {status}, and only a draft can be changed or deleted: copy it, or have it rejected."),
    ))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CopyInput {
    /// "… (copy)" if not said.
    #[schema(max_length = 255)]
    name: Option<String>,
}

/// Makes a draft like this campaign, whatever became of it, without its schedule.
#[utoipa::path(post, path = "/api/campaigns/{campaign_id}/clone", tag = "campaigns", security(("bearer" = ["campaigns:create"])),
    params(("campaign_id" = String, Path, description = "`camp_…`")),
    request_body = Option<CopyInput>, responses((status = 201, description = "The draft", body = Envelope<CampaignView>)))]
async fn copy(
    State(service): State<Service>,
    may: May<needs::CampaignsCreate>,
    PathId(id): PathId<CampaignId>,
    Perhaps(copy): Perhaps<CopyInput>,
) -> Result<Made<CampaignView>, Problem> {
    let caller = &may.caller;
    departure::for_everybody(caller)?;
    if let Some(name) = &copy.name {
        input::text(name, 255).map_err(|message| Problem::field("name", message))?;
    }
    let mut work = Work::begin(&service, caller).await?;
    let sheet = sheets::get(&mut work.tx, caller.tenant, id).await?;
    let name = copy.name.unwrap_or_else(|| {
        let kept: String = sheet.name.chars().take(248).collect();
        format!("{kept} (copy)")
    });
    let facts = Wish::like(&sheet, name).facts(&mut work.tx, caller.tenant, Some("template")).await?;
    let facts = facts.first().ok_or(Code::Broken)?;
    let authors = actors(&mut work, caller).await?;
    let draft: CampaignId = service.ids.next(service.clock.now());
    drafts::create(&mut work.tx, caller.tenant, draft, facts, (&authors, caller.environment)).await?;
    let made = sheets::get(&mut work.tx, caller.tenant, draft).await?;
    work.note("campaign.clone", &draft.to_string(), json!({"of": id, "name": made.name})).await?;
    work.commit().await?;
    Ok(Made(made.into()))
}
