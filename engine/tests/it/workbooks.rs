//! Workbooks that are made to hurt, and others that only look wrong.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use fanfare_engine::contacts::ImportOptions;
use rust_xlsxwriter::{Format, Formula, Workbook};
use sqlx::PgPool;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::imports::{Bench, file};

/// The name of an entry, and what writes it.
type Part<'a> = (&'a str, &'a dyn Fn(&mut dyn Write));

/// An archive of these entries.
fn archive(parts: &[Part<'_>]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut zip = ZipWriter::new(std::io::BufWriter::new(file.as_file()));
    for (name, write) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).expect("an entry");
        write(&mut zip);
    }
    zip.finish().expect("an archive").flush().expect("written");
    file
}

const WORKBOOK: &str = r#"<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>"#;
const RELATIONS: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#;
const PACKAGE: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;

fn workbook(strings: &dyn Fn(&mut dyn Write), sheet: &dyn Fn(&mut dyn Write)) -> tempfile::NamedTempFile {
    let text =
        |text: &'static str| move |out: &mut dyn Write| out.write_all(text.as_bytes()).expect("written");
    archive(&[
        ("_rels/.rels", &text(PACKAGE)),
        ("xl/workbook.xml", &text(WORKBOOK)),
        ("xl/_rels/workbook.xml.rels", &text(RELATIONS)),
        ("xl/sharedStrings.xml", strings),
        ("xl/worksheets/sheet1.xml", sheet),
    ])
}

fn say(out: &mut dyn Write, text: &str) {
    out.write_all(text.as_bytes()).expect("written");
}

fn repeated(out: &mut dyn Write, text: &str, megabytes: usize) {
    let piece = text.repeat((1 << 20) / text.len());
    for _ in 0..megabytes {
        say(out, &piece);
    }
}

fn no_strings(out: &mut dyn Write) {
    say(out, "<sst></sst>");
}

fn rows(cells: &'static str) -> impl Fn(&mut dyn Write) {
    move |out: &mut dyn Write| say(out, &format!("<worksheet><sheetData>{cells}</sheetData></worksheet>"))
}

const HEADER: &str = r#"<row r="1"><c r="A1" t="inlineStr"><is><t>email</t></is></c></row>"#;

/// Refused within a second (measured on a debug build, so two) and for the reason that is expected.
async fn check_refused(pool: &PgPool, workbook: &tempfile::NamedTempFile, expected: &str) {
    let bench = Bench::named(pool.clone(), "MU", "MUR").await;
    let started = Instant::now();
    let error =
        bench.import(workbook.path(), ImportOptions::default()).await.expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2), "{expected}: took {:?}", started.elapsed());
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn bombs_are_refused_quickly(pool: PgPool) {
    let bomb = workbook(
        &|out| {
            say(out, "<sst>");
            repeated(out, "<si><t>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</t></si>", 128)
        },
        &rows(HEADER),
    );
    check_refused(&pool, &bomb, "a part inflates to more than 60 times its size").await;

    // The same with a false size, in both places where an archive states it.
    let mut lying = std::fs::read(bomb.path()).expect("an archive");
    let size = |text: &str| {
        (1_u32 << 20) / u32::try_from(text.len()).expect("short") * u32::try_from(text.len()).expect("short")
    };
    let stated = (size("<si><t>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</t></si>") * 128 + 5).to_le_bytes();
    for at in 0..lying.len() - 4 {
        if lying[at..at + 4] == stated {
            lying[at..at + 4].copy_from_slice(&1_000_u32.to_le_bytes());
        }
    }
    std::fs::write(bomb.path(), &lying).expect("written");
    check_refused(&pool, &bomb, "a part of it is larger than it states").await;

    let reserved = workbook(&|out| say(out, r#"<sst uniqueCount="99999999999"></sst>"#), &rows(HEADER));
    check_refused(&pool, &reserved, "it states more texts than it can hold").await;

    let sparse = workbook(
        &no_strings,
        &rows(
            r#"<row r="1"><c r="A1" t="inlineStr"><is><t>email</t></is></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>"#,
        ),
    );
    check_refused(&pool, &sparse, "row 1048576 reaches column XFD, and at most 512 are read").await;

    let long_cell = workbook(&no_strings, &|out| {
        say(out, "<worksheet><sheetData><row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is>");
        repeated(out, "<r><t>ab</t></r>", 3);
        say(out, "</is></c></row></sheetData></worksheet>");
    });
    check_refused(&pool, &long_cell, "a cell or tag is longer than 1 MiB").await;

    let backwards = workbook(
        &no_strings,
        &rows(
            r#"<row r="9"><c r="A9" t="inlineStr"><is><t>email</t></is></c></row><row r="2"><c r="A2"><v>1</v></c></row>"#,
        ),
    );
    check_refused(&pool, &backwards, "row 2 comes after row 9").await;
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_workbook_that_was_cut_off_is_refused(pool: PgPool) {
    let whole = std::fs::read(crate::imports::data("arrears.xlsx")).expect("a workbook");
    let cut = file("");
    std::fs::write(cut.path(), &whole[..whole.len() / 2]).expect("written");
    check_refused(&pool, &cut, "it is damaged or was cut off").await;
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn other_archives_are_named(pool: PgPool) {
    let document = archive(&[("word/document.xml", &|out| say(out, "<w/>"))]);
    check_refused(&pool, &document, "this is not a table but a Word document").await;
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_workbook_as_programs_write_them(pool: PgPool) {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    let date = Format::new().set_num_format("dd/mm/yyyy");
    sheet.write(0, 0, "Debtors of the month").expect("cell");
    for (column, header) in
        ["Client", "E-mail", "Mobile", "Due date", "Balance", "Note", "Total due"].iter().enumerate()
    {
        sheet.write(2, u16::try_from(column).expect("small"), *header).expect("cell");
    }
    sheet.write(3, 0, "Ann").expect("cell");
    sheet.write(3, 1, "ann@example.com").expect("cell");
    sheet.write(3, 2, 57_001_001.0).expect("cell");
    sheet.write_with_format(3, 3, 46_371.0, &date).expect("cell");
    sheet.write(3, 4, 0.1 + 0.2).expect("cell");
    sheet.write(3, 5, true).expect("cell");
    sheet.write(3, 6, Formula::new("=E4*2").set_result("12.5")).expect("cell");
    sheet.write(3, 8, "a remark beside the table").expect("cell");
    sheet.set_column_hidden(4).expect("hidden");
    let path = tempfile::NamedTempFile::new().expect("a file");
    book.save(path.path()).expect("saved");

    let bench = Bench::named(pool, "MU", "MUR").await;
    let report = bench.import(path.path(), ImportOptions::default()).await.expect("taken");
    bench.check(&report).await;
    assert!(
        report
            .notes
            .iter()
            .any(|note| note == "column E (`Balance`) is hidden in the workbook and was taken"),
        "{:?}",
        report.notes
    );
    insta::assert_json_snapshot!("row of a written workbook", bench.rows(&report, 1).await);
    insta::assert_snapshot!("list of a written workbook", bench.list(&report).await);
}
