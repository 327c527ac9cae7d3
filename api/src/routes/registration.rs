//! Whether strangers may make themselves a user of the tenant, and with which role: one that shows them nothing but their own.

use axum::extract::State;
use fanfare_engine::{
    domain::permission::{Permissions, needs},
    store::{roles::Role, settings},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Work, roles::by_slug};
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        etag::{IfMatch, Tag, Tagged},
        extract::Body,
        problem::Problem,
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(show, set))
}

/// All that a stranger may do, whatever their role is called.
const OWN: [&str; 1] = ["notifications:read"];

/// Whether a role shows nothing but what is one's own: an address that nobody has proved is good for no more.
pub(super) fn is_for_strangers(role: &Role) -> bool {
    Permissions::parse(OWN).is_ok_and(|own| own.includes(&role.permissions))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RegistrationRule {
    /// The slug of the role that strangers get, such as `customer`; null: people come by invitation only.
    #[schema(max_length = 63)]
    role: Option<String>,
}

/// Whether strangers may make themselves a user.
#[utoipa::path(get, path = "/api/settings/registration", tag = "settings", security(("bearer" = ["settings:update"])),
    responses((status = 200, description = "The role that they get", body = Envelope<RegistrationRule>)))]
async fn show(
    State(service): State<Service>,
    may: May<needs::SettingsUpdate>,
) -> Result<Tagged<Data<RegistrationRule>>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    let role = settings::registration_role(&mut work.tx, may.caller.tenant).await?;
    work.end();
    Ok(Tagged::whole(RegistrationRule { role }))
}

/// Says whether strangers may make themselves a user by `POST /api/auth/register`, and with which role. They are asked for
/// nothing that proves who they are, so the role may allow no more than to read one's own notifications.
#[utoipa::path(put, path = "/api/settings/registration", tag = "settings", security(("bearer" = ["settings:update"])),
    params(("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = RegistrationRule, responses((status = 200, description = "The role that they get", body = Envelope<RegistrationRule>)))]
async fn set(
    State(service): State<Service>,
    may: May<needs::SettingsUpdate>,
    demand: IfMatch,
    Body(wanted): Body<RegistrationRule>,
) -> Result<Tagged<Data<RegistrationRule>>, Problem> {
    let caller = &may.caller;
    let mut work = Work::begin(&service, caller).await?;
    settings::lock(&mut work.tx, caller.tenant).await?;
    let before = RegistrationRule { role: settings::registration_role(&mut work.tx, caller.tenant).await? };
    demand.check(Tag::of(&before))?;
    if let Some(slug) = &wanted.role {
        let role = by_slug(&mut work, slug).await?;
        if !is_for_strangers(&role) {
            let why = "allows more than to read one's own notifications, and anybody may register: take `customer` or one \
                       like it, and give more to those whom you know";
            return Err(Problem::field("role", why));
        }
    }
    settings::set_registration_role(&mut work.tx, caller.tenant, wanted.role.as_deref()).await?;
    let detail = json!({"before": before.role, "after": wanted.role});
    work.note("settings.change", "registration.role", detail).await?;
    work.commit().await?;
    Ok(Tagged::whole(wanted))
}
