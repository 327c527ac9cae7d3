//! The limiter's side of Redis: keys and scripts; nothing else here speaks it.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `<prefix>:{<account>}:pace` | hash | next slot, pace, block, long windows (`grant.lua`) |
//! | `<prefix>:{<account>}:pairs` | string | since when pairs are counted (`pairs.lua`) |
//! | `<prefix>:{<account>}:pair:<hash>` | string | when a pair's debt is paid off |
//! | `<prefix>:{<account>}:people` | sorted set | hashes of the addresses written to in 24 hours (`people.lua`) |
//! | `<prefix>:{<account>}:people:since` | hash | since when they are counted |
//!
//! The braces are the hash tag of Redis Cluster: all keys of an account live on one node. Addresses are hashed with the
//! account, so that Redis never holds one.

use std::sync::LazyLock;

use redis::{Script, Value, from_redis_value};

use super::{
    timeline::{Buckets, Counted, Windows},
    window::Limits,
};
use crate::{
    id::AccountId,
    link::{LinkError, RedisLink},
};

static GRANT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/grant.lua")));
static PAIRS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/pairs.lua")));
static PEOPLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/people.lua")));

#[derive(Debug, Clone)]
pub(super) struct Redis {
    link: RedisLink,
    prefix: String,
}

/// What a process tells the script about an account.
#[derive(Debug, Clone)]
pub(super) struct GrantAsk<'a> {
    pub(super) account: AccountId,
    pub(super) limits: &'a Limits,
    pub(super) epoch: i64,
    pub(super) count: u32,
    pub(super) ahead: i64,
    pub(super) pace: f64,
    pub(super) generation: i64,
    /// Microseconds for which nothing may leave.
    pub(super) block: i64,
    /// What the long windows held, for a Redis that has lost it.
    pub(super) seed: Option<&'a super::timeline::Used>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Busy,
    Blocked,
    Exhausted,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum GrantAnswer {
    /// Times in microseconds of Redis' clock.
    Slots { now: f64, first: f64, step: f64, count: u32, wait: i64, why: Why, generation: i64 },
    /// Permits come from Postgres, or have since the asker last looked.
    Stale,
    /// Redis does not hold the long windows: ask again with a seed.
    Unseeded,
}

/// Times in microseconds of Redis' clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct People {
    pub(super) at: i64,
    pub(super) counted: i64,
    /// For each address; 0 where it is admitted.
    pub(super) waits: Vec<i64>,
}

impl Redis {
    pub(super) fn new(link: RedisLink, prefix: &str) -> Self {
        Self { link, prefix: prefix.replace(['{', '}'], "") }
    }

    fn key(&self, account: AccountId, name: &str) -> String {
        format!("{}:{{{account}}}:{name}", self.prefix)
    }

    /// Redis' clock, in microseconds.
    pub(super) async fn time(&self) -> Result<f64, LinkError> {
        let (seconds, micros): (f64, f64) =
            redis::cmd("TIME").query_async(&mut self.link.short().await?).await?;
        Ok(seconds.mul_add(1e6, micros))
    }

    pub(super) async fn grant(&self, ask: &GrantAsk<'_>) -> Result<GrantAnswer, LinkError> {
        let mut call = GRANT.key(self.key(ask.account, "pace"));
        call.arg(ask.epoch).arg(ask.count).arg(ask.ahead).arg(ask.pace).arg(ask.generation).arg(ask.block);
        call.arg(ask.limits.long().len());
        for window in ask.limits.long().iter().map(Counted::from) {
            let seed = ask.seed.map(|used| used.windows.get(&window.key()).cloned().unwrap_or_default());
            let seed =
                seed.map(|buckets| serde_json::to_string(&buckets).expect("numbers")).unwrap_or_default();
            call.arg(window.width).arg(window.limit).arg(seed);
        }
        let answer: Vec<Value> = call.invoke_async(&mut self.link.short().await?).await?;
        granted(answer).map_err(LinkError::Refused)
    }

    /// What the long windows of an account hold, while Redis speaks for `epoch`.
    pub(super) async fn windows(
        &self,
        account: AccountId,
        limits: &Limits,
        epoch: i64,
    ) -> Result<Option<Windows>, LinkError> {
        let windows: Vec<Counted> = limits.long().iter().map(Counted::from).collect();
        let mut get = redis::cmd("HMGET");
        get.arg(self.key(account, "pace")).arg("epoch");
        get.arg(windows.iter().map(|window| format!("w{}", window.width)).collect::<Vec<_>>());
        let held: Vec<Option<String>> = get.query_async(&mut self.link.short().await?).await?;
        if held.first().and_then(Option::as_deref) != Some(epoch.to_string().as_str()) {
            return Ok(None);
        }
        let buckets = |held: Option<String>| serde_json::from_str::<Buckets>(&held?).ok();
        let held = held.into_iter().skip(1).map(buckets);
        Ok(windows.iter().zip(held).map(|(window, buckets)| Some((window.key(), buckets?))).collect())
    }

    /// Microseconds to wait for each address; 0 where the message is taken.
    pub(super) async fn pairs(&self, account: AccountId, hashes: &[String]) -> Result<Vec<i64>, LinkError> {
        let mut call = PAIRS.key(self.key(account, "pairs"));
        for hash in hashes {
            call.key(self.key(account, &format!("pair:{hash}")));
        }
        Ok(call.invoke_async(&mut self.link.short().await?).await?)
    }

    /// Whom the account may write to; `None` when Redis needs to know of `ghosts`.
    pub(super) async fn people(
        &self,
        account: AccountId,
        limit: u64,
        ghosts: Option<u64>,
        hashes: &[String],
    ) -> Result<Option<People>, LinkError> {
        let mut call = PEOPLE.key(self.key(account, "people"));
        call.key(self.key(account, "people:since"));
        call.arg(limit).arg(ghosts.map(|ghosts| ghosts.to_string()).unwrap_or_default()).arg(hashes);
        let answer: Vec<Value> = call.invoke_async(&mut self.link.short().await?).await?;
        // "unseeded" is no number.
        let numbers: Option<Vec<i64>> =
            answer.into_iter().map(|value| from_redis_value(value).ok()).collect();
        Ok(numbers.and_then(|numbers| match numbers.as_slice() {
            [at, counted, waits @ ..] => Some(People { at: *at, counted: *counted, waits: waits.to_vec() }),
            _ => None,
        }))
    }
}

/// Names an address without telling it.
pub(super) fn hash(account: AccountId, address: &str) -> String {
    let mut hasher = blake3::Hasher::new_keyed(&key_of(account));
    hasher.update(address.as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

fn key_of(account: AccountId) -> [u8; 32] {
    blake3::derive_key("fanfare limiter address", account.uuid().as_bytes())
}

fn granted(answer: Vec<Value>) -> Result<GrantAnswer, redis::RedisError> {
    let mut fields = answer.into_iter();
    let mut next = || fields.next().unwrap_or(Value::Nil);
    let status: String = from_redis_value(next())?;
    match status.as_str() {
        "ok" => Ok(GrantAnswer::Slots {
            now: from_redis_value(next())?,
            first: from_redis_value(next())?,
            step: from_redis_value(next())?,
            count: from_redis_value(next())?,
            wait: from_redis_value(next())?,
            why: match from_redis_value::<String>(next())?.as_str() {
                "blocked" => Why::Blocked,
                "exhausted" => Why::Exhausted,
                _ => Why::Busy,
            },
            generation: from_redis_value(next())?,
        }),
        "stale" => Ok(GrantAnswer::Stale),
        _ => Ok(GrantAnswer::Unseeded),
    }
}
