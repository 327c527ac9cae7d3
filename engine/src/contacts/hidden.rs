//! Which columns of a sheet a workbook hides. They are taken like the others, and the report says so; what can't be
//! found out here is only missing from the report.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;

/// Columns stand before the cells: further than this nobody looks.
const HEAD_BYTES: u64 = 4 << 20;

/// The zero-based hidden columns of `sheet`, of the first `limit`.
pub(super) fn columns(path: &Path, sheet: &str, limit: usize) -> Vec<usize> {
    part_of_sheet(path, sheet).and_then(|part| hidden_in(path, &part, limit)).unwrap_or_default()
}

fn part_of_sheet(path: &Path, sheet: &str) -> Option<String> {
    let mut relation = None;
    elements(path, "xl/workbook.xml", |element| {
        if element.local_name().as_ref() == "sheet" && attribute(element, "name").as_deref() == Some(sheet) {
            relation = attribute(element, "id");
        }
        true
    })?;
    let (relation, mut part) = (relation?, None);
    elements(path, "xl/_rels/workbook.xml.rels", |element| {
        if attribute(element, "Id").as_deref() == Some(relation.as_str()) {
            part = attribute(element, "Target");
        }
        true
    })?;
    let part = part?;
    Some(part.strip_prefix('/').map_or_else(|| format!("xl/{part}"), str::to_owned))
}

fn hidden_in(path: &Path, part: &str, limit: usize) -> Option<Vec<usize>> {
    let mut hidden = Vec::new();
    elements(path, part, |element| {
        let name = element.local_name();
        if name.as_ref() == "col" && matches!(attribute(element, "hidden").as_deref(), Some("1" | "true")) {
            let number = |name| attribute(element, name).and_then(|text| text.parse::<usize>().ok());
            if let (Some(first @ 1..), Some(last)) = (number("min"), number("max")) {
                hidden.extend(first - 1..last.min(limit));
            }
        }
        name.as_ref() != "sheetData"
    })?;
    Some(hidden)
}

/// Shows every element to `visit` until it says no.
fn elements(path: &Path, part: &str, mut visit: impl FnMut(&BytesStart<'_>) -> bool) -> Option<()> {
    let mut archive = ZipArchive::new(BufReader::new(File::open(path).ok()?)).ok()?;
    let head = BufReader::new(archive.by_name(part).ok()?.take(HEAD_BYTES));
    let mut reader = quick_xml::Reader::from_reader(head);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match next(&mut reader, &mut buffer)? {
            Event::Start(element) | Event::Empty(element) if !visit(&element) => return Some(()),
            Event::Eof => return Some(()),
            _ => {}
        }
    }
}

fn next<'a>(reader: &mut quick_xml::Reader<impl BufRead>, buffer: &'a mut Vec<u8>) -> Option<Event<'a>> {
    reader.read_event_into(buffer).ok()
}

/// By its local name: `r:id` is `id`.
fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = element
        .attributes()
        .filter_map(Result::ok)
        .find(|attribute| attribute.key.local_name().as_ref() == name)?;
    found.normalized_value(quick_xml::XmlVersion::Implicit1_0).ok().map(std::borrow::Cow::into_owned)
}
