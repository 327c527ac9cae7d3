//! Reading the ledger: one record, pages of NDJSON, and the look-ups that Brevo's event log answers from.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::shard::{Entry, Shard};
use super::{Audit, Fate, SHARDS};
use crate::config::Channel;

/// One recipient of one message, as the audit tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    pub channel: Channel,
    pub account: String,
    /// E-mail address as sent, or digits of a phone number without `+`.
    pub address: String,
    /// What the sender called it; empty if it gave no id.
    pub message_id: String,
    /// How often it was received.
    pub count: u32,
    /// Microseconds since start.
    pub first_us: u64,
    pub last_us: u64,
    /// Microseconds since 1970.
    pub first_epoch_us: u64,
    pub last_epoch_us: u64,
    /// The id given at the first receipt.
    pub provider_id: String,
    /// Of the first receipt, 32 hexadecimal digits (see [`super::digest`]).
    pub digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tags: Vec<String>,
    /// The idempotency key, as told by a receiver that takes what bears one that it knows. The sandbox turns it down.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
}

/// A page of records, and where the next begins. The order is by shard, then by arrival: a reader that has come to
/// the end finds later arrivals with `since_us`, not with its cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub records: Vec<MessageRecord>,
    pub next: Option<u64>,
}

/// A message that Brevo's event log speaks of.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) address: String,
    pub(crate) tags: Vec<String>,
    pub(crate) fate: Fate,
    pub(crate) at_us: u64,
    pub(crate) serial: u64,
}

/// Which messages the event log is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogFilter {
    pub(crate) serial: Option<u64>,
    pub(crate) address: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) from_us: u64,
    pub(crate) to_us: u64,
}

/// A cursor is the shard in the high half and the position after the last record read in the low half.
const POSITION_BITS: u32 = 32;

impl Audit {
    /// Up to `limit` records after the cursor `after` (0: from the start) that were last received at `since_us` or later.
    pub fn messages(&self, after: u64, limit: usize, since_us: u64) -> Page {
        let mut records = Vec::new();
        let mut which = after >> POSITION_BITS;
        let mut position = (after & u64::from(u32::MAX)) as usize;
        while which < SHARDS {
            let shard = self.shard(which);
            for entry in shard.entries().iter().skip(position) {
                if records.len() == limit {
                    return Page { records, next: Some(which << POSITION_BITS | position as u64) };
                }
                position += 1;
                if entry.last_us >= since_us {
                    records.push(self.record(&shard, entry));
                }
            }
            which += 1;
            position = 0;
        }
        Page { records, next: None }
    }

    pub(super) fn record(&self, shard: &Shard, entry: &Entry) -> MessageRecord {
        let lane = self.lane(entry.lane);
        let address = shard.address(entry);
        let epoch = |us: u64| self.started_epoch_us + us;
        MessageRecord {
            channel: lane.channel(),
            account: lane.account().to_owned(),
            address: address.to_owned(),
            message_id: shard.message_id(entry).to_owned(),
            count: entry.count,
            first_us: entry.first_us,
            last_us: entry.last_us,
            first_epoch_us: epoch(entry.first_us),
            last_epoch_us: epoch(entry.last_us),
            provider_id: match lane.channel() {
                Channel::Email => self.ids.email(entry.serial, epoch(entry.first_us)),
                Channel::Sms => self.ids.sms(entry.serial).to_string(),
                Channel::Whatsapp => self.ids.whatsapp(entry.serial, address),
            },
            digest: hex::encode(entry.digest),
            tags: shard.tags(entry).lines().map(str::to_owned).collect(),
            key: None,
        }
    }

    /// The messages of one lane that fit, up to `most`. Without a provider id this looks at everything held.
    pub(crate) fn log(&self, lane: super::LaneId, filter: &LogFilter, most: usize) -> Vec<Logged> {
        let fits = |shard: &Shard, entry: &Entry| {
            entry.lane == lane
                && (filter.from_us..=filter.to_us).contains(&entry.first_us)
                && filter
                    .address
                    .as_deref()
                    .is_none_or(|address| shard.address(entry).eq_ignore_ascii_case(address))
                && (filter.tags.is_empty()
                    || shard.tags(entry).lines().any(|tag| filter.tags.iter().any(|wanted| wanted == tag)))
        };
        let logged = |shard: &Shard, entry: &Entry| Logged {
            address: shard.address(entry).to_owned(),
            tags: shard.tags(entry).lines().map(str::to_owned).collect(),
            fate: entry.fate,
            at_us: entry.first_us,
            serial: entry.serial,
        };
        if let Some(serial) = filter.serial {
            let shard = self.shard(serial % SHARDS);
            let found = shard.by_local(serial / SHARDS).filter(|entry| fits(&shard, entry));
            return found.map(|entry| Logged { serial, ..logged(&shard, entry) }).take(most).collect();
        }
        let mut all = Vec::new();
        for which in 0..SHARDS {
            let shard = self.shard(which);
            all.extend(
                shard.entries().iter().filter(|entry| fits(&shard, entry)).map(|entry| logged(&shard, entry)),
            );
        }
        all.sort_by_key(|message| (message.at_us, message.serial));
        all.truncate(most);
        all
    }
}

/// Records as lines of JSON; a last line `{"next":…}` says where to go on.
pub(crate) fn ndjson(page: &Page) -> String {
    let mut lines = String::with_capacity(page.records.len() * 320);
    for record in &page.records {
        lines.push_str(&serde_json::to_string(record).expect("a record is plain data"));
        lines.push('\n');
    }
    if let Some(next) = page.next {
        let _ = writeln!(lines, "{{\"next\":{next}}}");
    }
    lines
}
