//! A circuit breaker: stops sending over an account whose provider fails, and tries again now and then.
//!
//! It opens after [`ENOUGH`] failures in a row, or when half of the last [`REMEMBERED`] answers were failures, at
//! once when the provider asks for a wait. Then one probe is let through after the wait; its success closes the
//! breaker, its failure doubles the wait, up to a minute. Answers that say something about a message or its recipient
//! are successes: the provider works.
//!
//! Each process has its own: a provider may fail for one network and work for another. [`State`] is pure, with time and
//! chance passed in; [`Breaker`] adds the clock and a lock.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Failures in a row that open it: at a few requests a second still within seconds.
pub const ENOUGH: u32 = 10;
/// Answers that a share is taken of.
pub const REMEMBERED: u32 = 64;
/// With fewer requests than `ENOUGH`: failing for so long, and nothing else, opens it too.
const FAILING_FOR: Duration = Duration::from_secs(8);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A provider may ask for any wait; more than this is not believed.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);
/// A probe whose answer never came is forgotten after so long, and another is let through.
const PROBE_WITHIN: Duration = Duration::from_secs(60);

/// The last answers, newest in the lowest bit: 1 is a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recent {
    failures: u64,
    seen: u32,
    in_a_row: u32,
    /// When the failures in a row began.
    since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Closed(Recent),
    /// Nobody sends until then. `waits` counts the waits in a row.
    Open {
        until: Instant,
        waits: u32,
    },
    /// One request is on its way to see.
    HalfOpen {
        since: Instant,
        waits: u32,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed(Recent::default())
    }
}

impl State {
    /// Whether a request may be sent now; the state after.
    pub fn ask(self, now: Instant) -> (bool, Self) {
        match self {
            Self::Closed(_) => (true, self),
            Self::Open { until, waits } if now >= until => (true, Self::HalfOpen { since: now, waits }),
            Self::HalfOpen { since, waits } if now.saturating_duration_since(since) >= PROBE_WITHIN => {
                (true, Self::HalfOpen { since: now, waits })
            }
            Self::Open { .. } | Self::HalfOpen { .. } => (false, self),
        }
    }

    #[must_use]
    pub fn succeeded(self) -> Self {
        match self {
            Self::Closed(Recent { failures, seen, .. }) => Self::Closed(Recent {
                failures: failures << 1,
                seen: (seen + 1).min(REMEMBERED),
                in_a_row: 0,
                since: None,
            }),
            // The late answer to a request from before proves as much as the probe does.
            Self::HalfOpen { .. } => Self::default(),
            Self::Open { .. } => self,
        }
    }

    /// `asked` is the provider's wish for a wait, `fraction` (0..1) the chance that spreads the waits of processes.
    #[must_use]
    pub fn failed(self, now: Instant, asked: Option<Duration>, fraction: f64) -> Self {
        match self {
            Self::Closed(recent) => {
                let recent = recent.with_failure(now);
                if asked.is_some() || recent.is_enough(now) {
                    Self::opened(now, 0, asked, fraction)
                } else {
                    Self::Closed(recent)
                }
            }
            Self::HalfOpen { waits, .. } => Self::opened(now, waits + 1, asked, fraction),
            // Answers to requests from before it opened; only a longer wish counts.
            Self::Open { until, waits } => {
                let wished = asked.map_or(until, |asked| now + asked.min(LONGEST_ASKED));
                Self::Open { until: until.max(wished), waits }
            }
        }
    }

    fn opened(now: Instant, waits: u32, asked: Option<Duration>, fraction: f64) -> Self {
        let doubled = FIRST_WAIT.saturating_mul(1 << waits.min(10)).min(LONGEST_WAIT);
        let spread = doubled.mul_f64(fraction.clamp(0.0, 1.0).mul_add(0.5, 0.5));
        let wait = asked.map_or(spread, |asked| asked.min(LONGEST_ASKED));
        Self::Open { until: now + wait, waits }
    }
}

impl Recent {
    fn with_failure(self, now: Instant) -> Self {
        Self {
            failures: self.failures << 1 | 1,
            seen: (self.seen + 1).min(REMEMBERED),
            in_a_row: self.in_a_row + 1,
            since: self.since.or(Some(now)),
        }
    }

    fn is_enough(&self, now: Instant) -> bool {
        let failing_for = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.in_a_row >= ENOUGH
            || (self.in_a_row >= 2 && failing_for >= FAILING_FOR)
            || (self.seen == REMEMBERED && self.failures.count_ones() * 2 >= REMEMBERED)
    }
}

/// The breaker of one account in one process.
#[derive(Debug, Default)]
pub struct Breaker {
    state: Mutex<State>,
}

impl Breaker {
    /// Whether a request may be sent now. Half-open, the one who hears yes is the probe: send, and report.
    pub fn allows(&self) -> bool {
        self.change(|state| state.ask(Instant::now()))
    }

    /// Whether a request could be sent, without taking the probe's place: for those who only choose an account.
    pub fn is_closed(&self) -> bool {
        self.change(|state| (state.ask(Instant::now()).0, state))
    }

    /// Whether the request that was allowed last is to find out if the provider is back.
    pub fn is_probing(&self) -> bool {
        self.change(|state| (matches!(state, State::HalfOpen { .. }), state))
    }

    pub fn succeeded(&self) {
        self.change(|state| ((), state.succeeded()));
    }

    pub fn failed(&self, retry_after: Option<Duration>) {
        #[expect(
            clippy::disallowed_methods,
            reason = "spreads the end of a wait; the state machine takes it as a parameter"
        )]
        let fraction = rand::random::<f64>();
        self.change(|state| ((), state.failed(Instant::now(), retry_after, fraction)));
    }

    pub fn state(&self) -> State {
        self.change(|state| (state, state))
    }

    fn change<T>(&self, change: impl FnOnce(State) -> (T, State)) -> T {
        let mut held = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, state) = change(*held);
        *held = state;
        answer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(mut state: State, failures: u32, now: Instant) -> State {
        for _ in 0..failures {
            state = state.failed(now, None, 1.0);
        }
        state
    }

    proptest! {
        /// Total failure opens it within ten seconds, at any pace of at least one answer in four seconds.
        #[test]
        fn total_failure_opens_it_in_time(pauses in proptest::collection::vec(1_u64..4_000, 12..40), before in 0..100_u32) {
            let start = Instant::now();
            let mut state = (0..before).fold(State::default(), |state, _| state.succeeded());
            let mut now = start;
            for pause in pauses {
                state = state.failed(now, None, 0.5);
                if matches!(state, State::Open { .. }) {
                    break;
                }
                now += Duration::from_millis(pause);
            }
            prop_assert!(matches!(state, State::Open { .. }), "{state:?}");
            prop_assert!(now - start <= Duration::from_secs(12));
        }

        /// Whatever happens, an open breaker lets exactly one request through once its wait is over, and no wait is
        /// longer than what the rules allow.
        #[test]
        fn waits_are_bounded_and_one_probe_goes(events in proptest::collection::vec((0..3_u8, 0..100_000_u64, 0.0..1.0_f64), 1..200)) {
            let (mut state, mut now) = (State::default(), Instant::now());
            for (event, pause, fraction) in events {
                now += Duration::from_millis(pause);
                let (allowed, after) = state.ask(now);
                if let State::Open { until, .. } = state {
                    prop_assert_eq!(allowed, now >= until);
                    prop_assert!(until <= now + LONGEST_ASKED);
                    if allowed {
                        prop_assert!(!after.ask(now).0, "a second probe");
                    }
                }
                state = match event {
                    0 => after.succeeded(),
                    1 => after.failed(now, None, fraction),
                    _ => after.failed(now, Some(Duration::from_millis(pause * 1_000)), fraction),
                };
            }
        }
    }

    #[test]
    fn one_failure_among_successes_changes_nothing() {
        let now = Instant::now();
        let state = (0..1_000).fold(State::default(), |state, i| {
            if i % 3 == 0 { state.failed(now, None, 1.0) } else { state.succeeded() }
        });
        assert!(matches!(state, State::Closed(_)), "a third fails: {state:?}");
        let state = (0..200).fold(State::default(), |state, i| {
            if i % 3 == 0 { state.succeeded() } else { state.failed(now, None, 1.0) }
        });
        assert!(matches!(state, State::Open { .. }), "two thirds fail: {state:?}");
    }

    #[test]
    fn waits_double_to_a_minute_and_success_closes() {
        let mut now = Instant::now();
        let mut state = run(State::default(), ENOUGH, now);
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let State::Open { until, .. } = state else { panic!("not open: {state:?}") };
            assert_eq!(until - now, Duration::from_secs(expected));
            now = until;
            let (allowed, probing) = state.ask(now);
            assert!(allowed);
            state = probing.failed(now, None, 1.0);
        }
        let State::Open { until, .. } = state else { panic!("not open: {state:?}") };
        assert_eq!(state.ask(until).1.succeeded(), State::default());
    }

    #[test]
    fn the_provider_s_wish_wins() {
        let now = Instant::now();
        let asked = Some(Duration::from_secs(90));
        assert_eq!(
            State::default().failed(now, asked, 0.0),
            State::Open { until: now + Duration::from_secs(90), waits: 0 }
        );
        let day = Some(Duration::from_secs(86_400));
        assert_eq!(
            State::default().failed(now, day, 0.0),
            State::Open { until: now + LONGEST_ASKED, waits: 0 }
        );
    }

    #[test]
    fn a_probe_that_never_answers_is_followed_by_another() {
        let now = Instant::now();
        let State::Open { until, .. } = run(State::default(), ENOUGH, now) else { panic!("not open") };
        let (_, probing) = State::Open { until, waits: 0 }.ask(until);
        assert!(!probing.ask(until + Duration::from_secs(59)).0);
        assert!(probing.ask(until + Duration::from_secs(60)).0);
    }
}
