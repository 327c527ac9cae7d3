//! Pairs and people.

use std::time::Duration;

use super::World;
use crate::support::until;

const SOMEBODY: &str = "+23052345678";

#[tokio::test]
async fn a_pair_gets_its_burst_and_then_one_message_every_six_seconds() {
    let world = World::new("pairs", &[]).await;
    let limiter = world.process().limiter;
    // The very first message of an account, or the first after Redis was emptied: the burst counts as used up.
    assert_eq!(limiter.pairs(world.account, &[SOMEBODY]).await, [None]);
    let wait = limiter.pairs(world.account, &[SOMEBODY]).await[0].expect("one only");
    assert!(wait > Duration::from_secs(5) && wait <= Duration::from_secs(6), "{wait:?}");

    // Long after.
    let mut connection = crate::support::redis().short().await.expect("Redis");
    for key in world.keys().await {
        let command = if key.ends_with(":pairs") { redis::cmd("SET") } else { redis::cmd("DEL") };
        let mut command = command;
        command.arg(&key);
        if key.ends_with(":pairs") {
            command.arg(0);
        }
        command.exec_async(&mut connection).await.expect("an old account");
    }
    let burst = limiter.pairs(world.account, &[SOMEBODY; 46]).await;
    assert_eq!(burst.iter().filter(|wait| wait.is_none()).count(), 45);
    let wait = burst[45].expect("the burst is over");
    assert!(wait > Duration::from_secs(5) && wait <= Duration::from_secs(6), "{wait:?}");
    assert_eq!(limiter.pairs(world.account, &["+23052345679"]).await, [None], "another pair");
    assert!(world.keys().await.iter().all(|key| !key.contains("5234")), "no address in Redis");
}

#[tokio::test]
async fn pairs_are_paced_by_each_process_while_redis_is_away() {
    let world = World::new("pairs-away", &[]).await;
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").port();
    let nowhere = fanfare_engine::link::RedisLink::open(&format!("redis://127.0.0.1:{port}")).expect("URL");
    let limiter = world.process_over(nowhere).limiter;
    let waits = limiter.pairs(world.account, &[SOMEBODY, SOMEBODY, "+23052345679"]).await;
    assert_eq!((waits[0], waits[2]), (None, None));
    assert!(waits[1].is_some_and(|wait| wait > Duration::from_secs(5)));
    assert!(limiter.people(world.account, 10, &[SOMEBODY]).await.is_err(), "nobody counts the people");
}

#[tokio::test]
async fn a_tier_counts_distinct_people_and_is_never_exceeded_after_a_loss() {
    let world = World::new("people", &[]).await;
    let process = world.process();
    until("the account has its row", async || process.pacer.source().is_some()).await;
    let people = async |who: &[&str]| {
        let waits = process.limiter.people(world.account, 3, who).await.expect("counted");
        waits.iter().map(Option::is_none).collect::<Vec<_>>()
    };
    assert_eq!(people(&["a", "b", "a"]).await, [true, true, true]);
    assert_eq!(people(&["c", "d", "b"]).await, [true, false, true]);
    let wait = process.limiter.people(world.account, 3, &["d"]).await.expect("counted")[0].expect("full");
    assert!(wait > Duration::from_secs(86_000) && wait <= Duration::from_secs(86_400), "{wait:?}");

    world.lose_keys().await;
    assert_eq!(people(&["d", "e"]).await, [false, false], "three are known to have been written to");
    assert!(world.keys().await.iter().all(|key| !key.contains(":a")), "no address in Redis");
}
