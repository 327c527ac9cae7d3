//! One chunk, from its claim to its end: recovered, then worked through slice by slice.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    accounts::Accounts,
    plans::Plans,
    recover::{self, Policy, SameKey},
    slice::{Deliverer, Intended, Intent, Open, Work},
};
use crate::{
    domain::{
        channel::MessageClass,
        outcome::{Outcome, Reason},
    },
    limit::Admission,
    store::{StoreResult, chunks::Claim},
};

/// How often one request is repeated under its key before the message becomes `unknown`.
const SAME_KEY_TRIES: usize = 3;

/// Slices of a chunk that are at work at once: while one is sent, the next has its intent committed.
const SLICES_AT_ONCE: usize = 2;

/// How a chunk task ended; in every case whatever it sent is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every member has a fact.
    Done,
    /// Given back with members left: no quota, a stop, a shutdown.
    GivenBack,
    /// Another process owns it by now.
    Lost,
}

/// What a chunk task needs beside the chunk.
#[derive(Debug, Clone)]
pub struct ChunkDesk {
    pub deliverer: Deliverer,
    pub accounts: Accounts,
    pub plans: Arc<Plans>,
    /// Members that get one intent at most.
    pub slice: usize,
    /// How long a provider's answer may take.
    pub request_timeout: Duration,
    /// No further slice is begun once this is cancelled.
    pub stop: CancellationToken,
}

impl ChunkDesk {
    /// Works through a claimed chunk. On an error of the database nothing is given back: the lease ends by itself. `room` is
    /// given back before the facts are in the database: to wait for that takes no work, and the next chunk may begin.
    pub async fn work_through(&self, claim: Claim, room: OwnedSemaphorePermit) -> StoreResult<End> {
        let store = &self.deliverer.store;
        let Some(account) = self.accounts.get(claim.account) else {
            tracing::error!(account = %claim.account, chunk = %claim.chunk, "the account is not in this process' configuration");
            store.release_chunk(&claim, Duration::from_secs(30)).await?;
            return Ok(End::GivenBack);
        };
        if let Some(wait) = recover::wait(&claim.intents, claim.now, self.request_timeout) {
            // Not by `release`: the intents must stay for whoever decides then.
            tokio::time::sleep(wait).await;
        }
        let plan = self.plans.get(store, claim.chunk.campaign).await?;
        let members = store.chunk_recipients(claim.chunk.campaign, &claim.members).await?;
        let work = Arc::new(Work { claim, plan, account, members });
        let mut pending = self.recover(&work).await?;
        let end = self.slices(&work, &mut pending).await;
        if end == End::GivenBack {
            // Their keys will have expired when somebody comes back to this chunk.
            for (position, outcome) in pending.ambiguous() {
                self.deliverer.record(&work, position, outcome).await;
            }
        }
        let claim = Arc::try_unwrap(work).map_or_else(|work| work.claim.clone(), |work| work.claim);
        drop(room);
        // The facts come first: a chunk without intents tells its next owner that whoever has no fact was not sent.
        self.deliverer.recorder.flushed().await;
        if end == End::GivenBack {
            store.release_chunk(&claim, Duration::ZERO).await?;
        }
        Ok(end)
    }

    /// Decides about members that a former owner left; gives the positions that are still to be sent.
    async fn recover(&self, work: &Work) -> StoreResult<Pending> {
        let numbers: Vec<i32> = work.members.iter().map(|member| member.n).collect();
        let known: HashSet<i32> = if work.claim.epoch > 1 {
            self.deliverer.store.known_members(&work.claim, &numbers).await?.into_iter().collect()
        } else {
            HashSet::new()
        };
        let policy = Policy {
            key_lifetime: work.account.adapter.key_lifetime(),
            may_resend: work.plan.campaign.class == MessageClass::Transactional && work.claim.burned == 0,
        };
        let recovered = recover::sort(
            work.members.len(),
            &work.claim.intents,
            work.claim.now,
            policy,
            |at| known.contains(&numbers[at]),
            |at| work.members[at].keyed,
        );
        for &position in &recovered.unknown {
            self.deliverer.record(work, position, Outcome::Unknown { reason: Reason::WorkerDied }).await;
        }
        for &position in &recovered.resend {
            let again = Outcome::Retry { reason: Reason::WorkerDied, after: None, burns_attempt: true };
            self.deliverer.record(work, position, again).await;
        }
        Ok(Pending::new(recovered.fresh, recovered.same_key))
    }

    async fn slices(&self, work: &Arc<Work>, pending: &mut Pending) -> End {
        if work.account.adapter.batch_limit() > 1 {
            self.batches(work, pending).await
        } else {
            self.singles(work, pending).await
        }
    }

    async fn batches(&self, work: &Work, pending: &mut Pending) -> End {
        while !pending.is_empty() {
            if let Some(end) = self.closed(work) {
                return end;
            }
            if let Some(end) = self.batch_slice(work, pending).await {
                return end;
            }
        }
        End::Done
    }

    /// Slices of single requests, one being intended while another is being sent.
    async fn singles(&self, work: &Arc<Work>, pending: &mut Pending) -> End {
        let mut slices = FuturesUnordered::new();
        let mut end = None;
        loop {
            end = end.or_else(|| self.closed(work));
            let more = end.is_none() && !pending.is_empty() && slices.len() < SLICES_AT_ONCE;
            tokio::select! {
                Some(slice) = slices.next(), if !slices.is_empty() => {
                    let over = self.settle(work, pending, slice).await;
                    end = end.or(over);
                }
                leave = self.leave(work, pending.len()), if more => match leave {
                    Some(leave) => {
                        let positions = pending.take(leave.admission.count());
                        slices.push(self.slice(work, positions, leave));
                    }
                    None => end = Some(End::GivenBack),
                },
                else => return end.unwrap_or(End::Done),
            }
        }
    }

    /// Why no further slice is begun.
    fn closed(&self, work: &Work) -> Option<End> {
        (self.stop.is_cancelled() || !work.account.breaker.allows()).then_some(End::GivenBack)
    }

    /// What a slice needs before its intent; `None` when the account gives none for a second. May be dropped.
    async fn leave(&self, work: &Work, pending: usize) -> Option<Leave> {
        let admission = work.account.pacer.admit(pending.min(self.largest_slice(work))).await.ok()?;
        let places = self.deliverer.places.take(&work.account, admission.count()).await?;
        Some(Leave { admission, places })
    }

    /// One slice: intended, rendered, sent. Must not be dropped before it ends.
    async fn slice(&self, work: &Arc<Work>, positions: Vec<usize>, leave: Leave) -> Slice {
        let mut positions = match self.without_those_who_wait(work, positions).await {
            // An intent of nobody could not be read by the chunk's next owner.
            Ok(positions) if positions.is_empty() => return Slice::default(),
            Ok(positions) => positions,
            Err(unbegun) => return Slice { unbegun, end: Some(End::GivenBack), ..Slice::default() },
        };
        let excluded = match self.deliverer.intend(work, &positions, None).await {
            Intended::Go { excluded } => excluded,
            Intended::Stopped => {
                return Slice { unbegun: positions, end: Some(End::GivenBack), ..Slice::default() };
            }
            Intended::Lost => return Slice { end: Some(End::Lost), ..Slice::default() },
        };
        let Leave { admission, places } = leave;
        let intent = Intent { places, admission, committed: Instant::now() };
        positions.retain(|position| excluded.iter().all(|(out, _)| out != position));
        let open = self.deliverer.send(work, positions, intent).await;
        Slice { excluded, open, ..Slice::default() }
    }

    /// Draws the conclusions of a slice; `Some` when the chunk is over with it.
    async fn settle(&self, work: &Work, pending: &mut Pending, slice: Slice) -> Option<End> {
        for (position, reason) in slice.excluded {
            let outcome = pending.settle(position).unwrap_or(Outcome::Suppressed { reason });
            self.deliverer.record(work, position, outcome).await;
        }
        metrics::counter!(crate::metrics::VOIDED).increment(slice.open.voided.len() as u64);
        pending.put_back(&slice.open.voided);
        pending.put_back(&slice.unbegun);
        for (position, outcome) in slice.open.ambiguous {
            if let Some(outcome) = pending.repeat(position, outcome) {
                self.deliverer.record(work, position, outcome).await;
            }
        }
        slice.end
    }
}

/// An account's leave, and places on the wire, for a slice.
#[derive(Debug)]
struct Leave {
    admission: Admission,
    places: OwnedSemaphorePermit,
}

/// What a slice came to; what was sent and answered is with the recorder already.
#[derive(Debug, Default)]
struct Slice {
    /// Members that the intent left out, and why.
    excluded: Vec<(usize, Reason)>,
    open: Open,
    /// Members that had no intent.
    unbegun: Vec<usize>,
    end: Option<End>,
}

impl ChunkDesk {
    /// One probe, not a slice of them, while the breaker tries again.
    fn largest_slice(&self, work: &Work) -> usize {
        if work.account.breaker.is_probing() {
            1
        } else {
            self.slice.min(self.deliverer.places.largest_slice(&work.account))
        }
    }

    /// Puts off those who can't be written to yet, where the provider limits how often, or how many. While nobody can
    /// count them all positions come back as the error.
    async fn without_those_who_wait(
        &self,
        work: &Work,
        positions: Vec<usize>,
    ) -> Result<Vec<usize>, Vec<usize>> {
        let addresses: Vec<&str> = positions.iter().map(|&at| work.members[at].address.as_str()).collect();
        let waits = match work.account.waits(&addresses).await {
            Ok(waits) => waits,
            Err(error) => {
                tracing::warn!(%error, chunk = %work.claim.chunk, "given back");
                // Whoever has it next would hear the same.
                tokio::time::sleep(Duration::from_secs(1)).await;
                return Err(positions);
            }
        };
        let mut now = Vec::with_capacity(positions.len());
        for (position, wait) in positions.into_iter().zip(waits) {
            match wait {
                None => now.push(position),
                Some((reason, wait)) => {
                    let later = Outcome::Retry { reason, after: Some(wait), burns_attempt: false };
                    self.deliverer.record(work, position, later).await;
                }
            }
        }
        Ok(now)
    }
}

/// What is still to be sent.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Ascending, as an intent wants them.
    positions: VecDeque<usize>,
    /// Those of them whose request has been on the wire: what is supposed of them, and how often it was repeated.
    repeated: HashMap<usize, (Outcome, usize)>,
    /// Batch requests to be repeated under their key: same members or fewer.
    pub(super) batches: VecDeque<SameKeyBatch>,
}

#[derive(Debug)]
pub(super) struct SameKeyBatch {
    pub(super) key: uuid::Uuid,
    pub(super) positions: Vec<usize>,
    /// Whether a request with this key may have been on the wire.
    pub(super) sent: bool,
    pub(super) tries_left: usize,
}

impl SameKeyBatch {
    pub(super) const fn fresh(key: uuid::Uuid, positions: Vec<usize>) -> Self {
        Self { key, positions, sent: false, tries_left: SAME_KEY_TRIES }
    }

    /// What is to be recorded of a member that leaves the batch unsent, or not sent again.
    pub(super) fn left_out(&self, otherwise: Outcome) -> Outcome {
        if self.sent { Outcome::Unknown { reason: Reason::WorkerDied } } else { otherwise }
    }
}

impl Pending {
    fn new(fresh: Vec<usize>, same_key: Vec<SameKey>) -> Self {
        let mut pending = Self { positions: fresh.into(), ..Self::default() };
        for SameKey { key, positions } in same_key {
            match key {
                Some(key) => {
                    pending
                        .batches
                        .push_back(SameKeyBatch { sent: true, ..SameKeyBatch::fresh(key, positions) });
                }
                // The key of a single request follows from its message: sending it again is using it again.
                None => {
                    for position in positions {
                        pending.repeat(position, Outcome::Unknown { reason: Reason::WorkerDied });
                    }
                }
            }
        }
        pending
    }

    pub(super) fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.batches.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Vec<usize> {
        self.positions.drain(..count.min(self.positions.len())).collect()
    }

    pub(super) fn put_back(&mut self, positions: &[usize]) {
        if positions.is_empty() {
            return;
        }
        let mut all: Vec<usize> = self.positions.iter().chain(positions).copied().collect();
        all.sort_unstable();
        self.positions = all.into();
    }

    /// Puts a position back whose request may be repeated under its key; gives the outcome back when that was tried
    /// often enough.
    pub(super) fn repeat(&mut self, position: usize, outcome: Outcome) -> Option<Outcome> {
        let tries = self.repeated.get(&position).map_or(0, |(_, tries)| *tries);
        if tries >= SAME_KEY_TRIES {
            self.repeated.remove(&position);
            return Some(outcome);
        }
        self.repeated.insert(position, (outcome, tries + 1));
        self.put_back(&[position]);
        None
    }

    /// What is supposed of a position that leaves this chunk without being sent again.
    pub(super) fn settle(&mut self, position: usize) -> Option<Outcome> {
        self.repeated.remove(&position).map(|(outcome, _)| outcome)
    }

    /// What is still supposed of positions that are not going to be sent by this owner.
    fn ambiguous(&mut self) -> Vec<(usize, Outcome)> {
        let mut left: Vec<(usize, Outcome)> = self
            .positions
            .iter()
            .filter_map(|position| {
                self.repeated.get(position).map(|(outcome, _)| (*position, outcome.clone()))
            })
            .collect();
        for batch in self.batches.drain(..).filter(|batch| batch.sent) {
            let lost = Outcome::Unknown { reason: Reason::WorkerDied };
            left.extend(batch.positions.into_iter().map(|position| (position, lost.clone())));
        }
        left
    }
}
