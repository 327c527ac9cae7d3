//! Everything that was sent to one person, over every channel, by time. Found by an index of recipients by contact;
//! what became of a page's messages is read in two statements, however many they are.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    StoreResult,
    listing::{Part, Way},
};
use crate::{
    domain::{
        channel::{Channel, MessageClass},
        event::EventKind,
        outcome::{FactKind, Reason},
        status::{AttemptFact, Known, RecipientState, Standing},
    },
    id::{CampaignId, ContactId, MessageId, TenantId},
};

/// A message to the person.
#[derive(Debug, Clone)]
pub struct Sent {
    pub message: MessageId,
    pub campaign_name: String,
    /// Whether it belonged to a campaign, or was sent alone.
    pub alone: bool,
    pub channel: Channel,
    pub class: MessageClass,
    pub address: String,
    /// When the first attempt was recorded; before that, when its campaign was launched.
    pub at: Timestamp,
    pub state: RecipientState,
    /// Why, where the state is none that was wished for.
    pub reason: Option<Reason>,
    /// In the order of time.
    pub moments: Vec<Moment>,
}

/// What happened to a message at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    pub what: &'static str,
    pub at: Timestamp,
    pub attempt: Option<i16>,
    pub reason: Option<String>,
    pub detail: Option<String>,
}

/// The last message of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    at: Timestamp,
    campaign: CampaignId,
    n: i32,
}

impl Sent {
    pub const fn place(&self) -> Place {
        Place { at: self.at, campaign: self.message.campaign, n: self.message.n }
    }
}

#[derive(Debug)]
struct Fact {
    attempt: i16,
    kind: FactKind,
    at: Timestamp,
    reason: Option<String>,
    detail: Option<String>,
}

impl Fact {
    fn of_attempt(&self) -> AttemptFact {
        let reason = self.reason.as_deref().and_then(|reason| reason.parse().ok());
        AttemptFact { attempt: self.attempt, kind: self.kind, reason }
    }
}

#[derive(Debug)]
struct Told {
    kind: EventKind,
    at: Timestamp,
    detail: Option<String>,
}

type Of<T> = HashMap<(Uuid, i32), Vec<T>>;

/// How many messages there are, of a contact that was read before.
pub async fn count(tx: &mut PgConnection, tenant: TenantId, contact: ContactId) -> StoreResult<u64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from recipients r join campaigns k on k.id = r.campaign_id
           where r.contact_id = $2 and k.tenant_id = $1"#,
        tenant.uuid(),
        contact.uuid(),
    );
    Ok(u64::try_from(count.fetch_one(tx).await?).unwrap_or(0))
}

struct Found {
    campaign_id: Uuid,
    n: i32,
    address: String,
    excluded: Option<String>,
    name: String,
    alone: bool,
    channel: Channel,
    class: MessageClass,
    at: jiff_sqlx::Timestamp,
}

/// A part of the messages. What they are ordered by is computed of all of them, whichever way.
pub async fn page(
    tx: &mut PgConnection,
    tenant: TenantId,
    contact: ContactId,
    way: Way,
    part: &Part<Place>,
) -> StoreResult<Vec<Sent>> {
    macro_rules! found {
        ($after:literal, $order:literal) => {
            sqlx::query_as!(
                Found,
                r#"select s.campaign_id as "campaign_id!", s.n as "n!", s.address as "address!", s.excluded, s.name as "name!",
                  s.alone as "alone!", s.channel as "channel!: Channel", s.class as "class!: MessageClass",
                  s.at as "at!: _"
           from (
               select r.campaign_id, r.n, r.address, r.excluded, k.name, k.kind = 'direct' as alone, k.channel, k.class,
                      coalesce((select min(f.at) from facts_of(r.campaign_id, r.n) f),
                               k.launched_at, k.created_at) as at
               from recipients r join campaigns k on k.id = r.campaign_id
               where r.contact_id = $2 and k.tenant_id = $1
           ) s
           where $3::timestamptz is null or (s.at, s.campaign_id, s.n) "#
                    + $after
                    + " ($3, $4::uuid, $5::integer) order by "
                    + $order
                    + " limit $6 offset $7",
                tenant.uuid(),
                contact.uuid(),
                part.after.map(|place| place.at.to_sqlx()) as _,
                part.after.map(|place| place.campaign.uuid()),
                part.after.map(|place| place.n),
                part.limit,
                part.offset,
            )
            .fetch_all(&mut *tx)
            .await?
        };
    }
    let rows = match way {
        Way::Up => found!(">", "s.at, s.campaign_id, s.n"),
        Way::Down => found!("<", "s.at desc, s.campaign_id desc, s.n desc"),
    };
    let campaigns: Vec<Uuid> = rows.iter().map(|row| row.campaign_id).collect();
    let numbers: Vec<i32> = rows.iter().map(|row| row.n).collect();
    let mut facts = facts(tx, &campaigns, &numbers).await?;
    let mut events = events(tx, &campaigns, &numbers).await?;
    let sent = rows.into_iter().map(|row| {
        let key = (row.campaign_id, row.n);
        let facts = facts.remove(&key).unwrap_or_default();
        let events = events.remove(&key).unwrap_or_default();
        let standing = standing(row.excluded.as_deref(), &facts, &events);
        Sent {
            message: MessageId { campaign: row.campaign_id.into(), n: row.n },
            campaign_name: row.name,
            alone: row.alone,
            channel: row.channel,
            class: row.class,
            address: row.address,
            at: row.at.to_jiff(),
            state: standing.state(),
            reason: standing.reason(),
            moments: moments(facts, events),
        }
    });
    Ok(sent.collect())
}

async fn facts(tx: &mut PgConnection, campaigns: &[Uuid], numbers: &[i32]) -> StoreResult<Of<Fact>> {
    let rows = sqlx::query!(
        r#"select m.campaign_id as "campaign_id!", m.n as "n!", r.attempt as "attempt!", r.kind as "kind!: FactKind",
                  r.at as "at!: jiff_sqlx::Timestamp", r.reason, r.detail
           from unnest($1::uuid[], $2::integer[]) as m (campaign_id, n)
           cross join lateral facts_of(m.campaign_id, m.n) r"#,
        campaigns,
        numbers,
    )
    .fetch_all(tx)
    .await?;
    let mut of = Of::default();
    for row in rows {
        let fact = Fact {
            attempt: row.attempt,
            kind: row.kind,
            at: row.at.to_jiff(),
            reason: row.reason,
            detail: row.detail,
        };
        of.entry((row.campaign_id, row.n)).or_default().push(fact);
    }
    Ok(of)
}

async fn events(tx: &mut PgConnection, campaigns: &[Uuid], numbers: &[i32]) -> StoreResult<Of<Told>> {
    let rows = sqlx::query!(
        r#"select e.campaign_id, e.n, e.kind as "kind: EventKind", e.at as "at: jiff_sqlx::Timestamp", e.detail
           from unnest($1::uuid[], $2::integer[]) as m (campaign_id, n)
           join events e on e.campaign_id = m.campaign_id and e.n = m.n"#,
        campaigns,
        numbers,
    )
    .fetch_all(tx)
    .await?;
    let mut of = Of::default();
    for row in rows {
        let told = Told { kind: row.kind, at: row.at.to_jiff(), detail: row.detail };
        of.entry((row.campaign_id, row.n)).or_default().push(told);
    }
    Ok(of)
}

fn standing(excluded: Option<&str>, facts: &[Fact], events: &[Told]) -> Standing {
    let facts: Vec<AttemptFact> = facts.iter().map(Fact::of_attempt).collect();
    let events: Vec<(EventKind, Timestamp)> = events.iter().map(|told| (told.kind, told.at)).collect();
    let excluded = excluded.and_then(|reason| reason.parse().ok());
    Known { excluded, facts: &facts, events: &events, scheduled: false }.standing()
}

fn moments(facts: Vec<Fact>, events: Vec<Told>) -> Vec<Moment> {
    let facts = facts.into_iter().map(|fact| Moment {
        what: fact.kind.as_str(),
        at: fact.at,
        attempt: Some(fact.attempt),
        reason: fact.reason,
        detail: fact.detail,
    });
    let events = events.into_iter().map(|told| Moment {
        what: told.kind.as_str(),
        at: told.at,
        attempt: None,
        reason: None,
        detail: told.detail,
    });
    let mut moments: Vec<Moment> = facts.chain(events).collect();
    moments.sort_by_key(|moment| moment.at);
    moments
}
