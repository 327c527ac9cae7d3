//! What an account of a provider needs to know, and the adapter that it makes.
//!
//! The shapes are read from the configuration; [`build`] is the one place that checks them, so that a mistake is told at
//! start, by the name of its field, and not by a provider's refusal in mid-campaign.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hyper::Uri;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::{Adapter, brevo, hook_auth::HookAuth, whatsapp};
use crate::domain::{address::EmailAddress, channel::Provider};

/// A field that cannot be used as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct ConfigError {
    pub field: &'static str,
    pub problem: String,
}

impl ConfigError {
    pub(super) fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

/// Credentials and options of one account. Secrets print as `[REDACTED]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "provider", rename_all = "snake_case")]
pub enum AccountSettings {
    BrevoEmail(BrevoEmailSettings),
    BrevoSms(BrevoSmsSettings),
    WhatsappCloud(WhatsappSettings),
    InApp(InAppSettings),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrevoEmailSettings {
    #[serde(default = "brevo_base_url")]
    pub base_url: String,
    pub api_key: SecretString,
    pub sender_email: String,
    /// At most 70 characters.
    pub sender_name: String,
    /// Where answers go; without it, to the sender.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// How Brevo proves its webhooks; without it none is believed.
    #[serde(default)]
    pub webhook_auth: Option<WebhookAuth>,
    /// Networks that webhooks may come from, such as `1.179.112.0/20`; empty: any.
    #[serde(default)]
    pub webhook_ips: Vec<String>,
    /// Whether campaigns may use one request for many messages.
    #[serde(default = "yes")]
    pub batch: bool,
    /// Whether `base_url` is a simulated provider: whoever only tries things out may write to anybody over it.
    #[serde(default)]
    pub sandbox: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrevoSmsSettings {
    #[serde(default = "brevo_base_url")]
    pub base_url: String,
    pub api_key: SecretString,
    /// At most 11 letters and digits, or at most 15 digits.
    pub sender: String,
    /// Added to a marketing text that does not say by itself how to stop; must hold `[STOP_CODE]`, which Brevo fills in.
    #[serde(default = "stop_text")]
    pub stop_text: String,
    #[serde(default)]
    pub webhook_auth: Option<WebhookAuth>,
    #[serde(default)]
    pub webhook_ips: Vec<String>,
    /// Where Brevo sends the events of these messages, if not to the webhook that its console names.
    #[serde(default)]
    pub web_url: Option<String>,
    /// Whether `base_url` is a simulated provider: whoever only tries things out may write to anybody over it.
    #[serde(default)]
    pub sandbox: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhatsappSettings {
    #[serde(default = "whatsapp_base_url")]
    pub base_url: String,
    #[serde(default = "whatsapp_api_version")]
    pub api_version: String,
    pub phone_number_id: String,
    /// Whose templates it sends: the id of the WhatsApp business account. Without it none can be submitted.
    #[serde(default)]
    pub business_account_id: Option<String>,
    pub access_token: SecretString,
    /// Signs the webhooks.
    pub app_secret: SecretString,
    /// What Meta must say when it asks whether the webhook's URL is ours.
    pub verify_token: SecretString,
    /// Whether `base_url` is a simulated provider: whoever only tries things out may write to anybody over it.
    #[serde(default)]
    pub sandbox: bool,
}

/// Nothing but our own database is needed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InAppSettings {}

/// Brevo signs nothing: it shows a token, or a user and password out of the webhook's URL.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WebhookAuth {
    Bearer { token: SecretString },
    Basic { user: String, password: SecretString },
}

/// Bounds of every request to a provider.
#[derive(Debug, Clone, Copy)]
pub struct HttpSettings {
    pub connect_timeout: Duration,
    /// From the first byte written to the last byte read. Recovery waits at least this long before it decides.
    pub request_timeout: Duration,
    /// As `request_timeout`, for a request that carries many messages.
    pub batch_timeout: Duration,
    pub pool_idle_timeout: Duration,
    pub pool_max_idle: usize,
    /// Whether keys may travel without TLS to another machine; to this one they always may.
    pub allow_plain_http: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            batch_timeout: Duration::from_secs(30),
            pool_idle_timeout: Duration::from_secs(60),
            pool_max_idle: 256,
            allow_plain_http: false,
        }
    }
}

impl AccountSettings {
    pub const fn provider(&self) -> Provider {
        match self {
            Self::BrevoEmail(_) => Provider::BrevoEmail,
            Self::BrevoSms(_) => Provider::BrevoSms,
            Self::WhatsappCloud(_) => Provider::WhatsappCloud,
            Self::InApp(_) => Provider::InApp,
        }
    }

    /// Whether messages over it reach nobody.
    pub fn is_sandbox(&self) -> bool {
        self.simulated().is_some_and(|(sandbox, _)| sandbox)
    }

    /// What it says of itself, and where its requests go.
    fn simulated(&self) -> Option<(bool, &str)> {
        match self {
            Self::BrevoEmail(settings) => Some((settings.sandbox, &settings.base_url)),
            Self::BrevoSms(settings) => Some((settings.sandbox, &settings.base_url)),
            Self::WhatsappCloud(settings) => Some((settings.sandbox, &settings.base_url)),
            Self::InApp(_) => None,
        }
    }

    /// A slip here would have tests reach people.
    fn check_sandbox(&self) -> Result<(), ConfigError> {
        let own = [brevo_base_url(), whatsapp_base_url()];
        let host = |url: &str| Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        match self.simulated() {
            Some((true, url)) if own.iter().any(|own| host(own) == host(url)) => Err(ConfigError::new(
                "sandbox",
                "can't be true: base_url is the provider's own, whose messages reach people",
            )),
            _ => Ok(()),
        }
    }
}

/// The registry: makes an account's adapter, with HTTP connections of its own. Whose provider is our own database has no
/// such connection: [`super::in_app::InApp`] is made where the database is at hand.
pub fn build(settings: &AccountSettings, http: &HttpSettings) -> Result<Arc<dyn Adapter>, ConfigError> {
    settings.check_sandbox()?;
    Ok(match settings {
        AccountSettings::BrevoEmail(settings) => Arc::new(brevo::email::BrevoEmail::new(settings, http)?),
        AccountSettings::BrevoSms(settings) => Arc::new(brevo::sms::BrevoSms::new(settings, http)?),
        AccountSettings::WhatsappCloud(settings) => Arc::new(whatsapp::WhatsappCloud::new(settings, http)?),
        AccountSettings::InApp(_) => {
            return Err(ConfigError::new(
                "provider",
                "in_app sends no requests: it works where the database is only",
            ));
        }
    })
}

pub(super) fn base_url(text: &str, http: &HttpSettings) -> Result<Url, ConfigError> {
    let wrong = |problem: &str| ConfigError::new("base_url", problem);
    let url: Url = text
        .trim_end_matches('/')
        .parse()
        .map_err(|_| wrong("must be a URL such as https://api.example.com"))?;
    let host = url.host_str().ok_or_else(|| wrong("names no host"))?;
    let local = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if local || http.allow_plain_http => Ok(url),
        "http" => Err(wrong(
            "must start with https://, or the key would travel in the clear (allow_plain_http permits it)",
        )),
        _ => Err(wrong("must start with https://")),
    }
}

pub(super) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

pub(super) fn uri(url: &Url) -> Uri {
    url.as_str().parse().expect("an http(s) URL is a URI")
}

pub(super) fn secret<'a>(field: &'static str, value: &'a SecretString) -> Result<&'a str, ConfigError> {
    let text = value.expose_secret();
    if text.trim().is_empty() || text.trim() != text || !text.is_ascii() {
        return Err(ConfigError::new(
            field,
            "is empty, or has spaces around it or letters that no key has: copy it again",
        ));
    }
    Ok(text)
}

pub(super) fn email(field: &'static str, text: &str) -> Result<String, ConfigError> {
    EmailAddress::parse(text)
        .map(|address| address.as_str().to_owned())
        .map_err(|error| ConfigError::new(field, format!("is {error}")))
}

pub(super) fn hook_auth(auth: Option<&WebhookAuth>, networks: &[String]) -> Result<HookAuth, ConfigError> {
    let networks = networks
        .iter()
        .map(|text| {
            let text = text.trim();
            text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
                ConfigError::new(
                    "webhook_ips",
                    format!("has `{text}`, which is no network such as 1.179.112.0/20"),
                )
            })
        })
        .collect::<Result<_, _>>()?;
    match auth {
        Some(WebhookAuth::Bearer { token }) => {
            secret("webhook_auth.bearer.token", token)?;
        }
        Some(WebhookAuth::Basic { user, password }) => {
            if user.is_empty() || user.contains(':') {
                return Err(ConfigError::new(
                    "webhook_auth.basic.user",
                    "must not be empty and can hold no colon",
                ));
            }
            secret("webhook_auth.basic.password", password)?;
        }
        None => {}
    }
    Ok(HookAuth::new(auth.cloned(), networks))
}

fn brevo_base_url() -> String {
    "https://api.brevo.com/v3".to_owned()
}

fn whatsapp_base_url() -> String {
    "https://graph.facebook.com".to_owned()
}

fn whatsapp_api_version() -> String {
    "v23.0".to_owned()
}

fn stop_text() -> String {
    "STOP to [STOP_CODE]".to_owned()
}

const fn yes() -> bool {
    true
}
