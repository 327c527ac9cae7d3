//! The pre-flight: what a launch would do for every recipient, sending nothing; and the recipients behind its numbers.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use fanfare_engine::{
    domain::permission::needs,
    id::{CampaignId, ContactId, TenantId},
    launch::check::{self, CheckReport},
    spreadsheet,
    store::{
        Store, StoreResult,
        listing::{Order, Part, Way},
        preflights::{self, Preflight, ProblemRow},
        sheets,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Work, departure, input, people};
use crate::{
    auth::caller::May,
    http::{
        attachment::{ListFormat, csv},
        envelope::{Data, Envelope},
        extract::{PathId, Query},
        page::{Counted, Pagination, Wanted},
        problem::{Code, Problem},
        sort::Sortable,
    },
    routes::cost::Cost,
    service::Service,
};

/// A pre-flight is shown for so long, unless the campaign is changed.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// Recipients that are kept behind the numbers: beyond it only the numbers are.
const KEPT: usize = 100_000;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(recipients))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct How {
    /// Looks again at everybody; otherwise the pre-flight of the last ten minutes is shown if the campaign has not changed.
    #[serde(default)]
    fresh: bool,
}

/// What a launch would come to. Every recipient is in exactly one of `sendable` and `notSent`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Report {
    recipients: i64,
    sendable: i64,
    /// By reason, as `GET …/preflight/recipients?reason=` takes it.
    not_sent: BTreeMap<String, i64>,
    /// Values that the template needs and recipients lack, by name.
    missing_variables: BTreeMap<String, i64>,
    /// SMS only: parts that will be billed.
    segments: i64,
    /// From the first message to the last, at the quota and tier of the first account of the route, at the campaign's throttle
    /// and within its sending hours; null where there is none of them.
    forecast_seconds: Option<u64>,
    /// At today's prices of that account: an amount for each currency.
    forecast_costs: Vec<Cost>,
    /// Messages, or segments of SMS, for which that account has no price.
    unpriced: i64,
}

impl From<CheckReport> for Report {
    fn from(report: CheckReport) -> Self {
        let CheckReport { recipients, sendable, not_sent, missing_variables, segments, .. } = report;
        Self {
            recipients,
            sendable,
            not_sent,
            missing_variables,
            segments,
            forecast_seconds: report.forecast_seconds,
            unpriced: report.forecast_cost.unpriced,
            forecast_costs: Cost::each(report.forecast_cost),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PreflightView {
    #[schema(value_type = String)]
    campaign_id: CampaignId,
    #[schema(value_type = String, format = DateTime)]
    checked_at: Timestamp,
    #[serde(flatten)]
    report: Report,
}

impl PreflightView {
    /// `None` of one that another version of this program has kept in its own way.
    fn of(id: CampaignId, kept: Preflight) -> Option<Self> {
        let report: CheckReport = serde_json::from_value(kept.report).ok()?;
        Some(Self { campaign_id: id, checked_at: kept.at, report: report.into() })
    }
}

/// Looks at everybody whom a launch would reach, renders their message, and sends nothing. A million take half a minute.
#[utoipa::path(get, path = "/api/campaigns/{campaign_id}/preflight", tag = "campaigns", security(("bearer" = ["campaigns:read"])),
    params(("campaign_id" = String, Path, description = "`camp_…`"), How),
    responses((status = 200, description = "What it would come to", body = Envelope<PreflightView>),
              (status = 409, description = "It was launched, or can't be: it says why", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
async fn show(
    State(service): State<Service>,
    may: May<needs::CampaignsRead>,
    PathId(id): PathId<CampaignId>,
    Query(how): Query<How>,
) -> Result<Data<PreflightView>, Problem> {
    let caller = &may.caller;
    let mut look = Work::begin(&service, caller).await?;
    let sheet = sheets::get(&mut look.tx, caller.tenant, id).await?;
    let kept = preflights::get(&mut look.tx, caller.tenant, id).await?;
    drop(look);
    let fresh = |kept: &Preflight| {
        kept.campaign_updated_at == sheet.updated_at && service.clock.now().duration_since(kept.at) < FRESH
    };
    let kept = kept.filter(|kept| !how.fresh && fresh(kept));
    if let Some(view) = kept.and_then(|kept| PreflightView::of(id, kept)) {
        return Ok(Data(view));
    }
    let _turn = service.heavy_turn().await?;
    let mut problems = Vec::new();
    let note = |problem: check::Problem| {
        if problems.len() < KEPT {
            problems.push(row(problem));
        }
    };
    let report = check::check(&service.store, &service.links, caller.tenant, id, note)
        .await
        .map_err(departure::not_launched)?;
    let report = serde_json::to_value(&report).expect("a report is JSON");
    let mut work = Work::begin(&service, caller).await?;
    sheets::hold(&mut work.tx, caller.tenant, id).await?;
    preflights::keep(&mut work.tx, id, sheet.updated_at, &report, &problems).await?;
    let kept = preflights::get(&mut work.tx, caller.tenant, id).await?.ok_or(Code::Broken)?;
    work.note("campaign.preflight", &id.to_string(), json!({"report": report})).await?;
    work.commit().await?;
    Ok(Data(PreflightView::of(id, kept).ok_or(Code::Broken)?))
}

fn row(problem: check::Problem) -> ProblemRow {
    let check::Problem { n, contact, address, reason, detail } = problem;
    ProblemRow { n, contact, address, reason, detail }
}

/// What they are sorted by: reason and number.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ByReason;

impl Sortable for ByReason {
    const FIELDS: &'static [(&'static str, Self)] = &[("reason", Self)];
    const USUAL: Order<Self> = (Self, Way::Up);
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Behind {
    /// `json`, page by page, or `csv`, all of it.
    #[serde(default)]
    #[param(inline)]
    format: ListFormat,
    /// One of the reasons of `notSent`.
    reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NotReached {
    /// The number that the recipient would have.
    n: i32,
    #[schema(value_type = Option<String>)]
    contact_id: Option<ContactId>,
    address: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct NotReachedList {
    recipients: Vec<NotReached>,
    pagination: Pagination,
}

/// Who is behind a number of the latest pre-flight: reason by reason, or of one reason. The first 100,000 are kept.
#[utoipa::path(get, path = "/api/campaigns/{campaign_id}/preflight/recipients", tag = "campaigns",
    security(("bearer" = ["campaigns:read", "contacts:read"])),
    params(("campaign_id" = String, Path, description = "`camp_…`"), Wanted<ByReason>, Behind),
    responses((status = 200, description = "Recipients", content((Envelope<NotReachedList> = "application/json"), (String = "text/csv")))))]
async fn recipients(
    State(service): State<Service>,
    may: May<needs::CampaignsRead>,
    _: May<needs::ContactsRead>,
    PathId(id): PathId<CampaignId>,
    Query(wanted): Query<Wanted<ByReason>>,
    Query(Behind { format, reason }): Query<Behind>,
) -> Result<Response, Problem> {
    let caller = &may.caller;
    caller.may_list_everybody()?;
    if let Some(reason) = &reason {
        input::text(reason, 64).map_err(|message| Problem::field("reason", message))?;
    }
    let window = wanted.window::<Counted<(String, i32)>>()?;
    let tenant = caller.tenant;
    let mut work = Work::begin(&service, caller).await?;
    let name = sheets::get(&mut work.tx, tenant, id).await?.name;
    if format == ListFormat::Csv {
        people::noted(work, id, "preflight", "all").await?;
        let store = service.store.clone();
        let page = move |after| all(store.clone(), (tenant, id), reason.clone(), after);
        let header = spreadsheet::header(["n", "contact", "address", "reason", "detail"]);
        return Ok(csv(&format!("{name} - pre-flight.csv"), header, page));
    }
    let reason = reason.as_deref();
    let total = match window.counted() {
        Some(total) => total,
        None => preflights::count(&mut work.tx, tenant, id, reason).await?,
    };
    let part = window.places();
    let rows = preflights::problems(&mut work.tx, tenant, id, reason, wanted.sort.way(), &part).await?;
    let (rows, next) =
        window.cut(rows, |row: &ProblemRow| Counted { place: (row.reason.clone(), row.n), total });
    people::noted(work, id, "preflight", rows.len()).await?;
    let recipients = rows.into_iter().map(|row| {
        let ProblemRow { n, contact, address, reason, detail } = row;
        NotReached { n, contact_id: contact, address, reason, detail }
    });
    let pagination = window.pagination(total, next);
    Ok(Data(NotReachedList { recipients: recipients.collect(), pagination }).into_response())
}

/// Those after this reason and number.
async fn all(
    store: Store,
    (tenant, id): (TenantId, CampaignId),
    reason: Option<String>,
    after: Option<(String, i32)>,
) -> StoreResult<Option<(Vec<u8>, (String, i32))>> {
    let mut tx = store.within(tenant).await?;
    let part = Part { after, offset: 0, limit: people::LINES };
    let rows = preflights::problems(&mut tx, tenant, id, reason.as_deref(), Way::Up, &part).await?;
    tx.commit().await?;
    let last = rows.last().map(|row| (row.reason.clone(), row.n));
    let line = |row: ProblemRow| {
        let contact = row.contact.map(|id| id.to_string()).unwrap_or_default();
        [row.n.to_string(), contact, row.address, row.reason, row.detail.unwrap_or_default()]
    };
    Ok(last.map(|last| (spreadsheet::lines(rows.into_iter().map(line)), last)))
}
