//! What follows from an outcome: pure.

use std::time::Duration;

use crate::{
    domain::{
        channel::MessageClass,
        outcome::{Outcome, Reason},
        retry,
    },
    id::AccountId,
};

/// What a decision about one attempt depends on.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub class: MessageClass,
    /// Attempts before this one that count against the schedule.
    pub burned: i16,
    pub account: AccountId,
    /// The accounts that serve the channel, in order.
    pub route: &'a [AccountId],
    /// How long the message has been due.
    pub age: Duration,
}

/// The next try of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextTry {
    pub account: AccountId,
    pub burned: i16,
    pub wait: Duration,
}

/// Settles an outcome: a retry that has a next try stays one, one that has none becomes a failure. The schedule runs on
/// each account of the route in turn. `fraction` (0..1) is the randomness of the wait.
pub fn settle(outcome: Outcome, attempt: Attempt<'_>, fraction: f64) -> (Outcome, Option<NextTry>) {
    let Outcome::Retry { reason, after, burns_attempt } = outcome else { return (outcome, None) };
    let keep = |next: NextTry| (Outcome::Retry { reason, after, burns_attempt }, Some(next));
    if attempt.age > retry::longest_age(attempt.class) {
        return (Outcome::Failed { reason: Reason::TooOld, detail: Some(reason.as_str().to_owned()) }, None);
    }
    if !burns_attempt {
        let wait = retry::deferral(after, fraction);
        return keep(NextTry { account: attempt.account, burned: attempt.burned, wait });
    }
    let burned = attempt.burned + 1;
    if let Some(wait) = retry::next_wait(attempt.class, burned, after, fraction) {
        return keep(NextTry { account: attempt.account, burned, wait });
    }
    let after_this = attempt.route.iter().skip_while(|&&account| account != attempt.account).nth(1);
    match after_this {
        Some(&account) => keep(NextTry { account, burned: 0, wait: Duration::ZERO }),
        None => (
            Outcome::Failed { reason: Reason::RetriesExhausted, detail: Some(reason.as_str().to_owned()) },
            None,
        ),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn account(no: u8) -> AccountId {
        Uuid::from_bytes([no; 16]).into()
    }

    fn check(outcome: Outcome, burned: i16, at: u8, age: u64, expected: (Option<Reason>, Option<(u8, i16)>)) {
        let route = [account(1), account(2)];
        let attempt = Attempt {
            class: MessageClass::Obligation,
            burned,
            account: account(at),
            route: &route,
            age: Duration::from_secs(age),
        };
        let (settled, next) = settle(outcome.clone(), attempt, 0.5);
        let next = next.map(|next| (next.account, next.burned));
        let expected_next = expected.1.map(|(no, burned)| (account(no), burned));
        assert_eq!((settled.reason(), next), (expected.0, expected_next), "{outcome:?} {burned} {at} {age}");
    }

    #[test]
    fn the_schedule_runs_on_each_account_in_turn() {
        let again = Outcome::Retry { reason: Reason::ProviderUnavailable, after: None, burns_attempt: true };
        check(again.clone(), 0, 1, 0, (Some(Reason::ProviderUnavailable), Some((1, 1))));
        check(again.clone(), 6, 1, 0, (Some(Reason::ProviderUnavailable), Some((2, 0))));
        check(again.clone(), 6, 2, 0, (Some(Reason::RetriesExhausted), None));
        check(again, 0, 1, 4 * 24 * 3_600, (Some(Reason::TooOld), None));
    }

    #[test]
    fn a_429_burns_nothing() {
        let throttled = Outcome::Retry { reason: Reason::Throttled, after: None, burns_attempt: false };
        check(throttled, 6, 2, 0, (Some(Reason::Throttled), Some((2, 6))));
    }

    #[test]
    fn what_is_certain_stays() {
        check(Outcome::Accepted { provider_id: None }, 0, 1, 0, (None, None));
        check(Outcome::Unknown { reason: Reason::TimedOut }, 0, 1, 0, (Some(Reason::TimedOut), None));
    }
}
