//! Takes webhooks out of the inbox and applies them.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use super::{HookAccount, HookAccounts, count};
use crate::{
    id::AccountId,
    metrics::{FEEDBACK, STAGE_SECONDS, WEBHOOK_LAG_SECONDS, WEBHOOKS},
    providers::{HookItem, TemplateNews},
    store::{
        Store, StoreError, StoreResult, approvals,
        events::{self, Applied, TenantEvent, TenantWish},
        inbox::{self, InboxRow, Portion, Rejected},
    },
};

/// One transaction's worth: large enough to spread its commit over many, small enough to hold in memory.
const PORTION: Portion = Portion { webhooks: 500, bytes: 4 << 20 };
/// Where suppressions that follow from webhooks come from.
const SOURCE: &str = "webhook";

/// Any number of them may run against one inbox.
#[derive(Debug, Clone)]
pub struct Worker {
    store: Store,
}

/// What one pass came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// Webhooks that left the inbox; 0: there was nothing to do.
    pub taken: u64,
    pub rejected: u64,
    /// Items that are not about messages of ours.
    pub foreign: u64,
    /// How long each had been stored.
    pub waited: Vec<Duration>,
    pub applied: Applied,
}

/// What the webhooks of a portion say.
#[derive(Debug, Default)]
struct Said {
    events: Vec<TenantEvent>,
    wishes: Vec<TenantWish>,
    templates: Vec<(AccountId, TemplateNews)>,
    rejected: Vec<Rejected>,
    foreign: u64,
    /// How long each had been stored.
    waited: Vec<Duration>,
}

impl Worker {
    pub const fn new(store: Store) -> Self {
        Self { store }
    }

    /// Applies one portion of the webhooks of these accounts. To be repeated while it takes anything, and then after a
    /// short wait.
    pub async fn pass(&self, accounts: &HookAccounts) -> StoreResult<Pass> {
        let started = Instant::now();
        let mut tx = self.store.begin().await?;
        let rows = inbox::claim(&mut tx, &accounts.uuids(), PORTION).await?;
        if rows.is_empty() {
            return Ok(Pass::default());
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let pass = match self.apply(&mut tx, accounts, rows).await {
            Ok(pass) => tx.commit().await.map(|()| pass).map_err(StoreError::from),
            Err(error) => {
                tx.rollback().await?;
                Err(error)
            }
        };
        match pass {
            Ok(pass) => {
                metrics::histogram!(STAGE_SECONDS, "stage" => "apply")
                    .record(started.elapsed().as_secs_f64());
                Ok(pass.counted())
            }
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                tracing::warn!(%error, webhooks = ids.len(), "a portion of webhooks was refused: applying them one by one");
                self.one_by_one(accounts, &ids).await
            }
        }
    }

    /// Finds the webhooks that the database refuses, and puts them aside; the others go on.
    async fn one_by_one(&self, accounts: &HookAccounts, ids: &[i64]) -> StoreResult<Pass> {
        let mut sum = Pass::default();
        for &id in ids {
            sum.add(self.row(accounts, id).await?);
        }
        Ok(sum.counted())
    }

    /// Applies the webhooks of a row, each in a savepoint.
    async fn row(&self, accounts: &HookAccounts, id: i64) -> StoreResult<Pass> {
        let mut sum = Pass::default();
        let mut tx = self.store.begin().await?;
        let Some(row) = inbox::claim_one(&mut tx, id).await? else { return Ok(sum) };
        for body in row.bodies {
            let alone = InboxRow { bodies: vec![body.clone()], ..row };
            let mut savepoint = tx.begin().await?;
            match self.apply(&mut savepoint, accounts, vec![alone]).await {
                Ok(pass) => {
                    savepoint.commit().await?;
                    sum.add(pass);
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    savepoint.rollback().await?;
                    let (account, received_at, reason) = (row.account, row.received_at, error.to_string());
                    inbox::reject(&mut tx, &[Rejected { account, received_at, body, reason }]).await?;
                    sum.add(Pass { taken: 1, rejected: 1, ..Pass::default() });
                }
            }
        }
        tx.commit().await?;
        Ok(sum)
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        accounts: &HookAccounts,
        rows: Vec<InboxRow>,
    ) -> StoreResult<Pass> {
        let taken = rows.iter().map(|row| row.bodies.len() as u64).sum();
        let said = Said::by(accounts, rows);
        let applied = events::apply(&mut *tx, &said.events, &said.wishes, SOURCE).await?;
        for (account, news) in &said.templates {
            approvals::note(&mut *tx, *account, news).await?;
        }
        if !said.rejected.is_empty() {
            inbox::reject(tx, &said.rejected).await?;
        }
        Ok(Pass {
            taken,
            rejected: said.rejected.len() as u64,
            foreign: said.foreign,
            waited: said.waited,
            applied,
        })
    }
}

impl Said {
    fn by(accounts: &HookAccounts, rows: Vec<InboxRow>) -> Self {
        let mut said = Self::default();
        for InboxRow { account, received_at, waited, bodies, .. } in rows {
            said.waited.extend(std::iter::repeat_n(waited, bodies.len()));
            let Some(teller) = accounts.get(account) else { continue };
            for body in bodies {
                match teller.adapter.parse(&body, received_at) {
                    Ok(items) => items.into_iter().for_each(|item| said.take(account, teller, item)),
                    Err(error) => {
                        let reason = error.to_string();
                        said.rejected.push(Rejected { account, received_at, body, reason });
                    }
                }
            }
        }
        said
    }

    fn take(&mut self, account: AccountId, teller: &HookAccount, item: HookItem) {
        let tenant = teller.tenant;
        match item {
            HookItem::Event(event) => {
                self.events.push(TenantEvent { tenant, channel: Some(teller.channel), event })
            }
            HookItem::Wish { channel, address, stop, scope, at } => {
                self.wishes.push(TenantWish { tenant, channel, address, stop, scope, at });
            }
            HookItem::Template(news) => self.templates.push((account, news)),
            HookItem::Foreign => self.foreign += 1,
        }
    }
}

impl Pass {
    fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.rejected += other.rejected;
        self.foreign += other.foreign;
        self.waited.extend(other.waited);
        self.applied.add(other.applied);
    }

    fn counted(self) -> Self {
        metrics::counter!(WEBHOOKS, "verdict" => "applied").increment(self.taken - self.rejected);
        metrics::counter!(WEBHOOKS, "verdict" => "rejected").increment(self.rejected);
        metrics::counter!(FEEDBACK, "effect" => "foreign").increment(self.foreign);
        for waited in &self.waited {
            metrics::histogram!(WEBHOOK_LAG_SECONDS).record(waited.as_secs_f64());
        }
        count(&self.applied);
        self
    }
}
