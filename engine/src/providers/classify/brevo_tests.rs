use std::time::Duration;

use super::*;
use crate::{
    domain::outcome::Outcome,
    providers::{Effect, classify::Verdict},
};

/// The documented statuses, as retry marks: Y try again, N never, F fix the account, A nobody can tell.
const DOCUMENTED: &[(u16, char)] = &[
    (400, 'N'),
    (401, 'F'),
    (402, 'F'),
    (403, 'F'),
    (404, 'N'),
    (405, 'N'),
    (406, 'N'),
    (408, 'Y'),
    (409, 'Y'),
    (412, 'N'),
    (415, 'N'),
    (417, 'N'),
    (422, 'N'),
    (424, 'N'),
    (425, 'Y'),
    (429, 'Y'),
    (500, 'A'),
    (502, 'A'),
    (503, 'A'),
    (504, 'A'),
];

/// The documented codes: as above, and K for a key that was used before.
const DOCUMENTED_CODES: &[(&str, char)] = &[
    ("invalid_parameter", 'N'),
    ("missing_parameter", 'N'),
    ("out_of_range", 'N'),
    ("campaign_processing", 'N'),
    ("campaign_sent", 'N'),
    ("document_not_found", 'N'),
    ("not_enough_credits", 'F'),
    ("permission_denied", 'F'),
    ("duplicate_parameter", 'K'),
    ("duplicate_request", 'K'),
    ("method_not_allowed", 'N'),
    ("unauthorized", 'F'),
    ("account_under_validation", 'F'),
    ("not_acceptable", 'N'),
    ("bad_request", 'N'),
    ("unprocessable_entity", 'N'),
];

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, retry_after: None, quota: None, body: Ok(bytes::Bytes::copy_from_slice(body.as_bytes())) }
}

fn mark(answer: &Answer) -> char {
    match (&answer.outcome, answer.effect) {
        (Outcome::Failed { .. }, Effect::None) => 'N',
        (Outcome::Retry { burns_attempt: false, .. }, Effect::Blocked { .. }) => 'F',
        (Outcome::Retry { burns_attempt: false, .. }, Effect::Throttled { .. }) => 'Y',
        (Outcome::Retry { burns_attempt: true, .. }, Effect::None | Effect::Failing) => 'Y',
        (Outcome::Unknown { reason: Reason::KeyAlreadyUsed }, Effect::None) => 'K',
        (Outcome::Unknown { .. }, Effect::Failing) => 'A',
        other => panic!("no mark fits {other:?}"),
    }
}

#[test]
fn every_documented_status_has_its_row_and_every_row_is_documented() {
    for (status, expected) in DOCUMENTED {
        assert!(STATUSES.iter().any(|(known, _)| known == status), "{status} is documented but has no row");
        let answer = refusal(&reply(*status, r#"{"message":"no"}"#), Keys::Honoured);
        assert_eq!(mark(&answer), *expected, "{status}");
    }
    for (status, _) in STATUSES {
        assert!(
            DOCUMENTED.iter().any(|(known, _)| known == status),
            "{status} has a row but is not documented"
        );
    }
}

#[test]
fn every_documented_code_has_its_row_and_every_row_is_documented() {
    for (code, expected) in DOCUMENTED_CODES {
        assert!(CODES.iter().any(|(known, _)| known == code), "{code} is documented but has no row");
        let body = format!(r#"{{"code":"{code}","message":"no"}}"#);
        assert_eq!(mark(&refusal(&reply(400, &body), Keys::Honoured)), *expected, "{code}");
    }
    for (code, _) in CODES {
        assert!(
            DOCUMENTED_CODES.iter().any(|(known, _)| known == code),
            "{code} has a row but is not documented"
        );
    }
}

#[test]
fn pace_and_account_do_not_depend_on_the_code() {
    for (status, expected) in [(401, 'F'), (402, 'F'), (403, 'F'), (408, 'Y'), (429, 'Y'), (500, 'A')] {
        for (code, _) in DOCUMENTED_CODES {
            let body = format!(r#"{{"code":"{code}","message":"no"}}"#);
            assert_eq!(mark(&refusal(&reply(status, &body), Keys::Honoured)), expected, "{status} {code}");
        }
    }
}

#[test]
fn only_the_provider_itself_can_say_no_for_good() {
    for body in
        ["<html>Not here</html>", "", "[]", "{}", "{\"code\":7}", "null", "{\"code\":\"x\",\"code\":\"y\"}"]
    {
        for (status, _) in STATUSES {
            let answer = refusal(&reply(*status, body), Keys::Honoured);
            assert_ne!(mark(&answer), 'N', "{status} {body}");
        }
    }
    let broken = Reply { body: Err(Reason::TimedOut), ..reply(400, "") };
    assert_eq!(mark(&refusal(&broken, Keys::Honoured)), 'Y');
}

#[test]
fn a_503_that_says_when_to_come_back_was_not_taken() {
    let later = Some(Duration::from_secs(7));
    let answer = refusal(&Reply { retry_after: later, ..reply(503, "") }, Keys::Honoured);
    let expected = Outcome::Retry { reason: Reason::ProviderUnavailable, after: later, burns_attempt: true };
    assert_eq!((answer.outcome, answer.effect), (expected, Effect::Failing));
    let throttled = refusal(&Reply { retry_after: later, ..reply(429, "") }, Keys::Honoured);
    assert_eq!(throttled.effect, Effect::Throttled { retry_after: later });
}

#[test]
fn the_sentence_tells_whose_fault_an_invalid_parameter_is() {
    let check = |message: &str, expected: Verdict| {
        let body = serde_json::json!({"code": "invalid_parameter", "message": message}).to_string();
        let outcome = refusal(&reply(400, &body), Keys::Honoured).outcome;
        assert_eq!(outcome.reason(), Some(expected.reason()), "{message}");
    };
    check("email is not valid in to", Refused(Reason::RecipientRejected));
    check("Invalid phone number", Refused(Reason::RecipientRejected));
    check("sender is not valid", Blocked);
    // Words inside an address are not words of the provider.
    check("sender@example.com is not valid in to", Refused(Reason::RecipientRejected));
    check("htmlContent is empty", Refused(Reason::ContentRejected));
}

#[test]
fn without_keys_a_duplicate_is_a_refusal() {
    let body = r#"{"code":"duplicate_parameter","message":"no"}"#;
    assert_eq!(mark(&refusal(&reply(400, body), Keys::None)), 'N');
}
