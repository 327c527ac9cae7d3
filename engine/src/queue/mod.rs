//! The queue: Redis streams of hints.
//!
//! An entry says "look at this chunk" and nothing else. Postgres knows which chunks there are and who owns them, so an
//! entry may be missing, late, or there five times: whoever gets one tries to claim the chunk, and loses nothing when
//! another was quicker. Losing Redis costs time, never a message.
//!
//! - The feeder *publishes* chunks, at most a few hundred a lane. Streams are never trimmed: trimming drops entries that
//!   nobody has read yet.
//! - A [`LaneReader`] *reads* them, over a blocking connection of its own. After FLUSHALL or a failover it makes the
//!   consumer group anew, from the first entry.
//! - Whoever has finished with entries calls [`Queue::done`], which acknowledges and deletes them in one transaction:
//!   what is in the stream is what is still to be looked at.
//! - Upkeep compares [`Queue::contents`] with the chunks that should be there and publishes the difference; it
//!   [reclaims](Queue::reclaim) what consumers that died had read, and [forgets](Queue::forget_consumers) those.
//!
//! Every key is named in `keys`. Redis 7.0 is enough.

mod keys;
mod read;
mod upkeep;

use redis::RedisResult;

use crate::{
    domain::{channel::Lane, chunk::ChunkRef},
    link::{LinkError, RedisLink},
};
use keys::{FIELD, GROUP, Keys};
pub use read::LaneReader;
pub use upkeep::Depth;

#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Redis is away or starting: nothing is lost, upkeep publishes again what should be in the lane.
    #[error(transparent)]
    Unavailable(LinkError),
    #[error(
        "the queue cannot be used: {0}; is REDIS_URL a Redis of version 7.0 or later with a user that may use streams?"
    )]
    Refused(LinkError),
}

impl From<LinkError> for QueueError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Unavailable(_) => Self::Unavailable(error),
            LinkError::Url(_) | LinkError::Refused(_) => Self::Refused(error),
        }
    }
}

impl From<redis::RedisError> for QueueError {
    fn from(error: redis::RedisError) -> Self {
        LinkError::from(error).into()
    }
}

/// Names an entry of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntryId(String);

/// One hint, as it was read. It stays in the lane, as read but not finished, until it is [done](Queue::done).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub entry: EntryId,
    pub chunk: ChunkRef,
}

/// The lanes of one Redis; cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    link: RedisLink,
    keys: Keys,
}

impl Queue {
    /// `prefix` keeps installations, and tests, apart in one Redis.
    pub fn new(link: RedisLink, prefix: &str) -> Self {
        Self { link, keys: Keys::new(prefix) }
    }

    /// Adds a hint for each chunk, in one round trip. Publishing twice is harmless.
    pub async fn publish(&self, lane: Lane, chunks: &[ChunkRef]) -> Result<(), QueueError> {
        if chunks.is_empty() {
            return Ok(());
        }
        let key = self.keys.lane(lane);
        let mut adds = redis::pipe();
        for chunk in chunks {
            adds.cmd("XADD").arg(&key).arg("*").arg(FIELD).arg(chunk.to_string()).ignore();
        }
        Ok(adds.exec_async(&mut self.link.short().await?).await?)
    }

    /// Takes entries out of the lane for good.
    pub async fn done(&self, lane: Lane, entries: &[EntryId]) -> Result<(), QueueError> {
        if entries.is_empty() {
            return Ok(());
        }
        let key = self.keys.lane(lane);
        let ids: Vec<&str> = entries.iter().map(|entry| entry.0.as_str()).collect();
        // Together or not at all: an entry that is acknowledged but not deleted would stay in the lane unread for ever.
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("XACK").arg(&key).arg(GROUP).arg(&ids).ignore();
        both.cmd("XDEL").arg(&key).arg(&ids).ignore();
        Ok(both.exec_async(&mut self.link.short().await?).await?)
    }

    /// Reads one lane as `consumer`, a name that no other process uses.
    pub fn reader(&self, lane: Lane, consumer: impl Into<String>) -> LaneReader {
        LaneReader::new(self.clone(), lane, consumer.into())
    }

    /// Makes the lane's group, from its first entry on. That it is there already is as good.
    async fn make_group(&self, lane: Lane) -> Result<(), QueueError> {
        let mut make = redis::cmd("XGROUP");
        make.arg("CREATE").arg(self.keys.lane(lane)).arg(GROUP).arg("0").arg("MKSTREAM");
        let made: RedisResult<()> = make.query_async(&mut self.link.short().await?).await;
        match made {
            Err(error) if error.code() != Some("BUSYGROUP") => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Entries as XREADGROUP, XRANGE and XAUTOCLAIM give them, told apart by whether they name a chunk.
fn sorted_out(entries: Vec<redis::streams::StreamId>) -> (Vec<Delivery>, Vec<EntryId>) {
    let (mut deliveries, mut foreign) = (Vec::with_capacity(entries.len()), Vec::new());
    for entry in entries {
        let chunk = entry.get::<String>(FIELD).and_then(|text| text.parse().ok());
        let id = EntryId(entry.id);
        match chunk {
            Some(chunk) => deliveries.push(Delivery { entry: id, chunk }),
            None => foreign.push(id),
        }
    }
    (deliveries, foreign)
}
