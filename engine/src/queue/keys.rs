//! Names of the queue's keys; nothing else builds one.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `<prefix>:{<channel>:<class>:<shard>}:chunks` | stream | one entry a chunk that somebody should look at |
//!
//! The braces are the hash tag of Redis Cluster: a lane lives on one node.

use crate::domain::channel::Lane;

/// The consumer group that all workers share.
pub(super) const GROUP: &str = "workers";
/// The only field of an entry: the chunk's text.
pub(super) const FIELD: &str = "c";
/// A lane holds a few hundred entries, which one node bears; the number keeps room for more without renaming keys.
const SHARD: u8 = 0;

#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        // A brace in the prefix would become the hash tag.
        Self { prefix: prefix.replace(['{', '}'], "") }
    }

    pub(super) fn lane(&self, lane: Lane) -> String {
        format!("{}:{{{lane}:{SHARD}}}:chunks", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_a_key_and_a_tag_of_its_own() {
        let keys = Keys::new("fan{fare}");
        let all: std::collections::BTreeSet<String> = Lane::all().map(|lane| keys.lane(lane)).collect();
        assert_eq!(all.len(), Lane::all().count());
        assert!(all.contains("fanfare:{email:marketing:0}:chunks"), "{all:?}");
    }
}
