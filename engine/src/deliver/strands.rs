//! Sending a slice: its strands, each a task, take its members one after the other.
//!
//! A letter is rendered, sent and answered in one go by one strand, so that it is still in the cache when it is written to
//! the socket, and the process holds no more letters than it has strands. How many there are follows from how long the
//! provider takes ([`super::answers`]) and is looked at again while the slice lasts. Once the breaker opens, whoever has not
//! begun is left unsent, as if the intent were void.

use std::{
    panic::resume_unwind,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::OwnedSemaphorePermit,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::slice::{Deliverer, Intent, Open, Work, may_repeat};
use crate::{
    domain::outcome::Outcome,
    limit::{Admission, breaker::State},
};

/// How often a slice that is being sent is looked at: whether it should have more strands by now.
const LOOK: Duration = Duration::from_millis(10);

/// A slice whose intent is committed.
#[derive(Debug)]
struct Sending {
    deliverer: Deliverer,
    work: Arc<Work>,
    positions: Vec<usize>,
    /// Index of the next of them.
    next: AtomicUsize,
    admission: Admission,
    void_at: Instant,
    rest: Mutex<Rest>,
}

#[derive(Debug)]
struct Rest {
    places: OwnedSemaphorePermit,
    open: Open,
}

impl Deliverer {
    /// Sends the members of a committed intent, each at its own time slot, and records what became of them.
    /// Each gives its place on the wire back as soon as it is answered.
    pub(super) async fn send(&self, work: &Arc<Work>, positions: Vec<usize>, intent: Intent) -> Open {
        let void_at = intent.void_at();
        let Intent { mut places, admission, .. } = intent;
        drop(places.split(places.num_permits().saturating_sub(positions.len())));
        let sending = Arc::new(Sending {
            deliverer: self.clone(),
            work: Arc::clone(work),
            positions,
            next: AtomicUsize::new(0),
            admission,
            void_at,
            rest: Mutex::new(Rest { places, open: Open::default() }),
        });
        let mut strands = JoinSet::new();
        loop {
            for _ in strands.len()..sending.at_once() {
                let sending = Arc::clone(&sending);
                strands.spawn(async move { sending.strand().await });
            }
            match timeout(LOOK, strands.join_next()).await {
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    if let Ok(panic) = error.try_into_panic() {
                        resume_unwind(panic);
                    }
                }
                Ok(Some(Ok(()))) | Err(_) => {}
            }
        }
        std::mem::take(&mut sending.rest.lock().unwrap_or_else(PoisonError::into_inner).open)
    }
}

impl Sending {
    /// How many strands it should have now.
    fn at_once(&self) -> usize {
        let left = self.positions.len().saturating_sub(self.next.load(Ordering::Relaxed));
        self.work.account.answers.at_once(self.positions.len()).min(left)
    }

    /// Whether nothing more of it may begin: too late, or an answer has just told that the account takes none.
    fn is_over(&self) -> bool {
        Instant::now() > self.void_at || matches!(self.work.account.breaker.state(), State::Open { .. })
    }

    async fn strand(&self) {
        while let Some(&position) = self.positions.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = if self.is_over() { None } else { self.send_one(position).await };
            if let Some(outcome) = self.answered(position, outcome) {
                self.deliverer.record(&self.work, position, outcome).await;
            }
        }
    }

    /// `None` when nothing was on the wire before the intent became void.
    async fn send_one(&self, position: usize) -> Option<Outcome> {
        match self.deliverer.render(&self.work, position) {
            Ok(content) => {
                self.deliverer.send_one(&self.work, position, content, &self.admission, self.void_at).await
            }
            Err(outcome) => Some(outcome),
        }
    }

    /// Gives the member's place on the wire back, and its outcome if that is the last word.
    fn answered(&self, position: usize, outcome: Option<Outcome>) -> Option<Outcome> {
        let repeatable = self.work.account.adapter.key_lifetime().is_some();
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        drop(rest.places.split(1));
        match outcome {
            None => rest.open.voided.push(position),
            Some(outcome) if repeatable && may_repeat(&outcome) => {
                rest.open.ambiguous.push((position, outcome))
            }
            Some(outcome) => return Some(outcome),
        }
        None
    }
}
