//! One-time passwords beside a campaign: what each took from the moment when it should have begun to the receiver.
//!
//! The process under test is the engine with all roles and, in the same process, callers who do not wait for each other
//! ([`sender`]): number k begins at `start + k / rate` whatever became of those before it, and its time runs from then, so
//! that a pause of the process counts against every message that it held up.

pub(crate) mod sender;

use anyhow::Context as _;
use serde::Serialize;

use crate::timing::Timing;

const ADDRESS: &str = "otp";

/// The address that number `k` goes to.
pub(crate) fn address(k: u64) -> String {
    format!("{ADDRESS}{k}@mail.example")
}

/// The number of the password that went to this address.
pub(crate) fn of_address(address: &str) -> Option<u64> {
    address.strip_prefix(ADDRESS)?.strip_suffix("@mail.example")?.parse().ok()
}

/// A password that arrived, by the receiver's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) k: u64,
    pub(crate) at_us: u64,
}

/// When password 0 began, by the receiver's clock, and how many a second follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timetable {
    pub(crate) start_us: u64,
    pub(crate) per_second: u64,
}

impl Timetable {
    pub(crate) const fn begins_us(self, k: u64) -> u64 {
        self.start_us + k * 1_000_000 / self.per_second
    }

    /// From what the sender has written to its log.
    pub(crate) fn read(log: &str, per_second: u64) -> anyhow::Result<Self> {
        let start = log.lines().find_map(|line| line.strip_prefix(sender::BEGINS));
        let start_us = start.context("the process did not tell when it began")?.trim().parse()?;
        Ok(Self { start_us, per_second })
    }
}

/// From the intended beginning to the arrival at the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Latency {
    #[serde(flatten)]
    pub(crate) timing: Timing,
    /// That should have begun in the time looked at and did not arrive.
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
}

impl Latency {
    /// Of those that should have begun from `from_us` until `to_us`.
    pub(crate) fn of(
        arrivals: &[Arrival],
        timetable: Timetable,
        from_us: u64,
        to_us: u64,
    ) -> anyhow::Result<Self> {
        let first = from_us.saturating_sub(timetable.start_us) * timetable.per_second / 1_000_000 + 1;
        let end = to_us.saturating_sub(timetable.start_us) * timetable.per_second / 1_000_000;
        let mut took: Vec<Option<u64>> = vec![None; usize::try_from(end.saturating_sub(first))?];
        let mut repeated = 0;
        for arrival in arrivals.iter().filter(|arrival| (first..end).contains(&arrival.k)) {
            let time = arrival.at_us.saturating_sub(timetable.begins_us(arrival.k));
            let known = &mut took[usize::try_from(arrival.k - first)?];
            repeated += u64::from(known.is_some());
            *known = Some(known.map_or(time, |known| known.min(time)));
        }
        let arrived: Vec<u64> = took.iter().flatten().copied().collect();
        let lost = (took.len() - arrived.len()) as u64;
        let timing = Timing::of(arrived).context("nothing arrived beside the campaign")?;
        Ok(Self { timing, lost, repeated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_runs_from_the_intended_beginning() {
        let timetable = Timetable { start_us: 1_000, per_second: 10 };
        assert_eq!(timetable.begins_us(3), 301_000);
        // 1 arrives late, 2 never, 3 twice; 0 and 4 are not looked at.
        let arrivals = [(0, 2_000), (1, 141_000), (3, 306_000), (3, 400_000), (4, 402_000)];
        let arrivals = arrivals.map(|(k, at_us)| Arrival { k, at_us });
        let latency = Latency::of(&arrivals, timetable, 50_000, 410_000).expect("some arrived");
        let timing = Timing { samples: 2, p50_ms: 40.0, p99_ms: 40.0, most_ms: 40.0 };
        let expected = Latency { timing, lost: 1, repeated: 1 };
        assert_eq!(latency, expected);
        assert!(Latency::of(&[], timetable, 0, 1_000_000).is_err());
    }

    #[test]
    fn an_address_tells_the_number() {
        assert_eq!(of_address(&address(17)), Some(17));
        assert_eq!(of_address("p000000017@mail3.example"), None);
    }
}
