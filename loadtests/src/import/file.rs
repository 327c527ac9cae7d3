//! The file, and what each of its rows should become.

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use serde_json::{Value, json};

use crate::{
    people::{Person, Renewal},
    seed::ZONE,
};

const HEADER: &str = "name,email,phone,language,time_zone,policy_number,product,premium,expiry_date,agent\n";

/// Writes the file; returns its size.
pub(super) fn write(path: &Path, rows: u64) -> anyhow::Result<u64> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(HEADER.as_bytes())?;
    for index in 0..rows {
        file.write_all(line(Person::number(index, 0)).as_bytes())?;
    }
    let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// A row as a back office writes it: the day first, the premium in rupees and cents.
fn line(person: Person) -> String {
    let Renewal { premium_minor, year, month, day } = person.renewal();
    let fields = [
        person.name(),
        person.address(),
        person.phone(),
        language(person).to_owned(),
        zone(person).to_owned(),
        person.policy_number(),
        person.product().to_owned(),
        format!("{}.{:02}", premium_minor / 100, premium_minor % 100),
        format!("{day:02}/{month:02}/{year}"),
        person.agent(),
    ];
    let mut line = String::with_capacity(160);
    for (at, field) in fields.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let written = if field.contains(['"', ',']) {
            write!(line, "{comma}\"{}\"", field.replace('"', "\"\""))
        } else {
            write!(line, "{comma}{field}")
        };
        written.expect("a string takes everything");
    }
    line.push('\n');
    line
}

/// What the contact and its row of the upload should hold.
pub(super) fn expected(person: Person) -> Value {
    let Renewal { premium_minor, year, month, day } = person.renewal();
    json!({
        "name": person.name(),
        "email": person.address(),
        "phone": person.phone(),
        "locale": language(person),
        "time_zone": zone(person),
        "attributes": {"first_name": person.first_name()},
        "row_no": person.index() + 2,
        "row_zone": zone(person),
        "said": {
            "reference": person.policy_number(),
            "product": person.product(),
            "premium": {"minor": premium_minor, "currency": "MUR"},
            "expiry_date": format!("{year}-{month:02}-{day:02}"),
            "agent": person.agent(),
        },
    })
}

fn language(person: Person) -> &'static str {
    if person.index().is_multiple_of(3) { "fr" } else { "en" }
}

/// One in fifty lives abroad.
fn zone(person: Person) -> &'static str {
    if person.index() % 50 == 7 { "Europe/Paris" } else { ZONE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_mark_is_doubled() {
        // health "plus"
        let person = (0..100).map(|index| Person::number(index, 0)).find(|who| who.product().contains('"'));
        let line = line(person.expect("one of five products"));
        assert!(line.contains(r#","health ""plus""","#), "{line}");
    }
}
