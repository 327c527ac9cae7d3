//! Four eyes: a campaign to more people than its tenant has said is approved by somebody who did not write it.

use super::campaign::CampaignState;

/// What decides whether a campaign may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Whom the campaign reaches at most.
    pub audience: i64,
    /// Above so many recipients somebody else has to approve; `None`: never.
    pub above: Option<i32>,
    /// Whoever made, edited or submitted it.
    pub authors: Vec<String>,
    pub approved: bool,
}

/// Why a campaign may not leave, or not be approved by this person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    #[error(
        "{audience} recipients are more than {above}: submit it, so that somebody who did not write it approves it"
    )]
    NotApproved { audience: i64, above: i32 },
    #[error("it is in review: somebody has to approve it first, or reject it")]
    InReview,
    #[error(
        "you wrote, edited or submitted it, and {audience} recipients are more than {above}: somebody else has to approve it"
    )]
    OwnWork { audience: i64, above: i32 },
}

impl Review {
    /// The limit, where this campaign is beyond it.
    fn beyond(&self) -> Option<i32> {
        self.above.filter(|above| self.audience > i64::from(*above))
    }

    pub fn is_required(&self) -> bool {
        self.beyond().is_some()
    }

    /// `actors`: the names of who asks; somebody who comes with their own key has two.
    pub fn may_approve(&self, actors: &[String]) -> Result<(), ReviewError> {
        match self.beyond() {
            Some(above) if actors.iter().any(|actor| self.authors.contains(actor)) => {
                Err(ReviewError::OwnWork { audience: self.audience, above })
            }
            _ => Ok(()),
        }
    }

    /// What is scheduled already stays so, however its audience has grown since.
    pub fn may_leave(&self, state: CampaignState) -> Result<(), ReviewError> {
        match (state, self.beyond()) {
            _ if self.approved => Ok(()),
            (CampaignState::InReview, _) => Err(ReviewError::InReview),
            (CampaignState::Draft, Some(above)) => {
                Err(ReviewError::NotApproved { audience: self.audience, above })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(audience: i64, above: Option<i32>, approved: bool) -> Review {
        Review { audience, above, authors: vec!["user:a".to_owned(), "key:k".to_owned()], approved }
    }

    fn actors(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn many_recipients_need_four_eyes() {
        assert!(review(1_001, Some(1_000), false).is_required());
        assert!(!review(1_000, Some(1_000), false).is_required());
        assert!(!review(1_000_000, None, false).is_required());
    }

    #[test]
    fn nobody_approves_their_own_work() {
        let large = review(1_001, Some(1_000), false);
        assert!(large.may_approve(&actors(&["user:a"])).is_err());
        assert!(large.may_approve(&actors(&["key:other", "user:a"])).is_err(), "with a key of their own");
        assert_eq!(large.may_approve(&actors(&["user:b"])), Ok(()));
        assert_eq!(review(10, Some(1_000), false).may_approve(&actors(&["user:a"])), Ok(()));
    }

    #[test]
    fn what_needs_approval_waits_for_it() {
        let (draft, in_review) = (CampaignState::Draft, CampaignState::InReview);
        assert!(review(1_001, Some(1_000), false).may_leave(draft).is_err());
        assert_eq!(review(1_001, Some(1_000), true).may_leave(in_review), Ok(()));
        assert_eq!(review(10, Some(1_000), false).may_leave(draft), Ok(()));
        assert_eq!(review(10, None, false).may_leave(in_review), Err(ReviewError::InReview));
    }
}
