use serde_json::json;

use super::*;
use crate::{domain::event::EventKind, providers::testing::message};

fn sought(n: i32, to: &str) -> Sought {
    Sought { message: message(n), to: to.to_owned() }
}

fn check(sought: &[Sought], event: Value, expected: Option<(i32, EventKind)>) {
    let body = json!({"events": [event]}).to_string();
    let found = Index::of(sought).events(body.as_bytes()).unwrap();
    assert_eq!(found.first().map(|event| (event.message.n, event.kind)), expected, "{body}");
}

fn event(kind: &str, email: &str, tag: &str) -> Value {
    json!({"date": "2026-11-20T16:30:00.000Z", "email": email, "event": kind, "messageId": "<1@relay>", "tag": tag})
}

#[test]
fn an_event_finds_its_message_by_id_or_by_slice_and_address() {
    let both = [sought(7, "ann@example.com"), sought(501, "bob@example.com")];
    let (seven, slice) = (message(7).to_string(), slice_tag(message(7)));
    check(&both, event("delivered", "ann@example.com", &seven), Some((7, EventKind::Delivered)));
    check(&both, event("requests", "Ann@Example.com", &slice), Some((7, EventKind::Sent)));
    check(
        &both,
        event("hardBounces", "bob@example.com", &slice_tag(message(501))),
        Some((501, EventKind::Bounced)),
    );
    check(
        &both,
        event("requests", "ann@example.com", &format!("[\"x\",\"{slice}\"]")),
        Some((7, EventKind::Sent)),
    );
    check(&both, event("requests", "ann@example.com", &format!("x,{slice}")), Some((7, EventKind::Sent)));
    // Another message to the same person, whether alone or of another slice, proves nothing.
    check(&both, event("delivered", "ann@example.com", &message(8).to_string()), None);
    check(&both, event("delivered", "bob@example.com", &slice), None);
    check(&both, event("delivered", "ann@example.com", ""), None);
    check(&both, event("unheard", "ann@example.com", &seven), None);
}

#[test]
fn an_answer_without_events_is_no_error_and_html_is() {
    let index = Index::of(&[]);
    assert_eq!(index.events(b"{}"), Some(Vec::new()));
    assert_eq!(index.events(b"{\"events\":[]}"), Some(Vec::new()));
    assert_eq!(index.events(b"<html>"), None);
}

#[test]
fn a_batch_names_its_slices_unless_they_are_many() {
    let tags = |numbers: &[i32]| batch_tags(numbers.iter().map(|&n| message(n)));
    assert_eq!(tags(&[1, 499, 500]), [slice_tag(message(1)), slice_tag(message(500))]);
    let scattered: Vec<i32> = (0..=10).map(|slice| slice * SLICE).collect();
    assert_eq!(tags(&scattered), Vec::<String>::new());
}

#[test]
fn a_question_fits_into_a_url() {
    let many: Vec<Sought> = (0..80).map(|n| sought(n * SLICE, "somebody@example.com")).collect();
    assert_eq!(many.len(), LIMIT);
    let tags = serde_json::to_string(&Index::of(&many).tags()).unwrap();
    let mut url: url::Url = "https://api.brevo.com/v3/smtp/statistics/events".parse().unwrap();
    url.query_pairs_mut().append_pair("tags", &tags);
    assert!(url.as_str().len() < 8_000, "{}", url.as_str().len());
}
