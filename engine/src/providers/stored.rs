//! Settings of an account that are not written in a configuration: two JSON objects, one of them of secrets.
//!
//! Put together they are read exactly as the configuration is, so a provider's settings are described once. Names here are
//! those of the configuration (`sender_email`).

use serde_json::{Map, Value, json};

use super::settings::{AccountSettings, ConfigError};
use crate::domain::channel::Provider;

/// Members that are secrets, of whichever provider; the first that is there is the one that a person knows the account by.
const SECRETS: &[&str] = &["api_key", "access_token", "app_secret", "verify_token", "webhook_auth"];
/// Of a secret so much is shown, if there is enough of it left to guess.
const HINT: usize = 4;
const LONG_ENOUGH: usize = 12;

/// A member that can't be used, by the name that the configuration has for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct Wrong {
    pub field: String,
    pub problem: String,
}

impl From<ConfigError> for Wrong {
    fn from(error: ConfigError) -> Self {
        Self { field: error.field.to_owned(), problem: error.problem }
    }
}

pub fn is_secret(field: &str) -> bool {
    SECRETS.contains(&field.split('.').next().unwrap_or(field))
}

/// Reads both as one table of the configuration.
pub fn read(
    provider: Provider,
    settings: &Map<String, Value>,
    secrets: &Map<String, Value>,
) -> Result<AccountSettings, Wrong> {
    let misplaced =
        |field: &String, problem: &str| Wrong { field: field.clone(), problem: problem.to_owned() };
    if let Some(field) = settings.keys().find(|field| is_secret(field)) {
        return Err(misplaced(field, "is a secret: it belongs there"));
    }
    if let Some(field) = secrets.keys().find(|field| !is_secret(field)) {
        return Err(misplaced(field, "is no secret: it belongs to the settings"));
    }
    let mut table = Map::from_iter([("provider".to_owned(), json!(provider.as_str()))]);
    table.extend(settings.iter().chain(secrets).map(|(field, value)| (field.clone(), value.clone())));
    serde_json::from_value(Value::Object(table)).map_err(|error| explained(&error.to_string()))
}

/// Serde names the member between backticks. It names values too, which a secret's error must not.
fn explained(message: &str) -> Wrong {
    let named = message.split('`').nth(1).unwrap_or_default();
    let wrong = |problem: &str| Wrong { field: named.to_owned(), problem: problem.to_owned() };
    if message.starts_with("missing field") {
        wrong("is missing")
    } else if message.starts_with("unknown field") {
        wrong("is nothing that this provider knows")
    } else {
        Wrong { field: String::new(), problem: "have a member of the wrong kind".to_owned() }
    }
}

/// The end of the account's key, for a person to recognise it.
pub fn hint(secrets: &Map<String, Value>) -> Option<String> {
    let key = SECRETS.iter().find_map(|field| secrets.get(*field)?.as_str())?;
    let letters: Vec<char> = key.chars().collect();
    (letters.len() >= LONG_ENOUGH).then(|| letters[letters.len() - HINT..].iter().collect())
}

/// As it is sealed.
pub fn to_bytes(secrets: &Map<String, Value>) -> Vec<u8> {
    serde_json::to_vec(secrets).expect("texts are JSON")
}

/// What was sealed; `None` where it is not what was.
pub fn from_bytes(bytes: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    fn read_sms(settings: Value, secrets: Value) -> Result<AccountSettings, Wrong> {
        read(Provider::BrevoSms, &object(settings), &object(secrets))
    }

    #[test]
    fn both_make_what_the_configuration_would() {
        let read = read_sms(
            json!({"sender": "Acme"}),
            json!({"api_key": "xkeysib-1", "webhook_auth": {"bearer": {"token": "t"}}}),
        );
        let AccountSettings::BrevoSms(settings) = read.expect("sound") else { panic!("Brevo's SMS") };
        assert_eq!(settings.sender, "Acme");
        assert!(settings.webhook_auth.is_some());
        assert!(read_in_app().is_ok());
    }

    fn read_in_app() -> Result<AccountSettings, Wrong> {
        read(Provider::InApp, &Map::new(), &Map::new())
    }

    #[test]
    fn each_fault_names_its_member_and_no_value() {
        let key = json!({"api_key": "xkeysib-hunter2"});
        let faults = [
            (read_sms(json!({}), key.clone()), "sender"),
            (read_sms(json!({"sender": "Acme"}), json!({})), "api_key"),
            (read_sms(json!({"sender": "Acme", "colour": "red"}), key.clone()), "colour"),
            (read_sms(json!({"sender": "Acme", "api_key": "hunter2"}), json!({})), "api_key"),
            (read_sms(json!({}), json!({"api_key": "hunter2", "sender": "Acme"})), "sender"),
            (read_sms(json!({"sender": 5}), key), ""),
            (read_sms(json!({"sender": "Acme"}), json!({"api_key": ["hunter2"]})), ""),
        ];
        for (read, field) in faults {
            let wrong = read.expect_err(field);
            assert_eq!(wrong.field, field, "{wrong:?}");
            assert!(!wrong.to_string().contains("hunter2"), "{wrong}");
        }
    }

    #[test]
    fn only_the_end_of_a_long_key_is_shown() {
        assert_eq!(hint(&object(json!({"api_key": "xkeysib-0123abcd"}))).as_deref(), Some("abcd"));
        assert_eq!(
            hint(&object(json!({"app_secret": "0123456789abcdef", "access_token": "EAAG-0123-wxyz"})))
                .as_deref(),
            Some("wxyz")
        );
        assert_eq!(hint(&object(json!({"api_key": "short"}))), None);
        assert_eq!(hint(&Map::new()), None);
    }
}
