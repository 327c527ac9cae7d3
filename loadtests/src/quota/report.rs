//! What a run of the quota has to say.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    QUOTA,
    arrivals::{Arrivals, Span},
    faults::{Kind, Struck},
};
use crate::{
    machine::Machine,
    report::{Figure, Line, print_rounds},
    verify::Verdict,
};

/// Of the quota, where nothing disturbs: what an account is expected to use at least.
const TO_BE_USED: f64 = 0.97;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Round {
    /// In any second of the run.
    pub(super) most_requests_in_a_second: u64,
    /// When that second begins, in seconds after the launch.
    busiest_second_at: f64,
    /// From the launch to the last arrival, over the quota.
    used: f64,
    /// The same where no fault was felt.
    used_undisturbed: f64,
    undisturbed_seconds: f64,
    messages_per_second: f64,
    first_message_ms: f64,
    /// From the launch to the last recorded outcome.
    seconds: f64,
    #[serde(flatten)]
    pub(super) verdict: Verdict,
    faults: Vec<Fault>,
    /// Arrivals in each second after the launch.
    by_second: Vec<usize>,
}

/// A fault, and how the account went from its beginning until it was felt no more.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Fault {
    kind: Kind,
    process: Option<usize>,
    /// After the launch.
    at_seconds: f64,
    felt_until_seconds: f64,
    used: f64,
    longest_silence_ms: f64,
}

impl Round {
    #[expect(clippy::cast_precision_loss, reason = "counts and rates")]
    pub(super) fn of(
        arrivals: &Arrivals,
        undisturbed: &[Span],
        struck: &[Struck],
        verdict: Verdict,
        recorded: Duration,
    ) -> Self {
        let (most_requests_in_a_second, busiest) = arrivals.busiest_second();
        let (first, last) = arrivals.whole().map_or((0, 0), |whole| (whole.from_us, whole.to_us));
        let messages_per_second = arrivals.count() as f64 / seconds(last).max(1e-6);
        Self {
            most_requests_in_a_second,
            busiest_second_at: seconds(busiest),
            used: share(messages_per_second),
            used_undisturbed: share(arrivals.rate(undisturbed)),
            undisturbed_seconds: seconds(undisturbed.iter().map(|span| span.length_us()).sum()),
            messages_per_second,
            first_message_ms: seconds(first) * 1e3,
            seconds: recorded.as_secs_f64(),
            verdict,
            faults: struck.iter().map(|struck| Fault::of(arrivals, *struck, last)).collect(),
            by_second: arrivals.by_second(),
        }
    }

    fn is_clean(&self) -> bool {
        self.verdict.is_clean_but_for_repeats() && self.most_requests_in_a_second <= u64::from(QUOTA)
    }
}

impl Fault {
    fn of(arrivals: &Arrivals, struck: Struck, last: u64) -> Self {
        let felt = struck.disturbed();
        let felt = Span { to_us: felt.to_us.min(last), ..felt };
        Self {
            kind: struck.kind,
            process: struck.process,
            at_seconds: seconds(struck.from_us),
            felt_until_seconds: seconds(felt.to_us),
            used: share(arrivals.rate(&[felt])),
            longest_silence_ms: seconds(arrivals.longest_silence_us(felt)) * 1e3,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Over all rounds, every figure by itself.
    pub(super) figures: BTreeMap<String, Figure>,
    pub(super) quota: u32,
    pub(super) recipients: u64,
    pub(super) processes: usize,
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) commit: String,
    pub(super) rounds: Vec<Round>,
}

impl Report {
    pub(super) fn is_clean(&self) -> bool {
        self.rounds.iter().all(Round::is_clean)
    }

    pub(super) fn print(&self) {
        let Machine { cpu, cores } = &self.machine;
        println!(
            "\nquota: {} requests a second, {} recipients, {} processes, {} round(s)\n{cpu}, {cores} cores, commit {}, {}\n",
            self.quota,
            self.recipients,
            self.processes,
            self.rounds.len(),
            self.commit,
            self.date
        );
        print_rounds(ROWS, &self.rounds);
        for (number, round) in (1..).zip(&self.rounds) {
            println!("\nround {number}, requests in each second after the launch:\n{:?}", round.by_second);
            round.faults.iter().for_each(Fault::print);
        }
        self.print_verdict();
    }

    fn print_verdict(&self) {
        let kept = self.rounds.iter().all(|round| round.most_requests_in_a_second <= self.quota.into());
        let right = self.rounds.iter().all(|round| round.verdict.is_clean_but_for_repeats());
        let used = self.rounds.iter().all(|round| round.used_undisturbed >= TO_BE_USED);
        println!("\n{}", if right { "every message was right" } else { "NOT EVERY MESSAGE WAS RIGHT" });
        println!("{}", if kept { "the quota was kept in every second" } else { "THE QUOTA WAS EXCEEDED" });
        let percent = TO_BE_USED * 100.0;
        println!(
            "undisturbed, {} {percent:.0} % of it were used",
            if used { "at least" } else { "LESS THAN" }
        );
    }
}

impl Fault {
    fn print(&self) {
        let whom = self.process.map_or_else(String::new, |process| format!(" (process {process})"));
        println!(
            "  {:>5.1} s to {:>5.1} s: {}{whom}: {:.1} % of the quota used, longest silence {:.0} ms",
            self.at_seconds,
            self.felt_until_seconds,
            self.kind.name(),
            self.used * 100.0,
            self.longest_silence_ms,
        );
    }
}

const ROWS: &[Line<Round>] = &[
    ("most requests in any second", |round| round.most_requests_in_a_second.to_string()),
    ("that second, s after the launch", |round| format!("{:.2}", round.busiest_second_at)),
    ("quota used, whole run, %", |round| format!("{:.1}", round.used * 100.0)),
    ("quota used, undisturbed, %", |round| format!("{:.1}", round.used_undisturbed * 100.0)),
    ("undisturbed, s", |round| format!("{:.1}", round.undisturbed_seconds)),
    ("messages a second", |round| format!("{:.0}", round.messages_per_second)),
    ("first message, ms after launch", |round| format!("{:.0}", round.first_message_ms)),
    ("whole campaign, s", |round| format!("{:.1}", round.seconds)),
    ("lost", |round| round.verdict.lost.to_string()),
    ("duplicated", |round| round.verdict.duplicated.to_string()),
    ("repeated under the same key", |round| round.verdict.repeated.to_string()),
    ("unknown", |round| round.verdict.unknown.to_string()),
    ("wrong digest", |round| round.verdict.wrong_digest.to_string()),
    ("wrong provider id", |round| round.verdict.wrong_provider_id.to_string()),
    ("wrong state", |round| round.verdict.wrong_state.to_string()),
    ("foreign", |round| round.verdict.foreign.to_string()),
];

fn share(per_second: f64) -> f64 {
    per_second / f64::from(QUOTA)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 microseconds")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
