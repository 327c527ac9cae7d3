//! Provider accounts: credentials, quota, and the order in which the accounts of a channel are tried.
//!
//! Those of the configuration are shown and checked here, and changed there. Of those that are made here the secrets are
//! sealed before they are written, opened where something is sent, and shown to nobody. Every process works with a change
//! within seconds (`fanfare_engine::roster`).

mod input;
mod prices;
mod secret;

use axum::{extract::State, http::StatusCode};
use fanfare_engine::{
    domain::{channel::Provider, permission::needs},
    id::AccountId,
    limit::Window,
    store::{
        accounts::Blocked,
        kept::{self, Listed, Named, Terms},
        listing::{Order, Way},
    },
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::input::{AccountChange, NewAccount};
use super::Work;
use crate::{
    auth::caller::May,
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
        .routes(routes!(secret::change_secrets))
        .routes(routes!(secret::check))
        .routes(routes!(prices::list, prices::set))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AccountView {
    #[schema(value_type = String, example = "acct_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    id: AccountId,
    slug: String,
    /// `brevo_email`, `brevo_sms`, `whatsapp_cloud` or `in_app`.
    provider: &'static str,
    channel: &'static str,
    /// The accounts of a channel are its route: they are tried from the lowest priority on.
    priority: i16,
    /// None: as fast as it goes.
    #[schema(value_type = Vec<Object>)]
    limits: Vec<Window>,
    /// Distinct people in any 24 hours.
    people_per_day: Option<u64>,
    /// Its messages reach nobody: it is at a simulated provider, as its settings say.
    sandbox: bool,
    /// It stands in the configuration of the processes, and is changed there.
    configured: bool,
    /// What the provider needs to know, without secrets; absent where it is configured.
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
    secret: SecretView,
    /// The provider refuses the account.
    blocked: Option<BlockedView>,
    /// Where its webhooks go, below the address of this service.
    webhook_path: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// All that is ever shown of secrets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SecretView {
    is_set: bool,
    /// Of a key that is long enough.
    last_four: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    changed_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
struct BlockedView {
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    reason: String,
}

impl From<Listed> for AccountView {
    fn from(account: Listed) -> Self {
        let configured = account.settings.is_none();
        Self {
            id: account.id,
            slug: account.slug,
            provider: account.provider.as_str(),
            channel: account.provider.channel().as_str(),
            priority: account.priority,
            limits: account.limits,
            people_per_day: account.people_per_day,
            sandbox: account.sandbox,
            configured,
            settings: account.settings.map(|settings| input::on_the_wire(&settings)),
            secret: SecretView {
                is_set: account.provider != Provider::InApp,
                last_four: account.secret_hint,
                changed_at: account.secret_changed_at,
            },
            blocked: account.blocked.map(|Blocked { until, reason }| BlockedView { until, reason }),
            webhook_path: format!("/hooks/{}", account.id),
            created_at: account.created_at,
            updated_at: account.updated_at,
        }
    }
}

/// What accounts are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    /// The order in which they are tried.
    Priority,
    Slug,
    CreatedAt,
}

impl Sortable for By {
    const FIELDS: &'static [(&'static str, Self)] =
        &[("priority", Self::Priority), ("slug", Self::Slug), ("createdAt", Self::CreatedAt)];
    const USUAL: Order<Self> = (Self::Priority, Way::Up);
}

#[derive(Debug, Serialize, ToSchema)]
struct Accounts {
    accounts: Vec<AccountView>,
    pagination: Pagination,
}

/// An account that may be changed here, or why not.
fn kept(account: Listed) -> Result<(Listed, Map<String, Value>), Problem> {
    match account.settings.clone() {
        Some(settings) => Ok((account, settings)),
        None => Err(Problem::say(
            Code::Conflict,
            "This account stands in the configuration of the processes: it is changed there, under [[accounts]] or by the variables of its name (`fanfare config` says which).",
        )),
    }
}

/// The accounts of the tenant, in the order in which they are tried if no `sort` is said.
#[utoipa::path(get, path = "/api/accounts", tag = "accounts", security(("bearer" = ["accounts:read"])),
    params(Wanted<By>), responses((status = 200, description = "The accounts", body = Envelope<Accounts>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::AccountsRead>,
    Query(wanted): Query<Wanted<By>>,
) -> Result<Data<Accounts>, Problem> {
    let window = wanted.window::<(Option<i16>, Option<Timestamp>, String)>()?;
    let (by, way) = wanted.sort.0;
    let mut work = Work::read(&service, &may.caller).await?;
    let all = kept::list(&mut work.tx, may.caller.tenant).await?;
    let (rows, pagination) = window.of_all(all, way, |account: &Listed| {
        let slug = account.slug.clone();
        match by {
            By::Priority => (Some(account.priority), None, slug),
            By::Slug => (None, None, slug),
            By::CreatedAt => (None, Some(account.created_at), slug),
        }
    });
    work.end();
    Ok(Data(Accounts { accounts: rows.into_iter().map(AccountView::from).collect(), pagination }))
}

/// Makes an account. Whether the provider takes its key, `POST /api/accounts/{account_id}/check` says.
#[utoipa::path(post, path = "/api/accounts", tag = "accounts", security(("bearer" = ["accounts:update"])),
    request_body = NewAccount, responses((status = 201, description = "The account", body = Envelope<AccountView>)))]
async fn create(
    State(service): State<Service>,
    may: May<needs::AccountsUpdate>,
    Body(new): Body<NewAccount>,
) -> Result<Made<AccountView>, Problem> {
    let (caller, id) = (&may.caller, service.ids.next(service.clock.now()));
    let (settings, secrets) = new.check(&service.provider_base_urls)?;
    input::adapter(&service, caller.tenant, new.provider, (&settings, &secrets))?;
    let sealed = secret::sealed(&service, caller.tenant, id, &secrets)?;
    let limits = new.limits();
    let terms = Terms {
        priority: new.priority,
        limits: &limits,
        people_per_day: input::people(new.people_per_day)?,
        settings: &settings,
    };
    let mut work = Work::begin(&service, caller).await?;
    let named = Named { tenant: caller.tenant, id, slug: &new.slug, provider: new.provider };
    kept::create(&mut work.tx, named, &terms, sealed.kept()).await?;
    let account = kept::get(&mut work.tx, caller.tenant, id).await?;
    work.note("account.create", &id.to_string(), json!({"slug": new.slug, "provider": new.provider})).await?;
    work.commit().await?;
    Ok(Made(account.into()))
}

/// One account.
#[utoipa::path(get, path = "/api/accounts/{account_id}", tag = "accounts", security(("bearer" = ["accounts:read"])),
    params(("account_id" = String, Path, description = "`acct_…`")),
    responses((status = 200, description = "The account", body = Envelope<AccountView>)))]
async fn show(
    State(service): State<Service>,
    may: May<needs::AccountsRead>,
    PathId(id): PathId<AccountId>,
) -> Result<Tagged<Data<AccountView>>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    let account = kept::get(&mut work.tx, may.caller.tenant, id).await?;
    work.end();
    Ok(Tagged::new(account.updated_at, Data(account.into())))
}

/// Changes everything of an account but its name, its provider and its secrets.
#[utoipa::path(put, path = "/api/accounts/{account_id}", tag = "accounts", security(("bearer" = ["accounts:update"])),
    params(("account_id" = String, Path, description = "`acct_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = AccountChange, responses((status = 200, description = "The account", body = Envelope<AccountView>)))]
async fn change(
    State(service): State<Service>,
    may: May<needs::AccountsUpdate>,
    PathId(id): PathId<AccountId>,
    demand: IfMatch,
    Body(change): Body<AccountChange>,
) -> Result<Tagged<Data<AccountView>>, Problem> {
    let caller = &may.caller;
    let mut work = Work::begin(&service, caller).await?;
    let (before, _) = kept(kept::lock(&mut work.tx, caller.tenant, id).await?)?;
    demand.check(before.updated_at)?;
    let settings = change.check(&service.provider_base_urls)?;
    let secrets =
        secret::opened(&service, caller.tenant, id, &kept::sealed(&mut work.tx, caller.tenant, id).await?)?;
    input::adapter(&service, caller.tenant, before.provider, (&settings, &secrets))?;
    let terms = Terms {
        priority: change.priority,
        limits: &change.limits,
        people_per_day: input::people(change.people_per_day)?,
        settings: &settings,
    };
    kept::change(&mut work.tx, caller.tenant, id, &terms).await?;
    let after = kept::get(&mut work.tx, caller.tenant, id).await?;
    let shown = |account: &Listed| json!({"priority": account.priority, "limits": account.limits, "peoplePerDay": account.people_per_day, "settings": account.settings});
    work.note("account.change", &id.to_string(), json!({"before": shown(&before), "after": shown(&after)}))
        .await?;
    work.commit().await?;
    Ok(Tagged::new(after.updated_at, Data(after.into())))
}

/// Deletes an account over which nothing is still to be sent; its secrets stay until nothing that has chosen it can be sent or told of any more, an hour or longer: to end a key at once, end it at the provider. What it has sent stays.
#[utoipa::path(delete, path = "/api/accounts/{account_id}", tag = "accounts", security(("bearer" = ["accounts:update"])),
    params(("account_id" = String, Path, description = "`acct_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 204, description = "It is gone"), (status = 409, description = "Campaigns still use it, or it is configured", body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
async fn delete(
    State(service): State<Service>,
    may: May<needs::AccountsUpdate>,
    PathId(id): PathId<AccountId>,
    demand: IfMatch,
) -> Result<StatusCode, Problem> {
    let caller = &may.caller;
    let mut work = Work::begin(&service, caller).await?;
    let (account, _) = kept(kept::lock(&mut work.tx, caller.tenant, id).await?)?;
    demand.check(account.updated_at)?;
    kept::delete(&mut work.tx, caller.tenant, id).await?;
    work.note("account.delete", &id.to_string(), json!({"slug": account.slug})).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
