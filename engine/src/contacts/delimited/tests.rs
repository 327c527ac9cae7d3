use proptest::prelude::*;

use super::*;

fn tokens(text: &[u8], separator: u8, piece: usize) -> (Vec<Vec<Vec<u8>>>, End) {
    let mut tokenizer = Tokenizer::new(separator);
    let (mut rows, mut fields) = (Vec::new(), Vec::new());
    for mut input in text.chunks(piece.max(1)) {
        while !input.is_empty() {
            let (taken, step) = tokenizer.feed(input, &mut fields);
            input = &input[taken..];
            if step == Step::RowEnds {
                rows.push(std::mem::take(&mut fields));
            }
        }
    }
    let end = tokenizer.finish(&mut fields);
    if end == End::Row {
        rows.push(fields);
    }
    (rows, end)
}

fn check_separator(head: &str, expected: char) {
    assert_eq!(char::from(sniff_separator(head.as_bytes())), expected, "{head:?}");
}

#[test]
fn the_separator_is_the_one_that_cuts_rows_alike() {
    check_separator("a,b,c\n1,2,3\n", ',');
    check_separator("a;b;c\n1,5;2,5;3,5\n", ';');
    check_separator("name\tamount\nBob, Jr\t1,5\n", '\t');
    check_separator("a|b\n1|2\n", '|');
    check_separator("email\na@example.com\n", ',');
    check_separator("\"a;b\",\"c\"\n\"1;2\",\"3\"\n", ',');
    check_separator("List of May; by branch\nname,email\nx,y\nz,w\n", ',');
    check_separator("\"moved to\nVacoas\";b\n1;2\n", ';');
    check_separator("a;b", ';');
}

#[test]
fn a_hint_of_the_separator_is_obeyed_and_skipped() {
    assert_eq!(separator_hint(b"sep=;\r\na,b;c"), (Some(b';'), 7));
    assert_eq!(separator_hint(b"sep=\t\na"), (Some(b'\t'), 6));
    assert_eq!(separator_hint(b"separate,b"), (None, 0));
}

#[test]
fn the_end_inside_quotes_is_told_from_other_ends() {
    assert_eq!(tokens(b"a,\"b", b',', 9).1, End::InsideQuotes);
    assert_eq!(tokens(b"a,\"b\"", b',', 9).1, End::Row);
    assert_eq!(tokens(b"a,\"b\"\"", b',', 9).1, End::InsideQuotes);
    assert_eq!(tokens(b"a,b\r\n", b',', 9).1, End::Nothing);
    assert_eq!(tokens(b"", b',', 9).1, End::Nothing);
}

#[test]
fn empty_lines_are_rows() {
    let (rows, _) = tokens(b"a\r\n\r\n\nb", b',', 1);
    assert_eq!(rows, [[b"a".to_vec()], [Vec::new()], [Vec::new()], [b"b".to_vec()]]);
}

proptest! {
    /// Whatever the text and however it is cut, the rows are those of the `csv` crate, which leaves empty lines out.
    #[test]
    fn rows_are_those_of_the_csv_crate(text in "[a,;\"\r\n ]{0,40}", piece in 1_usize..7) {
        let (rows, end) = tokens(text.as_bytes(), b',', piece);
        prop_assume!(end != End::InsideQuotes);
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let expected: Vec<Vec<Vec<u8>>> = reader
            .byte_records()
            .map(|record| record.expect("bytes").iter().map(<[u8]>::to_vec).collect())
            .collect();
        let rows: Vec<_> = rows.into_iter().filter(|row| *row != [Vec::<u8>::new()]).collect();
        let expected: Vec<_> = expected.into_iter().filter(|row| *row != [Vec::<u8>::new()]).collect();
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn the_cut_of_the_input_makes_no_difference(bytes in proptest::collection::vec(any::<u8>(), 0..60), piece in 1_usize..9) {
        prop_assert_eq!(tokens(&bytes, b';', piece), tokens(&bytes, b';', usize::MAX));
    }
}
