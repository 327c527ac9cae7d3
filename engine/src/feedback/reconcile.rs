//! Asks providers about messages whose answer was lost.
//!
//! Only where a provider can be asked (Brevo's e-mail), and seldom: its event log takes 300 questions an hour from an
//! account. So a call asks once, about as many messages as one question can name; which of them changes with time, so
//! that messages that the provider does not know keep nobody waiting. What is learnt is applied as webhooks are; what is
//! not stays unknown until its deadline. Idempotent.

use jiff::{SignedDuration, Timestamp};

use super::count;
use crate::{
    id::{AccountId, MessageId},
    providers::{Adapter, Sought},
    store::{
        Store, StoreError,
        events::{self, TenantEvent},
    },
};

/// The log may be behind, and its clock differ.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);

#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Provider(String),
}

/// Asks an account's provider about messages that it was given after `since`; returns how many attempts are no longer
/// unknown.
pub async fn look_up(
    store: &Store,
    adapter: &dyn Adapter,
    account: AccountId,
    messages: &[MessageId],
    since: Timestamp,
) -> Result<usize, LookUpError> {
    let now = store.now().await?;
    let asked = portion(messages, adapter.look_up_limit(), now);
    let destinations = store.destinations(account, &asked).await?;
    let Some(tenant) = destinations.tenant else { return Ok(0) };
    let sought: Vec<Sought> =
        destinations.messages.into_iter().map(|(message, to)| Sought { message, to }).collect();
    let events = adapter.look_up(&sought, since - MARGIN, now).await.map_err(LookUpError::Provider)?;
    // Only what this account was asked about is in the answer.
    let events: Vec<TenantEvent> =
        events.into_iter().map(|event| TenantEvent { tenant, channel: None, event }).collect();
    let mut tx = store.begin().await?;
    let applied = events::apply(&mut tx, &events, &[], "look_up").await?;
    tx.commit().await.map_err(StoreError::from)?;
    count(&applied);
    Ok(usize::try_from(applied.settled).unwrap_or(usize::MAX))
}

/// At most `limit` of the messages: those whose turn it is in this minute.
fn portion(messages: &[MessageId], limit: usize, now: Timestamp) -> Vec<MessageId> {
    if limit == 0 || messages.is_empty() {
        return Vec::new();
    }
    let turns = messages.len().div_ceil(limit);
    let minute = usize::try_from(now.as_second() / 60).unwrap_or(0);
    messages.chunks(limit).nth(minute % turns).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CampaignId;

    #[test]
    fn everybody_has_a_turn() {
        let campaign = CampaignId::from_uuid(uuid::Uuid::nil());
        let messages: Vec<_> = (0..205).map(|n| MessageId { campaign, n }).collect();
        let at = |minute: i64| Timestamp::from_second(minute * 60 + 30).unwrap();
        let mut seen: Vec<_> = (0..3).flat_map(|minute| portion(&messages, 80, at(minute))).collect();
        seen.sort_unstable();
        assert_eq!(seen, messages);
        assert_eq!(portion(&messages, 0, at(0)), []);
        assert_eq!(portion(&[], 80, at(0)), []);
    }
}
