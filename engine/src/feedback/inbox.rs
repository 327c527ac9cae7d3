//! Group commit for webhooks: callers wait, together, for the commit that holds their bodies.
//!
//! While one commit is under way the next is gathered and begun, so that the processors do not wait for the disk; with two under
//! way callers gather until one has ended. So the number of commits follows the database's speed and not the number of webhooks.
//! What waits is bounded in rows and in bytes; beyond the bound a caller is told at once, and the provider sends its webhook again.
//! A crash before the commit loses nothing that anybody was told was taken.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::{JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use crate::{
    id::AccountId,
    metrics::{INBOX_COMMIT_ROWS, STAGE_SECONDS},
    store::Store,
};

#[derive(Debug, Clone, Copy)]
pub struct InboxSettings {
    /// Bodies in one commit.
    pub commit_rows: usize,
    /// How long the first of a commit waits for others.
    pub linger: Duration,
    /// Bytes of bodies that may wait.
    pub waiting_bytes: usize,
}

impl Default for InboxSettings {
    fn default() -> Self {
        Self { commit_rows: 500, linger: Duration::from_millis(2), waiting_bytes: 64 << 20 }
    }
}

/// Why a webhook was not stored. In every case the provider should send it again: Brevo does so after a 429 (and gives
/// up after a 5xx), Meta after anything but a 200.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InboxError {
    #[error("more webhooks are waiting than there is room for")]
    Busy,
    #[error("the webhook could not be stored: {0}")]
    Database(String),
    #[error("the process is shutting down")]
    Stopped,
}

#[derive(Debug)]
struct Incoming {
    account: AccountId,
    body: Vec<u8>,
    done: oneshot::Sender<Result<(), InboxError>>,
    /// Its share of the bytes that may wait.
    _room: OwnedSemaphorePermit,
}

/// Takes webhooks in; cheap to clone.
#[derive(Debug, Clone)]
pub struct Inbox {
    queue: mpsc::Sender<Incoming>,
    /// Free room, in KiB.
    room: Arc<Semaphore>,
}

impl Inbox {
    /// The writer is to be run by whoever owns the process's tasks.
    pub fn new(store: Store, settings: InboxSettings) -> (Self, InboxWriter) {
        let (queue, incoming) = mpsc::channel(settings.commit_rows * 4);
        let room = Arc::new(Semaphore::new(settings.waiting_bytes.div_ceil(1024)));
        (Self { queue, room }, InboxWriter { store, settings, incoming })
    }

    /// Returns when the body is committed, or certainly was not taken. A caller that stops waiting may have been stored
    /// all the same; the provider's repetition does no harm.
    pub async fn store(&self, account: AccountId, body: Vec<u8>) -> Result<(), InboxError> {
        let started = Instant::now();
        let kib = u32::try_from(body.len().div_ceil(1024)).map_err(|_| InboxError::Busy)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(kib).map_err(|_| InboxError::Busy)?;
        let (done, stored) = oneshot::channel();
        let incoming = Incoming { account, body, done, _room: room };
        self.queue.try_send(incoming).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => InboxError::Busy,
            mpsc::error::TrySendError::Closed(_) => InboxError::Stopped,
        })?;
        stored.await.unwrap_or(Err(InboxError::Stopped))?;
        metrics::histogram!(STAGE_SECONDS, "stage" => "inbox").record(started.elapsed().as_secs_f64());
        Ok(())
    }
}

/// Commits under way at once. A third would make them smaller, and wait for the same disk.
const COMMITS: usize = 2;

/// Commits what the inbox takes in.
#[derive(Debug)]
pub struct InboxWriter {
    store: Store,
    settings: InboxSettings,
    incoming: mpsc::Receiver<Incoming>,
}

impl InboxWriter {
    /// Runs until every [`Inbox`] is gone and everything that was handed over is committed or refused.
    pub async fn run(mut self) {
        let (mut commits, mut batch) = (JoinSet::new(), Vec::new());
        loop {
            while commits.len() >= COMMITS {
                ended(commits.join_next().await);
            }
            if self.incoming.recv_many(&mut batch, self.settings.commit_rows).await == 0 {
                break;
            }
            self.gather(&mut batch).await;
            metrics::histogram!(INBOX_COMMIT_ROWS).record(batch.len() as f64);
            commits.spawn(commit(self.store.clone(), std::mem::take(&mut batch)));
        }
        while ended(commits.join_next().await) {}
    }

    async fn gather(&mut self, batch: &mut Vec<Incoming>) {
        let until = Instant::now() + self.settings.linger;
        while batch.len() < self.settings.commit_rows {
            let free = self.settings.commit_rows - batch.len();
            match timeout_at(until, self.incoming.recv_many(batch, free)).await {
                Ok(1..) => {}
                _ => return,
            }
        }
    }
}

/// Whether there was one.
fn ended(commit: Option<Result<(), JoinError>>) -> bool {
    if let Some(Err(error)) = &commit {
        tracing::error!(%error, "webhooks were put off: their commit broke off");
    }
    commit.is_some()
}

/// Its callers are told also if it panics: then their senders are dropped.
async fn commit(store: Store, batch: Vec<Incoming>) {
    let accounts: Vec<Uuid> = batch.iter().map(|one| one.account.uuid()).collect();
    let bodies: Vec<&[u8]> = batch.iter().map(|one| one.body.as_slice()).collect();
    let stored = store.add_to_inbox(&accounts, &bodies).await;
    let stored = stored.map_err(|error| InboxError::Database(error.to_string()));
    batch.into_iter().for_each(|one| answer(one, stored.clone()));
}

fn answer(one: Incoming, result: Result<(), InboxError>) {
    // A caller that has gone away does not want to know.
    drop(one.done.send(result));
}
