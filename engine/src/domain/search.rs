//! What somebody types to find a person, as a text query over the words that a person is found by (`contact_words` of the
//! migrations): every word typed must begin one of them.

/// As long as what is typed may be, in characters.
pub const LONGEST: usize = 100;
/// More words than these find nobody whom these do not.
const MOST_WORDS: usize = 8;
/// A phone number without its country's code; longer ones are compared by so many last digits.
const PHONE_TAIL: usize = 8;

/// The query in the form of a `tsquery`; nothing when no letter or digit was typed.
pub fn text_query(typed: &str) -> Option<String> {
    if let Some(phone) = phone(typed) {
        return Some(phone);
    }
    let words = typed.split(char::is_whitespace).filter_map(word).take(MOST_WORDS);
    Some(words.collect::<Vec<_>>().join(" & ")).filter(|query| !query.is_empty())
}

/// What looks like a phone number, however it is spaced.
fn phone(typed: &str) -> Option<String> {
    let digits: String = typed.chars().filter(char::is_ascii_digit).collect();
    let is_number = digits.len() >= 3 && typed.chars().all(|c| c.is_ascii_digit() || " +-./()".contains(c));
    is_number.then(|| {
        let (whole, tail) =
            (digits.strip_prefix("00").unwrap_or(&digits), digits.len().saturating_sub(PHONE_TAIL));
        if digits.len() > PHONE_TAIL { format!("'{}'", &digits[tail..]) } else { format!("'{whole}':*") }
    })
}

/// A word as it stands, and as its parts: a dot may belong to an address or end an initial.
fn word(typed: &str) -> Option<String> {
    let parts: Vec<String> =
        typed.split(is_separator).filter(|part| !part.is_empty()).map(beginning).collect();
    if parts.is_empty() {
        return None;
    }
    let parts = parts.join(" & ");
    let whole = beginning(typed);
    Some(if parts == whole { whole } else { format!("({whole} | {parts})") })
}

/// As in `contact_words`.
fn is_separator(c: char) -> bool {
    ".,;:-_/()\"'".contains(c)
}

fn beginning(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('\'', "''");
    format!("'{escaped}':*")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Outside of quotes stands only what this module wrote.
        #[test]
        fn nothing_that_is_typed_ends_its_quotes(typed in ".{0,40}") {
            let query = text_query(&typed).unwrap_or_default();
            let (mut outside, mut quoted, mut signs) = (String::new(), false, query.chars().peekable());
            while let Some(sign) = signs.next() {
                match sign {
                    '\\' if quoted => drop(signs.next()),
                    '\'' if quoted && signs.peek() == Some(&'\'') => drop(signs.next()),
                    '\'' => quoted = !quoted,
                    _ if quoted => {}
                    other => outside.push(other),
                }
            }
            prop_assert!(!quoted && outside.chars().all(|c| ":*&|() ".contains(c)), "{query}");
        }
    }

    fn check(typed: &str, expected: &str) {
        assert_eq!(text_query(typed).unwrap_or_default(), expected, "{typed}");
    }

    #[test]
    fn every_word_begins_something() {
        check("Ann  Smith", "'Ann':* & 'Smith':*");
        check("ann.smith@example.com", "('ann.smith@example.com':* | 'ann':* & 'smith@example':* & 'com':*)");
        check("O'Neil", "('O''Neil':* | 'O':* & 'Neil':*)");
        check(r"back\slash", r"'back\\slash':*");
        check(" - ", "");
        check("", "");
    }

    #[test]
    fn a_phone_number_is_found_however_it_is_written() {
        check("5234 5678", "'52345678':*");
        check("+230 5234-5678", "'52345678'");
        check("(0)230", "'0230':*");
        check("00919876543210", "'76543210'");
        check("0000", "'00':*");
        check("12", "'12':*");
    }
}
