//! Notifications inside the application: the provider is our own database.
//!
//! What is "sent" is put where its contact finds it, under an id that follows from the message's: however often a message
//! comes, from whichever process and attempt, it stands there once. So what a database that was away leaves open may simply
//! be tried again, and nothing is ever unknown. Nobody calls back: that somebody has read it, the API learns itself.

use std::{collections::HashSet, time::Duration};

use fanfare_templates::Rendered;
use futures::future::BoxFuture;
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Adapter, Answer, BatchAnswer, Effect, Envelope, HookError, HookItem, HookRequest,
    classify::{self, Said, Verdict},
};
use crate::{
    domain::{
        address::contact,
        channel::Provider,
        outcome::{Outcome, Reason},
    },
    id::{MessageId, TenantId},
    store::{Store, notifications::Notice},
};

/// Rows of one statement.
const BATCH: usize = 500;
/// A row stands for as long as anybody could come again with its message.
const KEY_LIFETIME: Duration = Duration::from_hours(48);

/// Of one tenant.
#[derive(Debug, Clone)]
pub struct InApp {
    store: Store,
    tenant: TenantId,
}

impl InApp {
    pub const fn new(store: Store, tenant: TenantId) -> Self {
        Self { store, tenant }
    }

    async fn put_one(&self, notice: Notice) -> Answer {
        let message = notice.message;
        match self.store.put_notices(self.tenant, &[notice]).await {
            Ok(put) => Answer {
                outcome: outcome(&put, message),
                effect: Effect::None,
                quota: None,
                words: None,
                stop: None,
            },
            Err(error) if error.is_transient() => away(),
            Err(error) => {
                tracing::error!(%error, %message, "a notification can't be stored");
                let words = Some("the database refused the notification".to_owned());
                Verdict::Refused(Reason::ContentRejected).answer(Said { words, ..Said::default() })
            }
        }
    }

    async fn put(&self, notices: Vec<Notice>) -> BatchAnswer {
        match self.store.put_notices(self.tenant, &notices).await {
            Ok(put) => {
                let answers = notices.iter().map(|notice| outcome(&put, notice.message)).collect();
                BatchAnswer::Each { answers, quota: None }
            }
            Err(error) if error.is_transient() => BatchAnswer::All(away()),
            Err(_) => BatchAnswer::Bisect,
        }
    }
}

fn notice(envelope: &Envelope<'_>) -> Option<Notice> {
    let Rendered::InApp(content) = envelope.content else { return None };
    // What is no id is nobody's.
    let contact = contact(envelope.to).unwrap_or_else(|_| Uuid::nil().into());
    Some(Notice { message: envelope.message, contact, content: content.clone() })
}

fn outcome(put: &HashSet<MessageId>, message: MessageId) -> Outcome {
    if put.contains(&message) {
        return Outcome::Accepted { provider_id: None };
    }
    let detail = Some("there is no contact with this id, or it was erased".to_owned());
    Outcome::Failed { reason: Reason::RecipientRejected, detail }
}

/// Perhaps it was committed; to try again is harmless all the same.
fn away() -> Answer {
    Verdict::Trouble(0).answer(Said::default())
}

impl Adapter for InApp {
    fn provider(&self) -> Provider {
        Provider::InApp
    }

    fn key_lifetime(&self) -> Option<Duration> {
        Some(KEY_LIFETIME)
    }

    fn batch_limit(&self) -> usize {
        BATCH
    }

    fn send(&self, envelope: Envelope<'_>) -> BoxFuture<'_, Answer> {
        match notice(&envelope) {
            Some(notice) => Box::pin(self.put_one(notice)),
            None => Box::pin(std::future::ready(classify::wrong_content("notifications"))),
        }
    }

    fn send_batch<'a>(&'a self, _key: Uuid, envelopes: &'a [Envelope<'a>]) -> BoxFuture<'a, BatchAnswer> {
        match envelopes.iter().map(notice).collect::<Option<Vec<_>>>() {
            Some(notices) => Box::pin(self.put(notices)),
            None => Box::pin(std::future::ready(BatchAnswer::Bisect)),
        }
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.store.ping().await.map_err(|error| error.to_string()) })
    }

    fn verify(&self, _request: &HookRequest<'_>) -> Result<(), HookError> {
        Err(HookError::Forged)
    }

    fn handshake(&self, _query: &[(String, String)]) -> Option<String> {
        None
    }

    fn parse(&self, _body: &[u8], _received: Timestamp) -> Result<Vec<HookItem>, HookError> {
        Err(HookError::Malformed)
    }
}
