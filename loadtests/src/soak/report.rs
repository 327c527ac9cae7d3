//! What a soak has to say: whether all was right, and the last third beside the first.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Serialize;

use super::{
    Options, Sent,
    watch::{Minute, Second, mean_rss},
};
use crate::{
    machine::{self, Machine},
    report::mega,
    verify::Verdict,
};

/// What the memory of the last third may be of that of the first.
const MAY_GROW: f64 = 1.25;

/// A third of the time.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Third {
    /// Of its campaigns, the time between them left out.
    messages_per_second: f64,
    /// The mean.
    rss_bytes: u64,
}

/// A table, from before the first campaign to the end.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Growth {
    bytes_before: u64,
    bytes_after: u64,
    /// What it grew for each message in the first third of the minutes, and in the last: more means bloat.
    first_bytes_per_message: f64,
    last_bytes_per_message: f64,
    most_dead: u64,
    dead_after: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    seconds: f64,
    campaign_of: u64,
    fail_percent: u64,
    messages: u64,
    /// Over the time in which a campaign was under way.
    messages_per_second: f64,
    peak_rss_bytes: u64,
    first_third: Third,
    last_third: Third,
    /// The last third over the first.
    memory_ratio: f64,
    rate_ratio: f64,
    /// Of all campaigns together.
    #[serde(flatten)]
    verdict: Verdict,
    tables: BTreeMap<String, Growth>,
    date: String,
    machine: Machine,
    commit: String,
    minutes: Vec<Minute>,
    campaigns: Vec<Sent>,
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "a ratio of memory")]
    pub(super) fn of(
        options: &Options,
        campaigns: Vec<Sent>,
        (seconds, minutes): (Vec<Second>, Vec<Minute>),
        peak_rss_bytes: u64,
        date: String,
    ) -> anyhow::Result<Self> {
        let each = options.campaign_of;
        let ((first_sent, last_sent), (first, last)) = (thirds(&campaigns), thirds(&seconds));
        let third = |sent: &[Sent], seconds: &[Second]| Third {
            messages_per_second: rate(sent, each),
            rss_bytes: mean_rss(seconds),
        };
        let (first_third, last_third) = (third(first_sent, first), third(last_sent, last));
        let mut verdict = Verdict::default();
        campaigns.iter().for_each(|sent| verdict += sent.verdict);
        Ok(Self {
            seconds: minutes.last().context("there is at least one minute")?.at_seconds,
            campaign_of: each,
            fail_percent: options.fail_percent,
            messages: each * campaigns.len() as u64,
            messages_per_second: rate(&campaigns, each),
            peak_rss_bytes,
            first_third,
            last_third,
            memory_ratio: last_third.rss_bytes as f64 / first_third.rss_bytes.max(1) as f64,
            rate_ratio: last_third.messages_per_second / first_third.messages_per_second,
            verdict,
            tables: growth(&minutes),
            date,
            machine: Machine::this(),
            commit: machine::commit(),
            minutes,
            campaigns,
        })
    }

    pub(super) fn is_passed(&self) -> bool {
        self.verdict.is_clean() && self.memory_ratio <= MAY_GROW
    }

    pub(super) fn print(&self) {
        let Machine { cpu, cores } = &self.machine;
        println!(
            "\nsoak: {:.0} s, {} campaigns to {} people, {} % refused\n{cpu}, {cores} cores, commit {}, {}\n",
            self.seconds,
            self.campaigns.len(),
            self.campaign_of,
            self.fail_percent,
            self.commit,
            self.date
        );
        println!("{:<34}{:>14}{:>14}{:>10}", "", "first third", "last third", "ratio");
        let (first, last) = (self.first_third, self.last_third);
        let line = |name: &str, first: f64, last: f64, ratio: f64| {
            println!("{name:<34}{first:>14.1}{last:>14.1}{ratio:>10.3}");
        };
        line("messages a second", first.messages_per_second, last.messages_per_second, self.rate_ratio);
        line("memory of fanfare, MB", mega(first.rss_bytes), mega(last.rss_bytes), self.memory_ratio);
        println!("\npeak memory of fanfare, MB: {:.1}", mega(self.peak_rss_bytes));
        self.print_tables();
        println!("\n{:?}", self.verdict);
        let right = self.verdict.is_clean();
        println!("{}", if right { "every message was right" } else { "NOT EVERY MESSAGE WAS RIGHT" });
        let grew = if self.memory_ratio <= MAY_GROW { "at most" } else { "MORE THAN" };
        println!("the memory of the last third is {grew} {MAY_GROW} times that of the first");
    }

    fn print_tables(&self) {
        println!(
            "\n{:<14}{:>12}{:>12}{:>20}{:>20}{:>12}{:>12}",
            "table",
            "MB before",
            "MB after",
            "bytes a message,",
            "in the last third",
            "dead, most",
            "at the end"
        );
        for (name, table) in &self.tables {
            println!(
                "{name:<14}{:>12.1}{:>12.1}{:>20.1}{:>20.1}{:>12}{:>12}",
                mega(table.bytes_before),
                mega(table.bytes_after),
                table.first_bytes_per_message,
                table.last_bytes_per_message,
                table.most_dead,
                table.dead_after
            );
        }
    }
}

/// The first third and the last, each of one at least.
fn thirds<T>(all: &[T]) -> (&[T], &[T]) {
    let third = (all.len() / 3).max(1).min(all.len());
    (&all[..third], &all[all.len() - third..])
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn rate(sent: &[Sent], each: u64) -> f64 {
    let seconds: f64 = sent.iter().map(|sent| sent.seconds).sum();
    (each * sent.len() as u64) as f64 / seconds
}

/// The first minute is how things stood before.
fn growth(minutes: &[Minute]) -> BTreeMap<String, Growth> {
    let (Some(before), Some(after)) = (minutes.first(), minutes.last()) else { return BTreeMap::new() };
    let third = (minutes.len().saturating_sub(1) / 3).max(1).min(minutes.len() - 1);
    let (first, last) = (&minutes[third], &minutes[minutes.len() - 1 - third]);
    let of = |name: &str, minute: &Minute| {
        minute.tables.get(name).map_or((0, 0), |table| (table.bytes, table.dead))
    };
    let table = |name: &str| Growth {
        bytes_before: of(name, before).0,
        bytes_after: of(name, after).0,
        first_bytes_per_message: per_message(
            of(name, before).0,
            of(name, first).0,
            first.recorded - before.recorded,
        ),
        last_bytes_per_message: per_message(
            of(name, last).0,
            of(name, after).0,
            after.recorded - last.recorded,
        ),
        most_dead: minutes.iter().map(|minute| of(name, minute).1).max().unwrap_or(0),
        dead_after: of(name, after).1,
    };
    after.tables.keys().map(|name| (name.clone(), table(name))).collect()
}

/// Below 0 where it shrank.
#[expect(clippy::cast_precision_loss, reason = "a mean")]
fn per_message(before: u64, after: u64, messages: u64) -> f64 {
    (after as f64 - before as f64) / messages.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_is_never_empty() {
        assert_eq!(thirds(&[1, 2, 3, 4, 5, 6, 7]), (&[1, 2][..], &[6, 7][..]));
        assert_eq!(thirds(&[1, 2]), (&[1][..], &[2][..]));
        assert_eq!(thirds(&[1]), (&[1][..], &[1][..]));
        assert_eq!(thirds::<u8>(&[]), (&[][..], &[][..]));
    }
}
