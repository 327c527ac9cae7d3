//! A bare `{{name}}`: writes a scalar, and refuses what has no text of its own.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderErrorReason,
};
use serde_json::Value;

use super::Flavour;
use super::args::kind;

/// The helper behind a bare name inside a block.
pub(super) struct Bare {
    pub(super) flavour: Flavour,
}

impl HelperDef for Bare {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let param = helper.param(0).ok_or(RenderErrorReason::ParamNotFoundForIndex("value", 0))?;
        write(param.value(), param.relative_path().map_or("", String::as_str), self.flavour, out)
    }
}

/// Writes the value of the variable at `path`; null stands for missing.
pub(crate) fn write(value: &Value, path: &str, flavour: Flavour, out: &mut dyn Output) -> HelperResult {
    match value {
        Value::String(text) => write_text(text, flavour, out)?,
        Value::Number(number) => out.write(&number.to_string())?,
        Value::Bool(flag) => out.write(if *flag { "true" } else { "false" })?,
        Value::Null => return Err(RenderErrorReason::MissingVariable(Some(path.to_owned())).into()),
        Value::Array(_) | Value::Object(_) => {
            let hint =
                if value.is_array() { "{{#each}} writes lists" } else { "{{money …}} writes an amount" };
            let message = format!("`{path}` must be a text or a number, but is {}: {hint}", kind(value));
            return Err(RenderErrorReason::Other(message).into());
        }
    }
    Ok(())
}

/// As its kind of text has it: what would be markup in HTML is escaped.
pub(crate) fn write_text(text: &str, flavour: Flavour, out: &mut dyn Output) -> HelperResult {
    const MARKUP: &[char] = &['<', '>', '&', '"', '\'', '=', '`'];
    if flavour == Flavour::Html && text.contains(MARKUP) {
        out.write(&handlebars::html_escape(text))?;
    } else {
        out.write(text)?;
    }
    Ok(())
}
