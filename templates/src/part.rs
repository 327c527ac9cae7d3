//! One text of a template: parsed once, checked, rendered many times.
//!
//! Most of what a message holds is plain text, bare names and plain calls of helpers outside of blocks. These are written here,
//! straight from the variables; Handlebars walks the rest.

use std::fmt;
use std::io;

use handlebars::template::{HelperTemplate, Parameter, Template, TemplateElement};
use handlebars::{Context, Output, RenderContext, RenderErrorReason, Renderable, TemplateErrorReason};

use serde_json::Value;

use crate::error::{Problem, PublishError, RenderError};
use crate::helpers::{self, Call, Flavour, Style, value};
use crate::limits;
use crate::locale::Conventions;
use crate::scan;
use crate::variables::{self, Usage};

/// A parsed text, ready to render.
#[derive(Debug)]
pub(crate) struct Part {
    name: String,
    pieces: Vec<Piece>,
    flavour: Flavour,
    /// Bytes to reserve for the output.
    hint: usize,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    /// A bare top-level name and its place in the text.
    Name {
        name: String,
        line: usize,
        column: usize,
    },
    Call {
        call: Call,
        line: usize,
        column: usize,
    },
    Rest(Template),
}

impl Part {
    /// Parses `text`, checks every expression and adds the variables it reads to `usage`.
    pub(crate) fn parse(
        name: impl fmt::Display,
        text: &str,
        flavour: Flavour,
        usage: &mut Usage,
    ) -> Result<Self, PublishError> {
        let name = name.to_string();
        if text.len() > limits::SOURCE_BYTES {
            return Err(PublishError::of(
                name,
                format!("longer than {} bytes: shorten it", limits::SOURCE_BYTES),
            ));
        }
        let mut template = parse(text).map_err(|problem| problem.in_part(&name))?;
        variables::inspect(&template, usage).map_err(|problem| problem.in_part(&name))?;
        rewrite(&mut template);
        let pieces = pieces(template);
        Ok(Self { name, pieces, flavour, hint: text.len() + text.len() / 8 + 32 })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn render(
        &self,
        variables: &Context,
        conventions: Conventions,
    ) -> Result<String, RenderError> {
        let mut out = Bounded { text: String::with_capacity(self.hint), steps: limits::STEPS };
        let style = Style { conventions, flavour: self.flavour };
        let mut scope = None;
        for piece in &self.pieces {
            let written = match piece {
                Piece::Text(text) => out.write(text).map_err(Into::into),
                Piece::Name { name, line, column } => {
                    let value = variables.data().get(name).unwrap_or(&Value::Null);
                    value::write(value, name, self.flavour, &mut out).map_err(at(*line, *column))
                }
                Piece::Call { call, line, column } => {
                    call.write(variables.data(), style, &mut out).map_err(at(*line, *column))
                }
                Piece::Rest(template) => {
                    let scope = scope.get_or_insert_with(|| RenderContext::new(None));
                    template.render(helpers::engine(style), variables, scope, &mut out)
                }
            };
            written.map_err(|error| self.explain(&error))?;
        }
        Ok(out.text)
    }

    fn explain(&self, error: &handlebars::RenderError) -> RenderError {
        let part = self.name.clone();
        let value = |message: String| RenderError::Value {
            part: self.name.clone(),
            line: error.line_no.unwrap_or(1),
            column: error.column_no.unwrap_or(1),
            message,
        };
        match error.reason() {
            RenderErrorReason::MissingVariable(name) => {
                RenderError::MissingVariable { name: name.clone().unwrap_or_default(), part }
            }
            RenderErrorReason::Other(message) => value(message.clone()),
            RenderErrorReason::IOError(error) => RenderError::Limit { part, message: error.to_string() },
            RenderErrorReason::InvalidJsonIndex(_) => {
                value("a list has no named members: use {{#each}}".to_owned())
            }
            other => value(other.to_string()),
        }
    }
}

/// Parses `text` within the lexical rules of `scan`.
pub(crate) fn parse(text: &str) -> Result<Template, Problem> {
    scan::scan(text)?;
    Template::compile(text).map_err(|error| {
        let (line, column) = error.pos().unwrap_or((1, 1));
        let message = match error.reason() {
            TemplateErrorReason::MismatchingClosedHelper(open, close) => {
                format!("{{{{#{open}}}}} is closed by {{{{/{close}}}}}: close the inner block first")
            }
            TemplateErrorReason::InvalidSyntax(_) => {
                "this is no expression: write {{name}}, {{helper value}}, or close every {{#block}} with {{/block}}".to_owned()
            }
            other => other.to_string(),
        };
        Problem { line, column, message }
    })
}

/// Tells an error its place.
fn at(line: usize, column: usize) -> impl Fn(handlebars::RenderError) -> handlebars::RenderError {
    move |mut error| {
        error.line_no = Some(line);
        error.column_no = Some(column);
        error
    }
}

/// Makes every bare `{{name}}` a call of the helper that refuses null.
fn rewrite(template: &mut Template) {
    for element in &mut template.elements {
        match element {
            TemplateElement::Expression(call) if call.params.is_empty() && call.hash.is_empty() => bare(call),
            TemplateElement::HelperBlock(block) => {
                block.template.iter_mut().chain(block.inverse.iter_mut()).for_each(rewrite);
            }
            _ => {}
        }
    }
}

fn bare(call: &mut HelperTemplate) {
    let path = std::mem::replace(&mut call.name, Parameter::Name(helpers::VALUE.to_owned()));
    call.params.push(path);
}

fn pieces(template: Template) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (element, place) in template.elements.into_iter().zip(template.mapping) {
        match element {
            TemplateElement::RawString(text) => pieces.push(Piece::Text(text)),
            TemplateElement::Comment(_) => {}
            element => pieces.push(expression(&element, (place.0, place.1)).unwrap_or_else(|| {
                let mut rest = Template::new();
                rest.elements.push(element);
                rest.mapping.push(place);
                Piece::Rest(rest)
            })),
        }
    }
    pieces
}

/// What needs no engine.
fn expression(element: &TemplateElement, (line, column): (usize, usize)) -> Option<Piece> {
    let TemplateElement::Expression(call) = element else { return None };
    match (call.name.as_name(), call.params.as_slice()) {
        (Some(helpers::VALUE), [param]) => {
            helpers::top_level(param).map(|name| Piece::Name { name: name.to_owned(), line, column })
        }
        _ => Call::of(call).map(|call| Piece::Call { call, line, column }),
    }
}

/// An output that ends a rendering which writes too much or goes on too long.
struct Bounded {
    text: String,
    steps: usize,
}

impl Output for Bounded {
    fn write(&mut self, segment: &str) -> io::Result<()> {
        let Some(steps) = self.steps.checked_sub(1) else {
            return Err(io::Error::other("the loops go round too often: shorten the lists"));
        };
        self.steps = steps;
        if self.text.len() + segment.len() > limits::OUTPUT_BYTES {
            let message =
                format!("longer than {} bytes: shorten the text or its values", limits::OUTPUT_BYTES);
            return Err(io::Error::other(message));
        }
        self.text.push_str(segment);
        Ok(())
    }
}
