//! Roles: sets of permissions that users have. Nobody makes a role that allows more than they may do themselves.

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    domain::permission::{Permission, Permissions, needs},
    id::RoleId,
    store::{
        StoreError,
        listing::{Order, Way},
        roles::{self, OWNER, Role, RoleFacts},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Work;
use crate::{
    auth::caller::{Caller, May},
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
        .routes(routes!(permissions))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RoleView {
    #[schema(value_type = String, example = "role_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    id: RoleId,
    slug: String,
    name: String,
    description: String,
    permissions: Vec<String>,
    /// RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    updated_at: jiff::Timestamp,
}

impl From<Role> for RoleView {
    fn from(role: Role) -> Self {
        Self {
            id: role.id,
            slug: role.slug,
            name: role.name,
            description: role.description,
            permissions: role.permissions.texts(),
            updated_at: role.updated_at,
        }
    }
}

/// What roles are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    Slug,
    Name,
}

impl Sortable for By {
    const FIELDS: &'static [(&'static str, Self)] = &[("slug", Self::Slug), ("name", Self::Name)];
    const USUAL: Order<Self> = (Self::Slug, Way::Up);
}

#[derive(Debug, Serialize, ToSchema)]
struct Roles {
    roles: Vec<RoleView>,
    pagination: Pagination,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRole {
    /// Lower case, digits and underscores; stays.
    #[schema(pattern = "^[a-z][a-z0-9_]{0,62}$")]
    slug: String,
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 500)]
    description: String,
    /// `thing:verb`, `thing:*` or `*`.
    permissions: Vec<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RoleChange {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 500)]
    description: String,
    permissions: Vec<String>,
}

/// The roles of the tenant, by slug if no `sort` is said.
#[utoipa::path(get, path = "/api/roles", tag = "roles", security(("bearer" = ["users:read"])),
    params(Wanted<By>), responses((status = 200, description = "The roles", body = Envelope<Roles>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::UsersRead>,
    Query(wanted): Query<Wanted<By>>,
) -> Result<Data<Roles>, Problem> {
    let window = wanted.window::<(String, String)>()?;
    let (by, way) = wanted.sort.0;
    let mut work = Work::read(&service, &may.caller).await?;
    let all = roles::list(&mut work.tx, may.caller.tenant).await?;
    let (rows, pagination) = window.of_all(all, way, |role: &Role| match by {
        By::Slug => (String::new(), role.slug.clone()),
        By::Name => (role.name.clone(), role.slug.clone()),
    });
    work.end();
    Ok(Data(Roles { roles: rows.into_iter().map(RoleView::from).collect(), pagination }))
}

/// Makes a role.
#[utoipa::path(post, path = "/api/roles", tag = "roles", security(("bearer" = ["roles:update"])),
    request_body = NewRole, responses((status = 201, description = "The role", body = Envelope<RoleView>)))]
async fn create(
    State(service): State<Service>,
    may: May<needs::RolesUpdate>,
    Body(new): Body<NewRole>,
) -> Result<Made<RoleView>, Problem> {
    let (caller, id) = (&may.caller, service.ids.next(service.clock.now()));
    let permissions = permitted(caller, &new.permissions)?;
    named(&new.name, &new.description)?;
    if !is_slug(&new.slug) {
        return Err(Problem::field(
            "slug",
            "must begin with a letter a-z and go on with a-z, 0-9 and _, 63 at most",
        ));
    }
    let facts = RoleFacts {
        slug: &new.slug,
        name: &new.name,
        description: &new.description,
        permissions: &permissions,
    };
    let mut work = Work::begin(&service, caller).await?;
    roles::create(&mut work.tx, caller.tenant, id, &facts).await?;
    let role = roles::get(&mut work.tx, caller.tenant, id).await?;
    work.note("role.create", &id.to_string(), json!({"slug": new.slug, "permissions": permissions.texts()}))
        .await?;
    work.commit().await?;
    Ok(Made(role.into()))
}

/// One role.
#[utoipa::path(get, path = "/api/roles/{role_id}", tag = "roles", security(("bearer" = ["users:read"])),
    params(("role_id" = String, Path, description = "`role_…`")),
    responses((status = 200, description = "The role", body = Envelope<RoleView>)))]
async fn show(
    State(service): State<Service>,
    may: May<needs::UsersRead>,
    PathId(id): PathId<RoleId>,
) -> Result<Tagged<Data<RoleView>>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    let role = roles::get(&mut work.tx, may.caller.tenant, id).await?;
    work.end();
    Ok(Tagged::new(role.updated_at, Data(role.into())))
}

/// Changes a role. What it no longer allows, its users may not do from their next request on.
#[utoipa::path(put, path = "/api/roles/{role_id}", tag = "roles", security(("bearer" = ["roles:update"])),
    params(("role_id" = String, Path, description = "`role_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = RoleChange, responses((status = 200, description = "The role", body = Envelope<RoleView>)))]
async fn change(
    State(service): State<Service>,
    may: May<needs::RolesUpdate>,
    PathId(id): PathId<RoleId>,
    demand: IfMatch,
    Body(change): Body<RoleChange>,
) -> Result<Tagged<Data<RoleView>>, Problem> {
    let caller = &may.caller;
    let permissions = permitted(caller, &change.permissions)?;
    named(&change.name, &change.description)?;
    let mut work = Work::begin(&service, caller).await?;
    let role = roles::lock(&mut work.tx, caller.tenant, id).await?;
    demand.check(role.updated_at)?;
    within_reach(caller, &role)?;
    let facts = RoleFacts {
        slug: &role.slug,
        name: &change.name,
        description: &change.description,
        permissions: &permissions,
    };
    roles::change(&mut work.tx, caller.tenant, id, &facts).await?;
    let changed = roles::get(&mut work.tx, caller.tenant, id).await?;
    let detail = json!({"before": role.permissions.texts(), "after": permissions.texts()});
    work.note("role.change", &id.to_string(), detail).await?;
    work.commit().await?;
    Ok(Tagged::new(changed.updated_at, Data(changed.into())))
}

/// Deletes a role that nobody has.
#[utoipa::path(delete, path = "/api/roles/{role_id}", tag = "roles", security(("bearer" = ["roles:update"])),
    params(("role_id" = String, Path, description = "`role_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 204, description = "It is gone"), (status = 409, description = "Somebody has it", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
async fn delete(
    State(service): State<Service>,
    may: May<needs::RolesUpdate>,
    PathId(id): PathId<RoleId>,
    demand: IfMatch,
) -> Result<StatusCode, Problem> {
    let caller = &may.caller;
    let mut work = Work::begin(&service, caller).await?;
    let role = roles::lock(&mut work.tx, caller.tenant, id).await?;
    demand.check(role.updated_at)?;
    within_reach(caller, &role)?;
    roles::delete(&mut work.tx, caller.tenant, id).await?;
    work.note("role.delete", &id.to_string(), json!({"slug": role.slug})).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize, ToSchema)]
struct KnownPermissions {
    permissions: Vec<&'static str>,
}

/// Every permission that there is.
#[utoipa::path(get, path = "/api/permissions", tag = "roles", security(("bearer" = ["users:read"])),
    responses((status = 200, description = "The permissions", body = Envelope<KnownPermissions>)))]
async fn permissions(_: May<needs::UsersRead>) -> Data<KnownPermissions> {
    Data(KnownPermissions {
        permissions: Permission::ALL.iter().map(|permission| permission.as_str()).collect(),
    })
}

/// The role that a body names.
pub(super) async fn by_slug(work: &mut Work<'_>, slug: &str) -> Result<Role, Problem> {
    match roles::by_slug(&mut work.tx, work.caller.tenant, slug).await {
        Err(StoreError::NotFound { .. }) => {
            Err(Problem::field("role", "is no role: `GET /api/roles` lists them"))
        }
        found => Ok(found?),
    }
}

fn permitted(caller: &Caller, texts: &[String]) -> Result<Permissions, Problem> {
    let permissions =
        Permissions::parse(texts).map_err(|unknown| Problem::field("permissions", unknown.to_string()))?;
    if caller.permissions.includes(&permissions) {
        Ok(permissions)
    } else {
        Err(Problem::say(Code::Forbidden, "A role can't allow more than you may do yourself."))
    }
}

/// Whoever may change roles may still not touch one that allows more than they may do, nor the owner's.
fn within_reach(caller: &Caller, role: &Role) -> Result<(), Problem> {
    if role.slug == OWNER {
        return Err(Problem::say(
            Code::Conflict,
            "The owner's role stays as it is: somebody must be able to do everything.",
        ));
    }
    if caller.permissions.includes(&role.permissions) {
        Ok(())
    } else {
        Err(Problem::say(Code::Forbidden, "This role allows more than you may do yourself."))
    }
}

fn named(name: &str, description: &str) -> Result<(), Problem> {
    if !(1..=100).contains(&name.chars().count()) || name.contains('\0') {
        return Err(Problem::field("name", "must have 1 to 100 characters, and no NUL"));
    }
    if description.chars().count() > 500 || description.contains('\0') {
        return Err(Problem::field("description", "must have at most 500 characters, and no NUL"));
    }
    Ok(())
}

fn is_slug(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
