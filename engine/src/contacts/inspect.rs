//! The first look at a file, one pass over it: its size, its hash, whether it is text, and in which encoding.
//!
//! The encoding is decided over the whole file: a byte-order mark, else UTF-8 if every byte of it is, else
//! Windows-1252, which is what office programs write when they do not write UTF-8. A file that is mostly UTF-8 with a
//! few foreign bytes is refused: reading it as Windows-1252 would spoil every accent in it.

use std::{fs::File, io::Read, path::Path};

use sha2::{Digest, Sha256};

use super::error::ImportError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Utf8Mark,
    Utf16Little,
    Utf16Big,
    Windows1252,
}

impl Encoding {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf8Mark => "UTF-8 with byte-order mark",
            Self::Utf16Little => "UTF-16LE",
            Self::Utf16Big => "UTF-16BE",
            Self::Windows1252 => "Windows-1252",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Text(Encoding),
    /// A zip archive: perhaps a workbook.
    Zip,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Inspected {
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
    pub(super) content: Content,
    /// Where the first byte stands that is no UTF-8, in a file of Windows-1252.
    pub(super) first_foreign_byte: Option<u64>,
}

const SIGNATURES: &[(&[u8], &str)] = &[
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls) or one with a password"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"7z\xbc\xaf\x27\x1c", "a compressed file (7z)"),
    (b"Rar!", "a compressed file (RAR)"),
    (b"{\\rtf", "a text document (RTF)"),
    (b"<!DOCTYPE", "a web page (HTML)"),
    (b"<html", "a web page (HTML)"),
    (b"<table", "a web page (HTML)"),
    (b"<?xml", "an XML document"),
];

pub(super) fn inspect(path: &Path, max_bytes: u64) -> Result<Inspected, ImportError> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > max_bytes {
        return Err(ImportError::TooLarge { bytes, limit: max_bytes, setting: "imports.max_bytes" });
    }
    let (mut hash, mut text) = (Sha256::new(), TextCheck::default());
    let (mut buffer, mut head) = (vec![0_u8; 256 * 1024], Vec::new());
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        if head.is_empty() {
            head.extend_from_slice(&buffer[..n.min(64)]);
        }
        hash.update(&buffer[..n]);
        text.feed(&buffer[..n]);
    }
    let content = content(&head, &text)?;
    let foreign = (content == Content::Text(Encoding::Windows1252)).then_some(text.first_foreign).flatten();
    Ok(Inspected { bytes: text.bytes, sha256: hash.finalize().into(), content, first_foreign_byte: foreign })
}

fn content(head: &[u8], text: &TextCheck) -> Result<Content, ImportError> {
    let not_a_table = |looks_like: &str| Err(ImportError::NotATable { looks_like: looks_like.to_owned() });
    let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let printed = start.trim_ascii_start();
    let known = |(signature, _): &&(&[u8], &str)| {
        printed.get(..signature.len()).is_some_and(|s| s.eq_ignore_ascii_case(signature))
    };
    if head.starts_with(b"PK\x03\x04") {
        return Ok(Content::Zip);
    }
    if let Some((_, looks_like)) = SIGNATURES.iter().find(known) {
        return not_a_table(looks_like);
    }
    match head {
        [0xff, 0xfe, ..] => return Ok(Content::Text(Encoding::Utf16Little)),
        [0xfe, 0xff, ..] => return Ok(Content::Text(Encoding::Utf16Big)),
        _ if start.is_empty() => return Err(ImportError::Empty),
        _ => {}
    }
    if text.nul_bytes > 0 {
        return not_a_table("binary data (it has zero bytes)");
    }
    match (text.foreign, text.carry.is_empty(), head.starts_with(b"\xef\xbb\xbf")) {
        (0, true, true) => Ok(Content::Text(Encoding::Utf8Mark)),
        (0, true, false) => Ok(Content::Text(Encoding::Utf8)),
        // A single-byte file may well end in an accent; one with earlier characters of several bytes was cut.
        (0, false, marked) if marked || text.wide > 0 => Err(ImportError::EndsInsideCharacter),
        _ if text.control_bytes > 0 => not_a_table("binary data (it has control bytes)"),
        (foreign, _, marked) if marked || text.wide > foreign => {
            Err(ImportError::MixedEncodings { at: text.first_foreign.unwrap_or(text.bytes) })
        }
        _ => Ok(Content::Text(Encoding::Windows1252)),
    }
}

/// Counts over the whole file what tells text from data and one encoding from another.
#[derive(Debug, Default)]
struct TextCheck {
    bytes: u64,
    nul_bytes: u64,
    control_bytes: u64,
    /// Characters of several bytes that are UTF-8.
    wide: u64,
    /// Bytes that are not.
    foreign: u64,
    first_foreign: Option<u64>,
    /// The beginning of a character that the next piece may complete.
    carry: Vec<u8>,
}

impl TextCheck {
    fn feed(&mut self, piece: &[u8]) {
        for &byte in piece {
            if byte < 0x20 && !matches!(byte, b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | 0x1a) {
                self.control_bytes += 1;
                self.nul_bytes += u64::from(byte == 0);
            }
        }
        let offset = self.bytes - self.carry.len() as u64;
        self.bytes += piece.len() as u64;
        if self.carry.is_empty() {
            self.check_utf8(piece, offset);
        } else {
            let joined = [std::mem::take(&mut self.carry).as_slice(), piece].concat();
            self.check_utf8(&joined, offset);
        }
    }

    fn check_utf8(&mut self, piece: &[u8], offset: u64) {
        let mut rest = piece;
        while let Err(error) = std::str::from_utf8(rest) {
            let (valid, bad) = rest.split_at(error.valid_up_to());
            self.count_wide(valid);
            let Some(length) = error.error_len() else {
                self.carry = bad.to_vec();
                return;
            };
            self.foreign += 1;
            self.first_foreign.get_or_insert(offset + (piece.len() - bad.len()) as u64);
            rest = &bad[length..];
        }
        self.count_wide(rest);
    }

    fn count_wide(&mut self, valid: &[u8]) {
        self.wide += valid.iter().filter(|byte| **byte >= 0xc0).count() as u64;
    }
}
