//! How long an account takes to answer, and how many requests at once follow from it.
//!
//! More requests on the wire than the provider's own time asks for make nothing faster: they only wait in more queues, and
//! what belongs to them has left the processor's cache when its turn comes. What the provider itself needs shows in its
//! quickest answers; the mean holds this machine's queues too.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::slice::INTENT_LIFETIME;

/// A slice should be sent within this, were there no queues.
const SLICE: Duration = Duration::from_millis(20);
/// With all queues it has to be over well before its intent is void.
const SLICE_AT_MOST: Duration = Duration::from_millis(INTENT_LIFETIME.as_millis() as u64 / 4);
const FEWEST: usize = 16;
/// Answers among which the quickest is looked for.
const WINDOW: u32 = 256;
/// Weight of an answer in the mean.
const WEIGHT: f64 = 0.02;
/// Supposed of an account that has not answered yet: its first slices are sent by a quarter of their members at a time.
const FIRST_GUESS: Duration = Duration::from_millis(60);

#[derive(Debug)]
pub struct AnswerTimes {
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    mean: f64,
    /// Of the window before this one.
    quickest: f64,
    quickest_now: f64,
    count: u32,
}

impl Default for AnswerTimes {
    fn default() -> Self {
        let seen = Seen {
            mean: FIRST_GUESS.as_secs_f64(),
            quickest: f64::INFINITY,
            quickest_now: f64::INFINITY,
            count: 0,
        };
        Self { seen: Mutex::new(seen) }
    }
}

impl AnswerTimes {
    pub(super) fn observe(&self, answer: Duration) {
        let answer = answer.as_secs_f64();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.mean += WEIGHT * (answer - seen.mean);
        seen.quickest_now = seen.quickest_now.min(answer);
        seen.count += 1;
        if seen.count == WINDOW {
            *seen = Seen { quickest: seen.quickest_now, quickest_now: f64::INFINITY, count: 0, ..*seen };
        }
    }

    /// How many of a slice's members are best sent at once.
    pub(super) fn at_once(&self, members: usize) -> usize {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let quickest =
            Some(seen.quickest.min(seen.quickest_now)).filter(|time| time.is_finite()).unwrap_or_default();
        let share = (quickest / SLICE.as_secs_f64()).max(seen.mean / SLICE_AT_MOST.as_secs_f64()).min(1.0);
        ((members as f64 * share).ceil() as usize).max(FEWEST).min(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(answers: impl IntoIterator<Item = u64>) -> AnswerTimes {
        let times = AnswerTimes::default();
        answers.into_iter().for_each(|ms| times.observe(Duration::from_millis(ms)));
        times
    }

    #[test]
    fn nothing_is_known_at_first() {
        assert_eq!(after([]).at_once(500), 120);
        assert_eq!(after([]).at_once(10), 10);
    }

    #[test]
    fn a_provider_that_answers_at_once_gets_few() {
        assert_eq!(after([0; 1_000]).at_once(500), FEWEST);
    }

    #[test]
    fn queues_of_our_own_do_not_make_them_more() {
        // One answer of a hundred finds no queue.
        let queued = (0..10_000).map(|number| if number % 100 == 0 { 0 } else { 8 });
        assert_eq!(after(queued).at_once(500), 17);
    }

    #[test]
    fn a_slow_provider_gets_all() {
        assert_eq!(after([50; 1_000]).at_once(500), 500);
        assert_eq!(after([5; 1_000]).at_once(500), 125);
    }

    #[test]
    fn mostly_slow_answers_end_before_the_intent_is_void() {
        let at_once = after((0..10_000).map(|number| if number % 100 == 0 { 0 } else { 100 })).at_once(500);
        assert!(500_u64.div_ceil(at_once as u64) * 100 <= 300, "{at_once}");
    }

    #[test]
    fn a_provider_that_has_become_quick_is_noticed() {
        let times = after([50; 1_000]);
        (0..1_000).for_each(|_| times.observe(Duration::from_millis(1)));
        assert_eq!(times.at_once(500), 25);
    }
}
