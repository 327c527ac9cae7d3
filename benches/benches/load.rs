//! The members of a chunk read with their pinned values, as a claimed chunk begins.

use std::{cell::Cell, time::Duration};

use criterion::{Criterion, Throughput};
use fanfare_benches::{bed::Bed, insurer::Insurer};
use fanfare_engine::{
    domain::{channel::MessageClass, chunk::Members},
    id::CampaignId,
    store::{Store, recipients::Recipient},
};

const PEOPLE: i32 = 50_000;
const CHUNK: i32 = 500;

fn load(criterion: &mut Criterion) {
    let Some(bed) = Bed::make("load") else { return };
    let (campaign, ranges) = bed.runtime.block_on(async {
        let insurer = Insurer::make(&bed.store).await;
        insurer.people(PEOPLE).await;
        let launched = insurer.launch(MessageClass::Obligation, CHUNK).await;
        let claims = insurer.claim(&launched.chunks).await;
        (launched.campaign, claims.into_iter().map(|claim| claim.members).collect::<Vec<_>>())
    });
    // A retry's members are all over the campaign.
    let lists: Vec<Members> = (0..PEOPLE / CHUNK)
        .map(|first| Members::List((0..CHUNK).map(|at| 1 + first + at * (PEOPLE / CHUNK)).collect()))
        .collect();
    let mut group = criterion.benchmark_group("load");
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).throughput(Throughput::Elements(500));
    for (name, chunks) in [("500 in a row", ranges), ("500 by number", lists)] {
        let turn = Cell::new(0);
        group.bench_function(name, |bench| {
            bench.to_async(&bed.runtime).iter(|| {
                let members = &chunks[turn.replace(turn.get() + 1) % chunks.len()];
                chunk(&bed.store, campaign, members)
            });
        });
    }
    group.finish();
}

async fn chunk(store: &Store, campaign: CampaignId, members: &Members) -> Vec<Recipient> {
    let recipients = store.chunk_recipients(campaign, members).await.expect("recipients");
    assert_eq!(recipients.len(), 500, "nobody is excluded");
    recipients
}

fanfare_benches::main!(load);
