//! What somebody sees and changes of themselves; and how strangers become users, where a tenant lets them.

use axum::extract::State;
use fanfare_engine::{
    domain::{
        address::{EmailAddress, PhoneNumber},
        environment::Environment,
    },
    store::{
        roles,
        users::{self, NewUser, UserFacts, UserStatus},
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Device, SignedInView, UserView, begin, sign_in::note};
use crate::{
    auth::{caller::SignedIn, passwords},
    http::{
        envelope::{Data, Envelope, Made},
        etag::{IfMatch, Tagged},
        extract::Body,
        headers::RequestId,
        problem::{Code, FieldError, Problem},
    },
    routes::{Work, registration::is_for_strangers, users::person},
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(me)).routes(routes!(change)).routes(routes!(register))
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/auth/me", tag = "auth", security(("bearer" = [])),
    responses((status = 200, description = "The user", body = Envelope<UserView>)))]
async fn me(
    State(service): State<Service>,
    SignedIn(caller): SignedIn,
) -> Result<Tagged<Data<UserView>>, Problem> {
    let (id, _) = caller.user()?;
    let mut work = Work::read(&service, &caller).await?;
    let user = users::get(&mut work.tx, caller.tenant, id).await?;
    work.end();
    Ok(Tagged::new(user.updated_at, Data(user.into())))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    #[schema(min_length = 1, max_length = 100)]
    first_name: String,
    #[serde(default)]
    #[schema(max_length = 100)]
    last_name: String,
    /// E.164, or as it is written in the tenant's country.
    #[schema(max_length = 40)]
    phone: Option<String>,
}

/// Changes one's own name and phone number.
#[utoipa::path(put, path = "/api/auth/profile", tag = "auth", security(("bearer" = [])), request_body = Profile,
    params(("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, description = "The user", body = Envelope<UserView>)))]
async fn change(
    State(service): State<Service>,
    SignedIn(caller): SignedIn,
    demand: IfMatch,
    Body(profile): Body<Profile>,
) -> Result<Tagged<Data<UserView>>, Problem> {
    let (id, _) = caller.user()?;
    let phone =
        person(&profile.first_name, &profile.last_name, profile.phone.as_deref(), &caller.home.region)?;
    let mut work = Work::begin(&service, &caller).await?;
    let user = users::lock(&mut work.tx, caller.tenant, id).await?;
    demand.check(user.updated_at)?;
    let facts = UserFacts {
        first_name: &profile.first_name,
        last_name: &profile.last_name,
        phone: phone.as_ref().map(PhoneNumber::as_str),
        role: user.role,
        blocked: user.status == UserStatus::Blocked,
        scope: &user.scope,
        contact: user.contact,
    };
    users::change(&mut work.tx, caller.tenant, id, &facts).await?;
    let changed = users::get(&mut work.tx, caller.tenant, id).await?;
    work.note("user.profile", &id.to_string(), json!({})).await?;
    work.commit().await?;
    Ok(Tagged::new(changed.updated_at, Data(changed.into())))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Registration {
    #[schema(max_length = 254)]
    email: String,
    #[schema(value_type = String, min_length = 10, max_length = 128, format = Password)]
    password: SecretString,
    #[schema(min_length = 1, max_length = 100)]
    first_name: String,
    #[serde(default)]
    #[schema(max_length = 100)]
    last_name: String,
    #[schema(max_length = 40)]
    phone: Option<String>,
    /// With whom, where several let strangers register: a slug.
    #[schema(max_length = 63)]
    with: Option<String>,
}

/// Makes oneself a user, where a tenant lets strangers: most do not. Whoever did is bound to no contact, and so reads no
/// notifications of one, until they set a password by a mailed link or somebody who manages users says who they are.
#[utoipa::path(post, path = "/api/auth/register", tag = "auth", request_body = Registration, responses(
    (status = 201, description = "The user and their tokens", body = Envelope<SignedInView>),
    (status = 403, description = "People come by invitation here", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
async fn register(
    State(service): State<Service>,
    device: Device,
    request: RequestId,
    Body(new): Body<Registration>,
) -> Result<Made<SignedInView>, Problem> {
    if new.with.as_deref().is_some_and(|with| with.contains('\0')) {
        return Err(Problem::field("with", "must be a slug"));
    }
    let Some((tenant, role)) = service.store.open_to_strangers(new.with.as_deref()).await? else {
        return Err(invited_only());
    };
    let home = service.store.tenant_by_id(tenant).await?;
    let (email, phone) = registrant(&new, &home.region)?;
    let hash = service.auth.passwords.hash(new.password.expose_secret().to_owned()).await;
    let mut tx = service.store.within(tenant).await?;
    let role = roles::by_slug(&mut tx, tenant, &role).await?;
    // It may have been made to allow more since it was chosen for strangers.
    if !is_for_strangers(&role) {
        return Err(invited_only());
    }
    let user = NewUser {
        id: service.ids.next(service.clock.now()),
        tenant,
        email: email.as_str(),
        first_name: &new.first_name,
        last_name: &new.last_name,
        phone: phone.as_ref().map(PhoneNumber::as_str),
        role: role.id,
        password_hash: Some(&hash),
        // Nobody has shown yet that the address is theirs.
        contact: None,
    };
    users::create(&mut tx, &user).await?;
    let tokens = begin(&service, &mut tx, (tenant, user.id), Environment::Production, &device).await?;
    note(&service, &mut tx, (tenant, user.id), "user.register", &request, json!({"role": role.slug})).await?;
    let view = users::get(&mut tx, tenant, user.id).await?;
    tx.commit().await?;
    Ok(Made(SignedInView { user: view.into(), tokens }))
}

fn invited_only() -> Problem {
    Problem::say(Code::Forbidden, "People come by invitation here: ask whoever manages the users.")
}

/// Everything that is wrong, at once.
fn registrant(new: &Registration, region: &str) -> Result<(EmailAddress, Option<PhoneNumber>), Problem> {
    let mut errors: Vec<FieldError> = Vec::new();
    let mut wrong =
        |field: &str, message: String| errors.push(FieldError { field: field.to_owned(), message });
    let email = EmailAddress::parse(&new.email).map_err(|error| wrong("email", error.to_string())).ok();
    let about = [new.email.as_str(), &new.first_name, &new.last_name];
    if let Err(weak) = passwords::check(new.password.expose_secret(), &about) {
        wrong("password", weak.to_string());
    }
    let phone = match person(&new.first_name, &new.last_name, new.phone.as_deref(), region) {
        Ok(phone) => phone,
        Err(problem) => {
            errors.extend(problem.into_errors());
            None
        }
    };
    match email {
        Some(email) if errors.is_empty() => Ok((email, phone)),
        _ => Err(Problem::fields(errors)),
    }
}
