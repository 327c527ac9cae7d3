//! Webhooks: bodies as Brevo sends them, read into events.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use fanfare_benches::{MESSAGE, brevo, delivered};
use fanfare_engine::id::MessageId;
use jiff::Timestamp;
use serde_json::Value;

fn parse(criterion: &mut Criterion) {
    let adapter = brevo("http://127.0.0.1:9/v3".to_owned()).expect("sound settings");
    let received = Timestamp::from_second(1_795_249_820).expect("in range");
    let told = |n| delivered(MessageId { n, ..MESSAGE }, 0);
    let one = told(7).to_string();
    let many = Value::Array((0..500).map(told).collect()).to_string();
    let mut group = criterion.benchmark_group("webhook");
    for (name, body, events) in [("one", one, 1), ("500", many, 500)] {
        group.throughput(Throughput::Elements(events));
        group
            .bench_function(name, |bench| bench.iter(|| adapter.parse(black_box(body.as_bytes()), received)));
    }
    group.finish();
}

fanfare_benches::main!(parse);
