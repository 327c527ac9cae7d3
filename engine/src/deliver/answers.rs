//! How long an account takes to answer, and how many members of a slice are sent at once for it.
//!
//! More requests on the wire than the provider's own time asks for make nothing faster: they wait in more queues, and what
//! belongs to them has left the processor's cache when its turn comes. An answer's time holds our own queues too; the
//! quickest of a second's answers holds least of them. That the mean may narrow nothing, only broaden, keeps a provider
//! of very uneven times from being taken for a quick one.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::slice::INTENT_LIFETIME;

/// A slice is to be sent within this, were all answers as quick as the quickest. Much shorter, and our own queues would
/// broaden the slices that they come from.
const SLICE: f64 = 0.05;
/// By the mean it has to be sent within this share of its intent's life.
const LIFE: f64 = 0.5;
/// Of the members, before the first answer.
const FIRST_SHARE: f64 = 0.05;
const FEWEST: usize = 16;
/// The quickest is looked for in this one and in the one before.
const WINDOW: Duration = Duration::from_secs(1);
/// Weight of an answer in the mean.
const WEIGHT: f64 = 0.02;

/// See the module.
#[derive(Debug, Default)]
pub struct AnswerTimes {
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    mean: f64,
    /// Of the window before.
    quickest_before: f64,
    quickest: f64,
    since: Instant,
}

impl AnswerTimes {
    pub(super) fn observe(&self, answer: Duration, now: Instant) {
        let answer = answer.as_secs_f64();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen =
            seen.get_or_insert(Seen { mean: answer, quickest_before: answer, quickest: answer, since: now });
        seen.mean += WEIGHT * (answer - seen.mean);
        if now.duration_since(seen.since) >= WINDOW {
            *seen = Seen { quickest_before: seen.quickest, quickest: answer, since: now, ..*seen };
        }
        seen.quickest = seen.quickest.min(answer);
    }

    /// How many of a slice's members are best sent at once.
    pub(super) fn at_once(&self, members: usize) -> usize {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let share = seen.map_or(FIRST_SHARE, |seen| {
            let quickest = seen.quickest.min(seen.quickest_before);
            (quickest / SLICE).max(seen.mean / (LIFE * INTENT_LIFETIME.as_secs_f64()))
        });
        ((members as f64 * share.min(1.0)).ceil() as usize).max(FEWEST).min(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand answers a second, of so many milliseconds.
    fn after(answers: impl IntoIterator<Item = u64>) -> AnswerTimes {
        let (times, mut now) = (AnswerTimes::default(), Instant::now());
        for answer in answers {
            now += Duration::from_millis(1);
            times.observe(Duration::from_millis(answer), now);
        }
        times
    }

    #[test]
    fn nothing_is_known_at_first() {
        assert_eq!(after([]).at_once(500), 25);
        assert_eq!(after([]).at_once(10), 10);
    }

    #[test]
    fn a_provider_that_answers_at_once_gets_few() {
        assert_eq!(after([0; 3_000]).at_once(500), FEWEST);
    }

    #[test]
    fn queues_of_our_own_do_not_make_them_more() {
        // One answer of a hundred finds next to no queue.
        let queued = (0..3_000).map(|number| if number % 100 == 0 { 1 } else { 8 });
        assert_eq!(after(queued).at_once(500), FEWEST);
    }

    #[test]
    fn a_slow_provider_gets_all() {
        assert_eq!(after([50]).at_once(500), 500);
        assert_eq!(after([10; 3_000]).at_once(500), 100);
    }

    #[test]
    fn uneven_answers_end_before_the_intent_is_void() {
        let uneven = (0..3_000).map(|number| if number % 100 == 0 { 1 } else { 200 });
        let at_once = after(uneven).at_once(500) as u64;
        assert!(500_u64.div_ceil(at_once) * 200 < 1_000, "{at_once}");
    }

    #[test]
    fn a_provider_that_has_become_slow_is_noticed_within_two_windows() {
        let answers = std::iter::repeat_n(1, 3_000).chain(std::iter::repeat_n(50, 2_001));
        assert_eq!(after(answers).at_once(500), 500);
    }
}
