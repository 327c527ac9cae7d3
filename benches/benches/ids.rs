//! Ids: written into every request, read out of every webhook.

use criterion::Criterion;
use fanfare_benches::MESSAGE;
use fanfare_engine::id::MessageId;
use std::hint::black_box;

fn ids(criterion: &mut Criterion) {
    let text = MESSAGE.to_string();
    criterion.bench_function("ids/write", |bench| bench.iter(|| black_box(MESSAGE).to_string()));
    criterion.bench_function("ids/read", |bench| bench.iter(|| black_box(&text).parse::<MessageId>()));
    criterion
        .bench_function("ids/idempotency_key", |bench| bench.iter(|| black_box(MESSAGE).idempotency_key(1)));
}

fanfare_benches::main!(ids);
