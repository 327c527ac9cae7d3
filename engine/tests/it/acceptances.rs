//! Acceptances by the run: whoever tells of a message, and however often, it is known once.

use std::collections::BTreeMap;

use fanfare_engine::{
    domain::outcome::Outcome,
    store::{StoreError, chunks::Claim, results::Fact},
};
use sqlx::PgPool;

use crate::{house::House, messages::claimed};

const MIGRATOR: &sqlx::migrate::Migrator = &fanfare_engine::store::MIGRATOR;

/// Accepted, with an id that says by whom it was told.
fn accepted(claim: &Claim, epoch: i32, by: &str, numbers: impl Iterator<Item = i32>) -> Vec<Fact> {
    let fact = |n| Fact {
        chunk: claim.chunk,
        epoch,
        n,
        attempt: 1,
        account_no: 1,
        at: claim.now + jiff::Span::new().milliseconds(i64::from(n)),
        outcome: Outcome::Accepted { provider_id: Some(format!("{by} {n}")) },
    };
    numbers.map(fact).collect()
}

/// What is known of each number, asked for one by one, and all at once.
async fn known(house: &House, claim: &Claim, last: i32) -> BTreeMap<i32, Vec<String>> {
    let ask = async |from: &'static str| -> Vec<(i32, String, jiff_sqlx::Timestamp)> {
        sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "select f.n, f.provider_id, f.at from {from} f where f.kind = 0 and f.attempt = 1 and f.account_no = 1 order by f.n"
        )))
        .bind(claim.chunk.campaign.uuid())
        .bind(last)
        .fetch_all(house.store.pool())
        .await
        .unwrap()
    };
    let each = ask("generate_series(1, $2) one (n) cross join lateral facts_of($1, one.n)").await;
    let all = ask("facts_between($1, 1, $2)").await;
    let mut known: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for ((n, id, at), (of_all, ..)) in each.iter().zip(&all) {
        assert_eq!(n, of_all);
        assert_eq!(at.to_jiff(), claim.now + jiff::Span::new().milliseconds(i64::from(*n)), "of {n}");
        known.entry(*n).or_default().push(id.clone());
    }
    assert_eq!(each.len(), all.len());
    known
}

async fn rows_of(house: &House, table: &'static str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(count).fetch_one(house.store.pool()).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_acceptance_is_known_once_whoever_tells_it(pool: PgPool) {
    let house = House::new(pool).await;
    let claim = claimed(&house, 700).await;
    let record = async |facts: &[Fact]| house.store.record(facts, &[]).await.unwrap();
    // In the order in which answers come, with gaps that the next flush fills.
    let shuffled = (0..400).map(|at| at * 179 % 400 + 1);
    let first = accepted(&claim, 1, "first", shuffled.clone().filter(|n| n % 3 != 0));
    record(&first).await;
    record(&accepted(&claim, 1, "first", shuffled.filter(|n| n % 3 == 0))).await;
    // Few: they are rows.
    record(&accepted(&claim, 1, "first", 401..=405)).await;
    assert_eq!((rows_of(&house, "acceptances").await, rows_of(&house, "results").await), (2, 5));
    assert_eq!(house.progress(claim.chunk.campaign).await.sent, 405);
    // Its commit's answer was lost.
    record(&first).await;
    assert_eq!((rows_of(&house, "acceptances").await, rows_of(&house, "results").await), (2, 5));
    // Frozen past its lease; the next owner tells of some again, and then it wakes and does the same.
    sqlx::query("update chunks set epoch = 2").execute(house.store.pool()).await.unwrap();
    record(&accepted(&claim, 2, "second", 390..=600)).await;
    record(&accepted(&claim, 1, "first", 500..=700)).await;
    let known = known(&house, &claim, 700).await;
    let by = |n| if (406..=600).contains(&n) { "second" } else { "first" };
    let wanted: BTreeMap<i32, Vec<String>> = (1..=700).map(|n| (n, vec![format!("{} {n}", by(n))])).collect();
    assert_eq!(known, wanted);
    let progress = house.progress(claim.chunk.campaign).await;
    assert_eq!((progress.sent, progress.unknown, progress.waiting), (700, 0, 0), "{progress:?}");
    assert_eq!(house.store.repair_counters(claim.chunk.campaign).await.unwrap(), 0);
    assert_eq!(house.store.known_members(&claim, &[1, 403, 600, 701]).await.unwrap(), [1, 403, 600]);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_run_ends_where_a_look_up_would_no_longer_reach(pool: PgPool) {
    let house = House::new(pool).await;
    let claim = claimed(&house, 5).await;
    let told: Vec<i32> = (1..=2_100).chain((4_000..13_000).step_by(200)).collect();
    house.store.record(&accepted(&claim, 1, "first", told.iter().copied()), &[]).await.unwrap();
    assert_eq!(
        (rows_of(&house, "acceptances").await, rows_of(&house, "results").await),
        (3, 45),
        "1,024, 1,024 and 52 beside each other; of the others only six are near each other"
    );
    let known: Vec<i32> = known(&house, &claim, 13_000).await.into_keys().collect();
    assert_eq!(known, told);
}

/// A webhook appends its fact and then counts, a flush counts and then appends.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_flush_and_a_webhook_that_wait_for_each_other_are_repeated(pool: PgPool) {
    let house = House::new(pool).await;
    let claim = claimed(&house, 3).await;
    let mut webhook = house.store.begin().await.unwrap();
    sqlx::query("insert into results (campaign_id, n, attempt, kind, account_no) values ($1, 1, 1, 0, 1)")
        .bind(claim.chunk.campaign.uuid())
        .execute(&mut *webhook)
        .await
        .unwrap();
    let facts = accepted(&claim, 1, "first", 1..=3);
    let flush = house.store.record(&facts, &[]);
    let count = async {
        let waits = "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')";
        while !sqlx::query_scalar::<_, bool>(waits).fetch_one(house.store.pool()).await.unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        sqlx::query("select recount_chunks(array[$1], array[1::bigint])")
            .bind(claim.chunk.campaign.uuid())
            .execute(&mut *webhook)
            .await?;
        webhook.commit().await
    };
    let (flushed, counted) = tokio::join!(flush, count);
    let ended = [flushed.err(), counted.err().map(StoreError::from)];
    assert_eq!(ended.iter().flatten().count(), 1, "{ended:?}");
    assert!(ended.iter().flatten().all(StoreError::is_transient), "{ended:?}");
    house.store.record(&facts, &[]).await.unwrap();
    assert_eq!(rows_of(&house, "results").await, 3);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn who_was_accepted_is_not_cancelled(pool: PgPool) {
    let house = House::new(pool).await;
    let claim = claimed(&house, 30).await;
    let campaign = claim.chunk.campaign;
    house.store.record(&accepted(&claim, 1, "first", 1..=10), &[]).await.unwrap();
    sqlx::raw_sql(
        "update chunks set owner = null, owned_until = null; update campaigns set state = 'cancelled'",
    )
    .execute(house.store.pool())
    .await
    .unwrap();
    let closed: i32 = sqlx::query_scalar("select close_cancelled($1, 10)")
        .bind(campaign.uuid())
        .fetch_one(house.store.pool())
        .await
        .unwrap();
    assert_eq!(closed, 1);
    assert_eq!((rows_of(&house, "acceptances").await, rows_of(&house, "results").await), (1, 20));
    let progress = house.progress(campaign).await;
    assert_eq!((progress.sent, progress.suppressed, progress.waiting), (10, 20, 0), "{progress:?}");
}
