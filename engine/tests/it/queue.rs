//! The queue: hints are lost, repeated and late, and the lane heals.

use std::{collections::BTreeSet, time::Duration};

use fanfare_engine::{
    domain::{
        channel::{Channel, Lane, MessageClass},
        chunk::ChunkRef,
    },
    engine::Settings,
    id::CampaignId,
    link::RedisLink,
    queue::{Delivery, EntryId, Queue, QueueError},
};
use jiff::Timestamp;
use sqlx::PgPool;

use crate::{
    house::{ALL, House, stop},
    support::{self, until},
};

const LANE: Lane = Lane { channel: Channel::Sms, class: MessageClass::Marketing };
const BRIEFLY: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(5);

fn chunks(numbers: impl IntoIterator<Item = i64>) -> Vec<ChunkRef> {
    let campaign = CampaignId::from_uuid(uuid::Uuid::from_u128(7));
    numbers.into_iter().map(|no| ChunkRef { campaign, no }).collect()
}

fn named(deliveries: &[Delivery]) -> BTreeSet<ChunkRef> {
    deliveries.iter().map(|delivery| delivery.chunk).collect()
}

fn entries(deliveries: &[Delivery]) -> Vec<EntryId> {
    deliveries.iter().map(|delivery| delivery.entry.clone()).collect()
}

struct Fixture {
    queue: Queue,
    key: String,
    link: RedisLink,
}

impl Fixture {
    fn new(test: &str) -> Self {
        let (link, prefix) = (support::redis(), support::prefix(test));
        let key = format!("{prefix}:{{{LANE}:0}}:chunks");
        Self { queue: Queue::new(link.clone(), &prefix), key, link }
    }

    /// What FLUSHALL does to this lane, without touching those of the other tests.
    async fn flush(&self) {
        redis::cmd("DEL")
            .arg(&self.key)
            .exec_async(&mut self.link.short().await.expect("Redis"))
            .await
            .expect("DEL");
    }

    async fn contents(&self) -> BTreeSet<ChunkRef> {
        self.queue.contents(LANE).await.expect("contents").into_iter().collect()
    }
}

#[tokio::test]
async fn what_is_published_is_read_once_and_vanishes_when_done() {
    let f = Fixture::new("once");
    f.queue.publish(LANE, &chunks(0..300)).await.expect("publish");
    let (mut one, mut two) = (f.queue.reader(LANE, "one"), f.queue.reader(LANE, "two"));
    let first = one.read(200, BRIEFLY).await.expect("read");
    let second = two.read(200, BRIEFLY).await.expect("read");
    assert_eq!((first.len(), second.len()), (200, 100));
    assert!(named(&first).is_disjoint(&named(&second)));

    f.queue.done(LANE, &entries(&first)).await.expect("done");
    assert_eq!(f.contents().await, named(&second), "read but not done stays in the lane");
    let depth = f.queue.depth(LANE, Timestamp::now()).await.expect("depth");
    assert_eq!((depth.length, depth.pending), (100, 100));
    assert!(depth.oldest.is_some_and(|age| age < Duration::from_secs(60)), "{depth:?}");

    f.queue.done(LANE, &entries(&second)).await.expect("done");
    assert_eq!(f.contents().await, BTreeSet::new());
    assert_eq!(f.queue.depth(LANE, Timestamp::now()).await.expect("depth"), Default::default());
}

#[tokio::test]
async fn contents_go_beyond_one_page_and_hold_read_and_unread() {
    let f = Fixture::new("contents");
    let all = chunks(0..2_500);
    f.queue.publish(LANE, &all).await.expect("publish");
    f.queue.reader(LANE, "one").read(700, BRIEFLY).await.expect("read");
    assert_eq!(f.contents().await, all.into_iter().collect());
}

#[tokio::test]
async fn a_waiting_reader_is_woken_after_a_flush() {
    let f = Fixture::new("flush");
    f.queue.publish(LANE, &chunks(0..5)).await.expect("publish");
    let mut reader = f.queue.reader(LANE, "one");
    assert_eq!(reader.read(10, BRIEFLY).await.expect("read").len(), 5);
    f.flush().await;
    // Upkeep publishes again what should be there; the reader finds neither stream nor group as it left them.
    f.queue.publish(LANE, &chunks(0..5)).await.expect("publish");
    assert_eq!(named(&reader.read(10, LONG).await.expect("read")), chunks(0..5).into_iter().collect());

    // The same while the reader waits.
    let waiting = tokio::spawn(async move {
        loop {
            let got = reader.read(10, LONG).await.expect("read");
            if !got.is_empty() {
                return got;
            }
        }
    });
    f.flush().await;
    f.queue.publish(LANE, &chunks(5..6)).await.expect("publish");
    let got = tokio::time::timeout(LONG, waiting).await.expect("in time").expect("no panic");
    assert_eq!(named(&got), chunks(5..6).into_iter().collect());
}

#[tokio::test]
async fn what_a_dead_consumer_read_comes_back_and_the_consumer_goes() {
    let f = Fixture::new("reclaim");
    f.queue.publish(LANE, &chunks(0..10)).await.expect("publish");
    f.queue.reader(LANE, "dead").read(10, BRIEFLY).await.expect("read");
    assert_eq!(
        f.queue.reclaim(LANE, "alive", LONG, 100).await.expect("reclaim"),
        [],
        "not idle for long enough"
    );
    assert_eq!(
        f.queue.forget_consumers(LANE, Duration::ZERO).await.expect("forget"),
        0,
        "it still holds entries"
    );

    let taken = f.queue.reclaim(LANE, "alive", Duration::ZERO, 100).await.expect("reclaim");
    assert_eq!(named(&taken), chunks(0..10).into_iter().collect());
    f.queue.done(LANE, &entries(&taken)).await.expect("done");
    assert_eq!(f.queue.forget_consumers(LANE, LONG).await.expect("forget"), 0, "not idle for long enough");
    assert_eq!(f.queue.forget_consumers(LANE, Duration::ZERO).await.expect("forget"), 2);
    assert_eq!(f.contents().await, BTreeSet::new());
}

#[tokio::test]
async fn an_entry_that_names_no_chunk_is_dropped() {
    let f = Fixture::new("foreign");
    let mut add = redis::cmd("XADD");
    add.arg(&f.key).arg("*").arg("c").arg("nonsense");
    add.exec_async(&mut f.link.short().await.expect("Redis")).await.expect("XADD");
    f.queue.publish(LANE, &chunks(0..1)).await.expect("publish");
    let got = f.queue.reader(LANE, "one").read(10, BRIEFLY).await.expect("read");
    assert_eq!(named(&got), chunks(0..1).into_iter().collect());
    assert_eq!(f.queue.depth(LANE, Timestamp::now()).await.expect("depth").length, 1);
}

#[tokio::test]
async fn a_blocking_read_outlasts_the_time_limit_of_short_commands() {
    let f = Fixture::new("block");
    let mut reader = f.queue.reader(LANE, "one");
    assert_eq!(reader.read(1, Duration::from_millis(900)).await.expect("no time-out"), []);
}

#[tokio::test]
async fn redis_away_is_an_error_that_comes_quickly() {
    // Bound and closed again: nobody listens there.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").port();
    let queue = Queue::new(RedisLink::open(&format!("redis://127.0.0.1:{port}")).expect("URL"), "away");
    let quick = Duration::from_secs(3);
    let published = tokio::time::timeout(quick, queue.publish(LANE, &chunks(0..1))).await.expect("in time");
    assert!(matches!(published, Err(QueueError::Unavailable(_))), "{published:?}");
    let read = tokio::time::timeout(quick, queue.reader(LANE, "one").read(1, LONG)).await.expect("in time");
    assert!(matches!(read, Err(QueueError::Unavailable(_))), "{read:?}");
}

/// Changes what a user of Redis may do.
async fn allow(user: &str, rules: &[&str]) {
    let mut change = redis::cmd("ACL");
    change.arg("SETUSER").arg(user).arg(rules);
    let mut connection = support::redis().short().await.expect("Redis");
    change.exec_async(&mut connection).await.expect("the tests' user may manage users");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_hint_is_acknowledged_as_soon_as_redis_takes_it(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(10).await;
    let campaign = house.draft(LANE.channel, LANE.class).await;
    allow(&house.prefix, &["on", ">secret", "~*", "+@all", "-xack"]).await;
    let mut engine = house.engine(Settings::default()).await;
    let link = RedisLink::open(&support::redis_url_of(&house.prefix, "secret")).unwrap();
    engine.queue = Queue::new(link, &house.prefix);
    let queue = engine.queue.clone();
    let running = engine.start(ALL);
    house.launch(campaign).await;
    house.finished(campaign).await;
    assert_eq!(queue.contents(LANE).await.unwrap().len(), 1, "nobody could acknowledge it");

    // Long before its reader counts as dead, after which others would take it over.
    allow(&house.prefix, &["+xack"]).await;
    let acknowledged = until("the lane is empty", async || queue.contents(LANE).await.unwrap().is_empty());
    tokio::time::timeout(LONG, acknowledged).await.expect("soon");
    stop(running).await;
}
