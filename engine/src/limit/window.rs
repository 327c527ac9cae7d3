//! What an account may do: requests per second, minute, hour and day, all at once.

use std::{num::NonZeroU64, time::Duration};

use serde::{Deserialize, Serialize};

use crate::domain::channel::text_enum;

/// Slots are given a little slower than the limit: a permit may be used up to 10 ms after its slot, and the wire adds
/// a few, so that a second at the provider may hold the slots of 1.02 seconds. At 98.5 % four processes of 500/s came to
/// 501 in a second when something else wanted the processor too.
const SAFETY: f64 = 0.98;
/// A small limit needs its margin in requests too: 2 % of 50 a second are one slot, and two processors with work for four
/// delay a message by more. One request less a second, as long as that is not more than a tenth.
const SPARE: f64 = 1.0;
const LEAST_SHARE: f64 = 0.9;
/// The slowest pace that refusals may push an account to, as a share of its limit.
const SLOWEST: f64 = 0.02;
/// What an account that was throttled wins back each second, as a share of its limit.
pub(crate) const RECOVERY_PER_SECOND: f64 = 0.02;
/// A long window need not last: a sixtieth of it is enough to use it up, so that nobody sends it all in one instant.
const SHARE_TO_USE_UP: f64 = 60.0;

text_enum! {
    Span {
        Second => "second",
        Minute => "minute",
        Hour => "hour",
        Day => "day",
    }
}

impl Span {
    pub const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }
}

/// At most `requests` in any stretch of time as long as `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub window: Span,
    pub requests: NonZeroU64,
}

impl Window {
    /// The average pace that the window allows.
    pub fn per_second(&self) -> f64 {
        self.requests.get() as f64 / self.window.length().as_secs_f64()
    }
}

/// Slots a second for a pace in requests a second.
pub(super) fn slots_per_second(pace: f64) -> f64 {
    pace.mul_add(SAFETY, -SPARE).max(pace * LEAST_SHARE)
}

/// All windows of an account, as the pacer uses them.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// The fastest pace: that of the second's window, or one that would use up a long window in a sixtieth of it.
    per_second: f64,
    /// Minute, hour, day.
    long: Vec<Window>,
}

impl Limits {
    /// `None` when there is no window at all: such an account is not paced.
    pub fn new(windows: &[Window]) -> Option<Self> {
        let pace = |window: &Window| match window.window {
            Span::Second => window.per_second(),
            _ => window.per_second() * SHARE_TO_USE_UP,
        };
        let per_second = windows.iter().map(pace).reduce(f64::min)?;
        let long = windows.iter().filter(|window| window.window != Span::Second).copied().collect();
        Some(Self { per_second, long })
    }

    pub const fn per_second(&self) -> f64 {
        self.per_second
    }

    pub fn long(&self) -> &[Window] {
        &self.long
    }

    /// The pace that refusals left, `elapsed` after they lowered it to `lowered`: it recovers steadily.
    pub(crate) fn pace(&self, lowered: Option<f64>, elapsed: Duration) -> f64 {
        let recovered = RECOVERY_PER_SECOND * self.per_second * elapsed.as_secs_f64();
        lowered.map_or(self.per_second, |lowered| {
            (lowered + recovered).clamp(self.per_second * SLOWEST, self.per_second)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(window: Span, requests: u64) -> Window {
        Window { window, requests: NonZeroU64::new(requests).expect("not zero") }
    }

    #[test]
    fn the_tightest_window_sets_the_pace() {
        let check = |windows: &[Window], expected: Option<f64>| {
            assert_eq!(Limits::new(windows).map(|limits| limits.per_second()), expected, "{windows:?}");
        };
        check(&[], None);
        check(&[window(Span::Second, 1_000)], Some(1_000.0));
        check(&[window(Span::Minute, 600)], Some(600.0));
        check(&[window(Span::Second, 100), window(Span::Day, 1_440)], Some(1.0));
    }

    #[test]
    fn a_lowered_pace_recovers_to_the_limit_and_no_further() {
        let limits = Limits::new(&[window(Span::Second, 1_000)]).expect("limited");
        let check = |lowered, seconds, expected: f64| {
            let pace = limits.pace(lowered, Duration::from_secs(seconds));
            assert!((pace - expected).abs() < 1e-6, "{lowered:?} after {seconds} s: {pace}");
        };
        check(None, 0, 1_000.0);
        check(Some(700.0), 0, 700.0);
        check(Some(700.0), 5, 800.0);
        check(Some(700.0), 3_600, 1_000.0);
        check(Some(0.0), 0, 20.0);
    }

    #[test]
    fn windows_read_as_they_are_stored() {
        let read: Vec<Window> =
            serde_json::from_str(r#"[{"window": "minute", "requests": 600}]"#).expect("as in the table");
        assert_eq!(read, [window(Span::Minute, 600)]);
        assert!(serde_json::from_str::<Window>(r#"{"window": "minute", "requests": 0}"#).is_err());
    }
}
