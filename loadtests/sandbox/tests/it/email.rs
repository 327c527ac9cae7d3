//! The contract of Brevo e-mail.

use fanfare_sandbox::{Matcher, Sandbox, SandboxConfig, default_rules, digest};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{mail, rig, rig_of, unlimited, with};

/// A change to a good request, the status, the code, and what the message names.
type Case = (Value, u16, &'static str, &'static str);

fn cases() -> Vec<Case> {
    let person = |email: &str| json!([{ "email": email }]);
    let versions = |versions: Value| json!({"to": null, "messageVersions": versions});
    let people =
        |count: usize| Value::from_iter((0..count).map(|n| json!({"email": format!("p{n}@example.com")})));
    vec![
        (json!({"sender": null}), 400, "missing_parameter", "sender"),
        (json!({"sender": {"name": "x"}}), 400, "missing_parameter", "email is missing in sender"),
        (json!({"sender": {"email": "nobody"}}), 400, "invalid_parameter", "email is not valid in sender"),
        (
            json!({"sender": {"email": "a@example.com", "name": "n".repeat(71)}}),
            400,
            "invalid_parameter",
            "name",
        ),
        (json!({"sender": {"id": 3}}), 201, "", ""),
        (json!({"to": null}), 400, "missing_parameter", "to"),
        (json!({"to": []}), 400, "missing_parameter", "to"),
        (json!({"to": [{"name": "x"}]}), 400, "missing_parameter", "email is missing in to"),
        (json!({"to": person("nobody")}), 400, "invalid_parameter", "email is not valid in to"),
        (json!({"to": person("a b@example.com")}), 400, "invalid_parameter", "email is not valid in to"),
        (json!({"to": person("a@localhost")}), 400, "invalid_parameter", "email is not valid in to"),
        (json!({"to": "a@example.com"}), 400, "invalid_parameter", "to is not valid"),
        (json!({"to": [{"email": 7}]}), 400, "invalid_parameter", "to[0].email"),
        (json!({"cc": person("x@")}), 400, "invalid_parameter", "cc"),
        (json!({"bcc": person("x@@example.com")}), 400, "invalid_parameter", "bcc"),
        (json!({"replyTo": {"email": "x"}}), 400, "invalid_parameter", "replyTo"),
        (json!({"replyTo": [{"email": "a@example.com"}]}), 400, "invalid_parameter", "replyTo"),
        (json!({"subject": null}), 400, "missing_parameter", "subject"),
        (json!({"subject": ""}), 400, "missing_parameter", "subject"),
        (json!({"subject": 5}), 400, "invalid_parameter", "subject"),
        (json!({"htmlContent": null}), 400, "missing_parameter", "htmlContent"),
        (json!({"htmlContent": null, "textContent": "only text"}), 400, "missing_parameter", "htmlContent"),
        (json!({"htmlContent": null, "subject": null, "sender": null, "templateId": 7}), 201, "", ""),
        (json!({"templateId": 0}), 400, "invalid_parameter", "templateId"),
        (json!({"templateId": "7"}), 400, "invalid_parameter", "templateId"),
        (json!({"params": {"n": "A", "list": [1, 2]}}), 201, "", ""),
        (json!({"params": ["n"]}), 400, "invalid_parameter", "params"),
        (json!({"params": {"n": "x".repeat(103_000)}}), 400, "invalid_parameter", "params"),
        (json!({"attachment": [{"url": "https://example.com/a.pdf"}]}), 201, "", ""),
        (json!({"attachment": [{"url": "/a.pdf"}]}), 400, "invalid_parameter", "url"),
        (json!({"attachment": [{"content": "aGk=", "name": "a.pdf"}]}), 201, "", ""),
        (json!({"attachment": [{"content": "aGk="}]}), 400, "missing_parameter", "name"),
        (json!({"attachment": [{"content": "a!", "name": "a.pdf"}]}), 400, "invalid_parameter", "base64"),
        (
            json!({"attachment": [{"content": "aGk=", "name": "a.exe"}]}),
            400,
            "invalid_parameter",
            "file format",
        ),
        (json!({"attachment": [{"name": "a.pdf"}]}), 400, "missing_parameter", "attachment"),
        (json!({"headers": {"X-Mailin-custom": 5}}), 400, "invalid_parameter", "headers"),
        (json!({"headers": {"Idempotency-Key": "not a uuid"}}), 400, "invalid_parameter", "Idempotency-Key"),
        (json!({"tags": "one"}), 400, "invalid_parameter", "tags"),
        (json!({"tags": ["one", "two"]}), 201, "", ""),
        (json!({"batchId": "7"}), 400, "invalid_parameter", "batchId"),
        (json!({"scheduledAt": "tomorrow"}), 400, "invalid_parameter", "scheduledAt"),
        (json!({"scheduledAt": "2020-01-01T00:00:00.000Z"}), 400, "invalid_parameter", "scheduledAt"),
        (json!({"unknownField": {"is": "let pass"}}), 201, "", ""),
        (versions(json!([])), 400, "missing_parameter", "messageVersions"),
        (versions(json!({})), 400, "invalid_parameter", "messageVersions"),
        (versions(json!([{"subject": "x"}])), 400, "missing_parameter", "to"),
        (versions(json!([{"to": person("x")}])), 400, "invalid_parameter", "email is not valid in to"),
        (versions(json!([{"to": people(99)}])), 201, "", ""),
        (versions(json!([{"to": people(100)}])), 400, "invalid_parameter", "99"),
        (versions(json!([{"to": people(1), "templateId": 3}])), 400, "invalid_parameter", "templateId"),
        (versions(json!([{"to": people(1), "params": 3}])), 400, "invalid_parameter", "params"),
        (versions(Value::from_iter((0..1_000).map(|_| json!({"to": people(2)})))), 201, "", ""),
        (
            versions(Value::from_iter((0..1_001).map(|_| json!({"to": people(1)})))),
            400,
            "invalid_parameter",
            "1000",
        ),
        (
            versions(Value::from_iter((0..1_000).map(|_| json!({"to": people(3)})))),
            400,
            "invalid_parameter",
            "2000",
        ),
        (
            versions(Value::from_iter(
                (0..11).map(|_| json!({"to": people(1), "params": {"n": "x".repeat(100_000)}})),
            )),
            400,
            "invalid_parameter",
            "1000 KB",
        ),
    ]
}

#[tokio::test]
async fn takes_what_brevo_takes_and_refuses_the_rest() {
    let rig = rig().await;
    for (change, status, code, names) in cases() {
        let got = rig.email(&with(mail("a@example.com"), &change)).await;
        let shown = change.to_string().chars().take(120).collect::<String>();
        assert_eq!(got.status, status, "{shown}: {}", got.text);
        assert!(got.headers.contains_key("x-sib-ratelimit-reset"), "{shown}");
        if status >= 400 {
            assert_eq!(got.json()["code"], code, "{shown}: {}", got.text);
            assert!(
                got.json()["message"].as_str().unwrap_or_default().contains(names),
                "{shown}: {}",
                got.text
            );
        }
    }
    let refused = rig.lane("email").refused;
    let expected = cases().iter().filter(|case| case.1 == 400).count() as u64;
    assert_eq!(refused.values().sum::<u64>(), expected, "{refused:?}");
}

#[tokio::test]
async fn refuses_what_is_not_json_and_strange_keys() {
    let rig = rig().await;
    let got = rig.post("/v3/smtp/email", "{".to_owned()).await;
    assert_eq!((got.status, got.json()["code"].as_str()), (400, Some("bad_request")));
    let request = rig
        .client
        .post(rig.url("/v3/smtp/email"))
        .header("api-key", "wrong")
        .body(mail("a@example.com").to_string());
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 401);
    assert_eq!(
        response.text().await.expect("a body"),
        r#"{"code":"unauthorized","message":"Key not found"}"#
    );
    assert_eq!(rig.sandbox.audit().refused().get("unauthorized"), Some(&1));
    assert_eq!(rig.get("/v3/account").await.status, 200);
}

#[tokio::test]
async fn answers_in_the_live_form() {
    let rig = rig().await;
    let single = rig.email(&mail("a@example.com")).await.json();
    let id = single["messageId"].as_str().expect("an id");
    let inner =
        id.strip_prefix('<').and_then(|id| id.strip_suffix("@smtp-relay.mailin.fr>")).expect("the live form");
    let (minute, number) = inner.split_once('.').expect("a minute and a number");
    assert!(minute.len() == 12 && minute.bytes().all(|c| c.is_ascii_digit()), "{id}");
    assert!(number.parse::<u64>().is_ok(), "{id}");

    let versions = json!({"to": null, "messageVersions": [
        {"to": [{"email": "a@example.com"}]}, {"to": [{"email": "b@example.com"}]},
    ]});
    let batch = rig.email(&with(mail("x@example.com"), &versions)).await;
    assert_eq!(batch.status, 201);
    assert_eq!(batch.json()["messageIds"].as_array().map(Vec::len), Some(2));

    let later =
        json!({"scheduledAt": "2999-01-01T00:00:00.000Z", "batchId": "5c6cfa04-eed9-42c2-8b5c-6d470d978e9d"});
    let scheduled = rig.email(&with(mail("a@example.com"), &later)).await;
    assert_eq!(scheduled.status, 202);
    assert_eq!(scheduled.json()["batchId"], "5c6cfa04-eed9-42c2-8b5c-6d470d978e9d");
    assert!(scheduled.json()["messageId"].is_string());
}

#[tokio::test]
async fn a_key_is_used_once_and_counted_as_deduplicated() {
    let rig = rig().await;
    let keyed = |key: Uuid, id: &str| {
        with(mail("a@example.com"), &json!({"headers": {"Idempotency-Key": key, "X-Mailin-custom": id}}))
    };
    let key = Uuid::new_v4();
    assert_eq!(rig.email(&keyed(key, "msg_1")).await.status, 201);
    let again = rig.email(&keyed(key, "msg_1")).await;
    assert_eq!((again.status, again.json()["code"].as_str()), (400, Some("duplicate_parameter")));
    assert_eq!(rig.email(&keyed(Uuid::new_v4(), "msg_2")).await.status, 201);
    let lane = rig.lane("email");
    assert_eq!((lane.messages, lane.duplicates, lane.deduplicated), (2, 0, 1));
    assert!(lane.refused.is_empty(), "{:?}", lane.refused);
}

#[tokio::test]
async fn a_key_is_free_again_after_its_time() {
    let mut config = unlimited();
    config.brevo.idempotency_ttl_s = 0;
    let rig = rig_of(config).await;
    let body = with(
        mail("a@example.com"),
        &json!({"headers": {"idempotencyKey": Uuid::new_v4(), "X-Mailin-custom": "msg_1"}}),
    );
    assert_eq!(rig.email(&body).await.status, 201);
    assert_eq!(rig.email(&body).await.status, 201);
    assert_eq!(rig.lane("email").duplicates, 1);
}

#[tokio::test]
async fn one_of_many_at_once_wins_the_key() {
    let rig = rig().await;
    let body = with(mail("a@example.com"), &json!({"headers": {"Idempotency-Key": Uuid::new_v4()}}));
    let answers = futures::future::join_all((0..32).map(|_| rig.email(&body))).await;
    assert_eq!(answers.iter().filter(|got| got.status == 201).count(), 1);
    assert_eq!(rig.lane("email").deduplicated, 31);
}

#[tokio::test]
async fn whether_a_refusal_burns_the_key_is_a_switch() {
    for (burn, second) in [(false, 201), (true, 400)] {
        let rig = rig().await;
        let body = with(mail("a@example.com"), &json!({"headers": {"Idempotency-Key": Uuid::new_v4()}}));
        rig.faults(json!({"email": {"burn_key_on_refusal": burn, "error_mix": {"503": 1.0}}}));
        assert_eq!(rig.email(&body).await.status, 503);
        rig.faults(json!({"email": {}}));
        assert_eq!(rig.email(&body).await.status, second, "burn: {burn}");
    }
}

#[tokio::test]
async fn values_are_put_in_before_the_digest() {
    let rig = rig().await;
    let batch = json!({
        "to": null, "subject": "For {{params.n}}", "htmlContent": "<b>{{ params.amount.value }}</b>{{contact.X}}",
        "messageVersions": [{
            "to": [{"email": "a@example.com"}], "params": {"n": "Ann", "amount": {"value": 12}},
            "headers": {"X-Mailin-custom": "msg_1"},
        }],
    });
    assert_eq!(rig.email(&with(mail("x@example.com"), &batch)).await.status, 201);
    let records = rig.sandbox.audit().message("msg_1");
    let expected = digest("a@example.com", "msg_1", &["For Ann", "<b>12</b>{{contact.X}}"]);
    assert_eq!(records[0].digest, expected.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}

#[tokio::test]
async fn a_dropped_mail_is_validated_and_not_received() {
    let rig = rig().await;
    let body = with(mail("a@example.com"), &json!({"headers": {"X-Sib-Sandbox": "drop"}}));
    let got = rig.email(&body).await;
    assert_eq!(got.status, 201);
    assert!(got.json()["messageId"].is_string());
    assert_eq!(rig.lane("email").messages, 0);
}

#[tokio::test]
async fn the_event_log_tells_what_happened() {
    let rig = rig().await;
    let tagged =
        |to: &str, tag: &str| with(mail(to), &json!({"tags": [tag], "headers": {"X-Mailin-custom": tag}}));
    let first = rig.email(&tagged("a@example.com", "msg_1")).await.json();
    rig.email(&tagged("hardbounce@example.com", "msg_2")).await;
    let list = |got: Value| -> Vec<(String, String)> {
        let events = got["events"].as_array().expect("events").clone();
        events
            .iter()
            .map(|event| {
                (
                    event["email"].as_str().unwrap_or_default().to_owned(),
                    event["event"].as_str().unwrap_or_default().to_owned(),
                )
            })
            .collect()
    };
    let pair = |email: &str, event: &str| (email.to_owned(), event.to_owned());
    let id = first["messageId"].as_str().expect("an id").replace('<', "%3C").replace('>', "%3E");
    let path = "/v3/smtp/statistics/events";
    for (query, expected) in [
        (
            format!("messageId={id}&sort=asc"),
            vec![pair("a@example.com", "requests"), pair("a@example.com", "delivered")],
        ),
        ("tags=msg_2&event=hardBounces".to_owned(), vec![pair("hardbounce@example.com", "hardBounces")]),
        ("event=bounces".to_owned(), vec![pair("hardbounce@example.com", "hardBounces")]),
        ("email=a@example.com&event=delivered".to_owned(), vec![pair("a@example.com", "delivered")]),
        ("tags=msg_1&limit=1&offset=1".to_owned(), vec![pair("a@example.com", "requests")]),
        ("email=nobody@example.com".to_owned(), vec![]),
        ("startDate=2001-01-01&endDate=2001-01-02".to_owned(), vec![]),
    ] {
        let got = rig.get(&format!("{path}?{query}")).await;
        assert_eq!(got.status, 200, "{query}: {}", got.text);
        assert_eq!(list(got.json()), expected, "{query}");
    }
    for (query, code) in [
        ("event=nothing", "invalid_parameter"),
        ("limit=5001", "out_of_range"),
        ("days=91", "out_of_range"),
        ("startDate=2001-01-01", "missing_parameter"),
        ("limit=x", "invalid_parameter"),
        ("sort=up", "invalid_parameter"),
    ] {
        let got = rig.get(&format!("{path}?{query}")).await;
        assert_eq!((got.status, got.json()["code"].as_str()), (400, Some(code)), "{query}");
    }
}

#[tokio::test]
async fn an_impossible_configuration_is_refused() {
    let config = toml::from_str(
        "[faults.email]\nerror_mix = { 500 = 0.7, 429 = 0.7 }\n[brevo]\naccounts = [{ api_key = \"k\", email_per_second = \"unlimited\" }]\n",
    );
    let error =
        Sandbox::start(config.expect("a well-formed configuration")).await.expect_err("shares above 1");
    assert!(error.to_string().contains("error_mix"), "{error}");
}

/// The configuration shown in the README is a configuration, and names every default as it is.
#[test]
fn the_readme_shows_the_defaults() {
    let readme = include_str!("../../README.md");
    let shown =
        readme.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).expect("a TOML block");
    let shown: SandboxConfig = toml::from_str(shown).expect("a configuration");
    let mut expected = SandboxConfig::default();
    expected.webhooks.email.url = shown.webhooks.email.url.clone();
    expected.webhooks.email.auth = shown.webhooks.email.auth.clone();
    expected.rules = shown.rules.clone();
    let text = |config: &SandboxConfig| serde_json::to_string(config).expect("plain data");
    assert_eq!(text(&shown), text(&expected));
}

#[test]
fn the_readme_names_every_scripted_address() {
    let readme = include_str!("../../README.md");
    for rule in default_rules() {
        let (Matcher::Contains(part) | Matcher::Suffix(part) | Matcher::Exact(part)) = &rule.matcher;
        assert!(readme.contains(part.as_str()), "{part}");
    }
}
