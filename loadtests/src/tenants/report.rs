//! What a run of ten tenants has to say.

use std::collections::BTreeMap;

use serde::Serialize;

use super::THROTTLE;
use crate::{machine::Machine, report::Figure, verify::Verdict};

/// What the nine may lose.
const TO_BE_LOST: f64 = 0.05;

/// The campaigns of the nine, beside one kind of tenth.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Measured {
    /// Of the nine, from before the launches to the last arrival.
    pub(super) messages_per_second: f64,
    pub(super) seconds: f64,
    /// Until all outcomes of the nine were seen in Postgres.
    pub(super) recorded_seconds: f64,
    /// When the nine were done.
    pub(super) tenth: Tenth,
    #[serde(flatten)]
    pub(super) verdict: Verdict,
}

/// What the tenth had sent.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tenth {
    pub(super) messages: u64,
    pub(super) most_requests_in_a_second: u64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Round {
    pub(super) free: Measured,
    pub(super) throttled: Measured,
    pub(super) absent: Measured,
    /// Of their rate beside a free tenth, what the nine lose beside a throttled one; below 0 they gain.
    pub(super) lost_against_free: f64,
    /// The same of their rate alone.
    pub(super) lost_against_absent: f64,
}

impl Round {
    pub(super) fn of(free: Measured, throttled: Measured, absent: Measured) -> Self {
        let against = |other: &Measured| 1.0 - throttled.messages_per_second / other.messages_per_second;
        let (lost_against_free, lost_against_absent) = (against(&free), against(&absent));
        Self { free, throttled, absent, lost_against_free, lost_against_absent }
    }

    fn all(&self) -> [&Measured; 3] {
        [&self.free, &self.throttled, &self.absent]
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Over all rounds, every figure by itself.
    pub(super) figures: BTreeMap<String, Figure>,
    pub(super) recipients: u64,
    /// Requests a second of the throttled tenth.
    pub(super) throttle: u32,
    pub(super) workers: u16,
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) commit: String,
    pub(super) rounds: Vec<Round>,
}

impl Report {
    pub(super) fn is_clean(&self) -> bool {
        self.is_right() && self.is_kept()
    }

    fn is_right(&self) -> bool {
        self.rounds.iter().flat_map(Round::all).all(|measured| measured.verdict.is_clean())
    }

    fn is_kept(&self) -> bool {
        let throttled = |round: &Round| round.throttled.tenth.most_requests_in_a_second;
        self.rounds.iter().all(|round| throttled(round) <= u64::from(THROTTLE))
    }

    pub(super) fn print(&self) {
        let Machine { cpu, cores } = &self.machine;
        println!(
            "\nthrottled-tenant: ten tenants of {} people, {} process(es), {} round(s)\n{cpu}, {cores} cores, commit {}, {}\n",
            self.recipients / 10,
            self.workers,
            self.rounds.len(),
            self.commit,
            self.date
        );
        println!("{:<34}{:>12}{:>12}{:>12}", "", "median", "least", "most");
        for (name, key, decimals) in ROWS {
            let Some(Figure { median, least, most }) = self.figures.get(*key) else { continue };
            println!("{name:<34}{median:>12.decimals$}{least:>12.decimals$}{most:>12.decimals$}");
        }
        println!(
            "\n{}",
            if self.is_right() { "every message was right" } else { "NOT EVERY MESSAGE WAS RIGHT" }
        );
        let kept = if self.is_kept() { "never had" } else { "HAD" };
        println!("the throttled account {kept} more than {} requests in a second", self.throttle);
        let lost = self.figures.get("lostAgainstFree").map_or(0.0, |lost| lost.median);
        let within = if lost < TO_BE_LOST { "less than" } else { "MORE THAN" };
        println!("beside the throttled tenant the nine lose {within} {:.0} %", TO_BE_LOST * 100.0);
    }
}

/// Name, place in the figures, decimals.
const ROWS: &[(&str, &str, usize)] = &[
    ("the nine, a second, tenth free", "free.messagesPerSecond", 0),
    ("  tenth throttled", "throttled.messagesPerSecond", 0),
    ("  tenth absent", "absent.messagesPerSecond", 0),
    ("lost against free, share", "lostAgainstFree", 3),
    ("lost against absent, share", "lostAgainstAbsent", 3),
    ("the nine, s, tenth free", "free.seconds", 2),
    ("  tenth throttled", "throttled.seconds", 2),
    ("  tenth absent", "absent.seconds", 2),
    ("sent meanwhile by the throttled", "throttled.tenth.messages", 0),
    ("  its most in any second", "throttled.tenth.mostRequestsInASecond", 0),
    ("lost, tenth throttled", "throttled.lost", 0),
    ("duplicated, tenth throttled", "throttled.duplicated", 0),
    ("repeated, tenth throttled", "throttled.repeated", 0),
    ("unknown, tenth throttled", "throttled.unknown", 0),
    ("wrong digest, tenth throttled", "throttled.wrongDigest", 0),
];
