//! One's own sessions: one for each sign-in on a device.

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    id::SessionId,
    store::{
        listing::{Order, Way},
        sessions::{self as store, SessionRow},
    },
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::caller::SignedIn,
    http::{
        envelope::{Data, Envelope},
        extract::{PathId, Query},
        page::{Pagination, Wanted},
        problem::Problem,
        sort::Sortable,
    },
    routes::Work,
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(list, end_others)).routes(routes!(end))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    #[schema(value_type = String)]
    id: SessionId,
    /// Whether it is the one that asks.
    current: bool,
    user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    refreshed_at: Timestamp,
}

/// What sessions are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    RefreshedAt,
    CreatedAt,
}

impl Sortable for By {
    const FIELDS: &'static [(&'static str, Self)] =
        &[("refreshedAt", Self::RefreshedAt), ("createdAt", Self::CreatedAt)];
    const USUAL: Order<Self> = (Self::RefreshedAt, Way::Down);
}

#[derive(Debug, Serialize, ToSchema)]
struct Sessions {
    sessions: Vec<SessionView>,
    pagination: Pagination,
}

/// Where one is signed in; what was used last first if no `sort` is said.
#[utoipa::path(get, path = "/api/auth/sessions", tag = "auth", security(("bearer" = [])),
    params(Wanted<By>), responses((status = 200, description = "The sessions", body = Envelope<Sessions>)))]
async fn list(
    State(service): State<Service>,
    SignedIn(caller): SignedIn,
    Query(wanted): Query<Wanted<By>>,
) -> Result<Data<Sessions>, Problem> {
    let window = wanted.window::<(Timestamp, SessionId)>()?;
    let (by, way) = wanted.sort.0;
    let (user, current) = caller.user()?;
    let mut work = Work::read(&service, &caller).await?;
    let all = store::list(&mut work.tx, caller.tenant, user).await?;
    let (rows, pagination) = window.of_all(all, way, |row: &SessionRow| match by {
        By::RefreshedAt => (row.refreshed_at, row.id),
        By::CreatedAt => (row.created_at, row.id),
    });
    let view = |row: SessionRow| SessionView {
        id: row.id,
        current: row.id == current,
        user_agent: row.user_agent,
        ip_address: row.peer,
        created_at: row.created_at,
        refreshed_at: row.refreshed_at,
    };
    work.end();
    Ok(Data(Sessions { sessions: rows.into_iter().map(view).collect(), pagination }))
}

/// Ends a session.
#[utoipa::path(delete, path = "/api/auth/sessions/{session_id}", tag = "auth", security(("bearer" = [])),
    params(("session_id" = String, Path, description = "`sess_…`")),
    responses((status = 204, description = "It is over")))]
async fn end(
    State(service): State<Service>,
    SignedIn(caller): SignedIn,
    PathId(session): PathId<SessionId>,
) -> Result<StatusCode, Problem> {
    let (user, _) = caller.user()?;
    let mut work = Work::begin(&service, &caller).await?;
    store::revoke(&mut work.tx, user, session, "ended by its user").await?;
    work.note("session.end", &session.to_string(), json!({"because": "ended by its user"})).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all sessions but the one that asks.
#[utoipa::path(delete, path = "/api/auth/sessions", tag = "auth", security(("bearer" = [])),
    responses((status = 204, description = "They are over")))]
async fn end_others(
    State(service): State<Service>,
    SignedIn(caller): SignedIn,
) -> Result<StatusCode, Problem> {
    let (user, current) = caller.user()?;
    let mut work = Work::begin(&service, &caller).await?;
    let ended = store::revoke_others(&mut work.tx, user, Some(current), "ended by its user").await?;
    work.note("session.end", &user.to_string(), json!({"others": ended})).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
