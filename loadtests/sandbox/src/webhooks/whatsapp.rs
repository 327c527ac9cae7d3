//! Meta's notification: one entry, a change for each event.

use serde_json::{Value, json};

use super::{Event, Inbound, Job};
use crate::config::{WhatsappAccount, WhatsappEvent};
use crate::whatsapp::title_of;

pub(super) fn notification<'j>(
    account: &WhatsappAccount,
    jobs: impl Iterator<Item = (&'j Job, u64)>,
) -> Value {
    let changes: Vec<_> = jobs.map(|(job, wall_us)| change(account, job, wall_us / 1_000_000)).collect();
    json!({
        "object": "whatsapp_business_account",
        "entry": [{"id": account.business_account_id, "changes": changes}],
    })
}

fn change(account: &WhatsappAccount, job: &Job, wall_s: u64) -> Value {
    let mut value = json!({
        "messaging_product": "whatsapp",
        "metadata": {
            "display_phone_number": account.display_phone_number,
            "phone_number_id": account.phone_number_id,
        },
    });
    let sent = &job.sent;
    let mut field = "messages";
    match &job.event {
        Event::Status(status) => value["statuses"] = json!([reached(job, *status, wall_s)]),
        Event::Failed(code) => value["statuses"] = json!([failed(job, *code, wall_s)]),
        Event::Inbound(inbound) => {
            value["contacts"] = json!([{"profile": {"name": "Sandbox Person"}, "wa_id": sent.address}]);
            value["messages"] = json!([written(account, job, inbound, wall_s)]);
        }
        Event::Preference { stop } => {
            field = "user_preferences";
            value["contacts"] = json!([{"profile": {"name": "Sandbox Person"}, "wa_id": sent.address}]);
            value["user_preferences"] = json!([{
                "wa_id": sent.address,
                "detail": if *stop { "User requested to stop marketing messages" } else { "User requested to resume marketing messages" },
                "category": "marketing_messages",
                "value": if *stop { "stop" } else { "resume" },
                "timestamp": wall_s,
            }]);
        }
        Event::Email(_) | Event::Sms(_) | Event::Raw(_) => {}
    }
    json!({"field": field, "value": value})
}

fn reached(job: &Job, status: WhatsappEvent, wall_s: u64) -> Value {
    let name = match status {
        WhatsappEvent::Sent => "sent",
        WhatsappEvent::Delivered => "delivered",
        WhatsappEvent::Read => "read",
    };
    let mut object = status_of(job, name, wall_s);
    let category = &job.sent.category;
    if status != WhatsappEvent::Read {
        object["conversation"] =
            json!({"id": format!("conv-{}", job.sent.address), "origin": {"type": category}});
        object["pricing"] =
            json!({"billable": true, "pricing_model": "PMP", "type": "regular", "category": category});
    }
    if status == WhatsappEvent::Sent {
        object["conversation"]["expiration_timestamp"] = (wall_s + 86_400).to_string().into();
    }
    object
}

fn failed(job: &Job, code: u32, wall_s: u64) -> Value {
    let mut object = status_of(job, "failed", wall_s);
    let title = title_of(code);
    object["errors"] = json!([{
        "code": code,
        "title": title,
        "message": title,
        "error_data": {"details": title},
        "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
    }]);
    object
}

fn status_of(job: &Job, name: &str, wall_s: u64) -> Value {
    let sent = &job.sent;
    let mut object = json!({
        "id": sent.provider_id,
        "status": name,
        "timestamp": wall_s.to_string(),
        "recipient_id": sent.address,
    });
    if !sent.message_id.is_empty() {
        object["biz_opaque_callback_data"] = sent.message_id.as_str().into();
    }
    object
}

fn written(account: &WhatsappAccount, job: &Job, inbound: &Inbound, wall_s: u64) -> Value {
    let sent = &job.sent;
    let mut message = json!({
        "from": sent.address,
        "id": format!("wamid.inbound{:016X}", job.number),
        "timestamp": wall_s.to_string(),
    });
    let (kind, content) = match inbound {
        Inbound::Text { body } => ("text", json!({ "body": body })),
        Inbound::Button { payload, text } => ("button", json!({"payload": payload, "text": text})),
        Inbound::ButtonReply { id, title } => {
            ("interactive", json!({"type": "button_reply", "button_reply": {"id": id, "title": title}}))
        }
    };
    if kind != "text" && !sent.provider_id.is_empty() {
        message["context"] = json!({"from": account.display_phone_number, "id": sent.provider_id});
    }
    message["type"] = kind.into();
    message[kind] = content;
    message
}
