//! A rendered letter through Brevo's adapter: the request written, and sent to a receiver that answers at once.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode, Throughput};
use fanfare_benches::{MESSAGE, brevo, receiver::Receiver, rendered};
use fanfare_engine::{
    domain::{channel::MessageClass, outcome::Outcome},
    providers::{Adapter, Envelope},
};
use fanfare_templates::Rendered;
use tokio::{runtime::Runtime, task::JoinSet};

const fn envelope(content: &Rendered) -> Envelope<'_> {
    Envelope {
        message: MESSAGE,
        to: "p000123456@mail1.example",
        class: MessageClass::Obligation,
        content,
        // The receiver does not look at it.
        key: uuid::Uuid::from_u128(0x4f0c_1d2e_3b4a_4978_8695_a4b3_c2d1_e0ff),
        unsubscribe: None,
    }
}

/// A request is written when it is asked for, and sent when it is polled, which this one never is.
fn encode(criterion: &mut Criterion) {
    let adapter = brevo("http://127.0.0.1:9/v3".to_owned()).expect("sound settings");
    let content = rendered();
    criterion.bench_function("send/encode", |bench| {
        bench.iter(|| drop(black_box(adapter.send(black_box(envelope(&content))))));
    });
}

fn exchange(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let receiver = Receiver::start();
    let adapter = brevo(receiver.base_url()).expect("sound settings");
    let content = Arc::new(rendered());
    let mut group = criterion.benchmark_group("send");
    // Every sample long enough for all of them to be in flight.
    group.sample_size(20).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(1));
    for in_flight in [1, 64] {
        group.bench_function(format!("{in_flight} in flight"), |bench| {
            bench.iter_custom(|letters| runtime.block_on(send(&adapter, &content, letters, in_flight)));
        });
    }
    group.finish();
}

/// As a slice's strands do: each a task that sends one after the other.
async fn send(adapter: &Arc<dyn Adapter>, content: &Arc<Rendered>, letters: u64, in_flight: u64) -> Duration {
    let begun = Instant::now();
    let mut strands = JoinSet::new();
    for strand in 0..in_flight {
        let (adapter, content) = (Arc::clone(adapter), Arc::clone(content));
        let mine = letters / in_flight + u64::from(strand < letters % in_flight);
        strands.spawn(async move {
            for _ in 0..mine {
                let answer = adapter.send(envelope(&content)).await;
                assert!(matches!(answer.outcome, Outcome::Accepted { .. }), "{answer:?}");
            }
        });
    }
    while let Some(strand) = strands.join_next().await {
        strand.expect("every letter is accepted");
    }
    begun.elapsed()
}

fanfare_benches::main!(encode, exchange);
