//! The contract of Brevo SMS.

use serde_json::{Value, json};

use crate::support::{rig, with};

fn sms() -> Value {
    json!({"sender": "Acme", "recipient": "+23057000001", "content": "Hello"})
}

#[tokio::test]
async fn takes_what_brevo_takes_and_refuses_the_rest() {
    let rig = rig().await;
    let tags: Vec<_> = (0..11).map(|n| n.to_string()).collect();
    for (change, status, code, names) in [
        (json!({}), 201, "", ""),
        (json!({"sender": null}), 400, "missing_parameter", "sender"),
        (json!({"sender": "Acme Ltd"}), 400, "invalid_parameter", "Only alphanumeric characters are allowed"),
        (json!({"sender": "AcmeInsurance"}), 400, "invalid_parameter", "11"),
        (json!({"sender": "123456789012345"}), 201, "", ""),
        (json!({"sender": "1234567890123456"}), 400, "invalid_parameter", "15"),
        (json!({"recipient": null}), 400, "missing_parameter", "recipient"),
        (json!({"recipient": "12345"}), 400, "invalid_parameter", "telephone"),
        (json!({"recipient": "+1234567890123456"}), 400, "invalid_parameter", "telephone"),
        (json!({"recipient": "23057abc001"}), 400, "invalid_parameter", "telephone"),
        (json!({"recipient": 23_057_000_001_u64}), 400, "invalid_parameter", "recipient"),
        (json!({"recipient": "23057000001"}), 201, "", ""),
        (json!({"content": null}), 400, "missing_parameter", "content"),
        (json!({"content": null, "templateId": 4}), 201, "", ""),
        (json!({"type": "other"}), 400, "invalid_parameter", "type"),
        (json!({"type": "marketing"}), 201, "", ""),
        (json!({"tag": "one"}), 201, "", ""),
        (json!({"tag": ["one", "two"]}), 201, "", ""),
        (json!({"tag": tags}), 400, "invalid_parameter", "tag"),
        (json!({"tag": 5}), 400, "invalid_parameter", "tag"),
        (json!({"unicodeEnabled": "yes"}), 400, "invalid_parameter", "unicodeEnabled"),
        (json!({"webUrl": "nowhere"}), 400, "invalid_parameter", "webUrl"),
        (json!({"webUrl": "https://example.com/sms/msg_1"}), 201, "", ""),
    ] {
        let got = rig.sms(&with(sms(), &change)).await;
        assert_eq!(got.status, status, "{change}: {}", got.text);
        assert!(got.headers.contains_key("x-sib-ratelimit-limit"), "{change}");
        if status == 201 {
            assert!(got.json()["messageId"].is_u64(), "{change}: {}", got.text);
        } else {
            assert_eq!(got.json()["code"], code, "{change}: {}", got.text);
            assert!(
                got.json()["message"].as_str().unwrap_or_default().contains(names),
                "{change}: {}",
                got.text
            );
        }
    }
}

#[tokio::test]
async fn the_other_path_counts_segments_and_credits() {
    let rig = rig().await;
    let long = with(sms(), &json!({"content": "ê".repeat(71), "unicodeEnabled": true}));
    let got = rig.post("/v3/transactionalSMS/sms", long.to_string()).await;
    assert_eq!(got.status, 201);
    let body = got.json();
    assert_eq!((body["smsCount"].as_u64(), body["usedCredits"].as_f64()), (Some(2), Some(1.4)));
    assert_eq!(body["reference"].as_str().map(str::len), Some(19));
    assert!(body["remainingCredits"].is_number());
}

#[tokio::test]
async fn our_id_is_found_in_tag_or_url_and_sending_twice_is_a_duplicate() {
    let rig = rig().await;
    for change in [
        json!({"tag": "msg_1"}),
        json!({"tag": ["campaign", "msg_1"]}),
        json!({"tag": "campaign", "webUrl": "https://example.com/hooks/sms/msg_1?x=1"}),
        json!({"webUrl": "https://example.com/hooks/sms/msg_1/"}),
    ] {
        assert_eq!(rig.sms(&with(sms(), &change)).await.status, 201, "{change}");
    }
    let records = rig.sandbox.audit().message("msg_1");
    assert_eq!((records.len(), records[0].count, records[0].address.as_str()), (1, 4, "23057000001"));
    assert_eq!(rig.lane("sms").duplicates, 3);
}

#[tokio::test]
async fn the_event_log_finds_a_number() {
    let rig = rig().await;
    let id =
        rig.sms(&with(sms(), &json!({"tag": "msg_1"}))).await.json()["messageId"].as_u64().expect("an id");
    rig.sms(&with(sms(), &json!({"recipient": "+23057999551"}))).await;
    let path = "/v3/transactionalSMS/statistics/events";
    let events = rig.get(&format!("{path}?phoneNumber=23057000001&event=delivered")).await.json();
    assert_eq!(events["events"].as_array().map(Vec::len), Some(1), "{events}");
    assert_eq!(events["events"][0]["messageId"], id.to_string());
    assert_eq!(events["events"][0]["tag"], "msg_1");
    let bounced = rig.get(&format!("{path}?event=bounces")).await.json();
    assert_eq!(bounced["events"][0]["phoneNumber"], 23_057_999_551_u64);
    assert_eq!(rig.get(&format!("{path}?limit=101")).await.status, 400);
}
