//! The TOML file, read into the tree with the line of every value.

use std::path::Path;

use toml::{
    Spanned, Value,
    de::{DeTable, DeValue},
};

use super::{
    error::{ConfigError, ConfigErrors, Instead, all_or_nothing},
    sections::SECTIONS,
    tree::{Block, Keys, Origin, Tree},
};

pub(super) fn read(path: &Path, tree: &mut Tree) -> Result<(), ConfigErrors> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.display().to_string(),
        problem: error.to_string(),
    })?;
    let file = File { path, text: &text };
    let table = DeTable::parse(&text).map_err(|error| ConfigError::Syntax {
        origin: file.at(error.span().map_or(0, |span| span.start)),
        problem: error.message().to_owned(),
    })?;
    let mut errors = Vec::new();
    for (name, value) in table.get_ref() {
        if let Err(error) = file.top(name, value, tree) {
            errors.push(error);
        }
    }
    all_or_nothing(errors)
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn at(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(self.text);
        Origin::File { path: self.path.to_owned(), line: before.matches('\n').count() + 1 }
    }

    fn top(&self, name: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>, tree: &mut Tree) -> Result<(), ConfigError> {
        let (key, origin) = (name.get_ref().to_string(), self.at(name.span().start));
        match (key.as_str(), value.get_ref()) {
            ("tenants", DeValue::Array(blocks)) => tree.tenants = self.blocks(&key, blocks)?,
            ("accounts", DeValue::Array(blocks)) => tree.accounts = self.blocks(&key, blocks)?,
            ("tenants" | "accounts", _) => {
                let problem = format!("is a list: write [[{key}]]");
                return Err(ConfigError::Value { key, origin, problem });
            }
            (_, DeValue::Table(table)) => self.flatten(&key, table, &mut tree.sections),
            _ => {
                let known = SECTIONS.iter().map(|section| section.name);
                return Err(ConfigError::Unknown { instead: Instead::of(&key, known), key, origin });
            }
        }
        Ok(())
    }

    fn blocks(&self, key: &str, blocks: &[Spanned<DeValue<'_>>]) -> Result<Vec<Block>, ConfigError> {
        blocks
            .iter()
            .map(|block| {
                let origin = self.at(block.span().start);
                let DeValue::Table(table) = block.get_ref() else {
                    let problem = format!("holds something that is no table: write [[{key}]]");
                    return Err(ConfigError::Value { key: key.to_owned(), origin, problem });
                };
                let mut keys = Keys::default();
                self.flatten("", table, &mut keys);
                Ok(Block { origin, keys })
            })
            .collect()
    }

    fn flatten(&self, prefix: &str, table: &DeTable<'_>, keys: &mut Keys) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            match value.get_ref() {
                DeValue::Table(inner) => self.flatten(&key, inner, keys),
                other => keys.set(key, plain(other), self.at(name.span().start)),
            }
        }
    }
}

/// The value without its places.
fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(yes) => Value::Boolean(*yes),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.as_str().to_owned()), Value::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| Value::String(number.as_str().to_owned()), Value::Float)
        }
        DeValue::Datetime(moment) => Value::Datetime(*moment),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| plain(item.get_ref())).collect()),
        DeValue::Table(table) => {
            Value::Table(table.iter().map(|(name, value)| (name.get_ref().to_string(), plain(value.get_ref()))).collect())
        }
    }
}
