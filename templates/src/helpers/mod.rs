//! The helpers, and the engines that hold them.
//!
//! An engine is a Handlebars registry without templates: helpers bound to one set of [`Conventions`] and one [`Flavour`] of text.
//! All exist once per process and are never changed, so a template is parsed once and rendered for every locale.

mod args;
mod each;
mod logic;
mod money;
mod number;
mod text;

pub(crate) mod date;
pub(crate) mod spec;
pub(crate) mod value;

use std::sync::LazyLock;

use handlebars::template::{HelperTemplate, Parameter};
use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonRender, Output, Path, PathSeg, RenderContext,
    RenderError, RenderErrorReason, ScopedJson,
};
use serde_json::Value;

use crate::locale::Conventions;
use args::{Args, Operand};

/// The kind of text a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Values are escaped.
    Html,
    Plain,
    /// As plain; where a choice exists, characters of the seven-bit alphabet are preferred.
    Sms,
}

/// What a formatting helper is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) conventions: Conventions,
    pub(crate) flavour: Flavour,
}

impl Style {
    /// A space that keeps figures and units together, where the channel affords one.
    pub(crate) fn joiner(self) -> char {
        if self.flavour == Flavour::Sms { ' ' } else { '\u{a0}' }
    }
}

/// The name that part parsing gives to the helper behind a bare `{{name}}`; no author can write it.
pub(crate) const VALUE: &str = "=value";

static ENGINES: LazyLock<Vec<(Conventions, Flavour, Handlebars<'static>)>> = LazyLock::new(|| {
    let flavours = [Flavour::Html, Flavour::Plain, Flavour::Sms];
    let pairs = Conventions::ALL.into_iter().flat_map(|c| flavours.map(|f| (c, f)));
    pairs
        .map(|(conventions, flavour)| (conventions, flavour, build(Style { conventions, flavour })))
        .collect()
});

pub(crate) fn engine(Style { conventions, flavour }: Style) -> &'static Handlebars<'static> {
    let found = ENGINES.iter().find(|(c, f, _)| (*c, *f) == (conventions, flavour));
    &found.expect("an engine is built for every pair").2
}

type Run = fn(&Args<'_, '_>, Style) -> Result<Value, RenderErrorReason>;

const INLINE: &[(&str, Run)] = &[
    ("eq", logic::eq),
    ("ne", logic::ne),
    ("lt", logic::lt),
    ("lte", logic::lte),
    ("gt", logic::gt),
    ("gte", logic::gte),
    ("and", logic::and),
    ("or", logic::or),
    ("not", logic::not),
    ("date", date::date),
    ("money", money::money),
    ("number", number::number),
    ("plural", number::plural),
    ("default", text::default),
    ("upper", text::upper),
    ("lower", text::lower),
    ("short_link", text::short_link),
    ("url_encode", text::url_encode),
];

fn build(style: Style) -> Handlebars<'static> {
    let mut engine = Handlebars::new();
    engine.set_strict_mode(true);
    if style.flavour != Flavour::Html {
        engine.register_escape_fn(handlebars::no_escape);
    }
    for &(name, run) in INLINE {
        engine.register_helper(name, Box::new(Inline { name, run, style }));
    }
    engine.register_helper("each", Box::new(each::Each));
    engine.register_helper(VALUE, Box::new(value::Bare { flavour: style.flavour }));
    engine
}

/// A call, outside of blocks, of a helper whose values are top-level variables and literals: nothing has to be worked out, so
/// no engine is asked.
#[derive(Debug)]
pub(crate) struct Call {
    name: &'static str,
    run: Run,
    operands: Vec<Operand>,
}

impl Call {
    pub(crate) fn of(call: &HelperTemplate) -> Option<Self> {
        let &(name, run) = INLINE.iter().find(|(name, _)| call.name.as_name() == Some(name))?;
        let operand = |param: &Parameter| match param {
            Parameter::Literal(value) => Some(Operand::Literal(value.clone())),
            _ => top_level(param).map(|name| Operand::Name(name.to_owned())),
        };
        let operands = call.params.iter().map(operand).collect::<Option<Vec<_>>>()?;
        (!operands.is_empty() && call.hash.is_empty()).then_some(Self { name, run, operands })
    }

    pub(crate) fn write(&self, variables: &Value, style: Style, out: &mut dyn Output) -> HelperResult {
        match (self.run)(&Args::direct(self.name, &self.operands, variables), style)? {
            Value::String(text) => value::write_text(&text, style.flavour, out),
            other => value::write_text(&other.render(), style.flavour, out),
        }
    }
}

/// The name of a top-level variable, where the parameter is nothing else.
pub(crate) fn top_level(param: &Parameter) -> Option<&str> {
    match param {
        Parameter::Path(Path::Relative((segments, raw))) => match segments.as_slice() {
            [PathSeg::Named(name)] if name == raw => Some(name),
            _ => None,
        },
        _ => None,
    }
}

struct Inline {
    name: &'static str,
    run: Run,
    style: Style,
}

impl HelperDef for Inline {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let args = Args::of_engine(self.name, helper);
        Ok(ScopedJson::Derived((self.run)(&args, self.style)?))
    }
}
