//! A row of the file, read into a contact and what the file says about it.

use std::{borrow::Cow, fmt};

use iso_currency::Currency;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    header::{Column, Role},
    table::{Alignment, Cell, Row},
    text::{clean, column_letter, shortened, single_line},
    values::{amount, date, language, name},
};
use crate::domain::address::{AddressError, EmailAddress, PhoneNumber, Region};

/// The field under which a problem of the row as a whole is reported.
pub(super) const WHOLE_ROW: &str = "row";
const SHOWN_OF_A_VALUE: usize = 200;

/// A row that was read: taken, unless it is refused.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) refused: bool,
    pub(super) email: Option<EmailAddress>,
    pub(super) phone: Option<PhoneNumber>,
    pub(super) name: Option<String>,
    pub(super) locale: Option<Cow<'static, str>>,
    pub(super) time_zone: Option<String>,
    /// What belongs to the person whichever row it stands in.
    pub(super) person: Map<String, Value>,
    /// The reference in the form in which two spellings of one are equal.
    pub(super) reference: Option<String>,
    pub(super) attributes: Map<String, Value>,
    pub(super) problems: Vec<Problem>,
}

/// Something that was wrong with a row or a value.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub(super) field: String,
    pub(super) value: String,
    pub(super) reason: String,
    /// The reason without the figures of this row: what counts of reasons are kept by.
    pub(super) rule: String,
}

/// What a tenant and a request say about how rows are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) region: Region,
    pub(super) currency: Currency,
    pub(super) order: date::Order,
    pub(super) alignment: Alignment,
}

#[derive(Debug)]
pub(super) struct RowParser {
    columns: Vec<Column>,
    currency_column: Option<usize>,
    has_first_name: bool,
    has_name: bool,
    reading: Reading,
}

impl RowParser {
    pub(super) fn new(columns: Vec<Column>, reading: Reading) -> Self {
        let has = |role| columns.iter().any(|column| column.role == role);
        let (has_first_name, has_name) = (has(Role::FirstName), has(Role::Name));
        let currency_column =
            columns.iter().find(|column| column.role == Role::Currency).map(|column| column.index);
        Self { columns, currency_column, has_first_name, has_name, reading }
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Whether first names are derived from whole ones.
    pub(super) const fn derives_first_name(&self) -> bool {
        self.has_name && !self.has_first_name
    }

    pub(super) fn parse(&self, row: &Row) -> Parsed {
        let mut parsed = Parsed::default();
        if let Some(problem) = self.misalignment(row) {
            parsed.refused = true;
            parsed.problems.push(problem);
            return parsed;
        }
        self.report_strays(row, &mut parsed);
        let stated = self.stated_currency(row, &mut parsed);
        for column in &self.columns {
            let cell = row.cells.get(column.index).unwrap_or(&Cell::Empty);
            match cell {
                Cell::Empty => {}
                Cell::FormulaWithoutValue => parsed.leave_out(column, cell, "formula without a stored value"),
                Cell::Error(_) => parsed.leave_out(column, cell, "the spreadsheet shows an error here"),
                _ => self.take(column, cell, stated, &mut parsed),
            }
        }
        self.complete_names(&mut parsed);
        self.refuse_unreachable(row, &mut parsed);
        parsed
    }

    /// A counted row with a field too many or too few may have its values under the wrong headers.
    fn misalignment(&self, row: &Row) -> Option<Problem> {
        let expected = self.columns.len();
        let found = row.cells.len();
        let surplus = row.cells.iter().skip(expected).any(|cell| *cell != Cell::Empty);
        let rule = match self.reading.alignment {
            Alignment::Counted if found < expected => "fewer fields than the header",
            Alignment::Counted if surplus => "more fields than the header",
            _ => return None,
        };
        let shown: Vec<String> = row.cells.iter().map(Cell::shown).collect();
        Some(Problem {
            field: WHOLE_ROW.to_owned(),
            value: shortened(&shown.join(" | "), SHOWN_OF_A_VALUE),
            reason: format!("has {found} fields, the header has {expected}"),
            rule: rule.to_owned(),
        })
    }

    fn report_strays(&self, row: &Row, parsed: &mut Parsed) {
        for (index, cell) in row.cells.iter().enumerate().skip(self.columns.len()) {
            if *cell != Cell::Empty {
                let reason = "stands right of the last header".to_owned();
                let field = format!("column {}", column_letter(index));
                parsed.problems.push(Problem { field, value: shown(cell), rule: reason.clone(), reason });
            }
        }
    }

    /// The currency that the row's own column states.
    fn stated_currency(&self, row: &Row, parsed: &mut Parsed) -> Option<Currency> {
        let index = self.currency_column?;
        let cell = row.cells.get(index).filter(|cell| **cell != Cell::Empty)?;
        let column = self.columns.iter().find(|column| column.index == index)?;
        match amount::currency(&cell.shown(), self.reading.currency) {
            Ok(currency) => {
                parsed.attributes.insert(column.field.clone(), currency.code().into());
                Some(currency)
            }
            Err(error) => {
                parsed.leave_out_amount(column, cell, &error);
                None
            }
        }
    }

    fn take(&self, column: &Column, cell: &Cell, stated: Option<Currency>, parsed: &mut Parsed) {
        match column.role {
            Role::Email => match EmailAddress::parse(&cell.shown()) {
                Ok(address) => parsed.email = Some(address),
                Err(error) => parsed.leave_out(column, cell, error),
            },
            Role::Phone => match phone(&cell.shown(), &self.reading.region) {
                Ok(number) => parsed.phone = Some(number),
                Err(error) => parsed.leave_out(column, cell, error),
            },
            Role::Name => parsed.name = Some(single_line(&cell.shown())).filter(|name| !name.is_empty()),
            Role::FirstName | Role::LastName => {
                parsed.person.insert(column.field.clone(), single_line(&cell.shown()).into());
            }
            Role::Language => match language::parse(&cell.shown()) {
                Some(code) => parsed.locale = Some(Cow::Borrowed(code)),
                None => parsed.leave_out(column, cell, "not a language that is known"),
            },
            Role::TimeZone => match jiff::tz::TimeZone::get(cell.shown().trim()) {
                Ok(zone) => parsed.time_zone = zone.iana_name().map(str::to_owned),
                Err(_) => parsed.leave_out(column, cell, "not an IANA time zone (such as Indian/Mauritius)"),
            },
            Role::Reference => {
                let text = single_line(&cell.shown());
                parsed.reference = Some(reference_key(&text)).filter(|key| !key.is_empty());
                parsed.attributes.insert(column.field.clone(), text.into());
            }
            Role::Date => match civil_date(cell, self.reading.order) {
                Ok(date) => drop(parsed.attributes.insert(column.field.clone(), date.to_string().into())),
                Err(error) => parsed.leave_out(column, cell, error),
            },
            Role::Amount(of_header) => self.take_amount(column, cell, stated.or(of_header), parsed),
            Role::Text => {
                parsed.attributes.insert(column.field.clone(), clean(&cell.shown()).into_owned().into());
            }
            Role::Currency | Role::Ignored => {}
        }
    }

    fn take_amount(&self, column: &Column, cell: &Cell, stated: Option<Currency>, parsed: &mut Parsed) {
        let money = match cell {
            Cell::Date(_) => Err(amount::AmountError::Form),
            // A currency column that can't be read leaves the amount without a currency: the tenant's would be a guess.
            _ if stated.is_none() && self.currency_column.is_some() => {
                match amount::parse(&cell.shown(), None, self.reading.currency) {
                    Ok(_) => return parsed.leave_out(column, cell, "an amount whose currency is not known"),
                    Err(error) => Err(error),
                }
            }
            _ => amount::parse(&cell.shown(), stated, self.reading.currency),
        };
        match money {
            Ok(money) => {
                let value = json!({ "minor": money.minor, "currency": money.currency.code() });
                parsed.attributes.insert(column.field.clone(), value);
            }
            Err(error) => parsed.leave_out_amount(column, cell, &error),
        }
    }

    fn complete_names(&self, parsed: &mut Parsed) {
        if !self.has_name {
            let part = |key| parsed.person.get(key).and_then(Value::as_str).unwrap_or_default();
            let joined = format!("{} {}", part("first_name"), part("last_name")).trim().to_owned();
            parsed.name = Some(joined).filter(|name| !name.is_empty());
        }
        if self.derives_first_name() {
            let first = parsed.name.as_deref().and_then(name::first_name).map(str::to_owned);
            if let Some(first) = first {
                parsed.person.insert("first_name".to_owned(), first.into());
            }
        }
    }

    fn refuse_unreachable(&self, row: &Row, parsed: &mut Parsed) {
        if parsed.email.is_some() || parsed.phone.is_some() {
            return;
        }
        let state = |role: Role| {
            let column = self.columns.iter().find(|column| column.role == role)?;
            let filled = row.cells.get(column.index).is_some_and(|cell| *cell != Cell::Empty);
            Some(if filled { "impossible" } else { "missing" })
        };
        let reason = match (state(Role::Email), state(Role::Phone)) {
            (Some(email), Some(phone)) => {
                format!("cannot be reached: the e-mail address is {email} and the phone number is {phone}")
            }
            (Some(email), None) => format!("cannot be reached: the e-mail address is {email}"),
            (_, phone) => format!("cannot be reached: the phone number is {}", phone.unwrap_or("missing")),
        };
        parsed.refused = true;
        let field = WHOLE_ROW.to_owned();
        parsed.problems.push(Problem { field, value: String::new(), rule: reason.clone(), reason });
    }
}

impl Parsed {
    /// What tells the person from all others.
    pub(super) fn known_by(&self) -> Option<&str> {
        let phone = || self.phone.as_ref().map(PhoneNumber::as_str);
        self.email.as_ref().map(EmailAddress::as_str).or_else(phone)
    }

    fn leave_out(&mut self, column: &Column, cell: &Cell, reason: impl fmt::Display) {
        let reason = reason.to_string();
        let field = column.header.clone();
        self.problems.push(Problem { field, value: shown(cell), rule: reason.clone(), reason });
    }

    fn leave_out_amount(&mut self, column: &Column, cell: &Cell, error: &amount::AmountError) {
        let (field, value) = (column.header.clone(), shown(cell));
        self.problems.push(Problem { field, value, reason: error.to_string(), rule: error.rule() });
    }
}

fn shown(cell: &Cell) -> String {
    shortened(&clean(&cell.shown()), SHOWN_OF_A_VALUE)
}

fn phone(text: &str, region: &Region) -> Result<PhoneNumber, AddressError> {
    PhoneNumber::parse(&super::text::fold_digits(text), region)
}

fn civil_date(cell: &Cell, order: date::Order) -> Result<jiff::civil::Date, date::DateError> {
    match cell {
        Cell::Date(date) => Ok(*date),
        // The time of day of an unformatted date stands behind its point.
        Cell::Number(number) => {
            let days = number.split('.').next().unwrap_or_default();
            days.parse()
                .ok()
                .and_then(date::from_serial)
                .or_else(|| date::parse(number, order).ok())
                .ok_or(date::DateError::Form)
        }
        _ => date::parse(&cell.shown(), order),
    }
}

/// `LIF 2021-350` and `lif/2021/350` are one reference; `LIF/20/21350` is another.
fn reference_key(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_uppercase).collect::<Vec<_>>().join("-")
}
