//! How long many things of one kind took.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Timing {
    pub(crate) samples: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) most_ms: f64,
}

impl Timing {
    /// Of times in microseconds; of none there is nothing to say.
    pub(crate) fn of(mut micros: Vec<u64>) -> Option<Self> {
        micros.sort_unstable();
        let last = micros.len().checked_sub(1)?;
        let at = |share: usize| millis(micros[(micros.len() * share / 100).min(last)]);
        Some(Self { samples: micros.len() as u64, p50_ms: at(50), p99_ms: at(99), most_ms: at(100) })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time of an hour at most")]
fn millis(us: u64) -> f64 {
    us as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundredth_is_slower_than_the_99th_percentile() {
        let timing = Timing::of((1..=1_000).rev().map(|ms| ms * 1_000).collect()).expect("there are some");
        assert_eq!(timing, Timing { samples: 1_000, p50_ms: 501.0, p99_ms: 991.0, most_ms: 1_000.0 });
        assert_eq!(Timing::of(Vec::new()), None);
    }
}
