//! The pace of an account over several processes: seconds, longer windows, refusals, the urgent.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare_engine::{
    limit::{NoCapacity, Priority, Span},
    providers::Quota,
};
use futures::future::join_all;

use super::{
    World,
    sink::{Sink, flood},
    window,
};
use crate::support::until;

const LIMIT: u64 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_use_a_limit_up_and_never_exceed_it() {
    let world = World::new("four", &[window(Span::Second, LIMIT)]).await;
    let processes: Vec<_> = (0..4).map(|_| world.process()).collect();
    let sink = Sink::default();
    join_all(processes.iter().map(|one| flood(&one.pacer, 100, Duration::from_secs(5), &sink))).await;

    let counts: Vec<_> = processes.iter().map(|one| one.pacer.counts()).collect();
    println!("worst second {}, pace {:.0}/s, {counts:?}", sink.worst_second(), sink.pace());
    assert!(sink.worst_second() as u64 <= LIMIT, "{} in a second", sink.worst_second());
    // 97 % and more when the machine does nothing else; less when it is busy, since late slots are thrown away.
    assert!(sink.pace() >= 0.9 * LIMIT as f64, "only {}/s", sink.pace());
    // Calls are shared by all who wait.
    let asked: u64 = counts.iter().map(|counts| counts.asked).sum();
    assert!(asked < 5 * 4 * 250, "{asked} calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_urgent_do_not_wait_behind_bulk_of_their_own_or_another_process() {
    let world = World::new("urgent", &[window(Span::Second, 500)]).await;
    let (bulk, other) = (world.process(), world.process());
    let sink = Sink::default();
    let flooding = {
        let (pacer, sink) = (Arc::clone(&bulk.pacer), sink.clone());
        tokio::spawn(async move { flood(&pacer, 200, Duration::from_secs(4), &sink).await })
    };
    until("the flood runs", async || !sink.arrivals().is_empty()).await;
    for process in [&bulk, &other] {
        let mut waits = Vec::new();
        for _ in 0..100 {
            let asked = Instant::now();
            process.pacer.permit(Priority::Urgent).await.expect("a permit");
            waits.push(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        waits.sort_unstable();
        println!("urgent: median {:?}, worst {:?}", waits[50], waits[99]);
        assert!(waits[98] < Duration::from_millis(100), "{waits:?}");
    }
    flooding.await.expect("no panic");
    assert!(sink.worst_second() <= 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_s_limit_holds_over_processes_and_outlives_redis() {
    let world = World::new("minute", &[window(Span::Second, 1_000), window(Span::Minute, 30)]).await;
    let processes = [world.process(), world.process()];
    let ask = async || {
        let asks = processes.iter().flat_map(|one| (0..40).map(|_| one.pacer.permit(Priority::Bulk)));
        join_all(asks).await
    };
    let mut permitted = 0;
    let retry_after = loop {
        let answers = ask().await;
        permitted += answers.iter().filter(|permit| permit.is_ok()).count();
        let exhausted = |permit: &Result<_, NoCapacity>| match permit {
            Err(NoCapacity::Exhausted { retry_after }) => Some(*retry_after),
            _ => None,
        };
        // Each process finds out by itself.
        let told: Vec<Duration> =
            answers.chunks(40).filter_map(|of_one| of_one.iter().find_map(exhausted)).collect();
        if let [retry_after, _] = told[..] {
            break retry_after;
        }
    };
    assert_eq!(permitted, 30);
    assert!(
        retry_after > Duration::from_secs(50) && retry_after < Duration::from_secs(63),
        "{retry_after:?}"
    );
    assert!(processes[0].pacer.admit(10).await.is_err(), "no intent without a permit to come");

    until("Postgres knows", async || {
        let used: Option<i64> = sqlx::query_scalar(
            "select sum((bucket->>1)::bigint)::bigint from account_pace, jsonb_array_elements(used->'windows'->'600000') bucket
             where account_id = $1",
        )
        .bind(world.account.uuid())
        .fetch_one(world.store.pool())
        .await
        .expect("used");
        used == Some(30)
    })
    .await;
    world.lose_keys().await;
    assert!(ask().await.iter().all(Result::is_err), "the minute is used up although Redis has forgotten it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_slows_everybody_once_and_silences_as_long_as_asked() {
    let world = World::new("refused", &[window(Span::Second, LIMIT)]).await;
    let (one, two) = (world.process(), world.process());
    let permit = one.pacer.permit(Priority::Bulk).await.expect("a permit");
    assert_eq!(two.pacer.pace(), Some(1_000.0));
    // A crowd that was permitted at one pace is refused: that is one reason to slow down.
    for _ in 0..50 {
        one.pacer.throttled(None, permit);
    }
    until("both know", async || {
        [&one, &two].iter().all(|process| process.pacer.pace().is_some_and(|pace| pace < 900.0))
    })
    .await;
    one.pacer.throttled(None, permit);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let pace = two.pacer.pace().expect("limited");
    assert!((700.0..800.0).contains(&pace), "lowered once, and recovering: {pace}");

    let permit = two.pacer.permit(Priority::Bulk).await.expect("a permit");
    let silent = Duration::from_secs(3);
    two.pacer.throttled(Some(silent), permit);
    let again = Instant::now() + silent;
    until("the other process knows", async || {
        matches!(one.pacer.permit(Priority::Urgent).await, Err(NoCapacity::Blocked { .. }))
    })
    .await;
    assert!(one.pacer.admit_now(1).is_none());
    let after = loop {
        if one.pacer.permit(Priority::Urgent).await.is_ok() {
            break Instant::now();
        }
    };
    assert!(after >= again, "{:?} too early", again - after);
    assert!(after < again + Duration::from_secs(1), "{:?} too late", after - again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_is_used_up_silences_until_its_reset() {
    let world = World::new("quota", &[window(Span::Second, LIMIT)]).await;
    let one = world.process();
    one.pacer.permit(Priority::Bulk).await.expect("a permit");
    one.pacer.quota(&Quota { limit: 100, remaining: 1, reset: Duration::from_secs(60) });
    one.pacer.permit(Priority::Bulk).await.expect("something is left");
    one.pacer.quota(&Quota { limit: 100, remaining: 0, reset: Duration::from_secs(60) });
    let refused = one.pacer.permit(Priority::Bulk).await.expect_err("nothing is left");
    assert!(matches!(refused, NoCapacity::Blocked { retry_after } if retry_after > Duration::from_secs(58)));
    let refused = one.pacer.admit(5).await.expect_err("nothing is left");
    assert!(matches!(refused, NoCapacity::Blocked { .. }));
}

#[tokio::test]
async fn admissions_are_bounded_by_a_quarter_of_a_second() {
    let world = World::new("admit", &[window(Span::Second, LIMIT)]).await;
    let one = world.process();
    let first = one.pacer.admit(1_000).await.expect("room");
    assert_eq!(first.count(), 250);
    assert!(one.pacer.admit(1_000).await.is_err(), "all room is taken for a second");
    assert!(one.pacer.admit_now(1).is_some(), "the urgent have room of their own");
    for _ in 0..200 {
        first.sent();
    }
    assert_eq!(one.pacer.admit(1_000).await.expect("room").count(), 200);
    drop(first);
    assert_eq!(one.pacer.admit(10).await.expect("room").count(), 10);
}

#[tokio::test]
async fn an_account_without_limits_costs_nothing() {
    let world = World::new("unlimited", &[]).await;
    let one = world.process();
    let begun = Instant::now();
    for _ in 0..10_000 {
        one.pacer.permit(Priority::Bulk).await.expect("a permit");
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(one.pacer.counts().asked, 0);
    assert_eq!(one.pacer.admit(500).await.expect("room").count(), 500);
    assert!(world.keys().await.is_empty());
}
