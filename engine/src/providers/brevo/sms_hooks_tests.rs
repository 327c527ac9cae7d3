use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::providers::testing::{lines, message, received};

fn said(body: &Value) -> String {
    lines(&parse(body.to_string().as_bytes(), received()).unwrap())
}

fn event(status: &str) -> Value {
    json!({
        "id": 26570, "to": "23052345678", "sms_count": 1, "credits_used": 1.5, "messageId": 1511882900176220_i64,
        "remaining_credit": 11488.845, "msg_status": status, "date": "2024-10-09 13:10:15", "type": "transactional",
        "reference": {"1": "1hi8srff049z0qzvgt3f"}, "ts_event": 1728459615, "tag": [message(3).to_string()],
    })
}

fn with(status: &str, fields: Value) -> Value {
    let mut event = event(status);
    event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    event
}

#[test]
fn every_status_in_every_spelling() {
    let words = [
        "sent",
        "accepted",
        "delivered",
        "soft_bounce",
        "softBounces",
        "hard_bounce",
        "hardBounces",
        "HARD_BOUNCE",
        "replied",
        "reply",
        "subscribe",
        "unsubscribe",
        "unsubscribed",
        "skip",
        "bl",
        "blacklisted",
        "rej",
        "rejected",
        "unheard_of",
        "",
    ];
    let said = words.map(|word| format!("{word:>14}: {}", said(&event(word))));
    assert_snapshot!(said.join("\n"));
}

#[test]
fn ids_come_in_many_forms_and_details_hold_no_numbers() {
    let said = [
        with("delivered", json!({"messageId": "15118829"})),
        with("delivered", json!({"messageId": null, "message_id": 7})),
        with("delivered", json!({"messageId": null})),
        with("delivered", json!({"messageId": null, "reference": "plain"})),
        with("delivered", json!({"tag": message(4).to_string()})),
        with("delivered", json!({"tag": "other"})),
        with(
            "hard_bounce",
            json!({"error_code": 21, "bounce_type": "hard", "description": "no such number 23052345678"}),
        ),
    ]
    .map(|event| said(&event));
    assert_snapshot!(said.join("\n"));
}

#[test]
fn a_reply_is_a_wish_only_when_it_says_stop() {
    let said = [
        with("reply", json!({"reply": "STOP"})),
        with("reply", json!({"reply": "Thank you"})),
        with("reply", json!({"reply": "Arrêt", "tag": null})),
        with("reply", json!({"reply": "Hello", "tag": null})),
        with("unsubscribe", json!({"tag": null})),
        with("unsubscribe", json!({"tag": null, "to": "nobody"})),
    ]
    .map(|event| said(&event));
    assert_snapshot!(said.join("\n"));
}

proptest! {
    #[test]
    fn no_body_is_read_with_a_panic(body in ".{0,200}", bytes: Vec<u8>, reply in ".{0,80}", to in ".{0,20}") {
        let _ = parse(body.as_bytes(), received());
        let _ = parse(&bytes, received());
        let _ = said(&with("reply", json!({"reply": reply, "to": to})));
    }
}
