//! Rows on their way into the staging table: the text format of `COPY`, in batches of bounded size.

use uuid::Uuid;

use super::row::Parsed;

/// A batch leaves for the database at this size.
pub(super) const BATCH_BYTES: usize = 512 * 1024;

/// Lines for `COPY … FROM STDIN`, in the order of the staging table's columns.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) copy: Vec<u8>,
    /// Rows of the file so far, and bytes of it.
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Batch {
    pub(super) fn push(&mut self, row_no: u64, candidate: Uuid, parsed: &Parsed) {
        let json = |map: &serde_json::Map<_, _>| serde_json::to_string(map).unwrap_or_default();
        let problems = (!parsed.problems.is_empty())
            .then(|| serde_json::to_string(&parsed.problems).unwrap_or_default());
        self.line(&[
            Some(&row_no.to_string()),
            Some(&candidate.to_string()),
            Some(if parsed.refused { "t" } else { "f" }),
            parsed.email.as_ref().map(|email| email.as_str()),
            parsed.phone.as_ref().map(|phone| phone.as_str()),
            parsed.name.as_deref(),
            parsed.locale,
            parsed.time_zone.as_deref(),
            Some(&json(&parsed.person)),
            parsed.reference.as_deref(),
            Some(&json(&parsed.attributes)),
            problems.as_deref(),
        ]);
    }

    pub(super) fn is_full(&self) -> bool {
        self.copy.len() >= BATCH_BYTES
    }

    fn line(&mut self, fields: &[Option<&str>]) {
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                self.copy.push(b'\t');
            }
            match field {
                Some(text) => escape(text, &mut self.copy),
                None => self.copy.extend_from_slice(b"\\N"),
            }
        }
        self.copy.push(b'\n');
    }
}

fn escape(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            // No text of Postgres can hold it.
            0 => {}
            other => out.push(other),
        }
    }
}
