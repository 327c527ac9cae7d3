use insta::assert_json_snapshot;
use serde_json::json;

use super::*;
use crate::{
    domain::channel::MessageClass,
    providers::testing::{KEY, envelope, mail, message},
};

fn adapter() -> BrevoEmail {
    let settings: BrevoEmailSettings = serde_json::from_value(json!({
        "api_key": "xkeysib-1", "sender_email": "No-Reply@Example.com", "sender_name": "Acme", "reply_to": "help@example.com",
    }))
    .unwrap();
    BrevoEmail::new(&settings, &HttpSettings::default()).unwrap()
}

#[test]
fn a_request_has_the_shape_that_brevo_documents() {
    let (adapter, content) = (adapter(), mail("Your policy"));
    let mut request = adapter.request(KEY, Content::of(&content).unwrap());
    request.to = Some([Person { email: "ann@example.com", name: None }]);
    request.headers.custom = Some(message(7));
    request.tags.push(message(7).to_string());
    assert_json_snapshot!("single", request);
}

#[test]
fn in_a_batch_every_version_has_its_own_content_and_id() {
    let adapter = adapter();
    let contents = [mail("Ann's"), mail("Bob's")];
    let mut request = adapter.request(KEY, Content::NONE);
    for (n, content) in (7..).zip(&contents) {
        request.versions.push(Version {
            to: [Person { email: "somebody@example.com", name: None }],
            content: Content::of(content).unwrap(),
            headers: Headers::of(Envelope {
                message: message(n),
                ..envelope(n, "", MessageClass::Obligation, content)
            }),
        });
    }
    request.tags = look_up::batch_tags([message(7), message(8)].into_iter());
    assert_json_snapshot!("batch", request);
}

#[test]
fn marketing_bears_the_way_out_of_each_recipient() {
    let (adapter, content) = (adapter(), mail("News"));
    let urls = ["https://mail.example.com/u/one", "https://mail.example.com/u/two"];
    let envelopes = [7, 8].map(|n| {
        let unsubscribe = Some(urls[n as usize - 7]);
        Envelope { unsubscribe, ..envelope(n, "a@example.com", MessageClass::Marketing, &content) }
    });
    let read = |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).unwrap();
    let check = |headers: &serde_json::Value, url: Option<&str>| {
        assert_eq!(headers["List-Unsubscribe"].as_str(), url.map(|url| format!("<{url}>")).as_deref());
        assert_eq!(headers["List-Unsubscribe-Post"].as_str(), url.map(|_| "List-Unsubscribe=One-Click"));
    };
    let one = read(&adapter.encode_one(envelopes[0]).unwrap());
    check(&one["headers"], Some(urls[0]));
    let plain = read(&adapter.encode_one(Envelope { unsubscribe: None, ..envelopes[0] }).unwrap());
    check(&plain["headers"], None);
    let mut request = adapter.request(KEY, Content::NONE);
    request.versions = envelopes
        .iter()
        .map(|envelope| Version {
            to: [Person { email: envelope.to, name: None }],
            content: Content::of(envelope.content).unwrap(),
            headers: Headers::of(*envelope),
        })
        .collect();
    let batch = read(&encode(&request));
    // Of the whole request nobody's: a version without one of its own would bear somebody else's.
    check(&batch["headers"], None);
    for (at, url) in urls.into_iter().enumerate() {
        check(&batch["messageVersions"][at]["headers"], Some(url));
    }
}

#[test]
fn an_answer_counts_only_when_it_names_what_was_sent() {
    let check = |body: &str, expected: Option<&str>| {
        assert_eq!(message_id(body.as_bytes()).as_deref(), expected, "{body}")
    };
    check(r#"{"messageId":"<1.2@relay>"}"#, Some("1.2@relay"));
    check(r#"{"messageId":"1.2@relay","more":[]}"#, Some("1.2@relay"));
    check(r#"{"messageId":"<>"}"#, None);
    check(r#"{"messageId":12}"#, None);
    check(r#"{"messageId":"a","messageId":"b"}"#, None);
    check(r#"{"messageIds":["a"]}"#, None);
    check(r#"{"messageId":"a"#, None);
    check("<html>", None);
    check("", None);
}

#[test]
fn a_batch_counts_only_with_one_id_a_member() {
    let ids = |count: usize| {
        json!({"messageIds": (0..count).map(|n| format!("<{n}@relay>")).collect::<Vec<_>>()})
            .to_string()
            .into_bytes()
    };
    assert_eq!(message_ids(&ids(3), 3).unwrap(), ["0@relay", "1@relay", "2@relay"]);
    assert_eq!(message_ids(&ids(2), 3), None);
    assert_eq!(message_ids(&ids(4), 3), None);
    assert_eq!(message_ids(br#"{"messageIds":["a","b","a"]}"#, 3), None);
    assert_eq!(message_ids(br#"{"messageIds":["a","b",3]}"#, 3), None);
    assert_eq!(message_ids(br#"{"messageId":"a"}"#, 3), None);
}

#[tokio::test]
async fn a_batch_that_is_too_large_or_of_another_channel_is_halved_without_being_sent() {
    let adapter = adapter();
    let large = mail(&"x".repeat(BATCH_BYTES / 4));
    let envelopes: Vec<_> =
        (1..4).map(|n| envelope(n, "a@example.com", MessageClass::Marketing, &large)).collect();
    assert_eq!(adapter.send_batch(KEY, &envelopes).await, BatchAnswer::Bisect);
    let sms = crate::providers::testing::sms("Hi");
    let wrong = [envelope(1, "a@example.com", MessageClass::Marketing, &sms)];
    assert_eq!(adapter.send_batch(KEY, &wrong).await, BatchAnswer::Bisect);
    assert!(matches!(adapter.send(wrong[0]).await.outcome, Outcome::Failed { .. }));
}
