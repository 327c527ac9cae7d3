//! What an author writes, per channel. A plain data type: [`crate::publish`] judges it.

use serde::{Deserialize, Serialize};

use crate::in_app::InApp;
use crate::whatsapp::Whatsapp;

/// The source of one template in one locale. Every string is a Handlebars template unless its documentation says otherwise.
///
/// ```
/// let source: fanfare_templates::Source = serde_json::from_str(
///     r#"{"channel": "email", "subject": "Hello {{first_name}}", "body": {"html": "<p>Hello {{first_name}}</p>"}}"#,
/// ).unwrap();
/// assert!(fanfare_templates::publish(&source).is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "channel", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    Email {
        subject: String,
        /// The line a mail client shows after the subject in its list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preheader: Option<String>,
        body: EmailBody,
        /// The text part; derived from the HTML when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    Sms {
        text: String,
    },
    Whatsapp(Whatsapp<String>),
    InApp(InApp<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmailBody {
    Html(String),
    Mjml(String),
    /// Plain text, which is the text part too; the HTML says the same, line by line.
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Email,
    Sms,
    Whatsapp,
    InApp,
}

impl Channel {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Whatsapp => "whatsapp",
            Self::InApp => "in_app",
        }
    }
}

impl Source {
    #[must_use]
    pub fn channel(&self) -> Channel {
        match self {
            Self::Email { .. } => Channel::Email,
            Self::Sms { .. } => Channel::Sms,
            Self::Whatsapp(_) => Channel::Whatsapp,
            Self::InApp(_) => Channel::InApp,
        }
    }

    /// The same source with every text changed; what is no template (names and languages of approved templates) stays.
    #[must_use]
    pub fn map(&self, mut text: impl FnMut(&str) -> String) -> Self {
        match self {
            Self::Email { subject, preheader, body, text: own } => Self::Email {
                subject: text(subject),
                preheader: preheader.as_deref().map(&mut text),
                body: match body {
                    EmailBody::Html(html) => EmailBody::Html(text(html)),
                    EmailBody::Mjml(mjml) => EmailBody::Mjml(text(mjml)),
                    EmailBody::Text(plain) => EmailBody::Text(text(plain)),
                },
                text: own.as_deref().map(&mut text),
            },
            Self::Sms { text: own } => Self::Sms { text: text(own) },
            Self::Whatsapp(whatsapp) => Self::Whatsapp(whatsapp.map(|own| text(own))),
            Self::InApp(notice) => Self::InApp(notice.map(|own| text(own))),
        }
    }
}
