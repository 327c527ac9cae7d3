//! Brevo's event objects, e-mail and SMS.

use serde_json::{Map, Value, json};

use super::{Job, Sent};
use crate::clock::timestamp;
use crate::config::{EmailEvent, SmsEvent};

/// Number of the webhook; it is in every event and is not the event's.
const EMAIL_WEBHOOK: u64 = 26_224;
const SMS_WEBHOOK: u64 = 26_570;

/// Brevo writes `date` in Central European Time, whatever the season here: a receiver must not read it.
fn local_date(wall_us: u64) -> String {
    let offset = jiff::tz::TimeZone::fixed(jiff::tz::offset(1));
    offset.to_datetime(timestamp(wall_us)).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

pub(super) fn email(job: &Job, event: EmailEvent, wall_us: u64) -> Value {
    let sent = &job.sent;
    let mut object = json!({
        "event": name(event),
        "email": sent.address,
        "id": EMAIL_WEBHOOK,
        "date": local_date(wall_us),
        "ts": wall_us / 1_000_000,
        "message-id": sent.provider_id,
        "ts_event": wall_us / 1_000_000,
        "subject": sent.subject,
        "sending_ip": "192.0.2.1",
        "ts_epoch": wall_us / 1_000,
        "mirror_link": "https://app-smtp.brevo.com/log/preview/1a2000f4-0000-4000-8000-000000000000",
        "contact_id": 0,
    });
    let Some(fields) = object.as_object_mut() else { return object };
    if !sent.message_id.is_empty() {
        fields.insert("X-Mailin-custom".to_owned(), sent.message_id.as_str().into());
    }
    if let Some(template) = sent.template_id {
        fields.insert("template_id".to_owned(), template.into());
    }
    add_tags(fields, sent, event);
    if let Some(reason) = reason(event, &sent.address) {
        fields.insert("reason".to_owned(), reason.into());
    }
    add_reading(fields, event);
    object
}

fn name(event: EmailEvent) -> &'static str {
    match event {
        EmailEvent::Request => "request",
        EmailEvent::Delivered => "delivered",
        EmailEvent::Deferred => "deferred",
        EmailEvent::SoftBounce => "soft_bounce",
        EmailEvent::HardBounce => "hard_bounce",
        EmailEvent::Spam => "spam",
        EmailEvent::Blocked => "blocked",
        EmailEvent::InvalidEmail => "invalid_email",
        EmailEvent::Error => "error",
        EmailEvent::Click => "click",
        EmailEvent::Opened => "opened",
        EmailEvent::UniqueOpened => "unique_opened",
        EmailEvent::ProxyOpen => "proxy_open",
        EmailEvent::Unsubscribed => "unsubscribed",
    }
}

/// `tag` is the list of tags as a JSON text, `tags` the list itself; an opening through a proxy has a list in `tag`.
fn add_tags(fields: &mut Map<String, Value>, sent: &Sent, event: EmailEvent) {
    if sent.tags.is_empty() {
        return;
    }
    let list = json!(sent.tags);
    let tag = if event == EmailEvent::ProxyOpen { list.clone() } else { Value::from(list.to_string()) };
    fields.insert("tag".to_owned(), tag);
    fields.insert("tags".to_owned(), list);
}

fn reason(event: EmailEvent, address: &str) -> Option<String> {
    match event {
        EmailEvent::HardBounce => {
            Some(" RecipientError: 550 5.5.0 Requested action not taken: mailbox unavailable.".to_owned())
        }
        EmailEvent::SoftBounce => {
            let domain = address.rsplit_once('@').map_or(address, |(_, domain)| domain);
            Some(format!("undefined Unable to find MX of domain {domain}"))
        }
        EmailEvent::Deferred => {
            Some("450 4.2.1 The user you are trying to contact is receiving mail too quickly".to_owned())
        }
        EmailEvent::Blocked => Some("blocked : due to blacklist user".to_owned()),
        EmailEvent::InvalidEmail => Some("Invalid email address".to_owned()),
        EmailEvent::Error => Some("Internal error".to_owned()),
        _ => None,
    }
}

fn add_reading(fields: &mut Map<String, Value>, event: EmailEvent) {
    let link = match event {
        EmailEvent::Click => "https://example.com/path",
        EmailEvent::Unsubscribed => "https://example.com/unsubscribe",
        EmailEvent::Opened | EmailEvent::UniqueOpened => "",
        EmailEvent::ProxyOpen => {
            // Live payloads misspell it in this one event.
            if let Some(epoch) = fields.remove("ts_epoch") {
                fields.insert("s_epoch".to_owned(), epoch);
            }
            return;
        }
        _ => return,
    };
    fields.insert("link".to_owned(), link.into());
    fields.insert("user_agent".to_owned(), "Mozilla/5.0 (Sandbox)".into());
    fields.insert("device_used".to_owned(), "DESKTOP".into());
}

pub(super) fn sms(job: &Job, event: SmsEvent, wall_us: u64) -> Value {
    let sent = &job.sent;
    let status = sms_status(event);
    let mut object = json!({
        "id": SMS_WEBHOOK,
        "to": sent.address,
        "messageId": sent.provider_id.parse::<u64>().unwrap_or_default(),
        "msg_status": status,
        "date": local_date(wall_us),
        "ts_event": wall_us / 1_000_000,
        "type": "transactional",
        "reference": {"1": sent.reference},
        "tag": sent.tags,
    });
    let extra = match event {
        SmsEvent::Sent | SmsEvent::Accepted => json!({
            "sms_count": sent.segments, "credits_used": sent.credits.0, "remaining_credit": sent.credits.1,
        }),
        SmsEvent::Delivered => json!({"status": "OK", "description": "delivered"}),
        SmsEvent::HardBounce => json!({
            "status": "KO", "description": "invalid number", "error_code": 5, "bounce_type": "hard_bounce",
        }),
        SmsEvent::SoftBounce => json!({
            "status": "KO", "description": "absent subscriber", "error_code": 27, "bounce_type": "soft_bounce",
        }),
        SmsEvent::Blacklisted => json!({"status": "KO", "description": "blacklisted"}),
        SmsEvent::Reply => json!({"reply": "STOP"}),
        SmsEvent::Unsubscribe => json!({"description": "unsubscribed"}),
    };
    if let (Some(fields), Value::Object(extra)) = (object.as_object_mut(), extra) {
        fields.extend(extra);
    }
    object
}

fn sms_status(event: SmsEvent) -> &'static str {
    match event {
        SmsEvent::Accepted => "accepted",
        SmsEvent::Sent => "sent",
        SmsEvent::Delivered => "delivered",
        SmsEvent::SoftBounce => "soft_bounce",
        SmsEvent::HardBounce => "hard_bounce",
        SmsEvent::Blacklisted => "blacklisted",
        SmsEvent::Reply => "reply",
        SmsEvent::Unsubscribe => "unsubscribe",
    }
}
