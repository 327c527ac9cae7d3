use fanfare_templates::Encoding::{self, Gsm7, Ucs2};
use fanfare_templates::segments;
use proptest::prelude::*;

fn check(text: &str, encoding: Encoding, units: u32, count: u32) {
    let found = segments(text);
    assert_eq!((found.encoding, found.units, found.count), (encoding, units, count), "{text:?}");
}

#[test]
fn known_counts() {
    let a = |n: usize| "a".repeat(n);
    check("", Gsm7, 0, 0);
    for (n, count) in [(160, 1), (161, 2), (306, 2), (307, 3)] {
        check(&a(n), Gsm7, u32::try_from(n).unwrap(), count);
    }
    check(&"€".repeat(80), Gsm7, 160, 1);
    check(&"€".repeat(81), Gsm7, 162, 2);
    check(&format!("{}€{}", a(152), a(152)), Gsm7, 306, 3);
    for (n, units, count) in [(69, 70, 1), (70, 71, 2), (133, 134, 2), (134, 135, 3)] {
        check(&format!("ê{}", a(n)), Ucs2, units, count);
    }
    for (n, units, count) in [(35, 70, 1), (36, 72, 2), (66, 132, 2), (67, 134, 3)] {
        check(&"😀".repeat(n), Ucs2, units, count);
    }
    check(&format!("{}😀{}", a(66), a(66)), Ucs2, 134, 3);
}

#[test]
fn the_alphabet() {
    let basic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
    assert_eq!(basic.chars().count(), 127);
    check(basic, Gsm7, 127, 1);
    check("\u{c}^{}\\[~]|€", Gsm7, 20, 1);
    for outside in "`çêâîôûëï’“”\u{a0}\u{1b}\t😀".chars() {
        assert_eq!(segments(&outside.to_string()).encoding, Ucs2, "{outside:?}");
    }
}

/// Cuts a text as a handset would receive it.
fn split(text: &str, width: impl Fn(char) -> usize, single: usize, each: usize) -> Vec<String> {
    if text.chars().map(&width).sum::<usize>() <= single {
        return vec![text.to_owned()];
    }
    let mut parts = vec![String::new()];
    for c in text.chars() {
        let used: usize = parts.last().map_or(0, |part| part.chars().map(&width).sum());
        if used + width(c) > each {
            parts.push(String::new());
        }
        parts.last_mut().unwrap().push(c);
    }
    parts
}

proptest! {
    #[test]
    fn counts_what_a_splitter_cuts(text in "[a€^ê😀é ]{1,700}", unicode in any::<bool>()) {
        let text = if unicode { text } else { text.replace(['ê', '😀'], "e") };
        let found = segments(&text);
        let parts = match found.encoding {
            Gsm7 => split(&text, |c| if "^€".contains(c) { 2 } else { 1 }, 160, 153),
            Ucs2 => split(&text, char::len_utf16, 70, 67),
        };
        prop_assert_eq!(parts.concat(), text.clone());
        prop_assert_eq!(found.count as usize, parts.len());
        prop_assert_eq!(found.encoding == Ucs2, text.contains(['ê', '😀']));
    }
}
