//! A campaign that is slower than its account.

use std::time::{Duration, Instant};

use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    engine::Settings,
    id::CampaignId,
    store::{chunks::Claim, recipients::SliceSizes},
};
use sqlx::PgPool;

use crate::house::{ALL, House, stop};

const MIGRATOR: &sqlx::migrate::Migrator = &fanfare_engine::store::MIGRATOR;

async fn throttled(house: &House, people: i32, per_minute: i32) -> CampaignId {
    house.contacts(people).await;
    let campaign = house.draft(Channel::Email, MessageClass::Obligation).await;
    sqlx::query("update campaigns set throttle_per_minute = $2 where id = $1")
        .bind(campaign.uuid())
        .bind(per_minute)
        .execute(house.store.pool())
        .await
        .unwrap();
    campaign
}

/// One that is launched, with its chunks, while nobody works on them.
async fn frozen(house: &House, people: i32, per_minute: i32) -> CampaignId {
    let campaign = throttled(house, people, per_minute).await;
    let _ = house.engine(Settings::default()).await;
    house.launch(campaign).await;
    house.store.freeze_slice(campaign, SliceSizes { first: 200, slice: 200, chunk: 50 }).await.unwrap();
    campaign
}

/// Claims what is due and may begin.
async fn claimed(house: &House, campaign: CampaignId) -> Vec<Claim> {
    let wanted: Vec<_> =
        sqlx::query_scalar::<_, i64>("select no from chunks where campaign_id = $1 order by no")
            .bind(campaign.uuid())
            .fetch_all(house.store.pool())
            .await
            .unwrap()
            .into_iter()
            .map(|no| fanfare_engine::domain::chunk::ChunkRef { campaign, no })
            .collect();
    let process = house.ids.next(house.store.now().await.unwrap());
    house.store.claim_chunks(process, &wanted, Duration::from_secs(60)).await.unwrap()
}

async fn shift_turn(house: &House, campaign: CampaignId, seconds: f64) {
    sqlx::query(
        "update campaigns set throttled_until = throttled_until + make_interval(secs => $2) where id = $1",
    )
    .bind(campaign.uuid())
    .bind(seconds)
    .execute(house.store.pool())
    .await
    .unwrap();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn its_chunks_are_small_and_take_turns(pool: PgPool) {
    let house = House::new(pool).await;
    // Ten messages are a second's worth.
    let campaign = frozen(&house, 100, 620).await;
    let largest: i32 = sqlx::query_scalar("select max(size) from chunks where campaign_id = $1")
        .bind(campaign.uuid())
        .fetch_one(house.store.pool())
        .await
        .unwrap();
    assert_eq!(largest, 10);
    // The first, and the one of the second that a turn may be late by.
    assert_eq!(claimed(&house, campaign).await.len(), 2);
    assert_eq!(claimed(&house, campaign).await.len(), 0, "the turn is another's");
    let lane =
        fanfare_engine::domain::channel::Lane { channel: Channel::Email, class: MessageClass::Obligation };
    assert!(house.store.due_chunks(lane, 100, 100).await.unwrap().is_empty(), "nobody looks at it meanwhile");
    // However long nobody was there: a second of it is made up for.
    shift_turn(&house, campaign, -3_600.0).await;
    assert!(!house.store.due_chunks(lane, 100, 100).await.unwrap().is_empty());
    assert_eq!(claimed(&house, campaign).await.len(), 2);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_failed_is_tried_again_as_slowly(pool: PgPool) {
    let house = House::new(pool).await;
    let campaign = frozen(&house, 30, 620).await;
    sqlx::query(
        "insert into results (campaign_id, n, attempt, kind, reason)
         select campaign_id, n, 1, 2, 'invalid_recipient' from recipients where campaign_id = $1",
    )
    .bind(campaign.uuid())
    .execute(house.store.pool())
    .await
    .unwrap();
    assert_eq!(house.store.replay_failed(house.tenant_id(), campaign, 50).await.unwrap(), 30);
    let sizes: Vec<i32> =
        sqlx::query_scalar("select size from chunks where campaign_id = $1 and members is not null")
            .bind(campaign.uuid())
            .fetch_all(house.store.pool())
            .await
            .unwrap();
    assert_eq!(sizes, [10, 10, 10]);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn it_reaches_everybody_in_its_time(pool: PgPool) {
    let house = House::new(pool).await;
    // A hundred a second, over two processes: two seconds' worth may leave at once.
    let campaign = throttled(&house, 400, 6_200).await;
    let (one, other) = (
        house.engine(Settings::default()).await.start(ALL),
        house.engine(Settings::default()).await.start(ALL),
    );
    let launched = Instant::now();
    house.launch(campaign).await;
    let progress = house.finished(campaign).await;
    assert_eq!((progress.sent, progress.unknown, house.received().len()), (400, 0, 400));
    assert!(launched.elapsed() > Duration::from_millis(1_900), "{:?}", launched.elapsed());
    stop(one).await;
    stop(other).await;
}
