//! Which variables a parsed part reads, and whether its calls make sense.
//!
//! Only top-level names count: inside `{{#each items}}` a plain name belongs to the item. A variable is *required* when a value is
//! needed wherever it is written, *optional* when it is only asked about (`{{#if}}`, `{{default}}`) or read under its own `{{#if}}`.

use std::collections::BTreeSet;

use handlebars::template::{BlockParam, HelperTemplate, Parameter, Template, TemplateElement};
use handlebars::{Path, PathSeg};
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::helpers::spec::{self, Form, Spec};
use crate::limits;

/// The top-level variables of a published template, sorted by name; no name is in both lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variables {
    /// A value must be given.
    pub required: Vec<String>,
    /// The template copes without.
    pub optional: Vec<String>,
}

impl Variables {
    /// Required and optional names.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.required.iter().chain(&self.optional).map(String::as_str)
    }
}

/// The names found so far, over the parts of one source.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    needed: BTreeSet<String>,
    asked: BTreeSet<String>,
}

impl Usage {
    pub(crate) fn into_variables(self) -> Variables {
        let optional = self.asked.difference(&self.needed).cloned().collect();
        Variables { required: self.needed.into_iter().collect(), optional }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Value,
    Asked,
}

/// Checks every element of `template` and adds the variables it reads to `usage`.
pub(crate) fn inspect(template: &Template, usage: &mut Usage) -> Result<(), Problem> {
    Walk { usage, scopes: Vec::new(), guards: Vec::new(), loops: 0 }.template(template)
}

struct Walk<'a> {
    usage: &'a mut Usage,
    /// The block parameters of each `each` and `with` around the current place.
    scopes: Vec<Vec<String>>,
    /// Names that the `if`s around the current place have made sure of.
    guards: Vec<String>,
    loops: usize,
}

impl Walk<'_> {
    fn template(&mut self, template: &Template) -> Result<(), Problem> {
        for (i, element) in template.elements.iter().enumerate() {
            self.element(element).map_err(|fault| match fault {
                Fault::Here(message) => {
                    let (line, column) = template.mapping.get(i).map_or((1, 1), |place| (place.0, place.1));
                    Problem { line, column, message }
                }
                Fault::Inside(problem) => problem,
            })?;
        }
        Ok(())
    }

    fn element(&mut self, element: &TemplateElement) -> Result<(), Fault> {
        match element {
            TemplateElement::RawString(_) | TemplateElement::Comment(_) => Ok(()),
            TemplateElement::Expression(call) => {
                match (&call.name, call.params.is_empty() && call.hash.is_empty()) {
                    (Parameter::Path(path), true) => self.path(path, Need::Value),
                    (Parameter::Literal(_) | Parameter::Subexpression(_), _) => {
                        Err("write a variable, or a helper without parentheses around it, in the braces"
                            .into())
                    }
                    _ => self.inline(call),
                }
            }
            TemplateElement::HelperBlock(block) => self.block(block),
            _ => Err("partials, decorators and unescaped output are not available".into()),
        }
    }

    fn inline(&mut self, call: &HelperTemplate) -> Result<(), Fault> {
        let spec = find(&call.name, Form::Inline)?;
        self.arguments(spec, &call.params, call.hash.iter().map(|(name, value)| (name.as_str(), value)))
    }

    fn arguments<'p>(
        &mut self,
        spec: &Spec,
        params: &[Parameter],
        hash: impl Iterator<Item = (&'p str, &'p Parameter)>,
    ) -> Result<(), Fault> {
        let hash: Vec<_> = hash.collect();
        spec.check(params, &hash)?;
        for (i, param) in params.iter().enumerate() {
            let need = if spec.asks(i) { Need::Asked } else { Need::Value };
            self.parameter(param, need)?;
        }
        for (_, value) in hash {
            self.parameter(value, Need::Value)?;
        }
        Ok(())
    }

    fn parameter(&mut self, parameter: &Parameter, need: Need) -> Result<(), Fault> {
        match parameter {
            Parameter::Literal(_) => Ok(()),
            Parameter::Path(path) => self.path(path, need),
            Parameter::Subexpression(call) => {
                let (Some(params), Some(hash)) = (call.params(), call.hash()) else {
                    return Err(
                        "the parentheses must hold a helper and its values, as in (eq status \"paid\")"
                            .into(),
                    );
                };
                let TemplateElement::Expression(inner) = call.as_element() else {
                    return Err("the parentheses must hold a helper and its values".into());
                };
                let spec = find(&inner.name, Form::Inline)?;
                self.arguments(spec, params, hash.iter().map(|(name, value)| (name.as_str(), value)))
            }
            _ => {
                Err("a value must be a variable, a text in quotes, a number or a helper in parentheses"
                    .into())
            }
        }
    }

    fn block(&mut self, block: &HelperTemplate) -> Result<(), Fault> {
        let spec = find(&block.name, Form::Block)?;
        let hash: Vec<_> = block.hash.iter().map(|(name, value)| (name.as_str(), value)).collect();
        spec.check(&block.params, &hash)?;
        let scoped = matches!(spec.name, "each" | "with");
        let need = if scoped && block.inverse.is_none() { Need::Value } else { Need::Asked };
        for param in &block.params {
            self.parameter(param, need)?;
        }
        if scoped {
            self.scoped(spec, block)?;
        } else {
            self.conditional(spec, block)?;
        }
        Ok(())
    }

    fn scoped(&mut self, spec: &Spec, block: &HelperTemplate) -> Result<(), Fault> {
        let looping = usize::from(spec.name == "each");
        self.loops += looping;
        if self.loops > limits::LOOP_DEPTH {
            return Err(format!(
                "loops are nested more than {} deep: prepare the list beforehand",
                limits::LOOP_DEPTH
            )
            .into());
        }
        self.scopes.push(block_names(block.block_param.as_ref()));
        block.template.as_ref().map_or(Ok(()), |body| self.template(body))?;
        self.scopes.pop();
        self.loops -= looping;
        Ok(block.inverse.as_ref().map_or(Ok(()), |body| self.template(body))?)
    }

    fn conditional(&mut self, spec: &Spec, block: &HelperTemplate) -> Result<(), Fault> {
        let (sure, unsure) = match spec.name {
            "unless" => (&block.inverse, &block.template),
            _ => (&block.template, &block.inverse),
        };
        let before = self.guards.len();
        for param in &block.params {
            self.guard(param);
        }
        sure.as_ref().map_or(Ok(()), |body| self.template(body))?;
        self.guards.truncate(before);
        Ok(unsure.as_ref().map_or(Ok(()), |body| self.template(body))?)
    }

    /// Notes what holds when `condition` does: `x`, and both of `(and x y)`.
    fn guard(&mut self, condition: &Parameter) {
        match condition {
            Parameter::Path(path) => {
                if let Ok(Some(name)) = self.top_level(path) {
                    self.guards.push(name.to_owned());
                }
            }
            Parameter::Subexpression(call) if call.name() == "and" => {
                call.params().into_iter().flatten().for_each(|param| self.guard(param));
            }
            _ => {}
        }
    }

    fn path(&mut self, path: &Path, need: Need) -> Result<(), Fault> {
        if let Some(name) = self.top_level(path)? {
            let guarded = self.guards.iter().any(|guard| guard == name);
            let set =
                if need == Need::Value && !guarded { &mut self.usage.needed } else { &mut self.usage.asked };
            set.insert(name.to_owned());
        }
        Ok(())
    }

    /// The top-level name that `path` reads, or `None` when it belongs to a block.
    fn top_level<'p>(&self, path: &'p Path) -> Result<Option<&'p str>, Fault> {
        let Path::Relative((segments, raw)) = path else {
            return if self.loops > 0 {
                Ok(None)
            } else {
                Err("@-variables exist only inside {{#each}}".into())
            };
        };
        let first = segments.iter().find_map(|segment| match segment {
            PathSeg::Named(name) => Some(name.as_str()),
            _ => None,
        });
        if raw.starts_with("@root") {
            return first.map(Some).ok_or_else(|| "name a variable after @root".into());
        }
        let climbs = raw.matches("../").count();
        if climbs > self.scopes.len() {
            return Err(
                "`../` climbs above the template: remove it (only {{#each}} and {{#with}} make a level)"
                    .into(),
            );
        }
        match first {
            None if self.scopes.is_empty() => {
                Err("`this` means something only inside {{#each}} and {{#with}}".into())
            }
            Some(name) if climbs == self.scopes.len() && !self.is_block_name(name) => Ok(Some(name)),
            _ => Ok(None),
        }
    }

    fn is_block_name(&self, name: &str) -> bool {
        self.scopes.iter().flatten().any(|own| own == name)
    }
}

/// A fault at the element being looked at, or one that knows its place already.
enum Fault {
    Here(String),
    Inside(Problem),
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        Self::Here(message.to_owned())
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self::Here(message)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Inside(problem)
    }
}

fn find(name: &Parameter, form: Form) -> Result<&'static Spec, Fault> {
    let Some(name) = name.as_name() else {
        return Err("a helper must be called by its name".into());
    };
    Ok(spec::find(name, form)?)
}

fn block_names(params: Option<&BlockParam>) -> Vec<String> {
    let name = |parameter: &Parameter| parameter.as_name().unwrap_or_default().to_owned();
    match params {
        Some(BlockParam::Single(item)) => vec![name(item)],
        Some(BlockParam::Pair((item, index))) => vec![name(item), name(index)],
        _ => Vec::new(),
    }
}
