//! What the sink keeps of a message, and what it says of it: to the sender, to whoever checks, in a webhook.

use bytes::Bytes;
use fanfare_sandbox::{Channel, MessageRecord};
use serde_json::json;
use uuid::Uuid;

use super::{hooks::Hooks, json_bytes, message::Message};

/// One message, as it came.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at_us: u64,
    channel: Channel,
    digest: u64,
    pub(super) address: Box<str>,
    message_id: Box<str>,
    key: Option<Uuid>,
}

impl Entry {
    pub(super) fn of(channel: Channel, message: &Message<'_>, at_us: u64) -> Option<Self> {
        Some(Self {
            at_us,
            channel,
            digest: message.digest(),
            address: std::str::from_utf8(message.address).ok()?.into(),
            message_id: std::str::from_utf8(message.message_id).ok()?.into(),
            key: message.key.and_then(|key| Uuid::try_parse_ascii(key).ok()),
        })
    }

    /// As each provider writes its own.
    fn provider_id(&self) -> String {
        match self.channel {
            Channel::Email => format!("{:016x}@sink", self.digest),
            Channel::Sms => self.digest.to_string(),
            Channel::Whatsapp => format!("wamid.{:016X}", self.digest),
        }
    }

    pub(super) fn tell(&self, hooks: &Hooks, epoch_ms: u128) {
        hooks.delivered(&self.address, &self.message_id, &self.provider_id(), epoch_ms);
    }

    pub(super) fn record(&self) -> MessageRecord {
        MessageRecord {
            channel: self.channel,
            account: "sink".to_owned(),
            address: self.address.to_string(),
            message_id: self.message_id.to_string(),
            count: 1,
            first_us: self.at_us,
            last_us: self.at_us,
            first_epoch_us: 0,
            last_epoch_us: 0,
            provider_id: self.provider_id(),
            digest: hex::encode(self.digest.to_be_bytes()),
            tags: Vec::new(),
            key: self.key.map(|key| key.to_string()),
        }
    }
}

/// What the provider says of messages that it has accepted; `None` when there is nothing to accept.
pub(super) fn accepted(entries: &[Entry], batch: bool) -> Option<Bytes> {
    let answer = match entries {
        [] => return None,
        many if batch => {
            let ids: Vec<String> = many.iter().map(|entry| format!("<{}>", entry.provider_id())).collect();
            json!({"messageIds": ids})
        }
        [only] => match only.channel {
            Channel::Email => json!({"messageId": format!("<{}>", only.provider_id())}),
            Channel::Sms => {
                json!({"messageId": only.digest, "smsCount": 1, "usedCredits": 1, "remainingCredits": 1_000_000})
            }
            Channel::Whatsapp => json!({
                "messaging_product": "whatsapp",
                "contacts": [{"input": only.address, "wa_id": only.address.trim_start_matches('+')}],
                "messages": [{"id": only.provider_id()}],
            }),
        },
        _ => return None,
    };
    Some(json_bytes(&answer))
}
