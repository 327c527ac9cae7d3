//! What came back about messages: events are appended, suppressions follow, and attempts whose fate was not known are
//! settled. All in the caller's transaction, in a constant number of statements, each of them a no-op when repeated.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Store, StoreResult,
    rollups::{self, Reached},
    suppressions::{self, Columns, Suppression},
};
use crate::{
    domain::{
        channel::Channel,
        event::{Event, EventKind, Scope},
        measure::Measures,
        outcome::{FactKind, Reason},
    },
    id::{AccountId, MessageId, TenantId},
};

/// An event, and whose word it is: it is believed about that tenant's messages only, and of an account about its channel's.
#[derive(Debug, Clone)]
pub struct TenantEvent {
    pub tenant: TenantId,
    /// Of the account that it came over; absent where it was seen by us.
    pub channel: Option<Channel>,
    pub event: Event,
}

/// A person's word about an address.
#[derive(Debug, Clone)]
pub struct TenantWish {
    pub tenant: TenantId,
    pub channel: Channel,
    pub address: String,
    pub stop: bool,
    pub scope: Scope,
    pub at: Timestamp,
}

/// What applying came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Events that were not known before, by kind.
    pub events: BTreeMap<EventKind, u64>,
    /// Events that were.
    pub repeated: u64,
    /// Events of messages that the tenant does not have, or not on that channel.
    pub orphans: u64,
    /// Suppressions that are new or newer.
    pub suppressed: u64,
    pub resumed: u64,
    /// Attempts that were unknown and are no more.
    pub settled: u64,
}

impl Applied {
    pub fn add(&mut self, other: Self) {
        for (kind, number) in other.events {
            *self.events.entry(kind).or_default() += number;
        }
        self.repeated += other.repeated;
        self.orphans += other.orphans;
        self.suppressed += other.suppressed;
        self.resumed += other.resumed;
        self.settled += other.settled;
    }
}

/// Applies events and wishes. `source` tells where suppressions come from.
pub async fn apply(
    tx: &mut PgConnection,
    events: &[TenantEvent],
    wishes: &[TenantWish],
    source: &'static str,
) -> StoreResult<Applied> {
    let known = recipients(tx, events).await?;
    let ours: Vec<(&TenantEvent, &Recipient)> = events
        .iter()
        .filter_map(|event| Some((event, known.get(&(event.tenant, event.event.message))?)))
        .filter(|(event, recipient)| event.channel.is_none_or(|channel| channel == recipient.channel))
        .collect();
    let new = insert(tx, &ours).await?;
    let known_now = ours.iter().filter(|(event, _)| new.contains(&key(&event.event)));
    rollups::note(&mut *tx, known_now.map(|(event, recipient)| reached(&event.event, recipient))).await?;
    let mut stops: Vec<(TenantId, Suppression<'_>)> = ours
        .iter()
        .filter(|(event, _)| new.contains(&key(&event.event)))
        .filter_map(|(event, recipient)| Some((event.tenant, suppression(&event.event, recipient, source)?)))
        .collect();
    stops.extend(wishes.iter().filter(|wish| wish.stop).map(|wish| (wish.tenant, wished(wish, source))));
    let resumptions: Vec<(TenantId, Suppression<'_>)> =
        wishes.iter().filter(|wish| !wish.stop).map(|wish| (wish.tenant, wished(wish, source))).collect();
    Ok(Applied {
        events: by_kind(&new),
        repeated: (ours.len() - new.len()) as u64,
        orphans: (events.len() - ours.len()) as u64,
        // A stop and a resumption in one portion: their times decide.
        suppressed: suppressions::insert(tx, &Columns::of(stops.iter().map(|(t, s)| (*t, s)))).await?,
        resumed: suppressions::resume(tx, &Columns::of(resumptions.iter().map(|(t, s)| (*t, s)))).await?,
        settled: settle(tx, proofs(ours.iter().map(|(event, _)| &event.event))).await?,
    })
}

const fn reached(event: &Event, recipient: &Recipient) -> Reached {
    let (message, variant, at) = (event.message, recipient.variant, event.at);
    Reached { message, variant, measures: Measures::of(event.kind), at }
}

fn by_kind(new: &HashSet<Key>) -> BTreeMap<EventKind, u64> {
    let mut sums = BTreeMap::new();
    for (_, kind, _) in new {
        *sums.entry(*kind).or_default() += 1;
    }
    sums
}

#[derive(Debug)]
struct Recipient {
    channel: Channel,
    address: String,
    variant: i16,
}

/// Who the messages went to, as far as they are the tenant's.
async fn recipients(
    tx: &mut PgConnection,
    events: &[TenantEvent],
) -> StoreResult<BTreeMap<(TenantId, MessageId), Recipient>> {
    if events.is_empty() {
        return Ok(BTreeMap::new());
    }
    let messages: HashSet<(TenantId, MessageId)> =
        events.iter().map(|event| (event.tenant, event.event.message)).collect();
    let (mut tenants, mut campaigns, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for (tenant, message) in messages {
        tenants.push(tenant.uuid());
        campaigns.push(message.campaign.uuid());
        numbers.push(message.n);
    }
    let rows = sqlx::query!(
        r#"select tenant_id as "tenant_id!", campaign_id as "campaign_id!", n as "n!", channel as "channel!: Channel",
                  address as "address!", variant as "variant!"
           from told_recipients($1, $2, $3)"#,
        &tenants,
        &campaigns,
        &numbers,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let message = MessageId { campaign: row.campaign_id.into(), n: row.n };
            (
                (row.tenant_id.into(), message),
                Recipient { channel: row.channel, address: row.address, variant: row.variant },
            )
        })
        .collect())
}

type Key = (MessageId, EventKind, Uuid);

const fn key(event: &Event) -> Key {
    (event.message, event.kind, event.dedup)
}

/// Appends what is not there yet, and tells what that was.
async fn insert(tx: &mut PgConnection, events: &[(&TenantEvent, &Recipient)]) -> StoreResult<HashSet<Key>> {
    if events.is_empty() {
        return Ok(HashSet::new());
    }
    // By key: whoever inserts several waits for others in the same order.
    let sorted: BTreeMap<Key, &Event> =
        events.iter().map(|(event, _)| (key(&event.event), &event.event)).collect();
    let shared = |event: &Event| (event.message.campaign.uuid(), event.kind.as_str());
    let mut groups: Vec<(Uuid, &str)> = sorted.values().map(|event| shared(event)).collect();
    groups.sort_unstable();
    groups.dedup();
    let group = |event: &Event| {
        let at = groups.binary_search(&shared(event)).expect("every event's group is among them");
        i32::try_from(at + 1).expect("a portion has fewer events than that")
    };
    let known = sqlx::query_scalar!(
        r#"select append_events($1, $2, $3, $4, $5, $6, $7) as "known!""#,
        &groups.iter().map(|group| group.0).collect::<Vec<_>>(),
        &groups.iter().map(|group| group.1).collect::<Vec<_>>() as _,
        &sorted.values().map(|event| group(event)).collect::<Vec<_>>(),
        &sorted.values().map(|event| event.message.n).collect::<Vec<_>>(),
        &sorted.values().map(|event| event.dedup).collect::<Vec<_>>(),
        sorted.values().map(|event| event.at.to_sqlx()).collect::<Vec<_>>() as _,
        &sorted.values().map(|event| event.detail.as_deref()).collect::<Vec<_>>() as _,
    )
    .fetch_one(tx)
    .await?;
    let known: HashSet<i32> = known.into_iter().collect();
    let new = (1..).zip(sorted.into_keys()).filter(|(place, _)| !known.contains(place));
    Ok(new.map(|(_, key)| key).collect())
}

fn suppression<'a>(event: &Event, recipient: &'a Recipient, source: &'a str) -> Option<Suppression<'a>> {
    let (reason, scope) = event.kind.suppresses()?;
    let (channel, address) = (recipient.channel, recipient.address.as_str());
    Some(Suppression {
        channel,
        address,
        scope,
        reason: event.reason.unwrap_or(reason),
        source,
        at: event.at,
    })
}

fn wished<'a>(wish: &'a TenantWish, source: &'a str) -> Suppression<'a> {
    let (channel, address) = (wish.channel, wish.address.as_str());
    Suppression { channel, address, scope: wish.scope, reason: Reason::Unsubscribed, source, at: wish.at }
}

/// What is certain about a message after its events.
#[derive(Debug)]
struct Proof {
    fact: FactKind,
    reason: Option<Reason>,
    detail: Option<String>,
    provider_id: Option<String>,
}

/// The best proof of each message: that it was accepted beats that it failed.
fn proofs<'a>(events: impl Iterator<Item = &'a Event>) -> BTreeMap<MessageId, Proof> {
    let mut proofs: BTreeMap<MessageId, Proof> = BTreeMap::new();
    for event in events {
        let accepted = event.kind.proves_acceptance();
        let proof = Proof {
            fact: if accepted { FactKind::Accepted } else { FactKind::Failed },
            reason: (!accepted).then(|| event.reason.unwrap_or(Reason::RecipientRejected)),
            detail: event.detail.clone().filter(|_| !accepted),
            provider_id: event.provider_id.clone(),
        };
        let better = |known: &Proof| accepted && known.fact == FactKind::Failed;
        if proofs.get(&event.message).is_none_or(better) {
            proofs.insert(event.message, proof);
        }
    }
    proofs
}

/// Appends a fact to the latest attempt of each message, where nothing better than `unknown` or `abandoned` is known of
/// it, and puts the counters of its chunk right.
async fn settle(tx: &mut PgConnection, proofs: BTreeMap<MessageId, Proof>) -> StoreResult<u64> {
    if proofs.is_empty() {
        return Ok(0);
    }
    let campaigns: Vec<Uuid> = proofs.keys().map(|message| message.campaign.uuid()).collect();
    let numbers: Vec<i32> = proofs.keys().map(|message| message.n).collect();
    let kinds: Vec<i16> = proofs.values().map(|proof| proof.fact as i16).collect();
    let reasons: Vec<Option<&str>> = proofs.values().map(|proof| proof.reason.map(Reason::as_str)).collect();
    let details: Vec<Option<&str>> = proofs.values().map(|proof| proof.detail.as_deref()).collect();
    let ids: Vec<Option<&str>> = proofs.values().map(|proof| proof.provider_id.as_deref()).collect();
    let rows = sqlx::query!(
        "with latest as (
             select p.campaign_id, p.n, r.attempt, r.account_no, r.kind as known, p.kind, p.reason, p.detail, p.provider_id
             from unnest($1::uuid[], $2::integer[], $3::smallint[], $4::text[], $5::text[], $6::text[])
                  as p (campaign_id, n, kind, reason, detail, provider_id)
             -- Almost nobody is unknown, and the index of those who were not sent is small: the others cost a look there.
             cross join lateral (
                 select from results
                 where campaign_id = p.campaign_id and n = p.n and kind >= 4 limit 1
             ) open
             -- The latest attempt, and of its facts the one that holds.
             cross join lateral (
                 select attempt, account_no, kind from facts_of(p.campaign_id, p.n)
                 order by attempt desc, array_position(array[1, 0, 2, 3, 5, 4]::smallint[], kind) limit 1
             ) r
         )
         insert into results (campaign_id, n, attempt, kind, account_no, reason, detail, provider_id)
         select campaign_id, n, attempt, kind, account_no, reason, detail, provider_id
         from latest where known in (4, 5)
         order by campaign_id, n
         on conflict do nothing
         returning campaign_id, n, attempt",
        &campaigns,
        &numbers,
        &kinds,
        &reasons as _,
        &details as _,
        &ids as _,
    )
    .fetch_all(&mut *tx)
    .await?;
    if !rows.is_empty() {
        let campaigns: Vec<Uuid> = rows.iter().map(|row| row.campaign_id).collect();
        let numbers: Vec<i32> = rows.iter().map(|row| row.n).collect();
        let attempts: Vec<i16> = rows.iter().map(|row| row.attempt).collect();
        recount(tx, &campaigns, &numbers, &attempts).await?;
    }
    Ok(rows.len() as u64)
}

async fn recount(
    tx: &mut PgConnection,
    campaigns: &[Uuid],
    numbers: &[i32],
    attempts: &[i16],
) -> StoreResult<()> {
    sqlx::query!(
        "select recount_chunks(array_agg(campaign_id), array_agg(chunk_of(campaign_id, n, attempt)))
         from unnest($1::uuid[], $2::integer[], $3::smallint[]) as m (campaign_id, n, attempt)",
        campaigns,
        numbers,
        attempts,
    )
    .execute(tx)
    .await?;
    Ok(())
}

impl Store {
    /// Settles unknown attempts whose events arrived before their result was recorded, when there was nothing to settle.
    /// Looks at results of the last two days.
    pub async fn settle_from_events(&self, limit: i64) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query!(
            r#"select u.campaign_id, u.n, array_agg(e.kind) as "kinds!: Vec<EventKind>"
               from (select r.campaign_id, r.n from results r
                     where r.kind = 4 and r.at > now() - interval '2 days'
                       and not exists (select from facts_of(r.campaign_id, r.n) b
                                       where (b.attempt > r.attempt or b.attempt = r.attempt and b.kind < 4))
                       and exists (select from events e where e.campaign_id = r.campaign_id and e.n = r.n)
                     order by r.at
                     limit $1) u
               join events e on e.campaign_id = u.campaign_id and e.n = u.n
               group by u.campaign_id, u.n"#,
            limit,
        )
        .fetch_all(&mut *tx)
        .await?;
        let proofs = rows.into_iter().map(|row| {
            let accepted = row.kinds.iter().any(|kind| kind.proves_acceptance());
            let proof = Proof {
                fact: if accepted { FactKind::Accepted } else { FactKind::Failed },
                reason: (!accepted).then_some(Reason::RecipientRejected),
                detail: None,
                provider_id: None,
            };
            (MessageId { campaign: row.campaign_id.into(), n: row.n }, proof)
        });
        let settled = settle(&mut tx, proofs.collect()).await?;
        tx.commit().await?;
        Ok(settled)
    }

    /// The tenant of an account, and where those of these messages went that are the tenant's.
    pub async fn destinations(
        &self,
        account: AccountId,
        messages: &[MessageId],
    ) -> StoreResult<Destinations> {
        let campaigns: Vec<Uuid> = messages.iter().map(|message| message.campaign.uuid()).collect();
        let numbers: Vec<i32> = messages.iter().map(|message| message.n).collect();
        let rows = sqlx::query!(
            "select a.tenant_id, r.campaign_id, r.n, r.address
             from unnest($2::uuid[], $3::integer[]) as m (campaign_id, n)
             join accounts a on a.id = $1
             join campaigns c on c.id = m.campaign_id and c.tenant_id = a.tenant_id
             join recipients r on r.campaign_id = m.campaign_id and r.n = m.n",
            account.uuid(),
            &campaigns,
            &numbers,
        )
        .fetch_all(self.pool())
        .await?;
        let tenant = rows.first().map(|row| row.tenant_id.into());
        let of = |campaign: Uuid, n| MessageId { campaign: campaign.into(), n };
        let messages = rows.into_iter().map(|row| (of(row.campaign_id, row.n), row.address)).collect();
        Ok(Destinations { tenant, messages })
    }
}

/// Where messages went.
#[derive(Debug, Clone, Default)]
pub struct Destinations {
    /// Absent when there are no messages.
    pub tenant: Option<TenantId>,
    pub messages: Vec<(MessageId, String)>,
}
