//! CSV, TSV and their like, read row by row in bounded memory.
//!
//! The tokenizer is our own because two things must be known that the usual readers hide: that a file ends inside
//! quotes (it was cut off, and the last rows would silently become one field), and which row of the spreadsheet a
//! record is (they skip empty lines without counting them). On everything else it agrees with the `csv` crate, which
//! a property test checks.

use std::{fs::File, io::Read, path::Path};

use super::{
    error::ImportError,
    import::Limits,
    inspect::Encoding,
    table::{Alignment, Cell, Row, Rows, TableInfo},
};

const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
const CHUNK: usize = 64 * 1024;
/// How many rows are looked at to find the separator.
const SNIFFED_ROWS: usize = 60;

/// Splits text into fields; keeps what it needs between pieces of input.
#[derive(Debug)]
pub(super) struct Tokenizer {
    separator: u8,
    state: State,
    field: Vec<u8>,
    length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RowStart,
    /// The row before ended in a carriage return: a line feed belongs to it.
    AfterReturn,
    FieldStart,
    Plain,
    Quoted,
    QuoteInQuoted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    RowEnds,
    NeedsMore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Nothing,
    Row,
    InsideQuotes,
}

impl Tokenizer {
    pub(super) const fn new(separator: u8) -> Self {
        Self { separator, state: State::RowStart, field: Vec::new(), length: 0 }
    }

    /// Reads up to the end of a row or of the input; says how many bytes it took.
    pub(super) fn feed(&mut self, input: &[u8], fields: &mut Vec<Vec<u8>>) -> (usize, Step) {
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            match self.state {
                State::AfterReturn => {
                    at += usize::from(byte == b'\n');
                    self.state = State::RowStart;
                }
                State::RowStart | State::FieldStart if byte == b'"' => {
                    at += 1;
                    self.state = State::Quoted;
                }
                State::Quoted => at += self.quoted(&input[at..]),
                State::QuoteInQuoted if byte == b'"' => {
                    at += 1;
                    self.field.push(b'"');
                    self.state = State::Quoted;
                }
                _ if byte == self.separator => {
                    at += 1;
                    self.end_field(fields);
                    self.state = State::FieldStart;
                }
                _ if byte == b'\n' || byte == b'\r' => {
                    self.end_field(fields);
                    self.length = 0;
                    self.state = if byte == b'\r' { State::AfterReturn } else { State::RowStart };
                    return (at + 1, Step::RowEnds);
                }
                _ => at += self.plain(&input[at..]),
            }
        }
        (at, Step::NeedsMore)
    }

    /// What the end of the file means here.
    pub(super) fn finish(&mut self, fields: &mut Vec<Vec<u8>>) -> End {
        match self.state {
            State::RowStart | State::AfterReturn => End::Nothing,
            State::Quoted => End::InsideQuotes,
            State::FieldStart | State::Plain | State::QuoteInQuoted => {
                self.end_field(fields);
                self.state = State::RowStart;
                End::Row
            }
        }
    }

    /// Bytes of the row that is being read.
    const fn row_length(&self) -> usize {
        self.length
    }

    fn quoted(&mut self, input: &[u8]) -> usize {
        let quote = input.iter().position(|byte| *byte == b'"');
        self.take(&input[..quote.unwrap_or(input.len())]);
        if quote.is_some() {
            self.state = State::QuoteInQuoted;
        }
        quote.map_or(input.len(), |at| at + 1)
    }

    fn plain(&mut self, input: &[u8]) -> usize {
        let stop = |byte: &u8| *byte == self.separator || matches!(byte, b'\n' | b'\r');
        let length = input.iter().position(stop).unwrap_or(input.len());
        self.take(&input[..length]);
        self.state = State::Plain;
        length
    }

    fn take(&mut self, bytes: &[u8]) {
        self.field.extend_from_slice(bytes);
        self.length += bytes.len();
    }

    fn end_field(&mut self, fields: &mut Vec<Vec<u8>>) {
        fields.push(std::mem::take(&mut self.field));
        self.length += 1;
    }
}

/// A delimited file.
#[derive(Debug)]
pub(super) struct Delimited {
    text: TextReader,
    chunk: Vec<u8>,
    at: usize,
    tokenizer: Tokenizer,
    fields: Vec<Vec<u8>>,
    rows: u64,
    limits: Limits,
}

impl Delimited {
    pub(super) fn open(
        path: &Path,
        encoding: Encoding,
        limits: Limits,
    ) -> Result<(Self, TableInfo), ImportError> {
        let mut text = TextReader::open(path, encoding)?;
        let mut chunk = Vec::new();
        text.next_chunk(&mut chunk)?;
        let (hint, skipped) = separator_hint(&chunk);
        let separator = hint.unwrap_or_else(|| sniff_separator(&chunk));
        let info = TableInfo {
            format: "csv",
            alignment: Alignment::Counted,
            encoding: Some(encoding.name().to_owned()),
            separator: Some(separator.into()),
            sheet: None,
            hidden_columns: Vec::new(),
            notes: Vec::new(),
        };
        let rows = u64::from(skipped > 0);
        let tokenizer = Tokenizer::new(separator);
        Ok((Self { text, chunk, at: skipped, tokenizer, fields: Vec::new(), rows, limits }, info))
    }

    /// Collects the fields of the next row; false at the end of the file.
    fn next_fields(&mut self) -> Result<bool, ImportError> {
        self.fields.clear();
        loop {
            let (taken, step) = self.tokenizer.feed(&self.chunk[self.at..], &mut self.fields);
            self.at += taken;
            if step == Step::RowEnds {
                return Ok(true);
            }
            let row = self.rows + 1;
            if self.tokenizer.row_length() > self.limits.max_row_bytes {
                return Err(ImportError::RowTooLong { row, limit: self.limits.max_row_bytes });
            }
            if self.fields.len() > self.limits.max_columns {
                return Err(self.too_wide(row));
            }
            self.at = 0;
            if !self.text.next_chunk(&mut self.chunk)? {
                return match self.tokenizer.finish(&mut self.fields) {
                    End::Nothing => Ok(false),
                    End::Row => Ok(true),
                    End::InsideQuotes => Err(ImportError::EndsInsideQuotes { row }),
                };
            }
        }
    }

    fn too_wide(&self, row: u64) -> ImportError {
        let column = super::text::column_letter(self.fields.len() - 1);
        ImportError::TooWide { row, column, limit: self.limits.max_columns }
    }
}

impl Rows for Delimited {
    fn next(&mut self, row: &mut Row) -> Result<bool, ImportError> {
        if !self.next_fields()? {
            return Ok(false);
        }
        self.rows += 1;
        row.number = self.rows;
        if self.fields.len() > self.limits.max_columns {
            return Err(self.too_wide(row.number));
        }
        row.cells.clear();
        for field in self.fields.drain(..) {
            // The whole file was found to be valid before: what is not now has been changed.
            let text = String::from_utf8(field).map_err(|_| ImportError::Changed)?;
            row.cells.push(Cell::text(text));
        }
        Ok(true)
    }

    fn bytes_read(&self) -> u64 {
        self.text.bytes
    }
}

/// A first line `sep=;`, which some programs write and spreadsheets obey: the separator, and the bytes to skip.
fn separator_hint(head: &[u8]) -> (Option<u8>, usize) {
    match head {
        [b's', b'e', b'p', b'=', separator, b'\r', b'\n', ..] => (Some(*separator), 7),
        [b's', b'e', b'p', b'=', separator, b'\n', ..] => (Some(*separator), 6),
        _ => (None, 0),
    }
}

/// The separator that cuts the most of the first rows into the same number of fields, and at least two; of equals the
/// one that cuts finer. A comma if nothing cuts: the file may have one column.
fn sniff_separator(head: &[u8]) -> u8 {
    let score = |separator: &u8| {
        let counts = field_counts(head, *separator);
        let best = (2..=counts.iter().copied().max().unwrap_or(0))
            .map(|width| (counts.iter().filter(|count| **count == width).count(), width))
            .max();
        best.unwrap_or((0, 0))
    };
    let best = SEPARATORS.iter().copied().max_by_key(|separator| {
        // Of equal scores `max_by_key` keeps the last: earlier separators must rank higher.
        let rank = SEPARATORS.iter().position(|known| known == separator).unwrap_or(0);
        (score(separator), SEPARATORS.len() - rank)
    });
    best.filter(|separator| score(separator).0 > 0).unwrap_or(b',')
}

fn field_counts(head: &[u8], separator: u8) -> Vec<usize> {
    let (mut tokenizer, mut counts, mut at) = (Tokenizer::new(separator), Vec::new(), 0);
    let mut fields = Vec::new();
    while counts.len() < SNIFFED_ROWS {
        fields.clear();
        let (taken, step) = tokenizer.feed(&head[at..], &mut fields);
        at += taken;
        if step == Step::NeedsMore {
            // The last row may be cut by the end of the head, unless it is all there is.
            if counts.is_empty() && tokenizer.finish(&mut fields) == End::Row {
                counts.push(fields.len());
            }
            break;
        }
        counts.push(fields.len());
    }
    counts
}

/// The file as UTF-8, piece by piece.
#[derive(Debug)]
struct TextReader {
    file: File,
    decoder: Option<Box<encoding_rs::Decoder>>,
    raw: Box<[u8]>,
    bytes: u64,
    finished: bool,
}

impl TextReader {
    fn open(path: &Path, encoding: Encoding) -> Result<Self, ImportError> {
        let mut file = File::open(path)?;
        let decoder = match encoding {
            Encoding::Utf8 => None,
            Encoding::Utf8Mark => {
                file.read_exact(&mut [0; 3])?;
                None
            }
            Encoding::Utf16Little => Some(encoding_rs::UTF_16LE.new_decoder_with_bom_removal()),
            Encoding::Utf16Big => Some(encoding_rs::UTF_16BE.new_decoder_with_bom_removal()),
            Encoding::Windows1252 => Some(encoding_rs::WINDOWS_1252.new_decoder_without_bom_handling()),
        };
        let raw = vec![0; CHUNK].into_boxed_slice();
        Ok(Self { file, decoder: decoder.map(Box::new), raw, bytes: 0, finished: false })
    }

    /// Replaces `out` by the next piece; false when there is none.
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> Result<bool, ImportError> {
        out.clear();
        while !self.finished && out.is_empty() {
            let n = self.file.read(&mut self.raw)?;
            self.bytes += n as u64;
            self.finished = n == 0;
            let piece = &self.raw[..n];
            match &mut self.decoder {
                None => out.extend_from_slice(piece),
                Some(decoder) => decode(decoder, piece, self.finished, out)?,
            }
        }
        Ok(!out.is_empty())
    }
}

fn decode(
    decoder: &mut encoding_rs::Decoder,
    piece: &[u8],
    last: bool,
    out: &mut Vec<u8>,
) -> Result<(), ImportError> {
    let room = decoder.max_utf8_buffer_length(piece.len()).unwrap_or(4 * piece.len() + 16);
    out.resize(room, 0);
    let (_, _, written, had_errors) = decoder.decode_to_utf8(piece, out, last);
    out.truncate(written);
    // Only UTF-16 can be wrong: half a pair, or an odd number of bytes.
    if had_errors { Err(ImportError::EndsInsideCharacter) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
