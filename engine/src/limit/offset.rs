//! How another machine's clock relates to our monotonic one.
//!
//! Slots are moments of the clock of Redis or Postgres; waiting uses the monotonic clock, which nobody sets. Each call
//! that answers with the remote time bounds the difference between its sending and its receipt; the tightest recent
//! bound is the estimate. Pure: all times are passed in, in microseconds.

/// Two clocks drift apart by no more than this, in microseconds a microsecond.
const DRIFT: f64 = 0.000_2;
/// A bound that excludes the estimate by more than this means that the remote clock was set.
const TOLERANCE: f64 = 2_000.0;

/// One exchange: local time before, remote time, local time after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) sent: f64,
    pub(super) remote: f64,
    pub(super) received: f64,
}

/// Whether the estimate before the sample can be true with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Steady,
    /// The remote clock was set: moments that were converted before are wrong.
    Stepped,
}

#[derive(Debug, Clone, Copy)]
struct Estimate {
    /// Remote minus local.
    offset: f64,
    error: f64,
    at: f64,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClockOffset {
    estimate: Option<Estimate>,
}

impl ClockOffset {
    pub(super) fn observe(&mut self, sample: Sample) -> Seen {
        let fresh = Estimate {
            offset: sample.remote - f64::midpoint(sample.sent, sample.received),
            error: (sample.received - sample.sent).max(0.0) / 2.0,
            at: sample.received,
        };
        let Some(held) = self.estimate else {
            self.estimate = Some(fresh);
            return Seen::Steady;
        };
        let held_error = DRIFT.mul_add((fresh.at - held.at).max(0.0), held.error);
        if (fresh.offset - held.offset).abs() > fresh.error + held_error + TOLERANCE {
            self.estimate = Some(fresh);
            return Seen::Stepped;
        }
        if fresh.error <= held_error {
            self.estimate = Some(fresh);
        }
        Seen::Steady
    }

    /// A remote moment in local time; `None` before the first sample.
    pub(super) fn local(&self, remote: f64) -> Option<f64> {
        self.estimate.map(|estimate| remote - estimate.offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the delays, the estimate is off by no more than half of the best round trip and some drift.
        #[test]
        fn the_best_round_trip_bounds_the_error(
            offset in -1e12..1e12_f64,
            delays in proptest::collection::vec((10.0..50_000.0_f64, 10.0..50_000.0_f64), 1..100),
        ) {
            let mut clock = ClockOffset::default();
            let (mut local, mut best) = (0.0, f64::INFINITY);
            for (there, back) in delays {
                let sample = Sample { sent: local, remote: local + there + offset, received: local + there + back };
                prop_assert_eq!(clock.observe(sample), Seen::Steady);
                best = f64::min(best, (there + back) / 2.0);
                local += there + back + 1_000.0;
            }
            let guess = clock.local(offset).expect("samples");
            prop_assert!(guess.abs() <= best + DRIFT * local + 1.0, "{guess} beyond {best}");
        }

        #[test]
        fn a_clock_that_was_set_is_noticed(step in prop_oneof![-1e9..-10_000.0_f64, 10_000.0..1e9_f64]) {
            let mut clock = ClockOffset::default();
            for i in 0..10 {
                let sent = f64::from(i) * 1_000.0;
                clock.observe(Sample { sent, remote: sent + 50.0, received: sent + 100.0 });
            }
            let after = Sample { sent: 20_000.0, remote: 20_050.0 + step, received: 20_100.0 };
            prop_assert_eq!(clock.observe(after), Seen::Stepped);
            prop_assert!((clock.local(step).expect("samples")).abs() < 100.0);
        }
    }
}
