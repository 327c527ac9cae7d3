//! Webhooks in: verified, stored as they came, then answered. What they say is applied later, by workers.
//!
//! A 2xx means that the webhook is in the database. If this process dies before that, the provider sends it again; if
//! it dies after, the row is there. A webhook that comes twice is stored twice and applied once.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, Method, Request, StatusCode, header},
    response::IntoResponse,
};
use fanfare_engine::{
    deliver::accounts::AccountHandle,
    id::AccountId,
    providers::{HeaderLookup, HookError, HookRequest},
};
use hyper::body::Incoming;

use crate::{
    http::{
        incoming::whole_in_time,
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

/// The account of a `POST /hooks/{account_id}`, if there is one; `None` for any other request.
pub(crate) fn account_of<B>(
    service: &Service,
    request: &Request<B>,
) -> Option<Result<Arc<AccountHandle>, Problem>> {
    let id = request.uri().path().strip_prefix("/hooks/")?;
    (request.method() == Method::POST && !id.contains('/')).then(|| account(service, id))
}

fn account(service: &Service, id: &str) -> Result<Arc<AccountHandle>, Problem> {
    let id: AccountId = id.parse().map_err(|_| Code::NoSuchAccount)?;
    service.accounts.get(id).ok_or_else(|| Code::NoSuchAccount.into())
}

/// Takes in what an account's provider tells.
pub(crate) async fn receive(
    service: &Service,
    account: &AccountHandle,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Result<StatusCode, Problem> {
    let provider = account.account.provider.as_str();
    let count = |verdict: &'static str| {
        metrics::counter!(fanfare_engine::metrics::WEBHOOKS, "provider" => provider, "verdict" => verdict)
            .increment(1);
    };
    let (parts, body) = request.into_parts();
    let body = whole_in_time(body, LARGEST, service.idle).await?;
    let told = HookRequest { peer: Some(peer), headers: &Headers(&parts.headers), body: &body };
    if let Err(error) = account.adapter.verify(&told) {
        count("forged");
        tracing::warn!(account = %account.account.id, %error, "a webhook was refused");
        let code = match error {
            HookError::Forged => Code::Forged,
            HookError::ForeignPeer => Code::ForeignPeer,
            HookError::Malformed => Code::Malformed,
        };
        return Err(code.into());
    }
    service.inbox.store(account.account.id, body).await.map_err(|error| {
        count("rejected");
        tracing::warn!(account = %account.account.id, %error, "a webhook was put off");
        Code::Away
    })?;
    count("stored");
    Ok(StatusCode::OK)
}

/// Of any method but GET, which the router knows, and POST, which does not pass it.
pub(crate) async fn no_such_method() -> impl IntoResponse {
    ([(header::ALLOW, "GET,HEAD,POST")], Problem::from(Code::NoSuchMethod))
}

/// `GET /hooks/{account_id}`: the provider asks whether this URL is ours.
pub(crate) async fn handshake(
    State(service): State<Service>,
    Path(id): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<String, Problem> {
    account(&service, &id)?.adapter.handshake(&query).ok_or_else(|| Code::HandshakeRefused.into())
}
