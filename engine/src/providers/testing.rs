//! What the tests of all adapters share.

use fanfare_templates::{Rendered, segments};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Envelope, HookItem};
use crate::{
    domain::channel::MessageClass,
    id::{CampaignId, MessageId},
};

pub(super) const CAMPAIGN: CampaignId =
    CampaignId::from_uuid(Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_0001));
pub(super) const KEY: Uuid = Uuid::from_u128(0x4f0c_0000_0000_4000_8000_0000_0000_0001);

pub(super) const fn message(n: i32) -> MessageId {
    MessageId { campaign: CAMPAIGN, n }
}

pub(super) fn received() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub(super) fn mail(subject: &str) -> Rendered {
    Rendered::Email {
        subject: subject.to_owned(),
        html: format!("<p>{subject}</p>"),
        text: subject.to_owned(),
    }
}

pub(super) fn sms(text: &str) -> Rendered {
    Rendered::Sms { text: text.to_owned(), segments: segments(text) }
}

pub(super) const fn envelope<'a>(
    n: i32,
    to: &'a str,
    class: MessageClass,
    content: &'a Rendered,
) -> Envelope<'a> {
    Envelope { message: message(n), to, class, content, key: KEY, unsubscribe: None }
}

/// The items, a line each.
pub(super) fn lines(items: &[HookItem]) -> String {
    items.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(item: &HookItem) -> String {
    match item {
        HookItem::Event(event) => {
            let n = event.message.n;
            let (id, reason) = (
                event.provider_id.as_deref().unwrap_or("-"),
                event.reason.map_or("-", |reason| reason.as_str()),
            );
            let (kind, at, dedup) = (event.kind, event.at, &event.dedup.simple().to_string()[..8]);
            format!(
                "event {n} {kind} at {at} id {id} reason {reason} dedup {dedup} detail {:?}",
                event.detail
            )
        }
        HookItem::Wish { channel, address, stop, scope, at } => {
            format!("wish {channel} {address} {} {scope} at {at}", if *stop { "stop" } else { "resume" })
        }
        HookItem::Template(news) => {
            format!("template {} {} {} {:?}", news.name, news.language, news.status, news.reason)
        }
        HookItem::Foreign => "foreign".to_owned(),
    }
}
