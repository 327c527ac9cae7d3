//! Which request is which: of every five four read and one sends, and the reads are of eight kinds in turn.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use fanfare_engine::id::{CampaignId, ContactId};
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{access::Access, connection::Ask};
use crate::{otp, people::Person, seed};

/// Of so many requests the last sends.
pub(crate) const SENDS: u64 = 5;
/// Sent messages that are asked about.
const REMEMBERED: usize = 256;
/// Contacts that are asked for by their id.
const CONTACTS: i64 = 4_096;
/// Takes people in an order that is none.
const STRIDE: u64 = 7_919;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    Campaigns,
    Campaign,
    Analytics,
    MessagesByAddress,
    Contact,
    ContactsFound,
    DeliveryStatus,
    Notifications,
    Send,
}

const READS: [Kind; 8] = [
    Kind::Campaigns,
    Kind::Campaign,
    Kind::Analytics,
    Kind::MessagesByAddress,
    Kind::Contact,
    Kind::ContactsFound,
    Kind::DeliveryStatus,
    Kind::Notifications,
];

/// The requests of a run, each of which follows from its number and from what was sent before it.
#[derive(Debug)]
pub(crate) struct Calls {
    access: Access,
    campaign: CampaignId,
    people: u64,
    contacts: Vec<ContactId>,
    /// Messages that were taken in, the newest last.
    sent: Mutex<VecDeque<String>>,
}

impl Calls {
    pub(crate) async fn prepare(
        pool: &PgPool,
        access: Access,
        campaign: CampaignId,
        people: u64,
    ) -> anyhow::Result<Self> {
        let contacts: Vec<Uuid> =
            sqlx::query_scalar("select id from contacts limit $1").bind(CONTACTS).fetch_all(pool).await?;
        let contacts = contacts.into_iter().map(ContactId::from_uuid).collect();
        Ok(Self { access, campaign, people, contacts, sent: Mutex::default() })
    }

    pub(crate) fn kind(k: u64) -> Kind {
        if k % SENDS == SENDS - 1 {
            return Kind::Send;
        }
        let reads = k - k / SENDS;
        READS[usize::try_from(reads % READS.len() as u64).unwrap_or_default()]
    }

    /// What request number `k` asks, and as whom.
    pub(crate) fn ask(&self, k: u64) -> (&str, Ask) {
        let person = Person::number(k * STRIDE % self.people, 0);
        let path = match Self::kind(k) {
            Kind::Send => return (&self.access.key, send(k / SENDS)),
            // A program has none of its own.
            Kind::Notifications => {
                return (&self.access.token, Ask::get("/api/notifications?limit=20".into()));
            }
            Kind::Campaigns => "/api/campaigns?limit=20".to_owned(),
            Kind::Campaign => format!("/api/campaigns/{}", self.campaign),
            Kind::Analytics => format!("/api/campaigns/{}/analytics", self.campaign),
            Kind::MessagesByAddress => format!("/api/messages?address={}", person.address()),
            Kind::Contact => {
                let at = usize::try_from(k).unwrap_or_default() % self.contacts.len().max(1);
                self.contacts
                    .get(at)
                    .map_or_else(|| "/api/contacts".to_owned(), |id| format!("/api/contacts/{id}"))
            }
            Kind::ContactsFound => format!("/api/contacts?q={}", person.prefix()),
            Kind::DeliveryStatus => match self.earlier() {
                Some(message) => format!("/api/communication/delivery-status/{message}"),
                // Nothing was sent so far.
                None => "/api/messages?limit=20".to_owned(),
            },
        };
        (&self.access.key, Ask::get(path))
    }

    /// That a message was taken in.
    pub(crate) fn taken(&self, message: String) {
        let mut sent = self.sent();
        sent.push_back(message);
        if sent.len() > REMEMBERED {
            sent.pop_front();
        }
    }

    /// A message whose sending is some while ago.
    fn earlier(&self) -> Option<String> {
        self.sent().front().cloned()
    }

    fn sent(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One-time password number `number`.
fn send(number: u64) -> Ask {
    let message = json!({
        "to": otp::address(number),
        "templateId": seed::OTP_TEMPLATE,
        "parameters": {"code": format!("{:06}", number % 1_000_000)},
    });
    Ask::post("/api/communication/email/send", &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fifth_sends_and_the_reads_take_turns() {
        let kinds: Vec<Kind> = (0..40).map(Calls::kind).collect();
        assert_eq!(kinds.iter().filter(|&&kind| kind == Kind::Send).count(), 8);
        for read in READS {
            assert_eq!(kinds.iter().filter(|&&kind| kind == read).count(), 4, "{read:?}");
        }
    }
}
