//! Limits in true sliding windows.

use fanfare_sandbox::{Limit, PairLimit};
use serde_json::json;

use crate::support::{mail, rig_of, unlimited, with};

#[tokio::test]
async fn a_second_admits_its_limit_and_tells_the_rest() {
    let mut config = unlimited();
    config.brevo.accounts[0].email_per_second = Limit::AtMost(5);
    let rig = rig_of(config).await;
    let started = rig.sandbox.clock().monotonic_us;
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(rig.email(&mail("a@example.com")).await);
    }
    let windows = (rig.sandbox.clock().monotonic_us - started) / 1_000_000 + 1;
    let accepted = answers.iter().filter(|got| got.status == 201).count() as u64;
    assert!((5..=5 * windows).contains(&accepted), "{accepted} accepted in {windows} seconds");
    let header = |place: usize, name: &str| answers[place].headers[name].to_str().expect("ASCII").to_owned();
    assert_eq!(
        (header(0, "x-sib-ratelimit-limit"), header(0, "x-sib-ratelimit-remaining")),
        ("5".into(), "4".into())
    );
    let refused = answers.iter().find(|got| got.status == 429).expect("a refusal");
    assert_eq!(refused.headers["x-sib-ratelimit-remaining"], "0");
    assert_eq!(refused.headers["x-sib-ratelimit-reset"], "1");
    let lane = rig.lane("email");
    assert_eq!(lane.refused.get("429"), Some(&(12 - accepted)));
    assert!(lane.max_requests_in_a_second > 5 && lane.max_requests_in_a_second <= 12, "{lane:?}");
}

#[tokio::test]
async fn the_audit_agrees_with_the_arrivals_it_saw() {
    let rig = rig_of(unlimited()).await;
    for n in 0..50 {
        let custom = json!({"headers": {"X-Mailin-custom": format!("msg_{n}")}});
        rig.email(&with(mail("a@example.com"), &custom)).await;
    }
    let page = rig.sandbox.audit().messages(0, 100, 0);
    let mut times: Vec<_> = page.records.iter().map(|record| record.first_us).collect();
    times.sort_unstable();
    let in_window = |from: u64| times.iter().filter(|at| (from..from + 1_000_000).contains(*at)).count();
    let busiest = times.iter().map(|from| in_window(*from)).max().expect("arrivals");
    assert_eq!(rig.lane("email").max_requests_in_a_second, busiest as u64);
    assert_eq!(rig.sandbox.audit().arrivals(times[0], times[0] + 1_000_000), in_window(times[0]));
}

#[tokio::test]
async fn batches_have_their_own_minute() {
    let mut config = unlimited();
    config.brevo.accounts[0].batches_per_minute = Limit::AtMost(2);
    let rig = rig_of(config).await;
    let batch =
        with(mail("a@example.com"), &json!({"messageVersions": [{"to": [{"email": "a@example.com"}]}]}));
    for expected in [201, 201, 429] {
        assert_eq!(rig.email(&batch).await.status, expected);
    }
    assert_eq!(rig.email(&mail("a@example.com")).await.status, 201);
    assert_eq!(rig.lane("email").max_batches_in_a_minute, 3);
}

#[tokio::test]
async fn sms_and_the_event_log_are_limited_as_well() {
    let mut config = unlimited();
    config.brevo.accounts[0].sms_per_second = Limit::AtMost(0);
    config.brevo.accounts[0].events_per_hour = Limit::AtMost(1);
    let rig = rig_of(config).await;
    let sms = json!({"sender": "Acme", "recipient": "+23057000001", "content": "Hello"});
    assert_eq!(rig.sms(&sms).await.status, 429);
    assert_eq!(rig.get("/v3/smtp/statistics/events").await.status, 200);
    assert_eq!(rig.get("/v3/smtp/statistics/events").await.status, 429);
}

#[tokio::test]
async fn whatsapp_limits_the_number_and_the_pair() {
    let message =
        |to: &str| json!({"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": "Hi"}});
    let mut config = unlimited();
    config.whatsapp.accounts[0].pair = PairLimit::Paced { interval_ms: 60_000, burst: 3 };
    let rig = rig_of(config).await;
    for _ in 0..3 {
        assert_eq!(rig.whatsapp(&message("16505551234")).await.status, 200);
    }
    let got = rig.whatsapp(&message("16505551234")).await;
    assert_eq!((got.status, got.json()["error"]["code"].as_u64()), (400, Some(131_056)));
    assert_eq!(rig.whatsapp(&message("16505551235")).await.status, 200);

    let mut config = unlimited();
    config.whatsapp.accounts[0].messages_per_second = Limit::AtMost(0);
    let rig = rig_of(config).await;
    let got = rig.whatsapp(&message("16505551234")).await.json();
    assert_eq!(got["error"]["code"], 130_429);
    assert_eq!(got["error"]["message"], "(#130429) Rate limit hit");
    assert_eq!(rig.lane("whatsapp").refused.get("130429"), Some(&1));
}
