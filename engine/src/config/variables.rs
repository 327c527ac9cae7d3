//! The environment: names that other systems use already, then `FANFARE__SECTION__KEY`.

use toml::Value;

use super::{
    error::{ConfigError, ConfigErrors, Instead, all_or_nothing},
    sections::{Config, SECTIONS},
    tree::{Block, Keys, Origin, Tree},
};

/// Variables that stand for a key of a section.
const NAMED: &[(&str, &str)] = &[
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "redis.url"),
    ("PORT", "api.port"),
    ("JWT_SECRET", "auth.jwt_secret"),
    ("FANFARE_SEALING_KEYS", "auth.sealing_keys"),
    ("FANFARE_SIGNING_KEYS", "public.signing_keys"),
];

/// An account that exists as soon as its `needed` variables do.
struct NamedAccount {
    slug: &'static str,
    provider: &'static str,
    needed: &'static [&'static str],
    keys: &'static [(&'static str, &'static str)],
}

const BREVO_EMAIL: NamedAccount = NamedAccount {
    slug: "brevo-email",
    provider: "brevo_email",
    needed: &["BREVO_API_KEY", "BREVO_SENDER_EMAIL"],
    keys: &[
        ("BREVO_API_KEY", "api_key"),
        ("BREVO_SENDER_EMAIL", "sender_email"),
        ("BREVO_SENDER_NAME", "sender_name"),
        ("BREVO_BASE_URL", "base_url"),
    ],
};

const BREVO_SMS: NamedAccount = NamedAccount {
    slug: "brevo-sms",
    provider: "brevo_sms",
    needed: &["BREVO_API_KEY", "BREVO_SENDER_NAME"],
    keys: &[("BREVO_API_KEY", "api_key"), ("BREVO_SENDER_NAME", "sender"), ("BREVO_BASE_URL", "base_url")],
};

const WHATSAPP: NamedAccount = NamedAccount {
    slug: "whatsapp",
    provider: "whatsapp_cloud",
    needed: &["WHATSAPP_ACCESS_TOKEN", "WHATSAPP_PHONE_NUMBER_ID"],
    keys: &[
        ("WHATSAPP_ACCESS_TOKEN", "access_token"),
        ("WHATSAPP_PHONE_NUMBER_ID", "phone_number_id"),
        ("WHATSAPP_WEBHOOK_VERIFY_TOKEN", "verify_token"),
        ("WHATSAPP_APP_SECRET", "app_secret"),
        ("WHATSAPP_BASE_URL", "base_url"),
    ],
};

pub(super) fn merge(variables: &[(String, String)], tree: &mut Tree) -> Result<(), ConfigErrors> {
    // An empty variable is how many tools say that there is none.
    let set: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let look = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    for (name, key) in NAMED {
        if let Some(text) = look(name) {
            tree.sections.set(*key, typed(key, text), Origin::Variable((*name).to_owned()));
        }
    }
    for account in [BREVO_EMAIL, BREVO_SMS, WHATSAPP] {
        named_account(&account, look, tree);
    }
    let mut ours: Vec<_> = set.iter().filter(|(name, _)| name.starts_with("FANFARE__")).collect();
    ours.sort_unstable();
    let wrong = ours.into_iter().filter_map(|(name, text)| own(name, text, tree).err()).collect();
    all_or_nothing(wrong)
}

fn named_account<'v>(account: &NamedAccount, look: impl Fn(&str) -> Option<&'v str>, tree: &mut Tree) {
    let Some(first) =
        account.needed.first().filter(|_| account.needed.iter().all(|name| look(name).is_some()))
    else {
        return;
    };
    let keys = match tree.accounts.iter_mut().find(|block| block.keys.text("slug") == Some(account.slug)) {
        Some(block) => &mut block.keys,
        None => {
            let origin = Origin::Variable((*first).to_owned());
            let mut keys = Keys::default();
            keys.set("slug", Value::String(account.slug.to_owned()), origin.clone());
            keys.set("provider", Value::String(account.provider.to_owned()), origin.clone());
            tree.accounts.push(Block { origin, keys });
            &mut tree.accounts.last_mut().expect("just pushed").keys
        }
    };
    for (name, key) in account.keys {
        if let Some(text) = look(name) {
            let text = if *key == "sender" { sms_sender(text) } else { text.to_owned() };
            keys.set(*key, Value::String(text), Origin::Variable((*name).to_owned()));
        }
    }
}

/// As much of a sender's name as an SMS can show: 11 letters and digits.
fn sms_sender(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).take(11).collect()
}

/// `FANFARE__WORKER__CHUNKS`, or `FANFARE__ACCOUNTS__BREVO_EMAIL__API_KEY` for the account `brevo-email`.
fn own(name: &str, text: &str, tree: &mut Tree) -> Result<(), ConfigError> {
    let path: Vec<String> = name.split("__").skip(1).map(str::to_lowercase).collect();
    let origin = Origin::Variable(name.to_owned());
    match path.as_slice() {
        [section, slug, rest @ ..] if section == "accounts" && !rest.is_empty() => {
            let slug = slug.replace('_', "-");
            let known: Vec<String> =
                tree.accounts.iter().filter_map(|block| block.keys.text("slug").map(str::to_owned)).collect();
            let account = tree.accounts.iter_mut().find(|block| block.keys.text("slug") == Some(&slug));
            let account = account.ok_or_else(|| ConfigError::Unknown {
                key: format!("accounts.{slug}"),
                origin: origin.clone(),
                instead: Instead::of(&slug, known.iter().map(String::as_str)),
            })?;
            account.keys.set(rest.join("."), guessed(text), origin);
        }
        [section, key] => {
            let key = format!("{section}.{key}");
            let value = typed(&key, text);
            tree.sections.set(key, value, origin);
        }
        _ => {
            let known = SECTIONS.iter().map(|section| section.name);
            let key = path.join(".");
            return Err(ConfigError::Unknown {
                instead: Instead::of(path.first().map_or("", String::as_str), known),
                key,
                origin,
            });
        }
    }
    Ok(())
}

/// A text where the key's default is one, else what TOML reads in it.
fn typed(key: &str, text: &str) -> Value {
    let (section, name) = key.split_once('.').unwrap_or((key, ""));
    let default = Config::default()
        .to_tables()
        .into_iter()
        .find(|(known, _)| *known == section)
        .and_then(|(_, table)| table.get(name).cloned());
    match default {
        Some(Value::String(_)) => Value::String(text.to_owned()),
        _ => guessed(text),
    }
}

/// A number of an account is text in most keys, so only lists and truth values are taken for what they look like.
fn guessed(text: &str) -> Value {
    text.parse::<Value>()
        .ok()
        .filter(|value| !value.is_datetime())
        .unwrap_or_else(|| Value::String(text.to_owned()))
}
