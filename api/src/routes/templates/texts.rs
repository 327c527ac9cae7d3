//! The texts of a version: as an author sends them, as they are kept, and as they come back.

use fanfare_engine::{domain::channel::Channel, store::template_versions::Version};
use fanfare_templates::{
    EmailBody, InApp, Notation, PublishError, Published, Source, Whatsapp, limits, publish,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::problem::{Code, FieldError, Problem};

/// Characters of a subject, a preheader.
const LINE: usize = 1_000;
/// Declared variables, and characters of the name of one.
const VARIABLES: usize = 100;
const VARIABLE: usize = 64;
/// Words of the language, which no variable can be called.
const RESERVED: &[&str] = &["else", "this", "true", "false", "null"];

/// What the body of an e-mail is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TextFormat {
    Text,
    Html,
    Mjml,
}

impl TextFormat {
    /// Of a body whose author did not say.
    fn of(content: &str) -> Self {
        let start = content.trim_start();
        let tag = |tag: &str| start.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag));
        let closes = content
            .match_indices("</")
            .any(|(at, _)| content[at + 2..].starts_with(|c: char| c.is_ascii_alphabetic()));
        if tag("<mjml") {
            Self::Mjml
        } else if tag("<!doctype") || closes || content.contains("<br") {
            Self::Html
        } else {
            Self::Text
        }
    }
}

/// The texts as they were sent.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) subject: Option<String>,
    pub(super) content: Value,
    pub(super) variables: Vec<String>,
    pub(super) format: Option<TextFormat>,
    pub(super) notation: Option<Notation>,
    pub(super) preheader: Option<String>,
    pub(super) text: Option<String>,
}

/// Texts that can be kept: bounded, in Handlebars, and in a notation that leads back to what was sent.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) source: Source,
    pub(super) notation: Notation,
    pub(super) variables: Vec<String>,
}

/// [`Written`], and what would be sent of it or why it can't be.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) written: Written,
    pub(super) published: Result<Published, Problem>,
}

/// The texts of a version as they come back.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TextsView {
    /// Null where the channel has none.
    pub(super) subject: Option<String>,
    /// As it was sent. A text, or for WhatsApp an object too.
    #[schema(value_type = Value)]
    pub(super) content: Value,
    /// As they were declared, then those that the texts use besides.
    pub(super) variables: Vec<String>,
    /// Of e-mails only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<TextFormat>,
    /// `single`: `{name}`; `handlebars`: `{{name}}`.
    #[schema(value_type = Option<String>)]
    pub(super) notation: Option<Notation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preheader: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
}

impl Texts {
    /// Checks what can be said of the texts without reading them as templates: a draft may be unfinished.
    pub(super) fn read(self, channel: Channel) -> Result<Written, Problem> {
        let Self { subject, content, variables, format, notation, preheader, text } = self;
        let mut wrong = Wrong::default();
        declared(&variables, &mut wrong);
        wrong.check("content", size(&content) <= limits::SOURCE_BYTES, "must have at most 262144 bytes");
        for (field, line) in [("subject", &subject), ("preheader", &preheader)] {
            let fits = line.as_deref().is_none_or(|line| line.chars().count() <= LINE);
            wrong.check(field, fits, "must have at most 1000 characters");
        }
        let fits = text.as_deref().is_none_or(|text| text.len() <= limits::SOURCE_BYTES);
        wrong.check("text", fits, "must have at most 262144 bytes");
        let subject = subject.filter(|subject| !subject.trim().is_empty());
        if channel == Channel::Email {
            wrong.check("subject", subject.is_some(), "is missing: an e-mail has one");
        } else {
            let mail_only = [
                ("subject", subject.is_some()),
                ("preheader", preheader.is_some()),
                ("text", text.is_some()),
                ("format", format.is_some()),
            ];
            for (field, given) in mail_only {
                wrong.check(field, !given, "is for e-mails only");
            }
        }
        let given = match channel {
            Channel::Email => email(subject.unwrap_or_default(), content, format, (preheader, text)),
            Channel::Sms => plain(content).map(|text| Source::Sms { text }),
            Channel::Whatsapp => whatsapp(content),
            Channel::InApp => object::<InApp<String>>(content).map(Source::InApp),
        };
        let given = given.map_err(|error| wrong.0.push(error)).ok();
        let Some(given) = given.filter(|_| wrong.0.is_empty()) else { return Err(Problem::fields(wrong.0)) };
        let notation = notation.or_else(|| seen(&given, &variables)).ok_or_else(both)?;
        let source = given.map(|text| notation.to_handlebars(text, &variables));
        Ok(Written { source, notation, variables })
    }
}

/// Several fields may be wrong.
#[derive(Debug, Default)]
struct Wrong(Vec<FieldError>);

impl Wrong {
    fn check(&mut self, field: impl Into<String>, holds: bool, message: &str) {
        if !holds {
            self.0.push(wrong(field, message));
        }
    }
}

fn wrong(field: impl Into<String>, message: impl Into<String>) -> FieldError {
    FieldError { field: field.into(), message: message.into() }
}

fn declared(variables: &[String], wrong: &mut Wrong) {
    wrong.check("variables", variables.len() <= VARIABLES, "must be at most 100");
    for (i, name) in variables.iter().enumerate().take(VARIABLES) {
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let plain = begins && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let sound = plain && name.len() <= VARIABLE && !RESERVED.contains(&name.as_str());
        let message = "must be a name of letters, digits and underscores, 64 at most, and no word of the language (else, this, true, false, null)";
        wrong.check(format!("variables[{i}]"), sound, message);
        wrong.check(format!("variables[{i}]"), !variables[..i].contains(name), "is declared twice");
    }
}

fn email(
    subject: String,
    content: Value,
    format: Option<TextFormat>,
    (preheader, text): (Option<String>, Option<String>),
) -> Result<Source, FieldError> {
    let content = plain(content)?;
    let body = match format.unwrap_or_else(|| TextFormat::of(&content)) {
        TextFormat::Html => EmailBody::Html(content),
        TextFormat::Mjml => EmailBody::Mjml(content),
        TextFormat::Text if text.is_some() => {
            return Err(wrong("text", "is what `content` is already: leave it out, or say another `format`"));
        }
        TextFormat::Text => EmailBody::Text(content),
    };
    let given = |text: &String| !text.trim().is_empty();
    Ok(Source::Email { subject, preheader: preheader.filter(given), body, text: text.filter(given) })
}

fn plain(content: Value) -> Result<String, FieldError> {
    match content {
        Value::String(text) if text.trim().is_empty() => Err(wrong("content", "is empty: write it")),
        Value::String(text) => Ok(text),
        _ => Err(wrong("content", "must be a text")),
    }
}

fn whatsapp(content: Value) -> Result<Source, FieldError> {
    if !content.is_object() {
        return Ok(Source::Whatsapp(Whatsapp::Text { body: plain(content)?, preview_url: false }));
    }
    object(content).map(Source::Whatsapp)
}

fn object<T: DeserializeOwned>(content: Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(content).map_err(|error: serde_path_to_error::Error<_>| {
        let path = error.path().to_string();
        let field = if path == "." { "content".to_owned() } else { format!("content.{path}") };
        wrong(field, error.into_inner().to_string())
    })
}

fn seen(source: &Source, variables: &[String]) -> Option<Notation> {
    let mut texts = Vec::new();
    let _ = source.map(|text| {
        texts.push(text.to_owned());
        String::new()
    });
    Notation::of(texts.iter().map(String::as_str), variables)
}

fn both() -> Problem {
    let message = "the texts hold {name} of a declared variable, and {{…}} too: write all variables one way, or say `single` \
                   ({{…}} is then text) or `handlebars` ({name} is then text)";
    Problem::field("notation", message)
}

fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        other => other.to_string().len(),
    }
}

/// Values for a template, bounded: what they are is the template's business.
pub(super) fn values(values: &serde_json::Map<String, Value>) -> Result<(), Problem> {
    const MOST: usize = 64 * 1024;
    let mut wrong = Wrong::default();
    wrong.check(
        "values",
        values.iter().map(|(name, value)| name.len() + value.to_string().len()).sum::<usize>() <= MOST,
        "must have at most 65536 bytes",
    );
    if wrong.0.is_empty() { Ok(()) } else { Err(Problem::fields(wrong.0)) }
}

impl Written {
    /// Reads the texts as templates, which may take tens of milliseconds: not on a thread that serves requests.
    pub(super) async fn prepare(self) -> Result<Ready, Problem> {
        let work = move || {
            let published = publish(&self.source).map_err(|error| refused(&error, &self.source));
            let mut written = self;
            if let Ok(published) = &published {
                let unknown = |name: &&str| !written.variables.iter().any(|declared| declared == name);
                let more: Vec<String> =
                    published.variables().all().filter(unknown).map(str::to_owned).collect();
                written.variables.extend(more);
            }
            Ready { written, published }
        };
        apart(work).await
    }
}

/// Does work that takes a while on a thread of its own.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| {
        tracing::error!(%panic, "work on a template panicked");
        Code::Broken.into()
    })
}

/// Names the field that must be changed.
fn refused(error: &PublishError, source: &Source) -> Problem {
    let part = error.part();
    let field = match (source, part) {
        (Source::Email { body: EmailBody::Text(_), .. }, "text") | (_, "html" | "mjml" | "sms") => {
            "content".to_owned()
        }
        (Source::Whatsapp(Whatsapp::Text { preview_url: false, .. }), _) => "content".to_owned(),
        (Source::Whatsapp(_), part) => part.replacen("whatsapp", "content", 1),
        (Source::InApp(_), part) => part.replacen("in_app", "content", 1),
        (_, part) => part.to_owned(),
    };
    let message = match error {
        PublishError::At { line, column, message, .. } => format!("line {line}, column {column}: {message}"),
        PublishError::Part { message, .. } => message.clone(),
    };
    Problem::field(field, message)
}

impl From<Version> for TextsView {
    fn from(version: Version) -> Self {
        let Version { source, notation, variables, .. } = version;
        let source = source.map(|text| notation.of_handlebars(text, &variables));
        let view = Self { variables, notation: Some(notation), ..Self::default() };
        match source {
            Source::Email { subject, preheader, body, text } => {
                let (format, content) = match body {
                    EmailBody::Html(content) => (TextFormat::Html, content),
                    EmailBody::Mjml(content) => (TextFormat::Mjml, content),
                    EmailBody::Text(content) => (TextFormat::Text, content),
                };
                Self {
                    subject: Some(subject),
                    content: content.into(),
                    format: Some(format),
                    preheader,
                    text,
                    ..view
                }
            }
            Source::Sms { text } => Self { content: text.into(), ..view },
            Source::Whatsapp(Whatsapp::Text { body, preview_url: false }) => {
                Self { content: body.into(), ..view }
            }
            Source::Whatsapp(whatsapp) => {
                let content = serde_json::to_value(whatsapp).expect("texts under names are JSON");
                Self { content, ..view }
            }
            Source::InApp(notice) => {
                let content = serde_json::to_value(notice).expect("texts under names are JSON");
                Self { content, ..view }
            }
        }
    }
}
