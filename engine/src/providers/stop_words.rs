//! The words by which a person says that they want no more marketing.
//!
//! A text is such a wish only when it is one of these words and nothing else: "don't stop" and "stop by tomorrow" are
//! conversation. Case, accents, surrounding punctuation and the kind of space do not matter; an underscore is a space,
//! since buttons carry payloads such as `STOP_PROMO`.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

const WORDS: &[&str] = &[
    // English: the words that carriers and messaging services honour.
    "stop",
    "stop all",
    "stopall",
    "stop promo",
    "stop promotions",
    "unsubscribe",
    "unsub",
    "opt out",
    "optout",
    "cancel",
    "end",
    "quit",
    "remove",
    "remove me",
    // French, without their accents.
    "arret",
    "arreter",
    "arretez",
    "desabonner",
    "desabonnement",
    "me desabonner",
    "se desabonner",
    "desinscrire",
    "desinscription",
    "me desinscrire",
    "se desinscrire",
    "annuler",
    "fin",
    "stop pub",
    "stop sms",
];

pub(super) fn is_stop(text: &str) -> bool {
    // No word of the list comes near this length; a long text need not be normalised to know.
    text.len() <= 200 && WORDS.contains(&normalised(text).as_str())
}

fn normalised(text: &str) -> String {
    let plain: String = text
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .map(|c| if c == '_' || c == '-' { ' ' } else { c })
        .flat_map(char::to_lowercase)
        .collect();
    let bare = plain.trim_matches(|c: char| !c.is_alphanumeric());
    bare.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_wish_is_the_word_and_nothing_else() {
        for text in [
            "STOP",
            " stop. ",
            "Stop!",
            "«Stop»",
            "ARRÊT",
            "arre\u{302}t",
            "Se désabonner",
            "DESABONNEMENT",
            "Unsubscribe",
            "STOP_PROMO",
            "opt-out",
            "opt\u{a0}out",
            "Ｓｔｏｐ",
            "fin",
        ] {
            assert!(is_stop(text), "{text}");
        }
        for text in
            ["", "don't stop", "stop by tomorrow", "stopp", "ok", "bus stop", "s t o p", "1", "🛑", "finir"]
        {
            assert!(!is_stop(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in ".{0,80}") {
            let _ = is_stop(&text);
        }

        #[test]
        fn every_word_is_found_as_people_shout_it(pick in 0..WORDS.len(), before in "[ \t.!]{0,3}", after in "[ \n.!?]{0,3}") {
            let text = format!("{before}{}{after}", WORDS[pick].to_uppercase());
            prop_assert!(is_stop(&text));
        }
    }
}
