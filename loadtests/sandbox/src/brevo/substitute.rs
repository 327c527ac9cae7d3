//! `{{params.KEY}}` in subject and HTML, as Brevo puts the values in. So the audit's digest is over what a person
//! would read, whether the sender rendered the text itself or left that to the provider. Plain substitution only:
//! Brevo's loops, conditions and filters stay as they are.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

pub(crate) fn substitute<'t>(text: &'t str, params: Option<&RawValue>) -> Cow<'t, str> {
    let Some(params) = params.filter(|_| text.contains("{{")) else { return Cow::Borrowed(text) };
    let params: Value = serde_json::from_str(params.get()).unwrap_or_default();
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, tag, after)) = next_tag(rest) {
        out.push_str(before);
        match value_of(tag, &params) {
            Some(value) => out.push_str(&value),
            None => {
                out.push_str("{{");
                out.push_str(tag);
                out.push_str("}}");
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn next_tag(text: &str) -> Option<(&str, &str, &str)> {
    let (before, from_tag) = text.split_once("{{")?;
    let (tag, after) = from_tag.split_once("}}")?;
    Some((before, tag, after))
}

/// The value of `params.a.b`; a parameter that is missing reads as nothing, as at Brevo.
fn value_of(tag: &str, params: &Value) -> Option<String> {
    let path = tag.trim().strip_prefix("params.")?;
    if !path.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-.".contains(&c)) {
        return None;
    }
    let value = path.split('.').try_fold(params, |value, key| value.get(key));
    Some(match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    })
}
