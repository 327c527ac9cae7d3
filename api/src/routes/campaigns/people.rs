//! Whom a campaign went to, one by one; and who was not sent, and why.

use axum::extract::State;
use fanfare_engine::{
    domain::permission::needs,
    id::{CampaignId, ContactId, MessageId},
    store::{
        members::{self, Member},
        messages::{self, Unsent},
        sheets,
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
        envelope::{Data, Envelope},
        extract::{PathId, Query},
        page::{Start, Wanted, Window},
        problem::Problem,
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
            state: member.state.to_owned(),
            reason: member.reason,
            because: member.because,
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

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Recipients {
    recipients: Vec<RecipientView>,
    /// Absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Everybody whom the campaign was to reach, by number, and what became of their message. By cursor.
#[utoipa::path(get, path = "/api/campaigns/{campaign_id}/recipients", tag = "campaigns",
    security(("bearer" = ["campaigns:read", "contacts:read"])),
    params(("campaign_id" = String, Path, description = "`camp_…`"), Wanted),
    responses((status = 200, description = "The recipients", body = Envelope<Recipients>)))]
async fn recipients(
    State(service): State<Service>,
    may: May<needs::CampaignsRead>,
    _: May<needs::ContactsRead>,
    PathId(id): PathId<CampaignId>,
    Query(wanted): Query<Wanted>,
) -> Result<Data<Recipients>, Problem> {
    let (window, caller) = (wanted.window::<i32>()?, &may.caller);
    caller.may_list_everybody()?;
    let mut work = Work::begin(&service, caller).await?;
    sheets::get(&mut work.tx, caller.tenant, id).await?;
    let rows =
        members::list(&mut work.tx, caller.tenant, id, after(&window), i64::from(window.limit) + 1).await?;
    let (rows, next) = window.cut(rows, |member: &Member| member.message.n);
    told(work, id, "recipients", rows, window.pagination(0, next).next_cursor).await
}

/// Who was not sent, and why. However large the campaign, only the exceptions are read. By cursor.
#[utoipa::path(get, path = "/api/campaigns/{campaign_id}/unsent", tag = "campaigns",
    security(("bearer" = ["campaigns:read", "contacts:read"])),
    params(("campaign_id" = String, Path, description = "`camp_…`"), Wanted),
    responses((status = 200, description = "Who was not sent", body = Envelope<Recipients>)))]
async fn unsent(
    State(service): State<Service>,
    may: May<needs::CampaignsRead>,
    _: May<needs::ContactsRead>,
    PathId(id): PathId<CampaignId>,
    Query(wanted): Query<Wanted>,
) -> Result<Data<Recipients>, Problem> {
    let (window, caller) = (wanted.window::<i32>()?, &may.caller);
    caller.may_list_everybody()?;
    if window.offset() > 0 {
        return Err(Problem::field("page", "is not known here: follow `nextCursor`"));
    }
    let mut work = Work::begin(&service, caller).await?;
    sheets::get(&mut work.tx, caller.tenant, id).await?;
    let rows = messages::unsent(&mut work.tx, caller.tenant, id, after(&window), i64::from(window.limit) + 1)
        .await?;
    let (rows, next) = window.cut(rows, |unsent: &Unsent| unsent.message.n);
    told(work, id, "unsent", rows, window.pagination(0, next).next_cursor).await
}

/// Recipients have numbers from 1 without gaps, so a page begins at a number.
fn after(window: &Window<i32>) -> i32 {
    match window.start {
        Start::After(n) => n,
        Start::Page(_) => i32::try_from(window.offset()).unwrap_or(i32::MAX),
    }
}

/// Addresses were read: that is noted.
async fn told<T: Into<RecipientView>>(
    work: Work<'_>,
    id: CampaignId,
    of: &str,
    rows: Vec<T>,
    next_cursor: Option<String>,
) -> Result<Data<Recipients>, Problem> {
    let detail = json!({"recipients": rows.len(), "of": of});
    work.seen("campaign.recipients_read", &id.to_string(), detail).await?;
    Ok(Data(Recipients { recipients: rows.into_iter().map(Into::into).collect(), next_cursor }))
}
