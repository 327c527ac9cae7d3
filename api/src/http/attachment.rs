//! Files that are answered: named so that no name, whatever is in it, can be anything but a name.

use axum::http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 8187 lets stand as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// `Content-Disposition` of a file to be saved: in plain letters for old programs, and in full (RFC 6266). A name that is
/// plain already is said once.
pub(crate) fn attachment(name: &str) -> HeaderValue {
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let text = if plain == name {
        format!("attachment; filename=\"{plain}\"")
    } else {
        format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ENCODED))
    };
    HeaderValue::from_str(&text).expect("plain ASCII")
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || " ._-()".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_nothing_but_a_name() {
        let cases = [
            ("policies.xlsx", "attachment; filename=\"policies.xlsx\""),
            (
                "May \"renewals\"; filename=evil.exe\r\nX: y",
                "attachment; filename=\"May _renewals__ filename_evil.exe__X_ y\"; \
                 filename*=UTF-8''May%20%22renewals%22%3B%20filename%3Devil.exe%0D%0AX%3A%20y",
            ),
            (
                "échéances.csv",
                "attachment; filename=\"_ch_ances.csv\"; filename*=UTF-8''%C3%A9ch%C3%A9ances.csv",
            ),
        ];
        for (name, expected) in cases {
            assert_eq!(attachment(name), expected);
        }
    }
}
