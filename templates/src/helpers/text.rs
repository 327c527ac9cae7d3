//! `default`, `upper`, `lower`, `short_link`, `url_encode`.

use std::fmt::Write;

use handlebars::RenderErrorReason;
use serde_json::Value;

use super::Style;
use super::args::Args;

type Answer = Result<Value, RenderErrorReason>;

/// The first value unless it is missing, null or blank; then the second.
pub(super) fn default(args: &Args<'_, '_>, _: Style) -> Answer {
    let given = args.asked(0).filter(|value| !value.as_str().is_some_and(|text| text.trim().is_empty()));
    match given {
        Some(value @ (Value::Array(_) | Value::Object(_))) => Err(args.wrong(0, "a text or a number", value)),
        Some(value) => Ok(value.clone()),
        None => args.value(1).cloned(),
    }
}

pub(super) fn upper(args: &Args<'_, '_>, _: Style) -> Answer {
    Ok(Value::String(args.text(0)?.to_uppercase()))
}

pub(super) fn lower(args: &Args<'_, '_>, _: Style) -> Answer {
    Ok(Value::String(args.text(0)?.to_lowercase()))
}

/// The address itself. Where links are tracked, a short one has been written in its place; see [`crate::Published::tracked`].
pub(super) fn short_link(args: &Args<'_, '_>, _: Style) -> Answer {
    Ok(Value::String(args.text(0)?.to_string()))
}

/// Percent-encodes all but the unreserved characters of RFC 3986: fit for one path segment or query value.
pub(super) fn url_encode(args: &Args<'_, '_>, _: Style) -> Answer {
    let text = args.text(0)?;
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").map_err(|e| RenderErrorReason::Other(e.to_string()))?;
        }
    }
    Ok(Value::String(out))
}
