//! Why a file was not taken. Each error is a sentence that says what to do.

use jiff::Timestamp;

use crate::{
    id::{TenantId, UploadId},
    store::StoreError,
};

/// Why a file was refused whole; nothing of it was taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the file has {bytes} bytes, more than the {limit} allowed: split it, or raise `{setting}`")]
    TooLarge { bytes: u64, limit: u64, setting: &'static str },
    #[error("this is not a table but {looks_like}: export the list as CSV or XLSX")]
    NotATable { looks_like: String },
    #[error("this is not UTF-8: send one JSON object a line, in UTF-8")]
    NotLines,
    #[error("the file is empty: export it again")]
    Empty,
    #[error("there is a header in row {header_row} but no row below it: export the list with its rows")]
    NoRows { header_row: u64 },
    #[error(
        "no column of the first rows looks like an e-mail address or a phone number (found: {found}): name one in the \
         file, or say which it is, such as `Contact=email`"
    )]
    NoAddressColumn { found: String },
    #[error(
        "the header `{header}` stands above columns {columns}: rename one in the file, or say what each is, such as \
         `#2=email` (`#3=ignore` leaves a column out)"
    )]
    DuplicateHeader { header: String, columns: String },
    #[error("the file ends inside a quoted field that starts at row {row}: it was cut off; export it again")]
    EndsInsideQuotes { row: u64 },
    #[error("the file ends inside a character: it was cut off; export it again")]
    EndsInsideCharacter,
    #[error(
        "the file mixes UTF-8 and another encoding (first at byte {at}): export it again with one encoding"
    )]
    MixedEncodings { at: u64 },
    #[error(
        "row {row} is longer than {limit} bytes: probably a quotation mark in or above it was never closed; correct it"
    )]
    RowTooLong { row: u64, limit: usize },
    #[error(
        "row {row} reaches column {column}, and at most {limit} are read: delete what lies right of the table"
    )]
    TooWide { row: u64, column: String, limit: usize },
    #[error("the workbook is refused: {what}; save the sheet as CSV, which is read at any size")]
    Workbook { what: String },
    #[error("the workbook has no sheet `{wanted}` (it has: {found}): name one of these")]
    NoSheet { wanted: String, found: String },
    #[error("the mapping `{given}` cannot be used: {why}")]
    Mapping { given: String, why: String },
    #[error("this very file was imported as {upload} at {at}: force it if its rows are to be taken again")]
    AlreadyImported { upload: UploadId, at: Timestamp },
    #[error("the tenant {0} does not exist")]
    UnknownTenant(TenantId),
    #[error("the tenant's setting {setting} is `{value}`, which is not one: correct it first")]
    TenantSetting { setting: &'static str, value: String },
    #[error("the file changed while it was read: import it again when nothing writes to it")]
    Changed,
    #[error("the file cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the reading of the file broke off ({0}): report the file")]
    Broken(String),
}

impl From<sqlx::Error> for ImportError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
