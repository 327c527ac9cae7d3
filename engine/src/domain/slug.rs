//! Slugs: names that fit into a URL and are typed by hand.

/// Longest slug that is made of a name: a number may follow.
const MADE: usize = 50;
const LONGEST: usize = 63;

/// Whether this is a slug: letters a-z, digits and hyphens, not beginning with a hyphen.
pub fn is_slug(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= LONGEST
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|byte| plain(byte) || byte == b'-')
}

/// A slug that people recognise the name in; `otherwise` where nothing of the name can be written so.
pub fn slug_of(name: &str, otherwise: &str) -> String {
    let mut slug = String::new();
    for c in deunicode::deunicode(name).chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') && c != '\'' {
            slug.push('-');
        }
        if slug.len() == MADE {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { otherwise.to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_become_slugs() {
        for (name, expected) in [
            ("Custom Renewal Template", "custom-renewal-template"),
            ("Renewal Reminder - 30 Days", "renewal-reminder-30-days"),
            ("  Échéance dépassée !", "echeance-depassee"),
            ("Customer's day", "customers-day"),
            ("!!!", "template"),
        ] {
            assert_eq!(slug_of(name, "template"), expected);
        }
    }

    proptest! {
        #[test]
        fn every_name_becomes_a_slug(name in "\\PC{0,120}") {
            prop_assert!(is_slug(&slug_of(&name, "template")));
        }
    }
}
