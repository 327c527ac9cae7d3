use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::providers::testing::{lines, message, received};

fn said(body: &Value) -> String {
    lines(&parse(body.to_string().as_bytes(), received()).unwrap())
}

fn event(kind: &str) -> Value {
    json!({
        "event": kind, "email": "recipient@example.com", "id": 26224, "date": "2020-10-09 00:00:00", "ts": 1604933619,
        "message-id": "<201803062010.27287306012@smtp-relay.mailin.fr>", "ts_event": 1604933654, "subject": "My first",
        "X-Mailin-custom": message(7).to_string(), "sending_ip": "192.0.2.1", "ts_epoch": 1604933654000_i64,
        "template_id": 22, "contact_id": 8, "tag": "[\"tag1\",\"tag2\"]", "tags": ["tag1", "tag2"], "unheard_of": {"a": [1]},
    })
}

fn with(kind: &str, fields: Value) -> Value {
    let mut event = event(kind);
    event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    event
}

#[test]
fn every_documented_event() {
    let words = [
        "request",
        "delivered",
        "deferred",
        "soft_bounce",
        "hard_bounce",
        "spam",
        "complaint",
        "blocked",
        "invalid_email",
        "error",
        "click",
        "opened",
        "unique_opened",
        "proxy_open",
        "unique_proxy_open",
        "unsubscribed",
        "unsubscribe",
        "unheard_of",
        "",
    ];
    let said = words.map(|word| format!("{word:>18}: {}", said(&event(word))));
    assert_snapshot!(said.join("\n"));
}

#[test]
fn details_hold_no_addresses_and_no_tokens() {
    let said = [
        with("deferred", json!({"reason": "550 5.1.1 <x@example.com>: Recipient address rejected"})),
        with("blocked", json!({"reason": "blocked : due to blacklist user"})),
        with("click", json!({"link": "https://domain.com/path?token=secret#x"})),
        with("opened", json!({"link": "https://domain.com/path", "user_agent": "x"})),
    ]
    .map(|event| said(&event));
    assert_snapshot!(said.join("\n"));
}

#[test]
fn our_id_and_the_time_come_in_many_forms() {
    let id = message(9).to_string();
    let none = json!({"X-Mailin-custom": null, "tags": null, "tag": null});
    let and = |fields: Value| {
        let mut event = with("delivered", none.clone());
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        event
    };
    let said = [
        and(json!({})),
        and(json!({"X-Mailin-Custom": id})),
        and(json!({"tag": id})),
        and(json!({"tag": format!("[\"a\",\"{id}\"]")})),
        and(json!({"tag": [id]})),
        and(json!({"tag": "a", "tags": ["b", id]})),
        and(json!({"X-Mailin-custom": "not ours"})),
        and(json!({"X-Mailin-custom": id, "ts_epoch": 1604933623})),
        and(json!({"X-Mailin-custom": id, "ts_epoch": null, "s_epoch": 1534486682000_i64})),
        and(json!({"X-Mailin-custom": id, "ts_epoch": null, "message-id": "no.brackets@relay"})),
        and(json!({"X-Mailin-custom": id, "ts_epoch": null, "ts_event": null, "ts": null})),
        // From the future: as of now.
        and(json!({"X-Mailin-custom": id, "ts_epoch": 4102444800000_i64})),
    ]
    .map(|event| said(&event));
    assert_snapshot!(said.join("\n"));
}

#[test]
fn one_event_or_many_in_any_wrapping() {
    let both = [event("delivered"), event("opened")];
    let expected = format!("{}\n{}", said(&both[0]), said(&both[1]));
    assert_eq!(said(&json!(both)), expected);
    assert_eq!(said(&json!({"events": both})), expected);
    assert_eq!(said(&json!([])), "");
    for body in ["", "7", "null", "\"x\"", "{", "[1]", "[{},null]", &"[".repeat(100_000)] {
        assert_eq!(
            parse(body.as_bytes(), received()),
            Err(HookError::Malformed),
            "{}",
            &body[..body.len().min(20)]
        );
    }
}

#[test]
fn who_does_not_want_the_mail_of_a_stranger_is_left_alone_too() {
    let strange = json!({"X-Mailin-custom": null, "email": "Ann@Example.com"});
    let said = ["unsubscribed", "spam", "hard_bounce"].map(|word| said(&with(word, strange.clone())));
    assert_eq!(
        said,
        [
            "wish email ann@example.com stop marketing at 2020-11-09T14:54:14Z",
            "wish email ann@example.com stop marketing at 2020-11-09T14:54:14Z",
            "foreign",
        ]
    );
}

fn dedup(event: &Value) -> uuid::Uuid {
    match parse(event.to_string().as_bytes(), received()).unwrap().remove(0) {
        HookItem::Event(event) => event.dedup,
        other => panic!("no event: {other:?}"),
    }
}

#[test]
fn the_same_happening_has_the_same_name_and_another_one_another() {
    let later = json!({"ts_epoch": 1604933700000_i64});
    let millis = json!({"ts_epoch": 1604933654999_i64});
    let link = json!({"link": "https://example.com/b"});
    assert_eq!(
        dedup(&event("delivered")),
        dedup(&with("delivered", later.clone())),
        "a message is delivered once"
    );
    assert_eq!(dedup(&event("opened")), dedup(&with("opened", millis)));
    assert_ne!(dedup(&event("opened")), dedup(&with("opened", later)));
    assert_ne!(dedup(&event("click")), dedup(&with("click", link)));
    assert_ne!(dedup(&event("delivered")), dedup(&event("hard_bounce")));
    assert_ne!(dedup(&event("delivered")), dedup(&with("delivered", json!({"message-id": "<other@relay>"}))));
    // The log's word for it, without a millisecond.
    let from_log = logged(
        message(7),
        "clicks",
        bare("<201803062010.27287306012@smtp-relay.mailin.fr>"),
        "2020-11-09T14:54:14Z".parse().unwrap(),
        &json!({}),
    );
    assert_eq!(from_log.unwrap().dedup, dedup(&event("click")));
}

proptest! {
    #[test]
    fn no_body_is_read_with_a_panic(body in ".{0,200}", bytes: Vec<u8>) {
        let _ = parse(body.as_bytes(), received());
        let _ = parse(&bytes, received());
    }

    #[test]
    fn no_value_in_a_field_is_read_with_a_panic(
        field in prop::sample::select(vec!["event", "email", "ts_epoch", "ts", "message-id", "X-Mailin-custom", "tag", "tags", "reason", "link"]),
        value in prop_oneof![
            Just(json!(null)), Just(json!([])), Just(json!([null, 1])), Just(json!({"a": 1})), Just(json!(true)),
            any::<i64>().prop_map(|n| json!(n)), any::<f64>().prop_map(|n| json!(n)), ".{0,40}".prop_map(|s| json!(s)),
        ],
        word in prop::sample::select(vec!["click", "delivered", "unsubscribed", "error"]),
    ) {
        let mut event = event(word);
        event[field] = value;
        let items = parse(event.to_string().as_bytes(), received()).unwrap();
        prop_assert_eq!(items.len(), 1);
        if let HookItem::Event(event) = &items[0] {
            prop_assert!(event.at <= received());
        }
    }
}
