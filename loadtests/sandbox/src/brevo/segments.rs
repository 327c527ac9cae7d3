//! How many segments an SMS takes. GSM 03.38: 160 septets in one message, 153 in each part of a longer one, and a
//! character of the extension table (two septets) is never split. Anything else makes the whole text UCS-2: 70 code
//! units, 67 in each part, and a surrogate pair is never split.

/// Characters of the basic table that are not letters, digits or blanks of ASCII.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ!\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà ";
const EXTENDED: &str = "\u{c}^{}\\[~]|€";

/// Septets of a character; none if it is outside both tables.
fn septets(c: char) -> Option<usize> {
    if c.is_ascii_alphanumeric() || BASIC.contains(c) { Some(1) } else { EXTENDED.contains(c).then_some(2) }
}

/// Segments of `text`. Without `unicode`, characters outside the tables are replaced, as Brevo does.
pub(crate) fn segments(text: &str, unicode: bool) -> u32 {
    let ucs2 = unicode && text.chars().any(|c| septets(c).is_none());
    if ucs2 {
        count(text.chars().map(char::len_utf16), 70, 67)
    } else {
        count(text.chars().map(|c| septets(c).unwrap_or(1)), 160, 153)
    }
}

/// Packs units of one or two into segments of `single`, or of `part` each when they are more.
fn count(units: impl Iterator<Item = usize> + Clone, single: usize, part: usize) -> u32 {
    if units.clone().sum::<usize>() <= single {
        return 1;
    }
    let (mut segments, mut used) = (1, 0);
    for unit in units {
        if used + unit > part {
            segments += 1;
            used = 0;
        }
        used += unit;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::segments;

    #[track_caller]
    fn check(text: &str, expected: u32) {
        assert_eq!(segments(text, true), expected, "{} characters", text.chars().count());
    }

    #[test]
    fn counts_as_networks_do() {
        let a = |n: usize| "a".repeat(n);
        for (n, expected) in [(0, 1), (160, 1), (161, 2), (306, 2), (307, 3)] {
            check(&a(n), expected);
        }
        check(&"€".repeat(80), 1);
        check(&"€".repeat(81), 2);
        check(&format!("{}€{}", a(152), a(152)), 3);
        for (n, expected) in [(69, 1), (70, 2), (133, 2), (134, 3)] {
            check(&format!("ê{}", a(n)), expected);
        }
        for (n, expected) in [(35, 1), (36, 2), (66, 2), (67, 3)] {
            check(&"😀".repeat(n), expected);
        }
        check(&format!("{}😀{}", a(66), a(66)), 3);
    }

    #[test]
    fn replaces_what_gsm_lacks_unless_told_otherwise() {
        assert_eq!(segments(&"ê".repeat(160), false), 1);
        assert_eq!(segments(&"ê".repeat(160), true), 3);
    }
}
