//! `number` and `plural`: decimal digits as text from beginning to end, never a float.

use handlebars::RenderErrorReason;
use serde_json::Value;

use super::Style;
use super::args::Args;
use crate::locale::Conventions;

type Answer = Result<Value, RenderErrorReason>;

/// A whole part and the decimals written after it, both as digits.
struct Decimal {
    negative: bool,
    whole: String,
    decimals: String,
}

pub(super) fn number(args: &Args<'_, '_>, style: Style) -> Answer {
    let Decimal { negative, whole, decimals } = decimal(args)?;
    let mut out = String::with_capacity(whole.len() * 2 + decimals.len() + 2);
    if negative {
        out.push('-');
    }
    group(&whole, style, &mut out);
    if !decimals.is_empty() {
        out.push(point(style));
        out.push_str(&decimals);
    }
    Ok(Value::String(out))
}

/// The option for the value's plural category (CLDR), or `other`.
pub(super) fn plural(args: &Args<'_, '_>, style: Style) -> Answer {
    let category = category(&decimal(args)?, style.conventions);
    let chosen = match args.option(category)? {
        Some(word) => Some(word),
        None => args.option("other")?,
    };
    chosen.cloned().ok_or_else(|| args.fault(0, "has no word: `plural` needs the option `other`"))
}

/// CLDR's cardinal rules. English: `one` is a written 1. French: `one` is 0 and 1 with any decimals, `many` whole millions.
fn category(Decimal { whole, decimals, .. }: &Decimal, conventions: Conventions) -> &'static str {
    let integer = decimals.is_empty();
    match conventions {
        Conventions::French => match whole.as_str() {
            "0" | "1" => "one",
            _ if integer && whole.ends_with("000000") => "many",
            _ => "other",
        },
        Conventions::English | Conventions::AmericanEnglish | Conventions::IndianEnglish => {
            if integer && whole == "1" { "one" } else { "other" }
        }
    }
}

fn decimal(args: &Args<'_, '_>) -> Result<Decimal, RenderErrorReason> {
    let text = args.text(0)?;
    let (negative, digits) = text.strip_prefix('-').map_or((false, &*text), |digits| (true, digits));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let sound = |digits: &str| digits.len() <= 40 && digits.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !sound(whole) || !sound(decimals) || digits.ends_with('.') {
        return Err(args.fault(0, "must be a number such as 1250 or \"1250.50\""));
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    Ok(Decimal { negative, whole: whole.to_owned(), decimals: decimals.to_owned() })
}

pub(super) fn point(style: Style) -> char {
    if style.conventions == Conventions::French { ',' } else { '.' }
}

/// Appends the digits of a whole number with the separators of the locale.
pub(super) fn group(digits: &str, style: Style, out: &mut String) {
    let separator = if style.conventions == Conventions::French { style.joiner() } else { ',' };
    for (i, digit) in digits.chars().enumerate() {
        let left = digits.len() - i;
        let boundary = match style.conventions {
            Conventions::IndianEnglish => left == 3 || (left > 3 && left % 2 == 1),
            _ => left.is_multiple_of(3),
        };
        if i > 0 && boundary {
            out.push(separator);
        }
        out.push(digit);
    }
}
