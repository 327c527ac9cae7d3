//! Text as it is kept: composed, trimmed, without characters that no table or message can hold.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Trimmed (no-break spaces and byte-order marks too), NFC, without control characters but line ends and tabs.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0');
    let has_control = trimmed.bytes().any(|b| b < 0x20 || b == 0x7f);
    let composed = trimmed.is_ascii() || is_nfc_quick(trimmed.chars()) == IsNormalized::Yes;
    match (has_control, composed) {
        (false, true) => Cow::Borrowed(trimmed),
        (false, false) => Cow::Owned(trimmed.nfc().collect()),
        (true, _) => {
            let kept = trimmed.replace("\r\n", "\n");
            let kept = kept.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
            Cow::Owned(kept.nfc().collect())
        }
    }
}

/// One line, words apart by one space.
pub(super) fn single_line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Decimal digits of Devanagari, Arabic and full-width type as ASCII ones.
pub(super) fn fold_digits(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let fold = |c: char| {
        [0x0966, 0x0660, 0x06f0, 0xff10]
            .into_iter()
            .find_map(|zero| u32::from(c).checked_sub(zero).filter(|n| *n < 10))
            .and_then(|n| char::from_digit(n, 10))
            .unwrap_or(c)
    };
    Cow::Owned(text.chars().map(fold).collect())
}

/// At most `limit` characters, with an ellipsis if something was cut.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The letter of a column as spreadsheets show it: 0 is `A`, 26 is `AA`.
pub(super) fn column_letter(index: usize) -> String {
    let (mut rest, mut letters) = (index + 1, Vec::new());
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'A' + u8::try_from(rest % 26).unwrap_or(0)));
        rest /= 26;
    }
    letters.iter().rev().collect()
}
