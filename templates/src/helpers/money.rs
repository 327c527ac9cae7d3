//! `money`: an integer of minor units and its ISO 4217 currency, as the locale writes amounts.

use handlebars::RenderErrorReason;
use iso_currency::Currency;
use serde_json::Value;

use super::args::Args;
use super::number::{group, point};
use super::{Flavour, Style};
use crate::locale::Conventions;

const SHAPE: &str = "must be an amount such as {\"minor\": 125000, \"currency\": \"MUR\"}";

pub(super) fn money(args: &Args<'_, '_>, style: Style) -> Result<Value, RenderErrorReason> {
    let value = args.value(0)?;
    let object =
        value.as_object().ok_or_else(|| args.wrong(0, SHAPE.trim_start_matches("must be "), value))?;
    let minor = object.get("minor").and_then(Value::as_i64).ok_or_else(|| args.fault(0, SHAPE))?;
    let code = object.get("currency").and_then(Value::as_str).ok_or_else(|| args.fault(0, SHAPE))?;
    let currency =
        Currency::from_code(code).ok_or_else(|| args.fault(0, "has a currency that is not in ISO 4217"))?;
    let digits = currency.exponent().ok_or_else(|| args.fault(0, "has a currency without minor units"))?;
    Ok(Value::String(write(minor, currency, usize::from(digits), style)))
}

fn write(minor: i64, currency: Currency, digits: usize, style: Style) -> String {
    let padded = format!("{:0width$}", minor.unsigned_abs(), width = digits + 1);
    let (whole, decimals) = padded.split_at(padded.len() - digits);
    let mut amount = String::with_capacity(padded.len() * 2);
    group(whole, style, &mut amount);
    if digits > 0 {
        amount.push(point(style));
        amount.push_str(decimals);
    }
    let sign = if minor < 0 { "-" } else { "" };
    let (symbol, joined) = symbol(currency, style);
    let space = style.joiner();
    match (style.conventions, joined) {
        (Conventions::French, _) => format!("{sign}{amount}{space}{symbol}"),
        (_, true) => format!("{sign}{symbol}{amount}"),
        (_, false) => format!("{sign}{symbol}{space}{amount}"),
    }
}

/// The symbol, and whether English writes it without a space. Where a symbol is shared, the ISO code is clearer.
fn symbol(currency: Currency, style: Style) -> (&'static str, bool) {
    let french = style.conventions == Conventions::French;
    match currency {
        Currency::MUR => ("Rs", false),
        Currency::INR if style.flavour == Flavour::Sms => ("Rs", false),
        Currency::INR => ("₹", true),
        Currency::EUR => ("€", true),
        Currency::GBP if french => ("£GB", true),
        Currency::GBP => ("£", true),
        Currency::USD if french => ("$US", true),
        Currency::USD => ("$", true),
        other => (other.code(), false),
    }
}
