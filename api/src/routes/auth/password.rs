//! Passwords: the first one of somebody invited, a new one by a link, a change by the person themselves. A new password ends
//! all other sessions.

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    domain::environment::Environment,
    id::{TenantId, UserId},
    store::{
        StoreError, sessions,
        sign_in::{self, LinkPurpose},
        users,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Device, SignedInView, begin,
    sign_in::{heed_lock, note},
};
use crate::{
    auth::{
        caller::{Caller, SignedIn},
        passwords, tokens,
    },
    http::{
        envelope::{Data, Envelope},
        extract::{Body, PathId},
        headers::RequestId,
        problem::{Code, Problem},
    },
    routes::Work,
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(change)).routes(routes!(reset)).routes(routes!(accept))
}

/// That whoever holds the token is still the person whose it is; wrong attempts count as those of a sign-in.
pub(super) async fn prove(service: &Service, caller: &Caller, password: &str) -> Result<(), Problem> {
    let (user, _) = caller.user()?;
    let subject = tokens::hash(&format!("password:{user}"));
    heed_lock(service, &subject).await?;
    let mut work = Work::begin(service, caller).await?;
    let hash = sign_in::password_hash(&mut work.tx, user).await?;
    work.commit().await?;
    let right = service.auth.passwords.verify(password.to_owned(), hash).await;
    // As at a sign-in: others may have guessed meanwhile.
    heed_lock(service, &subject).await?;
    if right {
        service.store.forget_failures(&subject).await?;
        return Ok(());
    }
    service.store.note_failure(&subject).await?;
    Err(Problem::field("password", "is not your password"))
}

fn strong(field: &str, password: &str, about: &[&str]) -> Result<(), Problem> {
    passwords::check(password, about).map_err(|weak| Problem::field(field, weak.to_string()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PasswordChange {
    #[schema(value_type = String, max_length = 128, format = Password)]
    current_password: SecretString,
    #[schema(value_type = String, min_length = 10, max_length = 128, format = Password)]
    new_password: SecretString,
}

/// Changes one's own password, and ends one's other sessions.
#[utoipa::path(put, path = "/api/auth/change-password", tag = "auth", security(("bearer" = [])), request_body = PasswordChange,
    responses((status = 204, description = "It is changed")))]
async fn change(
    State(service): State<Service>,
    SignedIn(caller): SignedIn,
    Body(change): Body<PasswordChange>,
) -> Result<StatusCode, Problem> {
    let (id, session) = caller.user()?;
    prove(&service, &caller, change.current_password.expose_secret())
        .await
        .map_err(|problem| problem.about("password", "currentPassword"))?;
    let mut work = Work::begin(&service, &caller).await?;
    let user = users::get(&mut work.tx, caller.tenant, id).await?;
    let password = change.new_password.expose_secret();
    strong("newPassword", password, &[&user.email, &user.first_name, &user.last_name])?;
    let hash = service.auth.passwords.hash(password.to_owned()).await;
    sign_in::set_password(&mut work.tx, id, &hash).await?;
    sessions::revoke_others(&mut work.tx, id, Some(session), "the password was changed").await?;
    work.note("user.password", &id.to_string(), json!({"by": "themselves"})).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    #[schema(value_type = String, min_length = 10, max_length = 128, format = Password)]
    password: SecretString,
}

/// Sets a new password by a link that is good once, and ends all sessions.
#[utoipa::path(post, path = "/api/auth/reset-password/{token}", tag = "auth", params(("token" = String, Path, description = "Of the link")),
    request_body = NewPassword, responses((status = 204, description = "It is set: sign in")))]
async fn reset(
    State(service): State<Service>,
    PathId(token): PathId<String>,
    request: RequestId,
    Body(new): Body<NewPassword>,
) -> Result<StatusCode, Problem> {
    let mut tx = service.store.begin().await?;
    let taken = sign_in::take_link(&mut tx, LinkPurpose::PasswordReset, &tokens::hash(&token)).await?;
    let Some((tenant, id)) = taken else { return Err(Code::NotFound.into()) };
    set(&service, &mut tx, (tenant, id), new.password.expose_secret()).await?;
    sessions::revoke_others(&mut tx, id, None, "the password was reset").await?;
    note(&service, &mut tx, (tenant, id), "user.password", &request, json!({"by": "link"})).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Accepts an invitation: sets the first password, and signs in.
#[utoipa::path(post, path = "/api/auth/accept-invitation/{token}", tag = "auth", params(("token" = String, Path, description = "Of the link")),
    request_body = NewPassword, responses((status = 200, description = "The user and their tokens", body = Envelope<SignedInView>)))]
async fn accept(
    State(service): State<Service>,
    PathId(token): PathId<String>,
    request: RequestId,
    device: Device,
    Body(new): Body<NewPassword>,
) -> Result<Data<SignedInView>, Problem> {
    let mut tx = service.store.begin().await?;
    let taken = sign_in::take_link(&mut tx, LinkPurpose::Invitation, &tokens::hash(&token)).await?;
    let Some((tenant, id)) = taken else { return Err(Code::NotFound.into()) };
    set(&service, &mut tx, (tenant, id), new.password.expose_secret()).await?;
    let tokens = begin(&service, &mut tx, (tenant, id), Environment::Production, &device).await?;
    note(&service, &mut tx, (tenant, id), "user.accept", &request, json!({})).await?;
    let user = users::get(&mut tx, tenant, id).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(Data(SignedInView { user: user.into(), tokens }))
}

/// A weak password leaves the link good: nothing is committed.
async fn set(
    service: &Service,
    tx: &mut PgConnection,
    (tenant, id): (TenantId, UserId),
    password: &str,
) -> Result<(), Problem> {
    let user = users::get(tx, tenant, id).await?;
    strong("password", password, &[&user.email, &user.first_name, &user.last_name])?;
    let hash = service.auth.passwords.hash(password.to_owned()).await;
    Ok(sign_in::set_password(tx, id, &hash).await?)
}
