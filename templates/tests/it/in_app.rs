//! Notifications inside the application.

use fanfare_templates::{InApp, Notation, Priority, RenderError, Rendered};
use serde_json::{Value, json};

use crate::{refused, render, source};

fn notice(variables: &Value) -> Result<InApp<String>, RenderError> {
    let source = source(json!({
        "channel": "in_app", "type": "commission", "priority": "high", "days": 30,
        "title": "Commission on {{policy}}",
        "message": "You earned {{amount}} commission on Policy #{{policy}}",
        "data": {"policyNumber": "{{policy}}", "screen": "commissions"},
    }));
    match render(&source, variables, "en")? {
        Rendered::InApp(notice) => Ok(notice),
        other => panic!("a notification, not {other:?}"),
    }
}

#[test]
fn every_text_is_filled_in_and_the_rest_is_kept() {
    let notice = notice(&json!({"policy": "P-7", "amount": "₹500"})).unwrap();
    assert_eq!(
        (notice.kind.as_str(), notice.priority, notice.days),
        ("commission", Priority::High, Some(30))
    );
    assert_eq!(notice.title, "Commission on P-7");
    assert_eq!(notice.message, "You earned ₹500 commission on Policy #P-7");
    let data: Vec<_> = notice.data.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(data, [("policyNumber", "P-7"), ("screen", "commissions")]);
}

#[test]
fn no_control_character_comes_through() {
    let notice = notice(&json!({"policy": "P\u{0}\r\n7", "amount": "a\u{0}b\nc"})).unwrap();
    assert_eq!(notice.title, "Commission on P   7");
    assert_eq!(notice.message, "You earned a b\nc commission on Policy #P  \n7");
    assert_eq!(notice.data["policyNumber"], "P   7");
}

#[test]
fn what_does_not_fit_is_named() {
    let error = notice(&json!({"policy": "P"})).unwrap_err();
    assert!(error.to_string().contains("amount"), "{error}");
    let error = notice(&json!({"policy": "x".repeat(300), "amount": "1"})).unwrap_err();
    assert!(error.to_string().starts_with("in_app.title"), "{error}");
}

#[test]
fn a_source_that_could_not_be_shown_is_refused() {
    let faults = [
        (json!({"type": "Policy", "title": "t", "message": "m"}), "in_app.type"),
        (json!({"type": "", "title": "t", "message": "m"}), "in_app.type"),
        (json!({"type": "policy", "title": " ", "message": "m"}), "in_app.title"),
        (json!({"type": "policy", "title": "t", "message": ""}), "in_app.message"),
        (json!({"type": "policy", "title": "t", "message": "m", "days": 0}), "in_app.days"),
        (json!({"type": "policy", "title": "t", "message": "m", "data": {"a b": "x"}}), "in_app.data"),
        (json!({"type": "policy", "title": "t", "message": "{{#if}}"}), "in_app.message"),
    ];
    for (mut json, part) in faults {
        json["channel"] = json!("in_app");
        assert_eq!(refused(&source(json)).part(), part);
    }
}

#[test]
fn single_braces_are_accepted_everywhere() {
    let json = json!({"channel": "in_app", "type": "policy", "title": "{name}", "message": "{name}", "data": {"name": "{name}"}});
    let declared = ["name".to_owned()];
    let doubled = source(json).map(|text| Notation::Single.to_handlebars(text, &declared));
    let Ok(Rendered::InApp(notice)) = render(&doubled, &json!({"name": "Ann"}), "en") else {
        panic!("a notification")
    };
    assert_eq!(
        (notice.title.as_str(), notice.message.as_str(), notice.data["name"].as_str()),
        ("Ann", "Ann", "Ann")
    );
}
