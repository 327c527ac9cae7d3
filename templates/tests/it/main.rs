//! What authors and recipients meet: publishing, rendering, formatting, limits.

#![expect(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]

mod helpers;
mod in_app;
mod links;
mod mail;
mod notation;
mod properties;
mod publishing;
mod rendering;
mod segments;
mod starters;
mod whatsapp;

use fanfare_templates::{Compiled, Locale, PublishError, RenderError, Rendered, Source, publish};
use serde_json::Value;

pub(crate) fn sms(text: &str) -> Source {
    Source::Sms { text: text.to_owned() }
}

pub(crate) fn source(json: Value) -> Source {
    serde_json::from_value(json).expect("a source")
}

pub(crate) fn locale(tag: &str) -> Locale {
    Locale::parse(tag).expect("a locale")
}

/// Publishes, stores, loads, compiles and renders, as a campaign does.
pub(crate) fn render(source: &Source, variables: &Value, tag: &str) -> Result<Rendered, RenderError> {
    let published = publish(source).expect("a sound source");
    let stored = serde_json::to_string(&published).expect("published serialises");
    let loaded = serde_json::from_str(&stored).expect("published deserialises");
    assert_eq!(published, loaded);
    Compiled::new(&loaded).expect("published compiles").render(variables, &locale(tag))
}

pub(crate) fn render_sms(text: &str, variables: &Value, tag: &str) -> Result<String, RenderError> {
    match render(&sms(text), variables, tag)? {
        Rendered::Sms { text, .. } => Ok(text),
        other => panic!("an SMS renders to an SMS, not {other:?}"),
    }
}

/// As plain text outside SMS: the text part of an e-mail.
pub(crate) fn render_text(text: &str, variables: &Value, tag: &str) -> Result<String, RenderError> {
    let source = source(
        serde_json::json!({"channel": "email", "subject": "s", "body": {"html": "<p>x</p>"}, "text": text}),
    );
    match render(&source, variables, tag)? {
        Rendered::Email { text, .. } => Ok(text),
        other => panic!("an e-mail renders to an e-mail, not {other:?}"),
    }
}

pub(crate) fn refused(source: &Source) -> PublishError {
    publish(source).expect_err("a fault")
}
