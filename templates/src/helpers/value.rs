//! A bare `{{name}}`: writes a scalar, and refuses what has no text of its own.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderErrorReason,
};
use serde_json::Value;

use super::args::{kind, present};

pub(super) struct Bare;

impl HelperDef for Bare {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        engine: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let param = helper.param(0).ok_or(RenderErrorReason::ParamNotFoundForIndex("value", 0))?;
        match present(param)? {
            Value::String(text) => out.write(&engine.get_escape_fn()(text))?,
            Value::Number(number) => out.write(&number.to_string())?,
            Value::Bool(flag) => out.write(if *flag { "true" } else { "false" })?,
            other => {
                let path = param.relative_path().map_or("", String::as_str);
                let hint = if other.is_array() {
                    "{{#each}} writes lists"
                } else {
                    "{{money …}} writes an amount"
                };
                let message = format!("`{path}` must be a text or a number, but is {}: {hint}", kind(other));
                return Err(RenderErrorReason::Other(message).into());
            }
        }
        Ok(())
    }
}
