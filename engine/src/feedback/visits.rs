//! Opens and clicks that reach this service itself, told by pictures and links of its own messages.
//!
//! Whoever follows a link gets their answer at once; what it tells is judged a moment later, when it can be seen whether other links
//! of the message were followed at the same time, and is then applied as an event like those of webhooks, many in one
//! transaction. A person's visit is `opened` or `clicked`. A machine's (see [`crate::domain::visitor`]) proves that the message arrived
//! and nothing more, as where a provider tells that a proxy fetched the pictures.
//!
//! A visit is not worth making anybody wait: where more come than can be applied, and when a process dies, some are lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use uuid::Uuid;

use crate::{
    domain::{
        event::{Event, EventKind},
        visitor::{AT_ONCE, Machine, TOO_SOON},
    },
    id::MessageId,
    metrics::VISITS,
    store::{
        Store, StoreResult,
        events::{self, TenantEvent},
        public::Taken,
    },
};

/// Visits that may wait; those beyond are not counted.
const WAITING: usize = 50_000;
/// Visits that are applied together.
const BATCH: usize = 2_000;
/// How often those that are old enough are judged.
const TICK: Duration = Duration::from_millis(250);
/// A click waits for `AT_ONCE` and a tick or two before it is judged; so much longer it tells of those after it.
const BESIDE: Duration = AT_ONCE.saturating_mul(3);

/// What somebody did with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    Open,
    /// The link's id, and where it led, without what may be the person's own.
    Click {
        link: String,
        page: String,
    },
}

#[derive(Debug, Clone)]
pub struct Visit {
    pub message: MessageId,
    pub deed: Deed,
    pub at: Timestamp,
    /// What the request itself tells.
    pub machine: Option<Machine>,
}

/// Takes visits in; cheap to clone.
#[derive(Debug, Clone)]
pub struct Visits(mpsc::Sender<Visit>);

impl Visits {
    /// The writer is to be run by whoever owns the process's tasks.
    pub fn new(store: Store) -> (Self, VisitsWriter) {
        let (sender, incoming) = mpsc::channel(WAITING);
        (Self(sender), VisitsWriter { store, incoming, waiting: Vec::new(), judged: Vec::new() })
    }

    pub fn note(&self, visit: Visit) {
        if self.0.try_send(visit).is_err() {
            metrics::counter!(VISITS, "verdict" => "dropped").increment(1);
        }
    }
}

/// Judges and applies what the visits tell.
#[derive(Debug)]
pub struct VisitsWriter {
    store: Store,
    incoming: mpsc::Receiver<Visit>,
    /// In the order in which they came.
    waiting: Vec<(Instant, Visit)>,
    /// Clicks that are applied, for as long as others may come beside them.
    judged: Vec<(Instant, Visit)>,
}

impl VisitsWriter {
    /// Runs until every [`Visits`] is gone and everything that was handed over is applied.
    pub async fn run(mut self) {
        let mut came = Vec::new();
        loop {
            let open = timeout(TICK, self.incoming.recv_many(&mut came, BATCH)).await != Ok(0);
            let now = Instant::now();
            self.waiting.extend(came.drain(..).map(|visit| (now, visit)));
            // At the end nothing more can come that would tell more of those that wait.
            let old = |at: Instant| !open || now.duration_since(at) > AT_ONCE;
            let ripe = self.waiting.iter().take_while(|(at, _)| old(*at)).count();
            self.judged.retain(|(at, _)| now.duration_since(*at) <= BESIDE);
            if ripe > 0 {
                self.settle(ripe, open).await;
            }
            if !open && self.waiting.is_empty() {
                return;
            }
        }
    }

    /// Applies the first so many. Where that fails they wait on, unless nobody is there to wait for.
    async fn settle(&mut self, ripe: usize, open: bool) {
        let (ripe, all) = (ripe.min(BATCH), self.waiting.len());
        let (ready, later) = self.waiting.split_at(ripe);
        match apply(&self.store, ready, [later, &self.judged]).await {
            Ok(()) => {
                let clicks = |(_, visit): &(Instant, Visit)| matches!(visit.deed, Deed::Click { .. });
                self.judged.extend(self.waiting.drain(..ripe).filter(clicks));
            }
            Err(error) if open && all < WAITING => {
                tracing::warn!(%error, "visits could not be applied; trying again");
                tokio::time::sleep(TICK).await;
            }
            Err(error) => {
                tracing::error!(%error, visits = ripe, "visits are lost");
                self.waiting.drain(..ripe);
            }
        }
    }
}

/// Applies visits; those beside are looked at only to judge these.
async fn apply(
    store: &Store,
    ready: &[(Instant, Visit)],
    beside: [&[(Instant, Visit)]; 2],
) -> StoreResult<()> {
    let messages: Vec<MessageId> = ready.iter().map(|(_, visit)| visit.message).collect();
    let taken = store.taken(&messages).await?;
    let greedy = greedy(ready.iter().chain(beside.into_iter().flatten()).map(|(_, visit)| visit));
    let mut told = Vec::with_capacity(ready.len());
    for (_, visit) in ready {
        let Some(taken) = taken.get(&visit.message) else { continue };
        let machine = judge(visit, *taken, &greedy);
        let verdict = machine.map_or("person", Machine::as_str);
        metrics::counter!(VISITS, "verdict" => verdict).increment(1);
        told.push(TenantEvent { tenant: taken.tenant, channel: None, event: event(visit, machine) });
    }
    let mut tx = store.begin().await?;
    events::apply(&mut tx, &told, &[], "visit").await?;
    Ok(tx.commit().await?)
}

fn judge(visit: &Visit, taken: Taken, greedy: &BTreeSet<(MessageId, Timestamp)>) -> Option<Machine> {
    let soon = |accepted: Timestamp| {
        visit.at.duration_since(accepted) < jiff::SignedDuration::try_from(TOO_SOON).unwrap_or_default()
    };
    if visit.machine.is_some() {
        visit.machine
    } else if taken.accepted_at.is_some_and(soon) {
        Some(Machine::TooSoon)
    } else {
        greedy.contains(&(visit.message, visit.at)).then_some(Machine::TooMany)
    }
}

/// Clicks beside which another link of the message was followed within a second.
fn greedy<'v>(visits: impl Iterator<Item = &'v Visit>) -> BTreeSet<(MessageId, Timestamp)> {
    let mut clicks: BTreeMap<MessageId, Vec<(Timestamp, &str)>> = BTreeMap::new();
    for visit in visits {
        if let Deed::Click { link, .. } = &visit.deed {
            clicks.entry(visit.message).or_default().push((visit.at, link));
        }
    }
    let near = jiff::SignedDuration::try_from(AT_ONCE).unwrap_or_default();
    let mut greedy = BTreeSet::new();
    for (message, mut clicks) in clicks {
        clicks.sort_unstable();
        for (i, (at, link)) in clicks.iter().enumerate() {
            let beside = clicks[i + 1..].iter().take_while(|(other, _)| other.duration_since(*at) <= near);
            for (other, _) in beside.filter(|(_, other)| other != link) {
                greedy.extend([(message, *at), (message, *other)]);
            }
        }
    }
    greedy
}

/// Opens and clicks are told apart by their second and link; what machines do is told once.
fn event(visit: &Visit, machine: Option<Machine>) -> Event {
    let second = visit.at.as_second().to_string();
    let (kind, name, detail) = match (&visit.deed, machine) {
        (_, Some(machine)) => {
            (EventKind::Delivered, "machine".to_owned(), Some(format!("by a machine: {machine}")))
        }
        (Deed::Open, None) => (EventKind::Opened, format!("open {second}"), None),
        (Deed::Click { link, page }, None) => {
            (EventKind::Clicked, format!("click {second} {link}"), Some(page.clone()))
        }
    };
    Event {
        message: visit.message,
        kind,
        at: visit.at,
        provider_id: None,
        dedup: Uuid::new_v5(
            &visit.message.campaign.uuid(),
            &[&visit.message.n.to_be_bytes()[..], name.as_bytes()].concat(),
        ),
        reason: None,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CampaignId, TenantId};

    const MESSAGE: MessageId = MessageId { campaign: CampaignId::from_uuid(Uuid::from_u128(7)), n: 3 };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).expect("a moment")
    }

    fn click(n: i32, link: &str, millis: i64) -> Visit {
        let deed = Deed::Click { link: link.to_owned(), page: String::new() };
        Visit { message: MessageId { n, ..MESSAGE }, deed, at: at(millis), machine: None }
    }

    #[test]
    fn who_follows_several_links_at_once_is_a_machine() {
        let visits = [
            click(1, "a", 0),
            click(1, "b", 900),
            click(2, "a", 0),
            click(2, "a", 500),
            click(3, "a", 0),
            click(3, "b", 1_001),
            click(4, "c", 700),
            click(5, "a", 100),
        ];
        let found: Vec<i32> = greedy(visits.iter()).into_iter().map(|(message, _)| message.n).collect();
        assert_eq!(found, [1, 1]);
    }

    #[test]
    fn nobody_reads_within_two_seconds() {
        let taken = |accepted: Option<i64>| Taken {
            tenant: TenantId::from_uuid(Uuid::nil()),
            accepted_at: accepted.map(at),
        };
        let visit = click(1, "a", 10_000);
        for (accepted, expected) in [
            (Some(8_001), Some(Machine::TooSoon)),
            (Some(8_000), None),
            (None, None),
            (Some(11_000), Some(Machine::TooSoon)),
        ] {
            assert_eq!(judge(&visit, taken(accepted), &BTreeSet::new()), expected, "{accepted:?}");
        }
        let named = Visit { machine: Some(Machine::Scanner), ..visit };
        assert_eq!(judge(&named, taken(Some(9_999)), &BTreeSet::new()), Some(Machine::Scanner));
    }

    #[test]
    fn a_machine_proves_that_a_message_arrived_and_no_more() {
        let open = Visit { message: MESSAGE, deed: Deed::Open, at: at(1_500), machine: None };
        assert_eq!(event(&open, None).kind, EventKind::Opened);
        assert_eq!(event(&open, None).dedup, event(&Visit { at: at(1_900), ..open.clone() }, None).dedup);
        assert_ne!(event(&open, None).dedup, event(&Visit { at: at(2_000), ..open.clone() }, None).dedup);
        let machine = event(&open, Some(Machine::MailProxy));
        assert_eq!(
            (machine.kind, machine.detail.as_deref()),
            (EventKind::Delivered, Some("by a machine: mail_proxy"))
        );
        assert_eq!(machine.dedup, event(&click(3, "a", 9_000), Some(Machine::Scanner)).dedup);
    }
}
