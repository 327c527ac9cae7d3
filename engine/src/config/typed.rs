//! From the tree to the typed sections. Each key is read by itself, so that an error can name it.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{
    accounts,
    error::{ConfigError, ConfigErrors, Instead},
    sections::{Config, SECTIONS},
    tree::{Entry, Tree},
};

pub(super) fn config(tree: &Tree) -> Result<Config, ConfigErrors> {
    let mut errors: Vec<ConfigError> =
        tree.sections.iter().filter_map(|(key, entry)| known(key, entry).err()).collect();
    let mut reader = Reader { tree, errors: &mut errors };
    let mut config = Config {
        database: reader.section("database"),
        redis: reader.section("redis"),
        api: reader.section("api"),
        auth: reader.section("auth"),
        public: reader.section("public"),
        log: reader.section("log"),
        worker: reader.section("worker"),
        recorder: reader.section("recorder"),
        launch: reader.section("launch"),
        queue: reader.section("queue"),
        http: reader.section("http"),
        imports: reader.section("imports"),
        unknown: reader.section("unknown"),
        retention: reader.section("retention"),
        tenants: Vec::new(),
        accounts: Vec::new(),
    };
    config.tenants = accounts::tenants(&tree.tenants, &mut errors);
    config.accounts = accounts::accounts(&tree.accounts, &mut errors);
    if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
}

fn known(key: &str, entry: &Entry) -> Result<(), ConfigError> {
    let unknown =
        |instead| ConfigError::Unknown { key: key.to_owned(), origin: entry.origin.clone(), instead };
    let (name, rest) = key.split_once('.').unwrap_or((key, ""));
    let Some(section) = SECTIONS.iter().find(|section| section.name == name) else {
        return Err(unknown(Instead::of(name, SECTIONS.iter().map(|section| section.name))));
    };
    let keys = section.keys.iter().map(|key| key.name);
    if keys.clone().any(|known| known == rest) { Ok(()) } else { Err(unknown(Instead::of(rest, keys))) }
}

struct Reader<'a> {
    tree: &'a Tree,
    errors: &'a mut Vec<ConfigError>,
}

impl Reader<'_> {
    /// What the tree says of a section over its defaults; keys that cannot be read are errors and left out.
    fn section<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        let mut table = Table::new();
        for (key, entry) in self.tree.sections.iter() {
            let Some(key) = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) else { continue };
            let alone = Table::from_iter([(key.to_owned(), entry.value.clone())]);
            match Value::Table(alone).try_into::<T>() {
                Ok(_) => {
                    table.insert(key.to_owned(), entry.value.clone());
                }
                // Told by `known` already.
                Err(error) if error.message().starts_with("unknown field") => {}
                Err(error) => self.errors.push(ConfigError::Value {
                    key: format!("{name}.{key}"),
                    origin: entry.origin.clone(),
                    problem: format!(
                        "cannot be {}: {}",
                        spelt(key, &entry.value),
                        in_plain_words(error.message())
                    ),
                }),
            }
        }
        Value::Table(table).try_into().unwrap_or_default()
    }
}

/// The reader's words without the names of Rust's types.
pub(super) fn in_plain_words(message: &str) -> String {
    let words = message.trim().split(' ').map(|word| match word {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0 (and not too large)",
        "i16" | "i32" | "i64" => "a whole number (and not too large)",
        "bool" | "boolean" => "true or false",
        other => other,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A value as an error may show it.
fn spelt(key: &str, value: &Value) -> String {
    if key == "url" { "this".to_owned() } else { value.to_string() }
}
