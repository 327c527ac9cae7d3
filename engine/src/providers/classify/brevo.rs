//! Brevo's refusals. Statuses that speak of the account or the pace decide alone; for the others the error code does.

use serde::Deserialize;

use super::{Answer, Said, Verdict, by_status, words};
use crate::{domain::outcome::Reason, providers::http::Reply};

use Verdict::{Again, Blocked, KeyUsed, Refused, Throttled};

/// What a status means. `ByCode`: look at the error code, and only without a known one take the verdict beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Always(Verdict),
    ByCode(Verdict),
    /// 5xx: see [`by_status`].
    Gateway,
}

use Rule::{Always, ByCode, Gateway};

pub(super) const STATUSES: &[(u16, Rule)] = &[
    (400, ByCode(Refused(Reason::ContentRejected))),
    (401, Always(Blocked)),
    (402, Always(Blocked)),
    (403, Always(Blocked)),
    (404, ByCode(Refused(Reason::ContentRejected))),
    (405, ByCode(Refused(Reason::ContentRejected))),
    (406, ByCode(Refused(Reason::ContentRejected))),
    (408, Always(Throttled(0))),
    (409, ByCode(Again(Reason::ProviderUnavailable, 0))),
    (412, ByCode(Refused(Reason::ContentRejected))),
    (415, ByCode(Refused(Reason::ContentRejected))),
    (417, ByCode(Refused(Reason::ContentRejected))),
    (422, ByCode(Refused(Reason::ContentRejected))),
    (424, ByCode(Refused(Reason::ContentRejected))),
    (425, Always(Again(Reason::ProviderUnavailable, 0))),
    (429, Always(Throttled(0))),
    (500, Gateway),
    (502, Gateway),
    (503, Gateway),
    (504, Gateway),
];

pub(super) const CODES: &[(&str, Verdict)] = &[
    ("account_under_validation", Blocked),
    ("bad_request", Refused(Reason::ContentRejected)),
    ("campaign_processing", Refused(Reason::ContentRejected)),
    ("campaign_sent", Refused(Reason::ContentRejected)),
    ("document_not_found", Refused(Reason::ContentRejected)),
    ("duplicate_parameter", KeyUsed),
    ("duplicate_request", KeyUsed),
    ("invalid_parameter", Refused(Reason::ContentRejected)),
    ("method_not_allowed", Refused(Reason::ContentRejected)),
    ("missing_parameter", Refused(Reason::ContentRejected)),
    ("not_acceptable", Refused(Reason::ContentRejected)),
    ("not_enough_credits", Blocked),
    ("out_of_range", Refused(Reason::ContentRejected)),
    ("permission_denied", Blocked),
    ("unauthorized", Blocked),
    ("unprocessable_entity", Refused(Reason::ContentRejected)),
];

/// `invalid_parameter` does not say of what; the sentence beside it names the field. What it can change is limited: the
/// recipient instead of the content, and the sender, which is the account's fault and would otherwise fail everybody.
const FIELDS: &[(&str, Verdict)] = &[
    ("sender", Blocked),
    ("in to", Refused(Reason::RecipientRejected)),
    ("recipient", Refused(Reason::RecipientRejected)),
    ("phone number", Refused(Reason::RecipientRejected)),
];

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// Whether requests to this endpoint bear an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    Honoured,
    None,
}

/// What an answer that is not 2xx means.
pub(crate) fn refusal(reply: &Reply, keys: Keys) -> Answer {
    let body = reply.body.as_deref().unwrap_or_default();
    let error =
        serde_json::from_slice::<ErrorBody>(body).ok().filter(|e| e.code.is_some() || e.message.is_some());
    let Some(error) = error else {
        return by_status(reply.status, reply.retry_after).answer(Said::of(reply, None));
    };
    let code = error.code.unwrap_or_default();
    let words = words(&code, &error.message.unwrap_or_default());
    let verdict = verdict(reply, &code, words.as_deref().unwrap_or_default());
    let verdict =
        if verdict == KeyUsed && keys == Keys::None { Refused(Reason::ContentRejected) } else { verdict };
    verdict.answer(Said::of(reply, words))
}

fn verdict(reply: &Reply, code: &str, words: &str) -> Verdict {
    let rule = STATUSES.iter().find(|(status, _)| *status == reply.status).map(|(_, rule)| *rule);
    let otherwise = match (rule, reply.status) {
        (Some(Always(verdict)), _) => return verdict,
        (Some(ByCode(verdict)), _) => verdict,
        (None, 400..500) => Refused(Reason::ContentRejected),
        (Some(Gateway) | None, status) => return by_status(status, reply.retry_after),
    };
    let known =
        CODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)).map_or(otherwise, |(_, v)| *v);
    if code != "invalid_parameter" {
        return known;
    }
    let words = words.to_lowercase();
    FIELDS.iter().find(|(field, _)| words.contains(field)).map_or(known, |(_, verdict)| *verdict)
}

#[cfg(test)]
#[path = "brevo_tests.rs"]
mod tests;
