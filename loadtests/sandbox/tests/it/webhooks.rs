//! Webhooks, taken by a real receiver.

use std::collections::BTreeSet;

use fanfare_sandbox::{EmailEvent, SandboxConfig, WebhookAuth, WhatsappEvent, signature};
use serde_json::{Value, json};

use crate::support::{Receiver, Rig, mail, rig_of, unlimited, with};

fn sending_to(receiver: &Receiver) -> SandboxConfig {
    let mut config = unlimited();
    config.webhooks.email.url = Some(receiver.url.clone());
    config.webhooks.sms.url = Some(receiver.url.clone());
    config.webhooks.whatsapp.url = Some(receiver.url.clone());
    config
}

async fn send(rig: &Rig, to: &str) -> String {
    let body = json!({"tags": ["tag1", "tag2"], "headers": {"X-Mailin-custom": "msg_1"}});
    let got = rig.email(&with(mail(to), &body)).await.json();
    got["messageId"].as_str().expect("an id").to_owned()
}

async fn names(receiver: &mut Receiver, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(receiver.next().await.json()["event"].as_str().expect("an event").to_owned());
    }
    names
}

/// Waits until every event has met its end.
async fn settled(rig: &Rig) {
    while rig.sandbox.webhook_counts().outstanding > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn signs_as_meta_does() {
    assert_eq!(
        signature("app_secret", br#"{"object":"whatsapp_business_account","entry":[]}"#),
        "sha256=c236c758c9b2bd40b388a550eeca09eaca72384dd0aa5e7c31d19cddac5bba46"
    );
}

#[tokio::test]
async fn tells_of_a_mail_as_brevo_does() {
    let mut receiver = Receiver::start().await;
    let mut config = sending_to(&receiver);
    config.webhooks.email.auth = WebhookAuth::Bearer("secret".to_owned());
    config.webhooks.concurrency = 1;
    let rig = rig_of(config).await;
    let id = send(&rig, "a@example.com").await;
    let request = receiver.next().await;
    assert_eq!(request.headers["authorization"], "Bearer secret");
    let event = request.json();
    assert_eq!(event["event"], "request");
    assert_eq!(
        (event["email"].as_str(), event["message-id"].as_str()),
        (Some("a@example.com"), Some(id.as_str()))
    );
    assert_eq!(event["X-Mailin-custom"], "msg_1");
    assert_eq!(
        (event["tag"].as_str(), &event["tags"]),
        (Some(r#"["tag1","tag2"]"#), &json!(["tag1", "tag2"]))
    );
    let (ms, seconds) = (event["ts_epoch"].as_u64().expect("ms"), event["ts_event"].as_u64().expect("s"));
    assert_eq!(ms / 1_000, seconds);
    assert_eq!(event["date"].as_str().map(str::len), Some(19));
    assert_eq!(names(&mut receiver, 1).await, ["delivered"]);
    settled(&rig).await;
    assert_eq!(rig.sandbox.webhook_counts().delivered, 2);
}

#[tokio::test]
async fn the_script_shows_in_the_events() {
    let mut receiver = Receiver::start().await;
    let mut config = sending_to(&receiver);
    config.webhooks.email.auth = WebhookAuth::Basic { user: "u".to_owned(), password: "p".to_owned() };
    config.webhooks.email.events.push(EmailEvent::UniqueOpened);
    config.webhooks.concurrency = 1;
    let rig = rig_of(config).await;
    for (to, expected) in [
        ("hardbounce@example.com", vec!["request", "hard_bounce"]),
        ("softbounce@example.com", vec!["request", "soft_bounce"]),
        ("blocked@example.com", vec!["request", "blocked"]),
        ("invalidemail@example.com", vec!["request", "invalid_email"]),
        ("spamreport@example.com", vec!["request", "delivered", "unique_opened", "spam"]),
        ("unsubscribes@example.com", vec!["request", "delivered", "unique_opened", "unsubscribed"]),
    ] {
        send(&rig, to).await;
        assert_eq!(names(&mut receiver, expected.len()).await, expected, "{to}");
    }
    settled(&rig).await;
    receiver.nothing_more();
}

#[tokio::test]
async fn sms_events_go_to_the_url_of_the_message() {
    let mut configured = Receiver::start().await;
    let mut own = Receiver::start().await;
    let mut config = sending_to(&configured);
    config.webhooks.concurrency = 1;
    let rig = rig_of(config).await;
    let sms = json!({"sender": "Acme", "recipient": "+23057999700", "content": "Hello", "tag": "msg_1"});
    assert_eq!(rig.sms(&with(sms.clone(), &json!({"webUrl": own.url}))).await.status, 201);
    for expected in ["sent", "delivered", "reply", "unsubscribe"] {
        let event = own.next().await.json();
        assert_eq!(
            (event["msg_status"].as_str(), event["to"].as_str()),
            (Some(expected), Some("23057999700"))
        );
        assert!(
            event["messageId"].is_u64()
                && event["reference"]["1"].is_string()
                && event["tag"] == json!(["msg_1"])
        );
    }
    assert_eq!(rig.sms(&sms).await.status, 201);
    assert_eq!(configured.next().await.json()["msg_status"], "sent");
    own.nothing_more();
}

#[tokio::test]
async fn whatsapp_statuses_replies_and_preferences_are_signed() {
    let mut receiver = Receiver::start().await;
    let mut config = sending_to(&receiver);
    config.webhooks.whatsapp.events.push(WhatsappEvent::Read);
    config.webhooks.concurrency = 1;
    let rig = rig_of(config).await;
    let message = |to: &str| json!({"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": "Hi"}, "biz_opaque_callback_data": "msg_1"});
    let told = |value: &Value| -> String {
        let part = |name: &str, field: &str| value[name][0][field].as_str().map(str::to_owned);
        let status = part("statuses", "status").or_else(|| part("messages", "type"));
        status.or_else(|| part("user_preferences", "value")).expect("a status, a message or a preference")
    };
    for (to, expected) in [
        ("23057000001", vec!["sent", "delivered", "read"]),
        ("23057999026", vec!["failed"]),
        ("23057999700", vec!["sent", "delivered", "read", "text"]),
        ("23057999701", vec!["sent", "delivered", "read", "button"]),
        ("23057999702", vec!["sent", "delivered", "read", "stop"]),
    ] {
        let id = rig.whatsapp(&message(to)).await.json()["messages"][0]["id"].clone();
        for name in expected {
            let hook = receiver.next().await;
            assert_eq!(hook.headers["x-hub-signature-256"], signature("app_secret", &hook.body).as_str());
            let body = hook.json();
            assert_eq!(body["object"], "whatsapp_business_account");
            let value = &body["entry"][0]["changes"][0]["value"];
            assert_eq!(told(value), name, "{to}: {body}");
            if let Some(status) = value["statuses"].get(0) {
                assert_eq!(
                    (&status["id"], status["biz_opaque_callback_data"].as_str()),
                    (&id, Some("msg_1"))
                );
            }
            if name == "failed" {
                assert_eq!(value["statuses"][0]["errors"][0]["code"], 131_026);
            }
        }
    }
    let inbound = json!({"from": "+23057000009", "type": "text", "body": "STOP"});
    assert_eq!(rig.post("/sandbox/whatsapp/inbound", inbound.to_string()).await.status, 202);
    let body = receiver.next().await.json();
    assert_eq!(body["entry"][0]["changes"][0]["value"]["messages"][0]["text"]["body"], "STOP");
}

#[tokio::test]
async fn shakes_hands_with_the_right_token_only() {
    let receiver = Receiver::start().await;
    let rig = rig_of(sending_to(&receiver)).await;
    let got = rig.post("/sandbox/whatsapp/verify", String::new()).await;
    assert_eq!((got.status, got.json()["verified"].as_bool()), (200, Some(true)), "{}", got.text);
    let wrong = json!({"url": receiver.url, "verify_token": "wrong & spaced"});
    let got = rig.post("/sandbox/whatsapp/verify", wrong.to_string()).await.json();
    assert_eq!((got["verified"].as_bool(), got["status"].as_u64()), (Some(false), Some(403)));
}

#[tokio::test]
async fn retries_as_each_provider_does() {
    for (statuses, retry_5xx, requests, delivered) in [
        (vec![429, 429], false, 3, 1),
        (vec![500], false, 1, 0),
        (vec![404], true, 1, 0),
        (vec![500, 503], true, 3, 1),
        (vec![429; 9], false, 5, 0),
    ] {
        let receiver = Receiver::answering(statuses.clone()).await;
        let mut config = sending_to(&receiver);
        config.webhooks.email.events = vec![EmailEvent::Delivered];
        config.webhooks.retry_5xx = retry_5xx;
        let rig = rig_of(config).await;
        send(&rig, "a@example.com").await;
        settled(&rig).await;
        let counts = rig.sandbox.webhook_counts();
        assert_eq!((counts.requests, counts.delivered), (requests, delivered), "{statuses:?} {retry_5xx}");
        assert_eq!(counts.discarded, 1 - delivered);
    }
    let receiver = Receiver::answering(vec![404, 500, 403]).await;
    let mut config = sending_to(&receiver);
    config.webhooks.whatsapp.events = vec![WhatsappEvent::Sent];
    let rig = rig_of(config).await;
    let message =
        json!({"messaging_product": "whatsapp", "to": "23057000001", "type": "text", "text": {"body": "Hi"}});
    rig.whatsapp(&message).await;
    settled(&rig).await;
    assert_eq!(rig.sandbox.webhook_counts().requests, 4);
}

#[tokio::test]
async fn duplicates_drops_and_batches_on_demand() {
    let mut receiver = Receiver::start().await;
    let rig = rig_of(sending_to(&receiver)).await;
    rig.faults(json!({"email": {"webhooks": {"duplicate": 2, "reorder": true}}}));
    send(&rig, "a@example.com").await;
    let mut got = names(&mut receiver, 6).await;
    got.sort();
    assert_eq!(got, ["delivered", "delivered", "delivered", "request", "request", "request"]);

    rig.faults(json!({"email": {"webhooks": {"drop": 1.0}}}));
    send(&rig, "a@example.com").await;
    settled(&rig).await;
    assert_eq!(rig.sandbox.webhook_counts().withheld, 2);

    rig.faults(json!({"email": {"webhooks": {"batched": true, "batch_max": 2, "batch_window_ms": 50}}}));
    for n in 0..3 {
        send(&rig, &format!("p{n}@example.com")).await;
    }
    let (mut people, mut events) = (BTreeSet::new(), 0);
    while events < 6 {
        let body = receiver.next().await.json();
        let batch = body.as_array().expect("an array");
        assert!(batch.len() <= 2);
        events += batch.len();
        people.extend(batch.iter().map(|event| event["email"].as_str().expect("text").to_owned()));
    }
    assert_eq!(people.len(), 3);
}

#[tokio::test]
async fn a_full_queue_and_a_changed_receiver_are_visible() {
    let mut receiver = Receiver::start().await;
    let mut config = sending_to(&receiver);
    config.webhooks.queue_limit = 1;
    let rig = rig_of(config).await;
    rig.faults(json!({"email": {"webhooks": {"delay_ms": 3_600_000}}}));
    send(&rig, "a@example.com").await;
    let counts = rig.get("/sandbox/webhooks").await.json();
    assert_eq!(
        (counts["counts"]["outstanding"].as_u64(), counts["counts"]["overflowed"].as_u64()),
        (Some(1), Some(1))
    );

    let rig = rig_of(unlimited()).await;
    let targets = json!({"email": {"url": receiver.url, "events": ["click"]}});
    let changed = rig
        .client
        .put(rig.url("/sandbox/webhooks"))
        .body(targets.to_string())
        .send()
        .await
        .expect("an answer");
    assert_eq!(changed.status(), 200);
    send(&rig, "a@example.com").await;
    assert_eq!(names(&mut receiver, 1).await, ["click"]);
    let raw = json!({"channel": "email", "body": {"event": "delivered", "message-id": "<unknown>"}});
    assert_eq!(rig.post("/sandbox/webhooks/emit", raw.to_string()).await.status, 202);
    assert_eq!(receiver.next().await.json(), raw["body"]);
}
