//! Asking Brevo's event log what became of messages whose answer was lost.
//!
//! The log may be asked 300 times an hour, so one question has to serve many messages, and it does not echo
//! `X-Mailin-custom`, so tags have to name them. A message sent by itself has its id as its only tag. In a batch all
//! versions share their tags: there the tag names a slice of the campaign's recipients, small enough that its events fit
//! into one answer, and the address finds the message in it (a campaign writes to an address once). As no mail bears
//! both kinds, an event is never taken for that of another message to the same address.

use std::collections::{BTreeSet, HashMap};

use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;
use serde_json::Value;

use super::{Client, email::bare, email_hooks};
use crate::{
    domain::event::Event,
    id::{CampaignId, MessageId},
    providers::{LookUp, Sought, http::Size, loose, settings},
};

/// Messages that one question may ask for: their tags have to fit into a URL of 8 KB.
pub(super) const LIMIT: usize = 80;
/// Events in one answer.
const EVENTS: &str = "5000";
/// Recipients that share a batch tag.
const SLICE: i32 = 500;
/// A request whose recipients are spread over more slices than this, such as late retries, has no tags: its messages are
/// resolved by webhook or deadline.
const BATCH_TAGS: usize = 10;

fn slice_tag(message: MessageId) -> String {
    format!("{}.{}", message.campaign, message.n.div_euclid(SLICE))
}

pub(super) fn batch_tags(messages: impl Iterator<Item = MessageId>) -> Vec<String> {
    let slices: BTreeSet<(CampaignId, i32)> = messages.map(|m| (m.campaign, m.n.div_euclid(SLICE))).collect();
    if slices.len() > BATCH_TAGS {
        return Vec::new();
    }
    slices.into_iter().map(|(campaign, slice)| format!("{campaign}.{slice}")).collect()
}

pub(super) async fn look_up(client: &Client, sought: &[Sought], since: Timestamp, now: Timestamp) -> LookUp {
    let index = Index::of(sought);
    let mut url = settings::below(&client.base, "smtp/statistics/events");
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date().to_string();
    url.query_pairs_mut()
        .append_pair("limit", EVENTS)
        .append_pair("startDate", &day(since))
        .append_pair("endDate", &day(now))
        .append_pair("tags", &serde_json::to_string(&index.tags()).expect("a list of texts is JSON"));
    let reply = client
        .http
        .get(&settings::uri(&url), Size::Many)
        .await
        .map_err(|_| "Brevo's event log cannot be reached".to_owned())?;
    if reply.status != 200 {
        let words = client.refusal(&reply).words.unwrap_or_default();
        return Err(format!("Brevo's event log answers {}: {words}", reply.status));
    }
    let body = reply.body.map_err(|_| "Brevo's event log did not answer in full".to_owned())?;
    index.events(&body).ok_or_else(|| "Brevo's event log answers what cannot be read".to_owned())
}

/// The messages sought, by what an event of the log can be known by.
struct Index<'a> {
    by_id: HashMap<String, MessageId>,
    by_slice: HashMap<(String, &'a str), MessageId>,
}

#[derive(Deserialize)]
struct Log {
    /// Absent where there are none.
    #[serde(default)]
    events: Vec<Value>,
}

impl<'a> Index<'a> {
    fn of(sought: &'a [Sought]) -> Self {
        Self {
            by_id: sought.iter().map(|s| (s.message.to_string(), s.message)).collect(),
            by_slice: sought.iter().map(|s| ((slice_tag(s.message), s.to.as_str()), s.message)).collect(),
        }
    }

    fn tags(&self) -> BTreeSet<&str> {
        let slices = self.by_slice.keys().map(|(tag, _)| tag.as_str());
        self.by_id.keys().map(String::as_str).chain(slices).collect()
    }

    fn events(&self, body: &[u8]) -> Option<Vec<Event>> {
        let log: Log = serde_json::from_slice(body).ok()?;
        Some(log.events.iter().filter_map(|event| self.event(event)).collect())
    }

    fn event(&self, event: &Value) -> Option<Event> {
        let tags = loose::list(event.get("tag")).into_iter().chain(loose::list(event.get("tags")));
        // Several tags of one mail come joined.
        let tags: Vec<String> =
            tags.flat_map(|tag| tag.split(',').map(|t| t.trim().to_owned()).collect::<Vec<_>>()).collect();
        let address = loose::text(event, "email")?.to_lowercase();
        let message = tags
            .iter()
            .find_map(|tag| self.by_id.get(tag))
            .or_else(|| tags.iter().find_map(|tag| self.by_slice.get(&(tag.clone(), address.as_str()))))?;
        let at: Timestamp = loose::text(event, "date")?.parse().ok()?;
        let provider_id = loose::text(event, "messageId").and_then(|id| bare(&id));
        email_hooks::logged(*message, &loose::text(event, "event")?, provider_id, at, event)
    }
}

#[cfg(test)]
#[path = "look_up_tests.rs"]
mod tests;
