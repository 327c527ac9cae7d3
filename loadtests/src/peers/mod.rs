//! Peers: other queues that do the work of the load test, with the same letter, sink, servers and judge.
//!
//! A *peer* is a folder of `loadtests/peers` with two programs: a worker, which renders, posts and records one recipient a
//! job, and a producer, which enqueues everybody by that queue's own bulk way. The harness installs the queue from its
//! registry ([`peer`]), and measures it in *sessions* ([`session`]), each on fresh private servers: one that enqueues and
//! works at once, and one that finds the queue full, so that nobody can say that the producer was the bound. With `--sweep`
//! it tries every setting of the peer's `sweep.json` ([`sweep`]) and writes the best into the peer's `settings.json`, which
//! the other runs use.

mod audience;
mod crew;
mod peer;
mod report;
mod session;
mod settings;
mod sweep;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::bail;
use clap::{Args, ValueEnum as _};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{
    peer::{Installed, Peer},
    report::{Beside, Report, Round},
    session::{Measured, Mode, Session},
    settings::Settings,
};

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Which queue; each of them if absent.
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// People that are written to.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=50_000_000))]
    recipients: u64,
    /// Everything is measured so many times.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    rounds: u16,
    /// Try what stands in the peer's `sweep.json` instead, and write the best into its `settings.json`.
    #[arg(long)]
    sweep: bool,
    /// Another value for one of the peer's settings, as NAME=VALUE; may be repeated.
    #[arg(long = "set", conflicts_with = "sweep")]
    changes: Vec<String>,
    /// In each round a campaign of Fanfare's too: the scenario `single`.
    #[arg(long, conflicts_with = "sweep")]
    beside_fanfare: bool,
    /// Where the figures go, as JSON, by peer.
    #[arg(long)]
    json: Option<PathBuf>,
    /// A session is given up after so many minutes.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

/// What the person at the terminal may send. Made once: what comes between two sessions is met by the next.
#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What all sessions of a command share.
#[derive(Debug)]
struct Site {
    recipients: u64,
    rounds: u16,
    limit: Duration,
    signals: Signals,
}

impl Site {
    /// Measures once, and leaves nothing behind.
    async fn session(
        &mut self,
        installed: &Installed,
        settings: &Settings,
        mode: Mode,
    ) -> anyhow::Result<Measured> {
        let mut session = Session::new(installed, settings, self.recipients, mode)?;
        let result = tokio::select! {
            measured = tokio::time::timeout(self.limit, session.measure()) =>
                measured.unwrap_or_else(|_| bail!("not done after {} s (--minutes)", self.limit.as_secs())),
            () = self.signals.any() => Err(Interrupted.into()),
        };
        if result.as_ref().is_err_and(|error| !error.is::<Interrupted>()) {
            eprint!("{}", session.last_words());
        }
        session.tear_down().await;
        result
    }
}

#[derive(Debug)]
struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Whether every message was right.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let peers = options.peer.map_or_else(|| Peer::value_variants().to_vec(), |peer| vec![peer]);
    let mut installed = Vec::new();
    // Before the signals are caught: Ctrl-C ends an installation by itself.
    for peer in peers {
        installed.push(peer.install().await?);
    }
    let mut site = Site {
        recipients: options.recipients,
        rounds: options.rounds,
        limit: Duration::from_secs(options.minutes * 60),
        signals: Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        },
    };
    if options.sweep {
        let mut swept = BTreeMap::new();
        for peer in &installed {
            swept.insert(peer.peer, sweep::sweep(&mut site, peer).await?);
            write(options.json.as_deref(), &swept)?;
        }
        return Ok(true);
    }
    let mut reports = BTreeMap::new();
    for peer in &installed {
        let settings = Settings::of(peer.peer)?.changed(&options.changes)?;
        let report = report(&mut site, peer, settings, options.beside_fanfare).await?;
        report.print();
        reports.insert(peer.peer, report);
        // What has been measured is not lost with what comes after it.
        write(options.json.as_deref(), &reports)?;
    }
    Ok(reports.values().all(Report::is_clean))
}

async fn report(
    site: &mut Site,
    peer: &Installed,
    settings: Settings,
    beside_fanfare: bool,
) -> anyhow::Result<Report> {
    let mut rounds = Vec::new();
    for number in 1..=site.rounds {
        println!("\n{}, round {number} of {}: {settings}", peer.peer, site.rounds);
        let whole = site.session(peer, &settings, Mode::Whole).await?;
        let burn_down = site.session(peer, &settings, Mode::BurnDown).await?;
        // With the hand on the signals of its own.
        let fanfare = if beside_fanfare { Some(crate::run::single(site.recipients).await?) } else { None };
        rounds.push(Round::new(whole, burn_down, fanfare.as_ref().map(Beside::of)));
    }
    Report::new(peer.peer, settings, site.recipients, rounds)
}

fn write(path: Option<&Path>, figures: &impl serde::Serialize) -> anyhow::Result<()> {
    path.map_or(Ok(()), |path| settings::write_json(path, figures))
}
