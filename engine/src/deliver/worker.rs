//! The worker: takes hints from the lanes while it has room, and runs a task for each chunk that it gets hold of.
//!
//! Each lane has a reader of its own with its own blocking connection. A reader asks for as many hints as there is room
//! for chunks, and claims a chunk only once it has that room. While Redis is away a reader looks for due chunks in
//! Postgres itself: slower to notice, but nothing waits for Redis.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::chunk::{ChunkDesk, End};
use crate::{
    domain::{channel::Lane, chunk::ChunkRef},
    id::ProcessId,
    queue::{Delivery, EntryId, LaneReader, Queue},
    store::{Store, chunks::Claim},
};

/// How long a read waits for a hint.
const BLOCK: Duration = Duration::from_millis(500);
/// How often Postgres is asked for work, and Redis to take an acknowledgment, while Redis is away.
const POLL: Duration = Duration::from_millis(250);

#[derive(Debug, Clone)]
pub struct Worker {
    pub process: ProcessId,
    pub store: Store,
    pub queue: Queue,
    pub desk: ChunkDesk,
    /// Chunks at work at once, over the bulk lanes.
    pub room: Arc<Semaphore>,
    pub lease: Duration,
    pub tasks: TaskTracker,
}

impl Worker {
    /// Serves the lanes until `stop`; the chunk tasks then give back what they have not begun.
    pub fn start(&self, lanes: impl IntoIterator<Item = Lane>, stop: &CancellationToken) {
        for lane in lanes {
            let (worker, stop) = (self.clone(), stop.clone());
            self.tasks.spawn(async move { worker.serve(lane, stop).await });
        }
    }

    async fn serve(self, lane: Lane, stop: CancellationToken) {
        let mut reader = self.queue.reader(lane, self.process.to_string());
        while !stop.is_cancelled() {
            // Room is waited for, but not held while the lane is empty: the other lanes need it. Should they take it
            // meanwhile, the hints wait here for a moment.
            let Ok(_) = self.room.acquire().await.map(drop) else { return };
            let wanted = self.room.available_permits().clamp(1, 4);
            let hints = tokio::select! {
                hints = self.hints(lane, &mut reader, wanted) => hints,
                () = stop.cancelled() => return,
            };
            self.take_up(lane, hints).await;
        }
    }

    async fn hints(&self, lane: Lane, reader: &mut LaneReader, wanted: usize) -> Vec<Hint> {
        match reader.read(wanted, BLOCK).await {
            Ok(deliveries) => deliveries.into_iter().map(Hint::from).collect(),
            Err(error) => {
                tracing::debug!(%error, %lane, "no hints from Redis; looking into Postgres");
                tokio::time::sleep(POLL).await;
                let limit = i64::try_from(wanted).unwrap_or(i64::MAX);
                // Other workers look at the same moment: each takes a few from a longer list.
                match self.store.due_chunks(lane, limit * 8, limit * 8).await {
                    Ok(due) => self.pick(due.into_iter().map(|due| due.chunk).collect(), wanted),
                    Err(error) => {
                        tracing::warn!(%error, %lane, "neither Redis nor Postgres can be asked for work");
                        Vec::new()
                    }
                }
            }
        }
    }

    /// Some of the due chunks, begun at a random place.
    fn pick(&self, mut due: Vec<ChunkRef>, wanted: usize) -> Vec<Hint> {
        if due.is_empty() {
            return Vec::new();
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a fraction of a small length"
        )]
        let at = (self.desk.deliverer.ids.fraction() * due.len() as f64) as usize % due.len();
        due.rotate_left(at);
        due.into_iter().take(wanted).map(|chunk| Hint { chunk, entry: None }).collect()
    }

    async fn take_up(&self, lane: Lane, hints: Vec<Hint>) {
        for hint in hints {
            let Ok(room) = Arc::clone(&self.room).acquire_owned().await else { return };
            let worker = self.clone();
            self.tasks.spawn(async move {
                worker.look_at(lane, hint, room).await;
            });
        }
    }

    /// Looks at one chunk: works through it if it is due and free, and acknowledges the hint in any case. A hint that was
    /// wrong, or came too early, costs nothing: the feeder compares lanes with rows.
    async fn look_at(&self, lane: Lane, hint: Hint, room: OwnedSemaphorePermit) {
        let started = Instant::now();
        let claimed = self.store.claim_chunks(self.process, &[hint.chunk], self.lease).await;
        metrics::histogram!(crate::metrics::STAGE_SECONDS, "stage" => "claim")
            .record(started.elapsed().as_secs_f64());
        match claimed.map(|claims| claims.into_iter().next()) {
            Ok(Some(claim)) => self.work_through(claim, room).await,
            Ok(None) => drop(room),
            Err(error) => {
                drop(room);
                tracing::warn!(%error, chunk = %hint.chunk, "no claim");
            }
        }
        if let Some(entry) = hint.entry {
            self.acknowledge(lane, entry).await;
        }
    }

    async fn work_through(&self, claim: Claim, room: OwnedSemaphorePermit) {
        let chunk = claim.chunk;
        metrics::gauge!(crate::metrics::CHUNKS_AT_WORK).increment(1.0);
        match self.desk.work_through(claim, room).await {
            Ok(End::Done) => tracing::debug!(%chunk, "chunk done"),
            Ok(end) => tracing::debug!(%chunk, ?end, "chunk left"),
            Err(error) => tracing::warn!(%error, %chunk, "chunk left to its next owner"),
        }
        metrics::gauge!(crate::metrics::CHUNKS_AT_WORK).decrement(1.0);
    }

    /// Tried again for as long as nobody else would reclaim the entry: while it stays, the feeder believes that somebody looks
    /// at the chunk, and one that was given back waits.
    async fn acknowledge(&self, lane: Lane, entry: EntryId) {
        let (entry, reclaimed) = ([entry], Instant::now() + self.lease);
        while let Err(error) = self.queue.done(lane, &entry).await {
            tracing::debug!(%error, %lane, "a hint could not be acknowledged");
            if Instant::now() >= reclaimed {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = self.desk.stop.cancelled() => return,
            }
        }
    }
}

/// A chunk to look at, and the queue entry that said so.
#[derive(Debug)]
struct Hint {
    chunk: ChunkRef,
    entry: Option<EntryId>,
}

impl From<Delivery> for Hint {
    fn from(delivery: Delivery) -> Self {
        Self { chunk: delivery.chunk, entry: Some(delivery.entry) }
    }
}
