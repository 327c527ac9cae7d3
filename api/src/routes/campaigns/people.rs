//! Whom a campaign went to, one by one; and who was not sent, and why. Part by part, or all of them as CSV.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use fanfare_engine::{
    domain::permission::needs,
    id::{CampaignId, ContactId, MessageId, TenantId},
    spreadsheet,
    store::{
        Store, StoreResult,
        listing::{Order, Part, Way},
        members::{self, Member},
        messages::{self, Unsent},
        sheets::{self, Sheet},
    },
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Work;
use crate::{
    auth::caller::May,
    http::{
        attachment::{Form, ListFormat, csv},
        envelope::{Data, Envelope},
        extract::{PathId, Query},
        page::{Counted, Pagination, Start, Wanted, Window},
        problem::Problem,
        sort::Sortable,
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(recipients)).routes(routes!(unsent))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RecipientView {
    #[schema(value_type = String)]
    message_id: MessageId,
    n: i32,
    #[schema(value_type = Option<String>)]
    contact_id: Option<ContactId>,
    address: String,
    /// `excluded`, `waiting`, `accepted`, `sent`, `delivered`, `read`, `failed`, `suppressed`, `unknown` or `abandoned`.
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The reason as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    /// What the provider said, where it said something.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
}

impl From<Member> for RecipientView {
    fn from(member: Member) -> Self {
        Self {
            message_id: member.message,
            n: member.message.n,
            contact_id: member.contact,
            address: member.address,
            state: member.state.as_str().to_owned(),
            reason: member.reason.map(|reason| reason.as_str().to_owned()),
            because: member.reason.map(|reason| reason.sentence().to_owned()),
            detail: None,
            at: member.at,
        }
    }
}

impl From<Unsent> for RecipientView {
    fn from(unsent: Unsent) -> Self {
        Self {
            message_id: unsent.message,
            n: unsent.message.n,
            contact_id: unsent.contact,
            address: unsent.address,
            state: unsent.state,
            reason: Some(unsent.reason),
            because: Some(unsent.because),
            detail: unsent.detail,
            at: unsent.at,
        }
    }
}

/// What recipients are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ByNumber;

impl Sortable for ByNumber {
    const FIELDS: &'static [(&'static str, Self)] = &[("n", Self)];
    const USUAL: Order<Self> = (Self, Way::Up);
}

#[derive(Debug, Serialize, ToSchema)]
struct Recipients {
    recipients: Vec<RecipientView>,
    pagination: Pagination,
}

/// Everybody whom the campaign was to reach, by number, and what became of their message.
#[utoipa::path(get, path = "/api/campaigns/{campaign_id}/recipients", tag = "campaigns",
    security(("bearer" = ["campaigns:read", "contacts:read"])),
    params(("campaign_id" = String, Path, description = "`camp_…`"), Wanted<ByNumber>, Form),
    responses((status = 200, description = "The recipients", content((Envelope<Recipients> = "application/json"), (String = "text/csv")))))]
async fn recipients(
    State(service): State<Service>,
    may: May<needs::CampaignsRead>,
    _: May<needs::ContactsRead>,
    PathId(id): PathId<CampaignId>,
    Query(wanted): Query<Wanted<ByNumber>>,
    Query(Form { format }): Query<Form>,
) -> Result<Response, Problem> {
    let (window, caller) = (wanted.window::<i32>()?, &may.caller);
    caller.may_list_everybody()?;
    let mut work = Work::read(&service, caller).await?;
    let Sheet { frozen, name, .. } = sheets::get(&mut work.tx, caller.tenant, id).await?;
    if format == ListFormat::Csv {
        noted(work, id, "recipients", "all").await?;
        let (store, tenant) = (service.store.clone(), caller.tenant);
        let page = move |after| all_recipients(store.clone(), (tenant, id), after);
        return Ok(csv(&format!("{name} - recipients.csv"), spreadsheet::header(COLUMNS), page));
    }
    let after = (wanted.sort.way(), after(&window, wanted.sort.way(), frozen));
    let rows = members::list(&mut work.tx, caller.tenant, id, after, i64::from(window.limit) + 1).await?;
    let (rows, next) = window.cut(rows, |member: &Member| member.message.n);
    let pagination = window.pagination(frozen.unsigned_abs().into(), next);
    told(work, id, "recipients", rows, pagination).await
}

/// Who was not sent, and why. However large the campaign, only the exceptions are read. `total` counts to 10,000.
#[utoipa::path(get, path = "/api/campaigns/{campaign_id}/unsent", tag = "campaigns",
    security(("bearer" = ["campaigns:read", "contacts:read"])),
    params(("campaign_id" = String, Path, description = "`camp_…`"), Wanted<ByNumber>, Form),
    responses((status = 200, description = "Who was not sent", content((Envelope<Recipients> = "application/json"), (String = "text/csv")))))]
async fn unsent(
    State(service): State<Service>,
    may: May<needs::CampaignsRead>,
    _: May<needs::ContactsRead>,
    PathId(id): PathId<CampaignId>,
    Query(wanted): Query<Wanted<ByNumber>>,
    Query(Form { format }): Query<Form>,
) -> Result<Response, Problem> {
    let (window, caller) = (wanted.window::<Counted<i32>>()?, &may.caller);
    caller.may_list_everybody()?;
    let mut work = Work::read(&service, caller).await?;
    let name = sheets::get(&mut work.tx, caller.tenant, id).await?.name;
    if format == ListFormat::Csv {
        noted(work, id, "unsent", "all").await?;
        let (store, tenant) = (service.store.clone(), caller.tenant);
        let page = move |after| all_unsent(store.clone(), (tenant, id), after);
        return Ok(csv(&format!("{name} - not sent.csv"), spreadsheet::header(COLUMNS), page));
    }
    let way = wanted.sort.way();
    let rows = messages::unsent(&mut work.tx, caller.tenant, id, way, &window.places()).await?;
    let more = rows.len() > window.limit as usize;
    let total = match window.counted().or_else(|| window.total(rows.len(), more)) {
        Some(total) => total,
        None => messages::count_unsent(&mut work.tx, caller.tenant, id).await?,
    };
    let (rows, next) = window.cut(rows, |unsent: &Unsent| Counted { place: unsent.message.n, total });
    told(work, id, "unsent", rows, window.pagination(total, next)).await
}

/// Recipients have numbers from 1 without gaps, so a page begins at a number.
fn after(window: &Window<i32>, way: Way, frozen: i32) -> i32 {
    let passed = i32::try_from(window.offset()).unwrap_or(i32::MAX);
    match (&window.start, way) {
        (Start::After(n), _) => *n,
        (Start::Page(_), Way::Up) => passed,
        (Start::Page(_), Way::Down) => frozen.saturating_add(1).saturating_sub(passed),
    }
}

async fn told<T: Into<RecipientView>>(
    work: Work<'_>,
    id: CampaignId,
    of: &str,
    rows: Vec<T>,
    pagination: Pagination,
) -> Result<Response, Problem> {
    noted(work, id, of, rows.len()).await?;
    let recipients = rows.into_iter().map(Into::into).collect();
    Ok(Data(Recipients { recipients, pagination }).into_response())
}

/// Addresses are read: that is noted.
pub(super) async fn noted(
    work: Work<'_>,
    id: CampaignId,
    of: &str,
    recipients: impl Serialize,
) -> Result<(), Problem> {
    let detail = json!({"recipients": recipients, "of": of});
    work.seen("campaign.recipients_read", &id.to_string(), detail).await
}

const COLUMNS: [&str; 9] =
    ["n", "message", "contact", "address", "state", "reason", "because", "detail", "at"];
/// Lines that are read together.
pub(super) const LINES: i64 = 1_000;

type Lines<K> = Option<(Vec<u8>, K)>;

/// The recipients after this number.
async fn all_recipients(
    store: Store,
    (tenant, id): (TenantId, CampaignId),
    after: Option<i32>,
) -> StoreResult<Lines<i32>> {
    let mut tx = store.reading(tenant).await?;
    let rows = members::list(&mut tx, tenant, id, (Way::Up, after.unwrap_or_default()), LINES).await?;
    tx.end();
    Ok(lines(rows))
}

/// Those after this number who were not sent.
async fn all_unsent(
    store: Store,
    (tenant, id): (TenantId, CampaignId),
    after: Option<i32>,
) -> StoreResult<Lines<i32>> {
    let mut tx = store.reading(tenant).await?;
    let part = Part { after, offset: 0, limit: LINES };
    let rows = messages::unsent(&mut tx, tenant, id, Way::Up, &part).await?;
    tx.end();
    Ok(lines(rows))
}

fn lines<T: Into<RecipientView>>(rows: Vec<T>) -> Lines<i32> {
    let views: Vec<RecipientView> = rows.into_iter().map(Into::into).collect();
    let last = views.last()?.n;
    let line = |view: RecipientView| {
        let RecipientView { message_id, n, contact_id, address, state, reason, because, detail, at } = view;
        let [contact, at] = [contact_id.map(|id| id.to_string()), at.map(|at| at.to_string())];
        let [contact, reason, because, detail, at] =
            [contact, reason, because, detail, at].map(Option::unwrap_or_default);
        [n.to_string(), message_id.to_string(), contact, address, state, reason, because, detail, at]
    };
    Some((spreadsheet::lines(views.into_iter().map(line)), last))
}
