//! Rendering: a compiled template and one recipient's variables make one message.

use handlebars::Context;
use serde_json::{Map, Value};

use crate::error::{PublishError, RenderError};
use crate::helpers::Flavour;
use crate::in_app::{self, InApp};
use crate::limits;
use crate::locale::{Conventions, Locale};
use crate::part::Part;
use crate::pinned;
use crate::publish::{Content, HTML, Published, SUBJECT, TEXT};
use crate::segments::{Segments, segments};
use crate::variables::Usage;
use crate::whatsapp::message::WhatsappMessage;
use crate::whatsapp::{Whatsapp, check};

/// A published template, parsed: to be made once per version and shared between threads.
#[derive(Debug)]
pub struct Compiled {
    /// The variables that the template reads; others of a recipient are not even copied.
    names: Vec<String>,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    Email { subject: Part, html: Part, text: Part },
    Sms { text: Part },
    Whatsapp(Whatsapp<Part>),
    InApp(InApp<Part>),
}

/// One recipient's message, without addresses.
#[derive(Debug, Clone, PartialEq)]
pub enum Rendered {
    Email { subject: String, html: String, text: String },
    Sms { text: String, segments: Segments },
    Whatsapp(WhatsappMessage),
    InApp(InApp<String>),
}

impl Compiled {
    /// Parses every part of a published template.
    ///
    /// # Errors
    /// [`PublishError`] when the stored template breaks a rule that is newer than its publication.
    pub fn new(published: &Published) -> Result<Self, PublishError> {
        let mut usage = Usage::default();
        let mut part = |name, text: &str, flavour| Part::parse(name, text, flavour, &mut usage);
        let parts = match published.content() {
            Content::Email { subject, html, text } => Parts::Email {
                subject: part("subject", subject, Flavour::Plain)?,
                html: part("html", html, Flavour::Html)?,
                text: part("text", text, Flavour::Plain)?,
            },
            Content::Sms { text } => Parts::Sms { text: part("sms", text, Flavour::Sms)? },
            // Nothing is escaped: whoever wrote the message wrote its HTML.
            Content::Written => Parts::Email {
                subject: part("subject", SUBJECT, Flavour::Plain)?,
                html: part("html", HTML, Flavour::Plain)?,
                text: part("text", TEXT, Flavour::Plain)?,
            },
            Content::Whatsapp(whatsapp) => Parts::Whatsapp(
                whatsapp.try_map(|path, _, text| Part::parse(path, text, Flavour::Plain, &mut usage))?,
            ),
            Content::InApp(notice) => Parts::InApp(
                notice.try_map(|path, text| Part::parse(path, text, Flavour::Plain, &mut usage))?,
            ),
        };
        let names = usage.into_variables().all().map(str::to_owned).collect();
        Ok(Self { names, parts })
    }

    /// Renders for one recipient. `variables` is a JSON object; members that the template does not name are ignored.
    ///
    /// # Errors
    /// [`RenderError`] when the variables do not fit the template or the result does not fit the channel.
    pub fn render(&self, variables: &Value, locale: &Locale) -> Result<Rendered, RenderError> {
        self.render_with(variables, Vec::new(), locale)
    }

    /// As [`Self::render`], with values of the system's own, which hold before all others.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_with(
        &self,
        variables: &Value,
        given: Given,
        locale: &Locale,
    ) -> Result<Rendered, RenderError> {
        let values = self.pick(variables.as_object().ok_or(RenderError::NotAnObject)?);
        self.fill(&context(values, given), locale)
    }

    /// Whether the template reads this variable.
    #[must_use]
    pub fn reads(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// As [`Self::render_with`], from values as a campaign pins them: the text of a JSON array of objects, in which a member of
    /// a later object holds before one of an earlier.
    ///
    /// # Errors
    /// As [`Self::render`]; [`RenderError::NotAnObject`] also when `pinned` is no such text.
    pub fn render_pinned(
        &self,
        pinned: &str,
        given: Given,
        locale: &Locale,
    ) -> Result<Rendered, RenderError> {
        let values = pinned::read(pinned, &self.names).map_err(|_| RenderError::NotAnObject)?;
        self.fill(&context(values, given), locale)
    }

    fn fill(&self, variables: &Context, locale: &Locale) -> Result<Rendered, RenderError> {
        let conventions = locale.conventions();
        match &self.parts {
            Parts::Email { subject, html, text } => Ok(Rendered::Email {
                subject: one_line(subject, variables, conventions)?,
                html: html.render(variables, conventions)?,
                text: text.render(variables, conventions)?,
            }),
            Parts::Sms { text } => sms(text, variables, conventions),
            Parts::Whatsapp(whatsapp) => {
                let filled = whatsapp.try_map(|path, rule, part| {
                    let text = part.render(variables, conventions)?;
                    check::rendered(path, rule, text)
                })?;
                Ok(Rendered::Whatsapp(WhatsappMessage::from(filled)))
            }
            Parts::InApp(notice) => {
                let filled = notice
                    .try_map(|path, part| in_app::fitting(path, part.render(variables, conventions)?))?;
                Ok(Rendered::InApp(filled))
            }
        }
    }

    fn pick(&self, variables: &Map<String, Value>) -> Map<String, Value> {
        self.names.iter().filter_map(|name| Some((name.clone(), variables.get(name)?.clone()))).collect()
    }
}

/// Values that the system gives a recipient beside their own, by name; see [`UNSUBSCRIBE_URL`].
pub type Given = Vec<(&'static str, String)>;

/// Where its recipient ends such messages. Authors may write it in any part.
pub const UNSUBSCRIBE_URL: &str = "unsubscribe_url";
/// Where its recipient says what they want.
pub const PREFERENCES_URL: &str = "preferences_url";

pub(crate) fn context(mut values: Map<String, Value>, given: Given) -> Context {
    for (name, value) in given {
        values.insert(name.to_owned(), Value::String(value));
    }
    Context::from(Value::Object(values))
}

/// A header line: whatever the values hold, no line break and no other control character gets into it.
fn one_line(part: &Part, variables: &Context, conventions: Conventions) -> Result<String, RenderError> {
    let mut line = part.render(variables, conventions)?;
    if line.contains(char::is_control) || line.contains(['\u{2028}', '\u{2029}']) {
        line = line.replace(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'), " ");
    }
    if line.trim().is_empty() {
        return Err(RenderError::Empty { part: part.name().to_owned() });
    }
    within(part, &line, limits::SUBJECT_CHARS)?;
    Ok(line)
}

fn sms(part: &Part, variables: &Context, conventions: Conventions) -> Result<Rendered, RenderError> {
    let text = part.render(variables, conventions)?;
    if text.trim().is_empty() {
        return Err(RenderError::Empty { part: part.name().to_owned() });
    }
    within(part, &text, limits::SMS_CHARS)?;
    let segments = segments(&text);
    Ok(Rendered::Sms { text, segments })
}

fn within(part: &Part, text: &str, limit: usize) -> Result<(), RenderError> {
    if text.len() > limit && text.chars().count() > limit {
        let message = format!("longer than {limit} characters: shorten the text or its values");
        return Err(RenderError::Limit { part: part.name().to_owned(), message });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Channel, as_written};

    fn rendered(channel: Channel, values: &Value) -> Result<Rendered, RenderError> {
        let published = as_written(channel).expect("may be written");
        // As it comes back from where it was kept.
        let kept = serde_json::from_value(serde_json::to_value(&published).unwrap()).unwrap();
        Compiled::new(&kept).unwrap().render(values, &Locale::parse("en").unwrap())
    }

    #[test]
    fn what_was_written_whole_passes_through_as_it_is() {
        let values = json!({"subject": "Bill & {{more}}", "html": "<p>{{#if}} \\{{x}} &amp; <b>5</b></p>", "text": "{{text}} & <5>"});
        let mail = rendered(Channel::Email, &values).unwrap();
        let expected = Rendered::Email {
            subject: "Bill & {{more}}".to_owned(),
            html: "<p>{{#if}} \\{{x}} &amp; <b>5</b></p>".to_owned(),
            text: "{{text}} & <5>".to_owned(),
        };
        assert_eq!(mail, expected);
        let sms = rendered(Channel::Sms, &json!({"text": "{{x}} & €"})).unwrap();
        assert!(
            matches!(sms, Rendered::Sms { text, segments } if text == "{{x}} & €" && segments.count == 1)
        );
        assert_eq!(as_written(Channel::Whatsapp), None);
    }

    #[test]
    fn what_was_written_whole_keeps_to_the_limits() {
        let broken = json!({"subject": "a\nBcc: x", "html": "<p>", "text": "t"});
        assert!(
            matches!(rendered(Channel::Email, &broken).unwrap(), Rendered::Email { subject, .. } if subject == "a Bcc: x")
        );
        assert!(rendered(Channel::Sms, &json!({"text": " "})).is_err());
        assert!(rendered(Channel::Sms, &json!({"text": "x".repeat(limits::SMS_CHARS + 1)})).is_err());
        assert!(rendered(Channel::Email, &json!({"subject": "s", "text": "t"})).is_err());
    }

    #[test]
    fn html_of_a_text_says_the_same() {
        assert_eq!(
            crate::html_from_text("a <b> & \"c\"\r\nd"),
            "<p>a &lt;b&gt; &amp; &quot;c&quot;<br>\nd</p>"
        );
    }
}
