//! Secrets of accounts: sealed, opened for their provider alone, tried before they take the place of others.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use fanfare_engine::{
    domain::permission::needs,
    id::{AccountId, TenantId},
    providers::{Adapter, stored},
    roster,
    seal::SealError,
    store::kept::{self, Sealed},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{AccountView, input};
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        etag::{IfMatch, Tagged},
        extract::{Body, PathId},
        problem::{Code, Problem},
    },
    routes::Work,
    service::Service,
};

/// How long a provider may think about a key.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sealed, with what is shown of it.
#[derive(Debug)]
pub(super) struct Boxed {
    secrets: Vec<u8>,
    hint: Option<String>,
}

impl Boxed {
    pub(super) fn kept(&self) -> Sealed<'_> {
        Sealed { secrets: &self.secrets, hint: self.hint.as_deref() }
    }
}

pub(super) fn sealed(
    service: &Service,
    tenant: TenantId,
    id: AccountId,
    secrets: &Map<String, Value>,
) -> Result<Boxed, Problem> {
    let about = roster::about(tenant, id);
    let sealed = service.seal.seal(&service.ids, &about, &stored::to_bytes(secrets)).map_err(|error| match error {
        SealError::NoKey => Problem::say(
            Code::Conflict,
            "This installation has no sealing key, so it can't keep secrets: its operator sets FANFARE_SEALING_KEYS.",
        ),
        error => unreadable(&error),
    })?;
    Ok(Boxed { secrets: sealed, hint: stored::hint(secrets) })
}

pub(super) fn opened(
    service: &Service,
    tenant: TenantId,
    id: AccountId,
    sealed: &[u8],
) -> Result<Map<String, Value>, Problem> {
    service.roster.secrets(tenant, id, sealed).map_err(|error| unreadable(&error))
}

fn unreadable(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "the secrets of an account can't be opened");
    Problem::say(
        Code::Conflict,
        "The secrets of this account can't be opened with the keys of this installation: set them anew.",
    )
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewSecrets {
    /// All of them: `apiKey` and `webhookAuth` for Brevo; `accessToken`, `appSecret` and `verifyToken` for WhatsApp.
    #[schema(value_type = Object)]
    secrets: Map<String, Value>,
    /// Whether the provider is asked first, so that a key with a slip in it takes no other's place; true if not said.
    #[serde(default = "yes")]
    check: bool,
}

const fn yes() -> bool {
    true
}

/// Puts other secrets in their place. Messages on their way end with the old ones: let the provider take both for a minute.
#[utoipa::path(put, path = "/api/accounts/{account_id}/secret", tag = "accounts",
    security(("bearer" = ["accounts:update"])),
    params(("account_id" = String, Path, description = "`acct_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = NewSecrets, responses((status = 200, description = "The account", body = Envelope<AccountView>)))]
pub(super) async fn change_secrets(
    State(service): State<Service>,
    may: May<needs::AccountsUpdate>,
    PathId(id): PathId<AccountId>,
    demand: IfMatch,
    Body(new): Body<NewSecrets>,
) -> Result<Tagged<Data<AccountView>>, Problem> {
    let caller = &may.caller;
    let secrets = input::in_the_engine("secrets", &new.secrets)?;
    let mut look = Work::read(&service, caller).await?;
    let (account, settings) = super::kept(kept::get(&mut look.tx, caller.tenant, id).await?)?;
    // The provider takes its time: nothing is held open meanwhile.
    look.end();
    let adapter = input::adapter(&service, caller.tenant, account.provider, (&settings, &secrets))?;
    if new.check
        && let Err(said) = asked(&adapter).await
    {
        return Err(Problem::field("secrets", format!("are not what the provider takes: {said}")));
    }
    let boxed = sealed(&service, caller.tenant, id, &secrets)?;
    let mut work = Work::begin(&service, caller).await?;
    let (account, _) = super::kept(kept::lock(&mut work.tx, caller.tenant, id).await?)?;
    demand.check(account.updated_at)?;
    kept::change_secrets(&mut work.tx, caller.tenant, id, boxed.kept()).await?;
    let account = kept::get(&mut work.tx, caller.tenant, id).await?;
    work.note("account.secret", &id.to_string(), json!({"slug": account.slug, "checked": new.check})).await?;
    work.commit().await?;
    Ok(Tagged::new(account.updated_at, Data(account.into())))
}

/// What the provider says to a key, in a sentence if it is no.
async fn asked(adapter: &Arc<dyn Adapter>) -> Result<(), String> {
    tokio::time::timeout(PATIENCE, adapter.probe())
        .await
        .unwrap_or_else(|_| Err(format!("it did not answer within {} seconds", PATIENCE.as_secs())))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Checked {
    works: bool,
    /// Why not.
    said: Option<String>,
}

/// Asks the provider whether it takes the account's key. Sends nothing to anybody.
#[utoipa::path(post, path = "/api/accounts/{account_id}/check", tag = "accounts",
    security(("bearer" = ["accounts:update"])),
    params(("account_id" = String, Path, description = "`acct_…`")),
    responses((status = 200, description = "What it says", body = Envelope<Checked>)))]
pub(super) async fn check(
    State(service): State<Service>,
    may: May<needs::AccountsUpdate>,
    PathId(id): PathId<AccountId>,
) -> Result<Data<Checked>, Problem> {
    let caller = &may.caller;
    let mut look = Work::read(&service, caller).await?;
    let account = kept::get(&mut look.tx, caller.tenant, id).await?;
    let adapter = match &account.settings {
        Some(settings) => {
            let sealed = kept::sealed(&mut look.tx, caller.tenant, id).await?;
            let secrets = opened(&service, caller.tenant, id, &sealed)?;
            input::adapter(&service, caller.tenant, account.provider, (settings, &secrets))?
        }
        // Its secrets are with the processes that have it in their configuration.
        None => {
            let handle = service.accounts.get(id).ok_or_else(|| {
                Problem::say(
                    Code::Conflict,
                    "This process does not have the account in its configuration: ask another.",
                )
            })?;
            Arc::clone(&handle.adapter)
        }
    };
    look.end();
    let said = asked(&adapter).await.err();
    let mut work = Work::begin(&service, caller).await?;
    work.note("account.check", &id.to_string(), json!({"works": said.is_none()})).await?;
    work.commit().await?;
    Ok(Data(Checked { works: said.is_none(), said }))
}
