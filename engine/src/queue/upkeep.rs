//! What upkeep asks of a lane: everything in it, how deep it is, and the leavings of the dead.

use std::time::Duration;

use jiff::Timestamp;
use redis::{
    RedisResult,
    streams::{StreamAutoClaimReply, StreamInfoConsumersReply, StreamInfoGroupsReply, StreamRangeReply},
};

use super::{Delivery, EntryId, GROUP, Queue, QueueError, sorted_out};
use crate::domain::{channel::Lane, chunk::ChunkRef};

/// Entries that one XRANGE gives.
const PAGE: usize = 1_000;

/// How full a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Entries, read or not.
    pub length: usize,
    /// Entries that were read and are not done.
    pub pending: usize,
    /// Age of the oldest entry.
    pub oldest: Option<Duration>,
}

impl Queue {
    /// Every chunk that has an entry in the lane, read or not; one with two entries is there twice.
    ///
    /// What comes and goes meanwhile may be missed: that costs a superfluous hint.
    pub async fn contents(&self, lane: Lane) -> Result<Vec<ChunkRef>, QueueError> {
        let key = self.keys.lane(lane);
        let mut connection = self.link.short().await?;
        let (mut chunks, mut from) = (Vec::new(), "-".to_owned());
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg(&key).arg(&from).arg("+").arg("COUNT").arg(PAGE);
            let page: StreamRangeReply = range.query_async(&mut connection).await?;
            let full = page.ids.len() == PAGE;
            if let Some(last) = page.ids.last() {
                from = format!("({}", last.id);
            }
            chunks.extend(sorted_out(page.ids).0.into_iter().map(|delivery| delivery.chunk));
            if !full {
                return Ok(chunks);
            }
        }
    }

    /// `now` is the process's: the age of the oldest entry is a figure to watch, nothing is decided by it.
    pub async fn depth(&self, lane: Lane, now: Timestamp) -> Result<Depth, QueueError> {
        let key = self.keys.lane(lane);
        let mut connection = self.link.short().await?;
        let mut look = redis::pipe();
        look.cmd("XLEN").arg(&key);
        look.cmd("XRANGE").arg(&key).arg("-").arg("+").arg("COUNT").arg(1);
        let (length, oldest): (usize, StreamRangeReply) = look.query_async(&mut connection).await?;
        let groups: RedisResult<StreamInfoGroupsReply> =
            redis::cmd("XINFO").arg("GROUPS").arg(&key).query_async(&mut connection).await;
        let pending = match groups {
            Ok(reply) => {
                reply.groups.iter().find(|group| group.name == GROUP).map_or(0, |group| group.pending)
            }
            // A lane that nobody has published to has no key yet.
            Err(error) if error.code() == Some("ERR") => 0,
            Err(error) => return Err(error.into()),
        };
        let oldest = oldest.ids.first().and_then(|entry| age(&entry.id, now));
        Ok(Depth { length, pending, oldest })
    }

    /// Takes over up to `count` entries that some consumer has had for `idle` without finishing them, and answers with
    /// them as if `consumer` had read them. A live but slow consumer may lose entries so: two then look at one chunk,
    /// and one of them claims it.
    pub async fn reclaim(
        &self,
        lane: Lane,
        consumer: &str,
        idle: Duration,
        count: usize,
    ) -> Result<Vec<Delivery>, QueueError> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim
            .arg(self.keys.lane(lane))
            .arg(GROUP)
            .arg(consumer)
            .arg(millis(idle))
            .arg("0-0")
            .arg("COUNT")
            .arg(count.max(1));
        let claimed: RedisResult<StreamAutoClaimReply> =
            claim.query_async(&mut self.link.short().await?).await;
        match claimed {
            Ok(reply) => {
                let (deliveries, foreign) = sorted_out(reply.claimed);
                self.done(lane, &foreign).await?;
                Ok(deliveries)
            }
            Err(error) if error.code() == Some("NOGROUP") => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes consumers that have not read for `idle` and hold nothing; answers how many. A live reader is never
    /// idle for longer than it blocks.
    pub async fn forget_consumers(&self, lane: Lane, idle: Duration) -> Result<usize, QueueError> {
        let key = self.keys.lane(lane);
        let mut connection = self.link.short().await?;
        let known: RedisResult<StreamInfoConsumersReply> =
            redis::cmd("XINFO").arg("CONSUMERS").arg(&key).arg(GROUP).query_async(&mut connection).await;
        let known = match known {
            Ok(reply) => reply.consumers,
            Err(error) if matches!(error.code(), Some("ERR" | "NOGROUP")) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut forgotten = 0;
        for consumer in
            known.iter().filter(|consumer| consumer.pending == 0 && consumer.idle as u64 >= millis(idle))
        {
            let mut forget = redis::cmd("XGROUP");
            forget.arg("DELCONSUMER").arg(&key).arg(GROUP).arg(&consumer.name);
            let lost: usize = forget.query_async(&mut connection).await?;
            forgotten += 1;
            if lost > 0 {
                // It came back to life in between. What it had read would be in the lane, yet never be read again: let
                // everything be read once more.
                let mut rewind = redis::cmd("XGROUP");
                rewind.arg("SETID").arg(&key).arg(GROUP).arg("0").exec_async(&mut connection).await?;
            }
        }
        Ok(forgotten)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An entry's id begins with the milliseconds of its birth.
fn age(id: &str, now: Timestamp) -> Option<Duration> {
    let born: i64 = id.split_once('-')?.0.parse().ok()?;
    Some(Duration::from_millis(u64::try_from(now.as_millisecond().saturating_sub(born)).unwrap_or(0)))
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
