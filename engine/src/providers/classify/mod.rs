//! What a provider's answer means: tables of data, one a provider, and the one reading of them.
//!
//! A row holds a [`Verdict`]; what a verdict does to message, schedule and account stands in [`Verdict::answer`] alone.
//! The tests hold the providers' documented lists and fail when a row is missing on either side.

pub(super) mod brevo;
pub(super) mod whatsapp;

use std::time::Duration;

use super::{
    Answer, Effect, Quota,
    http::{Reply, SendError},
};
use crate::domain::{
    address::without_addresses,
    outcome::{Outcome, Reason},
};

/// What an answer says, before its Retry-After and words are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No, for good, because of this message.
    Refused(Reason),
    /// The recipient must not be written to.
    Suppressed(Reason),
    /// No, because of the account: nobody's fault among the recipients, who wait.
    Blocked,
    /// Too fast. Seconds to wait when the provider does not say; 0: as the limiter sees fit.
    Throttled(u64),
    /// Certainly not sent, may be tried again by the schedule, not before so many seconds.
    Again(Reason, u64),
    /// As `Again`, and the provider is in trouble.
    Trouble(u64),
    /// Perhaps sent.
    Ambiguous(Reason),
    /// The same request was accepted before; how it ended is not said.
    KeyUsed,
}

impl Verdict {
    /// The reason of a refusal that comes later, in an event.
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::Refused(reason)
            | Self::Suppressed(reason)
            | Self::Again(reason, _)
            | Self::Ambiguous(reason) => reason,
            Self::Blocked => Reason::AccountBlocked,
            Self::Throttled(_) => Reason::Throttled,
            Self::Trouble(_) => Reason::ProviderUnavailable,
            Self::KeyUsed => Reason::KeyAlreadyUsed,
        }
    }

    pub(super) fn answer(self, said: Said) -> Answer {
        let Said { retry_after, quota, words } = said;
        let wait = |seconds: u64| retry_after.or_else(|| (seconds > 0).then(|| Duration::from_secs(seconds)));
        let retry = |reason, after, burns_attempt| Outcome::Retry { reason, after, burns_attempt };
        let (outcome, effect) = match self {
            Self::Refused(reason) => (Outcome::Failed { reason, detail: words.clone() }, Effect::None),
            Self::Suppressed(reason) => (Outcome::Suppressed { reason }, Effect::None),
            Self::Blocked => {
                let reason = Reason::AccountBlocked;
                (retry(reason, retry_after, false), Effect::Blocked { reason })
            }
            Self::Throttled(seconds) => {
                let after = wait(seconds);
                (retry(Reason::Throttled, after, false), Effect::Throttled { retry_after: after })
            }
            Self::Again(reason, seconds) => (retry(reason, wait(seconds), true), Effect::None),
            Self::Trouble(seconds) => {
                (retry(Reason::ProviderUnavailable, wait(seconds), true), Effect::Failing)
            }
            Self::Ambiguous(reason) => (Outcome::Unknown { reason }, Effect::Failing),
            Self::KeyUsed => (Outcome::Unknown { reason: Reason::KeyAlreadyUsed }, Effect::None),
        };
        Answer { outcome, effect, quota, words, stop: None }
    }
}

/// What came with a verdict.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub(super) retry_after: Option<Duration>,
    pub(super) quota: Option<Quota>,
    pub(super) words: Option<String>,
}

impl Said {
    pub(super) fn of(reply: &Reply, words: Option<String>) -> Self {
        Self { retry_after: reply.retry_after, quota: reply.quota, words }
    }
}

/// A 2xx that was understood.
pub(super) const fn accepted(provider_id: String, quota: Option<Quota>) -> Answer {
    Answer {
        outcome: Outcome::Accepted { provider_id: Some(provider_id) },
        effect: Effect::None,
        quota,
        words: None,
        stop: None,
    }
}

/// A 2xx that was not: the message may be on its way.
pub(super) fn unreadable(reply: &Reply) -> Answer {
    let reason = reply.body.as_ref().err().copied().unwrap_or(Reason::UnreadableAnswer);
    Verdict::Ambiguous(reason).answer(Said::of(reply, None))
}

/// No answer came at all.
pub(super) fn no_answer(error: SendError) -> Answer {
    match error {
        SendError::NotSent => Answer {
            outcome: Outcome::Retry { reason: Reason::NotConnected, after: None, burns_attempt: true },
            effect: Effect::Failing,
            quota: None,
            words: None,
            stop: None,
        },
        SendError::Ambiguous(reason) => Verdict::Ambiguous(reason).answer(Said::default()),
    }
}

/// The content is not of this adapter's channel: a fault of ours, told as a refusal so that it is seen.
pub(super) fn wrong_content(expected: &str) -> Answer {
    let words = Some(format!("this account sends {expected} only"));
    Verdict::Refused(Reason::ContentRejected).answer(Said { words, ..Said::default() })
}

/// What holds for a status whose body is not the provider's own: a gateway on the way answered.
pub(super) const fn by_status(status: u16, retry_after: Option<Duration>) -> Verdict {
    match status {
        401..=403 => Verdict::Blocked,
        408 | 429 => Verdict::Throttled(0),
        // It says when to come back: it has not taken the request.
        503 if retry_after.is_some() => Verdict::Trouble(0),
        500.. => Verdict::Ambiguous(Reason::GatewayError),
        // Not taken, but not the provider's word either: a permanent "no" has to come from the provider itself.
        _ => Verdict::Trouble(0),
    }
}

/// A code and a sentence of the provider, fit to be stored.
pub(super) fn words(code: &str, message: &str) -> Option<String> {
    let message = without_addresses(message);
    match (code.is_empty(), message.is_empty()) {
        (true, true) => None,
        (false, false) => Some(format!("{code}: {message}")),
        _ => Some(format!("{code}{message}")),
    }
}
