//! The pure decisions of delivery: what a new owner of a chunk does, and what follows from an outcome.

use std::{hint::black_box, time::Duration};

use criterion::Criterion;
use fanfare_engine::{
    deliver::{
        fate::{Attempt, settle},
        recover::{Policy, sort},
    },
    domain::{
        channel::MessageClass,
        outcome::{Outcome, Reason},
    },
    id::AccountId,
    store::chunks::Intent,
};
use jiff::Timestamp;
use uuid::Uuid;

const MEMBERS: usize = 500;

/// A chunk whose owner died with half of its facts written and intents for all but the last hundred members.
fn recover(criterion: &mut Criterion) {
    let now = Timestamp::UNIX_EPOCH;
    let intents: Vec<Intent> = (0..4)
        .map(|part| Intent {
            from: part * 100,
            to: (part + 1) * 100,
            at: now,
            key: None,
            skip: vec![part * 100 + 7],
        })
        .collect();
    let policy = Policy { key_lifetime: Some(Duration::from_secs(720)), may_resend: false };
    criterion.bench_function("recover/sort 500", |bench| {
        bench.iter(|| sort(MEMBERS, black_box(&intents), now, policy, |at| at < MEMBERS / 2, |_| false));
    });
}

fn fate(criterion: &mut Criterion) {
    let route: Vec<AccountId> = (1..=3).map(|no| Uuid::from_u128(no).into()).collect();
    let attempt = Attempt {
        class: MessageClass::Obligation,
        burned: 2,
        account: route[0],
        route: &route,
        age: Duration::from_secs(60),
    };
    let mut group = criterion.benchmark_group("fate");
    let accepted =
        Outcome::Accepted { provider_id: Some("202611210830.1234567@smtp-relay.mailin.fr".to_owned()) };
    let again = Outcome::Retry { reason: Reason::ProviderUnavailable, after: None, burns_attempt: true };
    for (name, outcome) in [("accepted", accepted), ("retry", again)] {
        group.bench_function(name, |bench| {
            bench.iter_batched(
                || outcome.clone(),
                |outcome| settle(outcome, black_box(attempt), 0.5),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fanfare_benches::main!(recover, fate);
