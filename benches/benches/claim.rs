//! A worker's first steps: the hint read from its lane and taken out again, the chunk claimed.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use fanfare_benches::{
    bed::{Bed, spent, unique},
    insurer::Insurer,
};
use fanfare_engine::{
    domain::{
        channel::{Channel, Lane, MessageClass},
        chunk::ChunkRef,
    },
    link::RedisLink,
    queue::{LaneReader, Queue},
};

/// Small chunks, since a claim does not look at members: ten thousand of them.
const PEOPLE: i32 = 100_000;
const CHUNK: i32 = 10;
const LEASE: Duration = Duration::from_secs(30);
/// The feeder keeps a lane at a few hundred hints.
const HINTS: u64 = 256;
const LANE: Lane = Lane { channel: Channel::Email, class: MessageClass::Obligation };
const BLOCK: Duration = Duration::from_millis(500);

fn settings<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).throughput(Throughput::Elements(1));
    group
}

fn claim(criterion: &mut Criterion) {
    let Some(bed) = Bed::make("claim") else { return };
    let (insurer, launched) = bed.runtime.block_on(async {
        let insurer = Insurer::make(&bed.store).await;
        insurer.people(PEOPLE).await;
        let launched = insurer.launch(LANE.class, CHUNK).await;
        (insurer, launched)
    });
    let turn = Cell::new(0);
    settings(criterion, "claim").bench_function(format!("one of {}", launched.chunks.len()), |bench| {
        bench.to_async(&bed.runtime).iter_custom(|claims| {
            spent(claims, async || {
                let chunk = launched.chunks[turn.replace(turn.get() + 1) % launched.chunks.len()];
                claim_one(&insurer, chunk).await
            })
        });
    });
}

/// Given back afterwards, outside of the time.
async fn claim_one(insurer: &Insurer, chunk: ChunkRef) -> Duration {
    let begun = Instant::now();
    let claimed = insurer.store.claim_chunks(insurer.process, &[chunk], LEASE).await.expect("a claim");
    let took = begun.elapsed();
    let [claim] = claimed.as_slice() else { panic!("{chunk} is due, and nobody else's") };
    insurer.store.release_chunk(claim, Duration::ZERO).await.expect("given back");
    took
}

fn hint(criterion: &mut Criterion) {
    let Some(bed) = Bed::make("hint") else { return };
    let Ok(redis) = std::env::var("REDIS_URL") else {
        eprintln!("hint: not measured, since REDIS_URL is not set (`make bench` sets it)");
        return;
    };
    let _entered = bed.runtime.enter();
    let link = RedisLink::open(&redis).expect("REDIS_URL is a Redis URL");
    let queue = Queue::new(link, &format!("bench-{}", unique()));
    let mut group = settings(criterion, "hint");
    for (name, count) in [("read and done", 1), ("read and done, four at once", 4)] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |bench| {
            bench.iter_custom(|reads| bed.runtime.block_on(read(&queue, reads, count)));
        });
    }
    group.finish();
}

/// As a worker with room for `count` chunks: it reads so many at once, and takes each out by itself.
async fn read(queue: &Queue, reads: u64, count: usize) -> Duration {
    let mut reader = queue.reader(LANE, unique());
    let mut spent = Duration::ZERO;
    let mut left = reads;
    while left > 0 {
        let portion = left.min(HINTS / count as u64);
        publish(queue, portion * count as u64).await;
        for _ in 0..portion {
            spent += read_once(queue, &mut reader, count).await;
        }
        left -= portion;
    }
    spent
}

async fn publish(queue: &Queue, hints: u64) {
    let campaign = fanfare_benches::MESSAGE.campaign;
    let chunks: Vec<ChunkRef> =
        (0..hints).map(|no| ChunkRef { campaign, no: i64::try_from(no).expect("a few hundred") }).collect();
    queue.publish(LANE, &chunks).await.expect("published");
}

async fn read_once(queue: &Queue, reader: &mut LaneReader, count: usize) -> Duration {
    let begun = Instant::now();
    let hints = reader.read(count, BLOCK).await.expect("hints");
    assert_eq!(hints.len(), count, "all were published before");
    for hint in hints {
        queue.done(LANE, &[hint.entry]).await.expect("taken out");
    }
    begun.elapsed()
}

fanfare_benches::main!(claim, hint);
