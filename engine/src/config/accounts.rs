//! `[[tenants]]` and `[[accounts]]`: what is declared in the database when a process starts.

use std::num::NonZeroU64;

use serde::Deserialize;
use toml::Value;

use super::{
    error::{ConfigError, Instead},
    tree::{Block, Keys, Origin},
    typed::in_plain_words,
};
use crate::{
    domain::{address::Region, channel::Provider},
    limit::Window,
    providers::settings::AccountSettings,
};

/// A tenant that is made when the database has none of that slug. One that exists is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantConfig {
    pub slug: String,
    pub name: String,
    /// ISO 3166 country of phone numbers without a country code.
    pub region: String,
    pub locale: String,
    /// IANA name.
    pub time_zone: String,
    /// ISO 4217.
    pub currency: String,
}

/// Credentials and quota at a provider.
#[derive(Debug, Clone)]
pub struct AccountConfig {
    /// Slug of its tenant; `None`: the only tenant.
    pub tenant: Option<String>,
    pub slug: String,
    /// Accounts of one channel are tried in this order.
    pub priority: i16,
    /// Empty: as fast as it goes.
    pub limits: Vec<Window>,
    /// Distinct people in any 24 hours; `None`: as many as it likes.
    pub people_per_day: Option<NonZeroU64>,
    pub settings: AccountSettings,
    pub origin: Origin,
}

/// What remains of an account's table is its provider's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    slug: String,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    priority: i16,
    #[serde(default)]
    limits: Option<Vec<Window>>,
    #[serde(default)]
    people_per_day: Option<NonZeroU64>,
}

const COMMON: &[&str] = &["slug", "tenant", "priority", "limits", "people_per_day"];

pub(super) fn tenants(blocks: &[Block], errors: &mut Vec<ConfigError>) -> Vec<TenantConfig> {
    let mut tenants: Vec<TenantConfig> = Vec::new();
    for block in blocks {
        let tenant = match read::<TenantConfig>("tenants", block, |_| true)
            .and_then(|tenant| checked(tenant, block))
        {
            Ok(tenant) => tenant,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        if tenants.iter().any(|known| known.slug == tenant.slug) {
            errors.push(wrong("tenants.slug", &block.origin, format!("`{}` is there twice", tenant.slug)));
        }
        tenants.push(tenant);
    }
    tenants
}

fn checked(tenant: TenantConfig, block: &Block) -> Result<TenantConfig, ConfigError> {
    let check = |key: &str, good: bool, problem: String| {
        let origin = block.keys.get(key).map_or(&block.origin, |entry| &entry.origin);
        if good { Ok(()) } else { Err(wrong(&format!("tenants.{key}"), origin, problem)) }
    };
    check("slug", is_slug(&tenant.slug), slug_rule(&tenant.slug))?;
    check("name", !tenant.name.trim().is_empty(), "must not be empty".to_owned())?;
    if let Err(problem) = Region::parse(&tenant.region) {
        check("region", false, format!("is wrong: {problem}"))?;
    }
    if let Err(error) = fanfare_templates::Locale::parse(&tenant.locale) {
        check("locale", false, format!("is wrong: {error}"))?;
    }
    let zone = jiff::tz::TimeZone::get(&tenant.time_zone).is_ok();
    check(
        "time_zone",
        zone,
        format!("`{}` is no IANA time zone such as Indian/Mauritius", tenant.time_zone),
    )?;
    let currency = tenant.currency.parse::<iso_currency::Currency>().is_ok();
    check("currency", currency, format!("`{}` is no ISO 4217 currency such as MUR", tenant.currency))?;
    Ok(tenant)
}

pub(super) fn accounts(blocks: &[Block], errors: &mut Vec<ConfigError>) -> Vec<AccountConfig> {
    let mut accounts: Vec<AccountConfig> = Vec::new();
    for block in blocks {
        match account(block) {
            Ok(account) => {
                let same =
                    |known: &AccountConfig| known.slug == account.slug && known.tenant == account.tenant;
                if accounts.iter().any(same) {
                    errors.push(wrong(
                        "accounts.slug",
                        &block.origin,
                        format!("`{}` is there twice", account.slug),
                    ));
                }
                accounts.push(account);
            }
            Err(error) => errors.push(error),
        }
    }
    accounts
}

fn account(block: &Block) -> Result<AccountConfig, ConfigError> {
    let named = block.keys.text("slug").map_or("accounts".to_owned(), |slug| format!("accounts.{slug}"));
    let common: Common = read(&named, block, |key| COMMON.contains(&key))?;
    if !is_slug(&common.slug) {
        return Err(wrong("accounts.slug", &block.origin, slug_rule(&common.slug)));
    }
    let settings: AccountSettings = read(&named, block, |key| !COMMON.contains(&key))?;
    let limits = common.limits.unwrap_or_else(|| default_limits(settings.provider()));
    Ok(AccountConfig {
        tenant: common.tenant,
        slug: common.slug,
        priority: common.priority,
        limits,
        people_per_day: common.people_per_day,
        settings,
        origin: block.origin.clone(),
    })
}

/// What the providers allow everybody.
pub fn default_limits(provider: Provider) -> Vec<Window> {
    let window = |text: &str| Value::Table(text.parse().expect("a table")).try_into().expect("a window");
    match provider {
        Provider::BrevoEmail => vec![window("window = 'second'\nrequests = 1000")],
        Provider::BrevoSms => vec![window("window = 'second'\nrequests = 150")],
        Provider::WhatsappCloud => vec![window("window = 'second'\nrequests = 80")],
        Provider::InApp => Vec::new(),
    }
}

fn is_slug(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63 && text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '-')
}

fn slug_rule(slug: &str) -> String {
    format!(
        "`{slug}` must be lower-case letters, digits and hyphens, at most 63, and not begin with a hyphen"
    )
}

fn wrong(key: &str, origin: &Origin, problem: impl Into<String>) -> ConfigError {
    ConfigError::Value { key: key.to_owned(), origin: origin.clone(), problem: problem.into() }
}

/// Reads the keys of a block that `wanted` picks (by their first part), and says which of them an error is about.
fn read<T: serde::de::DeserializeOwned>(
    name: &str,
    block: &Block,
    wanted: fn(&str) -> bool,
) -> Result<T, ConfigError> {
    let table = block.keys.table(|key| wanted(key.split('.').next().unwrap_or(key)));
    Value::Table(table).try_into::<T>().map_err(|error| explained(name, block, error.message()))
}

fn explained(name: &str, block: &Block, message: &str) -> ConfigError {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let field = quoted.next().unwrap_or_default();
    let origin = place(&block.keys, field).unwrap_or_else(|| block.origin.clone());
    if message.starts_with("unknown field") {
        return ConfigError::Unknown {
            key: format!("{name}.{field}"),
            origin,
            instead: Instead::of(field, quoted),
        };
    }
    if message.starts_with("missing field") {
        return wrong(&format!("{name}.{field}"), &block.origin, "is missing: add it");
    }
    wrong(name, &origin, format!("cannot be read: {}", in_plain_words(message)))
}

fn place(keys: &Keys, field: &str) -> Option<Origin> {
    keys.iter()
        .find(|(key, entry)| key.split('.').any(|part| part == field) || entry.value.as_str() == Some(field))
        .map(|(_, entry)| entry.origin.clone())
}
