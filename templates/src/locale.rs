//! The recipient's locale: which template variant is theirs, and how dates, numbers and money are written for them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A language tag such as `en`, `fr-MU` or `en_US` (kept as `en-US`).
///
/// Any well-formed tag is accepted. Formatting falls back from the tag to its language, then to English.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Locale {
    tag: String,
    conventions: Conventions,
}

/// How a group of locales writes things; a new one is a variant here and a row in each table of `helpers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Conventions {
    /// 15 December 2026; 1,250.00
    English,
    /// December 15, 2026; 1,250.00
    AmericanEnglish,
    /// 15 December 2026; 12,50,000.00
    IndianEnglish,
    /// 15 décembre 2026; 1 250,00
    French,
}

impl Conventions {
    pub(crate) const ALL: [Self; 4] =
        [Self::English, Self::AmericanEnglish, Self::IndianEnglish, Self::French];
}

/// A text that is no language tag.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a locale: write a language and optionally a region, such as `en` or `fr-MU`")]
pub struct LocaleError(String);

impl Locale {
    /// Parses a tag of at most 35 characters; `_` counts as `-`.
    ///
    /// # Errors
    /// [`LocaleError`] when the text has not the form of a language tag.
    pub fn parse(text: &str) -> Result<Self, LocaleError> {
        let error = || LocaleError(text.chars().take(40).collect());
        if text.len() > 35 {
            return Err(error());
        }
        let mut tag = String::with_capacity(text.len());
        for (i, subtag) in text.split(['-', '_']).enumerate() {
            let sound = (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric());
            let language = (2..=3).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphabetic());
            match (i, sound, language) {
                (0, _, true) => tag.push_str(&subtag.to_ascii_lowercase()),
                (1.., true, _) => {
                    tag.push('-');
                    let region = subtag.len() == 2;
                    tag.push_str(&if region { subtag.to_ascii_uppercase() } else { subtag.to_owned() });
                }
                _ => return Err(error()),
            }
        }
        let conventions = conventions(&tag);
        Ok(Self { tag, conventions })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.tag
    }

    /// The tags to look for, best first: `fr-MU`, `fr`, `en`.
    pub fn fallbacks(&self) -> impl Iterator<Item = &str> {
        let own = std::iter::successors(Some(self.tag.as_str()), |tag| tag.rfind('-').map(|at| &tag[..at]));
        let english = (!self.tag.starts_with("en-") && self.tag != "en").then_some("en");
        own.chain(english)
    }

    pub(crate) fn conventions(&self) -> Conventions {
        self.conventions
    }
}

fn conventions(tag: &str) -> Conventions {
    let mut subtags = tag.split('-');
    match (subtags.next(), subtags.find(|subtag| subtag.len() == 2)) {
        (Some("fr"), _) => Conventions::French,
        (Some("en"), Some("US" | "PH" | "PR")) => Conventions::AmericanEnglish,
        (Some("en"), Some("IN")) => Conventions::IndianEnglish,
        _ => Conventions::English,
    }
}

impl Default for Locale {
    /// English.
    fn default() -> Self {
        Self { tag: "en".to_owned(), conventions: Conventions::English }
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tag)
    }
}

impl FromStr for Locale {
    type Err = LocaleError;

    fn from_str(text: &str) -> Result<Self, LocaleError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Locale {
    type Error = LocaleError;

    fn try_from(text: String) -> Result<Self, LocaleError> {
        Self::parse(&text)
    }
}

impl From<Locale> for String {
    fn from(locale: Locale) -> Self {
        locale.tag
    }
}
