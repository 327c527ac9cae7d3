//! The contract of the WhatsApp Cloud API.

use fanfare_sandbox::{WhatsappTemplate, digest};
use serde_json::{Value, json};

use crate::support::{NUMBER, rig, rig_of, unlimited, with};

fn text() -> Value {
    json!({"messaging_product": "whatsapp", "to": "+16505551234", "type": "text", "text": {"body": "Hello"},
        "biz_opaque_callback_data": "msg_1"})
}

fn of(kind: &str, content: Value) -> Value {
    json!({"type": kind, "text": null, kind: content})
}

fn buttons(count: usize) -> Value {
    let button = |n| json!({"type": "reply", "reply": {"id": format!("b{n}"), "title": "Yes"}});
    json!({"type": "button", "body": {"text": "Pay?"}, "action": {"buttons": (0..count).map(button).collect::<Vec<_>>()}})
}

fn list(rows: usize) -> Value {
    let row = |n| json!({"id": format!("r{n}"), "title": "Row"});
    json!({"type": "list", "body": {"text": "B"}, "action": {"button": "Choose",
        "sections": [{"title": "S", "rows": (0..rows).map(row).collect::<Vec<_>>()}]}})
}

fn template(components: Value) -> Value {
    of("template", json!({"name": "order_update", "language": {"code": "en_US"}, "components": components}))
}

#[tokio::test]
async fn takes_what_meta_takes_and_refuses_the_rest() {
    let rig = rig().await;
    let long = |n: usize| "x".repeat(n);
    let body = |parameters: Value| template(json!([{"type": "body", "parameters": parameters}]));
    let button = |index: Value, sub_type: Value| {
        template(
            json!([{"type": "button", "sub_type": sub_type, "index": index, "parameters": [{"type": "payload", "payload": "STOP"}]}]),
        )
    };
    for (change, code) in [
        (json!({}), 0),
        (json!({"messaging_product": "sms"}), 100),
        (json!({"recipient_type": "crowd"}), 100),
        (json!({"to": null}), 100),
        (json!({"to": "12ab"}), 131_009),
        (json!({"to": 16_505_551_234_u64}), 100),
        (json!({"type": "hologram"}), 131_051),
        (json!({"biz_opaque_callback_data": long(512)}), 0),
        (json!({"biz_opaque_callback_data": long(513)}), 100),
        (json!({"text": null}), 131_008),
        (json!({"text": {"body": ""}}), 131_008),
        (json!({"text": {"body": 5}}), 100),
        (json!({"text": {"body": "é".repeat(4_096)}}), 0),
        (json!({"text": {"body": long(4_097)}}), 100),
        (of("image", json!({"link": "https://example.com/a.png"})), 0),
        (of("image", json!({"link": "a.png"})), 100),
        (of("image", json!({"id": "1", "link": "https://example.com/a.png"})), 100),
        (of("document", json!({"id": "1", "filename": "a.pdf", "caption": long(1_024)})), 0),
        (of("document", json!({"id": "1", "caption": long(1_025)})), 100),
        (of("document", json!({})), 131_008),
        (of("interactive", buttons(3)), 0),
        (of("interactive", buttons(4)), 131_009),
        (of("interactive", buttons(0)), 131_009),
        (of("interactive", list(10)), 0),
        (of("interactive", list(11)), 131_009),
        (of("interactive", with(buttons(1), &json!({"body": {"text": long(1_025)}}))), 100),
        (of("interactive", with(buttons(1), &json!({"header": {"type": "text", "text": long(61)}}))), 100),
        (
            of(
                "interactive",
                with(
                    buttons(1),
                    &json!({"action": {"buttons": [{"type": "reply", "reply": {"id": "a", "title": long(21)}}]}}),
                ),
            ),
            100,
        ),
        (
            of(
                "interactive",
                with(
                    buttons(1),
                    &json!({"action": {"buttons": [{"type": "reply", "reply": {"id": long(257), "title": "a"}}]}}),
                ),
            ),
            100,
        ),
        (template(json!([])), 0),
        (of("template", json!({"name": "Bad Name", "language": {"code": "en"}})), 132_001),
        (of("template", json!({"name": "order_update"})), 131_008),
        (
            body(
                json!([{"type": "text", "text": "Ann"}, {"type": "currency", "currency": {"fallback_value": "$1", "code": "USD", "amount_1000": 1}}]),
            ),
            0,
        ),
        (body(json!([{"type": "text"}])), 131_008),
        (body(json!([{"type": "emoji"}])), 132_012),
        (template(json!([{"type": "footer"}])), 100),
        (
            template(
                json!([{"type": "header", "parameters": [{"type": "document", "document": {"link": "https://example.com/i.pdf", "filename": "i.pdf"}}]}]),
            ),
            0,
        ),
        (button(json!("0"), json!("quick_reply")), 0),
        (button(json!("10"), json!("quick_reply")), 100),
        (button(json!("0"), json!("hover")), 100),
        (button(json!("0"), json!(null)), 131_008),
        (button(json!(null), json!("url")), 131_008),
    ] {
        let got = rig.whatsapp(&with(text(), &change)).await;
        let shown = change.to_string().chars().take(120).collect::<String>();
        if code == 0 {
            assert_eq!(got.status, 200, "{shown}: {}", got.text);
        } else {
            let error = &got.json()["error"];
            assert_eq!((got.status, error["code"].as_u64()), (400, Some(code)), "{shown}: {}", got.text);
            assert_eq!(error["type"], "OAuthException");
            assert!(error["fbtrace_id"].is_string() && error["error_data"]["details"].is_string(), "{shown}");
        }
    }
}

#[tokio::test]
async fn answers_in_the_live_form() {
    let rig = rig().await;
    let body = rig.whatsapp(&text()).await.json();
    assert_eq!(body["contacts"][0], json!({"input": "+16505551234", "wa_id": "16505551234"}));
    let id = body["messages"][0]["id"].as_str().expect("an id");
    assert!(id.starts_with("wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI"), "{id}");
    assert!(body["messages"][0].get("message_status").is_none());
    let sent = rig.whatsapp(&with(text(), &template(json!([])))).await.json();
    assert_eq!(sent["messages"][0]["message_status"], "accepted");
    let read = json!({"messaging_product": "whatsapp", "status": "read", "message_id": id});
    assert_eq!(rig.whatsapp(&read).await.json(), json!({"success": true}));
    let number = rig.get(&format!("/v23.0/{NUMBER}")).await.json();
    assert_eq!((number["id"].as_str(), number["quality_rating"].as_str()), (Some(NUMBER), Some("GREEN")));
}

#[tokio::test]
async fn refuses_strangers() {
    let rig = rig().await;
    let send = |path: String, token: Option<&str>| {
        let request = rig.client.post(rig.url(&path)).body(text().to_string());
        let request =
            token.map_or_else(|| rig.client.post(rig.url(&path)), |token| request.bearer_auth(token));
        async move {
            let response = request.send().await.expect("an answer");
            let status = response.status().as_u16();
            let body: Value = serde_json::from_str(&response.text().await.expect("a body")).expect("JSON");
            (status, body["error"]["code"].as_u64().unwrap_or_default())
        }
    };
    let path = format!("/v23.0/{NUMBER}/messages");
    assert_eq!(send(path.clone(), None).await, (401, 104));
    assert_eq!(send(path, Some("wrong")).await, (401, 190));
    assert_eq!(send("/v23.0/12345/messages".to_owned(), Some("sandbox-token")).await, (404, 100));
}

#[tokio::test]
async fn knows_its_templates_when_told() {
    let mut config = unlimited();
    let known = |name: &str, params| WhatsappTemplate {
        name: name.to_owned(),
        language: "en_US".to_owned(),
        body_params: params,
        category: "marketing".to_owned(),
    };
    config.whatsapp.templates = vec![known("order_update", 1)];
    let rig = rig_of(config).await;
    let params = |count: usize| {
        let parameters: Vec<_> = (0..count).map(|_| json!({"type": "text", "text": "x"})).collect();
        with(text(), &template(json!([{"type": "body", "parameters": parameters}])))
    };
    assert_eq!(rig.whatsapp(&params(1)).await.status, 200);
    assert_eq!(rig.whatsapp(&params(2)).await.json()["error"]["code"], 132_000);
    let other = of("template", json!({"name": "order_update", "language": {"code": "fr"}}));
    assert_eq!(rig.whatsapp(&with(text(), &other)).await.json()["error"]["code"], 132_001);
}

#[tokio::test]
async fn the_digest_does_not_depend_on_the_order_of_keys() {
    let rig = rig().await;
    let raw = |content: &str| {
        format!(
            r#"{{"messaging_product":"whatsapp","to":"16505551234","type":"text","text":{content},"biz_opaque_callback_data":"msg_7"}}"#
        )
    };
    let path = format!("/v23.0/{NUMBER}/messages");
    for content in [r#"{"preview_url":true,"body":"H\u00e9"}"#, r#"{ "body": "Hé", "preview_url": true }"#] {
        assert_eq!(rig.post(&path, raw(content)).await.status, 200);
    }
    let records = rig.sandbox.audit().message("msg_7");
    assert_eq!((records.len(), records[0].count), (1, 2));
    let expected = digest("16505551234", "msg_7", &[r#"{"body":"Hé","preview_url":true}"#]);
    assert_eq!(records[0].digest, expected.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    assert_eq!(rig.lane("whatsapp").digest_conflicts, 0);
}
