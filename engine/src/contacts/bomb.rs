//! Looks into a workbook before anything is built from it.
//!
//! The sizes that an archive states are checked, and then every entry is really inflated and counted, since what it
//! states are claims. Bounded are the number of entries, what they inflate to together and each, how much they inflate by, the text between two tags,
//! the size of a cell, and the counts that a reader would allocate for. What passes can be read in bounded memory.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use zip::ZipArchive;

use super::error::ImportError;

const MAX_ENTRIES: usize = 2_000;
/// Deflate can make a thousand of one; sheets of repeated values reach fifty, texts that differ ten.
const MAX_SHEET_RATIO: u64 = 150;
const MAX_HELD_RATIO: u64 = 60;
/// Nobody minds how well a small entry packs.
const RATIO_FREE_BYTES: u64 = 4 << 20;
/// Shared strings, styles and other parts that a reader holds whole; sheets are read as a stream.
const MAX_HELD_BYTES: u64 = 96 << 20;
/// Tags of one held part: each may become an object.
const MAX_HELD_TAGS: u64 = 16 << 20;
const MAX_COUNT_ATTRIBUTE: u64 = 4 << 20;
/// Between two tags, and of one cell; Excel allows 32,767 characters.
const MAX_PIECE_BYTES: u64 = 1 << 20;

/// Refuses an archive that would cost more than a workbook may; says what else an archive without a workbook is.
pub(super) fn check(path: &Path, max_inflated: u64) -> Result<(), ImportError> {
    let mut archive = ZipArchive::new(BufReader::new(File::open(path)?)).map_err(|error| damaged(&error))?;
    refuse_other_archives(&archive)?;
    if archive.len() > MAX_ENTRIES {
        return Err(refused(format!("it has {} parts, more than the {MAX_ENTRIES} allowed", archive.len())));
    }
    let mut total = 0;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| damaged(&error))?;
        let name = entry.name().to_lowercase();
        let is_sheet = name.contains("worksheets/");
        let stated = entry.size();
        admit(is_sheet, stated, entry.compressed_size(), max_inflated - total).map_err(refused)?;
        let mut scan = Scan::new(is_sheet, stated);
        total += inflate(&mut entry, &mut scan)?;
    }
    Ok(())
}

fn refused(what: String) -> ImportError {
    ImportError::Workbook { what }
}

fn damaged(error: &dyn std::fmt::Display) -> ImportError {
    refused(format!("it is damaged or was cut off ({error})"))
}

fn refuse_other_archives(archive: &ZipArchive<BufReader<File>>) -> Result<(), ImportError> {
    let has = |wanted: &str| archive.file_names().any(|name| name.eq_ignore_ascii_case(wanted));
    let workbook = archive.file_names().any(|name| name.to_lowercase().ends_with("workbook.xml"));
    let looks_like = match () {
        () if workbook => return Ok(()),
        () if has("xl/workbook.bin") => "a binary Excel workbook (.xlsb)",
        () if has("word/document.xml") => "a Word document",
        () if has("ppt/presentation.xml") => "a presentation",
        () if has("content.xml") && has("mimetype") => "an OpenDocument file (.ods)",
        () => "a zip archive without a workbook",
    };
    Err(ImportError::NotATable { looks_like: looks_like.to_owned() })
}

/// What a part states is checked before it is inflated; that it is true, while.
fn admit(is_sheet: bool, stated: u64, packed: u64, allowed: u64) -> Result<(), String> {
    if stated > allowed {
        return Err("it inflates to more than `imports.max_inflated_bytes`".to_owned());
    }
    let max_ratio = if is_sheet { MAX_SHEET_RATIO } else { MAX_HELD_RATIO };
    if stated > RATIO_FREE_BYTES && stated / packed.max(1) > max_ratio {
        return Err(format!("a part inflates to more than {max_ratio} times its size"));
    }
    if !is_sheet && stated > MAX_HELD_BYTES {
        return Err(format!("its texts or styles take more than {} MiB", MAX_HELD_BYTES >> 20));
    }
    Ok(())
}

fn inflate(entry: &mut impl Read, scan: &mut Scan) -> Result<u64, ImportError> {
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let n = entry.read(&mut buffer).map_err(|error| damaged(&error))?;
        if n == 0 {
            return Ok(scan.bytes);
        }
        scan.feed(&buffer[..n]).map_err(refused)?;
    }
}

/// A text that the last bytes may be, as a number to compare them with.
struct Tail {
    value: u128,
    mask: u128,
}

impl Tail {
    const fn of(text: &[u8]) -> Self {
        let (mut value, mut mask, mut at) = (0, 0, 0);
        while at < text.len() {
            value = value << 8 | text[at] as u128;
            mask = mask << 8 | 0xff;
            at += 1;
        }
        Self { value, mask }
    }

    const fn ends(&self, last: u128) -> bool {
        last & self.mask == self.value
    }
}

/// With and without the prefix of a namespace.
const CELL_ENDS: [Tail; 4] = [Tail::of(b"/c>"), Tail::of(b":c>"), Tail::of(b"row>"), Tail::of(b"/>")];
const DATA_ENDS: Tail = Tail::of(b"/sheetData>");
const COUNT: Tail = Tail::of(b"uniqueCount");

/// Counts over one entry.
struct Scan {
    is_sheet: bool,
    stated: u64,
    bytes: u64,
    tags: u64,
    /// Since the last tag began, and since the last cell or row ended.
    since_tag: u64,
    since_cell: u64,
    after_data: bool,
    /// The last sixteen bytes.
    last: u128,
    /// The number that an attribute for which a reader reserves room states; `Some` while its digits are read.
    counting: Option<u64>,
}

impl Scan {
    const fn new(is_sheet: bool, stated: u64) -> Self {
        Self {
            is_sheet,
            stated,
            bytes: 0,
            tags: 0,
            since_tag: 0,
            since_cell: 0,
            after_data: false,
            last: 0,
            counting: None,
        }
    }

    fn feed(&mut self, piece: &[u8]) -> Result<(), String> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.stated {
            return Err("a part of it is larger than it states".to_owned());
        }
        piece.iter().try_for_each(|&byte| self.byte(byte))
    }

    fn byte(&mut self, byte: u8) -> Result<(), String> {
        self.since_tag += 1;
        self.since_cell += 1;
        self.last = self.last << 8 | u128::from(byte);
        match byte {
            b'<' => {
                self.since_tag = 0;
                self.tags += 1;
            }
            b'>' => self.tag_ends(),
            b't' if COUNT.ends(self.last) => self.counting = Some(0),
            _ => {}
        }
        self.count(byte)?;
        let cell_too_long = self.is_sheet && !self.after_data && self.since_cell > MAX_PIECE_BYTES;
        if self.since_tag > MAX_PIECE_BYTES || cell_too_long {
            return Err(format!("a cell or tag is longer than {} MiB", MAX_PIECE_BYTES >> 20));
        }
        if !self.is_sheet && self.tags > MAX_HELD_TAGS {
            return Err(format!("its texts or styles have more than {MAX_HELD_TAGS} tags"));
        }
        Ok(())
    }

    fn tag_ends(&mut self) {
        if CELL_ENDS.iter().any(|end| end.ends(self.last)) {
            self.since_cell = 0;
        }
        self.after_data |= DATA_ENDS.ends(self.last);
    }

    fn count(&mut self, byte: u8) -> Result<(), String> {
        let Some(count) = self.counting else { return Ok(()) };
        match byte {
            b'0'..=b'9' => {
                let more = count.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
                self.counting = Some(more);
                if more > MAX_COUNT_ATTRIBUTE {
                    return Err("it states more texts than it can hold".to_owned());
                }
            }
            b't' | b'=' | b'"' | b'\'' | b' ' | b'\t' | b'\r' | b'\n' if count == 0 => {}
            _ => self.counting = None,
        }
        Ok(())
    }
}
