use insta::{assert_json_snapshot, assert_snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::channel::MessageClass,
    providers::testing::{envelope, lines, message, received, sms},
};

fn build(change: Value) -> Result<WhatsappCloud, ConfigError> {
    let mut settings = json!({
        "phone_number_id": "106540352242922", "access_token": "EAAG", "app_secret": "app_secret", "verify_token": "verify",
    });
    settings.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    WhatsappCloud::new(&serde_json::from_value(settings).unwrap(), &HttpSettings::default())
}

#[test]
fn requests_have_the_shape_that_meta_documents() {
    let bodies = [
        json!({"type": "text", "text": {"preview_url": false, "body": "Hello"}}),
        json!({"type": "template", "template": {"name": "order_update", "language": {"code": "en_US"}, "components": [
            {"type": "body", "parameters": [{"type": "text", "text": "Ann"}]},
        ]}}),
        json!({"type": "document", "document": {"link": "https://example.com/i.pdf", "filename": "i.pdf"}}),
        json!({"type": "image", "image": {"link": "https://example.com/i.png"}}),
        json!({"type": "interactive", "interactive": {"type": "button", "body": {"text": "Pay?"}, "action": {"buttons": [
            {"type": "reply", "reply": {"id": "yes", "title": "Yes"}},
        ]}}}),
    ];
    let requests = bodies.map(|body| {
        let message_part: WhatsappMessage = serde_json::from_value(body).unwrap();
        let request = Request {
            messaging_product: "whatsapp",
            recipient_type: "individual",
            to: "+23052345678",
            biz_opaque_callback_data: message(5),
            message: &message_part,
        };
        serde_json::to_value(request).unwrap()
    });
    assert_json_snapshot!("requests", requests);
}

#[tokio::test]
async fn another_channels_content_is_refused_unsent() {
    let content = sms("Hi");
    let answer =
        build(json!({})).unwrap().send(envelope(1, "+23052345678", MessageClass::Obligation, &content)).await;
    assert!(matches!(answer.outcome, crate::domain::outcome::Outcome::Failed { .. }));
}

#[test]
fn an_answer_counts_only_with_one_id() {
    let check = |body: &str, expected: Option<&str>| {
        assert_eq!(message_id(body.as_bytes()).as_deref(), expected, "{body}")
    };
    check(
        r#"{"messaging_product":"whatsapp","contacts":[],"messages":[{"id":"wamid.A","message_status":"accepted"}]}"#,
        Some("wamid.A"),
    );
    check(r#"{"messages":[]}"#, None);
    check(r#"{"messages":[{"id":"wamid.A"},{"id":"wamid.B"}]}"#, None);
    check(r#"{"messages":[{"id":""}]}"#, None);
    check(r#"{"messages":[{"id":5}]}"#, None);
    check("{}", None);
    check("", None);
}

#[test]
fn a_wrong_setting_is_named() {
    for (change, field) in [
        (json!({"phone_number_id": "+230 5234 5678"}), "phone_number_id"),
        (json!({"api_version": "23"}), "api_version"),
        (json!({"access_token": ""}), "access_token"),
        (json!({"app_secret": ""}), "app_secret"),
        (json!({"verify_token": " x"}), "verify_token"),
        (json!({"base_url": "http://graph.example.com"}), "base_url"),
    ] {
        assert_eq!(build(change.clone()).unwrap_err().field, field, "{change}");
    }
}

#[test]
fn only_our_token_is_given_the_challenge() {
    let adapter = build(json!({})).unwrap();
    let ask = |mode: &str, token: &str, challenge: &str| {
        let query = [("hub.mode", mode), ("hub.verify_token", token), ("hub.challenge", challenge)];
        adapter.handshake(&query.map(|(key, value)| (key.to_owned(), value.to_owned())))
    };
    assert_eq!(ask("subscribe", "verify", "1158201444").as_deref(), Some("1158201444"));
    assert_eq!(ask("subscribe", "wrong", "1158201444"), None);
    assert_eq!(ask("unsubscribe", "verify", "1158201444"), None);
    assert_eq!(ask("subscribe", "verify", "<script>"), None);
    assert_eq!(adapter.handshake(&[]), None);
}

fn hook(field: &str, value: Value) -> Value {
    json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": field, "value": value}]}]})
}

fn said(body: &Value) -> String {
    lines(&hooks::parse(body.to_string().as_bytes(), received()).unwrap())
}

fn status(status: &str, more: Value) -> Value {
    let mut item = json!({
        "id": "wamid.A", "status": status, "timestamp": "1750030073", "recipient_id": "16505551234",
        "biz_opaque_callback_data": message(6).to_string(), "conversation": {"id": "c", "origin": {"type": "utility"}},
        "pricing": {"billable": true, "pricing_model": "PMP"},
    });
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hook("messages", json!({"messaging_product": "whatsapp", "metadata": {}, "statuses": [item]}))
}

fn failed(code: i64) -> Value {
    let title = format!("No, +16505551234: {code}");
    status("failed", json!({"errors": [{"code": code, "title": title, "error_data": {"details": "…"}}]}))
}

#[test]
fn statuses() {
    let plain = ["sent", "delivered", "read", "played", "deleted", "unheard_of"]
        .map(|word| said(&status(word, json!({}))));
    let codes = [131026, 131047, 131049, 131050, 130472, 131053, 999_999].map(|code| said(&failed(code)));
    let odd = [
        status("failed", json!({})),
        status("sent", json!({"biz_opaque_callback_data": "other"})),
        status("sent", json!({"biz_opaque_callback_data": null})),
        status("sent", json!({"timestamp": 1750030073})),
        status("sent", json!({"timestamp": null})),
    ]
    .map(|body| said(&body));
    assert_snapshot!([plain.join("\n"), codes.join("\n"), odd.join("\n")].join("\n"));
}

fn inbound(item: Value) -> Value {
    let mut message = json!({"from": "16505551234", "id": "wamid.B", "timestamp": "1749416383"});
    message.as_object_mut().unwrap().extend(item.as_object().unwrap().clone());
    hook("messages", json!({"contacts": [{"wa_id": "16505551234"}], "messages": [message]}))
}

#[test]
fn what_people_write_and_set() {
    let preference = |value: &str, category: &str| {
        hook(
            "user_preferences",
            json!({"user_preferences": [{"wa_id": "16505551234", "category": category, "value": value, "timestamp": 1731705721}]}),
        )
    };
    let bodies = [
        inbound(json!({"type": "text", "text": {"body": " Stop "}})),
        inbound(json!({"type": "text", "text": {"body": "please don't stop"}})),
        inbound(json!({"type": "button", "button": {"payload": "STOP_PROMO", "text": "No more"}})),
        inbound(json!({"type": "button", "button": {"payload": "x", "text": "Unsubscribe"}})),
        inbound(
            json!({"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "stop", "title": "No"}}}),
        ),
        inbound(
            json!({"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "a", "title": "Arrêter"}}}),
        ),
        inbound(json!({"type": "reaction", "reaction": {"emoji": "👍"}})),
        inbound(json!({"type": "text"})),
        inbound(json!({"type": "text", "text": {"body": "stop"}, "from": "nobody"})),
        preference("stop", "marketing_messages"),
        preference("resume", "marketing_messages"),
        preference("stop", "other"),
        preference("perhaps", "marketing_messages"),
        hook("message_template_status_update", json!({"event": "PAUSED"})),
        json!({"entry": []}),
        json!({"entry": [{}]}),
    ];
    assert_snapshot!(bodies.map(|body| said(&body)).join("\n"));
}

#[test]
fn many_changes_come_in_one_request() {
    let mut body = status("delivered", json!({}));
    let more = status("read", json!({}))["entry"][0].clone();
    body["entry"].as_array_mut().unwrap().push(more);
    assert_eq!(said(&body).lines().count(), 2);
    for body in ["", "{}", "[]", "null", "{\"entry\":7}", "{"] {
        assert_eq!(hooks::parse(body.as_bytes(), received()), Err(HookError::Malformed), "{body}");
    }
}

const NAMES: &[&str] =
    &["status", "errors", "code", "text", "body", "type", "from", "timestamp", "value", "button"];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|b| json!(b)),
        any::<i64>().prop_map(|n| json!(n)),
        ".{0,12}".prop_map(|s| json!(s)),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::hash_map(prop::sample::select(NAMES).prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_is_read_with_a_panic(bytes: Vec<u8>, value in any_json(), item in any_json()) {
        let _ = hooks::parse(&bytes, received());
        for field in ["messages", "user_preferences", "account_update"] {
            let _ = said(&hook(field, value.clone()));
        }
        let _ = said(&hook("messages", json!({"statuses": [item], "messages": [item], "user_preferences": [item]})));
        let _ = said(&status("failed", json!({"errors": value, "timestamp": item})));
    }
}
