//! The intent of a slice committed, with everything that is looked at again right before the first byte.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput};
use fanfare_benches::{
    bed::{Bed, spent},
    insurer::Insurer,
};
use fanfare_engine::{
    domain::{channel::MessageClass, chunk::ChunkRef},
    store::{
        chunks::{IntentRequest, IntentVerdict},
        recipients::Recipient,
    },
};
use uuid::Uuid;

const PEOPLE: i32 = 50_000;
const CHUNK: i32 = 500;
const LEASE: Duration = Duration::from_secs(30);

/// Of a hundred people one has bounced, two want no marketing, and of those who said anything about it one in fifty said
/// no; and there are as many others who are not written to.
const STOPS: &str = "
    insert into suppressions (tenant_id, channel, address, scope, reason, source)
    select tenant_id, 'email', other || email, scope, reason, 'bench'
    from (select tenant_id, email, row_number() over (order by id) as i from contacts) person
    cross join (values (7, 'all', 'bounced'), (31, 'marketing', 'unsubscribed'), (67, 'marketing', 'unsubscribed'))
               as stop (at, scope, reason)
    cross join (values (''), ('other-')) as whom (other)
    where i % 100 = stop.at;
    insert into consents (contact_id, channel, granted, source)
    select id, 'email', i % 50 <> 0, 'bench'
    from (select id, row_number() over (order by id) as i from contacts) person
    where i % 2 = 0";

fn intent(criterion: &mut Criterion) {
    let Some(bed) = Bed::make("intent") else { return };
    let insurer = bed.runtime.block_on(async {
        let insurer = Insurer::make(&bed.store).await;
        insurer.people(PEOPLE).await;
        bed.execute(STOPS).await;
        insurer
    });
    let mut group = criterion.benchmark_group("intent");
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).throughput(Throughput::Elements(500));
    for (class, excluded) in [(MessageClass::Obligation, 5), (MessageClass::Marketing, 20)] {
        let chunks = bed.runtime.block_on(insurer.launch(class, CHUNK)).chunks;
        let turn = Cell::new(0);
        group.bench_function(format!("500 of {class}"), |bench| {
            bench.to_async(&bed.runtime).iter_custom(|intents| {
                spent(intents, async || {
                    let chunk = chunks[turn.replace(turn.get() + 1) % chunks.len()];
                    let (took, out) = commit(&insurer, chunk).await;
                    assert!(out >= excluded, "who wants nothing is found: {out} of a slice");
                    took
                })
            });
        });
    }
    group.finish();
}

/// Commits the intent for a whole chunk, and gives it back afterwards, so that its row stays as it was: how long the first
/// took, and how many are left out.
async fn commit(insurer: &Insurer, chunk: ChunkRef) -> (Duration, usize) {
    let claim = &insurer.claim(&[chunk]).await[0];
    let members: Vec<Recipient> =
        insurer.store.chunk_recipients(chunk.campaign, &claim.members).await.expect("recipients");
    let positions: Vec<i32> = (0..CHUNK).collect();
    let contacts: Vec<Option<Uuid>> =
        members.iter().map(|member| member.contact.map(fanfare_engine::id::Id::uuid)).collect();
    let addresses: Vec<&str> = members.iter().map(|member| member.address.as_str()).collect();
    let request = IntentRequest {
        claim,
        lease: LEASE,
        positions: &positions,
        key: None,
        contacts: &contacts,
        addresses: &addresses,
    };
    let begun = Instant::now();
    let verdict = insurer.store.commit_intent(&request).await.expect("an intent");
    let took = begun.elapsed();
    let IntentVerdict::Go { excluded } = verdict else { panic!("the campaign sends: {verdict:?}") };
    insurer.store.release_chunk(claim, Duration::ZERO).await.expect("given back");
    (took, excluded.len())
}

fanfare_benches::main!(intent);
