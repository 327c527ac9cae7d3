use super::*;
use crate::{domain::outcome::Outcome, providers::Effect};

/// The documented list, as retry marks: Y try again, N never, F fix the account, T renew the token, W wait long,
/// FY fix, but once more is worth it, FT fix something that is not the account.
const DOCUMENTED: &[(&str, &str)] = &[
    ("0 190 104", "T"),
    ("1 2", "Y"),
    ("3 10 200-299 131005", "F"),
    ("4", "Y"),
    ("80007", "Y"),
    ("130429", "Y"),
    ("131056", "Y"),
    ("131048", "W"),
    ("131064", "W"),
    ("133016", "F"), // registering too often: hours to days, for the whole number
    ("131000 131016 131057 135000", "Y"),
    ("33 100 131008 131009", "N"),
    ("131021", "N"),
    ("131026", "N"),
    ("131030", "N"),
    ("131047", "N"),
    ("131049", "N"),
    ("131050", "N"),
    ("131051", "N"),
    ("131052 131053", "FY"),
    ("130472", "N"),
    ("131031 368 130497 131037 131042 131044 131045", "F"),
    ("131062", "N"),
    ("131063", "F"),
    ("132000", "N"),
    ("132001", "N"),
    ("132005 132007 132008 132012", "N"),
    ("132015", "W"),
    ("132016", "N"),
    ("132068", "FT"),
    ("132069", "W"),
    ("133000 133005 133006 133008 133009 133010 133015", "F"),
    ("133004", "Y"),
    ("134011", "F"),
    ("134101 134102", "Y"),
    ("137000", "N"),
    ("2593107 2593108", "F"),
];

fn documented() -> impl Iterator<Item = (i64, &'static str)> {
    DOCUMENTED.iter().flat_map(|(codes, mark)| {
        codes.split(' ').flat_map(move |codes| {
            let (from, to) = codes.split_once('-').unwrap_or((codes, codes));
            (from.parse::<i64>().unwrap()..=to.parse().unwrap()).map(move |code| (code, *mark))
        })
    })
}

#[test]
fn every_documented_code_has_its_row_and_every_row_is_documented() {
    for (code, mark) in documented() {
        let verdict = by_code(code).unwrap_or_else(|| panic!("{code} is documented but has no row"));
        let sound = match mark {
            "Y" => matches!(verdict, Trouble(_) | Throttled(_) | Again(..)),
            "N" => matches!(verdict, Refused(_) | Suppressed(_)),
            "F" | "T" => verdict == Blocked,
            "FY" | "FT" => matches!(verdict, Again(..)),
            "W" => matches!(verdict, Throttled(HOUR) | Again(_, HOUR)),
            _ => panic!("unknown mark {mark}"),
        };
        assert!(sound, "{code} is {mark}, but {verdict:?}");
    }
    let known: Vec<i64> = documented().map(|(code, _)| code).collect();
    for &(from, to, _) in CODES {
        for code in from..=to {
            assert!(known.contains(&code), "{code} has a row but is not documented");
            assert_eq!(
                CODES.iter().filter(|(a, b, _)| (*a..=*b).contains(&code)).count(),
                1,
                "{code} has two rows"
            );
        }
    }
}

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, retry_after: None, quota: None, body: Ok(bytes::Bytes::copy_from_slice(body.as_bytes())) }
}

fn error(code: i64) -> String {
    serde_json::json!({"error": {"message": format!("(#{code}) No, +23052345678"), "code": code, "fbtrace_id": "A"}}).to_string()
}

#[test]
fn the_code_decides_and_the_status_only_without_one() {
    let again = |reason, after: u64, burns_attempt| Outcome::Retry {
        reason,
        after: (after > 0).then(|| Duration::from_secs(after)),
        burns_attempt,
    };
    for (status, body, expected) in [
        (400, error(130429), again(Reason::Throttled, 0, false)),
        (
            500,
            error(131026),
            Outcome::Failed {
                reason: Reason::NotOnChannel,
                detail: Some("131026: (#131026) No, +230…78".into()),
            },
        ),
        (400, error(131050), Outcome::Suppressed { reason: Reason::Unsubscribed }),
        (500, error(1), again(Reason::ProviderUnavailable, 0, true)),
        (400, error(131056), again(Reason::PairLimited, 6, true)),
        (401, error(190), again(Reason::AccountBlocked, 0, false)),
        (
            400,
            error(999_999),
            Outcome::Failed {
                reason: Reason::ContentRejected,
                detail: Some("999999: (#999999) No, +230…78".into()),
            },
        ),
        (429, error(999_999), again(Reason::Throttled, 0, false)),
        (500, error(999_999), Outcome::Unknown { reason: Reason::GatewayError }),
        (
            400,
            r#"{"error":{"code":999999,"is_transient":true}}"#.into(),
            again(Reason::ProviderUnavailable, 0, true),
        ),
        (502, "<html>".into(), Outcome::Unknown { reason: Reason::GatewayError }),
        (401, "<html>".into(), again(Reason::AccountBlocked, 0, false)),
        (429, String::new(), again(Reason::Throttled, 0, false)),
        (400, r#"{"error":"?"}"#.into(), again(Reason::ProviderUnavailable, 0, true)),
    ] {
        assert_eq!(refusal(&reply(status, &body)).outcome, expected, "{status} {body}");
    }
}

#[test]
fn a_number_that_is_not_on_whatsapp_says_nothing_about_the_account() {
    assert_eq!(refusal(&reply(400, &error(131026))).effect, Effect::None);
    assert_eq!(refusal(&reply(400, &error(368))).effect, Effect::Blocked { reason: Reason::AccountBlocked });
    let hour = Some(Duration::from_secs(HOUR));
    assert_eq!(refusal(&reply(400, &error(131048))).effect, Effect::Throttled { retry_after: hour });
}
