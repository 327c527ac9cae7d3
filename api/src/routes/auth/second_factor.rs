//! The second factor, switched on and off by the person themselves. It holds from the moment when a code has proved that the
//! device has the secret; the recovery codes are told then, once.

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    seal::SealError,
    store::{sign_in, users},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::password::prove;
use crate::{
    auth::{
        caller::SignedIn,
        second_factor::{about, make_secret, opened, recovery_codes, step, url},
    },
    http::{
        envelope::{Data, Envelope},
        extract::Body,
        problem::{Code, Problem},
    },
    routes::Work,
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(begin, end)).routes(routes!(confirm))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Proof {
    /// The person's password: whoever finds an open browser must not change how they sign in.
    #[schema(value_type = String, max_length = 128, format = Password)]
    pub(super) password: SecretString,
}

#[derive(Debug, Serialize, ToSchema)]
struct Begun {
    /// `otpauth://…`, to be shown as a QR code.
    url: String,
}

/// Begins to switch a second factor on.
#[utoipa::path(post, path = "/api/auth/second-factor", tag = "auth", security(("bearer" = [])), request_body = Proof,
    responses((status = 200, description = "What the authenticator app takes", body = Envelope<Begun>)))]
async fn begin(
    State(service): State<Service>,
    SignedIn(caller): SignedIn,
    Body(proof): Body<Proof>,
) -> Result<Data<Begun>, Problem> {
    let (user, _) = caller.user()?;
    prove(&service, &caller, proof.password.expose_secret()).await?;
    let secret = make_secret(&service.ids);
    let sealed = service.seal.seal(&service.ids, &about(user), &secret).map_err(|error| match error {
        SealError::NoKey => Problem::say(Code::Conflict, "This installation has no sealing key, so it can't keep second factors: its operator sets FANFARE_SEALING_KEYS."),
        _ => Code::Broken.into(),
    })?;
    let mut work = Work::begin(&service, &caller).await?;
    let known = users::lock(&mut work.tx, caller.tenant, user).await?;
    if known.second_factor {
        return Err(Problem::say(
            Code::Conflict,
            "A second factor is switched on already: switch it off first.",
        ));
    }
    sign_in::begin_second_factor(&mut work.tx, user, &sealed).await?;
    work.commit().await?;
    Ok(Data(Begun { url: url(secret, &known.email) }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FirstCode {
    #[schema(max_length = 16)]
    code: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Confirmed {
    /// Each signs in once without the device. They are not told again.
    recovery_codes: Vec<String>,
}

/// Switches the second factor on, by its first code.
#[utoipa::path(post, path = "/api/auth/second-factor/confirm", tag = "auth", security(("bearer" = [])), request_body = FirstCode,
    responses((status = 200, description = "It is on", body = Envelope<Confirmed>)))]
async fn confirm(
    State(service): State<Service>,
    SignedIn(caller): SignedIn,
    Body(first): Body<FirstCode>,
) -> Result<Data<Confirmed>, Problem> {
    let (user, _) = caller.user()?;
    let mut work = Work::begin(&service, &caller).await?;
    let Some(sealed) = sign_in::pending_second_factor(&mut work.tx, user).await? else {
        return Err(Problem::say(Code::Conflict, "No second factor has been begun."));
    };
    let secret = opened(&service.seal, user, &sealed)?;
    let Some(step) = step(secret, &first.code, service.clock.now()) else {
        return Err(Problem::field("code", "is not the code of this moment: is the device's clock right?"));
    };
    let (codes, kept) = recovery_codes(&service.ids);
    sign_in::set_second_factor(&mut work.tx, user, Some(&sealed), &kept).await?;
    sign_in::use_totp_step(&mut work.tx, user, step).await?;
    work.note("user.second_factor.on", &user.to_string(), json!({})).await?;
    work.commit().await?;
    Ok(Data(Confirmed { recovery_codes: codes }))
}

/// Switches the second factor off.
#[utoipa::path(delete, path = "/api/auth/second-factor", tag = "auth", security(("bearer" = [])), request_body = Proof,
    responses((status = 204, description = "It is off")))]
async fn end(
    State(service): State<Service>,
    SignedIn(caller): SignedIn,
    Body(proof): Body<Proof>,
) -> Result<StatusCode, Problem> {
    let (user, _) = caller.user()?;
    prove(&service, &caller, proof.password.expose_secret()).await?;
    let mut work = Work::begin(&service, &caller).await?;
    sign_in::set_second_factor(&mut work.tx, user, None, &[]).await?;
    work.note("user.second_factor.off", &user.to_string(), json!({})).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
