//! A single send as it is asked for, read and checked as far as that goes without the database.

use std::collections::BTreeMap;

use fanfare_engine::domain::{
    channel::{Channel, MessageClass},
    references::{ReferenceError, References},
};
use fanfare_templates::Locale;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::http::{
    idempotency::RequestKey,
    problem::{FieldError, Problem},
};

/// Characters, unless said.
const LONGEST_TO: usize = 320;
const LONGEST_TEMPLATE: usize = 128;
const LONGEST_KEY: usize = 255;
const LONGEST_SUBJECT: usize = 500;
const LONGEST_MESSAGE: usize = 100_000;
const LONGEST_HTML: usize = 500_000;
/// Bytes of all parameters together, as JSON.
const LARGEST_PARAMETERS: usize = 64 * 1024;

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewMessage {
    /// An address of the channel, or the id of a contact. A number without a country code belongs to the tenant's country.
    #[schema(max_length = 320, example = "+919876543210")]
    to: String,
    /// Id or slug of a published template; not together with `message`, `subject` and `html`.
    #[serde(default)]
    #[schema(max_length = 128, example = "renewal_reminder")]
    template_id: Option<String>,
    /// The variables of the template; 64 KiB at most.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Map<String, Value>>,
    /// The text as it is to be sent. SMS: 1,530 characters at most.
    #[serde(default)]
    #[schema(max_length = 100_000)]
    message: Option<String>,
    /// E-mail only.
    #[serde(default)]
    #[schema(max_length = 500)]
    subject: Option<String>,
    /// E-mail only: the HTML as it is to be sent. Without `message` its text part is made from it, and the other way round.
    #[serde(default)]
    #[schema(max_length = 500_000)]
    html: Option<String>,
    /// `transactional` (so if nothing is said), `obligation` or `marketing`, of a message without a template. A template has its own.
    #[serde(default)]
    #[schema(example = "transactional")]
    class: Option<String>,
    /// Language of the template's version; if not said, the contact's, or the tenant's.
    #[serde(default)]
    #[schema(max_length = 35, example = "en")]
    locale: Option<String>,
    /// At most one message of the tenant ever bears this key, whenever it is asked for again; keys of the sandbox are apart.
    #[serde(default)]
    #[schema(max_length = 255, example = "installment:42:due-3d")]
    business_key: Option<String>,
    /// Not before this moment: in the future, within a year. RFC 3339.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    scheduled_at: Option<Timestamp>,
    /// What you call it: up to 8 pairs by which it is found again. A name has at most 64 characters and no colon, a value 128.
    #[serde(default)]
    #[schema(example = json!({"policyId": "POL123456"}))]
    references: BTreeMap<String, String>,
}

/// What is to be sent.
#[derive(Debug, PartialEq)]
pub(super) enum Content {
    Template {
        name: String,
        parameters: Map<String, Value>,
    },
    /// Its parts, as [`fanfare_templates::as_written`] takes them.
    Written {
        class: MessageClass,
        parts: Map<String, Value>,
    },
}

/// A checked [`NewMessage`].
#[derive(Debug)]
pub(super) struct Single {
    pub(super) channel: Channel,
    pub(super) to: String,
    pub(super) content: Content,
    pub(super) locale: Option<String>,
    /// The caller's own, else that of the request.
    pub(super) business_key: Option<String>,
    pub(super) scheduled_at: Option<Timestamp>,
    pub(super) references: References,
}

/// Everything that is wrong, gathered.
#[derive(Debug, Default)]
struct Faults(Vec<FieldError>);

impl Faults {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { field: field.into(), message: message.into() });
    }

    /// Kept as it is, if it is a text of 1 to `longest` characters that can be kept.
    fn text(&mut self, field: &str, text: &str, longest: usize) {
        if text.trim().is_empty() {
            self.add(field, "must not be empty");
        } else if text.len() > longest && text.chars().count() > longest {
            self.add(field, format!("must have at most {longest} characters"));
        }
    }
}

impl Single {
    pub(super) fn read(
        channel: Channel,
        new: NewMessage,
        request: Option<RequestKey>,
    ) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        faults.text("to", &new.to, LONGEST_TO);
        if let Some(key) = &new.business_key {
            faults.text("businessKey", key, LONGEST_KEY);
        }
        if let Some(Err(error)) = new.locale.as_deref().map(Locale::parse) {
            faults.add("locale", error.to_string());
        }
        let references = References::new(new.references.clone()).unwrap_or_else(|error| {
            let field = match &error {
                ReferenceError::TooMany(_) => "references".to_owned(),
                ReferenceError::Name(name) | ReferenceError::Value(name) => format!("references.{name}"),
            };
            faults.add(field, error.to_string());
            References::default()
        });
        let content = content(channel, &new, &mut faults);
        let (Some(content), true) = (content, faults.0.is_empty()) else {
            return Err(Problem::fields(faults.0));
        };
        Ok(Self {
            channel,
            to: new.to,
            content,
            locale: new.locale,
            business_key: new.business_key.or(request.map(RequestKey::into_string)),
            scheduled_at: new.scheduled_at,
            references,
        })
    }
}

fn content(channel: Channel, new: &NewMessage, faults: &mut Faults) -> Option<Content> {
    let foreign = [
        ("message", new.message.is_some(), channel == Channel::Whatsapp, "WhatsApp takes templates only"),
        ("subject", new.subject.is_some(), channel != Channel::Email, "is for e-mail"),
        ("html", new.html.is_some(), channel != Channel::Email, "is for e-mail"),
    ];
    for (field, there, foreign, why) in foreign {
        if there && foreign {
            faults.add(field, why);
        }
    }
    match &new.template_id {
        Some(name) => from_template(name, new, faults),
        None => written(channel, new, faults),
    }
}

fn from_template(name: &str, new: &NewMessage, faults: &mut Faults) -> Option<Content> {
    faults.text("templateId", name, LONGEST_TEMPLATE);
    for (field, there) in [
        ("message", new.message.is_some()),
        ("subject", new.subject.is_some()),
        ("html", new.html.is_some()),
        ("class", new.class.is_some()),
    ] {
        if there {
            faults.add(field, "the template says it: leave it out, or leave `templateId` out");
        }
    }
    let parameters = new.parameters.clone().unwrap_or_default();
    let size = serde_json::to_vec(&parameters).map_or(usize::MAX, |json| json.len());
    if size > LARGEST_PARAMETERS {
        faults.add("parameters", format!("must be at most {LARGEST_PARAMETERS} bytes of JSON"));
    }
    Some(Content::Template { name: name.to_owned(), parameters })
}

fn written(channel: Channel, new: &NewMessage, faults: &mut Faults) -> Option<Content> {
    if new.parameters.is_some() {
        faults.add("parameters", "are the variables of a template: say which by `templateId`");
    }
    let class = new.class.as_deref().unwrap_or(MessageClass::Transactional.as_str()).parse::<MessageClass>();
    let class = class.map_err(|unknown| faults.add("class", unknown)).ok()?;
    if let Some(message) = &new.message {
        faults.text("message", message, LONGEST_MESSAGE);
    }
    let parts = match channel {
        Channel::Whatsapp | Channel::InApp => {
            faults.add("templateId", format!("is missing: {channel} takes templates only"));
            return None;
        }
        Channel::Sms => match &new.message {
            Some(message) => vec![("text", message.clone())],
            None => {
                faults.add("message", "is missing: say what is to be sent, or a `templateId`");
                return None;
            }
        },
        Channel::Email => mail(new, faults)?,
    };
    let parts = parts.into_iter().map(|(name, text)| (name.to_owned(), Value::String(text))).collect();
    Some(Content::Written { class, parts })
}

fn mail(new: &NewMessage, faults: &mut Faults) -> Option<Vec<(&'static str, String)>> {
    match &new.subject {
        Some(subject) => faults.text("subject", subject, LONGEST_SUBJECT),
        None => faults.add("subject", "is missing: an e-mail has one"),
    }
    if let Some(html) = &new.html {
        faults.text("html", html, LONGEST_HTML);
    }
    let (html, text) = match (&new.html, &new.message) {
        (Some(html), Some(text)) => (html.clone(), text.clone()),
        (None, Some(text)) => (fanfare_templates::html_from_text(text), text.clone()),
        (Some(html), None) => match fanfare_templates::text_from_html(html) {
            Ok(text) => (html.clone(), text),
            Err(error) => {
                faults.add("message", format!("is missing, and can't be made from `html`: {error}"));
                return None;
            }
        },
        (None, None) => {
            faults.add("message", "is missing: say what is to be sent by it or by `html`, or a `templateId`");
            return None;
        }
    };
    Some(vec![("subject", new.subject.clone()?), ("html", html), ("text", text)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(channel: Channel, body: Value) -> Result<Single, Problem> {
        Single::read(channel, serde_json::from_value(body).unwrap(), None)
    }

    fn refused(channel: Channel, body: Value, fields: &[&str]) {
        let problem = format!("{:?}", read(channel, body).expect_err("wrong"));
        for field in fields {
            assert!(problem.contains(&format!("field: \"{field}\"")), "{field}: {problem}");
        }
    }

    #[test]
    fn the_samples_are_read() {
        let whatsapp = json!({"to": "+919876543210", "templateId": "renewal_reminder", "parameters":
            {"name": "John Doe", "policy_number": "POL123456", "expiry_date": "2024-06-15"}});
        let single = read(Channel::Whatsapp, whatsapp).unwrap();
        assert!(
            matches!(single.content, Content::Template { name, parameters } if name == "renewal_reminder" && parameters.len() == 3)
        );
        let sms = read(Channel::Sms, json!({"to": "+919876543210", "message": "Dear John, {{x}}"})).unwrap();
        let parts = json!({"text": "Dear John, {{x}}"}).as_object().cloned().unwrap();
        assert_eq!(sms.content, Content::Written { class: MessageClass::Transactional, parts });
    }

    #[test]
    fn an_e_mail_always_has_both_parts() {
        let mail = |body: Value| match read(Channel::Email, body).unwrap().content {
            Content::Written { parts, .. } => parts,
            other => panic!("{other:?}"),
        };
        let of_text = mail(json!({"to": "a@b.example", "subject": "S", "message": "a < b"}));
        assert_eq!((&of_text["text"], &of_text["html"]), (&json!("a < b"), &json!("<p>a &lt; b</p>")));
        let of_html = mail(json!({"to": "a@b.example", "subject": "S", "html": "<p>Hello <b>you</b></p>"}));
        assert_eq!(of_html["html"], json!("<p>Hello <b>you</b></p>"));
        assert!(of_html["text"].as_str().unwrap().contains("Hello"), "{of_html:?}");
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let long = "x".repeat(256);
        let references: BTreeMap<String, String> =
            (0..9).map(|no| (no.to_string(), "v".to_owned())).collect();
        refused(
            Channel::Email,
            json!({"to": "", "businessKey": long, "locale": "!", "references": references, "html": "h", "class": "x"}),
            &["to", "businessKey", "locale", "references", "class"],
        );
        refused(Channel::Email, json!({"to": "a@b.example", "html": " "}), &["subject", "html"]);
        refused(Channel::Email, json!({"to": "a@b.example", "subject": "S"}), &["message"]);
        refused(
            Channel::Sms,
            json!({"to": "1", "subject": "S", "html": "<p>"}),
            &["subject", "html", "message"],
        );
        refused(Channel::Sms, json!({"to": "1", "message": "m", "parameters": {}}), &["parameters"]);
        refused(
            Channel::Sms,
            json!({"to": "1", "message": "m", "references": {"a:b": "c"}}),
            &["references.a:b"],
        );
        refused(Channel::Whatsapp, json!({"to": "1", "message": "m"}), &["message", "templateId"]);
        refused(
            Channel::Sms,
            json!({"to": "1", "templateId": "t", "message": "m", "parameters": {"a": "x".repeat(70_000)}}),
            &["message", "parameters"],
        );
    }

    #[test]
    fn a_request_with_a_key_is_one_message() {
        let of = |body: Value| {
            let key = RequestKey::new("k-1", &[0xab; 32]);
            Single::read(Channel::Sms, serde_json::from_value(body).unwrap(), Some(key)).unwrap().business_key
        };
        let made = format!("idempotency-key:{}:k-1", "ab".repeat(32));
        assert_eq!(of(json!({"to": "1", "message": "m"})), Some(made));
        assert_eq!(of(json!({"to": "1", "message": "m", "businessKey": "b"})).as_deref(), Some("b"));
    }
}
