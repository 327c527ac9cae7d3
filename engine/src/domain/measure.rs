//! What a campaign's messages came to: measures, each of which a recipient reaches once, and the rates that they make.

use super::{channel::text_enum, event::EventKind};

text_enum! {
    /// What is counted of a campaign, each recipient once.
    Measure {
        Delivered => "delivered",
        Opened => "opened",
        Clicked => "clicked",
        Replied => "replied",
        /// Did what the campaign is for: paid, renewed, or whatever the campaign names.
        Converted => "converted",
        /// Accepted by the provider, and did not arrive all the same.
        Undelivered => "undelivered",
        Complained => "complained",
        Unsubscribed => "unsubscribed",
    }
}

impl Measure {
    const fn bit(self) -> i16 {
        1 << self as i16
    }
}

/// A set of measures, as notes of events store it: a bit each, in the order of [`Measure::ALL`], which therefore only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Measures(i16);

impl Measures {
    pub const CONVERTED: Self = Self(Measure::Converted.bit());

    /// What a recipient of whom this is told has reached, whichever webhooks were lost on the way: who opened a message had
    /// it delivered, and who clicked has opened it, though many mail programs do not tell.
    pub const fn of(kind: EventKind) -> Self {
        const DELIVERED: i16 = Measure::Delivered.bit();
        const OPENED: i16 = DELIVERED | Measure::Opened.bit();
        Self(match kind {
            EventKind::Sent | EventKind::Deferred | EventKind::SoftBounced => 0,
            EventKind::Delivered => DELIVERED,
            EventKind::Opened | EventKind::Read => OPENED,
            EventKind::Clicked => OPENED | Measure::Clicked.bit(),
            EventKind::Replied => OPENED | Measure::Replied.bit(),
            EventKind::Bounced | EventKind::Blocked | EventKind::Failed => Measure::Undelivered.bit(),
            EventKind::Complained => DELIVERED | Measure::Complained.bit(),
            EventKind::Unsubscribed => DELIVERED | Measure::Unsubscribed.bit(),
        })
    }

    pub const fn stored(bits: i16) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> i16 {
        self.0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Measure> {
        Measure::ALL.iter().copied().filter(move |measure| self.0 & measure.bit() != 0)
    }
}

/// Per cent with one decimal, rounded half up; of nothing it is nothing.
pub fn rate(part: i64, whole: i64) -> f64 {
    if whole <= 0 || part <= 0 {
        return 0.0;
    }
    let tenths = (i128::from(part) * 2_000 + i128::from(whole)) / (i128::from(whole) * 2);
    #[expect(clippy::cast_precision_loss, reason = "tenths of a per cent are few")]
    let rate = tenths as f64 / 10.0;
    rate
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_are_those_of_the_sample() {
        for (part, expected) in [(89, 64.5), (34, 24.6), (12, 8.7), (138, 100.0), (0, 0.0)] {
            assert!((rate(part, 138) - expected).abs() < f64::EPSILON, "{part}: {}", rate(part, 138));
        }
        assert!(rate(1, 0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_comes_later_includes_what_came_before() {
        let of = |kind| Measures::of(kind).iter().collect::<Vec<_>>();
        assert_eq!(of(EventKind::Clicked), [Measure::Delivered, Measure::Opened, Measure::Clicked]);
        assert_eq!(of(EventKind::Read), of(EventKind::Opened));
        assert_eq!(of(EventKind::Blocked), [Measure::Undelivered]);
        assert!(Measures::of(EventKind::Sent).is_empty());
    }

    proptest! {
        #[test]
        fn a_rate_is_within_half_a_tenth(part in 0..2_000_000_i64, more in 0..2_000_000_i64) {
            let whole = part + more;
            prop_assume!(whole > 0);
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let exact = part as f64 * 100.0 / whole as f64;
            prop_assert!((rate(part, whole) - exact).abs() <= 0.05 + 1e-9);
        }

        #[test]
        fn measures_survive_their_bits(bits in 0..256_i16) {
            let sum: i16 = Measures::stored(bits).iter().map(Measure::bit).sum();
            prop_assert_eq!(sum, bits);
        }
    }
}
