//! Templates to start from: shown in the console, used by the playbooks, checked by the tests.
//!
//! Each slug exists for e-mail, SMS and WhatsApp, in every locale. A locale's folder holds, per slug, `SLUG.mjml` (the e-mail's body) and `SLUG.json`
//! (everything else, with sample variables), and each file stands alone: an author may take it and change it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::source::{Channel, EmailBody, Source};
use crate::whatsapp::Whatsapp;

/// Why a message is sent; it decides consent, quiet hours and priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Transactional,
    Obligation,
    Marketing,
}

/// One starter template: a source in one channel and locale, with variables that fit it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Starter {
    pub slug: &'static str,
    pub channel: Channel,
    pub locale: &'static str,
    pub class: Class,
    pub name: String,
    pub source: Source,
    /// A JSON object that renders at once.
    pub sample: Value,
}

/// Every starter, by slug, locale and channel.
#[must_use]
pub fn starters() -> &'static [Starter] {
    static ALL: LazyLock<Vec<Starter>> = LazyLock::new(|| FILES.iter().flat_map(File::starters).collect());
    &ALL
}

struct File {
    slug: &'static str,
    locale: &'static str,
    mjml: &'static str,
    json: &'static str,
}

macro_rules! files {
    ($($slug:literal),+ $(,)?) => {
        &[$(file!($slug, "en"), file!($slug, "fr")),+]
    };
}

macro_rules! file {
    ($slug:literal, $locale:literal) => {
        File {
            slug: $slug,
            locale: $locale,
            mjml: include_str!(concat!("../starters/", $locale, "/", $slug, ".mjml")),
            json: include_str!(concat!("../starters/", $locale, "/", $slug, ".json")),
        }
    };
}

const FILES: &[File] = files![
    "renewal",
    "installment-reminder",
    "payment-confirmation",
    "payment-failed",
    "signature-request",
    "signature-reminder",
    "document-received",
    "document-expired",
    "policy-issued",
    "otp",
    "password-reset",
    "qr-to-pay",
];

/// The form of `SLUG.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Details {
    name: String,
    class: Class,
    email: Email,
    sms: String,
    whatsapp: Whatsapp<String>,
    sample: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Email {
    subject: String,
    preheader: String,
}

impl File {
    fn starters(&self) -> [Starter; 3] {
        let details: Details =
            serde_json::from_str(self.json).expect("the tests read every embedded starter");
        let Details { name, class, email, sms, whatsapp, sample } = details;
        let body = EmailBody::Mjml(self.mjml.to_owned());
        let email =
            Source::Email { subject: email.subject, preheader: Some(email.preheader), body, text: None };
        [email, Source::Sms { text: sms }, Source::Whatsapp(whatsapp)].map(|source| Starter {
            slug: self.slug,
            channel: source.channel(),
            locale: self.locale,
            class,
            name: name.clone(),
            source,
            sample: sample.clone().into_iter().collect(),
        })
    }
}
