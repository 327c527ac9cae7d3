//! What an import did, for people and for `--json`.

use serde::Serialize;

pub use super::header::{ColumnReport, Decision};
use crate::id::UploadId;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportReport {
    pub upload: UploadId,
    pub file_name: String,
    /// `csv` or `xlsx`.
    pub format: &'static str,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// As a spreadsheet program numbers rows: the first is 1.
    pub header_row: u64,
    /// Rows below the header that hold anything; each was taken or refused.
    pub rows_read: u64,
    /// Rows without anything in them: passed over, neither read nor refused.
    pub rows_blank: u64,
    pub rows_taken: u64,
    pub rows_refused: u64,
    pub contacts_created: u64,
    /// Contacts that were known and that the file changed.
    pub contacts_updated: u64,
    /// Values that were left out of rows that were taken.
    pub fields_left_out: u64,
    /// The rules that rows and values broke, the most frequent first.
    pub reasons: Vec<ReasonCount>,
    pub mapping: Vec<ColumnReport>,
    /// What else a person should know.
    pub notes: Vec<String>,
}

/// How often a rule was broken in a column (or `row`, for the row as a whole).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReasonCount {
    pub field: String,
    pub reason: String,
    pub refused: u64,
    pub left_out: u64,
}
