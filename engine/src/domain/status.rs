//! What callers are told of a message: one word out of its facts and events.
//!
//! Inside, a message has no state: it has a recipient, facts about attempts, and events. These projections are fixed: other
//! systems decide by their words. Lists of recipients tell a little more than where a message is, and never something else.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::{
    channel::text_enum,
    event::{DeliveryState, EventKind},
    outcome::{FactKind, Reason},
};

text_enum! {
    /// Where a message is.
    MessageStatus {
        /// Taken in for later.
        Scheduled => "scheduled",
        /// Taken in, and not accepted by a provider yet.
        Queued => "queued",
        /// A provider accepted it.
        Sent => "sent",
        Delivered => "delivered",
        /// Opened, read, clicked or answered.
        Read => "read",
        /// A provider refused it for good, it could not be made, or it bounced.
        Failed => "failed",
        /// It was right not to send it.
        Suppressed => "suppressed",
        Cancelled => "cancelled",
        /// Perhaps sent; nobody could tell so far, or ever.
        Unknown => "unknown",
    }
}

text_enum! {
    /// What became of a recipient.
    RecipientState {
        /// Left out when the audience was frozen.
        Excluded => "excluded",
        /// Has not been tried, or is to be tried again.
        Waiting => "waiting",
        /// A provider took the message.
        Accepted => "accepted",
        /// The provider said that it is on its way.
        Sent => "sent",
        Delivered => "delivered",
        Read => "read",
        Failed => "failed",
        /// Right before the send, or by a cancel.
        Suppressed => "suppressed",
        /// Perhaps sent; nobody could tell so far.
        Unknown => "unknown",
        /// Nobody could ever tell.
        Abandoned => "abandoned",
    }
}

/// What is known of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptFact {
    pub attempt: i16,
    pub kind: FactKind,
    pub reason: Option<Reason>,
}

impl AttemptFact {
    /// The fact that speaks for the message: an acceptance of any attempt, else what holds of the last attempt.
    pub fn speaking(facts: &[Self]) -> Option<Self> {
        let certainty = |kind| FactKind::PRECEDENCE.iter().position(|known| *known == kind);
        facts
            .iter()
            .copied()
            .min_by_key(|fact| (fact.kind != FactKind::Accepted, Reverse(fact.attempt), certainty(fact.kind)))
    }
}

/// All that the projection looks at.
#[derive(Debug, Clone, Default)]
pub struct Known<'a> {
    /// Never sent to, for this reason.
    pub excluded: Option<Reason>,
    pub facts: &'a [AttemptFact],
    pub events: &'a [(EventKind, Timestamp)],
    /// It is not due yet.
    pub scheduled: bool,
}

/// Where a message stands: what its events come to, and the fact that speaks for it.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub excluded: Option<Reason>,
    pub speaks: Option<AttemptFact>,
    pub delivery: DeliveryState,
    pub scheduled: bool,
}

impl Standing {
    /// An event speaks before any fact: a webhook may come before the answer that it is about.
    pub fn status(&self) -> MessageStatus {
        match self.delivery {
            DeliveryState::Read => MessageStatus::Read,
            DeliveryState::Delivered => MessageStatus::Delivered,
            DeliveryState::Failed => MessageStatus::Failed,
            DeliveryState::Sent => MessageStatus::Sent,
            DeliveryState::Accepted => self.of_attempts(),
        }
    }

    fn of_attempts(&self) -> MessageStatus {
        if self.excluded.is_some() {
            return MessageStatus::Suppressed;
        }
        match self.speaks {
            Some(AttemptFact { kind: FactKind::Accepted, .. }) => MessageStatus::Sent,
            Some(AttemptFact { kind: FactKind::Failed, .. }) => MessageStatus::Failed,
            Some(AttemptFact { kind: FactKind::Suppressed, reason: Some(Reason::Cancelled), .. }) => {
                MessageStatus::Cancelled
            }
            Some(AttemptFact { kind: FactKind::Suppressed, .. }) => MessageStatus::Suppressed,
            Some(AttemptFact { kind: FactKind::Unknown | FactKind::Abandoned, .. }) => MessageStatus::Unknown,
            None if self.scheduled => MessageStatus::Scheduled,
            Some(AttemptFact { kind: FactKind::Retry, .. }) | None => MessageStatus::Queued,
        }
    }

    /// The same as lists of recipients tell it.
    pub fn state(&self) -> RecipientState {
        match self.status() {
            MessageStatus::Scheduled | MessageStatus::Queued => RecipientState::Waiting,
            MessageStatus::Sent if self.delivery == DeliveryState::Accepted => RecipientState::Accepted,
            MessageStatus::Sent => RecipientState::Sent,
            MessageStatus::Delivered => RecipientState::Delivered,
            MessageStatus::Read => RecipientState::Read,
            MessageStatus::Failed => RecipientState::Failed,
            MessageStatus::Suppressed if self.excluded.is_some() => RecipientState::Excluded,
            MessageStatus::Suppressed | MessageStatus::Cancelled => RecipientState::Suppressed,
            MessageStatus::Unknown if self.speaks.is_some_and(|fact| fact.kind == FactKind::Abandoned) => {
                RecipientState::Abandoned
            }
            MessageStatus::Unknown => RecipientState::Unknown,
        }
    }

    /// Why it was not sent, or not yet, where a reason is known.
    pub fn reason(&self) -> Option<Reason> {
        match self.status() {
            MessageStatus::Scheduled
            | MessageStatus::Sent
            | MessageStatus::Delivered
            | MessageStatus::Read => None,
            _ => self.excluded.or_else(|| self.speaks?.reason),
        }
    }
}

impl Known<'_> {
    pub fn standing(&self) -> Standing {
        Standing {
            excluded: self.excluded,
            speaks: AttemptFact::speaking(self.facts),
            delivery: DeliveryState::after(self.events.iter().map(|(kind, _)| *kind)),
            scheduled: self.scheduled,
        }
    }

    pub fn status(&self) -> MessageStatus {
        self.standing().status()
    }

    /// See [`Standing::reason`].
    pub fn reason(&self) -> Option<Reason> {
        self.standing().reason()
    }

    pub fn delivered_at(&self) -> Option<Timestamp> {
        self.first(|kind| kind == EventKind::Delivered)
    }

    pub fn read_at(&self) -> Option<Timestamp> {
        self.first(|kind| DeliveryState::of(kind) == DeliveryState::Read)
    }

    fn first(&self, is: impl Fn(EventKind) -> bool) -> Option<Timestamp> {
        self.events.iter().filter(|(kind, _)| is(*kind)).map(|(_, at)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fact(attempt: i16, kind: FactKind, reason: Option<Reason>) -> AttemptFact {
        AttemptFact { attempt, kind, reason }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn each_state_has_its_word() {
        let check = |facts: &[AttemptFact], events: &[(EventKind, Timestamp)], expected| {
            assert_eq!(
                Known { facts, events, ..Known::default() }.status(),
                expected,
                "{facts:?} {events:?}"
            );
        };
        let accepted = fact(1, FactKind::Accepted, None);
        check(&[], &[], MessageStatus::Queued);
        check(&[fact(1, FactKind::Retry, Some(Reason::Throttled))], &[], MessageStatus::Queued);
        check(&[accepted], &[], MessageStatus::Sent);
        check(&[accepted], &[(EventKind::SoftBounced, at(1))], MessageStatus::Sent);
        check(&[accepted], &[(EventKind::Bounced, at(1))], MessageStatus::Failed);
        check(&[accepted], &[(EventKind::Delivered, at(1))], MessageStatus::Delivered);
        check(&[accepted], &[(EventKind::Opened, at(2)), (EventKind::Delivered, at(1))], MessageStatus::Read);
        check(&[fact(1, FactKind::Failed, Some(Reason::NotOnChannel))], &[], MessageStatus::Failed);
        check(&[fact(1, FactKind::Suppressed, Some(Reason::Bounced))], &[], MessageStatus::Suppressed);
        check(&[fact(1, FactKind::Suppressed, Some(Reason::Cancelled))], &[], MessageStatus::Cancelled);
        check(&[fact(1, FactKind::Unknown, Some(Reason::TimedOut))], &[], MessageStatus::Unknown);
        check(&[fact(1, FactKind::Abandoned, Some(Reason::Unconfirmed))], &[], MessageStatus::Unknown);
        // The webhook knows more than the answer that never came.
        let (doubtful, delivered) =
            ([fact(1, FactKind::Unknown, Some(Reason::TimedOut))], [(EventKind::Delivered, at(1))]);
        check(&doubtful, &delivered, MessageStatus::Delivered);
        assert_eq!(Known { facts: &doubtful, ..Known::default() }.reason(), Some(Reason::TimedOut));
        assert_eq!(Known { facts: &doubtful, events: &delivered, ..Known::default() }.reason(), None);
        let excluded = Known { excluded: Some(Reason::Unsubscribed), ..Known::default() };
        assert_eq!(
            (excluded.status(), excluded.reason()),
            (MessageStatus::Suppressed, Some(Reason::Unsubscribed))
        );
        assert_eq!(Known { scheduled: true, ..Known::default() }.status(), MessageStatus::Scheduled);
    }

    #[test]
    fn a_list_of_recipients_tells_apart_what_one_word_does_not() {
        let check = |known: Known<'_>, expected: RecipientState| {
            assert_eq!(known.standing().state(), expected, "{known:?}");
        };
        let of = |kind| [fact(1, kind, Some(Reason::TimedOut))];
        check(Known::default(), RecipientState::Waiting);
        check(Known { scheduled: true, ..Known::default() }, RecipientState::Waiting);
        check(Known { excluded: Some(Reason::NoAddress), ..Known::default() }, RecipientState::Excluded);
        let (accepted, unknown, abandoned) =
            (of(FactKind::Accepted), of(FactKind::Unknown), of(FactKind::Abandoned));
        check(Known { facts: &accepted, ..Known::default() }, RecipientState::Accepted);
        check(Known { facts: &unknown, ..Known::default() }, RecipientState::Unknown);
        check(Known { facts: &abandoned, ..Known::default() }, RecipientState::Abandoned);
        let cancelled = [fact(1, FactKind::Suppressed, Some(Reason::Cancelled))];
        check(Known { facts: &cancelled, ..Known::default() }, RecipientState::Suppressed);
        let (sent, delivered) = ([(EventKind::SoftBounced, at(1))], [(EventKind::Delivered, at(1))]);
        check(Known { facts: &accepted, events: &sent, ..Known::default() }, RecipientState::Sent);
        // The webhook was quicker than the record of the answer.
        for facts in [&[] as &[_], &unknown, &of(FactKind::Retry)] {
            check(Known { facts, events: &delivered, ..Known::default() }, RecipientState::Delivered);
        }
    }

    #[test]
    fn a_later_attempt_speaks_unless_one_was_accepted() {
        let retry = fact(1, FactKind::Retry, Some(Reason::Throttled));
        let failed = fact(2, FactKind::Failed, Some(Reason::ContentRejected));
        assert_eq!(AttemptFact::speaking(&[retry, failed]), Some(failed));
        let accepted = fact(1, FactKind::Accepted, None);
        assert_eq!(AttemptFact::speaking(&[failed, retry, accepted]), Some(accepted));
    }

    #[test]
    fn times_are_those_of_the_first_event() {
        let events = [(EventKind::Clicked, at(9)), (EventKind::Opened, at(5)), (EventKind::Delivered, at(3))];
        let known = Known { events: &events, ..Known::default() };
        assert_eq!((known.delivered_at(), known.read_at()), (Some(at(3)), Some(at(5))));
        assert_eq!(Known::default().read_at(), None);
    }

    proptest! {
        #[test]
        fn the_order_of_facts_does_not_matter(picks in proptest::collection::vec((1..4_i16, 0..6_usize), 1..8)) {
            let facts: Vec<_> = picks.iter().map(|&(attempt, at)| fact(attempt, FactKind::PRECEDENCE[at], None)).collect();
            let reversed: Vec<_> = facts.iter().rev().copied().collect();
            prop_assert_eq!(AttemptFact::speaking(&facts), AttemptFact::speaking(&reversed));
        }
    }
}
