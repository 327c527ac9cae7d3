//! "Who was not sent, and why?" is one query, and facts merge whatever their order.

use fanfare_engine::{
    domain::{
        channel::{Channel, MessageClass},
        chunk::ChunkRef,
        outcome::{Outcome, Reason},
    },
    engine::Settings,
    store::{chunks::Claim, recipients::Slice, results::Fact},
};
use sqlx::PgPool;

use crate::house::House;

const MIGRATOR: &sqlx::migrate::Migrator = &fanfare_engine::store::MIGRATOR;

async fn claimed(house: &House, people: i32) -> Claim {
    house.contacts(people).await;
    let campaign = house.draft(Channel::Sms, MessageClass::Obligation).await;
    let engine = house.engine(Settings::default()).await;
    house.launch(campaign).await;
    house.store.prepare_audience(campaign).await.unwrap();
    assert!(matches!(
        house.store.freeze_slice(campaign, 1_000, 1_000).await.unwrap(),
        Slice::Frozen { complete: true, .. }
    ));
    let wanted = [ChunkRef { campaign, no: 1 }];
    let lease = std::time::Duration::from_secs(30);
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
    assert!(
        house
            .store
            .message(stranger.id, fanfare_engine::id::MessageId { campaign, n: 1 })
            .await
            .unwrap()
            .is_none()
    );
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
async fn a_duty_has_one_holder_and_a_fence(pool: PgPool) {
    let house = House::new(pool).await;
    let lease = std::time::Duration::from_secs(10);
    let (one, two) =
        (house.engine(Settings::default()).await.process, house.engine(Settings::default()).await.process);
    let first = house.store.hold_duty("feed", one, lease).await.unwrap().unwrap();
    assert_eq!(house.store.hold_duty("feed", two, lease).await.unwrap(), None);
    assert_eq!(house.store.hold_duty("feed", one, lease).await.unwrap(), Some(first), "renewed");
    house.store.drop_duties(one).await.unwrap();
    let second = house.store.hold_duty("feed", two, lease).await.unwrap().unwrap();
    assert!(second.fence > first.fence);
}
