//! One shard of the ledger: entries in a vector, their ids and addresses one after another in a byte arena, and a hash
//! table of positions. An entry costs 56 bytes, its text and about 20 bytes of index.
//!
//! A message id lives in one shard, whatever its addresses; so "has this id been seen" needs one lock.

use hashbrown::HashTable;

use super::{Fate, LaneId};

/// One recipient of one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    text_at: u64,
    id_len: u16,
    address_len: u16,
    tags_len: u16,
    pub(super) lane: LaneId,
    pub(super) fate: Fate,
    pub(super) count: u32,
    pub(super) first_us: u64,
    pub(super) last_us: u64,
    pub(super) digest: [u8; 16],
    /// Number of the first receipt in the whole sandbox; the provider id is made from it.
    pub(super) serial: u64,
}

/// What arrived, for one recipient.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) lane: LaneId,
    pub(super) at_us: u64,
    pub(super) hash: u64,
    pub(super) message_id: &'a str,
    pub(super) address: &'a str,
    pub(super) tags: &'a str,
    pub(super) digest: [u8; 16],
    pub(super) fate: Fate,
}

/// What an arrival was, seen from those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) new_entry: bool,
    pub(super) new_id: bool,
    pub(super) conflict: bool,
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    entries: Vec<Entry>,
    text: Vec<u8>,
    index: HashTable<u32>,
    /// When each receipt came, in order.
    arrivals_us: Vec<u64>,
    /// The first entry of each message received, by its number within the shard.
    by_serial: Vec<u32>,
}

/// Growth by a quarter: doubling would waste up to half of a gigabyte-sized arena.
fn make_room<T>(vec: &mut Vec<T>, more: usize) {
    if vec.capacity() - vec.len() < more {
        vec.reserve_exact(more.max(vec.len() / 4).max(64));
    }
}

impl Shard {
    /// The number that the next message will have within this shard.
    pub(super) fn next_local(&self) -> u64 {
        self.by_serial.len() as u64
    }

    /// Takes all recipients of one message received; `hash` must be of the shard, `serial` its number.
    pub(super) fn receive<'a>(
        &mut self,
        serial: u64,
        arrivals: impl Iterator<Item = Arrival<'a>>,
        mut report: impl FnMut(Seen),
    ) {
        let mut first = None;
        for arrival in arrivals {
            let (position, seen) = self.put(serial, &arrival);
            first.get_or_insert(position);
            make_room(&mut self.arrivals_us, 1);
            self.arrivals_us.push(arrival.at_us);
            report(seen);
        }
        make_room(&mut self.by_serial, 1);
        self.by_serial.push(first.unwrap_or(u32::MAX));
    }

    fn put(&mut self, serial: u64, arrival: &Arrival<'_>) -> (u32, Seen) {
        let mut seen = Seen { new_entry: true, new_id: true, conflict: false };
        if !arrival.message_id.is_empty() {
            let mut same = None;
            for &position in self.index.iter_hash(arrival.hash) {
                let entry = &self.entries[position as usize];
                if self.message_id(entry) != arrival.message_id {
                    continue;
                }
                seen.new_id = false;
                if self.address(entry) == arrival.address {
                    same = Some(position);
                    seen.conflict = entry.digest != arrival.digest;
                    break;
                }
                // Another address under the same id is in order only for people of one and the same request.
                seen.conflict |= entry.serial != serial;
            }
            if let Some(position) = same {
                let entry = &mut self.entries[position as usize];
                entry.count += 1;
                entry.last_us = entry.last_us.max(arrival.at_us);
                return (position, Seen { new_entry: false, ..seen });
            }
        }
        (self.append(serial, arrival), seen)
    }

    fn append(&mut self, serial: u64, arrival: &Arrival<'_>) -> u32 {
        let clip = |text: &str| u16::try_from(text.len()).unwrap_or(0);
        let parts = [arrival.message_id, arrival.address, arrival.tags];
        let [id_len, address_len, tags_len] = parts.map(clip);
        let text_at = self.text.len() as u64;
        make_room(&mut self.text, parts.iter().map(|part| part.len()).sum());
        for (part, len) in parts.iter().zip([id_len, address_len, tags_len]) {
            self.text.extend_from_slice(&part.as_bytes()[..len as usize]);
        }
        let position =
            u32::try_from(self.entries.len()).expect("a shard never holds four thousand million messages");
        make_room(&mut self.entries, 1);
        self.entries.push(Entry {
            text_at,
            id_len,
            address_len,
            tags_len,
            lane: arrival.lane,
            fate: arrival.fate,
            count: 1,
            first_us: arrival.at_us,
            last_us: arrival.at_us,
            digest: arrival.digest,
            serial,
        });
        if !arrival.message_id.is_empty() {
            // Growing the table needs every hash again; an entry's own is cheaper to make anew than to keep.
            self.index.insert_unique(arrival.hash, position, |other| {
                super::hash_of(Self::id_in(&self.text, &self.entries[*other as usize]))
            });
        }
        position
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn by_message_id(&self, hash: u64, message_id: &str) -> impl Iterator<Item = &Entry> {
        self.index
            .iter_hash(hash)
            .map(|position| &self.entries[*position as usize])
            .filter(move |entry| self.message_id(entry) == message_id)
    }

    /// The recipients of the message with this number within the shard.
    pub(super) fn by_local(&self, local: u64) -> impl Iterator<Item = &Entry> {
        let first = usize::try_from(local).ok().and_then(|local| self.by_serial.get(local)).copied();
        let rest = first.and_then(|first| self.entries.get(first as usize..)).unwrap_or_default();
        let serial = rest.first().map(|entry| entry.serial);
        rest.iter().take_while(move |entry| Some(entry.serial) == serial)
    }

    pub(super) fn arrivals_between(&self, from_us: u64, to_us: u64) -> usize {
        self.arrivals_us.iter().filter(|at| (from_us..to_us).contains(*at)).count()
    }

    pub(super) fn message_id(&self, entry: &Entry) -> &str {
        Self::id_in(&self.text, entry)
    }

    pub(super) fn address(&self, entry: &Entry) -> &str {
        Self::slice(&self.text, entry.text_at + u64::from(entry.id_len), entry.address_len)
    }

    pub(super) fn tags(&self, entry: &Entry) -> &str {
        let at = entry.text_at + u64::from(entry.id_len) + u64::from(entry.address_len);
        Self::slice(&self.text, at, entry.tags_len)
    }

    fn id_in<'t>(text: &'t [u8], entry: &Entry) -> &'t str {
        Self::slice(text, entry.text_at, entry.id_len)
    }

    fn slice(text: &[u8], at: u64, len: u16) -> &str {
        let at = at as usize;
        std::str::from_utf8(&text[at..at + usize::from(len)]).expect("only whole strings were put in")
    }
}
