//! Which settings suit a peer best, on this machine: every candidate in turn, as often as there are rounds, enqueueing
//! included. A candidate that can't do it is kept with its reason.

use serde::Serialize;

use super::{
    Interrupted, Site,
    peer::Installed,
    report::{self, Cpu},
    session::{Measured, Mode},
    settings::{self, Grid, Settings},
};
use crate::machine::{self, Machine};

/// What a sweep found, the best first. It stands in the peer's `swept.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Swept {
    machine: Machine,
    commit: String,
    recipients: u64,
    candidates: Vec<Candidate>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    settings: Settings,
    /// The median of the rounds; absent if one failed or a message was wrong.
    messages_per_second: Option<f64>,
    rounds: Vec<f64>,
    cpu_micros_per_message: Option<Cpu>,
    peak_rss_bytes: Option<u64>,
    failed: Option<String>,
}

pub(crate) async fn sweep(site: &mut Site, peer: &Installed) -> anyhow::Result<Swept> {
    let mut candidates: Vec<Candidate> =
        Grid::candidates(peer.peer)?.into_iter().map(Candidate::new).collect();
    let count = candidates.len();
    for round in 1..=site.rounds {
        for (number, candidate) in candidates.iter_mut().enumerate() {
            println!(
                "\n{}, round {round}, candidate {} of {count}: {}",
                peer.peer,
                number + 1,
                candidate.settings
            );
            match site.session(peer, &candidate.settings, Mode::Whole).await {
                Ok(measured) => candidate.take(&measured),
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Err(error) => {
                    println!("  failed: {error:#}");
                    candidate.failed = Some(error.root_cause().to_string());
                }
            }
        }
    }
    for candidate in &mut candidates {
        candidate.conclude();
    }
    candidates.sort_by(|one, other| other.rate().total_cmp(&one.rate()));
    let swept = Swept {
        machine: Machine::this(),
        commit: machine::commit(),
        recipients: site.recipients,
        candidates,
    };
    swept.keep(peer)?;
    Ok(swept)
}

impl Candidate {
    const fn new(settings: Settings) -> Self {
        Self {
            settings,
            messages_per_second: None,
            rounds: Vec::new(),
            cpu_micros_per_message: None,
            peak_rss_bytes: None,
            failed: None,
        }
    }

    fn take(&mut self, measured: &Measured) {
        self.rounds.push(measured.messages_per_second);
        self.cpu_micros_per_message = Some(Cpu::of(measured.cost.cpu_micros_per_message));
        self.peak_rss_bytes = Some(measured.peak_rss_bytes);
        if !measured.verdict.is_clean() {
            self.failed = Some(format!("not every message was right: {:?}", measured.verdict));
        }
    }

    fn conclude(&mut self) {
        self.messages_per_second = if self.failed.is_none() { report::median(&self.rounds) } else { None };
    }

    fn rate(&self) -> f64 {
        self.messages_per_second.unwrap_or(0.0)
    }
}

impl Swept {
    /// Into the peer's folder: what was found, and the best as what is used from now on.
    fn keep(&self, peer: &Installed) -> anyhow::Result<()> {
        settings::write_json(&peer.peer.folder().join("swept.json"), self)?;
        println!("\n{}: messages a second, {} recipients", peer.peer, self.recipients);
        for candidate in &self.candidates {
            println!("  {:>7.0}  {}", candidate.rate(), candidate.settings);
        }
        match self.candidates.first().filter(|best| best.messages_per_second.is_some()) {
            Some(best) => best.settings.keep(peer.peer),
            None => anyhow::bail!("no candidate could do it"),
        }
    }
}
