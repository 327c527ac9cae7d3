//! The life of a campaign: Draft -> InReview -> Scheduled -> Launching -> Sending -> Finished, with Paused and Cancelled
//! beside it. Each state holds what is true in it; a transition consumes the old state.

use jiff::Timestamp;

use super::channel::text_enum;

text_enum! {
    /// What a paused campaign goes back to.
    PausedFrom {
        Scheduled => "scheduled",
        Launching => "launching",
        Sending => "sending",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CampaignState {
    Draft,
    InReview,
    Scheduled {
        at: Timestamp,
    },
    /// The audience is being frozen; its first chunks may already leave.
    Launching {
        since: Timestamp,
    },
    Sending {
        since: Timestamp,
    },
    Paused(Paused),
    Finished {
        since: Timestamp,
        at: Timestamp,
    },
    Cancelled {
        at: Timestamp,
    },
}

/// A pause remembers all that the state before it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    Scheduled { at: Timestamp },
    Launching { since: Timestamp },
    Sending { since: Timestamp },
}

/// A change that the campaign's state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a campaign that is {from} cannot be {change}")]
pub struct TransitionError {
    pub from: &'static str,
    pub change: &'static str,
}

type Transition = Result<CampaignState, TransitionError>;

impl CampaignState {
    /// The word that tables, logs, metrics and URLs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::InReview => "in_review",
            Self::Scheduled { .. } => "scheduled",
            Self::Launching { .. } => "launching",
            Self::Sending { .. } => "sending",
            Self::Paused(_) => "paused",
            Self::Finished { .. } => "finished",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    const fn refuse(self, change: &'static str) -> Transition {
        Err(TransitionError { from: self.as_str(), change })
    }

    pub const fn submit(self) -> Transition {
        match self {
            Self::Draft => Ok(Self::InReview),
            other => other.refuse("submitted for review"),
        }
    }

    /// Somebody sends it back to its authors.
    pub const fn reject(self) -> Transition {
        match self {
            Self::InReview => Ok(Self::Draft),
            other => other.refuse("rejected"),
        }
    }

    pub const fn schedule(self, at: Timestamp) -> Transition {
        match self {
            Self::Draft | Self::InReview | Self::Scheduled { .. } => Ok(Self::Scheduled { at }),
            other => other.refuse("scheduled"),
        }
    }

    pub const fn launch(self, now: Timestamp) -> Transition {
        match self {
            Self::Draft | Self::InReview | Self::Scheduled { .. } => Ok(Self::Launching { since: now }),
            other => other.refuse("launched"),
        }
    }

    /// The whole audience is frozen.
    pub const fn frozen(self) -> Transition {
        match self {
            Self::Launching { since } => Ok(Self::Sending { since }),
            other => other.refuse("moved on to sending"),
        }
    }

    pub const fn pause(self) -> Transition {
        match self {
            Self::Scheduled { at } => Ok(Self::Paused(Paused::Scheduled { at })),
            Self::Launching { since } => Ok(Self::Paused(Paused::Launching { since })),
            Self::Sending { since } => Ok(Self::Paused(Paused::Sending { since })),
            other => other.refuse("paused"),
        }
    }

    /// Goes on where it stopped. A schedule that has passed in the meantime is launched by the scheduler at once.
    pub const fn resume(self) -> Transition {
        match self {
            Self::Paused(Paused::Scheduled { at }) => Ok(Self::Scheduled { at }),
            Self::Paused(Paused::Launching { since }) => Ok(Self::Launching { since }),
            Self::Paused(Paused::Sending { since }) => Ok(Self::Sending { since }),
            other => other.refuse("resumed"),
        }
    }

    pub const fn cancel(self, now: Timestamp) -> Transition {
        match self {
            Self::Finished { .. } | Self::Cancelled { .. } => self.refuse("cancelled"),
            _ => Ok(Self::Cancelled { at: now }),
        }
    }

    /// Every chunk is done.
    pub const fn finish(self, now: Timestamp) -> Transition {
        match self {
            Self::Sending { since } => Ok(Self::Finished { since, at: now }),
            other => other.refuse("finished"),
        }
    }

    /// A person sends the failed ones again.
    pub const fn reopen(self) -> Transition {
        match self {
            Self::Finished { since, .. } | Self::Sending { since } => Ok(Self::Sending { since }),
            other => other.refuse("opened for another try of its failed messages"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T: Timestamp = Timestamp::UNIX_EPOCH;

    fn apply(state: CampaignState, step: u8) -> Transition {
        match step {
            0 => state.submit(),
            1 => state.schedule(T),
            2 => state.launch(T),
            3 => state.frozen(),
            4 => state.pause(),
            5 => state.resume(),
            6 => state.cancel(T),
            7 => state.finish(T),
            8 => state.reject(),
            _ => state.reopen(),
        }
    }

    proptest! {
        #[test]
        fn cancelled_is_for_ever_and_nothing_sends_unlaunched(steps in proptest::collection::vec(0..10_u8, 0..40)) {
            let (mut state, mut launched, mut cancelled) = (CampaignState::Draft, false, false);
            for step in steps {
                if let Ok(next) = apply(state, step) {
                    prop_assert!(!cancelled, "left cancelled by step {}", step);
                    launched |= step == 2;
                    cancelled |= step == 6;
                    state = next;
                }
                let sends = matches!(state, CampaignState::Launching { .. } | CampaignState::Sending { .. } | CampaignState::Finished { .. });
                prop_assert!(!sends || launched);
            }
        }

        #[test]
        fn a_pause_loses_nothing(steps in proptest::collection::vec(0..10_u8, 0..20)) {
            let state = steps.into_iter().fold(CampaignState::Draft, |state, step| apply(state, step).unwrap_or(state));
            if let Ok(paused) = state.pause() {
                prop_assert_eq!(paused.resume(), Ok(state));
            }
        }
    }

    #[test]
    fn a_refusal_says_what_and_why() {
        let error = CampaignState::Draft.pause().expect_err("nothing to pause");
        assert_eq!(error.to_string(), "a campaign that is draft cannot be paused");
    }
}
