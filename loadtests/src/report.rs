//! What a run has to say: a table for people, JSON for programs.

use serde::Serialize;

use crate::{bare, machine::Machine, meters::Cost, verify::Verdict};

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
    /// Of the largest `fanfare serve`.
    pub(crate) peak_rss_bytes: u64,
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) first_message_ms: f64,
    pub(crate) freeze_seconds: f64,
    pub(crate) seconds: f64,
    pub(crate) unsent_first_page_ms: f64,
    pub(crate) bare: bare::Measured,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// The round whose ratio is the median.
    #[serde(flatten)]
    pub(crate) median: Round,
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

/// The round with the median ratio; of an even number, the lower of the two in the middle.
pub(crate) fn median(rounds: &[Round]) -> Option<Round> {
    let mut sorted: Vec<&Round> = rounds.iter().collect();
    sorted.sort_by(|one, other| one.ratio.total_cmp(&other.ratio));
    sorted.get(sorted.len().checked_sub(1)? / 2).map(|&round| round.clone())
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        self.rounds.iter().all(|round| round.verdict.is_clean())
    }

    pub(crate) fn print(&self) {
        let Machine { cpu, cores } = &self.machine;
        println!(
            "\n{} recipients, {} process(es), answers after {} ms, {} round(s)\n{cpu}, {cores} cores, commit {}, {}\n",
            self.recipients,
            self.workers,
            self.latency_ms,
            self.rounds.len(),
            self.commit,
            self.date
        );
        print!("{:<34}", "");
        for number in 1..=self.rounds.len() {
            print!("{:>14}", format!("round {number}"));
        }
        println!();
        for (name, value) in ROWS {
            print!("{name:<34}");
            for round in &self.rounds {
                print!("{:>14}", value(round));
            }
            println!();
        }
        println!("\nbare loop: {}; CPU in microseconds for each message", self.median.bare.setting);
        println!(
            "{}",
            if self.is_clean() { "every message was right" } else { "NOT EVERY MESSAGE WAS RIGHT" }
        );
    }
}

type Row = (&'static str, fn(&Round) -> String);

const ROWS: &[Row] = &[
    ("messages a second", |round| format!("{:.0}", round.messages_per_second)),
    ("bare requests a second", |round| format!("{:.0}", round.bare_requests_per_second)),
    ("ratio", |round| format!("{:.3}", round.ratio)),
    ("CPU fanfare", |round| format!("{:.1}", round.cost.cpu_micros_per_message.fanfare)),
    ("CPU Postgres", |round| format!("{:.1}", round.cost.cpu_micros_per_message.postgres)),
    ("CPU Redis", |round| format!("{:.2}", round.cost.cpu_micros_per_message.redis)),
    ("CPU sandbox", |round| format!("{:.1}", round.cost.cpu_micros_per_message.sandbox)),
    ("CPU all", |round| format!("{:.1}", round.cost.cpu_micros_per_message.sum())),
    ("CPU of the bare loop's client", |round| format!("{:.1}", round.bare.client_cpu_micros)),
    ("CPU of the bare loop's sandbox", |round| format!("{:.1}", round.bare.sandbox_cpu_micros)),
    ("peak memory of a process, MB", |round| format!("{:.1}", mega(round.peak_rss_bytes))),
    ("commits a message", |round| format!("{:.4}", round.cost.commits_per_message)),
    ("WAL bytes a message", |round| format!("{:.0}", round.cost.wal_bytes_per_message)),
    ("Redis commands a message", |round| format!("{:.4}", round.cost.redis_commands_per_message)),
    ("first message, ms after launch", |round| format!("{:.0}", round.first_message_ms)),
    ("freeze, s", |round| format!("{:.1}", round.freeze_seconds)),
    ("whole campaign, s", |round| format!("{:.1}", round.seconds)),
    ("\"who was not sent\", first page, ms", |round| format!("{:.1}", round.unsent_first_page_ms)),
    ("lost", |round| round.verdict.lost.to_string()),
    ("duplicated", |round| round.verdict.duplicated.to_string()),
    ("unknown", |round| round.verdict.unknown.to_string()),
    ("wrong digest", |round| round.verdict.wrong_digest.to_string()),
    ("conflicting message ids", |round| round.verdict.conflicts.to_string()),
    ("wrong provider id", |round| round.verdict.wrong_provider_id.to_string()),
    ("wrong state", |round| round.verdict.wrong_state.to_string()),
    ("foreign", |round| round.verdict.foreign.to_string()),
];

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
