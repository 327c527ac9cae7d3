use serde_json::json;

use super::*;

fn build(change: serde_json::Value) -> Result<BrevoSms, ConfigError> {
    let mut settings = json!({"api_key": "xkeysib-1", "sender": "Acme"});
    settings.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    BrevoSms::new(&serde_json::from_value(settings).unwrap(), &HttpSettings::default())
}

#[test]
fn a_marketing_text_says_how_to_stop() {
    let adapter = build(json!({})).unwrap();
    let check = |class, text: &str, expected: &str| assert_eq!(adapter.text(class, text), expected);
    check(MessageClass::Marketing, "Sale!\n", "Sale!\nSTOP to [STOP_CODE]");
    check(MessageClass::Marketing, "Sale! STOP: [STOP_CODE]", "Sale! STOP: [STOP_CODE]");
    check(MessageClass::Obligation, "Your bill", "Your bill");
    check(MessageClass::Transactional, "Your code", "Your code");
}

#[test]
fn a_wrong_setting_is_named() {
    for (change, field) in [
        (json!({"sender": "Acme Insurance"}), "sender"),
        (json!({"sender": "TwelveLetter"}), "sender"),
        (json!({"sender": "1234567890123456"}), "sender"),
        (json!({"sender": ""}), "sender"),
        (json!({"stop_text": "Reply STOP"}), "stop_text"),
        (json!({"stop_text": "ARRÊT [STOP_CODE]"}), "stop_text"),
        (json!({"web_url": "example.com"}), "web_url"),
        (json!({"api_key": " "}), "api_key"),
        (json!({"base_url": "http://api.example.com"}), "base_url"),
        (json!({"base_url": "ftp://api.example.com"}), "base_url"),
        (json!({"base_url": "nonsense"}), "base_url"),
        (json!({"webhook_ips": ["1.2.3.4/40"]}), "webhook_ips"),
        (json!({"webhook_auth": {"bearer": {"token": ""}}}), "webhook_auth.bearer.token"),
        (json!({"webhook_auth": {"basic": {"user": "a:b", "password": "x"}}}), "webhook_auth.basic.user"),
    ] {
        let error = build(change.clone()).unwrap_err();
        assert_eq!(error.field, field, "{change}: {error}");
    }
    for sound in [
        json!({"sender": "123456789012345"}),
        json!({"base_url": "http://127.0.0.1:9/v3"}),
        json!({"webhook_ips": ["1.2.3.4"]}),
    ] {
        assert!(build(sound.clone()).is_ok(), "{sound}");
    }
}

#[test]
fn the_id_may_be_a_number_or_a_text() {
    let check = |body: &str, expected: Option<&str>| {
        assert_eq!(message_id(body.as_bytes()).as_deref(), expected, "{body}")
    };
    check(r#"{"messageId":1511882900176220}"#, Some("1511882900176220"));
    check(r#"{"messageId":"1511882900176220","reference":"ab"}"#, Some("1511882900176220"));
    check(r#"{"messageId":{"a":1}}"#, None);
    check(r#"{"messageId":1.5}"#, None);
    check(r#"{"reference":"ab"}"#, None);
    check("[]", None);
    check("", None);
}
