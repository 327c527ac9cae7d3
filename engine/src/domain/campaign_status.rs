//! A campaign's state as people and other systems speak of it: fewer words than the engine has states, by one fixed
//! projection both ways.

use super::{campaign::CampaignState, channel::text_enum};

text_enum! {
    /// The words of the API.
    CampaignStatus {
        Draft => "draft",
        InReview => "in_review",
        Scheduled => "scheduled",
        Active => "active",
        Paused => "paused",
        Completed => "completed",
        Stopped => "stopped",
    }
}

impl CampaignStatus {
    pub const fn of(state: CampaignState) -> Self {
        match state {
            CampaignState::Draft => Self::Draft,
            CampaignState::InReview => Self::InReview,
            CampaignState::Scheduled { .. } => Self::Scheduled,
            CampaignState::Launching { .. } | CampaignState::Sending { .. } => Self::Active,
            CampaignState::Paused(_) => Self::Paused,
            CampaignState::Finished { .. } => Self::Completed,
            CampaignState::Cancelled { .. } => Self::Stopped,
        }
    }

    /// The states that bear this name, in the engine's words.
    pub const fn states(self) -> &'static [&'static str] {
        match self {
            Self::Draft => &["draft"],
            Self::InReview => &["in_review"],
            Self::Scheduled => &["scheduled"],
            Self::Active => &["launching", "sending"],
            Self::Paused => &["paused"],
            Self::Completed => &["finished"],
            Self::Stopped => &["cancelled"],
        }
    }

    /// What a person can make of a campaign in this status by naming another one.
    pub const fn reachable(self) -> &'static [Self] {
        match self {
            Self::Draft | Self::InReview | Self::Paused => &[Self::Active, Self::Stopped],
            Self::Scheduled => &[Self::Active, Self::Paused, Self::Stopped],
            Self::Active => &[Self::Paused, Self::Stopped],
            Self::Completed | Self::Stopped => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::campaign::Paused;

    const T: Timestamp = Timestamp::UNIX_EPOCH;

    const STATES: [CampaignState; 10] = [
        CampaignState::Draft,
        CampaignState::InReview,
        CampaignState::Scheduled { at: T },
        CampaignState::Launching { since: T },
        CampaignState::Sending { since: T },
        CampaignState::Paused(Paused::Scheduled { at: T }),
        CampaignState::Paused(Paused::Launching { since: T }),
        CampaignState::Paused(Paused::Sending { since: T }),
        CampaignState::Finished { since: T, at: T },
        CampaignState::Cancelled { at: T },
    ];

    #[test]
    fn every_state_has_one_name_and_is_found_by_it() {
        for state in STATES {
            let named: Vec<_> = CampaignStatus::ALL
                .iter()
                .filter(|status| status.states().contains(&state.as_str()))
                .collect();
            assert_eq!(named, [&CampaignStatus::of(state)], "{state:?}");
        }
    }

    #[test]
    fn what_is_said_to_be_reachable_is_what_the_transitions_allow() {
        for state in STATES {
            let status = CampaignStatus::of(state);
            let active =
                if matches!(state, CampaignState::Paused(_)) { state.resume() } else { state.launch(T) };
            for (wanted, transition) in [
                (CampaignStatus::Active, active),
                (CampaignStatus::Paused, state.pause()),
                (CampaignStatus::Stopped, state.cancel(T)),
            ] {
                assert_eq!(status.reachable().contains(&wanted), transition.is_ok(), "{state:?} to {wanted}");
            }
        }
    }
}
