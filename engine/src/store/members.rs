//! The recipients of a campaign, one by one: who they are, and what became of their message.

use jiff::Timestamp;
use sqlx::PgConnection;

use super::{StoreResult, listing::Way};
use crate::{
    domain::{
        event::{DeliveryState, EventKind},
        outcome::{FactKind, Reason},
    },
    id::{CampaignId, ContactId, MessageId, TenantId},
};

#[derive(Debug, Clone)]
pub struct Member {
    pub message: MessageId,
    pub contact: Option<ContactId>,
    pub address: String,
    pub variant: i16,
    /// `excluded`, `waiting`, `accepted`, `sent`, `delivered`, `read`, `failed`, `suppressed`, `unknown` or `abandoned`.
    pub state: &'static str,
    pub reason: Option<String>,
    /// The reason as a sentence.
    pub because: Option<String>,
    /// Of the latest that is known.
    pub at: Option<Timestamp>,
}

struct Row {
    n: i32,
    contact_id: Option<uuid::Uuid>,
    address: String,
    variant: i16,
    excluded: Option<String>,
    kind: Option<FactKind>,
    reason: Option<String>,
    at: Option<jiff_sqlx::Timestamp>,
    events: Vec<EventKind>,
    event_at: Option<jiff_sqlx::Timestamp>,
}

impl Row {
    fn state(&self) -> &'static str {
        if self.excluded.is_some() {
            return "excluded";
        }
        match self.kind {
            None | Some(FactKind::Retry) => "waiting",
            Some(FactKind::Accepted) => DeliveryState::after(self.events.iter().copied()).as_str(),
            Some(other) => other.as_str(),
        }
    }

    fn member(self, campaign: CampaignId) -> Member {
        let state = self.state();
        let known = self.event_at.or(self.at);
        let reason = self.excluded.or(self.reason);
        let because = reason.as_ref().map(|reason| {
            reason.parse().map_or_else(|_| reason.clone(), |reason: Reason| reason.sentence().to_owned())
        });
        Member {
            message: MessageId { campaign, n: self.n },
            contact: self.contact_id.map(Into::into),
            address: self.address,
            variant: self.variant,
            state,
            reason,
            because,
            at: known.map(jiff_sqlx::Timestamp::to_jiff),
        }
    }
}

/// The next recipients of a campaign behind recipient number `after`, whichever way the numbers go.
pub async fn list(
    tx: &mut PgConnection,
    tenant: TenantId,
    campaign: CampaignId,
    (way, after): (Way, i32),
    limit: i64,
) -> StoreResult<Vec<Member>> {
    macro_rules! page {
        ($after:literal, $order:literal) => {
            sqlx::query_as!(
                Row,
                r#"select r.n, r.contact_id, r.address, r.variant, r.excluded, speaks.kind as "kind?: FactKind",
                  speaks.reason as "reason?", speaks.at as "at?: jiff_sqlx::Timestamp",
                  coalesce(heard.kinds, '{}') as "events!: Vec<EventKind>", heard.at as "event_at?: jiff_sqlx::Timestamp"
           from (select n, contact_id, address, variant, excluded from recipients
                 where campaign_id = $2 and n "#
                    + $after
                    + " $3 and exists (select from campaigns where id = $2 and tenant_id = $1)
                 order by "
                    + $order
                    + r#" limit $4) r
           -- What holds of what is known: an acceptance, else of the latest attempt the most certain.
           left join lateral (
               select kind, reason, at from results
               where campaign_id = $2 and n = r.n
               order by kind = 0 desc, attempt desc, array_position(array[1, 2, 3, 5, 4]::smallint[], kind)
               limit 1
           ) speaks on true
           left join lateral (
               select array_agg(distinct kind) as kinds, max(at) as at from events where campaign_id = $2 and n = r.n
           ) heard on true
           order by r."#
                    + $order,
                tenant.uuid(),
                campaign.uuid(),
                after,
                limit,
            )
            .fetch_all(tx)
            .await?
        };
    }
    let rows = match way {
        Way::Up => page!(">", "n"),
        Way::Down => page!("<", "n desc"),
    };
    Ok(rows.into_iter().map(|row| row.member(campaign)).collect())
}
