//! What there is to say of a peer: a table for people, JSON for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{peer::Peer, session::Measured, settings::Settings};
use crate::{
    machine::{self, Machine},
    meters::CpuMicros,
    report::{self, Figure},
    verify::Verdict,
};

/// Microseconds of CPU a message; the producer's are among the peer's.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Cpu {
    peer: f64,
    postgres: f64,
    redis: f64,
    sink: f64,
    all: f64,
}

impl Cpu {
    pub(crate) fn of(cpu: CpuMicros) -> Self {
        let CpuMicros { fanfare: peer, postgres, redis, receiver: sink } = cpu;
        Self { peer, postgres, redis, sink, all: cpu.sum() }
    }
}

/// Fanfare's campaign of the same round.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Beside {
    messages_per_second: f64,
    cpu_micros_per_message: CpuMicros,
    peak_rss_bytes: u64,
    verdict: Verdict,
}

impl Beside {
    pub(crate) fn of(report: &report::Report) -> Self {
        let round = &report.median;
        Self {
            messages_per_second: round.messages_per_second,
            cpu_micros_per_message: round.cost.cpu_micros_per_message,
            peak_rss_bytes: round.peak_rss_bytes,
            verdict: round.verdict,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Round {
    /// From the first enqueueing to the last record.
    whole: Measured,
    cpu_micros_per_message: Cpu,
    commits_per_message: f64,
    wal_bytes_per_message: f64,
    redis_commands_per_message: f64,
    /// The queue was full when the workers started.
    burn_down: Measured,
    burn_down_cpu_micros_per_message: Cpu,
    fanfare: Option<Beside>,
    /// Fanfare's rate over the peer's; and over its burn-down.
    fanfare_over_peer: Option<f64>,
    fanfare_over_burn_down: Option<f64>,
}

impl Round {
    pub(crate) fn new(whole: Measured, burn_down: Measured, fanfare: Option<Beside>) -> Self {
        let over = |peer: Measured| fanfare.map(|ours| ours.messages_per_second / peer.messages_per_second);
        Self {
            cpu_micros_per_message: Cpu::of(whole.cost.cpu_micros_per_message),
            commits_per_message: whole.cost.commits_per_message,
            wal_bytes_per_message: whole.cost.wal_bytes_per_message,
            redis_commands_per_message: whole.cost.redis_commands_per_message,
            burn_down_cpu_micros_per_message: Cpu::of(burn_down.cost.cpu_micros_per_message),
            fanfare_over_peer: over(whole),
            fanfare_over_burn_down: over(burn_down),
            whole,
            burn_down,
            fanfare,
        }
    }

    fn is_clean(&self) -> bool {
        let ours = self.fanfare.is_none_or(|fanfare| fanfare.verdict.is_clean());
        self.whole.verdict.is_clean() && self.burn_down.verdict.is_clean() && ours
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    peer: Peer,
    settings: Settings,
    recipients: u64,
    machine: Machine,
    commit: String,
    /// Over all rounds, every figure by itself.
    figures: BTreeMap<String, Figure>,
    rounds: Vec<Round>,
}

impl Report {
    pub(crate) fn new(
        peer: Peer,
        settings: Settings,
        recipients: u64,
        rounds: Vec<Round>,
    ) -> anyhow::Result<Self> {
        let figures = report::figures(&rounds)?;
        Ok(Self {
            peer,
            settings,
            recipients,
            machine: Machine::this(),
            commit: machine::commit(),
            figures,
            rounds,
        })
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.rounds.iter().all(Round::is_clean)
    }

    pub(crate) fn print(&self) {
        println!("\n{}: {} recipients, {}\n", self.peer, self.recipients, self.settings);
        println!("{:<44}{:>12}{:>12}{:>12}", "", "median", "least", "most");
        for (title, name, unit, decimals) in ROWS {
            let Some(figure) = self.figures.get(*name) else { continue };
            print!("{title:<44}");
            for value in [figure.median, figure.least, figure.most] {
                print!("{:>12.*}", decimals, value / unit);
            }
            println!();
        }
        println!(
            "{}",
            if self.is_clean() { "every message was right" } else { "NOT EVERY MESSAGE WAS RIGHT" }
        );
    }
}

/// Title, place in a round's JSON, unit, decimals.
const ROWS: &[(&str, &str, f64, usize)] = &[
    ("messages a second, enqueueing included", "whole.messagesPerSecond", 1.0, 0),
    ("messages a second, burn-down", "burnDown.messagesPerSecond", 1.0, 0),
    ("Fanfare's messages a second", "fanfare.messagesPerSecond", 1.0, 0),
    ("Fanfare / peer", "fanfareOverPeer", 1.0, 2),
    ("Fanfare / burn-down", "fanfareOverBurnDown", 1.0, 2),
    ("enqueueing alone, s", "burnDown.enqueueSeconds", 1.0, 1),
    ("CPU of the peer, us a message", "cpuMicrosPerMessage.peer", 1.0, 1),
    ("CPU of Postgres", "cpuMicrosPerMessage.postgres", 1.0, 1),
    ("CPU of Redis", "cpuMicrosPerMessage.redis", 1.0, 1),
    ("CPU of the sink", "cpuMicrosPerMessage.sink", 1.0, 1),
    ("CPU of all", "cpuMicrosPerMessage.all", 1.0, 1),
    ("CPU of all, burn-down", "burnDownCpuMicrosPerMessage.all", 1.0, 1),
    ("peak memory of its processes, MB", "whole.peakRssBytes", 1e6, 1),
    ("commits a message", "commitsPerMessage", 1.0, 3),
    ("WAL bytes a message", "walBytesPerMessage", 1.0, 0),
    ("Redis commands a message", "redisCommandsPerMessage", 1.0, 2),
];

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}
