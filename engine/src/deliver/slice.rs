//! One slice of a chunk: rendered, admitted, intended, sent; one request a message.

use std::{sync::Arc, time::Duration};

use fanfare_templates::Rendered;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use uuid::Uuid;

use super::{
    accounts::AccountHandle,
    fate::{self, Attempt},
    places::Places,
    plans::Plan,
    recorder::{Next, Record, Recorder},
    tally::{Request, Tally},
};
use crate::{
    clock::Clock,
    domain::{
        channel::{Channel, MessageClass},
        outcome::{Outcome, Reason},
        price,
        token::{PublicLinks, Purpose},
    },
    id::{Ids, MessageId},
    limit::{Admission, Permit, Priority},
    providers::Envelope,
    store::{
        Store,
        campaigns::CampaignPlan,
        chunks::{Claim, IntentRequest, IntentVerdict},
        recipients::Recipient,
        results::Fact,
    },
};

/// An intent that is not on the wire within this is void.
pub(super) const INTENT_LIFETIME: Duration = Duration::from_secs(1);

/// A committed intent: its members may be sent until it is void. It holds a place on the wire for each of them from
/// before it was committed, so that the intents of a process are never more than the requests it may have in flight.
#[derive(Debug)]
pub(super) struct Intent {
    pub(super) places: OwnedSemaphorePermit,
    pub(super) admission: Admission,
    pub(super) committed: Instant,
}

impl Intent {
    pub(super) fn void_at(&self) -> Instant {
        self.committed + INTENT_LIFETIME
    }
}

/// What every chunk task of a process shares.
#[derive(Debug, Clone)]
pub struct Deliverer {
    pub store: Store,
    pub recorder: Recorder,
    /// Over all chunks, and all accounts.
    pub tally: Tally,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    /// Over all chunks.
    pub places: Places,
    pub lease: Duration,
    pub priority: Priority,
    pub links: PublicLinks,
}

/// A claimed chunk with all that its members share.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) claim: Claim,
    pub(super) plan: Arc<Plan>,
    pub(super) account: Arc<AccountHandle>,
    /// All members in sending order; positions index this.
    pub(super) members: Vec<Recipient>,
}

/// What became of an intent.
#[derive(Debug)]
pub(super) enum Intended {
    /// Everybody but these may be sent now.
    Go {
        excluded: Vec<(usize, Reason)>,
    },
    Stopped,
    Lost,
}

/// What sending a slice left open; everything else is with the recorder.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Nothing was on the wire before the intent became void.
    pub(super) voided: Vec<usize>,
    /// Nobody can tell what became of these, but their key makes a repetition harmless.
    pub(super) ambiguous: Vec<(usize, Outcome)>,
}

impl Deliverer {
    /// Renders the member at `position`; a template that can't be rendered for it is its last word.
    pub(super) fn render(&self, work: &Work, position: usize) -> Result<Rendered, Outcome> {
        let member = &work.members[position];
        let variant = usize::try_from(member.variant).ok().and_then(|at| work.plan.variants.get(at));
        let variant = variant.ok_or_else(|| Outcome::failed(Reason::RenderFailed))?;
        variant.render(&member.variables, variant.shown.given(&self.links, work.message(position)))
    }

    /// What the message's `List-Unsubscribe` says: who gets marketing by e-mail can end it with one click.
    pub(super) fn unsubscribe(&self, work: &Work, message: MessageId) -> Option<String> {
        let CampaignPlan { channel, class, .. } = &work.plan.campaign;
        let wanted = *channel == Channel::Email && *class == MessageClass::Marketing;
        wanted.then(|| self.links.url(Purpose::Unsubscribe, message)).flatten()
    }

    /// Commits the intent for these positions. Waits while the database is away: without an intent nothing is sent, and
    /// if the lease ends meanwhile the answer is `Lost`.
    pub(super) async fn intend(&self, work: &Work, positions: &[usize], key: Option<Uuid>) -> Intended {
        let columns: Vec<i32> = positions.iter().map(|&at| i32::try_from(at).unwrap_or(i32::MAX)).collect();
        let contacts: Vec<Option<Uuid>> =
            positions.iter().map(|&at| work.members[at].contact.map(crate::id::Id::uuid)).collect();
        let addresses: Vec<&str> = positions.iter().map(|&at| work.members[at].address.as_str()).collect();
        let request = IntentRequest {
            claim: &work.claim,
            lease: self.lease,
            positions: &columns,
            key,
            contacts: &contacts,
            addresses: &addresses,
        };
        let started = Instant::now();
        let verdict = loop {
            match self.store.commit_intent(&request).await {
                Ok(verdict) => break verdict,
                Err(error) if started.elapsed() < self.lease => {
                    tracing::warn!(%error, chunk = %work.claim.chunk, "no intent could be committed; trying again");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                Err(error) => {
                    tracing::error!(%error, chunk = %work.claim.chunk, "no intent within the lease: the chunk is left to its next owner");
                    return Intended::Lost;
                }
            }
        };
        metrics::histogram!(crate::metrics::STAGE_SECONDS, "stage" => "intent")
            .record(started.elapsed().as_secs_f64());
        match verdict {
            IntentVerdict::Go { excluded } => Intended::Go { excluded },
            IntentVerdict::Stopped => Intended::Stopped,
            IntentVerdict::Lost => Intended::Lost,
        }
    }

    /// Sends the one message of a direct chunk.
    pub(super) async fn send_alone(
        &self,
        work: &Work,
        content: Rendered,
        intent: &Intent,
    ) -> Option<Outcome> {
        self.send_one(work, 0, content, &intent.admission, intent.void_at()).await
    }

    /// `None` when nothing was on the wire before the intent became void.
    pub(super) async fn send_one(
        &self,
        work: &Work,
        position: usize,
        content: Rendered,
        admission: &Admission,
        void_at: Instant,
    ) -> Option<Outcome> {
        let permit = self.permit(work, admission, void_at).await?;
        let message = work.message(position);
        let unsubscribe = self.unsubscribe(work, message);
        let envelope = Envelope {
            message,
            to: &work.members[position].address,
            class: work.plan.campaign.class,
            content: &content,
            key: message.idempotency_key(work.claim.attempt),
            unsubscribe: unsubscribe.as_deref(),
        };
        let units = price::units(&content);
        let started = Instant::now();
        let answer = work.account.adapter.send(envelope);
        // The request has been written; while it is on its way nothing else is kept of the letter.
        drop(content);
        let answer = answer.await;
        let answered = Instant::now();
        let took = answered.duration_since(started);
        work.account.answers.observe(took, answered);
        metrics::histogram!(crate::metrics::STAGE_SECONDS, "stage" => "send").record(took.as_secs_f64());
        self.tell(work, &[(position, units)], std::slice::from_ref(&answer.outcome), took);
        Some(work.account.conclude(answer, permit, &self.store).await)
    }

    /// Counts requests that were answered, for the report of providers.
    pub(super) fn tell(&self, work: &Work, members: &[(usize, u32)], outcomes: &[Outcome], took: Duration) {
        let (now, account) = (self.clock.now(), work.account.account.id);
        for (&(position, units), outcome) in members.iter().zip(outcomes) {
            let accepted = matches!(outcome, Outcome::Accepted { .. });
            let code = price::calling_code(&work.members[position].address);
            self.tally.count(now, Request { account, code, units: if accepted { units } else { 0 }, took });
        }
    }

    /// Waits for the account's next time slot; `None` when the intent is void before it comes.
    pub(super) async fn permit(
        &self,
        work: &Work,
        admission: &Admission,
        void_at: Instant,
    ) -> Option<Permit> {
        let waited = Instant::now();
        loop {
            let permit = tokio::time::timeout_at(void_at, work.account.pacer.permit(self.priority))
                .await
                .ok()?
                .ok()?;
            let now = Instant::now();
            if now > void_at {
                return None;
            }
            if !permit.is_late(now) {
                admission.sent();
                metrics::histogram!(crate::metrics::STAGE_SECONDS, "stage" => "permit")
                    .record(waited.elapsed().as_secs_f64());
                return Some(permit);
            }
        }
    }

    /// Settles an outcome and hands it to the recorder.
    pub(super) async fn record(&self, work: &Work, position: usize, outcome: Outcome) {
        let now = self.clock.now();
        let attempt = Attempt {
            class: work.plan.campaign.class,
            burned: work.claim.burned,
            account: work.claim.account,
            route: &work.plan.campaign.route,
            age: Duration::try_from(now.duration_since(work.claim.born_at)).unwrap_or_default(),
        };
        let (outcome, next) = fate::settle(outcome, attempt, self.ids.fraction());
        metrics::counter!(crate::metrics::MESSAGES, "outcome" => outcome.kind().as_str(),
            "channel" => work.plan.campaign.channel.as_str(), "provider" => work.account.account.provider.as_str(),
            "class" => work.plan.campaign.class.as_str())
        .increment(1);
        let fact = Fact {
            chunk: work.claim.chunk,
            epoch: work.claim.epoch,
            n: work.members[position].n,
            attempt: work.claim.attempt,
            account_no: work.account.account.no,
            at: now,
            outcome,
        };
        let next = next.map(|next| Next { tenant: work.claim.tenant, born_at: work.claim.born_at, next });
        self.recorder.record(Record { fact, next }).await;
    }
}

/// Whether the same request under the same key may settle what became of it. A key that is used up has settled it.
pub(super) const fn may_repeat(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown { reason } if !matches!(reason, Reason::KeyAlreadyUsed))
}

impl Work {
    pub(super) fn message(&self, position: usize) -> MessageId {
        MessageId { campaign: self.claim.chunk.campaign, n: self.members[position].n }
    }
}
