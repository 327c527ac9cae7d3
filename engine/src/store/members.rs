//! The recipients of a campaign, one by one: who they are, and what became of their message.

use jiff::Timestamp;
use sqlx::PgConnection;

use super::{StoreResult, listing::Way};
use crate::{
    domain::{
        event::{DeliveryState, EventKind},
        outcome::{FactKind, Reason},
        status::{AttemptFact, RecipientState, Standing},
    },
    id::{CampaignId, ContactId, MessageId, TenantId},
};

#[derive(Debug, Clone)]
pub struct Member {
    pub message: MessageId,
    pub contact: Option<ContactId>,
    pub address: String,
    pub variant: i16,
    pub state: RecipientState,
    pub reason: Option<Reason>,
    /// Of the latest that is known.
    pub at: Option<Timestamp>,
}

struct Row {
    n: i32,
    contact_id: Option<uuid::Uuid>,
    address: String,
    variant: i16,
    excluded: Option<String>,
    attempt: Option<i16>,
    kind: Option<FactKind>,
    reason: Option<String>,
    at: Option<jiff_sqlx::Timestamp>,
    events: Vec<EventKind>,
    event_at: Option<jiff_sqlx::Timestamp>,
}

impl Row {
    fn standing(&self) -> Standing {
        let reason = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
        let speaks = self.attempt.zip(self.kind);
        Standing {
            excluded: reason(&self.excluded),
            speaks: speaks.map(|(attempt, kind)| AttemptFact { attempt, kind, reason: reason(&self.reason) }),
            delivery: DeliveryState::after(self.events.iter().copied()),
            scheduled: false,
        }
    }

    fn member(self, campaign: CampaignId) -> Member {
        let standing = self.standing();
        let known = self.event_at.or(self.at);
        Member {
            message: MessageId { campaign, n: self.n },
            contact: self.contact_id.map(Into::into),
            address: self.address,
            variant: self.variant,
            state: standing.state(),
            reason: standing.reason(),
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
                r#"select r.n, r.contact_id, r.address, r.variant, r.excluded, speaks.attempt as "attempt?", speaks.kind as "kind?: FactKind",
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
               select attempt, kind, reason, at from facts_of($2, r.n)
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
