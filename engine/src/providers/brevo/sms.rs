//! Brevo's transactional SMS: one message a request, no idempotency key. Our message id is the tag, which webhooks echo.

use std::{borrow::Cow, time::Duration};

use fanfare_templates::{Encoding, Rendered, segments};
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{Client, sms_hooks};
use crate::{
    domain::channel::{MessageClass, Provider},
    id::MessageId,
    providers::{
        Adapter, Answer, BatchAnswer, Envelope, HookError, HookItem, HookRequest,
        classify::{self, brevo::Keys},
        hook_auth::HookAuth,
        loose,
        settings::{self, BrevoSmsSettings, ConfigError, HttpSettings},
    },
};

/// What Brevo replaces by the number to write STOP to.
const STOP_CODE: &str = "[STOP_CODE]";

#[derive(Debug)]
pub(in crate::providers) struct BrevoSms {
    client: Client,
    hooks: HookAuth,
    sender: String,
    stop_text: String,
    web_url: Option<String>,
}

impl BrevoSms {
    pub(in crate::providers) fn new(
        settings: &BrevoSmsSettings,
        http: &HttpSettings,
    ) -> Result<Self, ConfigError> {
        let sender = settings.sender.trim();
        let digits = sender.bytes().all(|b| b.is_ascii_digit());
        let longest = if digits { 15 } else { 11 };
        if sender.is_empty() || sender.len() > longest || !sender.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(ConfigError::new(
                "sender",
                "must be at most 11 letters and digits without spaces, or at most 15 digits",
            ));
        }
        if !settings.stop_text.contains(STOP_CODE) {
            return Err(ConfigError::new(
                "stop_text",
                format!("must hold {STOP_CODE}, which becomes the number to write to"),
            ));
        }
        if segments(&settings.stop_text).encoding != Encoding::Gsm7 {
            return Err(ConfigError::new(
                "stop_text",
                "has letters that would double the price of every SMS: write it plainly",
            ));
        }
        let web_url = settings.web_url.as_deref().map(web_url).transpose()?;
        Ok(Self {
            client: Client::new(
                &settings.base_url,
                "transactionalSMS/send",
                &settings.api_key,
                Keys::None,
                http,
            )?,
            hooks: settings::hook_auth(settings.webhook_auth.as_ref(), &settings.webhook_ips)?,
            sender: sender.to_owned(),
            stop_text: settings.stop_text.trim().to_owned(),
            web_url,
        })
    }

    /// A marketing text says how to stop; one that does not by itself gets the account's sentence.
    fn text<'a>(&self, class: MessageClass, text: &'a str) -> Cow<'a, str> {
        if class == MessageClass::Marketing && !text.contains(STOP_CODE) {
            format!("{}\n{}", text.trim_end(), self.stop_text).into()
        } else {
            text.into()
        }
    }

    fn encode(&self, envelope: Envelope<'_>) -> Option<Vec<u8>> {
        let Rendered::Sms { text, .. } = envelope.content else { return None };
        let content = self.text(envelope.class, text);
        let request = Request {
            sender: &self.sender,
            recipient: envelope.to.trim_start_matches('+'),
            unicode_enabled: segments(&content).encoding == Encoding::Ucs2,
            content: &content,
            kind: if envelope.class == MessageClass::Marketing { "marketing" } else { "transactional" },
            tag: envelope.message,
            web_url: self.web_url.as_deref(),
        };
        Some(serde_json::to_vec(&request).expect("texts and ids are always JSON"))
    }
}

fn web_url(text: &str) -> Result<String, ConfigError> {
    let sound = text.parse::<url::Url>().is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
    if sound {
        Ok(text.to_owned())
    } else {
        Err(ConfigError::new("web_url", "must be a URL that Brevo can reach"))
    }
}

/// The id is a number that JavaScript could not hold, so it comes as a text from some endpoints.
fn message_id(body: &[u8]) -> Option<String> {
    loose::text(&serde_json::from_slice(body).ok()?, "messageId")
        .filter(|id| id.bytes().all(|b| b.is_ascii_digit()))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    sender: &'a str,
    recipient: &'a str,
    content: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    tag: MessageId,
    unicode_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    web_url: Option<&'a str>,
}

impl Adapter for BrevoSms {
    fn provider(&self) -> Provider {
        Provider::BrevoSms
    }

    fn key_lifetime(&self) -> Option<Duration> {
        None
    }

    fn batch_limit(&self) -> usize {
        1
    }

    fn send(&self, envelope: Envelope<'_>) -> BoxFuture<'_, Answer> {
        match self.encode(envelope) {
            Some(body) => Box::pin(self.client.send(body, message_id)),
            None => Box::pin(std::future::ready(classify::wrong_content("SMS"))),
        }
    }

    fn send_batch<'a>(&'a self, _key: Uuid, _envelopes: &'a [Envelope<'a>]) -> BoxFuture<'a, BatchAnswer> {
        Box::pin(std::future::ready(BatchAnswer::Bisect))
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.client.probe())
    }

    fn verify(&self, request: &HookRequest<'_>) -> Result<(), HookError> {
        self.hooks.verify(request)
    }

    fn handshake(&self, _query: &[(String, String)]) -> Option<String> {
        None
    }

    fn parse(&self, body: &[u8], received: Timestamp) -> Result<Vec<HookItem>, HookError> {
        sms_hooks::parse(body, received)
    }
}

#[cfg(test)]
#[path = "sms_tests.rs"]
mod tests;
