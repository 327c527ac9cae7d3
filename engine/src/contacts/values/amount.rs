//! Amounts of money as people write them, read into minor units of an ISO 4217 currency.
//!
//! Arithmetic is on decimal text, never on floats. What can be read in two ways is decided by these rules: with two
//! kinds of separator the last one is the decimal one; a separator that occurs more than once groups; a single one
//! with exactly three digits after it groups (unless the currency has three decimals and it is a point); otherwise it
//! is the decimal one. Digits beyond the currency's must be zeros: money is not rounded here.

use iso_currency::Currency;

/// An integer of minor units (cents) with its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Money {
    pub(crate) minor: i64,
    pub(crate) currency: Currency,
}

/// Why a text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AmountError {
    #[error("not an amount")]
    Form,
    #[error("`{0}` is no currency that is known")]
    UnknownCurrency(String),
    #[error("the amount says {said}, the row says {expected}")]
    OtherCurrency { said: String, expected: String },
    #[error("more decimals than {0} has")]
    Decimals(&'static str),
    #[error("digits are not grouped as in any number")]
    Grouping,
    #[error("larger than can be counted")]
    TooLarge,
}

impl AmountError {
    /// The error without the text of the cell: what counts of reasons are kept by.
    pub(crate) fn rule(&self) -> String {
        match self {
            Self::UnknownCurrency(_) => "a currency that is not known".to_owned(),
            Self::OtherCurrency { .. } => "the amount and the row say different currencies".to_owned(),
            other => other.to_string(),
        }
    }
}

/// Reads `1250.00`, `1,250.00`, `1 250,00`, `Rs 1,250.00`, `1.250,00 €`, `1,25,000/-`, `(12.50)`.
///
/// `stated` is the currency that the row itself states, which the amount must not contradict; `usual` the one that
/// holds when nobody says anything.
pub(crate) fn parse(text: &str, stated: Option<Currency>, usual: Currency) -> Result<Money, AmountError> {
    let folded = super::super::text::fold_digits(text.trim());
    let (number, said) = split_currency(&folded)?;
    let currency = currency_of(said, stated, usual)?;
    let (number, negative) = without_sign(number);
    let decimals = usize::from(currency.exponent().unwrap_or(2));
    let (whole, fraction) = split_decimal(&number, decimals)?;
    let minor = minor_units(&whole, &fraction, decimals, currency)?;
    Ok(Money { minor: if negative { -minor } else { minor }, currency })
}

/// A currency by its code, its sign or what people call it; `usual` tells which rupee, dollar or franc.
pub(crate) fn currency(text: &str, usual: Currency) -> Result<Currency, AmountError> {
    const RUPEES: &[Currency] =
        &[Currency::MUR, Currency::INR, Currency::LKR, Currency::NPR, Currency::PKR, Currency::SCR];
    const DOLLARS: &[Currency] = &[
        Currency::USD,
        Currency::AUD,
        Currency::CAD,
        Currency::NZD,
        Currency::SGD,
        Currency::HKD,
        Currency::NAD,
    ];
    let name = text.trim().trim_end_matches('.').to_uppercase();
    let unknown = || AmountError::UnknownCurrency(text.trim().chars().take(20).collect());
    match name.as_str() {
        "RS" | "RE" | "₨" | "ROUPIES" | "RUPEES" | "रु" | "रू" => {
            if RUPEES.contains(&usual) {
                Ok(usual)
            } else {
                Err(unknown())
            }
        }
        "$" => Ok(if DOLLARS.contains(&usual) { usual } else { Currency::USD }),
        "US$" => Ok(Currency::USD),
        "€" | "EURO" | "EUROS" => Ok(Currency::EUR),
        "£" => Ok(Currency::GBP),
        "₹" => Ok(Currency::INR),
        code => Currency::from_code(code).ok_or_else(unknown),
    }
}

fn currency_of(said: &str, stated: Option<Currency>, usual: Currency) -> Result<Currency, AmountError> {
    if said.is_empty() {
        return Ok(stated.unwrap_or(usual));
    }
    let said = currency(said, stated.unwrap_or(usual))?;
    match stated {
        Some(expected) if expected != said => Err(AmountError::OtherCurrency {
            said: said.code().to_owned(),
            expected: expected.code().to_owned(),
        }),
        _ => Ok(said),
    }
}

/// Splits `Rs. 1,250/-` into its number and `Rs.`; a currency stands before or after, not on both sides.
fn split_currency(text: &str) -> Result<(&str, &str), AmountError> {
    let text = text.trim_end_matches("/-").trim();
    let first = text.find(|c: char| c.is_ascii_digit()).ok_or(AmountError::Form)?;
    let last = text.rfind(|c: char| c.is_ascii_digit()).ok_or(AmountError::Form)?;
    // A sign, a bracket or a bare decimal point belongs to the number; the point of "Rs." does not.
    let before = &text[..first];
    let head = before.trim_end_matches(['-', '−', '+', '(', ' ', '\u{a0}']);
    let head = if head == "." || head == "," { "" } else { head };
    let number_head = &before[head.len()..];
    let tail = text[last + 1..].trim_start_matches(['-', ')']);
    let number = &text[first - number_head.len()..text.len() - tail.len()];
    let (head, tail) =
        (head.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '(' | '+')), tail.trim());
    // "-Rs 5" has its sign before the currency.
    let signed_head = before.starts_with(['-', '−', '(']) && !head.is_empty();
    match (head.is_empty(), tail.trim_end_matches(')').trim().is_empty()) {
        (false, false) => Err(AmountError::Form),
        (true, _) => Ok((number, tail.trim_end_matches(')').trim())),
        (false, true) if signed_head => Ok((text, head)),
        (false, true) => Ok((number, head)),
    }
}

/// Drops the sign and whatever stands before the first digit.
fn without_sign(number: &str) -> (String, bool) {
    let trimmed = number.trim();
    let negative = trimmed.starts_with(['-', '−', '(']) || trimmed.ends_with('-');
    let first = trimmed.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
    let point = trimmed[..first].ends_with(['.', ',']) && !trimmed[..first].ends_with("s.");
    let start = if point { first - 1 } else { first };
    (trimmed[start..].trim_end_matches(['-', ')', ' ']).to_owned(), negative)
}

fn split_decimal(number: &str, decimals: usize) -> Result<(String, String), AmountError> {
    let mut plain = String::with_capacity(number.len());
    for c in number.chars() {
        match c {
            '0'..='9' | '.' | ',' => plain.push(c),
            // Spaces of every width and the Swiss apostrophe only group.
            '\'' | '’' => plain.push(' '),
            c if c.is_whitespace() => plain.push(' '),
            _ => return Err(AmountError::Form),
        }
    }
    let (whole, fraction) = match decimal_separator(&plain, decimals) {
        Some(at) => (&plain[..at], &plain[at + 1..]),
        None => (plain.as_str(), ""),
    };
    if !fraction.bytes().all(|b| b.is_ascii_digit()) || !is_grouped(whole) {
        return Err(AmountError::Grouping);
    }
    Ok((whole.chars().filter(char::is_ascii_digit).collect(), fraction.to_owned()))
}

fn decimal_separator(plain: &str, decimals: usize) -> Option<usize> {
    let at = plain.rfind(['.', ','])?;
    let separator = &plain[at..=at];
    let alone = plain.matches(['.', ',']).count() == 1;
    let repeated = plain.matches(separator).count() > 1;
    let groups = plain.len() - at - 1 == 3 && (1..=3).contains(&at) && !plain[..at].contains(' ');
    let exact = decimals == 3 && separator == ".";
    // A leading zero is no group: 0.125 is a fraction whatever the currency.
    let group_of_three = alone && groups && !exact && !plain.starts_with('0');
    (!repeated && !group_of_three).then_some(at)
}

/// One separator throughout, groups of three after the first of one to three; or Indian: groups of two, then three.
fn is_grouped(whole: &str) -> bool {
    let mut separators = whole.chars().filter(|c| !c.is_ascii_digit());
    let Some(separator) = separators.next() else { return true };
    if separators.any(|c| c != separator) {
        return false;
    }
    let lengths: Vec<usize> = whole.split(separator).map(str::len).collect();
    let (Some(first), Some((&last, middle))) = (lengths.first(), lengths[1..].split_last()) else {
        return false;
    };
    let western = (1..=3).contains(first) && middle.iter().all(|&n| n == 3);
    let indian = (1..=2).contains(first) && middle.iter().all(|&n| n == 2);
    last == 3 && (western || indian)
}

fn minor_units(whole: &str, fraction: &str, decimals: usize, currency: Currency) -> Result<i64, AmountError> {
    let kept = fraction.get(..decimals.min(fraction.len())).unwrap_or_default();
    if fraction[kept.len()..].bytes().any(|b| b != b'0') {
        return Err(AmountError::Decimals(currency.code()));
    }
    format!("{whole}{kept:0<decimals$}").parse().map_err(|_| AmountError::TooLarge)
}
