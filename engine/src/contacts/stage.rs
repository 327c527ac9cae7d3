//! Rows on their way into the database, in batches of bounded size.

use uuid::Uuid;

use super::{row::Parsed, seen::Sighting};
use crate::{
    domain::address::{EmailAddress, PhoneNumber},
    store::{lines::Lines, straight::StagedRow},
};

/// A batch leaves for the database when its rows hold so many bytes. Each costs Postgres a few statements.
const BATCH_BYTES: usize = 1 << 20;

/// Rows in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Those that were not refused.
    pub(super) rows: Vec<StagedRow>,
    /// What was wrong with any of them.
    pub(super) problems: Lines,
    size: usize,
    /// Rows of the file so far, and bytes of it.
    pub(super) rows_read: u64,
    pub(super) bytes_read: u64,
}

impl Batch {
    pub(super) fn push(&mut self, row_no: u64, candidate: Uuid, sighting: Sighting, parsed: Parsed) {
        for problem in &parsed.problems {
            self.problems.line(|line| {
                line.integer(i64::try_from(row_no).unwrap_or(i64::MAX));
                for text in [&problem.field, &problem.value, &problem.reason, &problem.rule] {
                    line.text(Some(text));
                }
                line.boolean(parsed.refused);
            });
        }
        if parsed.refused {
            return;
        }
        let row = staged(row_no, candidate, sighting, parsed);
        let texts = [&row.name, &row.time_zone];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        self.size += size_of::<StagedRow>() + texts + row.person.len() + row.attributes.len();
        self.rows.push(row);
    }

    pub(super) fn is_full(&self) -> bool {
        self.size + self.problems.bytes().len() >= BATCH_BYTES
    }
}

fn staged(row_no: u64, candidate: Uuid, sighting: Sighting, parsed: Parsed) -> StagedRow {
    let json = |map: &serde_json::Map<_, _>| serde_json::to_string(map).unwrap_or_default();
    StagedRow {
        row_no: i64::try_from(row_no).unwrap_or(i64::MAX),
        candidate,
        again: sighting.again,
        reference: sighting.reference,
        first_reference: sighting.first_reference,
        email: parsed.email.map(EmailAddress::into_string),
        phone: parsed.phone.map(PhoneNumber::into_string),
        name: parsed.name,
        locale: parsed.locale,
        time_zone: parsed.time_zone,
        person: json(&parsed.person),
        attributes: json(&parsed.attributes),
    }
}
