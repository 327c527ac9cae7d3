//! The arithmetic of slots and windows, without a clock: what `grant.lua` does in Redis, for grants from Postgres.
//!
//! Times are microseconds of the clock of whoever keeps the state.
//!
//! A *slot* is a moment at which one request may leave. Slots are `1 / pace` apart and are given for the next few
//! milliseconds only: what nobody asks for in time is lost, so there is never a burst.
//!
//! A *long window* counts requests in buckets of a hundredth of its length. The count that must stay within the limit
//! is that of the current bucket and the [`KEPT`] before it: one more than a sliding window can touch, for the
//! milliseconds by which a request may leave later than its slot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::window::{Limits, Window, slots_per_second};

pub(super) const BUCKETS: i64 = 100;
pub(super) const KEPT: i64 = BUCKETS + 1;
/// Bulk may take slots that lie so far ahead…
pub(super) const AHEAD_BULK: i64 = 15_000;
/// …and the urgent this far: the slots between are theirs alone, so that they never find the road taken.
pub(super) const AHEAD_URGENT: i64 = 20_000;
/// A permit that is used later than this after its slot would count in another second.
pub(super) const EXPIRY: i64 = 10_000;
const MICROS: f64 = 1_000_000.0;

/// Requests by bucket, oldest first.
pub(crate) type Buckets = Vec<(i64, u64)>;

/// Buckets by the width of one, in microseconds: what tells the windows apart.
pub(crate) type Windows = BTreeMap<String, Buckets>;

/// What an account has used, as it is kept in Postgres.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Used {
    #[serde(default)]
    pub(super) windows: Windows,
    /// Distinct people in the 24 hours before `people_at`, where that is limited.
    #[serde(default)]
    pub(super) people: u64,
    #[serde(default)]
    pub(super) people_at: i64,
}

/// A long window, as the scripts and the table name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// Of a bucket.
    pub(super) width: i64,
    pub(super) limit: u64,
}

impl From<&Window> for Counted {
    fn from(window: &Window) -> Self {
        let length = i64::try_from(window.window.length().as_micros()).expect("a day fits");
        Self { width: length / BUCKETS, limit: window.requests.get() }
    }
}

impl Counted {
    pub(super) fn key(self) -> String {
        self.width.to_string()
    }

    fn total(self, buckets: &mut Buckets, now: i64) -> u64 {
        let current = now.div_euclid(self.width);
        buckets.retain(|&(bucket, _)| bucket >= current - KEPT);
        buckets.iter().map(|&(_, count)| count).sum()
    }

    fn add(self, buckets: &mut Buckets, now: i64, count: u64) {
        let current = now.div_euclid(self.width);
        match buckets.last_mut() {
            // A clock that went back counts in the latest bucket: it is kept longest.
            Some(last) if last.0 >= current => last.1 += count,
            _ => buckets.push((current, count)),
        }
    }

    /// How long until something is free again, when nothing is.
    fn wait(self, buckets: &Buckets, now: i64) -> i64 {
        buckets.first().map_or(0, |&(oldest, _)| ((oldest + KEPT + 1) * self.width - now).max(1_000))
    }
}

/// The state of an account while its permits come from Postgres.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timeline {
    pub(crate) next: i64,
    pub(crate) used: Used,
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) count: u32,
    pub(crate) ahead: i64,
    /// Requests a second, before the margin.
    pub(crate) pace: f64,
}

/// Slots at `first`, `first + step`, …; where there are fewer than were asked for, when to ask again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slots {
    pub(crate) first: f64,
    pub(crate) step: f64,
    pub(crate) count: u32,
    pub(crate) wait: i64,
}

impl Timeline {
    pub(crate) fn grant(&mut self, limits: &Limits, ask: Ask, now: i64) -> Slots {
        let step = MICROS / slots_per_second(ask.pace);
        let first = self.next.max(now);
        let horizon = now + ask.ahead;
        let room = if first > horizon { 0 } else { ((horizon - first) as f64 / step) as u32 + 1 };
        let mut count = ask.count.min(room);
        let mut wait = None;
        for window in limits.long().iter().map(Counted::from) {
            let buckets = self.used.windows.entry(window.key()).or_default();
            let left = window.limit.saturating_sub(window.total(buckets, first));
            if left < u64::from(count) || left == 0 {
                count = u32::try_from(left).unwrap_or(count);
                wait = wait.max(Some(window.wait(buckets, now)));
            }
        }
        for window in limits.long().iter().map(Counted::from).filter(|_| count > 0) {
            window.add(self.used.windows.entry(window.key()).or_default(), first, u64::from(count));
        }
        let end = first as f64 + step * f64::from(count);
        if count > 0 {
            self.next = end.ceil() as i64;
        }
        let wait = wait.unwrap_or_else(|| (end.ceil() as i64 - horizon).max(0));
        Slots { first: first as f64, step, count, wait: if count == ask.count { 0 } else { wait } }
    }
}

impl Used {
    /// Whether nothing has been counted yet.
    pub(crate) fn is_unused(&self) -> bool {
        self.windows.is_empty()
    }

    /// What to assume after `gap` microseconds of which nobody knows: that the account went at full pace.
    pub(crate) fn after_gap(mut self, limits: &Limits, gap: i64, now: i64) -> Self {
        // A second more: what is known was read a little before it was written.
        let unknown = (limits.per_second() * (gap.max(0) as f64 / MICROS + 1.0)).ceil() as u64;
        for window in limits.long().iter().map(Counted::from) {
            let buckets = self.windows.entry(window.key()).or_default();
            let left = window.limit.saturating_sub(window.total(buckets, now));
            if unknown.min(left) > 0 {
                window.add(buckets, now, unknown.min(left));
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use proptest::prelude::*;

    use super::{super::window::Span, *};

    fn limits(windows: &[(Span, u64)]) -> Limits {
        let window =
            |&(window, requests)| Window { window, requests: NonZeroU64::new(requests).expect("not zero") };
        Limits::new(&windows.iter().map(window).collect::<Vec<_>>()).expect("limited")
    }

    /// The most in any stretch of `span` microseconds.
    fn worst(times: &[f64], span: f64) -> usize {
        let mut from = 0;
        (0..times.len())
            .map(|to| {
                while times[to] - times[from] >= span {
                    from += 1;
                }
                to - from + 1
            })
            .max()
            .unwrap_or(0)
    }

    proptest! {
        #[test]
        fn no_window_is_ever_exceeded(
            per_second in 1_u64..400,
            per_minute in 1_u64..2_000,
            asks in proptest::collection::vec((1_u32..300, any::<bool>(), 0_i64..900_000), 1..600),
        ) {
            let limits = limits(&[(Span::Second, per_second), (Span::Minute, per_minute)]);
            let mut timeline = Timeline { next: 0, used: Used::default() };
            let (mut now, mut times) = (1_700_000_000_000_000_i64, Vec::new());
            for (count, urgent, pause) in asks {
                let ahead = if urgent { AHEAD_URGENT } else { AHEAD_BULK };
                let ask = Ask { count, ahead, pace: limits.per_second() };
                let slots = timeline.grant(&limits, ask, now);
                prop_assert!(slots.count <= count);
                prop_assert!(slots.count == count || slots.wait >= 0);
                times.extend((0..slots.count).map(|i| slots.first + slots.step * f64::from(i)));
                prop_assert!(times.last().is_none_or(|&last| last <= (now + AHEAD_URGENT) as f64 + 1.0));
                now += pause;
            }
            prop_assert!(times.is_sorted());
            // One request comes late: by 20 ms, and by as much as lies between two of a small account.
            let late = 20_000.0 + (MICROS / per_second as f64).min(80_000.0);
            prop_assert!(worst(&times, MICROS + late) as u64 <= per_second, "with {late} us of lateness");
            prop_assert!(worst(&times, 60_010_000.0) as u64 <= per_minute, "with 10 ms of lateness");
        }

        /// Waiting as long as one is told to is enough to get something.
        #[test]
        fn the_wait_is_honest(per_minute in 1_u64..50, hungry in 1_u32..100) {
            let limits = limits(&[(Span::Minute, per_minute)]);
            let mut timeline = Timeline { next: 0, used: Used::default() };
            let mut now = 1_700_000_000_000_000_i64;
            for _ in 0..200 {
                let ask = Ask { count: hungry, ahead: AHEAD_BULK, pace: limits.per_second() };
                let slots = timeline.grant(&limits, ask, now);
                if slots.count == 0 {
                    prop_assert!(slots.wait > 0);
                    now += slots.wait;
                    prop_assert!(timeline.grant(&limits, ask, now).count > 0);
                }
                now += slots.wait.max(1);
            }
        }
    }

    #[test]
    fn an_unknown_gap_counts_as_used() {
        let limits = limits(&[(Span::Second, 10), (Span::Minute, 100)]);
        let now = 1_700_000_000_000_000;
        let left = |gap| {
            let used = Used::default().after_gap(&limits, gap, now);
            100 - used.windows["600000"].iter().map(|&(_, count)| count).sum::<u64>()
        };
        assert_eq!(left(0), 90);
        assert_eq!(left(2_000_000), 70);
        assert_eq!(left(3_600_000_000), 0);
    }
}
