use iso_currency::Currency;
use proptest::prelude::*;

use super::{amount, date, language, name};

fn check_date(text: &str, expected: &str) {
    let read = date::parse(text, date::Order::DayFirst).map(|date| date.to_string());
    assert_eq!(read.unwrap_or_else(|error| error.to_string()), expected, "{text:?}");
}

#[test]
fn dates_are_read_as_back_offices_write_them() {
    for text in [
        "2026-12-15",
        "15/12/2026",
        "15 Dec 2026",
        "15-12-2026",
        "15/12/26",
        "15.12.2026",
        "20261215",
        "46371",
        "15 December 2026",
        "December 15, 2026",
        "15-Dec-26",
        "15 déc. 2026",
        "15 décembre 2026",
        "15 दिसंबर 2026",
        "१५/१२/२०२६",
        "2026-12-15 00:00:00",
        "2026-12-15T10:30:00Z",
        "15/12/2026 10:30",
        " 15/12/2026\u{a0}",
        "15th Dec 2026",
        "2026/12/15",
    ] {
        check_date(text, "2026-12-15");
    }
    check_date("3/1/27", "2027-01-03");
    check_date("1er janvier 2027", "2027-01-01");
    check_date("29/02/2028", "2028-02-29");
    check_date("1/1/69", "1969-01-01");
}

#[test]
fn what_is_no_date_has_a_reason() {
    check_date("12/15/2026", "no such day in the calendar (dates are read day first)");
    check_date("29/02/2027", "no such day in the calendar (dates are read day first)");
    check_date("2026-13-01", "no such day in the calendar");
    check_date("31 Nov 2026", "no such day in the calendar");
    for text in ["", "soon", "N/A", "15 Jui 2026", "15/12", "99999", "12", "1/2/3/4", "15/12/202", "::", "T:"]
    {
        check_date(text, "not a date (expected 2026-12-15, 15/12/2026 or 15 Dec 2026)");
    }
}

#[test]
fn the_month_may_stand_first() {
    let read = date::parse("12/15/2026", date::Order::MonthFirst).map(|date| date.to_string());
    assert_eq!(read, Ok("2026-12-15".to_owned()));
    let error = date::parse("15/12/2026", date::Order::MonthFirst).expect_err("there is no 15th month");
    assert_eq!(error.to_string(), "no such day in the calendar (dates are read month first)");
}

fn check_amount(text: &str, expected: &str) {
    check_amount_in(text, None, Currency::MUR, expected);
}

fn check_amount_in(text: &str, stated: Option<Currency>, usual: Currency, expected: &str) {
    let read =
        amount::parse(text, stated, usual).map(|money| format!("{} {}", money.minor, money.currency.code()));
    assert_eq!(read.unwrap_or_else(|error| error.to_string()), expected, "{text:?}");
}

#[test]
fn amounts_are_read_as_back_offices_write_them() {
    for text in [
        "1250.00",
        "1,250.00",
        "Rs 1,250.00",
        "1\u{a0}250,00",
        "1 250,00",
        "1\u{202f}250,00",
        "1'250.00",
        "1.250,00",
        "1250",
        "1,250",
        "1.250",
        "1250,0",
        "Rs. 1,250/-",
        "Rs.1250",
        "MUR 1250",
        "1250 MUR",
        "1 250,00 Rs",
        "१२५०",
        " 1250.00 ",
        "1250.000",
        "+1250",
        "01250",
    ] {
        check_amount(text, "125000 MUR");
    }
    check_amount("0", "0 MUR");
    check_amount(".5", "50 MUR");
    check_amount("0.125", "more decimals than MUR has");
    check_amount("1,25,000.50", "12500050 MUR");
    check_amount("1.234.567,89", "123456789 MUR");
    check_amount("1,234,567", "123456700 MUR");
}

#[test]
fn amounts_below_zero_are_kept() {
    for text in
        ["-12.50", "(12.50)", "12.50-", "-Rs 12.50", "Rs -12.50", "(Rs 12.50)", "−12.50", "(12.50) MUR"]
    {
        check_amount(text, "-1250 MUR");
    }
}

#[test]
fn a_currency_in_the_cell_wins_unless_the_row_says_another() {
    check_amount("€ 12", "1200 EUR");
    check_amount("12,50 €", "1250 EUR");
    check_amount("$12.50", "1250 USD");
    check_amount("₹ 5", "500 INR");
    check_amount_in("Rs 5", None, Currency::INR, "500 INR");
    check_amount_in("Rs 5", None, Currency::EUR, "`Rs` is no currency that is known");
    check_amount_in("Rs 5", Some(Currency::MUR), Currency::EUR, "500 MUR");
    check_amount_in("EUR 5", Some(Currency::USD), Currency::MUR, "the amount says EUR, the row says USD");
    check_amount_in("5", Some(Currency::USD), Currency::MUR, "500 USD");
}

#[test]
fn minor_units_are_those_of_the_currency() {
    check_amount_in("1250", None, Currency::JPY, "1250 JPY");
    check_amount_in("1,250", None, Currency::JPY, "1250 JPY");
    check_amount_in("1250.00", None, Currency::JPY, "1250 JPY");
    check_amount_in("12.50", None, Currency::JPY, "more decimals than JPY has");
    check_amount_in("1.250", None, Currency::KWD, "1250 KWD");
    check_amount_in("1,250", None, Currency::KWD, "1250000 KWD");
}

#[test]
fn what_is_no_amount_has_a_reason() {
    for text in ["", "N/A", "-", "see note", "12 or 15", "1e5", "0x10"] {
        let error = amount::parse(text, None, Currency::MUR).expect_err(text);
        assert!(
            matches!(error, amount::AmountError::Form | amount::AmountError::UnknownCurrency(_)),
            "{text}: {error}"
        );
    }
    check_amount("12,34,56", "digits are not grouped as in any number");
    check_amount("1,2.5,0", "digits are not grouped as in any number");
    check_amount("99999999999999999999", "larger than can be counted");
    check_amount("12 XYZ1", "not an amount");
    check_amount("12 BTCX", "`BTCX` is no currency that is known");
}

#[test]
fn languages_are_read_as_people_spell_them() {
    for (texts, expected) in [
        (&["en", "EN", "English", "en-GB", "en_US", " anglais ", "Eng", "English (UK)"][..], Some("en")),
        (&["fr", "FR", "français", "Francais", "French", "fr-MU", "FRANÇAIS"], Some("fr")),
        (&["hi", "Hindi", "हिन्दी", "हिंदी"], Some("hi")),
        (&["", "x", "klingon", "12", "-"], None),
    ] {
        for text in texts {
            assert_eq!(language::parse(text), expected, "{text:?}");
        }
    }
}

#[test]
fn first_names_leave_titles_out() {
    for (full, expected) in [
        ("Anjali Ramgoolam", Some("Anjali")),
        ("Ramgoolam, Anjali", Some("Anjali")),
        ("Mrs Anjali Ramgoolam", Some("Anjali")),
        ("Dr. Honoré-Éric Lamy", Some("Honoré-Éric")),
        ("M. Jean Dupont", Some("Jean")),
        ("श्रीमती संजना नायर", Some("संजना")),
        ("陈伟", Some("陈伟")),
        ("李 小龙", Some("李 小龙")),
        ("Mr", None),
        ("Dupont, Mme", Some("Dupont")),
    ] {
        assert_eq!(name::first_name(full), expected, "{full}");
    }
}

fn grouped(whole: u64, separator: &str) -> String {
    let digits = whole.to_string();
    let groups: Vec<String> =
        digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join(separator)
}

proptest! {
    #[test]
    fn amounts_survive_every_way_of_writing_them(minor in 0_i64..10_000_000_000_000, style in 0_usize..6) {
        let (whole, cents) = (u64::try_from(minor / 100).expect("not negative"), minor % 100);
        let text = match style {
            0 => format!("{whole}.{cents:02}"),
            1 => format!("{whole},{cents:02}"),
            2 => format!("{}.{cents:02}", grouped(whole, ",")),
            3 => format!("{},{cents:02}", grouped(whole, "\u{a0}")),
            4 => format!("Rs {}.{cents:02}", grouped(whole, ",")),
            _ => format!("{},{cents:02} MUR", grouped(whole, ".")),
        };
        let money = amount::parse(&text, None, Currency::MUR);
        prop_assert_eq!(money, Ok(amount::Money { minor, currency: Currency::MUR }), "{}", text);
    }

    #[test]
    fn dates_survive_every_way_of_writing_them(days in 0_i64..35_000, style in 0_usize..5) {
        let day = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(days)).expect("in range");
        let text = match style {
            0 => day.to_string(),
            1 => day.strftime("%d/%m/%Y").to_string(),
            2 => day.strftime("%d %b %Y").to_string(),
            3 => day.strftime("%B %d, %Y").to_string(),
            _ => day.strftime("%d-%m-%Y 23:59").to_string(),
        };
        prop_assert_eq!(date::parse(&text, date::Order::DayFirst), Ok(day), "{}", text);
    }

    #[test]
    fn no_text_is_read_with_a_panic(text in "\\PC{0,30}", digits in "[-0-9.,() /:TRs€']{0,20}") {
        for text in [&text, &digits] {
            let _ = date::parse(text, date::Order::DayFirst);
            let _ = amount::parse(text, None, Currency::MUR);
            let _ = language::parse(text);
            let _ = name::first_name(text);
        }
    }
}
