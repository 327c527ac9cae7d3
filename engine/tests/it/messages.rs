//! "Who was not sent, and why?" is one query, and facts merge whatever their order.

use std::time::Duration;

use fanfare_engine::{
    domain::{
        channel::{Channel, MessageClass},
        chunk::ChunkRef,
        outcome::{FactKind, Outcome, Reason},
    },
    engine::{Engine, Settings},
    id::MessageId,
    launch::control,
    store::{
        StoreError, StoreResult,
        campaigns::ChangeError,
        chunks::Claim,
        recipients::{Slice, SliceSizes},
        results::Fact,
    },
    upkeep::Upkeep,
};
use sqlx::PgPool;

use crate::house::House;

const MIGRATOR: &sqlx::migrate::Migrator = &fanfare_engine::store::MIGRATOR;

pub(crate) async fn claimed(house: &House, people: i32) -> Claim {
    house.contacts(people).await;
    let campaign = house.draft(Channel::Sms, MessageClass::Obligation).await;
    let engine = house.engine(Settings::default()).await;
    house.launch(campaign).await;
    assert!(matches!(
        house
            .store
            .freeze_slice(campaign, SliceSizes { first: 1_000, slice: 1_000, chunk: 1_000 })
            .await
            .unwrap(),
        Slice::Frozen { complete: true, .. }
    ));
    let wanted = [ChunkRef { campaign, no: 1 }];
    let lease = Duration::from_secs(30);
    house.store.claim_chunks(engine.process, &wanted, lease).await.unwrap().remove(0)
}

fn fact(claim: &Claim, n: i32, outcome: Outcome) -> Fact {
    Fact { chunk: claim.chunk, epoch: claim.epoch, n, attempt: 1, account_no: 1, at: claim.now, outcome }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn facts_merge_whatever_their_order_and_epoch(pool: PgPool) {
    let house = House::new(pool).await;
    let claim = claimed(&house, 3).await;
    let accepted = || Outcome::Accepted { provider_id: Some("1".to_owned()) };
    let unknown = || Outcome::Unknown { reason: Reason::WorkerDied };
    house.store.record(&[fact(&claim, 1, unknown()), fact(&claim, 2, accepted())], &[]).await.unwrap();
    // A worker that was frozen past its lease comes back with what it knows, under its old epoch, twice.
    let frozen = Claim { epoch: claim.epoch - 1, ..claim.clone() };
    for _ in 0..2 {
        let late = [fact(&frozen, 1, accepted()), fact(&frozen, 2, unknown()), fact(&frozen, 3, accepted())];
        house.store.record(&late, &[]).await.unwrap();
    }
    let progress = house.progress(claim.chunk.campaign).await;
    assert_eq!((progress.sent, progress.unknown, progress.waiting), (3, 0, 0), "{progress:?}");
    let unsent = house.store.unsent(house.tenant_id(), claim.chunk.campaign, 0, 10).await.unwrap();
    assert_eq!(unsent, []);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn who_was_not_sent_is_listed_with_the_reason_page_by_page(pool: PgPool) {
    let house = House::new(pool).await;
    let claim = claimed(&house, 10).await;
    let campaign = claim.chunk.campaign;
    let facts: Vec<Fact> = (1..=10)
        .map(|n| match n % 3 {
            0 => fact(&claim, n, Outcome::failed(Reason::RecipientRejected)),
            1 => fact(&claim, n, Outcome::Accepted { provider_id: None }),
            _ => fact(&claim, n, Outcome::Suppressed { reason: Reason::Unsubscribed }),
        })
        .collect();
    house.store.record(&facts, &[]).await.unwrap();
    let mut listed = Vec::new();
    let mut after = 0;
    loop {
        let page = house.store.unsent(house.tenant_id(), campaign, after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.message.n;
        listed.extend(page.into_iter().map(|unsent| (unsent.message.n, unsent.state, unsent.because)));
    }
    assert_eq!(listed.iter().map(|(n, ..)| *n).collect::<Vec<_>>(), [2, 3, 5, 6, 8, 9]);
    assert_eq!(listed[0].1, "suppressed");
    assert_eq!(listed[1].2, "the provider refused the recipient");
    let stranger = crate::house::tenant(&house.ids, claim.now, "other");
    house.store.create_tenant(&stranger).await.unwrap();
    assert_eq!(
        house.store.unsent(stranger.id, campaign, 0, 10).await.unwrap(),
        [],
        "another tenant sees nothing"
    );
    assert!(house.store.campaign(stranger.id, campaign).await.is_err());
    assert!(house.store.message(stranger.id, MessageId { campaign, n: 1 }).await.unwrap().is_none());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn counters_that_differ_from_rows_are_put_right(pool: PgPool) {
    let house = House::new(pool).await;
    let claim = claimed(&house, 5).await;
    let facts: Vec<Fact> =
        (1..=5).map(|n| fact(&claim, n, Outcome::Accepted { provider_id: None })).collect();
    house.store.record(&facts, &[]).await.unwrap();
    sqlx::query("update chunks set accepted = 3, watermark = 5, done_at = null, owned_until = null where campaign_id = $1")
        .bind(claim.chunk.campaign.uuid())
        .execute(house.store.pool())
        .await
        .unwrap();
    assert_eq!(house.store.repair_counters(claim.chunk.campaign).await.unwrap(), 1);
    assert_eq!(house.progress(claim.chunk.campaign).await.sent, 5);
    assert_eq!(house.store.repair_counters(claim.chunk.campaign).await.unwrap(), 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_chunk_of_an_attempt_is_found(pool: PgPool) {
    let house = House::new(pool).await;
    let claim = claimed(&house, 5).await;
    let campaign = claim.chunk.campaign.uuid();
    let tried_again: i64 = sqlx::query_scalar(
        "insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, members, size)
         select campaign_id, nextval('chunk_no'), tenant_id, account_id, 2, 1, array[2, 4], 2 from chunks where campaign_id = $1
         returning no",
    )
    .bind(campaign)
    .fetch_one(house.store.pool())
    .await
    .unwrap();
    for (n, attempt, expected) in [
        (1, 1_i16, Some(1)),
        (5, 1, Some(1)),
        (6, 1, None),
        (2, 2, Some(tried_again)),
        (4, 2, Some(tried_again)),
        (3, 2, None),
    ] {
        let found: Option<i64> = sqlx::query_scalar("select chunk_of($1, $2, $3)")
            .bind(campaign)
            .bind(n)
            .bind(attempt)
            .fetch_one(house.store.pool())
            .await
            .unwrap();
        assert_eq!(found, expected, "attempt {attempt} of {n}");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_duty_has_one_holder_and_a_fence(pool: PgPool) {
    let house = House::new(pool).await;
    let lease = Duration::from_secs(10);
    let (one, two) =
        (house.engine(Settings::default()).await.process, house.engine(Settings::default()).await.process);
    let first = house.store.hold_duty("feed", one, lease).await.unwrap().unwrap();
    assert_eq!(house.store.hold_duty("feed", two, lease).await.unwrap(), None);
    assert_eq!(house.store.hold_duty("feed", one, lease).await.unwrap(), Some(first), "renewed");
    house.store.drop_duties(one).await.unwrap();
    let second = house.store.hold_duty("feed", two, lease).await.unwrap().unwrap();
    assert!(second.fence > first.fence);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn who_has_lost_a_duty_writes_no_more(pool: PgPool) {
    let house = House::new(pool).await;
    let (one, two) = (house.engine(Settings::default()).await, house.engine(Settings::default()).await);
    let hold = async |engine: &Engine, lease| {
        let proof = house.store.hold_duty("upkeep", engine.process, lease).await.unwrap();
        proof.map(|proof| Upkeep { store: house.store.on_duty(proof), ..engine.upkeep() })
    };
    let lost = |result: StoreResult<()>| matches!(result, Err(StoreError::Superseded("upkeep")));
    house.contacts(10).await;
    let campaign = house.draft(Channel::Sms, MessageClass::Obligation).await;
    house.launch(campaign).await;
    let first = hold(&one, Duration::ZERO).await.unwrap();
    // It wakes after its lease has ended: another process has the duty by now.
    let second = hold(&two, Duration::from_secs(10)).await.unwrap();
    assert!(lost(first.once().await));
    assert_eq!(house.store.frozen(campaign).await.unwrap(), 0, "nothing was frozen");
    let store = &first.store;
    assert!(lost(store.finish_campaigns().await.map(drop)));
    assert!(lost(store.advance_done_through().await));
    assert!(lost(store.abandon(&[]).await));
    assert!(lost(store.ensure_partitions().await.map(drop)));
    assert!(lost(store.drop_partitions(13).await.map(drop)));
    let paused = control::pause(store, house.tenant_id(), campaign).await;
    assert!(matches!(paused, Err(ChangeError::Store(StoreError::Superseded(_)))), "{paused:?}");
    second.once().await.unwrap();
    assert_eq!(house.store.frozen(campaign).await.unwrap(), 10);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_duty_is_taken_over_after_what_its_holder_had_begun(pool: PgPool) {
    let house = House::new(pool).await;
    let process = async || house.engine(Settings::default()).await.process;
    let (one, two) = (process().await, process().await);
    let first = house.store.hold_duty("upkeep", one, Duration::ZERO).await.unwrap().unwrap();
    let begun = house.store.on_duty(first).begin().await.unwrap();
    let mut taking = Box::pin(house.store.hold_duty("upkeep", two, Duration::from_secs(10)));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut taking).await;
    assert!(early.is_err(), "it waits for the commit: {early:?}");
    begun.commit().await.unwrap();
    assert!(taking.await.unwrap().is_some());
    assert!(house.store.on_duty(first).begin().await.is_err());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_holder_that_freezes_in_a_transaction_keeps_nobody_waiting(pool: PgPool) {
    let setting = "show idle_in_transaction_session_timeout";
    let ours: String =
        sqlx::query_scalar(setting).fetch_one(crate::support::store().await.pool()).await.unwrap();
    assert_eq!(ours, "10s");
    let house = House::new(pool).await;
    let process = async || house.engine(Settings::default()).await.process;
    let (one, two) = (process().await, process().await);
    let first = house.store.hold_duty("upkeep", one, Duration::ZERO).await.unwrap().unwrap();
    let mut begun = house.store.on_duty(first).begin().await.unwrap();
    sqlx::query("set local idle_in_transaction_session_timeout = 50").execute(&mut *begun).await.unwrap();
    let taken = house.store.hold_duty("upkeep", two, Duration::from_secs(10));
    let taken = tokio::time::timeout(Duration::from_secs(10), taken).await.expect("not kept waiting");
    assert!(taken.unwrap().is_some());
    let woken = StoreError::from(begun.commit().await.unwrap_err());
    assert!(woken.is_transient(), "{woken}");
}

/// The rule stands in [`FactKind::PRECEDENCE`], and for speed in the SQL of counters and listings: they are held together
/// here, for every pair of facts about one attempt, in both orders.
#[sqlx::test(migrator = "MIGRATOR")]
async fn sql_and_rust_agree_on_which_fact_holds(pool: PgPool) {
    let house = House::new(pool).await;
    let kinds = FactKind::PRECEDENCE;
    let pairs: Vec<(FactKind, FactKind)> =
        kinds.iter().flat_map(|&one| kinds.iter().map(move |&two| (one, two))).collect();
    let claim = claimed(&house, i32::try_from(pairs.len()).unwrap()).await;
    let facts = |of: fn(&(FactKind, FactKind)) -> FactKind| -> Vec<Fact> {
        (1..).zip(&pairs).map(|(n, pair)| fact(&claim, n, an_outcome(of(pair)))).collect()
    };
    house.store.record(&facts(|pair| pair.0), &[]).await.unwrap();
    // Of an earlier epoch: the counters are recounted from the facts.
    let late: Vec<Fact> =
        facts(|pair| pair.1).into_iter().map(|fact| Fact { epoch: claim.epoch - 1, ..fact }).collect();
    house.store.record(&late, &[]).await.unwrap();

    let campaign = claim.chunk.campaign;
    let holds = |(one, two): (FactKind, FactKind)| {
        *kinds.iter().find(|&&kind| kind == one || kind == two).expect("every kind has a place")
    };
    let held: Vec<FactKind> = pairs.iter().copied().map(holds).collect();
    let count = |of: &[FactKind]| held.iter().filter(|kind| of.contains(kind)).count() as i64;
    let progress = house.progress(campaign).await;
    assert_eq!(
        (progress.sent, progress.failed, progress.suppressed, progress.unknown, progress.waiting),
        (
            count(&[FactKind::Accepted]),
            count(&[FactKind::Failed]),
            count(&[FactKind::Suppressed]),
            count(&[FactKind::Unknown, FactKind::Abandoned]),
            0
        )
    );
    let (moved, done): (i32, bool) =
        sqlx::query_as("select moved, done_at is not null from chunks where campaign_id = $1")
            .bind(campaign.uuid())
            .fetch_one(house.store.pool())
            .await
            .unwrap();
    assert_eq!((i64::from(moved), done), (count(&[FactKind::Retry]), true));

    let sent_or_moved = [FactKind::Accepted, FactKind::Retry];
    let exceptions: Vec<(i32, String)> = (1..)
        .zip(&held)
        .filter(|(_, kind)| !sent_or_moved.contains(kind))
        .map(|(n, kind)| (n, kind.as_str().to_owned()))
        .collect();
    let unsent = house.store.unsent(house.tenant_id(), campaign, 0, 100).await.unwrap();
    assert_eq!(unsent.into_iter().map(|row| (row.message.n, row.state)).collect::<Vec<_>>(), exceptions);
    for row in house.store.reasons(house.tenant_id(), campaign).await.unwrap() {
        let expected = exceptions.iter().filter(|(_, state)| *state == row.state).count() as i64;
        assert_eq!(row.recipients, expected, "{}", row.state);
    }
    let unknown = house.store.unknown_messages(Duration::ZERO, Duration::from_secs(60), 100).await.unwrap();
    let open: Vec<i32> =
        (1..).zip(&held).filter(|(_, kind)| **kind == FactKind::Unknown).map(|(n, _)| n).collect();
    let mut asked: Vec<i32> = unknown.iter().map(|unknown| unknown.message.n).collect();
    asked.sort_unstable();
    assert_eq!(asked, open, "only of these is anything still to be found out");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_database_names_a_message_as_everybody_does(pool: PgPool) {
    let ids = fanfare_engine::id::Ids::from_seed(7);
    for n in [0, 1, 31, 32, 65_535, i32::MAX] {
        let id = MessageId { campaign: ids.next(jiff::Timestamp::now()), n };
        let named: String = sqlx::query_scalar("select message_text($1, $2)")
            .bind(id.campaign.uuid())
            .bind(n)
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(named, id.to_string());
    }
}

fn an_outcome(kind: FactKind) -> Outcome {
    match kind {
        FactKind::Accepted => Outcome::Accepted { provider_id: None },
        FactKind::Retry => Outcome::Retry { reason: Reason::Throttled, after: None, burns_attempt: false },
        FactKind::Failed => Outcome::failed(Reason::RecipientRejected),
        FactKind::Suppressed => Outcome::Suppressed { reason: Reason::Unsubscribed },
        FactKind::Unknown => Outcome::Unknown { reason: Reason::WorkerDied },
        FactKind::Abandoned => Outcome::Abandoned { reason: Reason::Unconfirmed },
    }
}
