//! What messages cost: whole millionths of a currency's unit, never a float.

use std::collections::{BTreeMap, HashMap};

use fanfare_templates::Rendered;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// An amount in millionths of the unit of its currency. On the wire it is a JSON number, exactly: 50,000 is `0.05`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

const UNIT: u64 = 1_000_000;

impl Micros {
    /// For so many units; what no account could ever charge is the most that there is.
    pub const fn times(self, units: u32) -> Self {
        Self(self.0.saturating_mul(units as i64))
    }
}

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) = (self.0.unsigned_abs() / UNIT, self.0.unsigned_abs() % UNIT);
        if part == 0 {
            return f.pad(&format!("{sign}{whole}"));
        }
        let digits = format!("{part:06}");
        f.pad(&format!("{sign}{whole}.{}", digits.trim_end_matches('0')))
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// What an account charges for a message, or for each segment of an SMS, to numbers that begin with `prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Digits of E.164, without the plus sign; empty: everybody, and every e-mail address.
    pub prefix: String,
    pub valid_from: Timestamp,
    pub micros: Micros,
    /// ISO 4217.
    pub currency: String,
}

/// The price for an address at a moment: that of the longest prefix which had one by then, and of those the latest.
pub fn price<'p>(prices: &'p [Price], address: &str, at: Timestamp) -> Option<&'p Price> {
    let digits = address.trim_start_matches('+');
    prices
        .iter()
        .filter(|price| price.valid_from <= at && digits.starts_with(&price.prefix))
        .max_by_key(|price| (price.prefix.len(), price.valid_from))
}

/// The prices that hold at one moment, for many addresses.
#[derive(Debug, Default)]
pub struct PriceList {
    by_prefix: HashMap<String, Price>,
    longest: usize,
}

impl PriceList {
    pub fn at(at: Timestamp, prices: Vec<Price>) -> Self {
        let mut list = Self::default();
        for price in prices.into_iter().filter(|price| price.valid_from <= at) {
            list.longest = list.longest.max(price.prefix.len());
            let later = |held: &Price| held.valid_from > price.valid_from;
            if !list.by_prefix.get(&price.prefix).is_some_and(later) {
                list.by_prefix.insert(price.prefix.clone(), price);
            }
        }
        list
    }

    /// As [`price`] says.
    pub fn of(&self, address: &str) -> Option<&Price> {
        let digits = address.trim_start_matches('+');
        let longest = self.longest.min(digits.len());
        (0..=longest).rev().find_map(|length| self.by_prefix.get(digits.get(..length)?))
    }
}

/// What messages come to, in each currency.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// Millionths of the unit of each currency (ISO 4217).
    pub micros: BTreeMap<String, i64>,
    /// Messages, or segments of SMS, for which no price is known.
    pub unpriced: i64,
}

impl Bill {
    pub fn add(&mut self, price: Option<&Price>, units: i64) {
        let Some(price) = price else {
            self.unpriced += units;
            return;
        };
        let amount = self.micros.entry(price.currency.clone()).or_default();
        *amount = amount.saturating_add(price.micros.0.saturating_mul(units));
    }
}

/// The country calling code that an address begins with; 0 where it is no number. Codes begin no other code: ITU-T E.164.
pub fn calling_code(address: &str) -> i16 {
    let Some(digits) =
        address.strip_prefix('+').filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    else {
        return 0;
    };
    let length = match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'2', b'0' | b'7', ..]
        | [b'3', b'0'..=b'4' | b'6' | b'9', ..]
        | [b'4', b'0' | b'1' | b'3'..=b'9', ..]
        | [b'5', b'1'..=b'8', ..]
        | [b'6', b'0'..=b'6', ..]
        | [b'8', b'1' | b'2' | b'4' | b'6', ..]
        | [b'9', b'0'..=b'5' | b'8', ..] => 2,
        _ => 3,
    };
    digits.get(..length).and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// How often the price of a message is due: once for each segment of an SMS.
pub const fn units(content: &Rendered) -> u32 {
    match content {
        Rendered::Sms { segments, .. } => segments.count,
        Rendered::Email { .. } | Rendered::Whatsapp(_) | Rendered::InApp(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_amount_is_shown_as_it_is() {
        for (micros, shown) in
            [(50_000, "0.05"), (0, "0"), (1, "0.000001"), (1_000_000, "1"), (-1_250_000, "-1.25")]
        {
            assert_eq!(Micros(micros).to_string(), shown);
            assert_eq!(serde_json::to_string(&Micros(micros)).unwrap(), shown);
        }
        assert_eq!(Micros(i64::MIN).to_string(), "-9223372036854.775808");
        assert_eq!(Micros(50_000).times(3), Micros(150_000));
    }

    proptest! {
        #[test]
        fn an_amount_is_a_json_number_with_all_its_digits(micros: i64) {
            let json = serde_json::to_string(&Micros(micros)).unwrap();
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).unwrap().is_number());
            let (whole, part) = json.trim_start_matches('-').split_once('.').unwrap_or((json.trim_start_matches('-'), "0"));
            let (whole, part) = (whole.parse::<i128>().unwrap(), format!("{part:0<6}"));
            let back = whole * 1_000_000 + part.parse::<i128>().unwrap();
            prop_assert_eq!(if micros < 0 { -back } else { back }, i128::from(micros));
        }
    }

    fn listed(prefix: &str, second: i64, micros: i64) -> Price {
        Price {
            prefix: prefix.to_owned(),
            valid_from: Timestamp::from_second(second).expect("in range"),
            micros: Micros(micros),
            currency: "USD".to_owned(),
        }
    }

    #[test]
    fn a_number_begins_with_the_code_of_its_country() {
        for (address, code) in [
            ("+12025550123", 1),
            ("+79161234567", 7),
            ("+919876543210", 91),
            ("+4915112345678", 49),
            ("+23052345678", 230),
            ("+35312345678", 353),
            ("+85212345678", 852),
            ("+2", 0),
            ("+", 0),
            ("ann@example.com", 0),
            ("+91x", 0),
            ("", 0),
        ] {
            assert_eq!(calling_code(address), code, "{address}");
        }
    }

    #[test]
    fn the_longest_prefix_holds_and_of_its_prices_the_latest() {
        let prices = [listed("", 0, 9), listed("91", 0, 1), listed("91", 50, 2), listed("9198", 90, 3)];
        let at = |address: &str, second| {
            price(&prices, address, Timestamp::from_second(second).expect("in range"))
                .map(|price| price.micros.0)
        };
        assert_eq!(at("+919876543210", 10), Some(1));
        assert_eq!(at("+919876543210", 60), Some(2));
        assert_eq!(at("+919876543210", 90), Some(3));
        assert_eq!(at("+23052345678", 90), Some(9));
        assert_eq!(at("ann@example.com", 90), Some(9));
        assert_eq!(at("ann@example.com", -1), None);
    }

    proptest! {
        #[test]
        fn a_list_of_one_moment_says_the_same(
            prices in proptest::collection::vec(("[12]{0,3}", 0_i64..4, 1_i64..9), 0..12),
            address in "\\+[12]{0,4}|[a-zé1]{0,4}",
            second in 0_i64..4,
        ) {
            // Of one prefix there is one price at one moment.
            let distinct: BTreeMap<_, _> = prices.into_iter().map(|(prefix, from, micros)| ((prefix, from), micros)).collect();
            let prices: Vec<Price> =
                distinct.iter().map(|((prefix, from), micros)| listed(prefix, *from, *micros)).collect();
            let at = Timestamp::from_second(second).expect("in range");
            let list = PriceList::at(at, prices.clone());
            prop_assert_eq!(list.of(&address), price(&prices, &address, at));
        }
    }

    #[test]
    fn a_bill_adds_up_by_currency() {
        let mut bill = Bill::default();
        let (dollars, none) = (listed("", 0, 40), None);
        bill.add(Some(&dollars), 2);
        bill.add(Some(&Price { currency: "EUR".to_owned(), ..listed("", 0, i64::MAX) }), 3);
        bill.add(none, 5);
        bill.add(Some(&dollars), 1);
        let micros = BTreeMap::from([("EUR".to_owned(), i64::MAX), ("USD".to_owned(), 120)]);
        assert_eq!(bill, Bill { micros, unpriced: 5 });
    }
}
