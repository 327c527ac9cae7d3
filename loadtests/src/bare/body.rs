//! The engine's requests, member by member.

use anyhow::bail;
use fanfare_engine::id::MessageId;
use fanfare_templates::{Rendered, WhatsappMessage};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    fleet::{SENDER_EMAIL, SENDER_NAME, SMS_SENDER},
    people::Person,
};

pub(super) fn encode(person: Person, message: MessageId, content: &Rendered) -> anyhow::Result<Vec<u8>> {
    let id = message.to_string();
    Ok(match content {
        Rendered::Email { subject, html, text } => serde_json::to_vec(&Email {
            sender: Address { email: SENDER_EMAIL, name: Some(SENDER_NAME) },
            to: [Address { email: &person.address(), name: None }],
            subject,
            html_content: html,
            text_content: text,
            headers: Headers { key: message.idempotency_key(1), custom: &id },
            tags: [&id],
        })?,
        Rendered::Sms { text, .. } => serde_json::to_vec(&Sms {
            sender: SMS_SENDER,
            recipient: person.phone().trim_start_matches('+'),
            content: text,
            kind: "transactional",
            tag: &id,
            unicode_enabled: false,
        })?,
        Rendered::Whatsapp(template @ WhatsappMessage::Template { .. }) => serde_json::to_vec(&Whatsapp {
            messaging_product: "whatsapp",
            recipient_type: "individual",
            to: &person.phone(),
            biz_opaque_callback_data: &id,
            message: template,
        })?,
        Rendered::Whatsapp(_) => bail!("the letter by WhatsApp is a template"),
        Rendered::InApp(_) => bail!("notifications in the application are no requests"),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Email<'a> {
    sender: Address<'a>,
    to: [Address<'a>; 1],
    subject: &'a str,
    html_content: &'a str,
    text_content: &'a str,
    headers: Headers<'a>,
    tags: [&'a str; 1],
}

#[derive(Serialize)]
struct Address<'a> {
    email: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct Headers<'a> {
    #[serde(rename = "Idempotency-Key")]
    key: Uuid,
    #[serde(rename = "X-Mailin-custom")]
    custom: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sms<'a> {
    sender: &'a str,
    recipient: &'a str,
    content: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    tag: &'a str,
    unicode_enabled: bool,
}

#[derive(Serialize)]
struct Whatsapp<'a> {
    messaging_product: &'a str,
    recipient_type: &'a str,
    to: &'a str,
    biz_opaque_callback_data: &'a str,
    #[serde(flatten)]
    message: &'a WhatsappMessage,
}
