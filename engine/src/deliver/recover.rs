//! What a new owner does about the members of a chunk whose former owner died: pure.
//!
//! A member with a fact is done. A member that no intent covers was certainly not sent. Of the others nobody can tell:
//! where the provider honours a key, and the key is young enough, the same request goes out again under the same key;
//! a transactional message without a business key may be sent once more; everybody else becomes `unknown`.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use crate::store::chunks::Intent;

/// What the account and the campaign allow.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// For how long a provider key may be relied on; `None` where there is none.
    pub key_lifetime: Option<Duration>,
    /// Transactional messages without a business key may be sent once more.
    pub may_resend: bool,
}

/// Requests that go out again under the key they had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SameKey {
    /// The key of a batch request; `None`: single requests, whose keys follow from their messages.
    pub key: Option<Uuid>,
    pub positions: Vec<usize>,
}

/// The members of a chunk by what is to be done about them; positions in sending order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub fresh: Vec<usize>,
    pub same_key: Vec<SameKey>,
    /// Sent once more, as another attempt.
    pub resend: Vec<usize>,
    pub unknown: Vec<usize>,
}

/// Sorts the members at `0..members`; `known` says which have a fact of this attempt, `keyed` which bear a business key.
pub fn sort(
    members: usize,
    intents: &[Intent],
    now: Timestamp,
    policy: Policy,
    known: impl Fn(usize) -> bool,
    keyed: impl Fn(usize) -> bool,
) -> Recovered {
    let mut recovered = Recovered::default();
    let mut same_key: BTreeMap<Option<Uuid>, Vec<usize>> = BTreeMap::new();
    for position in (0..members).filter(|&position| !known(position)) {
        // A member whose intent was void has several: the request under the first key may have left, too.
        let covering: Vec<&Intent> = intents.iter().filter(|intent| intent.covers(position)).collect();
        let Some(latest) = covering.last() else {
            recovered.fresh.push(position);
            continue;
        };
        let oldest = covering.iter().map(|intent| intent.at).min().unwrap_or(latest.at);
        let young = policy.key_lifetime.is_some_and(|lifetime| {
            Duration::try_from(now.duration_since(oldest)).is_ok_and(|age| age < lifetime)
        });
        let one_key = covering.iter().all(|intent| intent.key == latest.key);
        if young && one_key {
            same_key.entry(latest.key).or_default().push(position);
        } else if policy.may_resend && !keyed(position) {
            recovered.resend.push(position);
        } else {
            recovered.unknown.push(position);
        }
    }
    recovered.same_key = same_key.into_iter().map(|(key, positions)| SameKey { key, positions }).collect();
    recovered
}

/// How long a new owner still waits: a request of the former one may be answered until then.
pub fn wait(intents: &[Intent], now: Timestamp, request_timeout: Duration) -> Option<Duration> {
    let latest = intents.iter().map(|intent| intent.at).max()?;
    let over = Duration::try_from(now.duration_since(latest)).unwrap_or(Duration::ZERO);
    request_timeout.checked_sub(over).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const LIFETIME: Duration = Duration::from_secs(720);

    fn intent(from: usize, to: usize, age: u64, key: Option<u8>, skip: &[usize]) -> Intent {
        let at = NOW - jiff::SignedDuration::from_secs(age.try_into().expect("small"));
        Intent { from, to, at, key: key.map(|no| Uuid::from_bytes([no; 16])), skip: skip.to_vec() }
    }

    const BREVO: Policy = Policy { key_lifetime: Some(LIFETIME), may_resend: false };
    const SMS: Policy = Policy { key_lifetime: None, may_resend: false };
    const OTP: Policy = Policy { key_lifetime: None, may_resend: true };

    #[test]
    fn who_has_no_intent_was_not_sent() {
        let recovered = sort(6, &[intent(0, 4, 60, None, &[1])], NOW, SMS, |at| at == 0, |_| false);
        assert_eq!(
            recovered,
            Recovered { fresh: vec![1, 4, 5], unknown: vec![2, 3], ..Recovered::default() }
        );
    }

    #[test]
    fn a_young_key_is_used_again() {
        let intents = [intent(0, 2, 60, None, &[]), intent(2, 4, 60, Some(7), &[])];
        let recovered = sort(4, &intents, NOW, BREVO, |_| false, |_| false);
        let key = Some(Uuid::from_bytes([7; 16]));
        let expected =
            vec![SameKey { key: None, positions: vec![0, 1] }, SameKey { key, positions: vec![2, 3] }];
        assert_eq!(recovered.same_key, expected);
        assert_eq!(
            sort(4, &[intent(0, 4, 721, None, &[])], NOW, BREVO, |_| false, |_| false).unknown,
            [0, 1, 2, 3]
        );
    }

    #[test]
    fn two_keys_for_one_message_are_not_relied_on() {
        let intents = [intent(0, 1, 60, Some(1), &[]), intent(0, 1, 30, Some(2), &[])];
        assert_eq!(sort(1, &intents, NOW, BREVO, |_| false, |_| false).unknown, [0]);
    }

    #[test]
    fn only_a_message_without_a_business_key_is_sent_once_more() {
        let recovered = sort(2, &[intent(0, 2, 60, None, &[])], NOW, OTP, |_| false, |at| at == 1);
        assert_eq!((recovered.resend, recovered.unknown), (vec![0], vec![1]));
    }

    #[test]
    fn nobody_decides_while_an_answer_may_still_come() {
        let timeout = Duration::from_secs(10);
        assert_eq!(wait(&[intent(0, 1, 4, None, &[])], NOW, timeout), Some(Duration::from_secs(6)));
        assert_eq!(wait(&[intent(0, 1, 10, None, &[])], NOW, timeout), None);
        assert_eq!(wait(&[], NOW, timeout), None);
    }

    proptest! {
        #[test]
        fn everybody_without_a_fact_is_decided_once(
            members in 0..40_usize,
            spans in proptest::collection::vec((0..40_usize, 0..40_usize, 0..1_000_u64, proptest::option::of(0..3_u8)), 0..6),
            known in proptest::collection::hash_set(0..40_usize, 0..20),
            lifetime: bool, may_resend: bool,
        ) {
            let intents: Vec<_> = spans.iter().map(|&(from, to, age, key)| intent(from, to, age, key, &[from])).collect();
            let policy = Policy { key_lifetime: lifetime.then_some(LIFETIME), may_resend };
            let recovered = sort(members, &intents, NOW, policy, |at| known.contains(&at), |_| false);
            let mut all: Vec<usize> = recovered.fresh.iter().chain(&recovered.resend).chain(&recovered.unknown)
                .copied().chain(recovered.same_key.iter().flat_map(|same| same.positions.iter().copied())).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..members).filter(|at| !known.contains(at)).collect::<Vec<_>>());
            prop_assert!(recovered.fresh.iter().all(|&at| !intents.iter().any(|intent| intent.covers(at))));
        }
    }
}
