//! Contacts on the wire.

use fanfare_engine::{
    contacts::person::{self, Faults, Said},
    domain::address::{EmailAddress, PhoneNumber, Region},
    id::{ContactId, UserId},
    store::contacts::Contact,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::refused;
use crate::http::problem::Problem;

const LONGEST_BRANCH: usize = 100;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContactView {
    #[schema(value_type = String, example = "cont_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    id: ContactId,
    name: Option<String>,
    email: Option<String>,
    /// E.164.
    phone: Option<String>,
    locale: Option<String>,
    /// IANA name.
    time_zone: String,
    /// Texts, numbers, yes or no, and amounts as `{"minor": 1250, "currency": "MUR"}`.
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
    branch: Option<String>,
    #[schema(value_type = Option<String>, example = "usr_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    assigned_to: Option<UserId>,
    #[schema(value_type = String, format = DateTime)]
    created_at: jiff::Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: jiff::Timestamp,
}

impl From<Contact> for ContactView {
    fn from(contact: Contact) -> Self {
        Self {
            id: contact.id,
            name: contact.name,
            email: contact.email,
            phone: contact.phone,
            locale: contact.locale,
            time_zone: contact.time_zone,
            attributes: contact.attributes,
            branch: contact.branch,
            assigned_to: contact.assigned_to,
            created_at: contact.id.made_at(),
            updated_at: contact.updated_at,
        }
    }
}

/// A person with an e-mail address, a phone number, or both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewContact {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    #[schema(max_length = 320)]
    email: Option<String>,
    /// As people write it; without a country's code it belongs to the tenant's country.
    #[schema(max_length = 320, example = "5234 5678")]
    phone: Option<String>,
    /// `fr`, `en-GB`.
    #[schema(max_length = 35)]
    locale: Option<String>,
    /// IANA name; the tenant's if not said.
    #[schema(max_length = 64, example = "Indian/Mauritius")]
    time_zone: Option<String>,
    /// At most 200, 32 KiB in all: texts, numbers, yes or no, and amounts as `{"minor": 1250, "currency": "MUR"}`.
    #[serde(default)]
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
    #[schema(min_length = 1, max_length = 100)]
    branch: Option<String>,
    /// The user who looks after the contact.
    #[schema(value_type = Option<String>)]
    assigned_to: Option<UserId>,
}

impl NewContact {
    pub(super) fn parts(self) -> Result<(Said, Option<String>, Option<UserId>), Problem> {
        let mut faults = Faults::default();
        let branch = self.branch.and_then(|text| faults.take("branch", branch(text)));
        let said = Said {
            name: self.name,
            email: self.email,
            phone: self.phone,
            locale: self.locale,
            time_zone: self.time_zone,
            attributes: self.attributes,
        };
        faults.or((said, branch, self.assigned_to)).map_err(refused)
    }
}

/// What is sent is set, null takes it away, what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ContactChange {
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    name: Option<Option<String>>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 320)]
    email: Option<Option<String>>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 320)]
    phone: Option<Option<String>>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 35)]
    locale: Option<Option<String>>,
    /// Stays when it is left out; can't be taken away.
    #[schema(max_length = 64)]
    time_zone: Option<String>,
    /// Each by itself: set, taken away by null, or left as it is.
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    branch: Option<Option<String>>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>)]
    assigned_to: Option<Option<UserId>>,
}

/// Null is told from nothing.
fn sent<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl ContactChange {
    /// The contact as it is to be.
    pub(super) fn applied(self, mut contact: Contact, region: &Region) -> Result<Contact, Problem> {
        let mut faults = Faults::default();
        let mut set = |field: &str,
                       sent: Option<Option<String>>,
                       read: &dyn Fn(String) -> Result<String, String>,
                       into: &mut Option<String>| {
            if let Some(sent) = sent {
                *into = sent.and_then(|text| faults.take(field, read(text)));
            }
        };
        let email = |text: String| person::email(&text).map(EmailAddress::into_string);
        let phone = |text: String| person::phone(&text, region).map(PhoneNumber::into_string);
        set("name", self.name, &person::name, &mut contact.name);
        set("email", self.email, &email, &mut contact.email);
        set("phone", self.phone, &phone, &mut contact.phone);
        set("locale", self.locale, &|text| person::locale(&text), &mut contact.locale);
        set("branch", self.branch, &branch, &mut contact.branch);
        if let Some(zone) = self.time_zone.and_then(|text| faults.take("timeZone", person::time_zone(&text)))
        {
            contact.time_zone = zone;
        }
        if let Some(agent) = self.assigned_to {
            contact.assigned_to = agent;
        }
        person::check_attributes(&self.attributes, &mut faults);
        for (key, value) in self.attributes {
            if value.is_null() {
                contact.attributes.remove(&key);
            } else {
                contact.attributes.insert(key, value);
            }
        }
        faults.or(()).map_err(refused)?;
        let mut faults = Faults::default();
        if contact.email.is_none() && contact.phone.is_none() {
            faults.add("email", "would be gone, and so would `phone`: erase the contact instead");
        }
        // What was there before was checked by itself: together they may be too many.
        person::check_size(&contact.attributes, &mut faults);
        faults.or(contact).map_err(refused)
    }
}

fn branch(text: String) -> Result<String, String> {
    match text.chars().count() {
        0 => Err("is empty: leave it out".to_owned()),
        _ if text.contains('\0') => Err("holds a NUL character, which no text can hold".to_owned()),
        length if length > LONGEST_BRANCH => {
            Err(format!("has {length} characters, more than {LONGEST_BRANCH}"))
        }
        _ => Ok(text),
    }
}
