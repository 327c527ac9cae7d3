//! Asks whoever speaks for an account, Redis or Postgres, for slots, and turns them into local time.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    account::{Account, Speaker, as_micros, micros},
    offset::{ClockOffset, Sample, Seen},
    redis::{GrantAnswer, GrantAsk, Redis, Why},
    timeline::Ask,
    window::Limits,
};
use crate::store::{
    Store,
    pace::{PostgresGrant, Source},
};

/// After a failure the same source is asked again so much later.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Slots in local time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Run {
    pub(super) first: Instant,
    pub(super) step: Duration,
    pub(super) count: u32,
    pub(super) generation: i64,
    /// Who gave them: they are void when another speaks.
    pub(super) by: (Source, i64),
}

/// What came of asking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    pub(super) run: Option<Run>,
    /// Ask again after so long, if that was less than was asked for.
    pub(super) wait: Duration,
    pub(super) why: Why,
    /// Requests a second that the account may make, all processes together.
    pub(super) pace: f64,
}

impl Grant {
    const fn nothing(wait: Duration, why: Why) -> Self {
        Self { run: None, wait, why, pace: 0.0 }
    }
}

/// Both sources, for all accounts of a process.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) redis: Redis,
    pub(super) store: Store,
    /// Local times count from here.
    origin: Instant,
    redis_clock: Mutex<ClockOffset>,
    postgres_clock: Mutex<ClockOffset>,
}

/// Requests wanted, and how far ahead their slots may lie, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) count: u32,
    pub(super) ahead: i64,
}

impl Sources {
    pub(super) fn new(redis: Redis, store: Store) -> Self {
        Self {
            redis,
            store,
            origin: Instant::now(),
            redis_clock: Mutex::default(),
            postgres_clock: Mutex::default(),
        }
    }

    pub(super) async fn ask(&self, account: &Account, want: Want) -> Grant {
        let Some(limits) = &account.limits else { return Grant::nothing(AFTER_FAILURE, Why::Busy) };
        let now = Instant::now();
        if let Some(left) = account.blocked(now) {
            return Grant::nothing(left, Why::Blocked);
        }
        match account.speaker(now) {
            Speaker::Nobody(wait) => Grant::nothing(wait, Why::Busy),
            Speaker::Redis { epoch, pace, generation } => {
                let ask = GrantAsk {
                    account: account.id,
                    limits,
                    epoch,
                    count: want.count,
                    ahead: want.ahead,
                    pace,
                    generation,
                    block: 0,
                    seed: None,
                };
                self.ask_redis(ask).await
            }
            Speaker::Postgres { epoch, pace, generation } => {
                let ask = Ask { count: want.count, ahead: want.ahead, pace };
                self.ask_postgres(account, limits, ask, (epoch, generation)).await
            }
        }
    }

    /// Tells Redis at once that nothing may leave for `block`; the others learn it from the row a little later anyway.
    pub(super) async fn block(&self, account: &Account, block: Duration) {
        if let (Some(limits), Speaker::Redis { epoch, pace, generation }) =
            (&account.limits, account.speaker(Instant::now()))
        {
            let block = as_micros(block);
            let ask = GrantAsk {
                account: account.id,
                limits,
                epoch,
                count: 0,
                ahead: 0,
                pace,
                generation,
                block,
                seed: None,
            };
            self.ask_redis(ask).await;
        }
    }

    /// Reads Redis' clock: keeps the estimate fresh and shows that Redis can be reached.
    pub(super) async fn look_at_clock(&self) -> bool {
        let sent = self.local_now();
        match self.redis.time().await {
            Ok(remote) => {
                observe(&self.redis_clock, Sample { sent, remote, received: self.local_now() });
                true
            }
            Err(_) => false,
        }
    }

    async fn ask_redis(&self, ask: GrantAsk<'_>) -> Grant {
        let sent = self.local_now();
        let answer = match self.redis.grant(&ask).await {
            Ok(GrantAnswer::Unseeded) => self.ask_with_seed(&ask).await,
            other => other,
        };
        let received = self.local_now();
        match answer {
            Ok(GrantAnswer::Slots { now, first, step, count, wait, why, generation }) => {
                let seen = observe(&self.redis_clock, Sample { sent, remote: now, received });
                let by = (Source::Redis, ask.epoch);
                let run = self.run(&self.redis_clock, (first, step, count)).filter(|_| {
                    // After a step of the clock two stretches of slots may overlap: these are not used.
                    seen == Seen::Steady
                });
                let run = run.map(|(first, step)| Run { first, step, count, generation, by });
                Grant { run, wait: micros(wait), why, pace: ask.pace }
            }
            Ok(GrantAnswer::Stale | GrantAnswer::Unseeded) => Grant::nothing(AFTER_FAILURE, Why::Busy),
            Err(error) => {
                tracing::debug!(%error, account = %ask.account, "no permits from Redis");
                Grant::nothing(AFTER_FAILURE, Why::Busy)
            }
        }
    }

    async fn ask_with_seed(&self, ask: &GrantAsk<'_>) -> Result<GrantAnswer, crate::link::LinkError> {
        match self.store.used(ask.account, ask.limits).await {
            Ok(Some(used)) => self.redis.grant(&GrantAsk { seed: Some(&used), ..ask.clone() }).await,
            Ok(None) => Ok(GrantAnswer::Unseeded),
            Err(error) => {
                tracing::warn!(%error, account = %ask.account, "the use of the long windows could not be read");
                Ok(GrantAnswer::Unseeded)
            }
        }
    }

    async fn ask_postgres(
        &self,
        account: &Account,
        limits: &Limits,
        ask: Ask,
        (epoch, generation): (i64, i64),
    ) -> Grant {
        let sent = self.local_now();
        match self.store.grant(account.id, limits, ask).await {
            Ok(PostgresGrant::Slots { now, slots }) => {
                observe(
                    &self.postgres_clock,
                    Sample { sent, remote: now as f64, received: self.local_now() },
                );
                let by = (Source::Postgres, epoch);
                let run = self.run(&self.postgres_clock, (slots.first, slots.step, slots.count));
                let run = run.map(|(first, step)| Run { first, step, count: slots.count, generation, by });
                let why = if slots.wait > 1_000_000 { Why::Exhausted } else { Why::Busy };
                Grant { run, wait: micros(slots.wait), why, pace: ask.pace }
            }
            Ok(PostgresGrant::NotYet) => Grant::nothing(AFTER_FAILURE, Why::Busy),
            Err(error) => {
                tracing::debug!(%error, account = %account.id, "no permits from Postgres");
                Grant::nothing(AFTER_FAILURE, Why::Busy)
            }
        }
    }

    fn run(
        &self,
        clock: &Mutex<ClockOffset>,
        (first, step, count): (f64, f64, u32),
    ) -> Option<(Instant, Duration)> {
        let local = clock.lock().unwrap_or_else(PoisonError::into_inner).local(first)?;
        let first = self.origin + Duration::from_secs_f64((local / 1e6).max(0.0));
        (count > 0).then(|| (first, Duration::from_secs_f64(step / 1e6)))
    }

    fn local_now(&self) -> f64 {
        self.origin.elapsed().as_secs_f64() * 1e6
    }
}

fn observe(clock: &Mutex<ClockOffset>, sample: Sample) -> Seen {
    clock.lock().unwrap_or_else(PoisonError::into_inner).observe(sample)
}
