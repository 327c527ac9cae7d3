//! Webhooks: bodies as Brevo sends them, read into events.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare_benches::{MESSAGE, brevo};
use fanfare_engine::id::MessageId;
use jiff::Timestamp;
use serde_json::{Value, json};

fn delivered(n: i32) -> Value {
    json!({
        "id": 26224 + n, "event": "delivered", "email": format!("p{n}@mail1.example"),
        "subject": "Policy MTR-204417 expires on 15 December 2026", "date": "2026-11-21 08:30:12",
        "ts": 1_795_249_812, "ts_event": 1_795_249_812, "ts_epoch": 1_795_249_812_345_i64,
        "message-id": format!("<202611210830.{n}@smtp-relay.mailin.fr>"),
        "X-Mailin-custom": MessageId { n, ..MESSAGE }.to_string(),
        "tag": "[\"renewal\"]", "tags": ["renewal"], "sending_ip": "185.41.28.109", "template_id": 0,
    })
}

fn parse(criterion: &mut Criterion) {
    let adapter = brevo("http://127.0.0.1:9/v3".to_owned()).expect("sound settings");
    let received = Timestamp::from_second(1_795_249_820).expect("in range");
    let one = delivered(7).to_string();
    let many = Value::Array((0..500).map(delivered).collect()).to_string();
    let mut group = criterion.benchmark_group("webhook");
    for (name, body, events) in [("one", one, 1), ("500", many, 500)] {
        group.throughput(Throughput::Elements(events));
        group
            .bench_function(name, |bench| bench.iter(|| adapter.parse(black_box(body.as_bytes()), received)));
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
