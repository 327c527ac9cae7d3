//! The provider accounts of this process: adapter, pace and breaker of each.

use std::{
    collections::HashMap,
    num::NonZeroU64,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use super::answers::AnswerTimes;
use crate::{
    domain::{
        channel::Provider,
        outcome::{Outcome, Reason},
    },
    id::AccountId,
    limit::{AccountPacer, Limiter, PeopleError, Permit, breaker::Breaker},
    providers::{Adapter, Answer, Effect, Quota, Stop},
    store::{Store, accounts::Account},
};

/// After this the provider is asked once more whether it takes the account again.
const BLOCKED_FOR: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct AccountHandle {
    pub account: Account,
    pub adapter: Arc<dyn Adapter>,
    pub pacer: Arc<AccountPacer>,
    pub breaker: Breaker,
    pub answers: AnswerTimes,
    /// For the limits of single recipients.
    pub limiter: Arc<Limiter>,
    /// Distinct people that it may write to in any 24 hours; `None`: as many as it likes.
    pub people_per_day: Option<NonZeroU64>,
}

/// All accounts by id; the same set for every stage of a process.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    by_id: Arc<RwLock<HashMap<AccountId, Arc<AccountHandle>>>>,
}

impl Accounts {
    pub fn new(handles: impl IntoIterator<Item = AccountHandle>) -> Self {
        let by_id = handles.into_iter().map(|handle| (handle.account.id, Arc::new(handle))).collect();
        Self { by_id: Arc::new(RwLock::new(by_id)) }
    }

    pub fn get(&self, id: AccountId) -> Option<Arc<AccountHandle>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(&id).map(Arc::clone)
    }

    /// Puts an account in, or in the place of what it was. Whoever works with what it was ends with that.
    pub fn put(&self, handle: AccountHandle) {
        let mut by_id = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        by_id.insert(handle.account.id, Arc::new(handle));
    }

    pub fn remove(&self, id: AccountId) {
        self.by_id.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    pub fn all(&self) -> Vec<Arc<AccountHandle>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }
}

/// Not now: why, and for how long.
pub(super) type Wait = (Reason, Duration);

impl AccountHandle {
    /// For each address: `None` when it may be written to now, and is counted as such. While nobody can count people,
    /// nobody may be written to.
    pub(super) async fn waits(&self, addresses: &[&str]) -> Result<Vec<Option<Wait>>, PeopleError> {
        let mut waits = vec![None; addresses.len()];
        if let Some(per_day) = self.people_per_day {
            let people = self.limiter.people(self.account.id, per_day.get(), addresses).await?;
            waits = people.into_iter().map(|wait| Some((Reason::PeopleLimited, wait?))).collect();
        }
        if self.account.provider == Provider::WhatsappCloud {
            let free: Vec<usize> = (0..addresses.len()).filter(|&at| waits[at].is_none()).collect();
            let pairs: Vec<&str> = free.iter().map(|&at| addresses[at]).collect();
            let pairs = self.limiter.pairs(self.account.id, &pairs).await;
            for (at, wait) in free.into_iter().zip(pairs) {
                waits[at] = wait.map(|wait| (Reason::PairLimited, wait));
            }
        }
        Ok(waits)
    }

    /// Draws the account's conclusions from an answer, and gives the message's outcome.
    pub async fn conclude(&self, answer: Answer, permit: Permit, store: &Store) -> Outcome {
        self.heed(answer.effect, answer.quota, permit, store).await;
        if let (Some(stop), Some(reason)) = (answer.stop, answer.outcome.reason()) {
            self.suppress(&stop, reason, store).await;
        }
        answer.outcome
    }

    /// If it cannot be noted, no harm is done: the provider says so again when the person is written to next.
    async fn suppress(&self, stop: &Stop, reason: Reason, store: &Store) {
        let Stop { channel, address, scope } = stop;
        let noted = store.suppress(self.account.tenant, *channel, address, *scope, reason, "send").await;
        if let Err(error) = noted {
            tracing::warn!(%error, account = %self.account.id, "a suppression could not be noted");
        }
    }

    pub async fn heed(&self, effect: Effect, quota: Option<Quota>, permit: Permit, store: &Store) {
        if let Some(quota) = quota {
            self.pacer.quota(&quota);
        }
        match effect {
            Effect::None => self.breaker.succeeded(),
            Effect::Throttled { retry_after } => self.pacer.throttled(retry_after, permit),
            Effect::Failing => self.breaker.failed(None),
            Effect::Blocked { reason } => {
                tracing::error!(account = %self.account.id, slug = self.account.slug, reason = reason.as_str(),
                    "the provider refuses the account: check its key, credit and permissions");
                // Whether or not it could be noted, the breaker keeps this process from trying on.
                self.breaker.failed(Some(BLOCKED_FOR));
                if let Err(error) = store.block_account(self.account.id, reason, BLOCKED_FOR).await {
                    tracing::warn!(%error, account = %self.account.id, "the block could not be noted");
                }
            }
        }
    }
}
