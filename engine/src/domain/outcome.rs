//! What one attempt at a provider came to, and why.

use std::time::Duration;

use super::channel::text_enum;

text_enum! {
    /// Why a message was not (yet) accepted: a closed set, so that it can be counted and translated.
    Reason {
        // Suppressed: it was right not to send.
        NoAddress => "no_address",
        InvalidAddress => "invalid_address",
        DuplicateAddress => "duplicate_address",
        DuplicateBusinessKey => "duplicate_business_key",
        Unsubscribed => "unsubscribed",
        NoConsent => "no_consent",
        NotPreferred => "not_preferred",
        Bounced => "bounced",
        Complained => "complained",
        BlockedByProvider => "blocked_by_provider",
        Erased => "erased",
        Cancelled => "cancelled",
        MissingVariable => "missing_variable",
        NotAllowListed => "not_allow_listed",
        // Failed: the provider, or our own check of the content, said no for good.
        RenderFailed => "render_failed",
        ContentRejected => "content_rejected",
        TemplateRejected => "template_rejected",
        RecipientRejected => "recipient_rejected",
        NotOnChannel => "not_on_channel",
        WindowClosed => "window_closed",
        FrequencyLimited => "frequency_limited",
        ProviderExperiment => "provider_experiment",
        RetriesExhausted => "retries_exhausted",
        TooOld => "too_old",
        NoAccount => "no_account",
        // Retry: not now.
        Throttled => "throttled",
        PairLimited => "pair_limited",
        PeopleLimited => "people_limited",
        TemplatePaused => "template_paused",
        ProviderUnavailable => "provider_unavailable",
        NotConnected => "not_connected",
        AccountBlocked => "account_blocked",
        // Unknown: bytes were written and nobody can tell what became of them.
        TimedOut => "timed_out",
        ConnectionLost => "connection_lost",
        GatewayError => "gateway_error",
        UnreadableAnswer => "unreadable_answer",
        KeyAlreadyUsed => "key_already_used",
        WorkerDied => "worker_died",
        // Abandoned: unknown until its deadline.
        Unconfirmed => "unconfirmed",
    }
}

impl Reason {
    /// One sentence for the person who asks why somebody was not written to.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NoAddress => "the contact has no address on this channel",
            Self::InvalidAddress => "the provider says that the address is not valid",
            Self::DuplicateAddress => "another recipient of this campaign has the same address",
            Self::DuplicateBusinessKey => "a message with the same business key was accepted before",
            Self::Unsubscribed => "the recipient unsubscribed",
            Self::NoConsent => "the recipient has not agreed to marketing on this channel",
            Self::NotPreferred => "the recipient named other channels on which they want marketing",
            Self::Bounced => "earlier mail to this address bounced for good",
            Self::Complained => "the recipient reported an earlier message as spam",
            Self::BlockedByProvider => "the provider blocks this address",
            Self::Erased => "the contact was erased",
            Self::Cancelled => "the campaign was cancelled before this message left",
            Self::MissingVariable => "the contact lacks a value that the template needs",
            Self::NotAllowListed => {
                "the campaign was made outside production, and this address is not on the allow-list"
            }
            Self::RenderFailed => "the template could not be rendered with this contact's values",
            Self::ContentRejected => "the provider refused the content",
            Self::TemplateRejected => "the provider refused the template or its parameters",
            Self::RecipientRejected => "the provider refused the recipient",
            Self::NotOnChannel => "the number is not reachable on this channel",
            Self::WindowClosed => "the 24-hour window of this conversation is closed: use a template",
            Self::FrequencyLimited => "the provider limits how often this person gets marketing",
            Self::ProviderExperiment => {
                "the provider keeps marketing from this person for an experiment of its own"
            }
            Self::RetriesExhausted => "every try in the retry schedule failed",
            Self::TooOld => "it was too old to be worth sending",
            Self::NoAccount => "no provider account serves this channel",
            Self::Throttled => "the provider asked to slow down",
            Self::PairLimited => "too many messages to this number in a short time",
            Self::PeopleLimited => "the account has written to as many people as it may in 24 hours",
            Self::TemplatePaused => "the provider has paused the template",
            Self::ProviderUnavailable => "the provider was unavailable",
            Self::NotConnected => "no connection to the provider could be made",
            Self::AccountBlocked => "the provider refuses the account: check its key, credit and permissions",
            Self::TimedOut => "the provider did not answer in time; the message may have been sent",
            Self::ConnectionLost => {
                "the connection broke after the request was written; the message may have been sent"
            }
            Self::GatewayError => "the provider's gateway failed; the message may have been sent",
            Self::UnreadableAnswer => {
                "the provider's answer could not be read; the message may have been sent"
            }
            Self::KeyAlreadyUsed => {
                "the provider had accepted this request before; its confirmation is awaited"
            }
            Self::WorkerDied => "a worker died between writing the request and recording its answer",
            Self::Unconfirmed => "no confirmation came before the deadline",
        }
    }
}

/// The fate of one attempt. The error carries the decision: who understands the provider's answer also decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it. `provider_id` is absent where the provider confirmed without one.
    Accepted { provider_id: Option<String> },
    /// Certainly not sent; may be tried again.
    Retry { reason: Reason, after: Option<Duration>, burns_attempt: bool },
    /// Certainly not sent, and never will be.
    Failed { reason: Reason, detail: Option<String> },
    /// Not sent because the recipient must not be written to.
    Suppressed { reason: Reason },
    /// Perhaps sent: resolved by a webhook, a look-up or its deadline, never by a blind resend.
    Unknown { reason: Reason },
    /// Was unknown until its deadline.
    Abandoned { reason: Reason },
}

/// How a fact about an attempt is stored; see [`FactKind::PRECEDENCE`] for what holds when several are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type)]
#[repr(i16)]
pub enum FactKind {
    Accepted = 0,
    Retry = 1,
    Failed = 2,
    Suppressed = 3,
    Unknown = 4,
    Abandoned = 5,
}

impl FactKind {
    /// Of several facts about one attempt the first of these holds. A message that moved on is counted where it went; an
    /// acceptance beats whatever was supposed in the meantime, and what is certain beats `unknown`.
    pub const PRECEDENCE: [Self; 6] =
        [Self::Retry, Self::Accepted, Self::Failed, Self::Suppressed, Self::Abandoned, Self::Unknown];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Retry => "retry",
            Self::Failed => "failed",
            Self::Suppressed => "suppressed",
            Self::Unknown => "unknown",
            Self::Abandoned => "abandoned",
        }
    }
}

impl Outcome {
    pub const fn kind(&self) -> FactKind {
        match self {
            Self::Accepted { .. } => FactKind::Accepted,
            Self::Retry { .. } => FactKind::Retry,
            Self::Failed { .. } => FactKind::Failed,
            Self::Suppressed { .. } => FactKind::Suppressed,
            Self::Unknown { .. } => FactKind::Unknown,
            Self::Abandoned { .. } => FactKind::Abandoned,
        }
    }

    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Accepted { .. } => None,
            Self::Retry { reason, .. }
            | Self::Failed { reason, .. }
            | Self::Suppressed { reason }
            | Self::Unknown { reason }
            | Self::Abandoned { reason } => Some(*reason),
        }
    }

    pub const fn failed(reason: Reason) -> Self {
        Self::Failed { reason, detail: None }
    }
}
