use fanfare_templates::{RenderError, Rendered, WhatsappMessage, publish};
use serde_json::{Value, json};

use crate::{refused, render, source};

fn message(mut source_json: Value, variables: &Value) -> Result<Value, RenderError> {
    source_json["channel"] = json!("whatsapp");
    match render(&source(source_json), variables, "en")? {
        Rendered::Whatsapp(message) => {
            let json = serde_json::to_value(&message).unwrap();
            assert_eq!(serde_json::from_value::<WhatsappMessage>(json.clone()).unwrap(), message);
            Ok(json)
        }
        other => panic!("WhatsApp renders to WhatsApp, not {other:?}"),
    }
}

fn check(source: Value, variables: &Value, expected: Value) {
    assert_eq!(message(source, variables), Ok(expected));
}

#[test]
fn every_kind_has_the_json_of_the_cloud_api() {
    let v = json!({"name": "Ann", "due": {"minor": 10_099, "currency": "USD"}, "url": "https://e.example/i.pdf", "code": "1234"});
    check(
        json!({"kind": "text", "body": "Hello {{name}}", "preview_url": true}),
        &v,
        json!({"type": "text", "text": {"preview_url": true, "body": "Hello Ann"}}),
    );
    check(
        json!({"kind": "document", "link": "{{url}}", "filename": "{{lower name}}.pdf", "caption": "For {{name}}"}),
        &v,
        json!({"type": "document", "document": {"link": "https://e.example/i.pdf", "filename": "ann.pdf", "caption": "For Ann"}}),
    );
    check(
        json!({"kind": "image", "link": "{{url}}"}),
        &v,
        json!({"type": "image", "image": {"link": "https://e.example/i.pdf"}}),
    );
    check(
        json!({"kind": "interactive", "body": "Pay?", "action": {"buttons": [{"id": "yes:{{code}}", "title": "Yes"}]}}),
        &v,
        json!({"type": "interactive", "interactive": {"type": "button", "body": {"text": "Pay?"},
            "action": {"buttons": [{"type": "reply", "reply": {"id": "yes:1234", "title": "Yes"}}]}}}),
    );
    check(
        json!({"kind": "interactive", "header": "H", "body": "B {{name}}", "footer": "F", "action": {"list": {"button": "Choose",
            "sections": [{"title": "S1", "rows": [{"id": "r1", "title": "R1", "description": "D"}, {"id": "r2", "title": "R2"}]}]}}}),
        &v,
        json!({"type": "interactive", "interactive": {"type": "list", "header": {"type": "text", "text": "H"},
            "body": {"text": "B Ann"}, "footer": {"text": "F"}, "action": {"button": "Choose", "sections": [{"title": "S1",
            "rows": [{"id": "r1", "title": "R1", "description": "D"}, {"id": "r2", "title": "R2"}]}]}}}),
    );
}

#[test]
fn templates_have_components() {
    let v = json!({"name": "Ann\n  Lee", "due": {"minor": 10_099, "currency": "USD"}, "url": "https://e.example/i.pdf", "code": "1234"});
    check(
        json!({"kind": "template", "name": "order_update", "language": "en_US",
            "header": {"type": "document", "link": "{{url}}", "filename": "i.pdf"},
            "body": [{"text": "{{name}}"}, {"text": "{{money due}}"}],
            "buttons": [{"sub_type": "quick_reply", "index": 0, "parameter": "STOP"},
                {"sub_type": "url", "index": 1, "parameter": "inv/{{code}}"},
                {"sub_type": "copy_code", "index": 2, "parameter": "{{code}}"}]}),
        &v,
        json!({"type": "template", "template": {"name": "order_update", "language": {"code": "en_US"}, "components": [
            {"type": "header", "parameters": [{"type": "document", "document": {"link": "https://e.example/i.pdf", "filename": "i.pdf"}}]},
            {"type": "body", "parameters": [{"type": "text", "text": "Ann Lee"}, {"type": "text", "text": "$100.99"}]},
            {"type": "button", "sub_type": "quick_reply", "index": "0", "parameters": [{"type": "payload", "payload": "STOP"}]},
            {"type": "button", "sub_type": "url", "index": "1", "parameters": [{"type": "text", "text": "inv/1234"}]},
            {"type": "button", "sub_type": "copy_code", "index": "2", "parameters": [{"type": "coupon_code", "coupon_code": "1234"}]}]}}),
    );
    check(
        json!({"kind": "template", "name": "hi", "language": "en", "header": {"type": "text", "text": "{{code}}"},
            "body": [{"name": "first_name", "text": "{{name}}"}]}),
        &v,
        json!({"type": "template", "template": {"name": "hi", "language": {"code": "en"}, "components": [
            {"type": "header", "parameters": [{"type": "text", "text": "1234"}]},
            {"type": "body", "parameters": [{"type": "text", "parameter_name": "first_name", "text": "Ann Lee"}]}]}}),
    );
    check(
        json!({"kind": "template", "name": "bare", "language": "en"}),
        &v,
        json!({"type": "template", "template": {"name": "bare", "language": {"code": "en"}}}),
    );
}

#[test]
fn literals_and_structure_are_checked_at_publish() {
    let long = |n: usize| "é".repeat(n);
    let buttons = |n: usize| (0..n).map(|i| json!({"id": i.to_string(), "title": "t"})).collect::<Vec<_>>();
    let rows = |n: usize| (0..n).map(|i| json!({"id": i.to_string(), "title": "t"})).collect::<Vec<_>>();
    let interactive = |action: Value| json!({"kind": "interactive", "body": "b", "action": action});
    let list = |rows: Vec<Value>| {
        interactive(json!({"list": {"button": "b", "sections": [{"title": "s", "rows": rows}]}}))
    };
    let template = |fields: Value| {
        let mut json = json!({"kind": "template", "name": "n", "language": "en"});
        json.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json
    };
    for (part, json) in [
        ("whatsapp.body", json!({"kind": "text", "body": long(4097)})),
        ("whatsapp.body", json!({"kind": "text", "body": " "})),
        ("whatsapp.caption", json!({"kind": "image", "link": "https://e.example", "caption": long(1025)})),
        ("whatsapp.link", json!({"kind": "image", "link": "ftp://e.example"})),
        (
            "whatsapp.body",
            json!({"kind": "interactive", "body": long(1025), "action": {"buttons": buttons(1)}}),
        ),
        ("whatsapp.action.buttons", interactive(json!({"buttons": buttons(0)}))),
        ("whatsapp.action.buttons", interactive(json!({"buttons": buttons(4)}))),
        (
            "whatsapp.action.buttons",
            interactive(json!({"buttons": [{"id": "a", "title": "x"}, {"id": "a", "title": "y"}]})),
        ),
        (
            "whatsapp.action.buttons[0].title",
            interactive(json!({"buttons": [{"id": "a", "title": long(21)}]})),
        ),
        ("whatsapp.action.buttons[0].id", interactive(json!({"buttons": [{"id": long(257), "title": "x"}]}))),
        ("whatsapp.action.sections", list(rows(0))),
        ("whatsapp.action.sections", list(rows(11))),
        (
            "whatsapp.action.button",
            interactive(json!({"list": {"button": long(21), "sections": [{"title": "s", "rows": rows(1)}]}})),
        ),
        ("whatsapp.name", template(json!({"name": "Order Update"}))),
        ("whatsapp.language", template(json!({"language": "english"}))),
        ("whatsapp.header.text", template(json!({"header": {"type": "text", "text": long(61)}}))),
        ("whatsapp.body", template(json!({"body": [{"text": "a", "name": "x"}, {"text": "b"}]}))),
        ("whatsapp.body[1]", template(json!({"body": [{"text": "a"}, {"text": "{{unknown x}}"}]}))),
        (
            "whatsapp.buttons",
            template(json!({"buttons": [{"sub_type": "url", "index": 10, "parameter": "x"}]})),
        ),
    ] {
        let mut json = json;
        json["channel"] = json!("whatsapp");
        assert_eq!(refused(&source(json.clone())).part(), part, "{json}");
    }
    let fits = json!({"channel": "whatsapp", "kind": "text", "body": long(4096)});
    assert!(publish(&source(fits)).is_ok());
}

#[test]
fn results_are_checked_at_rendering() {
    let text = |n: usize| json!({"v": "é".repeat(n)});
    let limited = |json: Value, variables: &Value, part: &str| match message(json, variables) {
        Err(RenderError::Limit { part: found, .. } | RenderError::Empty { part: found }) => {
            assert_eq!(found, part)
        }
        other => panic!("{part} should be refused, but {other:?}"),
    };
    assert!(message(json!({"kind": "text", "body": "{{v}}"}), &text(4096)).is_ok());
    limited(json!({"kind": "text", "body": "{{v}}"}), &text(4097), "whatsapp.body");
    limited(
        json!({"kind": "image", "link": "{{v}}"}),
        &json!({"v": "https://e.example/a b"}),
        "whatsapp.link",
    );
    limited(json!({"kind": "image", "link": "{{v}}"}), &json!({"v": "javascript:x"}), "whatsapp.link");
    let template = json!({"kind": "template", "name": "n", "language": "en", "body": [{"text": "{{v}}"}]});
    limited(template.clone(), &text(1025), "whatsapp.body[0]");
    limited(template, &json!({"v": " \n"}), "whatsapp.body[0]");
    let buttons =
        json!({"kind": "interactive", "body": "b", "action": {"buttons": [{"id": "a", "title": "{{v}}"}]}});
    limited(buttons, &text(21), "whatsapp.action.buttons[0].title");
}
