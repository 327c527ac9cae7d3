//! How long a campaign takes, as far as what slows it down is known before it leaves.

use jiff::civil::Time;

use crate::store::{accounts::Account, sheets::Sheet};

const DAY: f64 = 86_400.0;
/// A minute's messages of a throttled campaign leave in so many seconds, see `take_turn`.
const THROTTLED_MINUTE: f64 = 62.0;

/// What slows a campaign down.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Brakes {
    /// Messages a second.
    pace: Option<f64>,
    people_per_day: Option<i64>,
    /// Seconds of each day in which messages leave; `None`: all.
    open: Option<f64>,
}

impl Brakes {
    /// Those of the campaign, and of the account that goes first.
    pub(super) fn of(sheet: &Sheet, account: Option<&Account>) -> Self {
        let limits =
            account.into_iter().flat_map(|account| account.limits.iter().map(|window| window.per_second()));
        let throttle = sheet.throttle_per_minute.map(|messages| f64::from(messages) / THROTTLED_MINUTE);
        Self {
            pace: limits.chain(throttle).filter(|pace| *pace > 0.0).reduce(f64::min),
            people_per_day: account.and_then(|account| account.people_per_day).filter(|people| *people > 0),
            open: sheet.window.map(open),
        }
    }

    /// From the first message to the last; `None` where nothing is known that slows them down.
    pub(super) fn seconds(self, messages: i64) -> Option<u64> {
        // Of a tier's people all are written to on a day, then nobody until the next.
        let (days, rest) = match self.people_per_day {
            Some(people) => {
                ((messages - 1).max(0) / people, (messages - 1).max(0) % people + messages.min(1))
            }
            None => (0, messages),
        };
        let tier = (days > 0).then(|| days as f64 * DAY + self.paced(rest).unwrap_or_default());
        let seconds = [tier, self.paced(messages)].into_iter().flatten().reduce(f64::max)?;
        Some(seconds as u64)
    }

    fn paced(self, messages: i64) -> Option<f64> {
        let busy = messages as f64 / self.pace?;
        Some(match self.open {
            Some(open) => (busy / open).floor() * DAY + busy % open,
            None => busy,
        })
    }
}

/// Seconds from one time of day to another, perhaps across midnight.
fn open((from, to): (Time, Time)) -> f64 {
    let seconds = from.duration_until(to).as_secs_f64();
    if seconds > 0.0 { seconds } else { seconds + DAY }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;

    use super::*;

    #[test]
    fn the_slowest_of_all_says_how_long_it_takes() {
        let fast = Brakes { pace: Some(10.0), ..Brakes::default() };
        assert_eq!(Brakes::default().seconds(1_000), None);
        assert_eq!(fast.seconds(1_000), Some(100));
        assert_eq!(fast.seconds(0), Some(0));
        let tier = Brakes { people_per_day: Some(250), ..fast };
        assert_eq!((tier.seconds(250), tier.seconds(1_000)), (Some(25), Some(3 * 86_400 + 25)));
        let unpaced = Brakes { pace: None, ..tier };
        assert_eq!((unpaced.seconds(250), unpaced.seconds(251)), (None, Some(86_400)));
        let hours = Brakes { open: Some(60.0), ..fast };
        assert_eq!((hours.seconds(599), hours.seconds(1_000)), (Some(59), Some(86_400 + 40)));
    }

    #[test]
    fn hours_may_span_midnight() {
        assert!((open((time(8, 0, 0, 0), time(20, 0, 0, 0))) - 43_200.0).abs() < f64::EPSILON);
        assert!((open((time(22, 0, 0, 0), time(6, 0, 0, 0))) - 28_800.0).abs() < f64::EPSILON);
    }
}
