//! The parser on files made here, without a database.

use proptest::prelude::*;

use super::*;
use crate::{contacts::inspect::inspect, store::straight::StagedRow};

/// What the parser makes of these bytes: the summary and the rows.
fn parsed(bytes: &[u8], mapping: &[&str]) -> Result<(Summary, Vec<StagedRow>), ImportError> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), bytes)?;
    let limits = Limits { max_row_bytes: 100_000, ..Limits::default() };
    let inspected = inspect(file.path(), limits.max_bytes)?;
    let overrides = mapping.iter().map(|given| Override::parse(given)).collect::<Result<_, _>>()?;
    let job = Job {
        path: file.path().to_owned(),
        inspected,
        shape: Shape::Table,
        overrides,
        sheet: None,
        order: Order::DayFirst,
        region: Region::parse("MU").expect("a region"),
        currency: iso_currency::Currency::MUR,
        limits,
        ids: Ids::from_seed(1),
        now: Timestamp::UNIX_EPOCH,
    };
    let mut rows = Vec::new();
    let summary = run(&job, &mut |batch| {
        rows.extend(batch.rows);
        true
    })?;
    Ok((summary, rows))
}

fn check_fields(header: &str, mapping: &[&str], expected: &str) {
    let row = vec!["x@example.com"; header.split(',').count()].join(",");
    let read = parsed(format!("{header}\n{row}\n").as_bytes(), mapping).map(|(summary, _)| {
        let columns = summary.columns.iter().map(|column| match column.currency {
            Some(currency) => format!("{}:{}:{currency}", column.field, column.kind),
            None => format!("{}:{}", column.field, column.kind),
        });
        columns.collect::<Vec<_>>().join(" ")
    });
    assert_eq!(read.unwrap_or_else(|error| error.to_string()), expected, "{header}");
}

#[test]
fn headers_say_what_columns_are() {
    check_fields(
        "Policy No,Customer Name,E-mail,Mobile,Expiry Date,Premium (MUR)",
        &[],
        "reference:reference name:name email:email phone:phone expiry_date:date premium:amount:MUR",
    );
    check_fields(
        "N° police,Nom du client,Courriel,Téléphone,Échéance,Montant dû (Rs)",
        &[],
        "reference:reference name:name email:email phone:phone echeance:date montant_du:amount:MUR",
    );
    check_fields("पॉलिसी,नाम,ईमेल,मोबाइल", &[], "reference:reference name:name email:email phone:phone");
    check_fields("Prénom,Nom,e mail", &[], "first_name:first_name last_name:last_name email:email");
    check_fields(
        "Premium EUR,Fee [USD],Size (cm),mail",
        &[],
        "premium:amount:EUR fee:amount:USD size_cm:text email:email",
    );
    check_fields("EMAIL,2nd owner,this,गाय", &[], "email:email n_2nd_owner:text this_:text gaay:text");
    check_fields("email,,note", &[], "email:email column_2:text note:text");
}

#[test]
fn of_two_columns_for_one_field_the_better_named_is_it() {
    check_fields("Phone,Mobile,email", &[], "phone_2:text phone:phone email:email");
    check_fields("email,E-mail address", &[], "email:email e_mail_address:text");
}

#[test]
fn a_mapping_says_more_than_a_header() {
    check_fields(
        "Kontakt,Betrag",
        &["Kontakt=email", "Betrag=amount_due:amount:EUR"],
        "email:email amount_due:amount:EUR",
    );
    check_fields("a,b", &["#2=email", "#1=ignore"], "ignore:ignored email:email");
    check_fields("email,due date", &["due date=due:text"], "email:email due:text");
    check_fields(
        "email",
        &["Mail=email"],
        "the mapping `Mail=email` cannot be used: no such column; the header has: email",
    );
    check_fields(
        "email",
        &["email=a:float"],
        "the mapping `email=a:float` cannot be used: the type is one of text, date, amount; only an amount has a currency",
    );
    check_fields(
        "email",
        &["email"],
        "the mapping `email` cannot be used: expected `Header=field[:type[:currency]]`",
    );
    check_fields(
        "email",
        &["email=x:amount:ZZZ"],
        "the mapping `email=x:amount:ZZZ` cannot be used: `ZZZ` is no ISO 4217 currency",
    );
}

#[test]
fn a_table_without_an_address_says_what_it_found() {
    check_fields(
        "Branch,Town",
        &[],
        "no column of the first rows looks like an e-mail address or a phone number (found: Branch, Town): name one in the \
         file, or say which it is, such as `Contact=email`",
    );
}

#[test]
fn titles_above_the_header_are_passed_over() {
    let (summary, rows) = parsed(b"List of May\n\nname,email\nAnn,ann@example.com\n", &[]).expect("a table");
    assert_eq!((summary.header_row, summary.rows_read, summary.rows_blank), (3, 1, 0));
    assert_eq!(rows.iter().map(|row| row.row_no).collect::<Vec<_>>(), [4]);
}

fn check_encoding(bytes: &[u8], expected: Result<&str, &str>) {
    let read = parsed(bytes, &[])
        .map(|(summary, rows)| (summary.info.encoding.unwrap_or_default(), format!("{rows:?}")));
    match (read, expected) {
        (Ok((encoding, rows)), Ok(expected)) => {
            assert_eq!(encoding, expected);
            assert!(rows.contains("Zoé"), "{rows}");
        }
        (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected),
        (read, expected) => panic!("{read:?} is not {expected:?}"),
    }
}

#[test]
fn the_encoding_is_found() {
    let text = "name,email\r\nZoé,zoe@example.com\r\n";
    let utf16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    check_encoding(text.as_bytes(), Ok("UTF-8"));
    check_encoding(format!("\u{feff}{text}").as_bytes(), Ok("UTF-8 with byte-order mark"));
    check_encoding(b"name,email\nZo\xe9,zoe@example.com\n", Ok("Windows-1252"));
    check_encoding(&[b"\xff\xfe", utf16(u16::to_le_bytes).as_slice()].concat(), Ok("UTF-16LE"));
    check_encoding(&[b"\xfe\xff", utf16(u16::to_be_bytes).as_slice()].concat(), Ok("UTF-16BE"));
}

#[test]
fn what_is_no_whole_text_is_refused() {
    let cut = "name,email\nZoé,a@example.com\nZoé".as_bytes();
    check_encoding(
        &cut[..cut.len() - 1],
        Err("the file ends inside a character: it was cut off; export it again"),
    );
    check_encoding(
        b"name,email\nZo\xc3\xa9,a@example.com\nZo\xc3\xa9,b@example.com\nZo\xe9,c@example.com\n",
        Err(
            "the file mixes UTF-8 and another encoding (first at byte 51): export it again with one encoding",
        ),
    );
    check_encoding(b"", Err("the file is empty: export it again"));
    check_encoding(b"\xef\xbb\xbf", Err("the file is empty: export it again"));
    check_encoding(b"\n,,\n\n", Err("the file is empty: export it again"));
    check_encoding(
        b"%PDF-1.7",
        Err("this is not a table but a PDF document: export the list as CSV or XLSX"),
    );
    check_encoding(
        b"<!doctype html><table>",
        Err("this is not a table but a web page (HTML): export the list as CSV or XLSX"),
    );
    check_encoding(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 old",
        Err(
            "this is not a table but an old Excel workbook (.xls) or one with a password: export the list as CSV or XLSX",
        ),
    );
    check_encoding(
        b"name,email\n\x00\x01",
        Err("this is not a table but binary data (it has zero bytes): export the list as CSV or XLSX"),
    );
}

#[test]
fn what_has_no_end_is_refused_in_bounded_memory() {
    let wide = format!("email{}\n", ",x".repeat(100_000));
    let error = parsed(wide.as_bytes(), &[]).expect_err("too wide").to_string();
    assert!(error.contains("and at most 512 are read"), "{error}");
    let open = format!("email,note\na@example.com,\"{}", "never closed\n".repeat(200_000));
    let error = parsed(open.as_bytes(), &[]).expect_err("too long").to_string();
    assert!(error.starts_with("row 2 is longer than 100000 bytes"), "{error}");
}

proptest! {
    /// Whatever bytes come, there is an answer; and whoever is taken can be reached.
    #[test]
    fn no_bytes_are_read_with_a_panic(head in "(email|phone|email,phone|email;due date;amount)?\n?", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok((_, rows)) = parsed(&[head.as_bytes(), &bytes].concat(), &[]) {
            for row in &rows {
                prop_assert!(row.email.is_some() || row.phone.is_some());
                let objects = [&row.person, &row.attributes];
                prop_assert!(objects.iter().all(|text| serde_json::from_str::<serde_json::Value>(text).is_ok()));
            }
        }
    }

    #[test]
    fn no_text_is_read_with_a_panic(cells in "[ -~\n\t\"',;éà€अ０\u{a0}]{0,200}") {
        let text = format!("email,phone,due date,premium,language,currency,name\n{cells}");
        let _ = parsed(text.as_bytes(), &[]);
    }
}

proptest! {
    // Each inflates a workbook.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_archive_is_read_with_a_panic(at in 0_usize..48_000, byte: u8) {
        let mut bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/cattle-policies.xlsx")).expect("a workbook");
        if let Some(changed) = bytes.get_mut(at) {
            *changed ^= byte;
        }
        let _ = parsed(&bytes[..bytes.len() - usize::from(byte % 2)], &[]);
    }
}
