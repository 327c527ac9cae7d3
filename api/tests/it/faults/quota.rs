//! No provider account sees more than its limit in any second, however many processes run.

use std::time::Duration;

use fanfare_engine::domain::channel::{Channel, MessageClass};
use tokio::time::sleep;

use super::rig::{Rig, Setup, sandbox_now};

const QUOTA: u32 = 500;
/// Half a minute of it: the second in which a process is frozen, and its slots with it, is one of many.
const PEOPLE: i32 = 16_000;
/// A slot is lost when its process is not given the processor within 10 ms of it. On a machine with less of it to spare
/// than this share that happens all the time, and says nothing about how well slots are used.
const SPARE: f64 = 0.3;

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_keep_a_quota_and_use_it_while_one_is_frozen() {
    let setup = Setup { quota: Some(QUOTA), people: PEOPLE, latency_ms: 20, in_flight: 128 };
    let mut rig = Rig::up(setup).await;
    for _ in 0..3 {
        rig.start_worker().await;
    }
    let campaign = rig.campaign(Channel::Email, MessageClass::Obligation).await;
    rig.until(campaign, "a full second", |progress| progress.sent > 500).await;
    let sending = async {
        rig.until(campaign, "progress", |progress| progress.sent > 1_500).await;
        rig.signal_worker(0, "-STOP");
        sleep(Duration::from_secs(3)).await;
        rig.signal_worker(0, "-CONT");
        // Until the last second's worth: with the end of the work the quota is not the limit any more.
        rig.until(campaign, "almost the end", |progress| progress.sent >= i64::from(PEOPLE) - 1_000).await;
    };
    let mut seconds = Vec::new();
    tokio::select! {
        () = sending => {}
        () = watch(&rig, &mut seconds) => {}
    }
    let lane = rig.sandbox.audit().summary().lanes.into_iter().find(|lane| lane.requests > 0).unwrap();
    assert!(lane.max_requests_in_a_second <= u64::from(QUOTA), "{lane:?}");

    let rates = |calm: bool| -> Vec<f64> {
        seconds.iter().filter(|second| (second.spare >= SPARE) == calm).map(|second| second.rate).collect()
    };
    let (calm, busy) = (rates(true), rates(false));
    let used = calm.iter().sum::<f64>() / calm.len().max(1) as f64 / f64::from(QUOTA);
    let said = format!("{used:.3} used: {calm:.0?} a second, and {busy:.0?} where others took the processor");
    println!("{said}; at most {} in any second", lane.max_requests_in_a_second);
    assert!(calm.is_empty() || used >= 0.97, "{said}\n{}", rig.log());
}

/// What a second brought.
struct Second {
    /// Of both processors' time.
    spare: f64,
    rate: f64,
}

/// Adds one second after the other, for ever.
async fn watch(rig: &Rig, seconds: &mut Vec<Second>) {
    let mut before = (sandbox_now(rig), processor());
    loop {
        sleep(Duration::from_secs(1)).await;
        let after = (sandbox_now(rig), processor());
        let arrivals = rig.sandbox.audit().arrivals(before.0, after.0);
        let (idle, all) = (after.1.0 - before.1.0, after.1.1 - before.1.1);
        seconds.push(Second {
            spare: idle as f64 / all.max(1) as f64,
            rate: arrivals as f64 / ((after.0 - before.0) as f64 / 1e6),
        });
        before = after;
    }
}

/// Idle time and all time of the machine's processors, in ticks.
fn processor() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let ticks: Vec<u64> =
        stat.lines().next().unwrap().split_whitespace().skip(1).map(|ticks| ticks.parse().unwrap()).collect();
    // user nice system idle iowait irq softirq steal; what guests use is in user already.
    (ticks[3] + ticks[4], ticks[..8].iter().sum())
}
