//! `date`: a civil date as the locale writes it.
//!
//! The value is `2026-12-15` or an RFC 3339 time, whose date is taken as it is written: whoever fills in the variables has
//! converted it to the recipient's zone, which this crate does not know.

use handlebars::RenderErrorReason;
use jiff::civil::{Date, Weekday};
use jiff::fmt::temporal::Pieces;
use serde_json::Value;

use super::args::Args;
use super::{Flavour, Style};
use crate::locale::Conventions;

/// `full` is `long` with the day of the week; without a style, `long`.
pub(crate) const STYLES: &[&str] = &["short", "medium", "long", "full"];

const ENGLISH_MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const ENGLISH_SHORT: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const FRENCH_MONTHS: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];
const FRENCH_SHORT: [&str; 12] =
    ["janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."];
const ENGLISH_DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const FRENCH_DAYS: [&str; 7] = ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"];

pub(super) fn date(args: &Args<'_, '_>, style: Style) -> Result<Value, RenderErrorReason> {
    let value = args.value(0)?;
    let text = value.as_str().ok_or_else(|| args.wrong(0, "a date such as \"2026-12-15\"", value))?;
    let pieces = Pieces::parse(text).map_err(|_| args.fault(0, "must be a date such as \"2026-12-15\""))?;
    let length = match args.asked(1) {
        Some(length) => length.as_str().filter(|length| STYLES.contains(length)),
        None => Some("long"),
    };
    let length = length.ok_or_else(|| args.fault(1, "must be one of short, medium, long, full"))?;
    Ok(Value::String(write(pieces.date(), length, style)))
}

fn write(date: Date, length: &str, style: Style) -> String {
    let (day, month, year) = (date.day(), date.month(), date.year());
    let american = style.conventions == Conventions::AmericanEnglish;
    let name = month_name(date, length, style);
    match (length, style.conventions) {
        ("short", _) if american => format!("{month:02}/{day:02}/{year:04}"),
        ("short", _) => format!("{day:02}/{month:02}/{year:04}"),
        ("full", Conventions::French) => {
            format!("{} {} {name} {year}", weekday(date, &FRENCH_DAYS), french_day(day))
        }
        ("full", _) if american => {
            format!("{}, {name} {day}, {year}", weekday(date, &ENGLISH_DAYS))
        }
        ("full", _) => format!("{} {day} {name} {year}", weekday(date, &ENGLISH_DAYS)),
        (_, Conventions::French) => format!("{} {name} {year}", french_day(day)),
        _ if american => format!("{name} {day}, {year}"),
        _ => format!("{day} {name} {year}"),
    }
}

fn month_name(date: Date, length: &str, style: Style) -> &'static str {
    let names = match (style.conventions, length) {
        (Conventions::French, "medium") => FRENCH_SHORT,
        (Conventions::French, _) => FRENCH_MONTHS,
        (_, "medium") => ENGLISH_SHORT,
        _ => ENGLISH_MONTHS,
    };
    let name = names.get(usize::from(date.month().unsigned_abs()) - 1).copied().unwrap_or_default();
    // The circumflex would more than halve what one SMS holds, and spelling without it is correct since 1990.
    if name == "août" && style.flavour == Flavour::Sms { "aout" } else { name }
}

fn weekday(date: Date, names: &[&'static str; 7]) -> &'static str {
    names
        .get(usize::from(Weekday::to_monday_zero_offset(date.weekday()).unsigned_abs()))
        .copied()
        .unwrap_or_default()
}

fn french_day(day: i8) -> String {
    if day == 1 { "1er".to_owned() } else { day.to_string() }
}
