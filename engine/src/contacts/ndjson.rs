//! People told of by a program, one JSON object a line, read into the same rows as those of a file. A line that can't be
//! taken is refused whole, with each of its faults; the others are taken. Memory holds one line and one batch.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead, BufReader, Read},
};

use super::{
    error::ImportError,
    parse::{Job, Sink, Summary, candidate},
    person::{Fault, Person, Said},
    row::{Parsed, Problem, WHOLE_ROW},
    seen::Seen,
    stage::Batch,
    table::{Alignment, TableInfo},
};
use crate::domain::address::Region;

const MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) fn read(job: &Job, sink: Sink<'_>) -> Result<Summary, ImportError> {
    let mut lines = Lines { input: BufReader::new(File::open(&job.path)?), limit: job.limits.max_row_bytes };
    let (mut summary, mut batch, mut seen) = (summary(), Batch::default(), Seen::default());
    let (mut line, mut number) = (Vec::new(), 0);
    let mut bytes_read = 0;
    while let Some(length) = lines.next(&mut line)? {
        number += 1;
        bytes_read += length;
        let text = line.strip_prefix(MARK).filter(|_| number == 1).unwrap_or(&line).trim_ascii();
        if text.is_empty() {
            summary.rows_blank += 1;
            continue;
        }
        let parsed = if line.len() > lines.limit {
            let reason = format!("is longer than {} bytes", lines.limit);
            refused(vec![Fault { field: WHOLE_ROW.to_owned(), reason }])
        } else {
            parsed(text, &job.region)
        };
        summary.rows_read += 1;
        summary.rows_refused += u64::from(parsed.refused);
        let person = parsed.known_by().filter(|_| !parsed.refused);
        let sighting = person.map(|person| seen.note(person, None)).unwrap_or_default();
        batch.push(number, candidate(job, summary.rows_read).uuid(), sighting, parsed);
        if batch.is_full() {
            (batch.rows_read, batch.bytes_read) = (summary.rows_read, bytes_read);
            give(std::mem::take(&mut batch), sink)?;
        }
    }
    if summary.rows_read == 0 {
        return Err(ImportError::Empty);
    }
    (batch.rows_read, batch.bytes_read) = (summary.rows_read, bytes_read);
    give(batch, sink)?;
    Ok(summary)
}

fn give(batch: Batch, sink: Sink<'_>) -> Result<(), ImportError> {
    if sink(batch) { Ok(()) } else { Err(ImportError::Broken("nobody waits for the lines".to_owned())) }
}

struct Lines {
    input: BufReader<File>,
    limit: usize,
}

impl Lines {
    /// Fills `line` with the next one, without its end; one that is too long only as far as shows that it is. Returns the
    /// bytes that were passed over, or nothing at the end.
    fn next(&mut self, line: &mut Vec<u8>) -> Result<Option<u64>, ImportError> {
        line.clear();
        let most = u64::try_from(self.limit).unwrap_or(u64::MAX).saturating_add(1);
        let mut length = self.input.by_ref().take(most).read_until(b'\n', line)?;
        if length == 0 {
            return Ok(None);
        }
        if line.len() > self.limit && line.last() != Some(&b'\n') {
            length += self.input.skip_until(b'\n')?;
        } else if line.last() == Some(&b'\n') {
            line.pop();
        }
        Ok(Some(u64::try_from(length).unwrap_or(u64::MAX)))
    }
}

fn parsed(text: &[u8], region: &Region) -> Parsed {
    // An array of the right length would do for the fields in their order.
    if !text.starts_with(b"{") {
        return refused(vec![Fault { field: WHOLE_ROW.to_owned(), reason: "is no JSON object".to_owned() }]);
    }
    let said: Said = match serde_json::from_slice(text) {
        Ok(said) => said,
        Err(error) => {
            let reason = if error.is_data() { error.to_string() } else { format!("is no JSON: {error}") };
            return refused(vec![Fault { field: WHOLE_ROW.to_owned(), reason }]);
        }
    };
    match Person::check(said, region) {
        Ok(person) => Parsed {
            email: person.email,
            phone: person.phone,
            name: person.name,
            locale: person.locale.map(Cow::Owned),
            time_zone: person.time_zone,
            person: person.attributes,
            ..Parsed::default()
        },
        Err(faults) => refused(faults),
    }
}

fn refused(faults: Vec<Fault>) -> Parsed {
    let mut problems: Vec<Problem> = Vec::with_capacity(faults.len());
    for Fault { field, reason } in faults {
        // A field has one line in the list, and the first fault is the one to mend first.
        if problems.iter().all(|known| known.field != field) {
            problems.push(Problem { field, value: String::new(), rule: reason.clone(), reason });
        }
    }
    Parsed { refused: true, problems, ..Parsed::default() }
}

fn summary() -> Summary {
    Summary {
        info: TableInfo {
            format: "ndjson",
            alignment: Alignment::Addressed,
            encoding: Some("UTF-8".to_owned()),
            separator: None,
            sheet: None,
            hidden_columns: Vec::new(),
            notes: Vec::new(),
        },
        header_row: 0,
        columns: Vec::new(),
        facts: Vec::new(),
        reference: None,
        rows_read: 0,
        rows_blank: 0,
        rows_refused: 0,
        notes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(line: &str) -> Vec<String> {
        let region = Region::parse("MU").expect("a region");
        let parsed = parsed(line.as_bytes(), &region);
        assert_eq!(parsed.refused, !parsed.problems.is_empty());
        parsed.problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.reason)).collect()
    }

    #[test]
    fn a_line_is_taken_or_refused_with_its_reasons() {
        assert_eq!(
            faults(r#"{"email": "ann@example.com", "attributes": {"plan": "A"}}"#),
            Vec::<String>::new()
        );
        assert_eq!(faults(r#"{"email": "nobody"}"#), ["email: not an e-mail address (expected name@domain)"]);
        for (line, told) in [
            ("not json", "row: is no JSON object"),
            ("{\"email\": ", "row: is no JSON: "),
            (r#"{"emial": "a@example.com"}"#, "row: unknown field `emial`"),
            (r#"{"email": 7}"#, "row: invalid type"),
            (r#"{"name": "\ud800"}"#, "row: is no JSON"),
            ("[]", "row: "),
        ] {
            let told_of = faults(line);
            assert!(told_of.len() == 1 && told_of[0].starts_with(told), "{line}: {told_of:?}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), format!("{}\n{{}}\nlast", "x".repeat(100))).expect("written");
        let mut lines = Lines { input: BufReader::new(file.reopen().expect("opened")), limit: 10 };
        let mut line = Vec::new();
        let mut lengths = Vec::new();
        while let Some(passed) = lines.next(&mut line).expect("read") {
            lengths.push((passed, line.len()));
        }
        assert_eq!(lengths, [(101, 11), (3, 2), (4, 4)]);
    }
}
