//! Watching a campaign until it ends.

use std::{io::IsTerminal as _, time::Duration};

use fanfare_engine::{
    domain::campaign::CampaignState,
    id::{CampaignId, TenantId},
    store::{Store, campaigns::Progress},
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::exit::{Exit, Failure};

const LOOK: Duration = Duration::from_millis(250);
/// How often a line is written where nothing can be drawn.
const LINE: Duration = Duration::from_secs(5);

/// How far something is: a bar on a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub(crate) struct Meter {
    name: String,
    bar: ProgressBar,
    drawn: bool,
    said: Instant,
}

impl Meter {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, ProgressBar::new(0))
    }

    /// One of several that are drawn below each other.
    pub(crate) fn among(all: &MultiProgress, name: &str) -> Self {
        Self::with(name, all.add(ProgressBar::new(0)))
    }

    fn with(name: &str, bar: ProgressBar) -> Self {
        let drawn = std::io::stderr().is_terminal();
        let style =
            ProgressStyle::with_template("{prefix:<24} {bar:30} {pos:>9}/{len:<9} {per_sec:>10} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_prefix(name.to_owned());
        Self { name: name.to_owned(), bar, drawn, said: Instant::now() }
    }

    pub(crate) fn set(&mut self, done: u64, of: u64, note: impl Into<String>) {
        if self.drawn {
            self.bar.set_length(of);
            self.bar.set_position(done);
            self.bar.set_message(note.into());
        } else if self.said.elapsed() >= LINE {
            self.said = Instant::now();
            eprintln!("{}: {done} of {of} {}", self.name, note.into());
        }
    }

    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// Waits until a campaign has ended, and shows how far it is. Ctrl-C ends the watching, not the campaign.
pub(crate) async fn follow(
    store: &Store,
    tenant: TenantId,
    id: CampaignId,
) -> Result<(CampaignState, Progress), Failure> {
    let campaign = store.campaign(tenant, id).await?;
    let mut meter = Meter::new(&campaign.name);
    loop {
        let (state, progress) = (store.campaign(tenant, id).await?.state, store.progress(tenant, id).await?);
        meter.set(done(&progress), u64::try_from(progress.recipients).unwrap_or(0), note(state, &progress));
        if matches!(state, CampaignState::Finished { .. } | CampaignState::Cancelled { .. }) {
            meter.end();
            return Ok((state, progress));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => {
                meter.end();
                let sentence = format!("interrupted; the campaign goes on: `fanfare campaign status {id} --follow`");
                return Err(Failure::say(Exit::Interrupted, sentence));
            }
        }
    }
}

pub(crate) fn done(progress: &Progress) -> u64 {
    u64::try_from(progress.recipients - progress.waiting).unwrap_or(0)
}

pub(crate) fn note(state: CampaignState, progress: &Progress) -> String {
    let not_sent = progress.failed + progress.suppressed + progress.excluded;
    format!("{}, {} sent, {not_sent} not sent, {} unknown", state.as_str(), progress.sent, progress.unknown)
}
