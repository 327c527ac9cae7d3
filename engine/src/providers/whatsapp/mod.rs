//! The WhatsApp Cloud API of Meta: one message a request, no idempotency key. Our message id is the opaque callback data,
//! which comes back with every status.

mod approval;
mod hooks;

use std::time::Duration;

use fanfare_templates::{Rendered, WhatsappMessage};
use futures::future::BoxFuture;
use hyper::Uri;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Adapter, Answer, BatchAnswer, Envelope, HookError, HookItem, HookRequest, TemplateDesk, classify,
    hook_auth,
    http::{Http, Size},
    loose,
    settings::{self, ConfigError, HttpSettings, WhatsappSettings},
};
use crate::{
    domain::channel::{Channel, Provider},
    id::MessageId,
};

#[derive(Debug)]
pub(super) struct WhatsappCloud {
    http: Http,
    messages: Uri,
    number: Uri,
    approvals: approval::Approvals,
    app_secret: SecretString,
    verify_token: SecretString,
}

impl WhatsappCloud {
    pub(super) fn new(settings: &WhatsappSettings, http: &HttpSettings) -> Result<Self, ConfigError> {
        let base = settings::base_url(&settings.base_url, http)?;
        let version = &settings.api_version;
        if !version
            .strip_prefix('v')
            .is_some_and(|number| number.split('.').all(|n| n.parse::<u16>().is_ok()))
        {
            return Err(ConfigError::new("api_version", "must look like v23.0"));
        }
        let id = &settings.phone_number_id;
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ConfigError::new(
                "phone_number_id",
                "must be the number's id, all digits: not the phone number itself",
            ));
        }
        settings::secret("app_secret", &settings.app_secret)?;
        settings::secret("verify_token", &settings.verify_token)?;
        let token = settings::secret("access_token", &settings.access_token)?;
        let url = |path: String| settings::uri(&settings::below(&base, &path));
        Ok(Self {
            http: Http::new(http, ("authorization", &format!("Bearer {token}")))?,
            messages: url(format!("{version}/{id}/messages")),
            number: url(format!("{version}/{id}")),
            approvals: approval::Approvals::new(&base, version, settings.business_account_id.as_deref())?,
            app_secret: settings.app_secret.clone(),
            verify_token: settings.verify_token.clone(),
        })
    }

    async fn send_one(&self, body: Vec<u8>, to: String) -> Answer {
        let reply = match self.http.post(&self.messages, body, Size::One).await {
            Ok(reply) => reply,
            Err(error) => return classify::no_answer(error),
        };
        match (reply.status, &reply.body) {
            (200..300, Ok(body)) => message_id(body)
                .map_or_else(|| classify::unreadable(&reply), |id| classify::accepted(id, None)),
            (200..300, Err(_)) => classify::unreadable(&reply),
            _ => classify::whatsapp::refusal(&reply).about(Channel::Whatsapp, &to),
        }
    }

    async fn ask_for_number(&self) -> Result<(), String> {
        let reply =
            self.http.get(&self.number, Size::One).await.map_err(|_| "Meta cannot be reached".to_owned())?;
        if (200..300).contains(&reply.status) {
            return Ok(());
        }
        let words = classify::whatsapp::refusal(&reply).words.unwrap_or_default();
        Err(format!("Meta answers {} to a question about the phone number: {words}", reply.status))
    }
}

#[derive(Serialize)]
struct Request<'a> {
    messaging_product: &'static str,
    recipient_type: &'static str,
    to: &'a str,
    biz_opaque_callback_data: MessageId,
    #[serde(flatten)]
    message: &'a WhatsappMessage,
}

/// Exactly one message was sent, so exactly one id has to come back.
fn message_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Sent {
        messages: Vec<Message>,
    }
    #[derive(Deserialize)]
    struct Message {
        id: String,
    }
    let sent: Sent = serde_json::from_slice(body).ok()?;
    let [Message { id }] = <[Message; 1]>::try_from(sent.messages).ok()?;
    loose::fits(&id).then_some(id)
}

impl Adapter for WhatsappCloud {
    fn provider(&self) -> Provider {
        Provider::WhatsappCloud
    }

    fn key_lifetime(&self) -> Option<Duration> {
        None
    }

    fn batch_limit(&self) -> usize {
        1
    }

    fn send(&self, envelope: Envelope<'_>) -> BoxFuture<'_, Answer> {
        let Rendered::Whatsapp(message) = envelope.content else {
            return Box::pin(std::future::ready(classify::wrong_content("WhatsApp messages")));
        };
        let request = Request {
            messaging_product: "whatsapp",
            recipient_type: "individual",
            to: envelope.to,
            biz_opaque_callback_data: envelope.message,
            message,
        };
        let body = serde_json::to_vec(&request).expect("texts and ids are always JSON");
        Box::pin(self.send_one(body, envelope.to.to_owned()))
    }

    fn send_batch<'a>(&'a self, _key: Uuid, _envelopes: &'a [Envelope<'a>]) -> BoxFuture<'a, BatchAnswer> {
        Box::pin(std::future::ready(BatchAnswer::Bisect))
    }

    fn templates(&self) -> Option<&dyn TemplateDesk> {
        Some(self)
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.ask_for_number())
    }

    fn verify(&self, request: &HookRequest<'_>) -> Result<(), HookError> {
        hook_auth::verify_signature(
            &self.app_secret,
            request.headers.get("x-hub-signature-256"),
            request.body,
        )
    }

    fn handshake(&self, query: &[(String, String)]) -> Option<String> {
        let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let ours = value("hub.mode") == Some("subscribe")
            && hook_auth::same(value("hub.verify_token")?.as_bytes(), &self.verify_token);
        let challenge = value("hub.challenge")?;
        // It is echoed on a page of ours: nothing but the number or token that Meta sends.
        let sound = challenge.len() <= 200
            && challenge.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        (ours && sound).then(|| challenge.to_owned())
    }

    fn parse(&self, body: &[u8], received: Timestamp) -> Result<Vec<HookItem>, HookError> {
        hooks::parse(body, received)
    }
}

#[cfg(test)]
mod tests;
