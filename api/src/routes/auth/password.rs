//! Passwords: the first one of somebody invited, a new one by a link, a change by the person themselves. A new password ends
//! all other sessions.
//!
//! Whoever forgot theirs is answered before anybody looks whether they exist, so that neither the answer nor its time tells.
//! If this process dies in between there is no mail, and they ask again.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    domain::{address::EmailAddress, environment::Environment},
    store::{
        StoreError,
        audit::{self, Deed},
        sessions::{self, TokenHash},
        sign_in::{self, LinkPurpose},
        users::{self, User, UserStatus},
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Device, SignedInView, begin,
    sign_in::{heed_lock, note},
};
use crate::{
    auth::{
        caller::{Caller, SignedIn},
        mail, passwords,
        tokens::{self, Kind},
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

/// How long a link is good that was mailed to whoever asked.
const MAILED_LIFETIME: Duration = Duration::from_hours(1);

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(change))
        .routes(routes!(forgot))
        .routes(routes!(reset))
        .routes(routes!(accept))
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

/// The hash of a password that is good enough. It takes a processor for a while: no transaction is to wait for it.
async fn strong(service: &Service, field: &str, password: &str, user: &User) -> Result<String, Problem> {
    passwords::check(password, &[&user.email, &user.first_name, &user.last_name])
        .map_err(|weak| Problem::field(field, weak.to_string()))?;
    Ok(service.auth.passwords.hash(password.to_owned()).await)
}

/// The same for whoever holds a link; it stays good where the password is too weak.
async fn strong_of_link(
    service: &Service,
    (purpose, token): (LinkPurpose, &TokenHash),
    password: &str,
) -> Result<String, Problem> {
    let mut tx = service.store.begin().await?;
    let holder = sign_in::whose_link(&mut tx, purpose, token).await?;
    let (tenant, id) = holder.ok_or(Code::NotFound)?;
    let user = users::get(&mut tx, tenant, id).await?;
    drop(tx);
    strong(service, "password", password, &user).await
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
    let mut look = Work::read(&service, &caller).await?;
    let user = users::get(&mut look.tx, caller.tenant, id).await?;
    look.end();
    let hash = strong(&service, "newPassword", change.new_password.expose_secret(), &user).await?;
    let mut work = Work::begin(&service, &caller).await?;
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Forgotten {
    #[schema(max_length = 254)]
    email: String,
}

/// Mails a link for a new password to whoever has this address, if somebody has. The answer is the same if nobody has. From
/// the fifth time on within a day an address has to wait, whether anybody has it or not.
#[utoipa::path(post, path = "/api/auth/forgot-password", tag = "auth", request_body = Forgotten,
    responses((status = 202, description = "If somebody has this address, a link that is good for an hour is on its way")))]
async fn forgot(
    State(service): State<Service>,
    request: RequestId,
    Body(forgotten): Body<Forgotten>,
) -> Result<StatusCode, Problem> {
    let email = EmailAddress::parse(&forgotten.email)
        .map_err(|error| Problem::field("email", error.to_string()))?
        .into_string();
    let subject = tokens::hash(&format!("forgot-password:{email}"));
    heed_lock(&service, &subject).await?;
    service.store.note_failure(&subject).await?;
    let Ok(turn) = Arc::clone(&service.forgotten).try_acquire_owned() else {
        return Err(Problem::from(Code::TooMany).retry_after(Duration::from_secs(1)));
    };
    let task = service.clone();
    service.direct.tasks.spawn(async move {
        if let Err(problem) = mail_link(&task, &email, &request).await {
            tracing::warn!(?problem, "no link could be mailed to somebody who forgot their password");
        }
        drop(turn);
    });
    Ok(StatusCode::ACCEPTED)
}

/// Nothing happens for whoever is blocked; whoever has no password yet gets their invitation again.
async fn mail_link(service: &Service, email: &str, request: &RequestId) -> Result<(), Problem> {
    let Some((tenant, credentials)) = service.store.credentials(email).await? else { return Ok(()) };
    let purpose = match credentials.status {
        UserStatus::Blocked => return Ok(()),
        UserStatus::Invited => LinkPurpose::Invitation,
        UserStatus::Active => LinkPurpose::PasswordReset,
    };
    let (token, hash) = tokens::make(Kind::Link, &service.ids);
    let mut tx = service.store.within(tenant).await?;
    sign_in::add_link(&mut tx, tenant, (purpose, credentials.user), &hash, MAILED_LIFETIME).await?;
    let user = users::get(&mut tx, tenant, credentials.user).await?;
    let deed = Deed {
        at: service.clock.now(),
        tenant,
        // Anybody can ask for it.
        actor: "system".to_owned(),
        action: "user.link",
        subject: user.id.to_string(),
        detail: json!({"purpose": purpose, "because": "somebody forgot their password"}),
        request_id: Some(request.as_str().to_owned()),
    };
    audit::append(&mut tx, &deed).await?;
    tx.commit().await?;
    mail::send(service, &user, (purpose, &token), MAILED_LIFETIME).await;
    Ok(())
}

/// Sets a new password by a link that is good once, and ends all sessions. An agent or customer who registered by themselves is
/// bound to the contact that has their address from then on.
#[utoipa::path(post, path = "/api/auth/reset-password/{token}", tag = "auth", params(("token" = String, Path, description = "Of the link")),
    request_body = NewPassword, responses((status = 204, description = "It is set: sign in")))]
async fn reset(
    State(service): State<Service>,
    PathId(token): PathId<String>,
    request: RequestId,
    Body(new): Body<NewPassword>,
) -> Result<StatusCode, Problem> {
    let token = tokens::hash(&token);
    let link = (LinkPurpose::PasswordReset, &token);
    let hash = strong_of_link(&service, link, new.password.expose_secret()).await?;
    let mut tx = service.store.begin().await?;
    let taken = sign_in::take_link(&mut tx, LinkPurpose::PasswordReset, &token).await?;
    let (tenant, id) = taken.ok_or(Code::NotFound)?;
    sign_in::set_password(&mut tx, id, &hash).await?;
    // The link came by mail: whoever holds it reads what goes to this address.
    users::bind(&mut tx, tenant, id).await?;
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
    let token = tokens::hash(&token);
    let hash =
        strong_of_link(&service, (LinkPurpose::Invitation, &token), new.password.expose_secret()).await?;
    let mut tx = service.store.begin().await?;
    let taken = sign_in::take_link(&mut tx, LinkPurpose::Invitation, &token).await?;
    let (tenant, id) = taken.ok_or(Code::NotFound)?;
    sign_in::set_password(&mut tx, id, &hash).await?;
    let tokens = begin(&service, &mut tx, (tenant, id), Environment::Production, &device).await?;
    note(&service, &mut tx, (tenant, id), "user.accept", &request, json!({})).await?;
    let user = users::get(&mut tx, tenant, id).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(Data(SignedInView { user: user.into(), tokens }))
}
