//! `{{#each items}}`: bounded, over lists only.
//!
//! It replaces the library's loop because that one has no bound and walks objects in an order of its own. A round counts as steps of
//! the part's output, one for each thing that stands in it, so that loops end soon that ask much and write nothing.

use handlebars::template::{Template, TemplateElement};
use handlebars::{
    BlockContext, BlockParamHolder, Context, Handlebars, Helper, HelperDef, HelperResult, Output,
    RenderContext, RenderErrorReason, Renderable,
};
use serde_json::{Value, json};

use super::args::{kind, present};
use crate::limits;

pub(super) struct Each;

impl HelperDef for Each {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        engine: &'reg Handlebars<'reg>,
        context: &'rc Context,
        scope: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let param = helper.param(0).ok_or(RenderErrorReason::ParamNotFoundForIndex("each", 0))?;
        let items = match present(param.into()) {
            Ok(Value::Array(items)) => items.as_slice(),
            Ok(other) => {
                let path = param.relative_path().map_or("", String::as_str);
                let message =
                    format!("`{path}` must be a list, but is {} (in the helper `each`)", kind(other));
                return Err(RenderErrorReason::Other(message).into());
            }
            Err(_) if helper.inverse().is_some() => &[],
            Err(missing) => return Err(missing.into()),
        };
        if items.len() > limits::LOOP_ITEMS {
            let message =
                format!("`each` writes at most {} items, but got {}", limits::LOOP_ITEMS, items.len());
            return Err(RenderErrorReason::Other(message).into());
        }
        if items.is_empty() {
            return helper.inverse().map_or(Ok(()), |inverse| inverse.render(engine, context, scope, out));
        }
        let Some(body) = helper.template() else {
            return Ok(());
        };
        let steps = weight(body);
        for (i, item) in items.iter().enumerate() {
            for _ in 0..steps {
                out.write("")?;
            }
            let path = param.context_path().map(|path| [path.as_slice(), &[i.to_string()]].concat());
            scope.push_block(round(helper, path, item, i, items.len()));
            body.render(engine, context, scope, out)?;
            scope.pop_block();
        }
        Ok(())
    }
}

/// The things that a round may look at, and one for the round.
fn weight(body: &Template) -> usize {
    let inside = |inner: Option<&Template>| inner.map_or(0, weight);
    let elements = body.elements.iter().map(|element| match element {
        TemplateElement::HelperBlock(block) => {
            inside(block.template.as_ref()) + inside(block.inverse.as_ref())
        }
        _ => 1,
    });
    1 + elements.sum::<usize>()
}

/// The scope of one round: the item is `this`, by its path in the variables where it has one.
fn round<'rc>(
    helper: &Helper<'rc>,
    path: Option<Vec<String>>,
    item: &Value,
    index: usize,
    length: usize,
) -> BlockContext<'rc> {
    let mut block = BlockContext::new();
    block.set_local_var("index", json!(index));
    block.set_local_var("first", json!(index == 0));
    block.set_local_var("last", json!(index + 1 == length));
    let (name, key) = match helper.block_param_pair() {
        Some((name, key)) => (Some(name), Some(key)),
        None => (helper.block_param(), None),
    };
    if let Some(name) = name {
        let holder = if path.is_some() {
            BlockParamHolder::path(Vec::new())
        } else {
            BlockParamHolder::value(item.clone())
        };
        block.set_block_param(name, holder);
    }
    if let Some(key) = key {
        block.set_block_param(key, BlockParamHolder::value(json!(index)));
    }
    match path {
        Some(path) => *block.base_path_mut() = path,
        None => block.set_base_value(item.clone()),
    }
    block
}
