//! How many requests a caller may make: so many a second for each tenant, each API key and, before anybody has proved who
//! they are, each peer; visitors of the pages for recipients are counted by themselves. Counted in this process; several processes allow as many times more.
//!
//! Every answer to a counted request says how much is left, in `RateLimit-Limit`, `RateLimit-Remaining` and
//! `RateLimit-Reset`, by whichever limit is nearest.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use fanfare_engine::id::{ApiKeyId, TenantId};
use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DefaultKeyedStateStore,
};

use super::problem::{Code, Problem};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

type Keyed<K> = RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// Requests a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowances {
    pub(crate) tenant: NonZeroU32,
    pub(crate) key: NonZeroU32,
    pub(crate) stranger: NonZeroU32,
    pub(crate) visitor: NonZeroU32,
}

#[derive(Debug)]
pub(crate) struct Limits {
    allowed: Allowances,
    tenants: Keyed<TenantId>,
    keys: Keyed<ApiKeyId>,
    strangers: Keyed<IpAddr>,
    visitors: Keyed<IpAddr>,
    clock: DefaultClock,
}

/// A request above a limit; what it is answered says which, as every other answer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    limit: u32,
    wait: Duration,
}

/// What is left to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    limit: u32,
    remaining: u32,
}

impl Limits {
    pub(crate) fn new(allowed: Allowances) -> Self {
        Self {
            allowed,
            tenants: keyed(allowed.tenant),
            keys: keyed(allowed.key),
            strangers: keyed(allowed.stranger),
            visitors: keyed(allowed.visitor),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a request of somebody known.
    pub(crate) fn known(&self, tenant: TenantId, key: Option<ApiKeyId>) -> Result<Left, Refused> {
        let by_key = key.map(|key| self.count(&self.keys, &key, self.allowed.key)).transpose()?;
        let by_tenant = self.count(&self.tenants, &tenant, self.allowed.tenant)?;
        Ok(by_key.into_iter().chain([by_tenant]).min_by_key(|left| left.remaining).unwrap_or(by_tenant))
    }

    /// Counts a request of somebody who has not proved who they are.
    pub(crate) fn stranger(&self, peer: IpAddr) -> Result<Left, Refused> {
        self.count(&self.strangers, &peer, self.allowed.stranger)
    }

    /// Counts a request to a page for recipients.
    pub(crate) fn visitor(&self, peer: IpAddr) -> Result<(), Refused> {
        self.count(&self.visitors, &peer, self.allowed.visitor).map(drop)
    }

    fn count<K: Clone + Eq + std::hash::Hash>(
        &self,
        limiter: &Keyed<K>,
        key: &K,
        limit: NonZeroU32,
    ) -> Result<Left, Refused> {
        match limiter.check_key(key) {
            Ok(state) => Ok(Left { limit: limit.get(), remaining: state.remaining_burst_capacity() }),
            Err(refused) => {
                let wait = refused.wait_time_from(self.clock.now()).max(Duration::from_secs(1));
                Err(Refused { limit: limit.get(), wait })
            }
        }
    }

    /// Forgets whoever has not asked for a while.
    pub(crate) fn tidy(&self) {
        self.tenants.retain_recent();
        self.keys.retain_recent();
        self.strangers.retain_recent();
        self.visitors.retain_recent();
    }
}

fn keyed<K: Clone + Eq + std::hash::Hash>(allowed: NonZeroU32) -> Keyed<K> {
    RateLimiter::keyed(Quota::per_second(allowed)).with_middleware()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = Problem::from(Code::TooMany).retry_after(self.wait).into_response();
        Left { limit: self.limit, remaining: 0 }.write(response.headers_mut());
        response
    }
}

impl Left {
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        // All of it is there again after a second at most.
        headers.insert(RESET, HeaderValue::from(1));
    }
}

#[cfg(test)]
mod tests {
    use fanfare_engine::id::Ids;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn many_keys_do_not_make_a_tenant_larger() {
        let few = |n| NonZeroU32::new(n).expect("not zero");
        let limits =
            Limits::new(Allowances { tenant: few(5), key: few(3), stranger: few(1), visitor: few(1) });
        let ids = Ids::from_seed(1);
        let (tenant, other) = (ids.next(Timestamp::UNIX_EPOCH), ids.next(Timestamp::UNIX_EPOCH));
        let keys: Vec<ApiKeyId> = (0..3).map(|_| ids.next(Timestamp::UNIX_EPOCH)).collect();
        assert_eq!(limits.known(tenant, Some(keys[0])), Ok(Left { limit: 3, remaining: 2 }));
        let taken = (0..9).filter(|&at| limits.known(tenant, Some(keys[at % 3])).is_ok()).count();
        assert_eq!(taken, 4, "five in all");
        assert!(limits.known(other, None).is_ok());
        let peer = IpAddr::from([192, 0, 2, 1]);
        assert!(limits.stranger(peer).is_ok());
        let refused = limits.stranger(peer).expect_err("one a second").into_response();
        let said = |name: &str| refused.headers()[name].to_str().expect("a number").to_owned();
        assert_eq!(
            [LIMIT, REMAINING, RESET].map(|name| said(name.as_str())),
            ["1", "0", "1"].map(str::to_owned)
        );
        assert_eq!((refused.status().as_u16(), said("retry-after")), (429, "1".to_owned()));
    }
}
