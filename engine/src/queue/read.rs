//! Reading a lane.

use std::time::Duration;

use redis::streams::StreamReadReply;

use super::{Delivery, GROUP, Queue, QueueError, sorted_out};
use crate::{
    domain::channel::Lane,
    link::{BlockingConnection, LinkError},
};

/// One reader of one lane, with a blocking connection of its own.
///
/// A `read` that is dropped half-way may have taken entries with it; they come back by [`Queue::reclaim`].
#[derive(Debug)]
pub struct LaneReader {
    queue: Queue,
    lane: Lane,
    consumer: String,
    connection: Option<BlockingConnection>,
}

impl LaneReader {
    pub(super) const fn new(queue: Queue, lane: Lane, consumer: String) -> Self {
        Self { queue, lane, consumer, connection: None }
    }

    pub const fn lane(&self) -> Lane {
        self.lane
    }

    /// Up to `count` hints that no other reader has got, waiting up to `block` for the first. An empty answer means
    /// that none came. When Redis is away the error comes at once or within `block` and a second; read again later.
    pub async fn read(&mut self, count: usize, block: Duration) -> Result<Vec<Delivery>, QueueError> {
        let reply = match self.read_group(count, block).await {
            // The group went with the data, before or while this waited: FLUSHALL, or a failover to a node that never had it.
            Err(LinkError::Refused(error)) if matches!(error.code(), Some("NOGROUP" | "UNBLOCKED")) => {
                self.queue.make_group(self.lane).await?;
                self.read_group(count, block).await?
            }
            other => other?,
        };
        let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids).collect();
        let (deliveries, foreign) = sorted_out(entries);
        if !foreign.is_empty() {
            tracing::warn!(lane = %self.lane, entries = foreign.len(), "dropped queue entries that name no chunk");
            self.queue.done(self.lane, &foreign).await?;
        }
        Ok(deliveries)
    }

    async fn read_group(
        &mut self,
        count: usize,
        block: Duration,
    ) -> Result<Option<StreamReadReply>, LinkError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.queue.link.blocking().await?,
        };
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.consumer).arg("COUNT").arg(count.max(1));
        // BLOCK 0 would mean for ever.
        read.arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1));
        read.arg("STREAMS").arg(self.queue.keys.lane(self.lane)).arg(">");
        let (connection, reply) = connection.query(&read, block).await?;
        self.connection = Some(connection);
        Ok(reply)
    }
}
