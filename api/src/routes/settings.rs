//! Settings of a tenant: the addresses that whoever tries things out may write to.

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    domain::{
        address::{AddressError, EmailAddress, PhoneNumber, Region, masked},
        channel::Channel,
        permission::needs,
    },
    store::{
        StoreError,
        addressees::{self, Allowed, AllowedBy},
        listing::{Order, Way},
        tenants::Tenant,
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Work;
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope, Made},
        extract::{Body, Query},
        page::{Pagination, Wanted},
        problem::{Code, Problem},
        sort::Sortable,
    },
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(list, allow, disallow))
}

#[derive(Debug, Serialize, ToSchema)]
struct AllowedAddress {
    /// `email`, `sms` or `whatsapp`.
    #[schema(value_type = String, example = "email")]
    channel: Channel,
    /// In its normal form; `@` and a domain is everybody there.
    #[schema(example = "@acme.example")]
    address: String,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

impl From<Allowed> for AllowedAddress {
    fn from(Allowed { channel, address, since }: Allowed) -> Self {
        Self { channel, address, since }
    }
}

impl Sortable for AllowedBy {
    const FIELDS: &'static [(&'static str, Self)] = &[("address", Self::Address), ("since", Self::Since)];
    const USUAL: Order<Self> = (Self::Address, Way::Up);
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AllowedAddresses {
    allowed_addresses: Vec<AllowedAddress>,
    pagination: Pagination,
}

/// The addresses that messages reach outside production, by channel and address if no `sort` is said.
#[utoipa::path(get, path = "/api/settings/allowed-addresses", tag = "settings", security(("bearer" = ["settings:update"])), params(Wanted<AllowedBy>),
    responses((status = 200, description = "The addresses", body = Envelope<AllowedAddresses>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::SettingsUpdate>,
    Query(wanted): Query<Wanted<AllowedBy>>,
) -> Result<Data<AllowedAddresses>, Problem> {
    let window = wanted.window()?;
    let mut work = Work::read(&service, &may.caller).await?;
    let (rows, total) =
        addressees::allowed(&mut work.tx, may.caller.tenant, wanted.sort.0, &window.part()).await?;
    let (rows, next) = window.cut(rows, Allowed::place);
    work.seen("allowed_address.list", "allowed-addresses", json!({"addresses": rows.len()})).await?;
    let allowed_addresses = rows.into_iter().map(AllowedAddress::from).collect();
    Ok(Data(AllowedAddresses { allowed_addresses, pagination: window.pagination(total, next) }))
}

/// An address and its channel.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Named {
    /// `email`, `sms` or `whatsapp`.
    #[schema(value_type = String, example = "email")]
    #[param(value_type = String, example = "email")]
    channel: Channel,
    /// An e-mail address, `@` and a domain, or a phone number as people write it.
    #[schema(max_length = 320)]
    #[param(max_length = 320)]
    address: String,
}

/// Allows an address, or everybody of a domain. One that is allowed already stays.
#[utoipa::path(post, path = "/api/settings/allowed-addresses", tag = "settings", security(("bearer" = ["settings:update"])), request_body = Named,
    responses((status = 201, description = "The address, in its normal form", body = Envelope<AllowedAddress>)))]
async fn allow(
    State(service): State<Service>,
    may: May<needs::SettingsUpdate>,
    Body(named): Body<Named>,
) -> Result<Made<AllowedAddress>, Problem> {
    let tenant = may.caller.tenant;
    let address = normal(&may.caller.home, &named)?;
    let mut work = Work::begin(&service, &may.caller).await?;
    let since = addressees::allow(&mut work.tx, tenant, named.channel, &address).await?;
    let detail = json!({"channel": named.channel, "address": shown(&address)});
    work.note("settings.allow_address", "allowed-addresses", detail).await?;
    work.commit().await?;
    Ok(Made(AllowedAddress { channel: named.channel, address, since }))
}

/// Takes an address off the list.
#[utoipa::path(delete, path = "/api/settings/allowed-addresses", tag = "settings", security(("bearer" = ["settings:update"])), params(Named),
    responses((status = 204, description = "It is gone"),
              (status = 404, description = "It was not on the list", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
async fn disallow(
    State(service): State<Service>,
    may: May<needs::SettingsUpdate>,
    Query(named): Query<Named>,
) -> Result<StatusCode, Problem> {
    let tenant = may.caller.tenant;
    let address = normal(&may.caller.home, &named)?;
    let mut work = Work::begin(&service, &may.caller).await?;
    if !addressees::disallow(&mut work.tx, tenant, named.channel, &address).await? {
        return Err(Code::NotFound.into());
    }
    let detail = json!({"channel": named.channel, "address": shown(&address)});
    work.note("settings.disallow_address", "allowed-addresses", detail).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A domain is nobody's address.
fn shown(address: &str) -> String {
    if address.starts_with('@') { address.to_owned() } else { masked(address) }
}

fn normal(tenant: &Tenant, named: &Named) -> Result<String, Problem> {
    let text = named.address.trim();
    let address = match named.channel {
        Channel::Email => mail(text),
        Channel::Sms | Channel::Whatsapp => {
            let region = Region::parse(&tenant.region)
                .map_err(|error| StoreError::Corrupt(format!("tenant {}: {error}", tenant.id)))?;
            PhoneNumber::parse(text, &region).map(PhoneNumber::into_string)
        }
        Channel::InApp => {
            return Err(Problem::field("channel", "must be email, sms or whatsapp: others leave the house"));
        }
    };
    address.map_err(|error| Problem::field("address", error.to_string()))
}

/// A domain is one if somebody there could have an address.
fn mail(text: &str) -> Result<String, AddressError> {
    if text.starts_with('@') {
        let somebody = EmailAddress::parse(&format!("x{text}"))?.into_string();
        return Ok(somebody[1..].to_owned());
    }
    EmailAddress::parse(text).map(EmailAddress::into_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_allowed_as_a_whole() {
        assert_eq!(mail("@Acme.example").unwrap(), "@acme.example");
        assert_eq!(mail("Ann@Acme.example").unwrap(), "ann@acme.example");
        for wrong in ["@", "@@acme.example", "@acme", "@a b.example", "acme.example", "@x@acme.example", ""] {
            assert!(mail(wrong).is_err(), "{wrong}");
        }
    }
}
