//! When a message is tried again: tables of times, per class.

use std::time::Duration;

use super::channel::MessageClass;

/// Waits before the second, third, … try.
const TRANSACTIONAL: &[u64] = &[2, 5, 15, 45, 120];
const OBLIGATION: &[u64] = &[30, 120, 600, 3_600, 4 * 3_600, 12 * 3_600];
const MARKETING: &[u64] = &[60, 300, 1_800, 2 * 3_600, 6 * 3_600];

/// A provider may ask for any wait; more than this is not believed.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// Spread around a time of the table, so that a failed crowd does not come back as a crowd.
const JITTER: f64 = 0.2;

const fn table(class: MessageClass) -> &'static [u64] {
    match class {
        MessageClass::Transactional => TRANSACTIONAL,
        MessageClass::Obligation => OBLIGATION,
        MessageClass::Marketing => MARKETING,
    }
}

/// After this age a message is not worth sending any more.
pub const fn longest_age(class: MessageClass) -> Duration {
    Duration::from_secs(match class {
        MessageClass::Transactional => 10 * 60,
        MessageClass::Obligation => 3 * 24 * 3_600,
        MessageClass::Marketing => 24 * 3_600,
    })
}

/// The wait before the try that follows `burned` failed ones; `None` when the schedule is exhausted.
///
/// `asked` is the provider's Retry-After: it makes a wait longer, up to an hour. `fraction` (0..1) is the randomness.
pub fn next_wait(
    class: MessageClass,
    burned: i16,
    asked: Option<Duration>,
    fraction: f64,
) -> Option<Duration> {
    let seconds = *table(class).get(usize::try_from(burned).ok()?.checked_sub(1)?)?;
    let spread = (fraction.clamp(0.0, 1.0) * 2.0 - 1.0).mul_add(JITTER, 1.0);
    let wait = Duration::from_secs(seconds).mul_f64(spread);
    Some(asked.map_or(wait, |asked| wait.max(asked.min(LONGEST_WAIT))))
}

/// The wait after an answer that burns no attempt, such as a 429: what the provider asks for, at least a second.
pub fn deferral(asked: Option<Duration>, fraction: f64) -> Duration {
    asked.unwrap_or(Duration::from_secs(1)).clamp(Duration::from_secs(1), LONGEST_WAIT)
        + Duration::from_millis(500).mul_f64(fraction.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waits_stay_near_the_table(burned in 1..8_i16, fraction in 0.0..1.0_f64, asked in proptest::option::of(0..u64::MAX / 2)) {
            for &class in MessageClass::ALL {
                let asked = asked.map(Duration::from_secs);
                let wait = next_wait(class, burned, asked, fraction);
                prop_assert_eq!(wait.is_some(), (burned as usize) <= table(class).len());
                if let Some(wait) = wait {
                    let listed = Duration::from_secs(table(class)[burned as usize - 1]);
                    prop_assert!(wait >= listed.mul_f64(0.8) || Some(wait) >= asked);
                    prop_assert!(wait <= listed.mul_f64(1.2).max(LONGEST_WAIT));
                }
                prop_assert!(deferral(asked, fraction) <= LONGEST_WAIT + Duration::from_millis(500));
            }
        }
    }

    #[test]
    fn the_provider_may_ask_for_more_but_not_for_ever() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(next_wait(MessageClass::Transactional, 1, Some(hour * 1_000), 0.5), Some(hour));
        assert_eq!(next_wait(MessageClass::Transactional, 1, None, 0.5), Some(Duration::from_secs(2)));
        assert_eq!(next_wait(MessageClass::Transactional, 6, None, 0.5), None);
    }
}
