//! What can be measured, by name.

use clap::ValueEnum;
use serde::Serialize;

use crate::receiver::Kind;

/// A way to send a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// One request a message to the sandbox, which judges every one of them.
    Judged,
    /// One request a message to the sink, which answers at once.
    Single,
    /// The same, each answer after 50 ms.
    #[value(name = "single-50ms")]
    #[serde(rename = "single-50ms")]
    Single50,
    /// The same, each answer after 200 ms.
    #[value(name = "single-200ms")]
    #[serde(rename = "single-200ms")]
    Single200,
    /// As `single`, by four processes.
    FourProcesses,
    /// Many messages in a request, to the sink. The bare loop still sends one each, so the ratio says something else.
    Batches,
}

/// What a scenario sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) receiver: Kind,
    pub(crate) latency_ms: u64,
    pub(crate) workers: u16,
    pub(crate) batch: bool,
}

impl Scenario {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) const fn setup(self) -> Setup {
        let single = Setup { receiver: Kind::Sink, latency_ms: 0, workers: 1, batch: false };
        match self {
            Self::Judged => Setup { receiver: Kind::Sandbox, ..single },
            Self::Single => single,
            Self::Single50 => Setup { latency_ms: 50, ..single },
            Self::Single200 => Setup { latency_ms: 200, ..single },
            Self::FourProcesses => Setup { workers: 4, ..single },
            Self::Batches => Setup { batch: true, ..single },
        }
    }
}
