//! A person as a program tells of one: what was said, checked field by field. Unlike a back office's file, which is taken as
//! far as it can be, a program is told of everything that is wrong and nothing of the person is taken.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::text::fold_digits;
use crate::domain::address::{EmailAddress, PhoneNumber, Region};

pub const LONGEST_NAME: usize = 200;
/// Of an address as it was written, before it is read.
const LONGEST_ADDRESS: usize = 320;
pub const MOST_ATTRIBUTES: usize = 200;
pub const LONGEST_ATTRIBUTE_NAME: usize = 63;
/// Of all attributes together, as JSON.
pub const LARGEST_ATTRIBUTES: usize = 32 * 1024;
/// What templates read from the contact itself: an attribute of the same name would hide it.
const TAKEN_NAMES: &[&str] = &["name", "email", "phone"];

/// What is said of a person; what is left out is not touched.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Said {
    pub name: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub locale: Option<String>,
    pub time_zone: Option<String>,
    #[serde(default)]
    pub attributes: Map<String, Value>,
}

/// A field that can't be taken, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub field: String,
    pub reason: String,
}

/// A person who can be addressed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Person {
    pub name: Option<String>,
    pub email: Option<EmailAddress>,
    pub phone: Option<PhoneNumber>,
    pub locale: Option<String>,
    pub time_zone: Option<String>,
    pub attributes: Map<String, Value>,
}

/// Faults on their way to whoever asked.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn add(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Fault { field: field.into(), reason: reason.into() });
    }

    /// What was read, or nothing and a fault more.
    pub fn take<T>(&mut self, field: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|reason| self.add(field, reason)).ok()
    }

    /// The value, if nothing was wrong.
    pub fn or<T>(self, value: T) -> Result<T, Vec<Fault>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

impl Person {
    /// Numbers without a country code belong to `region`.
    pub fn check(said: Said, region: &Region) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let person = Self {
            name: said.name.and_then(|text| faults.take("name", name(text))),
            email: said.email.and_then(|text| faults.take("email", email(&text))),
            phone: said.phone.and_then(|text| faults.take("phone", phone(&text, region))),
            locale: said.locale.and_then(|text| faults.take("locale", locale(&text))),
            time_zone: said.time_zone.and_then(|text| faults.take("timeZone", time_zone(&text))),
            attributes: Map::new(),
        };
        check_attributes(&said.attributes, &mut faults);
        for (key, _) in said.attributes.iter().take(MOST_ATTRIBUTES).filter(|(_, value)| value.is_null()) {
            let shown: String = key.chars().take(LONGEST_ATTRIBUTE_NAME).collect();
            faults.add(format!("attributes.{shown}"), "is null: leave it out, or take it away with PATCH");
        }
        if faults.0.is_empty() && person.email.is_none() && person.phone.is_none() {
            faults.add("email", "is missing, and so is `phone`: a contact has one of them at least");
        }
        faults.or(Self { attributes: said.attributes, ..person })
    }
}

pub fn name(text: String) -> Result<String, String> {
    match text.chars().count() {
        0 => Err("is empty: leave it out".to_owned()),
        _ if text.contains('\0') => Err(NUL.to_owned()),
        length if length > LONGEST_NAME => Err(format!("has {length} characters, more than {LONGEST_NAME}")),
        _ => Ok(text),
    }
}

pub fn email(text: &str) -> Result<EmailAddress, String> {
    if text.len() > LONGEST_ADDRESS || text.contains('\0') {
        return Err("not an e-mail address (expected name@domain)".to_owned());
    }
    EmailAddress::parse(text).map_err(|error| error.to_string())
}

pub fn phone(text: &str, region: &Region) -> Result<PhoneNumber, String> {
    if text.len() > LONGEST_ADDRESS || text.contains('\0') {
        return Err("not a phone number".to_owned());
    }
    PhoneNumber::parse(&fold_digits(text), region).map_err(|error| error.to_string())
}

pub fn locale(text: &str) -> Result<String, String> {
    fanfare_templates::Locale::parse(text)
        .map(|locale| locale.as_str().to_owned())
        .map_err(|error| error.to_string())
}

pub fn time_zone(text: &str) -> Result<String, String> {
    let wrong = || "not an IANA time zone (such as Indian/Mauritius)".to_owned();
    // No zone's name is as long, and a name with a NUL is no file's.
    if text.len() > 64 || text.contains('\0') {
        return Err(wrong());
    }
    let zone = jiff::tz::TimeZone::get(text).map_err(|_| wrong())?;
    zone.iana_name().map(str::to_owned).ok_or_else(wrong)
}

/// Attributes are flat: texts, numbers, yes or no, and amounts as `{"minor": 1250, "currency": "MUR"}`; null takes one away.
pub fn check_attributes(attributes: &Map<String, Value>, faults: &mut Faults) {
    for (key, value) in attributes.iter().take(MOST_ATTRIBUTES) {
        if let Err(reason) = attribute_name(key).and_then(|()| attribute(value)) {
            let shown: String = key.chars().take(LONGEST_ATTRIBUTE_NAME).collect();
            faults.add(format!("attributes.{shown}"), reason);
        }
    }
    check_size(attributes, faults);
}

/// Whether all of them together are not too much.
pub fn check_size(attributes: &Map<String, Value>, faults: &mut Faults) {
    let size = serde_json::to_string(attributes).map_or(0, |json| json.len());
    if attributes.len() > MOST_ATTRIBUTES {
        faults.add("attributes", format!("are {}, and at most {MOST_ATTRIBUTES} are kept", attributes.len()));
    } else if size > LARGEST_ATTRIBUTES {
        faults.add("attributes", format!("have {size} bytes, more than {LARGEST_ATTRIBUTES}"));
    }
}

/// As templates name it.
fn attribute_name(key: &str) -> Result<(), String> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let known = key.len() <= LONGEST_ATTRIBUTE_NAME
        && key.starts_with(first)
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !known {
        return Err(format!(
            "is no name: letters a-z, digits and _, no digit first, {LONGEST_ATTRIBUTE_NAME} at most"
        ));
    }
    if TAKEN_NAMES.contains(&key) {
        return Err("is a field of the contact itself: say it there".to_owned());
    }
    Ok(())
}

fn attribute(value: &Value) -> Result<(), String> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) if text.contains('\0') => Err(NUL.to_owned()),
        Value::String(_) => Ok(()),
        Value::Object(amount) if is_amount(amount) => Ok(()),
        Value::Object(_) | Value::Array(_) => Err(
            "must be a text, a number, true, false or an amount as {\"minor\": 1250, \"currency\": \"MUR\"}"
                .to_owned(),
        ),
    }
}

fn is_amount(object: &Map<String, Value>) -> bool {
    let currency = object.get("currency").and_then(Value::as_str).and_then(iso_currency::Currency::from_code);
    object.len() == 2 && currency.is_some() && object.get("minor").is_some_and(Value::is_i64)
}

const NUL: &str = "holds a NUL character, which no text can hold";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(said: Value) -> Result<Person, Vec<Fault>> {
        let region = Region::parse("MU").expect("a region");
        Person::check(serde_json::from_value(said).expect("known fields"), &region)
    }

    fn faults(said: Value) -> Vec<String> {
        check(said).expect_err("faults").into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn addresses_get_their_normal_form() {
        let person = check(json!({"email": " Ann@Example.COM", "phone": "5234 5678", "locale": "fr_mu",
            "timeZone": "Indian/Mauritius", "attributes": {"policy_number": "P-1", "due": {"minor": -5, "currency": "MUR"}}}));
        let person = person.expect("a person");
        assert_eq!(person.email.map(EmailAddress::into_string).as_deref(), Some("ann@example.com"));
        assert_eq!(person.phone.map(PhoneNumber::into_string).as_deref(), Some("+23052345678"));
        assert_eq!(person.locale.as_deref(), Some("fr-MU"));
        assert_eq!(person.attributes.len(), 2);
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let said = json!({"name": "", "email": "nobody", "phone": "12", "locale": "?", "timeZone": "Mars/Olympus",
            "attributes": {"1st": 1, "email": "x@example.com", "list": [1], "gone": null, "nul": "a\u{0}b"}});
        assert_eq!(
            faults(said),
            [
                "name",
                "email",
                "phone",
                "locale",
                "timeZone",
                "attributes.1st",
                "attributes.email",
                "attributes.list",
                "attributes.nul",
                "attributes.gone"
            ]
        );
        assert_eq!(faults(json!({"name": "Ann"})), ["email"]);
        assert_eq!(faults(json!({"email": "a@example.com", "name": "a\u{0}"})), ["name"]);
        assert_eq!(faults(json!({"email": "a@example.com", "name": "x".repeat(100_000)})), ["name"]);
        let large = json!({"email": "a@example.com", "attributes": {"a": "x".repeat(LARGEST_ATTRIBUTES)}});
        assert_eq!(faults(large), ["attributes"]);
    }
}
