//! Who calls, and what they may do.
//!
//! A person signs in with address, password and, where it is switched on, a second factor. They get an access token, a JWT
//! that names their session and is good for minutes, and a refresh token that is good once. A program has an API key. What
//! stands in the database decides, not what stands in the token: session, user and role are read for every request, so that
//! a revoked session or a role that lost a permission counts from the next request on.
//!
//! [`identify`] runs before every route: it finds out who calls, counts the request against their limits, and leaves the
//! caller for the route to ask for ([`caller::May`], [`caller::SignedIn`]). A route that asks for nobody is public.
//!
//! Of passwords, keys, refresh tokens and links only hashes are kept.

pub(crate) mod caller;
mod hs256;
pub(crate) mod mail;
pub(crate) mod passwords;
pub(crate) mod second_factor;
pub(crate) mod tokens;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    caller::{Actor, Caller, Identified},
    passwords::Passwords,
    tokens::{AccessTokens, Kind},
};
use crate::{
    http::{
        headers::RequestId,
        problem::{Code, Problem},
    },
    service::Service,
};
use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use fanfare_engine::{seal::Seal, store::users::RowScope};

/// What proving who somebody is takes.
#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) access: AccessTokens,
    pub(crate) refresh_lifetime: Duration,
    pub(crate) passwords: Passwords,
    /// Seals answers that are kept to be given again: some tell a key, or a link, which is told once and kept nowhere.
    pub(crate) answers: Seal,
}

/// Finds out who calls, and counts the request.
pub(crate) async fn identify(State(service): State<Service>, mut request: Request, next: Next) -> Response {
    let peer = peer(&request);
    let identified = match bearer(request.headers()).map(|token| token.map(str::to_owned)) {
        Ok(Some(token)) => caller(&service, &token, RequestId::of(request.extensions())).await,
        Ok(None) => Ok(None),
        Err(problem) => Err(problem),
    };
    let counted = match &identified {
        Ok(Some(caller)) => service.limits.known(caller.tenant, caller.key()),
        _ => service.limits.stranger(peer),
    };
    let left = match counted {
        Ok(left) => left,
        Err(refused) => return refused.into_response(),
    };
    request.extensions_mut().insert::<Identified>(identified);
    let mut response = next.run(request).await;
    left.write(response.headers_mut());
    response
}

/// Who is at the other end of the connection; who is behind a proxy is not asked, since anybody can say anything.
pub(crate) fn peer(request: &Request) -> IpAddr {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}

/// Whose token this is.
async fn caller(service: &Service, token: &str, request: RequestId) -> Identified {
    let asked = Instant::now();
    let caller = if token.starts_with(Kind::ApiKey.prefix()) {
        key_holder(service, token, request).await?
    } else {
        signed_in(service, token, request).await?
    };
    service.direct.callers.add(asked.elapsed());
    caller.map(Some).ok_or_else(|| Code::Unauthenticated.into())
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let (scheme, token) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Code::Unauthenticated)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Code::Unauthenticated.into());
    }
    Ok(Some(token.trim()))
}

async fn key_holder(service: &Service, key: &str, request: RequestId) -> Result<Option<Caller>, Problem> {
    let holder = service.together.keys.ask(tokens::hash(key)).await?;
    Ok(holder.map(|holder| Caller {
        tenant: holder.tenant.id,
        home: Arc::new(holder.tenant),
        environment: holder.environment,
        actor: Actor::Key(holder.id),
        permissions: holder.scopes,
        scope: RowScope::All,
        request,
    }))
}

async fn signed_in(service: &Service, token: &str, request: RequestId) -> Result<Option<Caller>, Problem> {
    let Some(claims) = service.auth.access.read(token, service.clock.now()) else { return Ok(None) };
    let user = service.together.sessions.ask(claims.sid).await?.filter(|user| user.tenant.id == claims.tid);
    Ok(user.map(|user| Caller {
        tenant: user.tenant.id,
        home: Arc::new(user.tenant),
        environment: claims.env,
        actor: Actor::User { user: user.id, session: claims.sid },
        permissions: user.permissions,
        scope: user.scope,
        request,
    }))
}
