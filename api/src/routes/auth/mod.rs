//! How people prove who they are: sign-in, its second factor, passwords, sessions, their own profile.

mod password;
mod profile;
mod second_factor;
mod sessions;
mod sign_in;

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{header, request::Parts},
};
use fanfare_engine::{
    domain::environment::Environment,
    id::{ContactId, RoleId, SessionId, TenantId, UserId},
    store::{
        sessions::{self as store, NewSession},
        users::{RowScope, User, UserStatus},
    },
};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::PgConnection;
use std::net::{IpAddr, SocketAddr};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    auth::tokens::{self, Bearer, Kind},
    http::problem::Problem,
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .merge(sign_in::routes())
        .merge(second_factor::routes())
        .merge(password::routes())
        .merge(profile::routes())
        .merge(sessions::routes())
}

/// A user as others see them, and as they see themselves.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserView {
    #[schema(value_type = String)]
    id: UserId,
    email: String,
    first_name: String,
    last_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
    /// The role's slug.
    role: String,
    #[schema(value_type = String)]
    role_id: RoleId,
    permissions: Vec<String>,
    #[schema(value_type = String, example = "active")]
    status: UserStatus,
    /// Which rows they see: `all`, `branch` or `assigned`.
    row_scope: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    /// The person that they are, where they read that person's notifications.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    contact_id: Option<ContactId>,
    second_factor: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    signed_in_at: Option<Timestamp>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let (row_scope, branch) = match user.scope {
            RowScope::All => ("all", None),
            RowScope::Branch(branch) => ("branch", Some(branch)),
            RowScope::Assigned => ("assigned", None),
        };
        Self {
            id: user.id,
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
            phone: user.phone,
            role: user.role_slug,
            role_id: user.role,
            permissions: user.permissions.texts(),
            status: user.status,
            row_scope,
            branch,
            contact_id: user.contact,
            second_factor: user.second_factor,
            created_at: user.created_at,
            updated_at: user.updated_at,
            signed_in_at: user.signed_in_at,
        }
    }
}

/// What whoever has signed in gets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SignedInView {
    user: UserView,
    #[serde(flatten)]
    tokens: TokensView,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokensView {
    /// To be sent as `Authorization: Bearer …`.
    token: String,
    /// Good once, for the next pair.
    refresh_token: String,
    /// Seconds for which `token` is good.
    expires_in: u64,
}

/// From where somebody signs in, so that they can tell their sessions apart.
#[derive(Debug)]
struct Device {
    user_agent: String,
    peer: Option<IpAddr>,
}

impl<S: Send + Sync> FromRequestParts<S> for Device {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        Ok(Self { user_agent: agent.unwrap_or_default().chars().take(200).collect(), peer })
    }
}

/// Begins a session.
async fn begin(
    service: &Service,
    tx: &mut PgConnection,
    (tenant, user): (TenantId, UserId),
    environment: Environment,
    device: &Device,
) -> Result<TokensView, Problem> {
    let now = service.clock.now();
    let (refresh_token, refresh) = tokens::make(Kind::Refresh, &service.ids);
    let session: SessionId = service.ids.next(now);
    let new = NewSession {
        id: session,
        tenant,
        user,
        environment,
        user_agent: &device.user_agent,
        peer: device.peer,
        refresh,
        expires: now + service.auth.refresh_lifetime,
    };
    store::begin(tx, &new).await?;
    Ok(pair(service, Bearer { user, session, tenant, environment }, refresh_token))
}

fn pair(service: &Service, bearer: Bearer, refresh_token: String) -> TokensView {
    let access = &service.auth.access;
    let token = access.sign(bearer, service.clock.now());
    TokensView { token, refresh_token, expires_in: access.lifetime().as_secs() }
}
