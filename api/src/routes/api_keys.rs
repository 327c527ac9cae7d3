//! API keys: how programs prove who they are. A key is told once; what it may do is at most what its maker may.

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    domain::{
        environment::Environment,
        permission::{Permissions, needs},
    },
    id::{ApiKeyId, UserId},
    store::{
        api_keys::{self, ApiKeyRow, NewApiKey},
        drafts,
        listing::{Order, Way},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Work;
use crate::{
    auth::{
        caller::{Actor, May},
        tokens::{self, Kind},
    },
    http::{
        envelope::{Data, Envelope, Made},
        extract::{Body, PathId, Query},
        page::{Pagination, Wanted},
        problem::{Code, FieldError, Problem},
        sort::Sortable,
    },
    service::Service,
};

/// Characters of a key that are shown, so that a person can tell keys apart.
const SHOWN: usize = 10;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApiKeyView {
    #[schema(value_type = String)]
    id: ApiKeyId,
    name: String,
    /// How the key begins.
    prefix: String,
    scopes: Vec<String>,
    #[schema(value_type = String, example = "production")]
    environment: Environment,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// To the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    used_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl From<ApiKeyRow> for ApiKeyView {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            prefix: row.prefix,
            scopes: row.scopes.texts(),
            environment: row.environment,
            created_at: row.created_at,
            expires_at: row.expires_at,
            used_at: row.used_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// What keys are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    CreatedAt,
    Name,
}

impl Sortable for By {
    const FIELDS: &'static [(&'static str, Self)] = &[("createdAt", Self::CreatedAt), ("name", Self::Name)];
    const USUAL: Order<Self> = (Self::CreatedAt, Way::Down);
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApiKeys {
    api_keys: Vec<ApiKeyView>,
    pagination: Pagination,
}

/// The keys of the tenant, the newest first if no `sort` is said, also those that are good no more.
#[utoipa::path(get, path = "/api/keys", tag = "keys", security(("bearer" = ["keys:update"])),
    params(Wanted<By>), responses((status = 200, description = "The keys", body = Envelope<ApiKeys>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::KeysUpdate>,
    Query(wanted): Query<Wanted<By>>,
) -> Result<Data<ApiKeys>, Problem> {
    let window = wanted.window::<(Option<Timestamp>, String, ApiKeyId)>()?;
    let (by, way) = wanted.sort.0;
    let mut work = Work::read(&service, &may.caller).await?;
    let all = api_keys::list(&mut work.tx, may.caller.tenant).await?;
    let (rows, pagination) = window.of_all(all, way, |key: &ApiKeyRow| match by {
        By::CreatedAt => (Some(key.created_at), String::new(), key.id),
        By::Name => (None, key.name.clone(), key.id),
    });
    work.end();
    Ok(Data(ApiKeys { api_keys: rows.into_iter().map(ApiKeyView::from).collect(), pagination }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewKey {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Permissions: `thing:verb`, `thing:*` or `*`.
    scopes: Vec<String>,
    /// Where it works; `production` if not said.
    #[schema(value_type = Option<String>)]
    environment: Option<Environment>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MadeKey {
    #[schema(value_type = String)]
    id: ApiKeyId,
    /// The key. It is not told again.
    key: String,
}

/// Makes a key.
#[utoipa::path(post, path = "/api/keys", tag = "keys", security(("bearer" = ["keys:update"])), request_body = NewKey,
    responses((status = 201, description = "The key", body = Envelope<MadeKey>)))]
async fn create(
    State(service): State<Service>,
    may: May<needs::KeysUpdate>,
    Body(new): Body<NewKey>,
) -> Result<Made<MadeKey>, Problem> {
    let (caller, now) = (&may.caller, service.clock.now());
    let scopes = checked(&new, now)?;
    if !caller.permissions.includes(&scopes) {
        return Err(Problem::say(Code::Forbidden, "A key can't allow more than you may do yourself."));
    }
    caller.sees_everybody("You see only some of the contacts, and a key sees those of everybody.")?;
    let environment = new.environment.unwrap_or(Environment::Production);
    caller.works_in(
        environment,
        "Outside production you make keys for your own environment only: say `environment`.",
    )?;
    let (key, hash) = tokens::make(Kind::ApiKey, &service.ids);
    let mut work = Work::begin(&service, caller).await?;
    // What a key makes is its maker's, or nobody could tell whose work they approve.
    let created_by = match caller.actor {
        Actor::User { user, .. } => Some(user),
        Actor::Key(key) => drafts::maker(&mut work.tx, caller.tenant, key).await?.map(UserId::from_uuid),
    };
    let row = NewApiKey {
        id: service.ids.next(now),
        tenant: caller.tenant,
        name: &new.name,
        prefix: &key[..SHOWN],
        hash,
        scopes: &scopes,
        environment,
        created_by,
        expires: new.expires_at,
    };
    api_keys::create(&mut work.tx, &row).await?;
    work.note("key.create", &row.id.to_string(), json!({"name": new.name, "scopes": scopes.texts()})).await?;
    work.commit().await?;
    Ok(Made(MadeKey { id: row.id, key }))
}

fn checked(new: &NewKey, now: Timestamp) -> Result<Permissions, Problem> {
    let mut errors = Vec::new();
    let mut wrong =
        |field: &str, message: String| errors.push(FieldError { field: field.to_owned(), message });
    if !(1..=100).contains(&new.name.chars().count()) || new.name.contains('\0') {
        wrong("name", "must have 1 to 100 characters".to_owned());
    }
    if new.expires_at.is_some_and(|at| at <= now) {
        wrong("expiresAt", "is in the past".to_owned());
    }
    if new.scopes.is_empty() {
        wrong("scopes", "must name what the key may do".to_owned());
    }
    let scopes = Permissions::parse(&new.scopes).map_err(|unknown| wrong("scopes", unknown.to_string()));
    match scopes {
        Ok(scopes) if errors.is_empty() => Ok(scopes),
        _ => Err(Problem::fields(errors)),
    }
}

/// Revokes a key: from the next request on it proves nothing.
#[utoipa::path(delete, path = "/api/keys/{key_id}", tag = "keys", security(("bearer" = ["keys:update"])),
    params(("key_id" = String, Path, description = "`key_…`")),
    responses((status = 204, description = "It is revoked")))]
async fn revoke(
    State(service): State<Service>,
    may: May<needs::KeysUpdate>,
    PathId(id): PathId<ApiKeyId>,
) -> Result<StatusCode, Problem> {
    let mut work = Work::begin(&service, &may.caller).await?;
    api_keys::revoke(&mut work.tx, may.caller.tenant, id).await?;
    work.note("key.revoke", &id.to_string(), json!({})).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
