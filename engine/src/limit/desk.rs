//! Where requests wait for their slots: two queues of an account in one process, the urgent before the bulk.
//!
//! Waiting costs a place in a queue and a wake-up, no timer: the pump looks at the clock for everybody.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{NoCapacity, Priority};

/// Nobody waits for a slot longer than this: an intent that is not on the wire within a second is void.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) due: Instant,
    pub(super) generation: i64,
}

pub(super) type Verdict = Result<Slot, NoCapacity>;

#[derive(Debug)]
struct Waiter {
    since: Instant,
    reply: oneshot::Sender<Verdict>,
}

/// Whose arrival the pump has to hear of. It looks at the queues anyway whenever a slot is due, so that at a high
/// pace nobody needs to wake it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Wake {
    #[default]
    Anybody,
    Urgent,
    Nobody,
}

#[derive(Debug, Default)]
struct Queues {
    urgent: VecDeque<Waiter>,
    bulk: VecDeque<Waiter>,
    wake: Wake,
}

/// How many wait, and since when the first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waiting {
    pub(super) urgent: usize,
    pub(super) bulk: usize,
    pub(super) first: Option<Instant>,
}

impl Waiting {
    pub(super) const fn all(&self) -> usize {
        self.urgent + self.bulk
    }
}

#[derive(Debug, Default)]
pub(super) struct Desk {
    queues: Mutex<Queues>,
    pub(super) arrival: Notify,
}

impl Desk {
    /// `since` is when the request first asked: one whose slot came too late keeps its place.
    pub(super) fn enter(
        &self,
        priority: Priority,
        since: Instant,
        again: bool,
    ) -> oneshot::Receiver<Verdict> {
        let (reply, verdict) = oneshot::channel();
        let waiter = Waiter { since, reply };
        let mut queues = self.queues();
        let queue = match priority {
            Priority::Urgent => &mut queues.urgent,
            Priority::Bulk => &mut queues.bulk,
        };
        if again {
            queue.push_front(waiter);
        } else {
            queue.push_back(waiter);
        }
        let wake = match queues.wake {
            Wake::Anybody => true,
            Wake::Urgent => priority == Priority::Urgent,
            Wake::Nobody => false,
        };
        drop(queues);
        if wake {
            self.arrival.notify_one();
        }
        verdict
    }

    /// Gives slots to those who wait; answers how many were taken. The rest found nobody.
    pub(super) fn serve(&self, slots: impl IntoIterator<Item = Slot>) -> usize {
        let mut queues = self.queues();
        let mut taken = 0;
        for slot in slots {
            loop {
                let Some(waiter) = queues.urgent.pop_front().or_else(|| queues.bulk.pop_front()) else {
                    return taken;
                };
                // Who has gone away meanwhile leaves the slot to the next.
                if waiter.reply.send(Ok(slot)).is_ok() {
                    taken += 1;
                    break;
                }
            }
        }
        taken
    }

    /// Sends away who has waited for too long, and says who is left. From here on the pump hears of `wake`.
    pub(super) fn tidy(&self, now: Instant, refusal: NoCapacity) -> Waiting {
        let mut queues = self.queues();
        let Queues { urgent, bulk, .. } = &mut *queues;
        for queue in [urgent, bulk] {
            while let Some(waiter) = queue.pop_front_if(|waiter| {
                waiter.reply.is_closed() || now.saturating_duration_since(waiter.since) >= LONGEST_WAIT
            }) {
                let _ = waiter.reply.send(Err(refusal));
            }
        }
        let first = [queues.urgent.front(), queues.bulk.front()]
            .into_iter()
            .flatten()
            .map(|waiter| waiter.since)
            .min();
        Waiting { urgent: queues.urgent.len(), bulk: queues.bulk.len(), first }
    }

    pub(super) fn send_all_away(&self, refusal: NoCapacity) {
        let mut queues = self.queues();
        let Queues { urgent, bulk, .. } = &mut *queues;
        for waiter in urgent.drain(..).chain(bulk.drain(..)) {
            let _ = waiter.reply.send(Err(refusal));
        }
    }

    /// Says whose arrival to hear of; false when somebody of them has arrived since `seen`.
    pub(super) fn listen(&self, wake: Wake, seen: Waiting) -> bool {
        let mut queues = self.queues();
        queues.wake = wake;
        match wake {
            Wake::Anybody => queues.urgent.len() + queues.bulk.len() <= seen.all(),
            Wake::Urgent => queues.urgent.len() <= seen.urgent,
            Wake::Nobody => true,
        }
    }

    pub(super) fn urgent_waiting(&self) -> usize {
        self.queues().urgent.len()
    }

    fn queues(&self) -> std::sync::MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
