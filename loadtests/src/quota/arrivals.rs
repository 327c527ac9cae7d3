//! When requests arrived, by the clock of the receiver: pure arithmetic on times in microseconds after the launch.

use std::time::Duration;

use crate::{receiver::Receiver, sink::busiest_second};

const SECOND_US: u64 = 1_000_000;

/// From the first moment up to the second, which is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_us: u64,
    pub(super) to_us: u64,
}

impl Span {
    pub(super) const fn length_us(self) -> u64 {
        self.to_us.saturating_sub(self.from_us)
    }

    /// What is left of it without its edges and the `holes`, which are in the order of time.
    pub(super) fn without(self, holes: &[Self], edge: Duration) -> Vec<Self> {
        let edge = u64::try_from(edge.as_micros()).unwrap_or(u64::MAX);
        let (mut from_us, end) = (self.from_us + edge, self.to_us.saturating_sub(edge));
        let mut rest = Vec::new();
        for hole in holes {
            rest.push(Self { from_us, to_us: hole.from_us.min(end) });
            from_us = from_us.max(hole.to_us);
        }
        rest.push(Self { from_us, to_us: end });
        rest.retain(|span| span.length_us() > 0);
        rest
    }
}

/// Every request, in the order of time.
#[derive(Debug)]
pub(super) struct Arrivals {
    times: Vec<u64>,
}

impl Arrivals {
    /// All that the receiver holds; what arrived before the launch was acknowledged counts as of that moment.
    pub(super) async fn read(receiver: &Receiver, launched_us: u64) -> anyhow::Result<Self> {
        let (mut times, mut after) = (Vec::new(), Some(0));
        while let Some(cursor) = after {
            let page = receiver.received(cursor).await?;
            times.extend(page.records.iter().map(|record| record.first_us.saturating_sub(launched_us)));
            after = page.next;
        }
        Ok(Self::of(times))
    }

    fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        Self { times }
    }

    /// From the first to the last.
    pub(super) fn whole(&self) -> Option<Span> {
        Some(Span { from_us: *self.times.first()?, to_us: *self.times.last()? })
    }

    pub(super) fn count(&self) -> usize {
        self.times.len()
    }

    /// Most in any second, and when that second begins.
    pub(super) fn busiest_second(&self) -> (u64, u64) {
        busiest_second(&self.times)
    }

    pub(super) fn within(&self, span: Span) -> &[u64] {
        let place = |at: u64| self.times.partition_point(|&time| time < at);
        self.times.get(place(span.from_us)..place(span.to_us)).unwrap_or_default()
    }

    /// Requests a second over all of these stretches; 0 where there are none.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(super) fn rate(&self, spans: &[Span]) -> f64 {
        let count: usize = spans.iter().map(|&span| self.within(span).len()).sum();
        let length: u64 = spans.iter().map(|&span| span.length_us()).sum();
        count as f64 * 1e6 / length.max(1) as f64
    }

    /// The longest stretch of one of these spans in which nothing arrived.
    pub(super) fn longest_silence_us(&self, span: Span) -> u64 {
        let within = self.within(span).iter().copied();
        let ends = [span.from_us].into_iter().chain(within.clone());
        ends.zip(within.chain([span.to_us])).map(|(from, to)| to - from).max().unwrap_or(0)
    }

    /// How many in each second after the launch, to the last.
    pub(super) fn by_second(&self) -> Vec<usize> {
        let end = self.whole().map_or(0, |whole| whole.to_us / SECOND_US + 1);
        (0..end)
            .map(|second| Span { from_us: second * SECOND_US, to_us: (second + 1) * SECOND_US })
            .map(|second| self.within(second).len())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn span(from_us: u64, to_us: u64) -> Span {
        Span { from_us, to_us }
    }

    #[test]
    fn what_is_disturbed_is_left_out() {
        let check = |holes: &[Span], expected: &[Span]| {
            assert_eq!(span(0, 1_000).without(holes, Duration::from_micros(100)), expected, "{holes:?}");
        };
        check(&[], &[span(100, 900)]);
        check(&[span(200, 300), span(500, 600)], &[span(100, 200), span(300, 500), span(600, 900)]);
        // One that begins in another, and one beyond the end.
        check(&[span(200, 400), span(300, 350), span(800, 5_000)], &[span(100, 200), span(400, 800)]);
        check(&[span(0, 5_000)], &[]);
    }

    #[test]
    fn requests_are_counted_where_they_arrived() {
        let arrivals = Arrivals::of((0..2_000).rev().map(|i| 500_000 + i * 1_000).collect());
        assert_eq!(arrivals.whole(), Some(span(500_000, 2_499_000)));
        assert_eq!(arrivals.by_second(), [500, 1_000, 500]);
        assert_eq!(arrivals.busiest_second(), (1_000, 500_000));
        assert!(
            (arrivals.rate(&[span(500_000, 1_000_000), span(1_500_000, 1_600_000)]) - 1_000.0).abs() < 1e-6
        );
        assert!((arrivals.rate(&[span(2_000_000, 3_000_000)]) - 500.0).abs() < 1e-6);
        assert_eq!(arrivals.longest_silence_us(span(600_000, 700_000)), 1_000);
        assert_eq!(arrivals.longest_silence_us(span(2_400_000, 3_000_000)), 501_000);
        assert_eq!(arrivals.longest_silence_us(span(3_000_000, 4_000_000)), 1_000_000);
    }
}
