//! The error codes of the WhatsApp Cloud API. The code decides, never the text and not the HTTP status, which differs
//! from page to page of the documentation; the status counts only where no code came, or one that nobody documented.

use std::time::Duration;

use serde::Deserialize;

use super::{Answer, Said, Verdict, by_status, words};
use crate::{domain::outcome::Reason, providers::http::Reply};

use Verdict::{Again, Blocked, Refused, Suppressed, Throttled, Trouble};

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;

/// Codes from the first to the second number, and what they mean.
pub(super) const CODES: &[(i64, i64, Verdict)] = &[
    // The token, or what it may do.
    (0, 0, Blocked),
    (3, 3, Blocked),
    (10, 10, Blocked),
    (104, 104, Blocked),
    (190, 190, Blocked),
    (200, 299, Blocked),
    (131005, 131005, Blocked),
    // Pace.
    (4, 4, Throttled(MINUTE)),
    (80007, 80007, Throttled(MINUTE)),
    (130429, 130429, Throttled(0)),
    (131048, 131048, Throttled(HOUR)),
    (131064, 131064, Throttled(HOUR)),
    // One pair of numbers only: the schedule's growing waits are what is asked for.
    (131056, 131056, Again(Reason::PairLimited, 6)),
    // Their trouble.
    (1, 2, Trouble(0)),
    (131000, 131000, Trouble(0)),
    (131016, 131016, Trouble(0)),
    (131057, 131057, Trouble(MINUTE)),
    (133004, 133004, Trouble(0)),
    (135000, 135000, Trouble(0)),
    // The request.
    (33, 33, Refused(Reason::ContentRejected)),
    (100, 100, Refused(Reason::ContentRejected)),
    (131008, 131009, Refused(Reason::ContentRejected)),
    (131051, 131051, Refused(Reason::ContentRejected)),
    (131052, 131053, Again(Reason::ContentRejected, MINUTE)),
    // The recipient.
    (130472, 130472, Refused(Reason::ProviderExperiment)),
    (131021, 131021, Refused(Reason::RecipientRejected)),
    (131026, 131026, Refused(Reason::NotOnChannel)),
    (131030, 131030, Refused(Reason::RecipientRejected)),
    (131047, 131047, Refused(Reason::WindowClosed)),
    (131049, 131049, Refused(Reason::FrequencyLimited)),
    (131050, 131050, Suppressed(Reason::Unsubscribed)),
    (131062, 131062, Refused(Reason::RecipientRejected)),
    (137000, 137000, Refused(Reason::RecipientRejected)),
    // The template. Paused, blocked or throttled ones come back: the schedule waits for them, other templates go on.
    (132000, 132001, Refused(Reason::TemplateRejected)),
    (132005, 132005, Refused(Reason::TemplateRejected)),
    (132007, 132008, Refused(Reason::TemplateRejected)),
    (132012, 132012, Refused(Reason::TemplateRejected)),
    (132015, 132015, Again(Reason::TemplatePaused, HOUR)),
    (132016, 132016, Refused(Reason::TemplateRejected)),
    (132068, 132069, Again(Reason::TemplatePaused, HOUR)),
    (134101, 134102, Again(Reason::TemplatePaused, MINUTE)),
    // The account: lock, policy, country, display name, payment, certificate, registration.
    (368, 368, Blocked),
    (130497, 130497, Blocked),
    (131031, 131031, Blocked),
    (131037, 131037, Blocked),
    (131042, 131042, Blocked),
    (131044, 131045, Blocked),
    (131063, 131063, Blocked),
    (133000, 133000, Blocked),
    (133005, 133006, Blocked),
    (133008, 133010, Blocked),
    (133015, 133016, Blocked),
    (134011, 134011, Blocked),
    (2593107, 2593108, Blocked),
];

/// What a code means; `None` when it is not documented.
pub(crate) fn by_code(code: i64) -> Option<Verdict> {
    CODES.iter().find(|(from, to, _)| (*from..=*to).contains(&code)).map(|(_, _, verdict)| *verdict)
}

#[derive(Deserialize)]
struct ErrorBody {
    error: GraphError,
}

#[derive(Deserialize)]
struct GraphError {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    is_transient: bool,
}

/// What an answer that is not 2xx means.
pub(crate) fn refusal(reply: &Reply) -> Answer {
    let body = reply.body.as_deref().unwrap_or_default();
    let Ok(ErrorBody { error }) = serde_json::from_slice(body) else {
        return by_status(reply.status, reply.retry_after).answer(Said::of(reply, None));
    };
    let verdict =
        by_code(error.code).unwrap_or_else(|| undocumented(&error, reply.status, reply.retry_after));
    verdict.answer(Said::of(reply, words(&error.code.to_string(), &error.message)))
}

fn undocumented(error: &GraphError, status: u16, retry_after: Option<Duration>) -> Verdict {
    match status {
        _ if error.is_transient => Trouble(0),
        401..=403 | 408 | 429 | 500.. => by_status(status, retry_after),
        _ => Refused(Reason::ContentRejected),
    }
}

#[cfg(test)]
#[path = "whatsapp_tests.rs"]
mod tests;
