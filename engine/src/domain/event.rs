//! What comes back about a message, and how its state moves: only forward.

use jiff::Timestamp;

use super::{channel::text_enum, outcome::Reason};
use crate::id::MessageId;

text_enum! {
    /// What a provider, or a recipient, tells about a message.
    EventKind {
        /// The provider handed it on.
        Sent => "sent",
        /// Tried and put off by the recipient's side.
        Deferred => "deferred",
        Delivered => "delivered",
        Opened => "opened",
        Clicked => "clicked",
        Read => "read",
        Replied => "replied",
        SoftBounced => "soft_bounced",
        Bounced => "bounced",
        Blocked => "blocked",
        Failed => "failed",
        Complained => "complained",
        Unsubscribed => "unsubscribed",
    }
}

/// One thing that happened to a message, as a provider told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub message: MessageId,
    pub kind: EventKind,
    pub at: Timestamp,
    /// The provider's own id of the message, without brackets.
    pub provider_id: Option<String>,
    /// Tells two events of one kind apart (a second click), and a repeated webhook from a new one.
    pub dedup: uuid::Uuid,
    /// Why, where `kind` is a failure that the provider gives a code for.
    pub reason: Option<Reason>,
    /// The provider's words or code, without addresses.
    pub detail: Option<String>,
}

impl EventKind {
    /// Whether this event proves that the provider had accepted the message.
    pub const fn proves_acceptance(self) -> bool {
        !matches!(self, Self::Failed)
    }

    /// What the address is suppressed for, if anything.
    pub const fn suppresses(self) -> Option<(Reason, Scope)> {
        match self {
            Self::Bounced => Some((Reason::Bounced, Scope::All)),
            Self::Complained => Some((Reason::Complained, Scope::Marketing)),
            Self::Unsubscribed => Some((Reason::Unsubscribed, Scope::Marketing)),
            Self::Blocked => Some((Reason::BlockedByProvider, Scope::All)),
            _ => None,
        }
    }
}

text_enum! {
    /// For which messages a suppression holds.
    Scope {
        /// Nothing may be sent there: it can't arrive.
        All => "all",
        /// The person does not want marketing; bills and receipts still arrive.
        Marketing => "marketing",
    }
}

text_enum! {
    /// The delivery state that is shown for an accepted message; a lattice that is merged by maximum.
    DeliveryState {
        Accepted => "accepted",
        Sent => "sent",
        Failed => "failed",
        Delivered => "delivered",
        Read => "read",
    }
}

impl DeliveryState {
    pub const fn of(kind: EventKind) -> Self {
        match kind {
            EventKind::Sent | EventKind::Deferred | EventKind::SoftBounced => Self::Sent,
            EventKind::Bounced | EventKind::Blocked | EventKind::Failed => Self::Failed,
            EventKind::Delivered | EventKind::Complained | EventKind::Unsubscribed => Self::Delivered,
            EventKind::Opened | EventKind::Clicked | EventKind::Read | EventKind::Replied => Self::Read,
        }
    }

    /// The state after any events in any order, each any number of times.
    pub fn after(events: impl IntoIterator<Item = EventKind>) -> Self {
        events.into_iter().map(Self::of).fold(Self::Accepted, Self::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(picks in proptest::collection::vec(0..EventKind::ALL.len(), 0..12), seed: usize) {
            let events: Vec<_> = picks.iter().map(|&pick| EventKind::ALL[pick]).collect();
            let mut shuffled = events.clone();
            shuffled.extend(events.iter().copied());
            if !shuffled.is_empty() {
                let middle = seed % shuffled.len();
                shuffled.rotate_left(middle);
            }
            prop_assert_eq!(DeliveryState::after(events), DeliveryState::after(shuffled));
        }

        #[test]
        fn a_state_only_moves_forward(picks in proptest::collection::vec(0..EventKind::ALL.len(), 1..12)) {
            let events: Vec<_> = picks.iter().map(|&pick| EventKind::ALL[pick]).collect();
            for upto in 1..events.len() {
                prop_assert!(DeliveryState::after(events[..upto].to_vec()) <= DeliveryState::after(events.clone()));
            }
        }
    }
}
