//! What an author must fix, and where; what a recipient's data lack.
//!
//! No message holds a value of a recipient: errors are logged and shown to staff.

use thiserror::Error;

/// Why a source cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PublishError {
    /// A part cannot be read as a template; `message` says what to do.
    #[error("{part}, line {line}, column {column}: {message}")]
    At { part: String, line: usize, column: usize, message: String },
    /// A part as a whole breaks a rule.
    #[error("{part}: {message}")]
    Part { part: String, message: String },
}

impl PublishError {
    /// The part of the source that must be changed: `subject`, `html`, `mjml`, `text`, `preheader`, `sms`, `whatsapp.…`, `in_app.…`.
    #[must_use]
    pub fn part(&self) -> &str {
        match self {
            Self::At { part, .. } | Self::Part { part, .. } => part,
        }
    }

    pub(crate) fn of(part: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Part { part: part.into(), message: message.into() }
    }
}

/// Why one message cannot be rendered. The template is sound: this recipient's variables do not fit it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RenderError {
    #[error("the variables must be a JSON object")]
    NotAnObject,
    #[error(
        "{part} needs the variable `{name}`, which is missing or null: provide it, or write {{{{default {name} \"…\"}}}}"
    )]
    MissingVariable { name: String, part: String },
    /// A value of the wrong type, or that a helper cannot format.
    #[error("{part}, line {line}, column {column}: {message}")]
    Value { part: String, line: usize, column: usize, message: String },
    #[error("{part} rendered to nothing: give its variables a value or a default")]
    Empty { part: String },
    /// The rendered text breaks a limit of the channel.
    #[error("{part}: {message}")]
    Limit { part: String, message: String },
}

/// A fault at a place of one part's text, before the part is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Self { line, column, message: message.into() }
    }

    pub(crate) fn in_part(self, part: impl Into<String>) -> PublishError {
        PublishError::At { part: part.into(), line: self.line, column: self.column, message: self.message }
    }
}
