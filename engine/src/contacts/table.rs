//! What every kind of file becomes: numbered rows of cells.

use jiff::civil::Date;

use super::error::ImportError;

/// A cell as the file holds it, before anybody knows what its column means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Empty,
    /// Not blank, as it stands.
    Text(String),
    /// A spreadsheet's number in decimal digits.
    Number(String),
    Date(Date),
    /// The workbook holds a formula whose result was never stored.
    FormulaWithoutValue,
    /// `#REF!` and its like.
    Error(String),
}

impl Cell {
    pub(super) fn text(text: String) -> Self {
        if text.trim().is_empty() { Self::Empty } else { Self::Text(text) }
    }

    /// As a person would read it; empty where there is nothing to read.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Error(text) => text.clone(),
            Self::Date(date) => date.to_string(),
            Self::Empty | Self::FormulaWithoutValue => String::new(),
        }
    }
}

/// One row; `number` counts from 1 as a spreadsheet program does, empty rows included.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) number: u64,
    pub(super) cells: Vec<Cell>,
}

impl Row {
    pub(super) fn is_blank(&self) -> bool {
        self.cells.iter().all(|cell| *cell == Cell::Empty)
    }
}

/// A file that is read once, row by row.
pub(super) trait Rows {
    /// Fills `row` with the next one; false at the end. Rows that hold nothing may be left out: numbers tell.
    fn next(&mut self, row: &mut Row) -> Result<bool, ImportError>;

    /// How far the reading is, in the unit of the file's size; 0 where that is unknown.
    fn bytes_read(&self) -> u64;
}

/// How the cells of a row relate to the header's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alignment {
    /// By counting separators: a field too many or too few means that values may stand under the wrong header.
    Counted,
    /// By address: a cell can't shift, and what stands right of the table belongs to no column.
    Addressed,
}

/// What is known about a table before its first row.
#[derive(Debug, Clone)]
pub(super) struct TableInfo {
    /// `csv` or `xlsx`.
    pub(super) format: &'static str,
    pub(super) alignment: Alignment,
    pub(super) encoding: Option<String>,
    pub(super) separator: Option<char>,
    pub(super) sheet: Option<String>,
    /// Zero-based columns that the workbook hides.
    pub(super) hidden_columns: Vec<usize>,
    pub(super) notes: Vec<String>,
}
