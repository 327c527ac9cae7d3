//! A helper's view of its values: the checks that every helper makes, made once.

use std::borrow::Cow;

use handlebars::{Helper, PathAndJson, RenderErrorReason};
use serde_json::Value;

use crate::limits;

pub(super) struct Args<'h, 'rc> {
    name: &'static str,
    source: Source<'h, 'rc>,
}

/// Who holds the values.
enum Source<'h, 'rc> {
    /// Handlebars, which has worked them out.
    Engine(&'h Helper<'rc>),
    Direct {
        operands: &'h [Operand],
        variables: &'h Value,
    },
}

/// A value of a call that needs nothing worked out.
#[derive(Debug)]
pub(super) enum Operand {
    /// Of the top-level variable.
    Name(String),
    Literal(Value),
}

pub(super) struct Param<'h> {
    path: Option<&'h str>,
    /// Null also where it is missing.
    value: &'h Value,
}

impl<'h> From<&'h PathAndJson<'_>> for Param<'h> {
    fn from(param: &'h PathAndJson<'_>) -> Self {
        Self { path: param.relative_path().map(String::as_str), value: param.value() }
    }
}

impl<'h, 'rc> Args<'h, 'rc> {
    pub(super) fn of_engine(name: &'static str, helper: &'h Helper<'rc>) -> Self {
        Self { name, source: Source::Engine(helper) }
    }

    pub(super) fn direct(name: &'static str, operands: &'h [Operand], variables: &'h Value) -> Self {
        Self { name, source: Source::Direct { operands, variables } }
    }

    fn param(&self, index: usize) -> Option<Param<'h>> {
        match self.source {
            Source::Engine(helper) => helper.param(index).map(Param::from),
            Source::Direct { operands, variables } => Some(match operands.get(index)? {
                Operand::Name(name) => {
                    Param { path: Some(name), value: variables.get(name).unwrap_or(&Value::Null) }
                }
                Operand::Literal(value) => Param { path: None, value },
            }),
        }
    }

    /// The value at `index`; missing and null are errors that name the variable.
    pub(super) fn value(&self, index: usize) -> Result<&'h Value, RenderErrorReason> {
        present(self.param(index).ok_or(RenderErrorReason::ParamNotFoundForIndex(self.name, index))?)
    }

    /// The value at `index`, when there is one.
    pub(super) fn asked(&self, index: usize) -> Option<&'h Value> {
        self.param(index).map(|param| param.value).filter(|value| !value.is_null())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'h Value> {
        (0..).map_while(|index| Some(self.param(index)?.value))
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
        let Source::Engine(helper) = self.source else { return Ok(None) };
        helper.hash_get(name).map(Param::from).map(present).transpose()
    }

    pub(super) fn wrong(&self, index: usize, expected: &str, found: &Value) -> RenderErrorReason {
        self.fault(index, &format!("must be {expected}, but is {}", kind(found)))
    }

    /// An error about the value at `index`; `what` follows the name of the variable.
    pub(super) fn fault(&self, index: usize, what: &str) -> RenderErrorReason {
        let path = self.param(index).and_then(|param| param.path);
        let subject = path.map_or_else(|| format!("value {}", index + 1), |path| format!("`{path}`"));
        RenderErrorReason::Other(format!("{subject} {what} (in the helper `{}`)", self.name))
    }
}

pub(super) fn present(param: Param<'_>) -> Result<&Value, RenderErrorReason> {
    if param.value.is_null() {
        return Err(RenderErrorReason::MissingVariable(Some(param.path.unwrap_or_default().to_owned())));
    }
    Ok(param.value)
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
