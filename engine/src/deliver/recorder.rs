//! The recorder: writes the outcomes of all chunks of a process together, by size or time.
//!
//! Everything it takes in comes through one bounded channel, in order; when the database is slow the channel fills and
//! the senders wait, so that no more is sent than can be recorded. A flush that fails is repeated until it succeeds:
//! facts about what a provider has accepted are never dropped. If the process dies, the facts not yet written are the
//! bound on what [`super::recover`] has to decide.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::fate::NextTry;
use crate::{
    domain::chunk::ChunkRef,
    id::TenantId,
    store::{
        Store,
        results::{Fact, Retry},
    },
};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecorderSettings {
    /// Facts that are written at once.
    pub batch: usize,
    /// How long the first fact of a batch waits for others, in milliseconds.
    pub tick_ms: u64,
    /// Facts that may wait; when it is reached, sending waits.
    pub buffer: usize,
}

impl Default for RecorderSettings {
    fn default() -> Self {
        Self { batch: 2_000, tick_ms: 20, buffer: 8_000 }
    }
}

/// An outcome on its way into the database.
#[derive(Debug)]
pub struct Record {
    pub fact: Fact,
    pub next: Option<Next>,
}

/// The next try that follows from it.
#[derive(Debug)]
pub struct Next {
    pub tenant: TenantId,
    pub born_at: Timestamp,
    pub next: NextTry,
}

#[derive(Debug)]
enum Item {
    Record(Box<Record>),
    /// Answered once everything before it is in the database.
    Barrier(oneshot::Sender<()>),
}

/// Where deliverers put their outcomes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    items: mpsc::Sender<Item>,
}

impl Recorder {
    /// The handle, and the task that an owner must run: it ends when every handle is gone and all is written.
    pub fn new(store: Store, settings: RecorderSettings) -> (Self, impl Future<Output = ()> + Send) {
        let (items, inbox) = mpsc::channel(settings.buffer);
        (Self { items }, run(store, settings, inbox))
    }

    pub async fn record(&self, record: Record) {
        // The task ends only after all handles are gone.
        let sent = self.items.send(Item::Record(Box::new(record))).await;
        debug_assert!(sent.is_ok(), "the recorder outlives its handles");
    }

    /// Returns when everything that was recorded before is in the database.
    pub async fn flushed(&self) {
        let (done, wait) = oneshot::channel();
        if self.items.send(Item::Barrier(done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

async fn run(store: Store, settings: RecorderSettings, mut inbox: mpsc::Receiver<Item>) {
    let mut records = Vec::with_capacity(settings.batch);
    let mut barriers = Vec::new();
    while let Some(first) = inbox.recv().await {
        sort_in(first, &mut records, &mut barriers);
        let until = tokio::time::Instant::now() + Duration::from_millis(settings.tick_ms);
        while records.len() < settings.batch {
            match tokio::time::timeout_at(until, inbox.recv()).await {
                Ok(Some(item)) => sort_in(item, &mut records, &mut barriers),
                Ok(None) | Err(_) => break,
            }
        }
        write(&store, &mut records).await;
        for barrier in barriers.drain(..) {
            // Whoever waited may be gone; the facts are written all the same.
            let _ = barrier.send(());
        }
    }
}

fn sort_in(item: Item, records: &mut Vec<Record>, barriers: &mut Vec<oneshot::Sender<()>>) {
    match item {
        Item::Record(record) => records.push(*record),
        Item::Barrier(done) => barriers.push(done),
    }
}

/// Empties `records`.
async fn write(store: &Store, records: &mut Vec<Record>) {
    if records.is_empty() {
        return;
    }
    let retries = retries(records);
    let facts: Vec<Fact> = records.drain(..).map(|record| record.fact).collect();
    let started = tokio::time::Instant::now();
    let mut wait = Duration::from_millis(50);
    while let Err(error) = store.record(&facts, &retries).await {
        tracing::warn!(%error, facts = facts.len(), wait_ms = wait.as_millis(), "outcomes could not be written; trying again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(2));
    }
    metrics::histogram!(crate::metrics::STAGE_SECONDS, "stage" => "record")
        .record(started.elapsed().as_secs_f64());
}

/// Members of one chunk that wait equally long, to the second, form one retry.
fn retries(records: &[Record]) -> Vec<Retry> {
    type Group = (TenantId, Timestamp, Vec<i32>);
    let mut groups: BTreeMap<(ChunkRef, i16, NextTry), Group> = BTreeMap::new();
    for Record { fact, next } in records {
        let Some(Next { tenant, born_at, next }) = next else { continue };
        let wait = Duration::from_millis(
            u64::try_from(next.wait.as_millis().next_multiple_of(1_000)).unwrap_or(u64::MAX),
        );
        let group = groups
            .entry((fact.chunk, fact.attempt, NextTry { wait, ..*next }))
            .or_insert_with(|| (*tenant, *born_at, Vec::new()));
        group.2.push(fact.n);
    }
    groups
        .into_iter()
        .map(|((chunk, attempt, next), (tenant, born_at, members))| Retry {
            tenant,
            campaign: chunk.campaign,
            account: next.account,
            attempt: attempt + 1,
            burned: next.burned,
            members,
            wait: next.wait,
            born_at,
        })
        .collect()
}
