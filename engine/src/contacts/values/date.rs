//! Dates as people and spreadsheets write them, read into a civil date.

use jiff::civil::Date;

/// Why a text is no date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DateError {
    #[error("not a date (expected 2026-12-15, 15/12/2026 or 15 Dec 2026)")]
    Form,
    #[error("no such day in the calendar (dates are read day first)")]
    DayFirst,
    #[error("no such day in the calendar (dates are read month first)")]
    MonthFirst,
    #[error("no such day in the calendar")]
    Impossible,
}

/// Which of two leading numbers is the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    DayFirst,
    MonthFirst,
}

/// Days from 30 December 1899, as spreadsheets count, that we believe to be a date: 1954 to 2119.
const SERIALS: std::ops::Range<i64> = 20_000..80_500;

/// Reads `2026-12-15`, `20261215`, `15/12/2026`, `15.12.26`, `3/1/27`, `15 Dec 2026`, `December 15, 2026`, a
/// spreadsheet's day number, each with or without a time of day after it. A year of two digits is 1969 to 2068.
pub(crate) fn parse(text: &str, order: Order) -> Result<Date, DateError> {
    let folded = super::super::text::fold_digits(text.trim());
    let parts = split(without_time(&folded))?;
    match parts.as_slice() {
        [Part::Number(n, digits)] => single_number(*n, *digits),
        [Part::Number(year, 4), Part::Number(month, _), Part::Number(day, _)] => {
            date(*year, *month, *day).ok_or(DateError::Impossible)
        }
        [Part::Number(first, 1..=2), Part::Number(second, 1..=2), Part::Number(year, digits @ (2 | 4))] => {
            let (day, month, error) = match order {
                Order::DayFirst => (*first, *second, DateError::DayFirst),
                Order::MonthFirst => (*second, *first, DateError::MonthFirst),
            };
            date(full_year(*year, *digits), month, day).ok_or(error)
        }
        [Part::Number(day, 1..=2), Part::Month(month), Part::Number(year, digits @ (2 | 4))]
        | [Part::Month(month), Part::Number(day, 1..=2), Part::Number(year, digits @ (2 | 4))] => {
            date(full_year(*year, *digits), *month, *day).ok_or(DateError::Impossible)
        }
        [Part::Number(year, 4), Part::Month(month), Part::Number(day, 1..=2)] => {
            date(*year, *month, *day).ok_or(DateError::Impossible)
        }
        _ => Err(DateError::Form),
    }
}

/// Day `serial` of a spreadsheet that counts from 1900, as every format but old Macintosh files does.
pub(crate) fn from_serial(serial: i64) -> Option<Date> {
    let days = SERIALS.contains(&serial).then_some(serial)?;
    jiff::civil::date(1899, 12, 30).checked_add(jiff::Span::new().days(days)).ok()
}

fn single_number(n: i64, digits: usize) -> Result<Date, DateError> {
    match digits {
        5 => from_serial(n).ok_or(DateError::Form),
        8 => date(n / 10_000, n / 100 % 100, n % 100).ok_or(DateError::Impossible),
        _ => Err(DateError::Form),
    }
}

fn date(year: i64, month: i64, day: i64) -> Option<Date> {
    let year = i16::try_from(year).ok().filter(|year| (1900..=2200).contains(year))?;
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

const fn full_year(year: i64, digits: usize) -> i64 {
    match (digits, year) {
        (2, ..=68) => 2000 + year,
        (2, _) => 1900 + year,
        _ => year,
    }
}

/// Cuts `T00:00:00Z` or ` 10:30` off; a date has no colon.
fn without_time(text: &str) -> &str {
    let Some(colon) = text.find(':') else { return text };
    let head = &text[..colon];
    head.rfind(|c: char| c == 'T' || c.is_whitespace()).map_or(text, |at| head[..at].trim_end())
}

#[derive(Debug)]
enum Part {
    Number(i64, usize),
    Month(i64),
}

fn split(text: &str) -> Result<Vec<Part>, DateError> {
    let is_separator = |c: char| c.is_whitespace() || matches!(c, '/' | '-' | '.' | ',');
    let words = text.split(is_separator).filter(|word| !word.is_empty());
    let parts: Option<Vec<Part>> = words.take(4).map(part).collect();
    parts.ok_or(DateError::Form)
}

fn part(word: &str) -> Option<Part> {
    if word.bytes().all(|b| b.is_ascii_digit()) {
        return (word.len() <= 8).then(|| word.parse().ok()).flatten().map(|n| Part::Number(n, word.len()));
    }
    // "1er janvier", "3rd": an ordinal is its number.
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if !digits.is_empty() && matches!(&word[digits.len()..], "st" | "nd" | "rd" | "th" | "er") {
        return digits.parse().ok().map(|n| Part::Number(n, digits.len()));
    }
    month(word).map(Part::Month)
}

/// English, French and Hindi names, whole or cut to the length that people use.
fn month(word: &str) -> Option<i64> {
    const LATIN: [&[&str]; 12] = [
        &["january", "janvier"],
        &["february", "fevrier"],
        &["march", "mars"],
        &["april", "avril"],
        &["may", "mai"],
        &["june", "juin"],
        &["july", "juillet"],
        &["august", "aout"],
        &["september", "septembre"],
        &["october", "octobre"],
        &["november", "novembre"],
        &["december", "decembre"],
    ];
    const HINDI: [&[&str]; 12] = [
        &["जनवरी"],
        &["फरवरी", "फ़रवरी"],
        &["मार्च"],
        &["अप्रैल"],
        &["मई"],
        &["जून"],
        &["जुलाई"],
        &["अगस्त"],
        &["सितंबर", "सितम्बर"],
        &["अक्टूबर", "अक्तूबर"],
        &["नवंबर", "नवम्बर"],
        &["दिसंबर", "दिसम्बर"],
    ];
    let at = HINDI.iter().position(|names| names.contains(&word)).or_else(|| {
        let plain = deunicode::deunicode(word).to_lowercase();
        let enough = |name: &&str| **name == plain || (plain.len() >= 3 && name.starts_with(&plain));
        // "jui" may be June or July in French: a prefix of two months is none.
        let mut found = LATIN.iter().enumerate().filter(|(_, names)| names.iter().any(enough));
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Some(at),
            _ => None,
        }
    });
    at.and_then(|at| i64::try_from(at + 1).ok())
}
