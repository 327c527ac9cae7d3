//! Tables as CSV, safe to open in a spreadsheet program: read as UTF-8, and nothing in them is run.

/// The first line, with the mark that makes such programs read what follows as UTF-8.
pub fn header<const N: usize>(names: [&str; N]) -> Vec<u8> {
    let mut lines = csv::Writer::from_writer("\u{feff}".as_bytes().to_vec());
    lines.write_record(names).expect("a vector takes whatever is written");
    lines.into_inner().expect("a vector takes whatever is written")
}

/// More lines.
pub fn lines<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> Vec<u8> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    for row in rows {
        lines.write_record(row.map(harmless)).expect("a vector takes whatever is written");
    }
    lines.into_inner().expect("a vector takes whatever is written")
}

/// A value that would be run as a formula gets an apostrophe, which makes it text.
fn harmless(text: String) -> String {
    let dangerous = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\0']);
    if dangerous { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_table_is_run() {
        assert_eq!(header(["n", "address"]), "\u{feff}n,address\n".as_bytes());
        let cells = ["=1+1", "+23052345678", "-1", "@x", "\tx", "\rx", "a=b", "a,\"b\"", ""];
        let rows = cells.map(|cell| ["1".to_owned(), cell.to_owned()]);
        let read = lines(rows);
        let mut read = csv::ReaderBuilder::new().has_headers(false).from_reader(&read[..]);
        let back: Vec<String> = read.records().map(|record| record.unwrap()[1].to_owned()).collect();
        assert_eq!(back, ["'=1+1", "'+23052345678", "'-1", "'@x", "'\tx", "'\rx", "a=b", "a,\"b\"", ""]);
    }
}
