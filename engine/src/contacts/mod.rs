//! Contacts from files, as back offices export them, and from programs, a line of JSON each ([`ndjson`]).
//!
//! Actors: a *parser* (blocking thread) that turns a CSV, TSV or XLSX file into rows, and a *merger* (database) that turns
//! rows into contacts: of people who are new while the file is read, of all others at its end, out of a temporary table.
//! They meet in a bounded channel. The file's size, content, hash and encoding are looked at first ([`inspect`]); a
//! workbook is inflated and counted before anything is built from it ([`bomb`]).
//!
//! Guarantees: a file is taken in whole or not at all (one transaction on a connection of its own, so a crash, a
//! dropped future or a `kill -9` leaves nothing); memory is bounded whatever the file; every row ends up taken or
//! refused with a reason, and every field that was left out of a taken row is reported; nothing is guessed silently:
//! which column became what is part of the report. The same file twice is refused unless forced.
//!
//! A file that comes over the API lands in a blob ([`landing`]), is looked at while its sender waits ([`look`]), and is taken
//! by whichever process claims it ([`intake`]).

pub mod error;
pub mod import;
pub mod intake;
pub mod landing;
pub mod look;
pub mod options;
pub mod person;
pub mod refused;
pub mod report;

mod bomb;
mod delimited;
mod header;
mod hidden;
mod inspect;
mod ndjson;
mod parse;
mod row;
mod seen;
mod stage;
mod synonyms;
mod table;
mod text;
mod values;
mod workbook;

pub use error::ImportError;
pub use import::{Author, ImportOptions, ImportRequest, Limits, Progress, RowCounts, Shape, import, read};
pub use report::ImportReport;
