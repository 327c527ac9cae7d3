//! Webhooks stored before they are answered, and then applied to what is known of their messages.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput};
use fanfare_benches::{
    bed::{Bed, spent},
    brevo, delivered,
    insurer::{Insurer, Launched},
};
use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    feedback::{HookAccount, HookAccounts, Inbox, InboxSettings, Worker},
    id::MessageId,
};
use futures::{StreamExt as _, stream};
use serde_json::Value;
use tokio::task::JoinSet;
use uuid::Uuid;

const PEOPLE: i32 = 20_000;
const CHUNK: i32 = 500;

/// Every message of a campaign was accepted, or nobody knows: 0 or 4.
const SENT: &str = "
    insert into results (campaign_id, n, attempt, kind, account_no, provider_id)
    select r.campaign_id, r.n, 1, case k.class when 'marketing' then 4 else 0 end, a.no, 'id-' || r.n
    from recipients r join campaigns k on k.id = r.campaign_id cross join accounts a;
    update chunks set epoch = 1, done_at = now(), watermark = size,
        accepted = case when no % 2 = 0 then size else 0 end;
    analyze";
/// Those that nobody knew about are unknown again.
const UNKNOWN_AGAIN: &str = "
    delete from results r using campaigns k where k.id = r.campaign_id and k.class = 'marketing' and r.kind = 0";

fn inbox(criterion: &mut Criterion) {
    let Some(bed) = Bed::make("inbox") else { return };
    let insurer = bed.runtime.block_on(Insurer::make(&bed.store));
    let (inbox, writer) = Inbox::new(bed.store.clone(), InboxSettings::default());
    let mut writers = JoinSet::new();
    writers.spawn_on(writer.run(), bed.runtime.handle());
    let body = delivered(fanfare_benches::MESSAGE, 0).to_string().into_bytes();
    let store = async || inbox.store(insurer.account.id, body.clone()).await.expect("stored");
    let mut group = criterion.benchmark_group("inbox");
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).throughput(Throughput::Elements(1));
    for callers in [1, 64] {
        group.bench_function(format!("{callers} at once"), |bench| {
            bench.to_async(&bed.runtime).iter_custom(|webhooks| async move {
                let begun = Instant::now();
                stream::iter(0..webhooks).for_each_concurrent(callers, |_| store()).await;
                begun.elapsed()
            });
        });
        bed.runtime.block_on(bed.execute("truncate inbox"));
    }
    group.finish();
    drop(inbox);
    bed.runtime.block_on(writers.join_all());
}

/// Webhooks that wait, and how many events each tells of.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    bodies: usize,
    events: usize,
}

/// What is applied to: a campaign, and whose turn it is to be told about.
struct Told<'b> {
    bed: &'b Bed,
    insurer: &'b Insurer,
    accounts: HookAccounts,
    campaign: &'b Launched,
    turn: Cell<i32>,
}

impl Told<'_> {
    /// Events that nobody has told of yet.
    fn events(&self, count: usize) -> Vec<Value> {
        let event = |_| {
            let turn = self.turn.replace(self.turn.get() + 1);
            let message = MessageId { campaign: self.campaign.campaign, n: 1 + turn % PEOPLE };
            delivered(message, turn / PEOPLE)
        };
        (0..count).map(event).collect()
    }

    /// Stores the webhooks, and then applies them in one pass, which is what is timed. How many were settled.
    async fn apply(&self, waiting: Waiting) -> (Duration, u64) {
        let bodies: Vec<Vec<u8>> = (0..waiting.bodies)
            .map(|_| match self.events(waiting.events).as_slice() {
                [one] => one.to_string(),
                many => Value::from(many).to_string(),
            })
            .map(String::into_bytes)
            .collect();
        let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        let accounts: Vec<Uuid> = vec![self.insurer.account.id.uuid(); bodies.len()];
        self.bed.store.add_to_inbox(&accounts, &bodies).await.expect("stored");
        let worker = Worker::new(self.bed.store.clone());
        let begun = Instant::now();
        let pass = worker.pass(&self.accounts).await.expect("applied");
        let took = begun.elapsed();
        assert_eq!(pass.taken, waiting.bodies as u64);
        let new: u64 = pass.applied.events.values().sum();
        assert_eq!(new, (waiting.bodies * waiting.events) as u64, "none was told before: {pass:?}");
        (took, pass.applied.settled)
    }
}

fn apply(criterion: &mut Criterion) {
    let Some(bed) = Bed::make("apply") else { return };
    let (insurer, accepted, unknown) = bed.runtime.block_on(async {
        let insurer = Insurer::make(&bed.store).await;
        insurer.people(PEOPLE).await;
        let accepted = insurer.launch(MessageClass::Obligation, CHUNK).await;
        let unknown = insurer.launch(MessageClass::Marketing, CHUNK).await;
        bed.execute(SENT).await;
        (insurer, accepted, unknown)
    });
    let adapter = brevo("http://127.0.0.1:9/v3".to_owned()).expect("sound settings");
    let account = HookAccount { tenant: insurer.tenant, channel: Channel::Email, adapter };
    let told = |campaign| Told {
        bed: &bed,
        insurer: &insurer,
        accounts: HookAccounts::from_iter([(insurer.account.id, account.clone())]),
        campaign,
        turn: Cell::new(0),
    };
    let (one, many) = (Waiting { bodies: 1, events: 1 }, Waiting { bodies: 500, events: 1 });
    let batch = Waiting { bodies: 1, events: 500 };
    let mut group = criterion.benchmark_group("apply");
    group.sample_size(20).warm_up_time(Duration::from_secs(1));
    let accepted = told(&accepted);
    for (name, waiting) in [("1 webhook", one), ("500 webhooks", many), ("1 webhook of 500 events", batch)] {
        group.throughput(Throughput::Elements((waiting.bodies * waiting.events) as u64));
        group.bench_function(name, |bench| {
            bench
                .to_async(&bed.runtime)
                .iter_custom(|passes| spent(passes, async || pass(&accepted, waiting, 0).await));
        });
    }
    let unknown = told(&unknown);
    group.bench_function("500 webhooks that settle unknowns", |bench| {
        bench
            .to_async(&bed.runtime)
            .iter_custom(|passes| spent(passes, async || pass(&unknown, many, 500).await));
    });
    group.finish();
}

/// One pass, which settles so many.
async fn pass(told: &Told<'_>, waiting: Waiting, settles: u64) -> Duration {
    if settles > 0 && told.turn.get() % PEOPLE == 0 {
        told.bed.execute(UNKNOWN_AGAIN).await;
    }
    let (took, settled) = told.apply(waiting).await;
    assert_eq!(settled, settles);
    took
}

fanfare_benches::main!(inbox, apply);
