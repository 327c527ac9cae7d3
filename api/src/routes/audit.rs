//! The audit log, to read. It is written by the routes, each in the transaction of its deed.

use axum::extract::State;
use fanfare_engine::{
    domain::permission::needs,
    store::{
        audit::{self, AuditFilter, AuditRow},
        listing::{Order, Way},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Work;
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        extract::Query,
        page::{Counted, Pagination, Start, Wanted},
        problem::Problem,
        sort::Sortable,
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(list))
}

/// What the log is sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct BySeq;

impl Sortable for BySeq {
    const FIELDS: &'static [(&'static str, Self)] = &[("seq", Self)];
    const USUAL: Order<Self> = (Self, Way::Down);
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
struct Which {
    /// `user:usr_…` or `key:key_…`.
    actor: Option<String>,
    /// `campaign.launch`, or `campaign.` for all that was done to campaigns.
    action: Option<String>,
    /// The id of what it was done to.
    subject: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeedView {
    seq: i64,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    actor: String,
    action: String,
    subject: String,
    /// An object, or a list of objects.
    #[schema(value_type = serde_json::Value)]
    detail: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// SHA-256 of this row and the hash before it, in hexadecimal.
    hash: String,
}

impl From<AuditRow> for DeedView {
    fn from(row: AuditRow) -> Self {
        Self {
            seq: row.seq,
            at: row.at,
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            detail: RawValue::from_string(row.detail).expect("the column is JSON"),
            request_id: row.request_id,
            hash: hex::encode(row.hash),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Deeds {
    deeds: Vec<DeedView>,
    pagination: Pagination,
}

/// What was done, by whom, to what; the newest first if no `sort` is said. `total` counts at most 100,000.
#[utoipa::path(get, path = "/api/audit-log", tag = "audit", security(("bearer" = ["audit:read"])), params(Wanted<BySeq>, Which),
    responses((status = 200, description = "The deeds", body = Envelope<Deeds>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::AuditRead>,
    Query(wanted): Query<Wanted<BySeq>>,
    Query(Which { actor, action, subject }): Query<Which>,
) -> Result<Data<Deeds>, Problem> {
    let window = wanted.window::<Counted<i64>>()?;
    let filter = AuditFilter {
        actor: actor.as_deref(),
        action: action.as_deref(),
        subject: subject.as_deref(),
        way: wanted.sort.way(),
        after: match window.start {
            Start::After(Counted { place, .. }) => Some(place),
            Start::Page(_) => None,
        },
        offset: window.offset(),
        limit: i64::from(window.limit) + 1,
    };
    service.store.chain_audit_log(may.caller.tenant).await?;
    let mut work = Work::read(&service, &may.caller).await?;
    let rows = audit::list(&mut work.tx, may.caller.tenant, &filter).await?;
    let limit = usize::try_from(window.limit).unwrap_or(usize::MAX);
    let total = match window.counted().or_else(|| window.total(rows.len(), rows.len() > limit)) {
        Some(total) => total,
        None => audit::count(&mut work.tx, may.caller.tenant, &filter).await?,
    };
    let (rows, next) = window.cut(rows, |row: &AuditRow| Counted { place: row.seq, total });
    let deeds = rows.into_iter().map(DeedView::from).collect();
    work.end();
    Ok(Data(Deeds { deeds, pagination: window.pagination(total, next) }))
}
