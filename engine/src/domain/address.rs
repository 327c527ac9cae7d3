//! Addresses, parsed once at the edge: an [`EmailAddress`] is one, a [`PhoneNumber`] is E.164.
//!
//! Both print themselves masked, so that a log line can't leak one by accident; [`EmailAddress::as_str`] and
//! [`PhoneNumber::as_str`] give the real text.

use std::fmt;

use super::channel::Channel;
use crate::id::ContactId;

/// A deliverable e-mail address in its normal form: trimmed, domain in lower case (IDNA as punycode stays as given),
/// local part in lower case too, since no provider of our recipients tells them apart and back offices shout.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress(String);

/// Why a text is no address; `Display` is a sentence for the list of refused rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("not an e-mail address (expected name@domain)")]
    Email,
    #[error("not a phone number")]
    Phone,
    #[error("not a possible phone number in its region")]
    PhoneLength,
    #[error("not the id of a contact (expected cont_…)")]
    Contact,
}

impl EmailAddress {
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text: String = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}').to_lowercase();
        let options = email_address::Options::default()
            .with_required_tld()
            .without_display_text()
            .without_domain_literal();
        // Providers refuse quoted local parts and a trailing dot; the RFC allows more than anybody can mail to.
        let deliverable = text.len() <= 254
            && !text.contains(['"', ' ', '\t', '\r', '\n'])
            && email_address::EmailAddress::parse_with_options(&text, options).is_ok()
            && text.rsplit_once('@').is_some_and(|(_, domain)| domain_is_possible(domain));
        if deliverable { Ok(Self(text)) } else { Err(AddressError::Email) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

fn domain_is_possible(domain: &str) -> bool {
    let labels: Vec<&str> = domain.split('.').collect();
    labels.len() >= 2
        && labels.iter().all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'))
        && labels.last().is_some_and(|tld| tld.len() >= 2 && !tld.chars().all(|c| c.is_ascii_digit()))
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

/// A phone number in E.164: `+23052345678`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneNumber(String);

/// An ISO 3166 country, such as `MU`, that numbers without a country code belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region(rlibphonenumber::enums::Region);

impl Region {
    pub fn parse(text: &str) -> Result<Self, String> {
        text.trim().to_ascii_uppercase().parse().map(Self).map_err(|_| {
            format!("`{text}` is no ISO 3166 country of two letters with phone numbers, such as MU")
        })
    }
}

impl PhoneNumber {
    /// Reads a number as people write it; one without a country code belongs to `region`.
    pub fn parse(text: &str, region: &Region) -> Result<Self, AddressError> {
        // A no-break space is a space, and "00" is what many write for "+".
        let spaced: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
        let trimmed = spaced.trim();
        if trimmed.chars().filter(char::is_ascii_digit).count() < 5 {
            return Err(AddressError::Phone);
        }
        let international = trimmed.strip_prefix("00").map(|rest| format!("+{rest}"));
        let candidate = international.as_deref().unwrap_or(trimmed);
        // A spreadsheet drops the plus sign: what is no number of the region may be one with its country code.
        let with_plus = (!candidate.starts_with('+')).then(|| format!("+{candidate}"));
        let readings = || [Some(candidate), with_plus.as_deref()].into_iter().flatten();
        readings()
            .find_map(|text| e164(text, region, rlibphonenumber::PhoneNumber::is_valid))
            .or_else(|| readings().find_map(|text| e164(text, region, is_possible_mobile)))
            .map(Self)
            .ok_or(AddressError::PhoneLength)
    }

    /// Takes a number that a provider or the database gives in E.164, with or without its plus sign.
    pub fn from_e164(text: &str) -> Result<Self, AddressError> {
        let digits = text.trim().trim_start_matches('+');
        if (6..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
        {
            Ok(Self(format!("+{digits}")))
        } else {
            Err(AddressError::Phone)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

fn e164(text: &str, region: &Region, fits: impl Fn(&rlibphonenumber::PhoneNumber) -> bool) -> Option<String> {
    use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat};
    let number = PHONE_NUMBER_UTIL.parse(text, Some(region.0)).ok()?;
    fits(&number).then(|| number.format_as(PhoneNumberFormat::E164).into_owned())
}

/// Operators get new ranges more often than programs get new tables: the right length is enough.
fn is_possible_mobile(number: &rlibphonenumber::PhoneNumber) -> bool {
    use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberType};
    PHONE_NUMBER_UTIL.is_possible_number_for_type(number, PhoneNumberType::Mobile)
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

/// An address in its normal form on a channel, as it stands in suppressions and recipients.
pub fn normalised(channel: Channel, text: &str) -> Result<String, AddressError> {
    match channel {
        Channel::Email => EmailAddress::parse(text).map(|address| address.0),
        Channel::Sms | Channel::Whatsapp => PhoneNumber::from_e164(text).map(|number| number.0),
        Channel::InApp => contact(text).map(|id| id.uuid().to_string()),
    }
}

/// A contact's id, as the API writes it or as the database does.
pub(crate) fn contact(text: &str) -> Result<ContactId, AddressError> {
    text.parse::<ContactId>()
        .or_else(|_| uuid::Uuid::parse_str(text).map(ContactId::from_uuid))
        .map_err(|_| AddressError::Contact)
}

/// Enough to recognise an address that one knows, too little to learn one: `a…@e…`, `+230…78`.
pub fn masked(address: &str) -> String {
    let first = |text: &str| text.chars().next().map(String::from).unwrap_or_default();
    match address.split_once('@') {
        Some((local, domain)) => format!("{}…@{}…", first(local), first(domain)),
        None => {
            let head: String = address.chars().take(4).collect();
            let tail: Vec<char> = address.chars().rev().take(2).collect();
            format!("{head}…{}", tail.iter().rev().collect::<String>())
        }
    }
}

/// A provider's words, fit for a table that people read: addresses and numbers in it are masked, and it is short.
pub fn without_addresses(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        if word.contains('@') || digits >= 7 { masked(word) } else { word.to_owned() }
    });
    let short: String =
        words.collect::<Vec<_>>().join(" ").chars().filter(|c| *c != '\0').take(200).collect();
    short
}

impl std::str::FromStr for EmailAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_the_application_an_address_is_a_contacts_id() {
        let id = ContactId::from_uuid(uuid::Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0011));
        let normal = "01990000-0000-7000-8000-000000000011";
        for text in [id.to_string(), normal.to_owned(), normal.to_uppercase(), id.uuid().simple().to_string()]
        {
            assert_eq!(normalised(Channel::InApp, &text).as_deref(), Ok(normal), "{text}");
        }
        for text in ["", "ann@example.com", "+23052345678", "camp_06cg0000005g008000000000h0"] {
            assert_eq!(normalised(Channel::InApp, text), Err(AddressError::Contact), "{text}");
        }
    }
}
