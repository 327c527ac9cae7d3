//! What a permit costs at a pace that never binds: the desk, the pump, and their calls to Redis.
//!
//! Needs `DATABASE_URL` and `REDIS_URL`; without them it says so and measures nothing.

use std::{
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput};
use fanfare_benches::bed::Bed;
use fanfare_engine::{
    limit::{AccountPacer, Limiter, Priority, Span, Window},
    link::RedisLink,
    store::Store,
};
use tokio::runtime::Runtime;

const SENDERS: u64 = 1_000;

async fn take(pacer: &Arc<AccountPacer>, permits: u64) -> Duration {
    let begun = Instant::now();
    let senders = (0..SENDERS).map(|sender| {
        let pacer = Arc::clone(pacer);
        let mine = permits / SENDERS + u64::from(sender < permits % SENDERS);
        #[expect(clippy::disallowed_methods, reason = "ends with the runtime of the bench")]
        tokio::spawn(async move {
            for _ in 0..mine {
                while pacer.permit(Priority::Bulk).await.is_err() {}
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("no panic");
    }
    begun.elapsed()
}

async fn account(store: &Store) -> uuid::Uuid {
    sqlx::query_scalar(
        "with tenant as (
           insert into tenants (id, slug, name, region, locale, time_zone, currency)
           values (gen_random_uuid(), 'bench-' || gen_random_uuid(), 'Bench', 'MU', 'en', 'Indian/Mauritius', 'MUR')
           returning id)
         insert into accounts (id, tenant_id, slug, provider, limits)
         select gen_random_uuid(), id, 'bench', 'brevo_email', '[]' from tenant returning id",
    )
    .fetch_one(store.pool())
    .await
    .expect("an account")
}

fn permits(c: &mut Criterion) {
    let Ok(redis) = std::env::var("REDIS_URL") else {
        eprintln!("limit: not measured, since REDIS_URL is not set (`make bench` sets it)");
        return;
    };
    let Some(bed) = Bed::on(Runtime::new().expect("a runtime"), "limit") else { return };
    let Bed { runtime, store, .. } = &bed;
    let _entered = runtime.enter();
    let limiter = Limiter::new(RedisLink::open(&redis).expect("REDIS_URL"), store.clone(), "bench");
    let mut group = c.benchmark_group("limit");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for pace in [50_000, 1_000_000] {
        let id = runtime.block_on(account(store)).into();
        let requests = NonZeroU64::new(pace).expect("not zero");
        let pacer = limiter.account(id, &[Window { window: Span::Second, requests }]);
        group.bench_function(format!("permit/{pace}_per_s"), |b| {
            b.iter_custom(|permits| runtime.block_on(take(&pacer, permits)));
        });
        println!("{:?}", pacer.counts());
    }
    let id = runtime.block_on(account(store)).into();
    let pacer = limiter.account(id, &[]);
    group.bench_function("permit/unlimited", |b| {
        b.iter_custom(|permits| runtime.block_on(take(&pacer, permits)));
    });
    group.finish();
}

fanfare_benches::main!(permits);
