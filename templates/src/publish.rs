//! Publishing: everything that can be known before a recipient is known, checked and computed once.

use serde::{Deserialize, Serialize};

use crate::error::PublishError;
use crate::helpers::Flavour;
use crate::in_app::{self, InApp};
use crate::limits;
use crate::mail;
use crate::part::Part;
use crate::source::{Channel, EmailBody, Source};
use crate::variables::{Usage, Variables};
use crate::whatsapp::{Whatsapp, check};

/// A template that passed every check; only [`publish`] makes one, and only what it serialised to is to be read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    source: Source,
    content: Content,
    variables: Variables,
}

/// The texts that are left to fill in for each recipient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    Email {
        subject: String,
        html: String,
        text: String,
    },
    Sms {
        text: String,
    },
    Whatsapp(Whatsapp<String>),
    /// An e-mail whose subject, HTML and text are values of the recipient, as they are.
    Written,
    InApp(InApp<String>),
}

impl Published {
    /// What the author wrote.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    #[must_use]
    pub fn channel(&self) -> Channel {
        self.source.channel()
    }

    #[must_use]
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// The same template, whose texts were changed by rule.
    pub(crate) fn with_content(&self, content: Content) -> Self {
        Self { content, ..self.clone() }
    }
}

/// Checks a source and prepares it for rendering.
///
/// # Errors
/// [`PublishError`] with the part, the place in the author's own text, and what to do. The first fault found is reported.
pub fn publish(source: &Source) -> Result<Published, PublishError> {
    let mut usage = Usage::default();
    let content = match source {
        Source::Email { subject, preheader, body, text } => {
            email(subject, preheader.as_deref(), body, text.as_ref(), &mut usage)?
        }
        Source::Sms { text } => {
            written("sms", text)?;
            Part::parse("sms", text, Flavour::Sms, &mut usage)?;
            Content::Sms { text: text.clone() }
        }
        Source::Whatsapp(whatsapp) => {
            check::source(whatsapp)?;
            whatsapp.try_map(|path, _, text| Part::parse(path, text, Flavour::Plain, &mut usage))?;
            Content::Whatsapp(whatsapp.clone())
        }
        Source::InApp(notice) => {
            in_app::check(notice)?;
            written("in_app.title", &notice.title)?;
            written("in_app.message", &notice.message)?;
            notice.try_map(|path, text| Part::parse(path, text, Flavour::Plain, &mut usage))?;
            Content::InApp(notice.clone())
        }
    };
    Ok(Published { source: source.clone(), content, variables: usage.into_variables() })
}

/// What passes through a message that its sender wrote whole: the values `text`, and for e-mail `subject` and `html` too, are
/// its parts. Channels on which nobody may write freely have none.
#[must_use]
pub fn as_written(channel: Channel) -> Option<Published> {
    match channel {
        Channel::Email => {
            let source = Source::Email {
                subject: SUBJECT.to_owned(),
                preheader: None,
                body: EmailBody::Html(HTML.to_owned()),
                text: Some(TEXT.to_owned()),
            };
            let required = ["html", "subject", "text"].map(str::to_owned).to_vec();
            let variables = Variables { required, optional: Vec::new() };
            Some(Published { source, content: Content::Written, variables })
        }
        Channel::Sms => publish(&Source::Sms { text: TEXT.to_owned() }).ok(),
        Channel::Whatsapp | Channel::InApp => None,
    }
}

/// The parts of a message that is written whole.
pub(crate) const SUBJECT: &str = "{{subject}}";
pub(crate) const HTML: &str = "{{html}}";
pub(crate) const TEXT: &str = "{{text}}";

fn email(
    subject: &str,
    preheader: Option<&str>,
    body: &EmailBody,
    text: Option<&String>,
    usage: &mut Usage,
) -> Result<Content, PublishError> {
    written("subject", subject)?;
    Part::parse("subject", subject, Flavour::Plain, usage)?;
    if let Some(preheader) = preheader {
        Part::parse("preheader", preheader, Flavour::Html, usage)?;
    }
    let html = match body {
        EmailBody::Html(html) => {
            written("html", html)?;
            html.clone()
        }
        EmailBody::Mjml(mjml) => {
            written("mjml", mjml)?;
            // First as the author wrote it: the places in the errors are then places in the author's text.
            Part::parse("mjml", mjml, Flavour::Html, usage)?;
            mail::html_from_mjml(mjml)?
        }
        EmailBody::Text(plain) => {
            written("text", plain)?;
            Part::parse("text", plain, Flavour::Plain, usage)?;
            mail::html_from_plain(plain)?
        }
    };
    Part::parse("html", &html, Flavour::Html, usage)?;
    let text = match (text, body) {
        (Some(text), _) | (None, EmailBody::Text(text)) => {
            written("text", text)?;
            text.clone()
        }
        (None, _) => mail::text_from_html(&html)?,
    };
    Part::parse("text", &text, Flavour::Plain, usage)?;
    let html = mail::with_preheader(&html, preheader).into_owned();
    Ok(Content::Email { subject: subject.to_owned(), html, text })
}

fn written(part: &str, text: &str) -> Result<(), PublishError> {
    if text.trim().is_empty() {
        return Err(PublishError::of(part, "is empty: write it"));
    }
    if text.len() > limits::SOURCE_BYTES {
        return Err(PublishError::of(
            part,
            format!("longer than {} bytes: shorten it", limits::SOURCE_BYTES),
        ));
    }
    Ok(())
}
