//! No provider account sees more than its limit in any second, however many processes run.

use std::time::Duration;

use fanfare_engine::domain::channel::{Channel, MessageClass};

use super::rig::{Rig, Setup, sandbox_now};

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_keep_a_quota_and_use_it_while_one_is_frozen() {
    let setup = Setup { quota: Some(500), people: 8_000, latency_ms: 20, in_flight: 128 };
    let mut rig = Rig::up(setup).await;
    for _ in 0..3 {
        rig.start_worker().await;
    }
    let campaign = rig.campaign(Channel::Email, MessageClass::Obligation).await;
    rig.until(campaign, "progress", |progress| progress.sent > 1_500).await;
    rig.signal_worker(0, "-STOP");
    tokio::time::sleep(Duration::from_secs(3)).await;
    rig.signal_worker(0, "-CONT");
    // Until the last second's worth: with the end of the work the quota is not the limit any more.
    rig.until(campaign, "almost the end", |progress| progress.sent >= 7_000).await;
    let until = sandbox_now(&rig);
    let lane = rig.sandbox.audit().summary().lanes.into_iter().find(|lane| lane.requests > 0).unwrap();
    assert!(lane.max_requests_in_a_second <= 500, "{lane:?}");
    let (first, last) = (lane.first_us.unwrap() + 1_000_000, until - 500_000);
    let used = rig.sandbox.audit().arrivals(first, last) as f64 / ((last - first) as f64 / 1e6);
    let seconds: Vec<usize> = (first..last)
        .step_by(1_000_000)
        .map(|from| rig.sandbox.audit().arrivals(from, (from + 1_000_000).min(last)))
        .collect();
    println!(
        "{used:.1} of 500 a second used, at most {} in any second: {seconds:?}",
        lane.max_requests_in_a_second
    );
    assert!(used >= 0.97 * 500.0, "{used} a second: {seconds:?}\n{}", rig.log());
}
