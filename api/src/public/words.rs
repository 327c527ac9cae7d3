//! What the pages say, in the languages that they speak.

use fanfare_engine::domain::channel::Channel;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    French,
}

/// Titles and texts; `{}` stands for the organisation's name.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) no_such_link: (&'static str, &'static str),
    pub(super) away: (&'static str, &'static str),
    pub(super) ask: &'static str,
    /// Over which channel, and at which address: `{channel}`, `{address}`.
    pub(super) ask_text: &'static str,
    pub(super) still: &'static str,
    pub(super) unsubscribe: &'static str,
    pub(super) done: &'static str,
    pub(super) done_text: &'static str,
    pub(super) to_preferences: &'static str,
    pub(super) preferences: &'static str,
    pub(super) preferences_text: &'static str,
    pub(super) blocked: &'static str,
    pub(super) save: &'static str,
    pub(super) none: &'static str,
    pub(super) saved: &'static str,
    pub(super) unclear: &'static str,
    channels: [&'static str; 4],
}

impl Language {
    /// Of a language tag, or of a list of them.
    pub(super) fn of(tags: &str) -> Self {
        let first = tags.split([',', ';', '-', '_']).next().unwrap_or_default().trim();
        if first.eq_ignore_ascii_case("fr") { Self::French } else { Self::English }
    }

    pub(super) const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }

    pub(super) const fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::French => &FRENCH,
        }
    }
}

impl Words {
    pub(super) const fn channel(&self, channel: Channel) -> &'static str {
        match channel {
            Channel::Email => self.channels[0],
            Channel::Sms => self.channels[1],
            Channel::Whatsapp => self.channels[2],
            Channel::InApp => self.channels[3],
        }
    }
}

const ENGLISH: Words = Words {
    no_such_link: (
        "This link does not work",
        "It may be incomplete, or too old. Please use the link in the latest message that you got.",
    ),
    away: ("Please try again", "We cannot do this at the moment. Please try again in a few minutes."),
    ask: "Unsubscribe from {}?",
    ask_text: "{channel} to {address} will hold no more offers and news from us.",
    still: "Bills, receipts and other messages about your contracts still reach you.",
    unsubscribe: "Unsubscribe",
    done: "You are unsubscribed from {}",
    done_text: "We send no more offers and news over this channel: {channel}, {address}.",
    to_preferences: "Choose what you want to get",
    preferences: "What may {} send you?",
    preferences_text: "Offers and news reach me by:",
    blocked: "We cannot write to you there.",
    save: "Save",
    none: "Unsubscribe from all",
    saved: "Your choice is saved.",
    unclear: "Nothing was changed. Please choose, and press a button.",
    channels: ["E-mail", "SMS", "WhatsApp", "Notifications in the application"],
};

const FRENCH: Words = Words {
    no_such_link: (
        "Ce lien ne fonctionne pas",
        "Il est peut-être incomplet ou trop ancien. Veuillez utiliser le lien du dernier message reçu.",
    ),
    away: (
        "Veuillez réessayer",
        "Ce n’est pas possible pour le moment. Veuillez réessayer dans quelques minutes.",
    ),
    ask: "Vous désabonner de {} ?",
    ask_text: "Vous ne recevrez plus d’offres ni d’actualités de notre part : {channel}, {address}.",
    still: "Les factures, les reçus et les autres messages sur vos contrats vous parviendront toujours.",
    unsubscribe: "Me désabonner",
    done: "Vous êtes désabonné de {}",
    done_text: "Nous n’enverrons plus d’offres ni d’actualités par ce canal : {channel}, {address}.",
    to_preferences: "Choisir ce que vous voulez recevoir",
    preferences: "Que peut vous envoyer {} ?",
    preferences_text: "Je reçois les offres et les actualités par :",
    blocked: "Nous ne pouvons pas vous y écrire.",
    save: "Enregistrer",
    none: "Me désabonner de tout",
    saved: "Votre choix est enregistré.",
    unclear: "Rien n’a été modifié. Veuillez choisir, puis appuyer sur un bouton.",
    channels: ["E-mail", "SMS", "WhatsApp", "Notifications dans l’application"],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn french_is_spoken_to_whoever_reads_it() {
        for (tags, language) in [
            ("fr", Language::French),
            ("fr-MU", Language::French),
            ("FR_FR", Language::French),
            ("fr;q=0.9, en", Language::French),
            ("en-GB,fr", Language::English),
            ("frr", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(Language::of(tags), language, "{tags}");
        }
    }
}
