//! Values by their dotted key, each with where it came from.

use std::{collections::BTreeMap, path::PathBuf};

use toml::{Table, Value};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "${name}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub value: Value,
    pub origin: Origin,
}

/// A table without nesting: `webhook_auth.bearer.token` is one key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keys(BTreeMap<String, Entry>);

impl Keys {
    pub fn set(&mut self, key: impl Into<String>, value: Value, origin: Origin) {
        self.0.insert(key.into(), Entry { value, origin });
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.get(key)
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(|entry| entry.value.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// The nested table again, of the keys that `wanted` picks.
    pub(super) fn table(&self, wanted: impl Fn(&str) -> bool) -> Table {
        let mut table = Table::new();
        for (key, entry) in self.0.iter().filter(|(key, _)| wanted(key)) {
            let mut at = &mut table;
            let mut path = key.split('.').peekable();
            while let Some(part) = path.next() {
                if path.peek().is_none() {
                    at.insert(part.to_owned(), entry.value.clone());
                    break;
                }
                let inner = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
                // A value and a table of the same name: the table wins, and the reader of it complains.
                if !inner.is_table() {
                    *inner = Value::Table(Table::new());
                }
                at = inner.as_table_mut().expect("just made one");
            }
        }
        table
    }
}

/// One `[[tenants]]` or `[[accounts]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Where its header stands.
    pub origin: Origin,
    pub keys: Keys,
}

/// What file and environment say; a key that none of them names is not here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree {
    /// `section.key`.
    pub sections: Keys,
    pub tenants: Vec<Block>,
    pub accounts: Vec<Block>,
}

impl Tree {
    /// Where the value of `section.key` came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.sections.get(key).map_or(Origin::Default, |entry| entry.origin.clone())
    }
}
