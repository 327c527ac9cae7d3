//! A helper's view of its values: the checks that every helper makes, made once.

use std::borrow::Cow;

use handlebars::{Helper, PathAndJson, RenderErrorReason};
use serde_json::Value;

use crate::limits;

pub(super) struct Args<'h, 'rc> {
    name: &'static str,
    helper: &'h Helper<'rc>,
}

impl<'h, 'rc> Args<'h, 'rc> {
    pub(super) fn new(name: &'static str, helper: &'h Helper<'rc>) -> Self {
        Self { name, helper }
    }

    /// The value at `index`; missing and null are errors that name the variable.
    pub(super) fn value(&self, index: usize) -> Result<&'h Value, RenderErrorReason> {
        let param =
            self.helper.param(index).ok_or(RenderErrorReason::ParamNotFoundForIndex(self.name, index))?;
        present(param)
    }

    /// The value at `index`, when there is one.
    pub(super) fn asked(&self, index: usize) -> Option<&'h Value> {
        self.helper.param(index).map(PathAndJson::value).filter(|value| !value.is_null())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'h Value> {
        self.helper.params().iter().map(PathAndJson::value)
    }

    /// The value at `index` as text; numbers count as text.
    pub(super) fn text(&self, index: usize) -> Result<Cow<'h, str>, RenderErrorReason> {
        match self.value(index)? {
            Value::String(text) if text.len() > limits::HELPER_BYTES => {
                Err(self.fault(index, &format!("is longer than {} bytes", limits::HELPER_BYTES)))
            }
            Value::String(text) => Ok(Cow::Borrowed(text)),
            Value::Number(number) => Ok(Cow::Owned(number.to_string())),
            other => Err(self.wrong(index, "a text", other)),
        }
    }

    pub(super) fn option(&self, name: &str) -> Result<Option<&'h Value>, RenderErrorReason> {
        self.helper.hash_get(name).map(present).transpose()
    }

    pub(super) fn wrong(&self, index: usize, expected: &str, found: &Value) -> RenderErrorReason {
        self.fault(index, &format!("must be {expected}, but is {}", kind(found)))
    }

    /// An error about the value at `index`; `what` follows the name of the variable.
    pub(super) fn fault(&self, index: usize, what: &str) -> RenderErrorReason {
        let path = self.helper.param(index).and_then(PathAndJson::relative_path);
        let subject = path.map_or_else(|| format!("value {}", index + 1), |path| format!("`{path}`"));
        RenderErrorReason::Other(format!("{subject} {what} (in the helper `{}`)", self.name))
    }
}

pub(super) fn present<'h>(param: &'h PathAndJson<'_>) -> Result<&'h Value, RenderErrorReason> {
    if param.is_value_missing() || param.value().is_null() {
        return Err(RenderErrorReason::MissingVariable(Some(
            param.relative_path().cloned().unwrap_or_default(),
        )));
    }
    Ok(param.value())
}

/// The type of a value as a person calls it; never the value itself.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
