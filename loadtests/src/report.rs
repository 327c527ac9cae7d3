//! What a run has to say: a table for people, JSON for programs.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::{
    api, bare, machine::Machine, meters::Cost, otp::Latency, receiver::Kind, scenario::Scenario,
    verify::Verdict,
};

/// One bare loop and one campaign, right after each other.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Round {
    /// From the acknowledgment of the launch to the last recorded outcome.
    pub(crate) messages_per_second: f64,
    pub(crate) bare_requests_per_second: f64,
    pub(crate) ratio: f64,
    #[serde(flatten)]
    pub(crate) cost: Cost,
    /// Of all `fanfare serve` together, each at its own peak.
    pub(crate) peak_rss_bytes: u64,
    pub(crate) most_requests_in_a_second: u64,
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) first_message_ms: f64,
    pub(crate) freeze_seconds: f64,
    /// From the launch until a tenth of the recipients had an outcome.
    pub(crate) first_tenth_per_second: f64,
    /// From the moment when nine tenths had one.
    pub(crate) last_tenth_per_second: f64,
    pub(crate) seconds: f64,
    pub(crate) unsent_first_page_ms: f64,
    /// Of one-time passwords beside the campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) otp: Option<Latency>,
    /// Of requests to the API beside the campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api: Option<api::Figures>,
    pub(crate) bare: bare::Measured,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// The round whose ratio is the median.
    #[serde(flatten)]
    pub(crate) median: Round,
    /// Over all rounds, every figure by itself.
    pub(crate) figures: BTreeMap<String, Figure>,
    pub(crate) scenario: Scenario,
    pub(crate) receiver: Kind,
    pub(crate) recipients: u64,
    pub(crate) workers: usize,
    pub(crate) latency_ms: u64,
    pub(crate) fail_percent: u64,
    pub(crate) batch: bool,
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) commit: String,
    pub(crate) rounds: Vec<Round>,
}

/// A line of a table of rounds: what it is called, and what it says of a round.
pub(crate) type Line<R> = (&'static str, fn(&R) -> String);

/// Round beside round.
pub(crate) fn print_rounds<R>(lines: &[Line<R>], rounds: &[R]) {
    print!("{:<40}", "");
    for number in 1..=rounds.len() {
        print!("{:>14}", format!("round {number}"));
    }
    println!();
    for (name, value) in lines {
        print!("{name:<40}");
        for round in rounds {
            print!("{:>14}", value(round));
        }
        println!();
    }
}

/// How a figure went over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Figure {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        Some(Self { median: values[(values.len() - 1) / 2], least, most })
    }
}

/// Every number of the rounds, under its place in a round's JSON: `cpuMicrosPerMessage.postgres`.
pub(crate) fn figures<T: Serialize>(rounds: &[T]) -> anyhow::Result<BTreeMap<String, Figure>> {
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in rounds {
        numbers("", &serde_json::to_value(round)?, &mut values);
    }
    Ok(values.into_iter().filter_map(|(name, values)| Some((name, Figure::of(values)?))).collect())
}

fn numbers(name: &str, value: &Value, into: &mut BTreeMap<String, Vec<f64>>) {
    if let Some(number) = value.as_f64() {
        into.entry(name.to_owned()).or_default().push(number);
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        numbers(&name, value, into);
    }
}

/// The round with the median ratio; of an even number, the lower of the two in the middle.
pub(crate) fn median(rounds: &[Round]) -> Option<Round> {
    let mut sorted: Vec<&Round> = rounds.iter().collect();
    sorted.sort_by(|one, other| one.ratio.total_cmp(&other.ratio));
    sorted.get(sorted.len().checked_sub(1)? / 2).map(|&round| round.clone())
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        self.rounds.iter().all(Round::is_clean)
    }

    pub(crate) fn print(&self) {
        let Machine { cpu, cores } = &self.machine;
        println!(
            "\n{}: {} recipients, {} process(es), answers after {} ms, {} round(s)\n{cpu}, {cores} cores, commit {}, {}\n",
            self.scenario.name(),
            self.recipients,
            self.workers,
            self.latency_ms,
            self.rounds.len(),
            self.commit,
            self.date
        );
        print_rounds(ROWS, &self.rounds);
        println!("\nbare loop: {}; CPU in microseconds for each message", self.median.bare.setting);
        println!(
            "{}",
            if self.is_clean() { "every message was right" } else { "NOT EVERY MESSAGE WAS RIGHT" }
        );
    }
}

impl Round {
    fn is_clean(&self) -> bool {
        self.verdict.is_clean()
            && self.otp.is_none_or(|otp| otp.lost == 0)
            && self.api.as_ref().is_none_or(api::Figures::is_clean)
    }
}

/// The same of the API's.
fn api(round: &Round, show: fn(&api::Figures) -> String) -> String {
    round.api.as_ref().map_or_else(|| "-".to_owned(), show)
}

/// A line that most scenarios leave empty.
fn otp(round: &Round, show: fn(Latency) -> String) -> String {
    round.otp.map_or_else(|| "-".to_owned(), show)
}

const ROWS: &[Line<Round>] = &[
    ("messages a second", |round| format!("{:.0}", round.messages_per_second)),
    ("bare requests a second", |round| format!("{:.0}", round.bare_requests_per_second)),
    ("ratio", |round| format!("{:.3}", round.ratio)),
    ("CPU fanfare", |round| format!("{:.1}", round.cost.cpu_micros_per_message.fanfare)),
    ("CPU Postgres", |round| format!("{:.1}", round.cost.cpu_micros_per_message.postgres)),
    ("CPU Redis", |round| format!("{:.2}", round.cost.cpu_micros_per_message.redis)),
    ("CPU receiver", |round| format!("{:.1}", round.cost.cpu_micros_per_message.receiver)),
    ("CPU all", |round| format!("{:.1}", round.cost.cpu_micros_per_message.sum())),
    ("CPU of the bare loop's client", |round| format!("{:.1}", round.bare.client_cpu_micros)),
    ("CPU of the bare loop's receiver", |round| format!("{:.1}", round.bare.receiver_cpu_micros)),
    ("peak memory of all processes, MB", |round| format!("{:.1}", mega(round.peak_rss_bytes))),
    ("most requests in a second", |round| round.most_requests_in_a_second.to_string()),
    ("commits a message", |round| format!("{:.4}", round.cost.commits_per_message)),
    ("syncs of the log a message", |round| {
        round.cost.wal_syncs_per_message.map_or_else(|| "?".to_owned(), |syncs| format!("{syncs:.4}"))
    }),
    ("WAL bytes a message", |round| format!("{:.0}", round.cost.wal_bytes_per_message)),
    ("Redis commands a message", |round| format!("{:.4}", round.cost.redis_commands_per_message)),
    ("allocations of fanfare a message", |round| {
        round.cost.allocations_per_message.map_or_else(|| "-".to_owned(), |count| format!("{count:.1}"))
    }),
    ("first message, ms after launch", |round| format!("{:.0}", round.first_message_ms)),
    ("freeze, s", |round| format!("{:.1}", round.freeze_seconds)),
    ("first tenth, messages a second", |round| format!("{:.0}", round.first_tenth_per_second)),
    ("last tenth, messages a second", |round| format!("{:.0}", round.last_tenth_per_second)),
    ("whole campaign, s", |round| format!("{:.1}", round.seconds)),
    ("\"who was not sent\", first page, ms", |round| format!("{:.1}", round.unsent_first_page_ms)),
    ("one-time passwords, p50 in ms", |round| otp(round, |otp| format!("{:.1}", otp.timing.p50_ms))),
    ("one-time passwords, p99 in ms", |round| otp(round, |otp| format!("{:.1}", otp.timing.p99_ms))),
    ("one-time passwords, longest in ms", |round| otp(round, |otp| format!("{:.1}", otp.timing.most_ms))),
    ("one-time passwords measured", |round| otp(round, |otp| otp.timing.samples.to_string())),
    ("one-time passwords lost", |round| otp(round, |otp| otp.lost.to_string())),
    ("API requests a second", |round| api(round, |api| api.requests_per_second.to_string())),
    ("API reads, p50 in ms", |round| api(round, |api| format!("{:.1}", api.reads.p50_ms))),
    ("API reads, p99 in ms", |round| api(round, |api| format!("{:.1}", api.reads.p99_ms))),
    ("API reads, longest in ms", |round| api(round, |api| format!("{:.1}", api.reads.most_ms))),
    ("API sends, p50 in ms", |round| api(round, |api| format!("{:.1}", api.sends.p50_ms))),
    ("API sends, p99 in ms", |round| api(round, |api| format!("{:.1}", api.sends.p99_ms))),
    ("API sends, longest in ms", |round| api(round, |api| format!("{:.1}", api.sends.most_ms))),
    ("API sends at the receiver, p50 in ms", |round| {
        api(round, |api| format!("{:.1}", api.arrivals.timing.p50_ms))
    }),
    ("API sends at the receiver, p99 in ms", |round| {
        api(round, |api| format!("{:.1}", api.arrivals.timing.p99_ms))
    }),
    ("API sends at the receiver, longest", |round| {
        api(round, |api| format!("{:.1}", api.arrivals.timing.most_ms))
    }),
    ("API sends lost", |round| api(round, |api| api.arrivals.lost.to_string())),
    ("API answers that were wrong", |round| api(round, |api| api.errors.to_string())),
    ("API answers 429", |round| api(round, |api| api.limited.to_string())),
    ("API callers' CPU a request", |round| {
        api(round, |api| format!("{:.0}", api.client_cpu_micros_per_request))
    }),
    ("lost", |round| round.verdict.lost.to_string()),
    ("duplicated", |round| round.verdict.duplicated.to_string()),
    ("repeated under the same key", |round| round.verdict.repeated.to_string()),
    ("unknown", |round| round.verdict.unknown.to_string()),
    ("wrong digest", |round| round.verdict.wrong_digest.to_string()),
    ("conflicting message ids", |round| round.verdict.conflicts.to_string()),
    ("wrong provider id", |round| round.verdict.wrong_provider_id.to_string()),
    ("wrong state", |round| round.verdict.wrong_state.to_string()),
    ("foreign", |round| round.verdict.foreign.to_string()),
    ("webhooks not applied", |round| round.verdict.unapplied.to_string()),
];

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(crate) fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_number_has_a_median_and_a_range() {
        let mut values = BTreeMap::new();
        for rate in [30.0, 10.0, 20.0] {
            numbers("", &json!({"rate": rate, "cpu": {"redis": 1}, "name": "x"}), &mut values);
        }
        assert_eq!(values.keys().collect::<Vec<_>>(), ["cpu.redis", "rate"]);
        let figure = Figure::of(values["rate"].clone());
        assert_eq!(figure, Some(Figure { median: 20.0, least: 10.0, most: 30.0 }));
    }
}
