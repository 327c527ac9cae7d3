//! The effective configuration as people may see it: every key with its origin, secrets left out.

use serde::Serialize;
use toml::Value;

use super::{
    Loaded,
    sections::{SECTIONS, without_password},
    tree::{Block, Origin},
};

/// One key as it holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// `worker.chunks`, `accounts.brevo-email.api_key`.
    pub key: String,
    /// As TOML would have it.
    pub value: String,
    #[serde(serialize_with = "as_text")]
    pub origin: Origin,
}

fn as_text<S: serde::Serializer>(origin: &Origin, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(origin)
}

/// All keys in the order of the default file.
pub fn shown(loaded: &Loaded) -> Vec<Shown> {
    let tables = loaded.config.to_tables();
    let mut all = Vec::new();
    for section in SECTIONS {
        let table = tables.iter().find(|(name, _)| *name == section.name).map(|(_, table)| table);
        for key in section.keys {
            let Some(value) = table.and_then(|table| table.get(key.name)) else { continue };
            let path = format!("{}.{}", section.name, key.name);
            all.push(Shown { value: redacted(key.name, value), origin: loaded.tree.origin(&path), key: path });
        }
    }
    all.extend(loaded.tree.tenants.iter().flat_map(|block| block_shown("tenants", block)));
    all.extend(loaded.tree.accounts.iter().flat_map(|block| block_shown("accounts", block)));
    all
}

fn block_shown<'a>(list: &'a str, block: &'a Block) -> impl Iterator<Item = Shown> + 'a {
    let slug = block.keys.text("slug").unwrap_or("?");
    block.keys.iter().filter(|(key, _)| *key != "slug").map(move |(key, entry)| Shown {
        key: format!("{list}.{slug}.{key}"),
        value: redacted(key, &entry.value),
        origin: entry.origin.clone(),
    })
}

fn redacted(key: &str, value: &Value) -> String {
    const SECRET: &[&str] = &["key", "token", "secret", "password"];
    match value {
        Value::String(url) if key == "url" => Value::String(without_password(url)).to_string(),
        _ if SECRET.iter().any(|word| key.contains(word)) => "\"***\"".to_owned(),
        _ => value.to_string(),
    }
}
