//! The roster: keeps the accounts of a process in step with those that the API makes, changes and deletes.
//!
//! Every process looks every two seconds. What has changed is put in the place of what it was: work that has begun ends with
//! the adapter that it began with, so a key is changed without a message being lost or sent twice, as long as the provider
//! takes the old one for the minute that a chunk may last. An account that can't be opened (its sealing key is gone) stays as
//! it was in a process that has it, and is missing in one that begins; the log says so.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    deliver::{
        accounts::{AccountHandle, Accounts},
        answers::AnswerTimes,
    },
    domain::channel::Provider,
    id::{AccountId, TenantId},
    limit::{Limiter, breaker::Breaker},
    providers::{
        Adapter,
        in_app::InApp,
        settings::{AccountSettings, HttpSettings, build},
        stored::{self, Wrong},
    },
    seal::{Seal, SealError},
    store::{Store, StoreResult, kept::Kept},
};

/// How soon a change is known everywhere.
const LOOK: Duration = Duration::from_secs(2);

type Object = serde_json::Map<String, serde_json::Value>;

#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("the sealed secrets are none")]
    Unreadable,
    #[error(transparent)]
    Wrong(#[from] Wrong),
}

#[derive(Debug)]
pub struct Roster {
    /// For bulk and for the urgent: each with connections of its own.
    pub desks: [(Accounts, Store); 2],
    pub limiter: Arc<Limiter>,
    pub seal: Seal,
    pub http: HttpSettings,
    /// What was last put in, and when that had been changed.
    pub seen: Mutex<HashMap<AccountId, Timestamp>>,
}

/// What the secrets of an account are sealed with: moved to another row they do not open.
pub fn about(tenant: TenantId, account: AccountId) -> String {
    format!("account:{tenant}:{account}")
}

impl Roster {
    /// Looks again and again, until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "the accounts could not be looked at");
            }
        }
    }

    /// Looks once: puts in what is new or has changed, takes out what is gone.
    pub async fn refresh(&self) -> StoreResult<()> {
        let rows = self.desks[0].1.kept_accounts().await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for row in &rows {
            if seen.insert(row.account.id, row.updated_at) == Some(row.updated_at) {
                continue;
            }
            if let Err(error) = self.put(row) {
                tracing::error!(%error, account = %row.account.id, slug = row.account.slug, "an account can't be used");
            }
        }
        let kept: HashSet<AccountId> = rows.iter().map(|row| row.account.id).collect();
        let gone: Vec<AccountId> = seen.keys().copied().filter(|id| !kept.contains(id)).collect();
        for id in gone {
            seen.remove(&id);
            self.desks.iter().for_each(|(accounts, _)| accounts.remove(id));
        }
        drop(seen);
        Ok(())
    }

    fn put(&self, row: &Kept) -> Result<(), RosterError> {
        let (id, tenant) = (row.account.id, row.account.tenant);
        let secrets = self.secrets(tenant, id, &row.secrets)?;
        for (accounts, store) in &self.desks {
            accounts.put(AccountHandle {
                account: row.account.clone(),
                adapter: self.connect(tenant, row.account.provider, (&row.settings, &secrets), store)?,
                pacer: self.limiter.account(id, &row.account.limits),
                breaker: Breaker::default(),
                answers: AnswerTimes::default(),
                limiter: Arc::clone(&self.limiter),
                people_per_day: row.people_per_day,
            });
        }
        Ok(())
    }

    /// What was sealed for an account.
    pub fn secrets(
        &self,
        tenant: TenantId,
        account: AccountId,
        sealed: &[u8],
    ) -> Result<Object, RosterError> {
        let opened = self.seal.open(&about(tenant, account), sealed)?;
        stored::from_bytes(&opened).ok_or(RosterError::Unreadable)
    }

    /// The adapter that these settings make, with connections of its own; what is wrong with them is told by its name.
    pub fn adapter(
        &self,
        tenant: TenantId,
        provider: Provider,
        parts: (&Object, &Object),
    ) -> Result<Arc<dyn Adapter>, Wrong> {
        self.connect(tenant, provider, parts, &self.desks[0].1)
    }

    fn connect(
        &self,
        tenant: TenantId,
        provider: Provider,
        (settings, secrets): (&Object, &Object),
        store: &Store,
    ) -> Result<Arc<dyn Adapter>, Wrong> {
        match stored::read(provider, settings, secrets)? {
            AccountSettings::InApp(_) => Ok(Arc::new(InApp::new(store.clone(), tenant))),
            settings => Ok(build(&settings, &self.http)?),
        }
    }
}
