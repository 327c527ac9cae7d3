//! Comparisons and their combinations, for use inside `{{#if (…)}}`.

use std::cmp::Ordering;

use handlebars::{JsonTruthy, RenderErrorReason};
use serde_json::Value;

use super::Style;
use super::args::Args;

type Answer = Result<Value, RenderErrorReason>;

pub(super) fn eq(args: &Args<'_, '_>, _: Style) -> Answer {
    Ok(Value::Bool(args.value(0)? == args.value(1)?))
}

pub(super) fn ne(args: &Args<'_, '_>, _: Style) -> Answer {
    Ok(Value::Bool(args.value(0)? != args.value(1)?))
}

pub(super) fn lt(args: &Args<'_, '_>, _: Style) -> Answer {
    order(args).map(|order| Value::Bool(order.is_lt()))
}

pub(super) fn lte(args: &Args<'_, '_>, _: Style) -> Answer {
    order(args).map(|order| Value::Bool(order.is_le()))
}

pub(super) fn gt(args: &Args<'_, '_>, _: Style) -> Answer {
    order(args).map(|order| Value::Bool(order.is_gt()))
}

pub(super) fn gte(args: &Args<'_, '_>, _: Style) -> Answer {
    order(args).map(|order| Value::Bool(order.is_ge()))
}

pub(super) fn and(args: &Args<'_, '_>, _: Style) -> Answer {
    Ok(Value::Bool(args.all().all(|value| value.is_truthy(false))))
}

pub(super) fn or(args: &Args<'_, '_>, _: Style) -> Answer {
    Ok(Value::Bool(args.all().any(|value| value.is_truthy(false))))
}

pub(super) fn not(args: &Args<'_, '_>, _: Style) -> Answer {
    Ok(Value::Bool(!args.all().any(|value| value.is_truthy(false))))
}

/// Numbers by size, texts by code point (so ISO dates by time); anything else has no order.
fn order(args: &Args<'_, '_>) -> Result<Ordering, RenderErrorReason> {
    let (left, right) = (args.value(0)?, args.value(1)?);
    let order = match (left, right) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64().partial_cmp(&b.as_f64()),
        },
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    order
        .ok_or_else(|| args.fault(0, "can be compared only with a value of its own type, a number or a text"))
}
