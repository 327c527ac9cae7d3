//! Scripted addresses and faults on demand.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{mail, rig, rig_of, unlimited, with};

const PATH: &str = "/v3/smtp/email";

#[tokio::test]
async fn the_recipient_decides() {
    let mut config = unlimited();
    config.hang_s = 0;
    let rig = rig_of(config).await;
    assert_eq!(rig.email(&mail("rejected-1@example.com")).await.json()["code"], "invalid_parameter");
    assert_eq!(rig.email(&mail("servererror@example.com")).await.status, 500);
    assert!(rig.try_post(PATH, mail("neveranswers@example.com").to_string()).await.is_err());
    assert_eq!(rig.lane("email").messages, 0);
    assert!(rig.try_post(PATH, mail("accepttimeout@example.com").to_string()).await.is_err());
    assert_eq!(rig.lane("email").messages, 1);
    assert_eq!(rig.email(&mail("hardbounce@example.com")).await.status, 201);

    let message =
        |to: &str| json!({"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": "Hi"}});
    for (to, code) in [("23057999126", 131_026), ("23057999047", 131_047), ("23057999400", 131_009)] {
        assert_eq!(rig.whatsapp(&message(to)).await.json()["error"]["code"], code, "{to}");
    }
    assert_eq!(rig.whatsapp(&message("23057999026")).await.status, 200);
    let sms = json!({"sender": "Acme", "recipient": "+23057999400", "content": "Hello"});
    assert_eq!(rig.sms(&sms).await.json()["code"], "invalid_parameter");
}

#[tokio::test]
async fn one_bad_address_refuses_the_whole_batch() {
    let rig = rig().await;
    let versions: Vec<_> =
        ["a@example.com", "rejected@example.com"].iter().map(|to| json!({"to": [{"email": to}]})).collect();
    let batch = with(mail("x@example.com"), &json!({"messageVersions": versions}));
    assert_eq!(rig.email(&batch).await.status, 400);
    assert_eq!(rig.lane("email").messages, 0);
}

#[tokio::test]
async fn an_error_mix_refuses_its_share_the_same_way_for_the_same_seed() {
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let rig = rig().await;
        rig.faults(json!({"email": {"error_mix": {"500": 0.3, "429": 0.2}, "retry_after": {"seconds": 7}}}));
        let mut statuses = Vec::new();
        for _ in 0..200 {
            let got = rig.email(&mail("a@example.com")).await;
            let retry_after =
                got.headers.get("retry-after").map(|value| value.to_str().expect("ASCII").to_owned());
            assert_eq!(retry_after.as_deref(), (got.status == 429).then_some("7"));
            statuses.push(got.status);
        }
        let share = |status| statuses.iter().filter(|got| **got == status).count();
        assert!((35..=85).contains(&share(500)) && (20..=65).contains(&share(429)), "{statuses:?}");
        let lane = rig.lane("email");
        assert_eq!(lane.messages as usize, share(201));
        assert_eq!(lane.refused.get("500").copied().unwrap_or_default() as usize, share(500));
        outcomes.push(statuses);
    }
    assert_eq!(outcomes[0], outcomes[1]);
}

#[tokio::test]
async fn a_throttle_lasts_and_says_how_long_in_every_way() {
    let rig = rig().await;
    for (retry_after, expected) in [
        (json!("absent"), None),
        (json!({"seconds": 3}), Some("3")),
        (json!({"date": 60}), Some(" GMT")),
        (json!("absurd"), Some("1000000000")),
    ] {
        rig.faults(json!({"email": {"throttle": {"for_s": 3_600, "retry_after": retry_after}}}));
        let got = rig.email(&mail("a@example.com")).await;
        assert_eq!(got.status, 429);
        let value = got.headers.get("retry-after").map(|value| value.to_str().expect("ASCII").to_owned());
        assert!(
            value.as_deref().is_some_and(|value| expected.is_some_and(|end| value.ends_with(end)))
                || (value.is_none() && expected.is_none()),
            "{retry_after}: {value:?}"
        );
    }
    rig.faults(json!({"email": {"throttle": {"for_s": 0}}, "whatsapp": {"throttle": {"for_s": 3_600}}}));
    assert_eq!(rig.email(&mail("a@example.com")).await.status, 201);
    let message =
        json!({"messaging_product": "whatsapp", "to": "16505551234", "type": "text", "text": {"body": "Hi"}});
    let got = rig.whatsapp(&message).await;
    assert_eq!((got.status, got.json()["error"]["code"].as_u64()), (429, Some(130_429)));
}

#[tokio::test]
async fn what_is_cut_after_acceptance_was_received() {
    let mut config = unlimited();
    config.hang_s = 0;
    let rig = rig_of(config).await;
    for (faults, received) in [
        (json!({"drop_before_accept": 1.0}), 0),
        (json!({"down": true}), 0),
        (json!({"drop_after_accept": 1.0}), 1),
        (json!({"timeout_after_accept": 1.0}), 2),
    ] {
        rig.faults(json!({"email": faults}));
        assert!(rig.try_post(PATH, mail("a@example.com").to_string()).await.is_err(), "{faults}");
        assert_eq!(rig.lane("email").messages, received, "{faults}");
    }
    assert_eq!(rig.lane("email").unanswered, 3);
}

#[tokio::test]
async fn a_spoilt_answer_was_received_and_cannot_be_read_as_the_good_one() {
    let rig = rig().await;
    let people: Vec<_> =
        ["a", "b", "c"].iter().map(|n| json!({"to": [{"email": format!("{n}@example.com")}]})).collect();
    let batch = with(mail("x@example.com"), &json!({"messageVersions": people})).to_string();
    let ids = |text: &str| -> Option<Vec<Value>> {
        serde_json::from_str::<Value>(text).ok()?["messageIds"].as_array().cloned()
    };
    for (kind, count) in [
        ("not_json", None),
        ("wrong_type", None),
        ("html", None),
        ("empty", None),
        ("truncated", None),
        ("duplicate_keys", Some(3)),
        ("fewer_ids", Some(2)),
        ("more_ids", Some(4)),
        ("permuted_ids", Some(3)),
        ("same_id_twice", Some(3)),
    ] {
        rig.sandbox.reset_audit();
        rig.faults(json!({"email": {"malformed_2xx": 1.0, "malformed_kinds": [kind]}}));
        let got = rig.try_post(PATH, batch.clone()).await.expect("a head");
        assert!((200..300).contains(&got.status), "{kind}");
        let ids = ids(&got.text);
        assert_eq!(ids.as_ref().map(Vec::len), count, "{kind}: {}", got.text);
        if kind == "same_id_twice" {
            assert!(ids.is_some_and(|ids| ids[0] == ids[1]));
        }
        assert_eq!(rig.lane("email").messages, 3, "{kind}");
    }
}

#[tokio::test]
async fn latency_comes_after_acceptance() {
    let rig = rig().await;
    rig.faults(json!({"email": {"latency_ms": [60, 80]}}));
    let started = Instant::now();
    assert_eq!(rig.email(&mail("a@example.com")).await.status, 201);
    assert!(started.elapsed() >= Duration::from_millis(60));

    rig.faults(json!({"email": {"latency_ms": 3_600_000}}));
    let short =
        rig.client.post(rig.url(PATH)).header("api-key", "xkeysib-sandbox").timeout(Duration::from_secs(1));
    assert!(
        short.body(mail("a@example.com").to_string()).send().await.is_err_and(|error| error.is_timeout())
    );
    assert_eq!(rig.lane("email").messages, 2);
}

#[tokio::test]
async fn faults_are_typed_and_taken_back() {
    let rig = rig().await;
    for wrong in [
        json!({"email": {"latencyms": 5}}),
        json!({"email": {"error_mix": {"500": 1.5}}}),
        json!({"email": {"error_mix": {"500": 0.6, "429": 0.6}}}),
        json!({"email": {"error_mix": {"five": 0.1}}}),
        json!({"email": {"latency_ms": [5, 1]}}),
        json!({"mail": {}}),
    ] {
        let got = rig.post("/sandbox/faults", wrong.to_string()).await;
        assert_eq!(got.status, 400, "{wrong}: {}", got.text);
        assert!(got.json()["error"].is_string());
    }
    let set = rig.post("/sandbox/faults", json!({"sms": {"latency_ms": [1, 2]}}).to_string()).await;
    assert_eq!((set.status, &set.json()["sms"]["latency_ms"]), (200, &json!([1, 2])));
    let cleared = rig.client.delete(rig.url("/sandbox/faults")).send().await.expect("an answer");
    assert_eq!(cleared.status(), 204);
    assert_eq!(rig.get("/sandbox/faults").await.json()["sms"]["latency_ms"], 0);
}
