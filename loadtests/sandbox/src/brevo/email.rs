//! The body of `POST /v3/smtp/email`. Types only; whether the values are allowed is in `email_rules.rs`. Unknown fields
//! are ignored as Brevo ignores them.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Text;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EmailRequest<'a> {
    #[serde(borrow)]
    pub(crate) sender: Option<Sender<'a>>,
    #[serde(borrow)]
    pub(crate) to: Option<Vec<Person<'a>>>,
    #[serde(borrow)]
    pub(crate) cc: Option<Vec<Person<'a>>>,
    #[serde(borrow)]
    pub(crate) bcc: Option<Vec<Person<'a>>>,
    #[serde(borrow)]
    pub(crate) reply_to: Option<Person<'a>>,
    #[serde(borrow)]
    pub(crate) subject: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) html_content: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) text_content: Option<Text<'a>>,
    pub(crate) template_id: Option<i64>,
    #[serde(borrow)]
    pub(crate) params: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) attachment: Option<Vec<Attachment<'a>>>,
    #[serde(borrow)]
    pub(crate) headers: Option<Headers<'a>>,
    #[serde(borrow)]
    pub(crate) tags: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(crate) message_versions: Option<Vec<Version<'a>>>,
    #[serde(borrow)]
    pub(crate) scheduled_at: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) batch_id: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Sender<'a> {
    #[serde(borrow)]
    pub(crate) email: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) name: Option<Text<'a>>,
    pub(crate) id: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Person<'a> {
    #[serde(borrow)]
    pub(crate) email: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) name: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Attachment<'a> {
    #[serde(borrow)]
    pub(crate) url: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) content: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) name: Option<Text<'a>>,
}

/// One item of `messageVersions`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version<'a> {
    #[serde(borrow)]
    pub(crate) to: Option<Vec<Person<'a>>>,
    #[serde(borrow)]
    pub(crate) cc: Option<Vec<Person<'a>>>,
    #[serde(borrow)]
    pub(crate) bcc: Option<Vec<Person<'a>>>,
    #[serde(borrow)]
    pub(crate) reply_to: Option<Person<'a>>,
    #[serde(borrow)]
    pub(crate) subject: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) params: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) html_content: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) text_content: Option<Text<'a>>,
    pub(crate) template_id: Option<i64>,
    #[serde(borrow)]
    pub(crate) headers: Option<Headers<'a>>,
}

/// The keys of `headers` that mean something here; the rest must be strings and is let pass. Names are compared
/// without regard to case, as Brevo turns them into Title-Case.
#[derive(Debug, Default)]
pub(crate) struct Headers<'a> {
    pub(crate) idempotency_key: Option<Text<'a>>,
    pub(crate) custom: Option<Text<'a>>,
    pub(crate) sandbox: Option<Text<'a>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Headers<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Headers<'de>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an object of strings")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Headers<'de>, M::Error> {
                let mut headers = Headers::default();
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    let value = map.next_value::<Text<'de>>()?;
                    match name.as_str() {
                        name if is(name, "X-Mailin-custom") => headers.custom = Some(value),
                        name if is(name, "Idempotency-Key") || is(name, "idempotencyKey") => {
                            headers.idempotency_key = Some(value);
                        }
                        name if is(name, "X-Sib-Sandbox") => headers.sandbox = Some(value),
                        _ => {}
                    }
                }
                Ok(headers)
            }
        }
        input.deserialize_map(Names)
    }
}

fn is(name: &str, known: &str) -> bool {
    name.eq_ignore_ascii_case(known)
}
