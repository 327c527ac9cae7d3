//! Finds the header row and decides what each column becomes; the decision is reported and stored.

use iso_currency::Currency;
use serde::Serialize;

use super::{
    error::ImportError,
    synonyms::{Meaning, meaning, normalise, slug},
    table::Row,
    text::{column_letter, single_line},
    values::amount,
};

/// The header is looked for in this many first rows: titles and notes may stand above it.
pub(super) const SEARCHED_ROWS: usize = 20;

/// What the values of a column become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Email,
    Phone,
    Name,
    FirstName,
    LastName,
    Language,
    TimeZone,
    Reference,
    Currency,
    Date,
    /// With the currency that the header states, if it does.
    Amount(Option<Currency>),
    Text,
    Ignored,
}

impl Role {
    const fn word(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Name => "name",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::Language => "language",
            Self::TimeZone => "time_zone",
            Self::Reference => "reference",
            Self::Currency => "currency",
            Self::Date => "date",
            Self::Amount(_) => "amount",
            Self::Text => "text",
            Self::Ignored => "ignored",
        }
    }

    /// Roles that a row has once; the others are attributes under the name of their column.
    const fn field(self) -> Option<&'static str> {
        match self {
            Self::Date | Self::Amount(_) | Self::Text | Self::Ignored => None,
            once => Some(once.word()),
        }
    }

    fn from_field(field: &str) -> Option<Self> {
        let once = [
            Self::Email,
            Self::Phone,
            Self::Name,
            Self::FirstName,
            Self::LastName,
            Self::Language,
            Self::TimeZone,
            Self::Reference,
            Self::Currency,
        ];
        once.into_iter()
            .chain([Self::Ignored])
            .find(|role| role.word() == field)
            .or((field == "ignore").then_some(Self::Ignored))
    }

    const fn from_meaning(meaning: Meaning) -> Self {
        match meaning {
            Meaning::Email => Self::Email,
            Meaning::Phone => Self::Phone,
            Meaning::Name => Self::Name,
            Meaning::FirstName => Self::FirstName,
            Meaning::LastName => Self::LastName,
            Meaning::Language => Self::Language,
            Meaning::TimeZone => Self::TimeZone,
            Meaning::Reference => Self::Reference,
            Meaning::Currency => Self::Currency,
            Meaning::Date => Self::Date,
            Meaning::Amount => Self::Amount(None),
        }
    }
}

/// Why a column became what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The mapping of the request says so.
    Asked,
    /// Its header is a known word for it.
    Header,
    /// Nothing was known: kept as text under its own name.
    Kept,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) index: usize,
    /// As in the file; unique, with the column's letter where the file repeats it.
    pub(super) header: String,
    /// The name of the field or attribute.
    pub(super) field: String,
    pub(super) role: Role,
    pub(super) decision: Decision,
    pub(super) hidden: bool,
}

/// One column of a file as it was understood; stored with the upload.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnReport {
    pub column: String,
    pub header: String,
    pub field: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<&'static str>,
    pub decision: Decision,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

impl From<&Column> for ColumnReport {
    fn from(column: &Column) -> Self {
        let currency = match column.role {
            Role::Amount(Some(currency)) => Some(currency.code()),
            _ => None,
        };
        Self {
            column: column_letter(column.index),
            header: column.header.clone(),
            field: column.field.clone(),
            kind: column.role.word(),
            currency,
            decision: column.decision,
            hidden: column.hidden,
        }
    }
}

/// A wish of the request: `Header=field[:type[:currency]]`, or `#2=field` for the second column.
#[derive(Debug, Clone)]
pub(super) struct Override {
    given: String,
    target: Target,
    field: String,
    role: Role,
}

#[derive(Debug, Clone)]
enum Target {
    Header(String),
    Column(usize),
}

impl Override {
    pub(super) fn parse(given: &str) -> Result<Self, ImportError> {
        let wrong = |why: &str| ImportError::Mapping { given: given.to_owned(), why: why.to_owned() };
        let (header, wish) =
            given.rsplit_once('=').ok_or_else(|| wrong("expected `Header=field[:type[:currency]]`"))?;
        let target = match header.trim().strip_prefix('#').map(str::parse) {
            Some(Ok(n @ 1_usize..)) => Target::Column(n - 1),
            _ => Target::Header(normalise(header)),
        };
        let mut parts = wish.trim().split(':').map(str::trim);
        let field = slug(parts.next().unwrap_or_default());
        if field.is_empty() {
            return Err(wrong("the name of the field is missing"));
        }
        let role = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => Role::from_field(&field).unwrap_or(Role::Text),
            (Some("text"), None, None) => Role::Text,
            (Some("date"), None, None) => Role::Date,
            (Some("amount"), currency, None) => {
                let known =
                    currency.map(|code| Currency::from_code(&code.to_uppercase()).ok_or(code)).transpose();
                Role::Amount(known.map_err(|code| wrong(&format!("`{code}` is no ISO 4217 currency")))?)
            }
            _ => return Err(wrong("the type is one of text, date, amount; only an amount has a currency")),
        };
        Ok(Self { given: given.to_owned(), target, field, role })
    }

    fn fits(&self, header: &Header) -> bool {
        match &self.target {
            Target::Header(wanted) => !header.text.is_empty() && *wanted == normalise(&header.text),
            Target::Column(index) => *index == header.index,
        }
    }
}

/// A cell of the header row.
#[derive(Debug)]
struct Header {
    index: usize,
    text: String,
}

fn headers(row: &Row) -> Vec<Header> {
    let texts: Vec<String> = row.cells.iter().map(|cell| single_line(&cell.shown())).collect();
    let width = texts.iter().rposition(|text| !text.is_empty()).map_or(0, |last| last + 1);
    texts.into_iter().take(width).enumerate().map(|(index, text)| Header { index, text }).collect()
}

/// Whether a contact could be reached by a column of this row, if it is the header.
pub(super) fn is_header(row: &Row, overrides: &[Override]) -> bool {
    headers(row).iter().any(|header| {
        let asked = overrides.iter().find(|wish| wish.fits(header)).map(|wish| wish.role);
        // A column asked for by its number does not tell which row is the header.
        let by_name =
            overrides.iter().any(|wish| matches!(wish.target, Target::Header(_)) && wish.fits(header));
        let role = asked.filter(|_| by_name).or_else(|| known(&header.text).map(|(role, _)| role));
        matches!(role, Some(Role::Email | Role::Phone))
    })
}

/// What is asked for by the number of a column can make the first row with anything in it the header.
pub(super) fn asks_by_number(overrides: &[Override]) -> bool {
    let reaches = |wish: &Override| matches!(wish.role, Role::Email | Role::Phone);
    overrides.iter().any(|wish| matches!(wish.target, Target::Column(_)) && reaches(wish))
}

/// What the columns under this header row become; and what a person should know about the decision.
pub(super) fn map_columns(
    row: &Row,
    overrides: &[Override],
    hidden: &[usize],
    usual: Currency,
) -> Result<(Vec<Column>, Vec<String>), ImportError> {
    let headers = headers(row);
    refuse_unused(overrides, &headers)?;
    refuse_repeated(overrides, &headers)?;
    let mut columns: Vec<Column> =
        headers.iter().map(|header| column(header, overrides, hidden, usual)).collect();
    let mut notes = one_column_a_field(&mut columns);
    tell_apart(&mut columns);
    for column in columns.iter().filter(|column| column.hidden) {
        notes.push(format!(
            "column {} (`{}`) is hidden in the workbook and was taken",
            column_letter(column.index),
            column.header
        ));
    }
    Ok((columns, notes))
}

fn refuse_unused(overrides: &[Override], headers: &[Header]) -> Result<(), ImportError> {
    match overrides.iter().find(|wish| !headers.iter().any(|header| wish.fits(header))) {
        None => Ok(()),
        Some(wish) => {
            let there: Vec<&str> = headers.iter().map(|header| header.text.as_str()).collect();
            let why = format!("no such column; the header has: {}", there.join(", "));
            Err(ImportError::Mapping { given: wish.given.clone(), why })
        }
    }
}

fn refuse_repeated(overrides: &[Override], headers: &[Header]) -> Result<(), ImportError> {
    for header in headers.iter().filter(|header| !header.text.is_empty()) {
        let same: Vec<&Header> =
            headers.iter().filter(|other| other.text.to_lowercase() == header.text.to_lowercase()).collect();
        let by_number = |header: &&Header| {
            overrides.iter().any(|wish| matches!(wish.target, Target::Column(_)) && wish.fits(header))
        };
        if same.len() > 1 && !same.iter().all(by_number) {
            let letters: Vec<String> = same.iter().map(|header| column_letter(header.index)).collect();
            return Err(ImportError::DuplicateHeader {
                header: header.text.clone(),
                columns: letters.join(" and "),
            });
        }
    }
    Ok(())
}

fn column(header: &Header, overrides: &[Override], hidden: &[usize], usual: Currency) -> Column {
    let hidden = hidden.contains(&header.index);
    let (base, stated) = split_currency(&header.text, usual);
    let own = || match slug(base) {
        empty if empty.is_empty() => format!("column_{}", header.index + 1),
        name => name,
    };
    let (role, field, decision) =
        match (overrides.iter().rev().find(|wish| wish.fits(header)), known(&header.text)) {
            (Some(wish), _) => {
                let role = if wish.role == Role::Amount(None) { Role::Amount(stated) } else { wish.role };
                (role, wish.field.clone(), Decision::Asked)
            }
            (None, Some((Role::Amount(_), _))) => (Role::Amount(stated), own(), Decision::Header),
            (None, Some((role, _))) => (role, role.field().map_or_else(own, str::to_owned), Decision::Header),
            // Whatever its name: what states a currency is money.
            (None, None) if stated.is_some() => (Role::Amount(stated), own(), Decision::Header),
            (None, None) => (Role::Text, own(), Decision::Kept),
        };
    let header_text = if header.text.is_empty() {
        format!("column {}", column_letter(header.index))
    } else {
        header.text.clone()
    };
    Column { index: header.index, header: header_text, field, role, decision, hidden }
}

fn known(header: &str) -> Option<(Role, usize)> {
    let exact = meaning(&normalise(header));
    let found = exact.or_else(|| meaning(&normalise(without_brackets(header))))?;
    Some((Role::from_meaning(found.0), found.1))
}

fn without_brackets(header: &str) -> &str {
    header.split(['(', '[']).next().unwrap_or(header)
}

/// `Premium (MUR)` is `Premium` in rupees; brackets around anything else belong to the name.
fn split_currency(header: &str, usual: Currency) -> (&str, Option<Currency>) {
    let bracketed = header.split_once(['(', '[']).and_then(|(base, rest)| {
        let inside = rest.split([')', ']']).next().unwrap_or_default();
        amount::currency(inside, usual).ok().map(|currency| (base, Some(currency)))
    });
    // "Premium MUR": the last word, if it is a code in capitals.
    let last_word = || {
        let (base, word) = header.trim().rsplit_once(' ')?;
        let code = word.len() == 3 && word.bytes().all(|b| b.is_ascii_uppercase());
        let is_amount = matches!(known(base), Some((Role::Amount(_), _)));
        Currency::from_code(word).filter(|_| code && is_amount).map(|currency| (base, Some(currency)))
    };
    bracketed.or_else(last_word).unwrap_or((header, None))
}

/// Of several columns that could be the same field the best named one is it; the others stay as attributes.
fn one_column_a_field(columns: &mut [Column]) -> Vec<String> {
    let rank = |column: &Column| match column.decision {
        Decision::Asked => 0,
        _ => 1 + known(&column.header).map_or(usize::MAX - 1, |(_, rank)| rank),
    };
    let mut notes = Vec::new();
    for at in 0..columns.len() {
        let Some(field) = columns[at].role.field() else { continue };
        let rivals = columns.iter().filter(|other| other.role.field() == Some(field));
        let best = rivals
            .min_by_key(|other| (rank(other), other.index))
            .map(|best| (best.index, best.header.clone()));
        if let Some((index, winner)) = best.filter(|(index, _)| *index != columns[at].index) {
            let loser = &mut columns[at];
            loser.role = Role::Text;
            loser.field = slug(&loser.header);
            loser.decision = Decision::Kept;
            let letter = column_letter(index);
            notes.push(format!(
                "`{winner}` (column {letter}) is the {field}; `{}` could be it too and was kept as the attribute `{}`",
                loser.header, loser.field
            ));
        }
    }
    notes
}

/// Makes the names of fields, and the headers that problems are reported under, unique.
fn tell_apart(columns: &mut [Column]) {
    // Attributes share a table with what is derived of a row: these names are taken.
    let mut fields: Vec<String> =
        columns.iter().filter_map(|column| column.role.field()).map(str::to_owned).collect();
    fields.extend(["email", "phone", "name", "first_name", "last_name"].map(str::to_owned));
    for at in 0..columns.len() {
        let repeated = columns
            .iter()
            .enumerate()
            .any(|(other, column)| other != at && column.header == columns[at].header);
        if repeated {
            let letter = column_letter(columns[at].index);
            columns[at].header = format!("{} ({letter})", columns[at].header);
        }
        if columns[at].role.field().is_some() || columns[at].role == Role::Ignored {
            continue;
        }
        let base = columns[at].field.clone();
        let mut n = 1;
        while fields.contains(&columns[at].field) {
            n += 1;
            columns[at].field = format!("{base}_{n}");
        }
        fields.push(columns[at].field.clone());
    }
}
