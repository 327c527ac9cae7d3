//! Brevo's e-mail adapter: the request built, sent over the loopback, judged by the sandbox, and its answer classified.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use fanfare_benches::{API_KEY, MESSAGE, brevo, rendered};
use fanfare_engine::{domain::channel::MessageClass, id::MessageId, providers::Envelope};
use fanfare_sandbox::{BrevoAccount, BrevoConfig, Limit, Sandbox, SandboxConfig};
use tokio::runtime::Runtime;
use uuid::Uuid;

fn sandbox() -> SandboxConfig {
    let account = BrevoAccount {
        api_key: API_KEY.to_owned(),
        email_per_second: Limit::Unlimited,
        batches_per_minute: Limit::Unlimited,
        ..BrevoAccount::default()
    };
    SandboxConfig {
        brevo: BrevoConfig { accounts: vec![account], ..BrevoConfig::default() },
        ..SandboxConfig::default()
    }
}

fn send(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let sandbox = runtime.block_on(Sandbox::start(sandbox())).expect("a free port");
    let adapter = brevo(format!("{}/v3", sandbox.base_url())).expect("sound settings");
    let content = rendered();
    let mut number = 0_u128;
    // A key is used once.
    let mut envelope = || {
        number += 1;
        Envelope {
            message: MESSAGE,
            to: "p1@mail1.example",
            class: MessageClass::Obligation,
            content: &content,
            key: Uuid::from_u128(number),
            unsubscribe: None,
        }
    };
    let mut group = criterion.benchmark_group("brevo");
    group.bench_function("send", |bench| {
        bench.iter(|| runtime.block_on(adapter.send(black_box(envelope()))));
    });
    group.throughput(Throughput::Elements(500));
    group.sample_size(10).bench_function("send_batch 500", |bench| {
        bench.iter(|| {
            let mut members: Vec<_> =
                (0..500).map(|n| Envelope { message: MessageId { n, ..MESSAGE }, ..envelope() }).collect();
            let key = members.pop().map(|last| last.key).unwrap_or_default();
            runtime.block_on(adapter.send_batch(key, black_box(&members)))
        });
    });
    group.finish();
    runtime.block_on(sandbox.shutdown());
}

fanfare_benches::main!(send);
