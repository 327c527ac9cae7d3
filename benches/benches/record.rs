//! A flush of the recorder: facts appended, and the counters of their chunks, in one commit.

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
    domain::{channel::MessageClass, chunk::Members, outcome::Outcome},
    store::{chunks::Claim, results::Fact},
};
use jiff::Timestamp;

const PEOPLE: i32 = 200_000;
const CHUNK: i32 = 500;
/// A process works on so many at once (`worker.chunks`): what it records is of all of them.
const AT_WORK: i32 = 8;

/// Before anything was sent, and every chunk with its first owner still.
const NOTHING_SENT: &str = "
    truncate results, acceptances;
    update chunks set accepted = 0, done_at = null";

fn record(criterion: &mut Criterion) {
    let Some(bed) = Bed::make("record") else { return };
    let (insurer, claims) = bed.runtime.block_on(async {
        let insurer = Insurer::make(&bed.store).await;
        insurer.people(PEOPLE).await;
        let launched = insurer.launch(MessageClass::Obligation, CHUNK).await;
        let mut claims = insurer.claim(&launched.chunks).await;
        claims.sort_unstable_by_key(|claim| claim.chunk);
        (insurer, claims)
    });
    let mut group = criterion.benchmark_group("record");
    group.sample_size(20).warm_up_time(Duration::from_secs(1));
    for facts in [500, 2_000] {
        let flushes = flushes(&insurer, &claims, facts);
        let turn = Cell::new(0);
        group.throughput(Throughput::Elements(facts as u64));
        group.bench_function(format!("{facts} facts"), |bench| {
            bench.to_async(&bed.runtime).iter_custom(|wanted| {
                spent(wanted, async || {
                    let at = turn.replace(turn.get() + 1) % flushes.len();
                    if at == 0 {
                        bed.execute(NOTHING_SENT).await;
                    }
                    let begun = Instant::now();
                    insurer.store.record(&flushes[at], &[]).await.expect("recorded");
                    begun.elapsed()
                })
            });
        });
    }
    group.finish();
}

/// All facts of the campaign, in the order in which a process that works on some chunks at once comes to know them.
fn flushes(insurer: &Insurer, claims: &[Claim], facts: usize) -> Vec<Vec<Fact>> {
    let at = Timestamp::from_second(1_795_249_812).expect("in range");
    let of_chunks = claims.chunks(AT_WORK as usize).flat_map(|at_work| {
        (0..CHUNK).flat_map(move |member| at_work.iter().map(move |claim| (claim, member)))
    });
    let all: Vec<Fact> = of_chunks.map(|(claim, member)| fact(insurer, claim, member, at)).collect();
    all.chunks_exact(facts).map(<[Fact]>::to_vec).collect()
}

fn fact(insurer: &Insurer, claim: &Claim, member: i32, at: Timestamp) -> Fact {
    let Members::Range { first, .. } = claim.members else { panic!("a launch cuts ranges") };
    let n = first + member;
    Fact {
        chunk: claim.chunk,
        epoch: claim.epoch,
        n,
        attempt: claim.attempt,
        account_no: insurer.account.no,
        at,
        outcome: Outcome::Accepted {
            provider_id: Some(format!("202611210830.{n:011}@smtp-relay.mailin.fr")),
        },
    }
}

fanfare_benches::main!(record);
