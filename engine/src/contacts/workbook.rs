//! XLSX workbooks, read cell by cell: never a whole sheet, whatever cell its last one is.

use std::{fs::File, io::BufReader, path::Path};

use calamine::{DataRef, ExcelDateTime, Reader, SheetType, SheetVisible, Xlsx, XlsxCellReader, XlsxError};
use jiff::civil::Date;

use super::{
    bomb,
    error::ImportError,
    hidden,
    import::Limits,
    table::{Alignment, Cell, Row, Rows, TableInfo},
    text::column_letter,
};

type Source = BufReader<File>;

/// A workbook that passed the check, and the sheet of it that is read.
pub(super) struct Workbook {
    book: Xlsx<Source>,
    sheet: String,
    notes: Vec<String>,
    hidden_columns: Vec<usize>,
    limits: Limits,
}

impl Workbook {
    pub(super) fn open(path: &Path, wanted: Option<&str>, limits: Limits) -> Result<Self, ImportError> {
        bomb::check(path, limits.max_inflated_bytes)?;
        let book = Xlsx::new(BufReader::new(File::open(path)?)).map_err(damaged)?;
        let sheets: Vec<_> =
            book.sheets_metadata().iter().filter(|sheet| sheet.typ == SheetType::WorkSheet).collect();
        let visible = sheets.iter().find(|sheet| sheet.visible == SheetVisible::Visible).or(sheets.first());
        let chosen = match wanted {
            None => visible,
            Some(name) => sheets.iter().find(|sheet| sheet.name.trim().eq_ignore_ascii_case(name.trim())),
        };
        let names = || sheets.iter().map(|sheet| sheet.name.clone()).collect::<Vec<_>>().join(", ");
        let Some(sheet) = chosen.map(|sheet| sheet.name.clone()) else {
            return Err(ImportError::NoSheet {
                wanted: wanted.unwrap_or_default().to_owned(),
                found: names(),
            });
        };
        let others: Vec<String> = sheets
            .iter()
            .filter(|other| other.name != sheet)
            .map(|other| format!("sheet `{}` was not read: import it by name if it is wanted", other.name))
            .collect();
        let hidden_columns = hidden::columns(path, &sheet, limits.max_columns);
        Ok(Self { book, sheet, notes: others, hidden_columns, limits })
    }

    pub(super) fn info(&self) -> TableInfo {
        TableInfo {
            format: "xlsx",
            alignment: Alignment::Addressed,
            encoding: None,
            separator: None,
            sheet: Some(self.sheet.clone()),
            hidden_columns: self.hidden_columns.clone(),
            notes: self.notes.clone(),
        }
    }

    pub(super) fn rows(&mut self) -> Result<SheetRows<'_>, ImportError> {
        let cells = self.book.worksheet_cells_reader(&self.sheet).map_err(damaged)?;
        Ok(SheetRows { cells, pending: None, finished: false, last: 0, limits: self.limits })
    }
}

fn damaged(error: XlsxError) -> ImportError {
    ImportError::Workbook { what: format!("it is damaged or was cut off ({error})") }
}

pub(super) struct SheetRows<'a> {
    cells: XlsxCellReader<'a, Source>,
    /// The first cell of the next row.
    pending: Option<(u32, usize, Cell)>,
    /// The data of the sheet has been read: what follows it is no cell.
    finished: bool,
    last: u64,
    limits: Limits,
}

impl SheetRows<'_> {
    /// The next cell that holds something, with its zero-based row and column.
    fn next_cell(&mut self) -> Result<Option<(u32, usize, Cell)>, ImportError> {
        while !self.finished {
            let Some(record) = self.cells.next_cell_with_formula_metadata().map_err(damaged)? else {
                self.finished = true;
                break;
            };
            let (row, column) = record.pos;
            let cell = match (cell(record.value), record.formula) {
                // A formula whose result is an empty text has a value; one without any was never calculated.
                (None, Some(_)) => Cell::FormulaWithoutValue,
                (None, None) | (Some(Cell::Empty), _) => continue,
                (Some(cell), _) => cell,
            };
            let column = usize::try_from(column).unwrap_or(usize::MAX);
            if column >= self.limits.max_columns {
                let (row, column) = (u64::from(row) + 1, column_letter(column));
                return Err(ImportError::TooWide { row, column, limit: self.limits.max_columns });
            }
            return Ok(Some((row, column, cell)));
        }
        Ok(None)
    }
}

impl Rows for SheetRows<'_> {
    fn next(&mut self, row: &mut Row) -> Result<bool, ImportError> {
        row.cells.clear();
        let first = match self.pending.take() {
            Some(cell) => Some(cell),
            None => self.next_cell()?,
        };
        let Some((number, column, cell)) = first else { return Ok(false) };
        row.number = u64::from(number) + 1;
        if row.number <= self.last {
            return Err(ImportError::Workbook {
                what: format!("row {} comes after row {}", row.number, self.last),
            });
        }
        self.last = row.number;
        let mut bytes = place(row, column, cell);
        while let Some((at, column, cell)) = self.next_cell()? {
            if at != number {
                self.pending = Some((at, column, cell));
                break;
            }
            bytes += place(row, column, cell);
            if bytes > self.limits.max_row_bytes {
                return Err(ImportError::RowTooLong { row: row.number, limit: self.limits.max_row_bytes });
            }
        }
        Ok(true)
    }

    fn bytes_read(&self) -> u64 {
        0
    }
}

fn place(row: &mut Row, column: usize, cell: Cell) -> usize {
    if row.cells.len() <= column {
        row.cells.resize(column + 1, Cell::Empty);
    }
    let bytes = match &cell {
        Cell::Text(text) | Cell::Number(text) | Cell::Error(text) => text.len(),
        _ => 0,
    };
    row.cells[column] = cell;
    bytes
}

/// `None` where nothing is stored at all.
fn cell(value: DataRef<'_>) -> Option<Cell> {
    Some(match value {
        DataRef::Empty => return None,
        DataRef::Int(n) => Cell::Number(n.to_string()),
        DataRef::Float(n) => number(n),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => Cell::text(text),
        DataRef::SharedString(text) => Cell::text(text.to_owned()),
        DataRef::Bool(true) => Cell::Text("TRUE".to_owned()),
        DataRef::Bool(false) => Cell::Text("FALSE".to_owned()),
        DataRef::DateTime(moment) => date(&moment).map_or_else(|| number(moment.as_f64()), Cell::Date),
        DataRef::Error(error) => Cell::Error(error.to_string()),
    })
}

/// What a spreadsheet shows of a number: fifteen digits. The sixteenth and seventeenth are the float's, not the
/// author's: 9802.719999999999 was 9802.72.
fn number(n: f64) -> Cell {
    if !n.is_finite() {
        return Cell::Error(n.to_string());
    }
    let shown: f64 = format!("{n:.14e}").parse().unwrap_or(n);
    Cell::Number(shown.to_string())
}

/// A time of day or a duration is no date.
fn date(moment: &ExcelDateTime) -> Option<Date> {
    let in_range = (1.0..2_958_466.0).contains(&moment.as_f64());
    if moment.is_duration() || !in_range {
        return None;
    }
    let (year, month, day, ..) = moment.to_ymd_hms_milli();
    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}
