//! One slice of a chunk as a batch request: many messages, one key.
//!
//! After an ambiguous answer the same key goes out again with the same members or fewer, never more. After a definite
//! refusal because of the content the batch is halved, each half with a new key, so that one bad address costs one
//! message. Every request has an intent of its own that holds its key.

use std::time::Duration;

use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use uuid::Uuid;

use super::{
    chunk::{ChunkDesk, End, Pending, SameKeyBatch},
    slice::{Intended, Intent, Work, may_repeat},
};
use crate::{
    domain::{outcome::Outcome, price},
    limit::Admission,
    providers::{BatchAnswer, Envelope},
};

impl ChunkDesk {
    /// One batch request; `Some` when the chunk is over before its members are.
    pub(super) async fn batch_slice(&self, work: &Work, pending: &mut Pending) -> Option<End> {
        let Ok(admission) = work.account.pacer.admit(1).await else { return Some(End::GivenBack) };
        let Some(places) = self.deliverer.places.take(&work.account, 1).await else {
            return Some(End::GivenBack);
        };
        let batch = match pending.batches.pop_front() {
            Some(batch) => batch,
            None => {
                let size = self.slice.min(work.account.adapter.batch_limit());
                SameKeyBatch::fresh(self.deliverer.ids.random_uuid(), pending.take(size))
            }
        };
        self.send_batch(work, pending, batch, (admission, places)).await
    }

    async fn send_batch(
        &self,
        work: &Work,
        pending: &mut Pending,
        mut batch: SameKeyBatch,
        (admission, places): (Admission, OwnedSemaphorePermit),
    ) -> Option<End> {
        let mut rendered = Vec::with_capacity(batch.positions.len());
        for position in std::mem::take(&mut batch.positions) {
            match self.deliverer.render(work, position) {
                Ok(content) => rendered.push((position, content)),
                Err(outcome) => self.deliverer.record(work, position, outcome).await,
            }
        }
        if rendered.is_empty() {
            return None;
        }
        batch.positions = rendered.iter().map(|(position, _)| *position).collect();
        let excluded = match self.deliverer.intend(work, &batch.positions, Some(batch.key)).await {
            Intended::Go { excluded } => excluded,
            Intended::Stopped => {
                pending.batches.push_back(batch);
                return Some(End::GivenBack);
            }
            Intended::Lost => return Some(End::Lost),
        };
        let intent = Intent { places, admission, committed: Instant::now() };
        for &(position, reason) in &excluded {
            let outcome = batch.left_out(Outcome::Suppressed { reason });
            self.deliverer.record(work, position, outcome).await;
        }
        rendered.retain(|(position, _)| excluded.iter().all(|(out, _)| out != position));
        batch.positions.retain(|position| excluded.iter().all(|(out, _)| out != position));
        if rendered.is_empty() {
            return None;
        }
        let keys = |position: usize| work.message(position).idempotency_key(work.claim.attempt);
        let unsubscribe: Vec<Option<String>> = batch
            .positions
            .iter()
            .map(|&position| self.deliverer.unsubscribe(work, work.message(position)))
            .collect();
        let envelopes: Vec<Envelope<'_>> = rendered
            .iter()
            .zip(&unsubscribe)
            .map(|((position, content), unsubscribe)| Envelope {
                message: work.message(*position),
                to: &work.members[*position].address,
                class: work.plan.campaign.class,
                content,
                key: keys(*position),
                unsubscribe: unsubscribe.as_deref(),
            })
            .collect();
        let Some((answer, took)) = self.request(work, batch.key, &envelopes, &intent).await else {
            pending.batches.push_back(batch);
            return None;
        };
        let members: Vec<(usize, u32)> =
            rendered.iter().map(|(position, content)| (*position, price::units(content))).collect();
        match &answer {
            BatchAnswer::Each { answers, .. } => self.deliverer.tell(work, &members, answers, took),
            BatchAnswer::All(answer) => {
                self.deliverer.tell(work, &members, &vec![answer.outcome.clone(); members.len()], took);
            }
            BatchAnswer::Bisect => {}
        }
        batch.sent = true;
        self.conclude_batch(work, pending, batch, answer).await;
        None
    }

    /// `None` when nothing was on the wire before the intent became void.
    async fn request(
        &self,
        work: &Work,
        key: Uuid,
        envelopes: &[Envelope<'_>],
        intent: &Intent,
    ) -> Option<(BatchAnswer, Duration)> {
        let permit = self.deliverer.permit(work, &intent.admission, intent.void_at()).await?;
        let started = Instant::now();
        let answer = match envelopes {
            [only] => BatchAnswer::All(work.account.adapter.send(Envelope { key, ..*only }).await),
            _ => work.account.adapter.send_batch(key, envelopes).await,
        };
        let (effect, quota) = match &answer {
            BatchAnswer::All(answer) => (answer.effect, answer.quota),
            BatchAnswer::Each { quota, .. } => (crate::providers::Effect::None, *quota),
            BatchAnswer::Bisect => (crate::providers::Effect::None, None),
        };
        let took = started.elapsed();
        work.account.heed(effect, quota, permit, &self.deliverer.store).await;
        Some((answer, took))
    }

    async fn conclude_batch(
        &self,
        work: &Work,
        pending: &mut Pending,
        mut batch: SameKeyBatch,
        answer: BatchAnswer,
    ) {
        match answer {
            BatchAnswer::Each { answers, .. } => {
                for (&position, outcome) in batch.positions.iter().zip(answers) {
                    self.deliverer.record(work, position, outcome).await;
                }
            }
            BatchAnswer::Bisect => {
                let right = batch.positions.split_off(batch.positions.len() / 2);
                for half in [batch.positions, right] {
                    pending.batches.push_back(SameKeyBatch::fresh(self.deliverer.ids.random_uuid(), half));
                }
            }
            BatchAnswer::All(answer) if may_repeat(&answer.outcome) && batch.tries_left > 0 => {
                batch.tries_left -= 1;
                pending.batches.push_back(batch);
            }
            BatchAnswer::All(answer) => {
                for &position in &batch.positions {
                    let outcome = match &answer.outcome {
                        // One request can have only one id; which message it is of is in our own id.
                        Outcome::Accepted { .. } if batch.positions.len() > 1 => {
                            Outcome::Accepted { provider_id: None }
                        }
                        outcome => outcome.clone(),
                    };
                    self.deliverer.record(work, position, outcome).await;
                }
            }
        }
    }
}
