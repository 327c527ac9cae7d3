//! The workbook to begin with. Its first sheet has the headers and no rows, so that nobody uploads an example by mistake; the
//! second says what each column means; the third is filled in as an example, and can be uploaded by its name.

use rust_xlsxwriter::{ExcelDateTime, Format, FormatBorder, Workbook, Worksheet, XlsxError};

/// The sheet that is filled in.
const EXAMPLES: &str = "Examples";

struct Column {
    header: &'static str,
    means: &'static str,
    examples: [Value; 3],
}

enum Value {
    Text(&'static str),
    Amount(f64),
    Day(u16, u8, u8),
}
use Value::{Amount, Day, Text};

const COLUMNS: &[Column] = &[
    Column {
        header: "Customer Name",
        means: "The whole name, also with a title such as Mr or Mme. `First Name` and `Last Name` may stand instead.",
        examples: [Text("Mrs Asha Ramgoolam"), Text("Jean-Marc Lafleur"), Text("Priya Sharma")],
    },
    Column {
        header: "Email",
        means: "An e-mail address. A row needs one, or a mobile number.",
        examples: [Text("asha@example.com"), Text("jm.lafleur@example.com"), Text("")],
    },
    Column {
        header: "Mobile",
        means: "A phone number, as it is written in your country or with a country code (+230 5…).",
        examples: [Text("5251 2345"), Text("+230 5252 3456"), Text("52534567")],
    },
    Column {
        header: "Language",
        means: "The language to write in, by name or code: English, fr.",
        examples: [Text("English"), Text("fr"), Text("hi")],
    },
    Column {
        header: "Policy No",
        means: "The reference of the policy. One person may have several rows, each with a reference of its own.",
        examples: [Text("MOT-2026-00017"), Text("MOT-2026-00018"), Text("LIF-2026-00003")],
    },
    Column {
        header: "Premium (MUR)",
        means: "An amount; the header's brackets say its currency.",
        examples: [Amount(12_450.0), Amount(8_900.5), Amount(3_000.0)],
    },
    Column {
        header: "Outstanding Amount (MUR)",
        means: "An amount that is owed.",
        examples: [Amount(2_450.0), Amount(0.0), Amount(1_500.0)],
    },
    Column {
        header: "Due Date",
        means: "A date, or text such as 31/12/2026, which is read day first.",
        examples: [Day(2026, 12, 31), Day(2027, 1, 15), Day(2027, 2, 1)],
    },
    Column {
        header: "Expiry Date",
        means: "A date.",
        examples: [Day(2027, 1, 31), Day(2027, 2, 15), Day(2027, 3, 1)],
    },
    Column {
        header: "Vehicle No",
        means: "Columns of any other name are kept as text, under their name (vehicle_no), for templates to use.",
        examples: [Text("1234 JN 22"), Text("5678 AG 19"), Text("")],
    },
];

pub(super) fn workbook() -> Result<Vec<u8>, XlsxError> {
    let mut book = Workbook::new();
    let head = Format::new().set_bold().set_border_bottom(FormatBorder::Thin);
    headers(book.add_worksheet().set_name("Policies")?, &head)?;
    let sheet = book.add_worksheet().set_name("How to fill it in")?;
    explain(sheet, &head)?;
    let sheet = book.add_worksheet().set_name(EXAMPLES)?;
    headers(sheet, &head)?;
    let (day, amount) =
        (Format::new().set_num_format("dd/mm/yyyy"), Format::new().set_num_format("#,##0.00"));
    for (at, column) in (0..).zip(COLUMNS) {
        for (row, value) in (1..).zip(&column.examples) {
            match value {
                Text("") => {}
                Text(text) => {
                    sheet.write_string(row, at, *text)?;
                }
                Amount(figure) => {
                    sheet.write_number_with_format(row, at, *figure, &amount)?;
                }
                Day(year, month, date) => {
                    let when = ExcelDateTime::from_ymd(*year, *month, *date)?;
                    sheet.write_datetime_with_format(row, at, &when, &day)?;
                }
            }
        }
    }
    book.save_to_buffer()
}

fn headers(sheet: &mut Worksheet, head: &Format) -> Result<(), XlsxError> {
    for (at, column) in (0..).zip(COLUMNS) {
        sheet.write_string_with_format(0, at, column.header, head)?;
        sheet.set_column_width(at, 24)?;
    }
    sheet.set_freeze_panes(1, 0)?;
    Ok(())
}

const NOTES: &[&str] = &[
    "Fill in the sheet `Policies`, one row for each policy or bill, and upload this file; or a CSV with such a header row.",
    "Columns may be left out and stand in any order. Headers may be in English, French or Hindi.",
    "A row without a usable e-mail address or phone number is refused. A value that can't be read is left out of its row.",
    "What was refused or left out can be downloaded afterwards, with the row and the reason.",
];

fn explain(sheet: &mut Worksheet, head: &Format) -> Result<(), XlsxError> {
    let wrapped = Format::new().set_text_wrap();
    sheet.set_column_width(0, 28)?;
    sheet.set_column_width(1, 90)?;
    sheet.write_string_with_format(0, 0, "Column", head)?;
    sheet.write_string_with_format(0, 1, "Meaning", head)?;
    for (row, column) in (1..).zip(COLUMNS) {
        sheet.write_string(row, 0, column.header)?;
        sheet.write_string_with_format(row, 1, column.means, &wrapped)?;
    }
    let below = u32::try_from(COLUMNS.len()).unwrap_or(0) + 2;
    for (row, note) in (below..).zip(NOTES) {
        sheet.write_string_with_format(row, 1, *note, &wrapped)?;
    }
    Ok(())
}
