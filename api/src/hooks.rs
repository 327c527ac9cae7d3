//! Webhooks in: verified, stored as they came, then answered. What they say is applied later, by workers.
//!
//! A 2xx means that the webhook is in the database. If this process dies before that, the provider sends it again; if
//! it dies after, the row is there. A webhook that comes twice is stored twice and applied once.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    body::Bytes,
    extract::{ConnectInfo, Path, Query, Request, State},
    http::{HeaderMap, StatusCode},
};
use fanfare_engine::{
    deliver::accounts::AccountHandle,
    id::AccountId,
    providers::{HeaderLookup, HookError, HookRequest},
};

use crate::{
    http::{
        incoming::whole,
        problem::{Code, Problem},
    },
    service::Service,
};

/// Meta sends up to 3 MB.
pub(crate) const LARGEST: usize = 3 << 20;

#[derive(Debug)]
struct Headers<'a>(&'a HeaderMap);

impl HeaderLookup for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }
}

fn account(service: &Service, id: &str) -> Result<Arc<AccountHandle>, Problem> {
    let id: AccountId = id.parse().map_err(|_| Code::NoSuchAccount)?;
    service.accounts.get(id).ok_or_else(|| Code::NoSuchAccount.into())
}

/// `POST /hooks/{account_id}`
pub(crate) async fn receive(
    State(service): State<Service>,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let account = account(&service, &id)?;
    let provider = account.account.provider.as_str();
    let count = |verdict: &'static str| {
        metrics::counter!(fanfare_engine::metrics::WEBHOOKS, "provider" => provider, "verdict" => verdict)
            .increment(1);
    };
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let (parts, body) = request.into_parts();
    let body = whole(body, LARGEST).await?;
    if let Err(error) = verify(&account, peer, &parts.headers, &body) {
        count("forged");
        tracing::warn!(account = %account.account.id, %error, "a webhook was refused");
        let code = match error {
            HookError::Forged => Code::Forged,
            HookError::ForeignPeer => Code::ForeignPeer,
            HookError::Malformed => Code::Malformed,
        };
        return Err(code.into());
    }
    service.inbox.store(account.account.id, body.into()).await.map_err(|error| {
        count("rejected");
        tracing::warn!(account = %account.account.id, %error, "a webhook was put off");
        Code::Away
    })?;
    count("stored");
    Ok(StatusCode::OK)
}

fn verify(
    account: &AccountHandle,
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(), HookError> {
    account.adapter.verify(&HookRequest { peer, headers: &Headers(headers), body })
}

/// `GET /hooks/{account_id}`: the provider asks whether this URL is ours.
pub(crate) async fn handshake(
    State(service): State<Service>,
    Path(id): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<String, Problem> {
    account(&service, &id)?.adapter.handshake(&query).ok_or_else(|| Code::HandshakeRefused.into())
}
