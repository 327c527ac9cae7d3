//! How long answers take: counted by bounds, so that the numbers of hours, processes and countries can be added up.

use std::time::Duration;

/// In milliseconds; what took longer than the last is counted beyond it.
pub const BOUNDS: [u64; 17] =
    [5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_500, 5_000, 10_000];

/// Which of the counts an answer belongs to.
pub fn bound(answer: Duration) -> usize {
    BOUNDS.partition_point(|&bound| Duration::from_millis(bound) < answer)
}

/// The time within which this share of the answers came, in milliseconds, taken to be even between two bounds; `None` of none.
pub fn quantile(counts: &[i64], share: f64) -> Option<f64> {
    let total: i64 = counts.iter().sum();
    if total <= 0 {
        return None;
    }
    let wanted = share * total as f64;
    let (mut seen, mut from) = (0.0, 0.0);
    for (at, &count) in counts.iter().enumerate() {
        // Of the slowest nothing is known but the last bound.
        let to = BOUNDS.get(at).map_or(from, |&bound| bound as f64);
        let count = count as f64;
        if count > 0.0 && seen + count >= wanted {
            return Some(from + (to - from) * ((wanted - seen) / count).clamp(0.0, 1.0));
        }
        seen += count;
        from = to;
    }
    Some(from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_belongs_to_the_bound_that_it_kept() {
        for (micros, expected) in
            [(0, 0), (5_000, 0), (5_001, 1), (10_000_000, 16), (10_000_001, 17), (u64::MAX / 1_000, 17)]
        {
            assert_eq!(bound(Duration::from_micros(micros)), expected, "{micros}");
        }
    }

    #[test]
    fn of_none_nothing_is_known_and_of_the_slowest_the_last_bound() {
        assert_eq!(quantile(&[], 0.95), None);
        assert_eq!(quantile(&[0; 18], 0.95), None);
        let mut slow = [0; 18];
        slow[17] = 3;
        assert_eq!(quantile(&slow, 0.95), Some(10_000.0));
        assert_eq!(quantile(&[0, 100], 0.5), Some(7.5));
    }

    proptest! {
        #[test]
        fn a_quantile_is_within_the_bounds_of_its_answer(mut answers in prop::collection::vec(0..9_999_999_u64, 1..200), share in 0.01..1.0_f64) {
            let mut counts = [0_i64; BOUNDS.len() + 1];
            for &answer in &answers {
                counts[bound(Duration::from_micros(answer))] += 1;
            }
            answers.sort_unstable();
            let rank = ((share * answers.len() as f64).ceil() as usize).clamp(1, answers.len());
            let at = bound(Duration::from_micros(answers[rank - 1]));
            let told = quantile(&counts, share).expect("there are some");
            let low = if at == 0 { 0.0 } else { BOUNDS[at - 1] as f64 };
            prop_assert!(told >= low - 1e-6 && told <= BOUNDS[at] as f64 + 1e-6, "{told} is not within {low} and {}", BOUNDS[at]);
        }
    }
}
