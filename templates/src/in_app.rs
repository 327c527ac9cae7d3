//! A notification inside the application, by its texts: source, parsed or rendered.
//!
//! What kind it is, how urgent and for how long it holds are literals; title, message and the values of its data are texts.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{PublishError, RenderError};
use crate::limits;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InApp<T> {
    pub title: T,
    pub message: T,
    /// What the application needs beside the texts: a policy number, a link to open.
    #[serde(default = "BTreeMap::new")]
    pub data: BTreeMap<String, T>,
    /// `policy`, `payment`, `claim`, ..: what it is about. People choose by it what they want to be told.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub priority: Priority,
    /// Days after which it is no longer shown; a year if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u16>,
}

/// How urgent it is, from the least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Low,
    #[default]
    Medium,
    High,
    Urgent,
}

impl Priority {
    pub const ALL: &'static [Self] = &[Self::Low, Self::Medium, Self::High, Self::Urgent];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }

    /// By the word that [`Self::as_str`] gives.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|priority| priority.as_str() == word)
    }
}

const MOST_DAYS: u16 = 3_650;

impl<T> InApp<T> {
    pub(crate) fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> InApp<U> {
        self.try_map(|_, text| Ok::<U, std::convert::Infallible>(f(text)))
            .unwrap_or_else(|never| match never {})
    }

    /// Every text with its path, in the order in which the struct lists them.
    pub(crate) fn try_map<U, E>(
        &self,
        mut f: impl FnMut(fmt::Arguments<'_>, &T) -> Result<U, E>,
    ) -> Result<InApp<U>, E> {
        let title = f(format_args!("in_app.title"), &self.title)?;
        let message = f(format_args!("in_app.message"), &self.message)?;
        let mut data = BTreeMap::new();
        for (name, text) in &self.data {
            data.insert(name.clone(), f(format_args!("in_app.data.{name}"), text)?);
        }
        Ok(InApp { title, message, data, kind: self.kind.clone(), priority: self.priority, days: self.days })
    }
}

/// Checks what does not depend on a recipient.
pub(crate) fn check(notice: &InApp<String>) -> Result<(), PublishError> {
    let refuse = |part: &str, message: String| Err(PublishError::of(part, message));
    if !is_kind(&notice.kind) {
        return refuse("in_app.type", "use 1 to 50 of a-z, 0-9 and _, beginning with a letter".to_owned());
    }
    if notice.days.is_some_and(|days| days == 0 || days > MOST_DAYS) {
        return refuse("in_app.days", format!("must be between 1 and {MOST_DAYS}"));
    }
    if notice.data.len() > limits::DATA {
        return refuse("in_app.data", format!("has more than {} values: leave some out", limits::DATA));
    }
    let sound = |name: &String| {
        (1..=50).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if notice.data.keys().all(sound) {
        Ok(())
    } else {
        refuse("in_app.data", "name each value with 1 to 50 of a-z, A-Z, 0-9 and _".to_owned())
    }
}

fn is_kind(text: &str) -> bool {
    (1..=50).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Brings a rendered text into the form of its place, or says why it cannot be. Only the message has lines; no other control
/// character gets anywhere, whatever the values hold.
pub(crate) fn fitting(path: fmt::Arguments<'_>, text: String) -> Result<String, RenderError> {
    let part = path.to_string();
    let (limit, lines) = match part.as_str() {
        "in_app.title" => (limits::TITLE_CHARS, false),
        "in_app.message" => (limits::MESSAGE_CHARS, true),
        _ => (limits::DATUM_CHARS, false),
    };
    let unfit = |c: char| {
        c.is_control() && !(lines && matches!(c, '\n' | '\t'))
            || !lines && matches!(c, '\u{2028}' | '\u{2029}')
    };
    let text = if text.contains(unfit) { text.replace(unfit, " ") } else { text };
    if text.trim().is_empty() && !part.starts_with("in_app.data.") {
        return Err(RenderError::Empty { part });
    }
    if text.len() > limit && text.chars().count() > limit {
        let message = format!("longer than {limit} characters: shorten the text or its values");
        return Err(RenderError::Limit { part, message });
    }
    Ok(text)
}
