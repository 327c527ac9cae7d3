//! The parser: from a file to batches of staged rows. Runs on a blocking thread and holds one row at a time.

use std::{collections::VecDeque, path::PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::{
    delimited::Delimited,
    error::ImportError,
    header::{self, ColumnReport, Override, Role},
    import::{Limits, Shape},
    inspect::{Content, Encoding, Inspected},
    ndjson,
    row::{Reading, RowParser},
    seen::Seen,
    stage::Batch,
    table::{Row, Rows, TableInfo},
    text::shortened,
    values::date::Order,
    workbook::Workbook,
};
use crate::{
    domain::address::Region,
    id::{ContactId, Ids},
};

/// Everything that the parser needs, owned: it runs on a thread of its own.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) path: PathBuf,
    pub(super) inspected: Inspected,
    pub(super) shape: Shape,
    pub(super) overrides: Vec<Override>,
    pub(super) sheet: Option<String>,
    pub(super) order: Order,
    pub(super) region: Region,
    pub(super) currency: iso_currency::Currency,
    pub(super) limits: Limits,
    pub(super) ids: Ids,
    pub(super) now: Timestamp,
}

/// What the parser found, beside the rows.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) info: TableInfo,
    pub(super) header_row: u64,
    pub(super) columns: Vec<ColumnReport>,
    /// Attributes whose values have a meaning (dates, amounts): where two rows differ in them, they disagree.
    pub(super) facts: Vec<String>,
    /// The header of the reference, if there is one.
    pub(super) reference: Option<String>,
    pub(super) rows_read: u64,
    pub(super) rows_blank: u64,
    pub(super) rows_refused: u64,
    pub(super) notes: Vec<String>,
}

/// Whoever takes the batches; false when nobody does any more.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Batch) -> bool;

pub(super) fn run(job: &Job, sink: Sink<'_>) -> Result<Summary, ImportError> {
    match job.inspected.content {
        Content::Text(Encoding::Utf8 | Encoding::Utf8Mark) if job.shape == Shape::Lines => {
            ndjson::read(job, sink)
        }
        _ if job.shape == Shape::Lines => Err(ImportError::NotLines),
        Content::Text(encoding) => {
            let (mut rows, info) = Delimited::open(&job.path, encoding, job.limits)?;
            read(job, &mut rows, info, sink)
        }
        Content::Zip => {
            let mut workbook = Workbook::open(&job.path, job.sheet.as_deref(), job.limits)?;
            let info = workbook.info();
            let mut rows = workbook.rows()?;
            read(job, &mut rows, info, sink)
        }
    }
}

fn read(job: &Job, rows: &mut dyn Rows, info: TableInfo, sink: Sink<'_>) -> Result<Summary, ImportError> {
    let (header, pending) = find_header(rows, &job.overrides)?;
    let (columns, notes) = header::map_columns(&header, &job.overrides, &info.hidden_columns, job.currency)?;
    let reading =
        Reading { region: job.region, currency: job.currency, order: job.order, alignment: info.alignment };
    let parser = RowParser::new(columns, reading);
    let mut summary = summary(job, &parser, info, header.number, notes);
    stage(job, &parser, Source { rows, pending }, &mut summary, sink)?;
    if summary.rows_read == 0 {
        return Err(ImportError::NoRows { header_row: header.number });
    }
    Ok(summary)
}

fn summary(job: &Job, parser: &RowParser, info: TableInfo, header_row: u64, mapping: Vec<String>) -> Summary {
    let mut notes = info.notes.clone();
    notes.extend(mapping);
    if let Some(at) = job.inspected.first_foreign_byte {
        notes.push(format!("read as Windows-1252, because byte {at} is not UTF-8"));
    }
    if parser.derives_first_name() {
        notes.push(
            "`first_name` was derived from the whole name, without titles such as Mr or Mme".to_owned(),
        );
    }
    if parser.columns().iter().any(|column| column.role == Role::Date) {
        notes.push(match job.order {
            Order::DayFirst => "dates such as 03/04/2027 were read day first".to_owned(),
            Order::MonthFirst => "dates such as 03/04/2027 were read month first".to_owned(),
        });
    }
    let is_fact = |role: Role| matches!(role, Role::Date | Role::Amount(_));
    let named = |role: Role| parser.columns().iter().find(|column| column.role == role);
    Summary {
        header_row,
        columns: parser.columns().iter().map(ColumnReport::from).collect(),
        facts: parser.columns().iter().filter(|c| is_fact(c.role)).map(|c| c.field.clone()).collect(),
        reference: named(Role::Reference).map(|column| column.header.clone()),
        info,
        rows_read: 0,
        rows_blank: 0,
        rows_refused: 0,
        notes,
    }
}

/// Rows that were read while the header was looked for, then the rest.
struct Source<'a> {
    rows: &'a mut dyn Rows,
    pending: VecDeque<Row>,
}

impl Source<'_> {
    fn next(&mut self, row: &mut Row) -> Result<bool, ImportError> {
        match self.pending.pop_front() {
            Some(read_before) => {
                *row = read_before;
                Ok(true)
            }
            None => self.rows.next(row),
        }
    }
}

/// The header row, and the rows below it that were read already.
fn find_header(rows: &mut dyn Rows, overrides: &[Override]) -> Result<(Row, VecDeque<Row>), ImportError> {
    let mut first_rows = VecDeque::new();
    loop {
        let mut row = Row::default();
        if first_rows.len() == header::SEARCHED_ROWS || !rows.next(&mut row)? {
            break;
        }
        if header::is_header(&row, overrides) {
            return Ok((row, VecDeque::new()));
        }
        first_rows.push_back(row);
    }
    let written = first_rows.iter().position(|row| !row.is_blank());
    match written {
        None => Err(ImportError::Empty),
        Some(at) if header::asks_by_number(overrides) => {
            let below = first_rows.split_off(at + 1);
            let header = first_rows.pop_back().ok_or(ImportError::Empty)?;
            Ok((header, below))
        }
        Some(at) => {
            let cells = first_rows[at].cells.iter().map(|cell| cell.shown());
            let found: Vec<String> = cells.filter(|text| !text.is_empty()).take(20).collect();
            Err(ImportError::NoAddressColumn { found: shortened(&found.join(", "), 300) })
        }
    }
}

fn stage(
    job: &Job,
    parser: &RowParser,
    mut source: Source<'_>,
    summary: &mut Summary,
    sink: Sink<'_>,
) -> Result<(), ImportError> {
    let (mut row, mut batch, mut seen) = (Row::default(), Batch::default(), Seen::default());
    let mut last = summary.header_row;
    while source.next(&mut row)? {
        // A workbook leaves empty rows out, a delimited file does not.
        summary.rows_blank += row.number - last - 1;
        last = row.number;
        if row.is_blank() {
            summary.rows_blank += 1;
            continue;
        }
        let parsed = parser.parse(&row);
        summary.rows_read += 1;
        summary.rows_refused += u64::from(parsed.refused);
        let person = parsed.known_by().filter(|_| !parsed.refused);
        let sighting =
            person.map(|person| seen.note(person, parsed.reference.as_deref())).unwrap_or_default();
        batch.push(row.number, candidate(job, summary.rows_read).uuid(), sighting, parsed);
        if batch.is_full() {
            (batch.rows_read, batch.bytes_read) = (summary.rows_read, source.rows.bytes_read());
            if !sink(std::mem::take(&mut batch)) {
                return Err(ImportError::Broken("nobody waits for the rows".to_owned()));
            }
        }
    }
    (batch.rows_read, batch.bytes_read) = (summary.rows_read, job.inspected.bytes);
    if sink(batch) { Ok(()) } else { Err(ImportError::Broken("nobody waits for the rows".to_owned())) }
}

/// The id that the row's contact gets if it is a new one. A thousand a millisecond, so that ids follow the rows and
/// the primary key grows at its end.
pub(super) fn candidate(job: &Job, row: u64) -> ContactId {
    let later = SignedDuration::from_millis(i64::try_from(row / 1000).unwrap_or(0));
    job.ids.next(job.now.checked_add(later).unwrap_or(job.now))
}

#[cfg(test)]
mod tests;
