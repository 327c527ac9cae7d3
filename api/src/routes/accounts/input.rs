//! What comes in about accounts, and what of it can't be taken. Names are camelCase on the wire, and in the engine those of the
//! configuration.

use std::{num::NonZeroU64, sync::Arc};

use fanfare_engine::{
    config::default_limits,
    domain::channel::Provider,
    id::TenantId,
    limit::Window,
    providers::{
        Adapter,
        stored::{self, Wrong},
    },
};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    http::problem::{FieldError, Problem},
    service::Service,
};

/// Of `settings` or `secrets`, as JSON.
const LARGEST: usize = 16 << 10;
/// Windows that limit one account.
const WINDOWS: usize = 8;

pub(super) type Object = Map<String, Value>;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewAccount {
    /// Stays.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    pub(super) slug: String,
    /// `brevo_email`, `brevo_sms`, `whatsapp_cloud` or `in_app`.
    #[schema(value_type = String)]
    pub(super) provider: Provider,
    /// The accounts of a channel are tried from the lowest on.
    #[serde(default)]
    pub(super) priority: i16,
    /// `[{"window": "second", "requests": 100}]`, of `second`, `minute`, `hour` and `day`; what the provider allows everybody if
    /// not said.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    limits: Option<Vec<Window>>,
    /// Distinct people in any 24 hours: WhatsApp's tier.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub(super) people_per_day: Option<NonZeroU64>,
    /// `senderEmail`, `senderName`, .. for `brevo_email`; `sender`, .. for `brevo_sms`; `phoneNumberId`, .. for
    /// `whatsapp_cloud`; none for `in_app`.
    #[serde(default)]
    #[schema(value_type = Object)]
    settings: Object,
    /// `apiKey` and `webhookAuth` for Brevo; `accessToken`, `appSecret` and `verifyToken` for WhatsApp.
    #[serde(default)]
    #[schema(value_type = Object)]
    secrets: Object,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AccountChange {
    pub(super) priority: i16,
    #[schema(value_type = Vec<Object>)]
    pub(super) limits: Vec<Window>,
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub(super) people_per_day: Option<NonZeroU64>,
    /// All of them.
    #[schema(value_type = Object)]
    settings: Object,
}

impl NewAccount {
    /// Settings and secrets by the names of the engine.
    pub(super) fn check(&self, base_urls: &[String]) -> Result<(Object, Object), Problem> {
        if !is_slug(&self.slug) {
            return Err(Problem::field(
                "slug",
                "must be lower-case letters, digits and hyphens, at most 63, and not begin with a hyphen",
            ));
        }
        few(self.limits.as_deref().unwrap_or_default())?;
        let settings = in_the_engine("settings", &self.settings)?;
        of_the_provider(&settings, base_urls)?;
        Ok((settings, in_the_engine("secrets", &self.secrets)?))
    }

    pub(super) fn limits(&self) -> Vec<Window> {
        self.limits.clone().unwrap_or_else(|| default_limits(self.provider))
    }
}

impl AccountChange {
    pub(super) fn check(&self, base_urls: &[String]) -> Result<Object, Problem> {
        few(&self.limits)?;
        let settings = in_the_engine("settings", &self.settings)?;
        of_the_provider(&settings, base_urls)?;
        Ok(settings)
    }
}

fn is_slug(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63 && text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '-')
}

fn few(limits: &[Window]) -> Result<(), Problem> {
    if limits.len() <= WINDOWS {
        Ok(())
    } else {
        Err(Problem::field("limits", format!("has more than {WINDOWS} windows")))
    }
}

/// A key goes to the provider it is for, or where the operator allows; or else whoever may make accounts could have this service
/// call any machine that it reaches.
fn of_the_provider(settings: &Object, base_urls: &[String]) -> Result<(), Problem> {
    let Some(url) = settings.get("base_url") else { return Ok(()) };
    if base_urls.iter().any(|allowed| url.as_str() == Some(allowed)) {
        return Ok(());
    }
    Err(Problem::field(
        "settings.baseUrl",
        "is none that the operator allows (api.provider_base_urls): leave it out",
    ))
}

pub(super) fn people(per_day: Option<NonZeroU64>) -> Result<Option<i64>, Problem> {
    let fits = |people: NonZeroU64| i64::try_from(people.get());
    per_day.map(fits).transpose().map_err(|_| Problem::field("peoplePerDay", "is more people than there are"))
}

/// The adapter that these make, or which of them is wrong. Nothing is sent.
pub(super) fn adapter(
    service: &Service,
    tenant: TenantId,
    provider: Provider,
    parts: (&Object, &Object),
) -> Result<Arc<dyn Adapter>, Problem> {
    service.roster.adapter(tenant, provider, parts).map_err(|Wrong { field, problem }| {
        let side = if stored::is_secret(&field) { "secrets" } else { "settings" };
        let place = if field.is_empty() { side.to_owned() } else { format!("{side}.{}", camel(&field)) };
        Problem::field(place, problem)
    })
}

/// By the names of the configuration.
pub(super) fn in_the_engine(side: &str, members: &Object) -> Result<Object, Problem> {
    if serde_json::to_vec(members).map_or(true, |json| json.len() > LARGEST) {
        return Err(Problem::field(side, "must be at most 16 kB of JSON"));
    }
    let mut errors = Vec::new();
    let mut known = Object::new();
    for (name, value) in members {
        let sound = (1..=40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !sound {
            let shown: String = name.chars().take(40).collect();
            errors.push(FieldError {
                field: format!("{side}.{shown}"),
                message: "is no name of a setting".to_owned(),
            });
        }
        known.insert(snake(name), value.clone());
    }
    if errors.is_empty() { Ok(known) } else { Err(Problem::fields(errors)) }
}

pub(super) fn on_the_wire(members: &Object) -> Object {
    members.iter().map(|(name, value)| (camel(name), value.clone())).collect()
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(body: Value) -> Result<(Object, Object), Problem> {
        let new: NewAccount = serde_json::from_value(body).expect("of the right kinds");
        new.check(&["http://sandbox/v3".to_owned()])
    }

    #[test]
    fn names_are_those_of_the_configuration_inside() {
        let body = json!({"slug": "mail", "provider": "brevo_email", "settings": {"senderEmail": "a@b.example", "webhookIps": []}, "secrets": {"apiKey": "k"}});
        let (settings, secrets) = checked(body).expect("sound");
        assert_eq!(settings.keys().collect::<Vec<_>>(), ["sender_email", "webhook_ips"]);
        assert_eq!(secrets.keys().collect::<Vec<_>>(), ["api_key"]);
        assert_eq!(on_the_wire(&settings).keys().collect::<Vec<_>>(), ["senderEmail", "webhookIps"]);
    }

    #[test]
    fn keys_go_to_nobody_but_the_provider() {
        let with =
            |url: Value| checked(json!({"slug": "s", "provider": "brevo_sms", "settings": {"baseUrl": url}}));
        assert!(with(json!("http://sandbox/v3")).is_ok());
        for url in [
            json!("http://169.254.169.254/"),
            json!("http://sandbox/v3/"),
            json!(null),
            json!(["http://sandbox/v3"]),
        ] {
            let problem = with(url.clone()).expect_err("refused");
            assert!(format!("{problem:?}").contains("settings.baseUrl"), "{url}: {problem:?}");
        }
        // No other spelling of the name leads around it.
        for name in ["base_url", "BaseUrl", "baseURL"] {
            let body =
                json!({"slug": "s", "provider": "brevo_sms", "settings": {name: "http://169.254.169.254/"}});
            let taken = checked(body).is_ok_and(|(settings, _)| settings.contains_key("base_url"));
            assert!(!taken, "{name}");
        }
    }

    #[test]
    fn what_can_not_be_stored_is_named() {
        let window = json!({"window": "second", "requests": 1});
        let faults = [
            (json!({"slug": "Mail", "provider": "in_app"}), "slug"),
            (json!({"slug": "m", "provider": "in_app", "limits": vec![window; 9]}), "limits"),
            (
                json!({"slug": "m", "provider": "in_app", "settings": {"sender name": "x"}}),
                "settings.sender name",
            ),
            (
                json!({"slug": "m", "provider": "in_app", "secrets": {"apiKey": "x".repeat(LARGEST)}}),
                "secrets",
            ),
        ];
        for (body, field) in faults {
            let problem = checked(body).expect_err(field);
            assert!(format!("{problem:?}").contains(&format!("field: \"{field}\"")), "{problem:?}");
        }
    }
}
