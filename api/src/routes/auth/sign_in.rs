//! Sign-in, refresh and sign-out.
//!
//! Wrong addresses, wrong passwords and wrong codes look alike and take as long; after five of them in a row the address is
//! locked, for longer each time, whether anybody has it or not.

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    domain::environment::Environment,
    id::{TenantId, UserId},
    store::{
        StoreError,
        audit::{self, Deed},
        sessions::{self as store, Refreshed, TokenHash},
        sign_in::{self, Credentials},
        users::{self, UserStatus},
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Device, SignedInView, TokensView, begin, pair};
use crate::{
    auth::{
        caller::SignedIn,
        second_factor::{self, opened},
        tokens::{self, Bearer, Kind},
    },
    http::{
        envelope::{Data, Envelope},
        extract::Body,
        headers::RequestId,
        problem::{Code, Problem},
    },
    routes::Work,
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(login)).routes(routes!(refresh)).routes(routes!(logout))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    #[schema(max_length = 254)]
    email: String,
    #[schema(value_type = String, max_length = 128, format = Password)]
    password: SecretString,
    /// Of the authenticator app, or a recovery code, where a second factor is switched on.
    #[schema(max_length = 64)]
    code: Option<String>,
    /// Where to work; `production` if not said.
    #[schema(value_type = Option<String>, example = "production")]
    environment: Option<Environment>,
}

/// Signs in.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", request_body = Login, responses(
    (status = 200, description = "The user and their tokens", body = Envelope<SignedInView>),
    (status = 401, description = "Address, password or code is wrong, or a code is wanted", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
async fn login(
    State(service): State<Service>,
    device: Device,
    request: RequestId,
    Body(login): Body<Login>,
) -> Result<Data<SignedInView>, Problem> {
    if login.email.len() > 254 || login.email.contains('\0') {
        return Err(Problem::field("email", "must have at most 254 characters, and no NUL"));
    }
    let email = login.email.trim().to_lowercase();
    let subject = tokens::hash(&format!("sign-in:{email}"));
    heed_lock(&service, &subject).await?;
    let proved = proved(&service, &email, &login).await;
    // Others may have guessed at the same time: what is looked at after the fifth wrong one counts for nothing, right or wrong.
    heed_lock(&service, &subject).await?;
    let Some((tenant, credentials)) = proved? else {
        service.store.note_failure(&subject).await?;
        return Err(Code::WrongCredentials.into());
    };
    let user = credentials.user;
    let mut tx = service.store.within(tenant).await?;
    let environment = login.environment.unwrap_or(Environment::Production);
    let tokens = begin(&service, &mut tx, (tenant, user), environment, &device).await?;
    let user = users::get(&mut tx, tenant, user).await?;
    note(
        &service,
        &mut tx,
        (tenant, user.id),
        "session.begin",
        &request,
        json!({"environment": environment}),
    )
    .await?;
    tx.commit().await?;
    service.store.forget_failures(&subject).await?;
    Ok(Data(SignedInView { user: user.into(), tokens }))
}

pub(super) async fn heed_lock(service: &Service, subject: &TokenHash) -> Result<(), Problem> {
    let Some(until) = service.store.locked_until(subject).await? else { return Ok(()) };
    let wait = service.clock.now().duration_until(until).unsigned_abs();
    Err(Problem::say(Code::TooMany, "Too many wrong attempts: wait as Retry-After says.").retry_after(wait))
}

/// Whose credentials these are, if everything that they take is right.
async fn proved(
    service: &Service,
    email: &str,
    login: &Login,
) -> Result<Option<(TenantId, Credentials)>, Problem> {
    let known = service.store.credentials(email).await?;
    let hash = known.as_ref().and_then(|(_, credentials)| credentials.password_hash.clone());
    let right = service.auth.passwords.verify(login.password.expose_secret().to_owned(), hash).await;
    let Some((tenant, credentials)) = known.filter(|(_, who)| right && who.status == UserStatus::Active)
    else {
        return Ok(None);
    };
    let Some(sealed) = &credentials.totp_secret else { return Ok(Some((tenant, credentials))) };
    let Some(code) = login.code.as_deref() else { return Err(Code::SecondFactorWanted.into()) };
    let secret = opened(&service.seal, credentials.user, sealed)?;
    let mut tx = service.store.within(tenant).await?;
    let good = match second_factor::step(secret, code, service.clock.now()) {
        Some(step) => sign_in::use_totp_step(&mut tx, credentials.user, step).await?,
        None => {
            sign_in::use_recovery_code(&mut tx, credentials.user, &second_factor::recovery_hash(code)).await?
        }
    };
    tx.commit().await?;
    Ok(good.then_some((tenant, credentials)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Refresh {
    #[schema(max_length = 64)]
    refresh_token: String,
}

/// Gives a new pair of tokens for a refresh token, which is good once. One that comes again ends its session.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "auth", request_body = Refresh, responses(
    (status = 200, description = "The next pair", body = Envelope<TokensView>),
    (status = 401, description = "It is not good, or not any more", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
async fn refresh(
    State(service): State<Service>,
    request: RequestId,
    Body(refresh): Body<Refresh>,
) -> Result<Data<TokensView>, Problem> {
    let (next, kept) = tokens::make(Kind::Refresh, &service.ids);
    let expires = service.clock.now() + service.auth.refresh_lifetime;
    // Whose it is, only the token says.
    let mut tx = service.store.begin().await?;
    let refreshed = store::refresh(&mut tx, &tokens::hash(&refresh.refresh_token), &kept, expires).await?;
    if let Refreshed::Stolen { session, tenant, user } = refreshed {
        tracing::warn!(%session, "a refresh token came twice: the session was ended");
        let detail = json!({"session": session.to_string(), "because": "a refresh token came twice"});
        note(&service, &mut tx, (tenant, user), "session.end", &request, detail).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    match refreshed {
        Refreshed::Go { session, tenant, user, environment } => {
            Ok(Data(pair(&service, Bearer { user, session, tenant, environment }, next)))
        }
        Refreshed::Stolen { .. } | Refreshed::Unknown => Err(Code::Unauthenticated.into()),
    }
}

/// Signs out: ends the session of the token that is sent.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth", security(("bearer" = [])),
    responses((status = 204, description = "The session is over")))]
async fn logout(State(service): State<Service>, SignedIn(caller): SignedIn) -> Result<StatusCode, Problem> {
    let (user, session) = caller.user()?;
    let mut work = Work::begin(&service, &caller).await?;
    store::revoke(&mut work.tx, user, session, "signed out").await?;
    work.note("session.end", &session.to_string(), json!({"because": "signed out"})).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Notes what somebody did who was nobody before.
pub(super) async fn note(
    service: &Service,
    tx: &mut PgConnection,
    (tenant, user): (TenantId, UserId),
    action: &'static str,
    request: &RequestId,
    detail: Value,
) -> Result<(), Problem> {
    let deed = Deed {
        at: service.clock.now(),
        tenant,
        actor: format!("user:{user}"),
        action,
        subject: user.to_string(),
        detail,
        request_id: Some(request.as_str().to_owned()),
    };
    Ok(audit::append(tx, &deed).await?)
}
