//! What a round of webhooks has to say.

use std::time::Duration;

use serde::Serialize;

use super::verify::Verdict;
use crate::{
    bare::per,
    meters::Cost,
    report::{Line, mega},
    sink::{Hooked, Wanted},
    trial,
};

/// Microseconds of CPU for each event.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct CpuMicros {
    fanfare: f64,
    postgres: f64,
    redis: f64,
    /// Who posts: the sink.
    client: f64,
}

/// One campaign's webhooks.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Round {
    events: u64,
    most_events_of_a_request: usize,
    connections: usize,
    /// Taken in: from the first request to the last 2xx, by the client's clock.
    events_per_second: f64,
    seconds: f64,
    /// Applied: from the first request to an empty inbox.
    applied_per_second: f64,
    applied_seconds: f64,
    put_off: u64,
    /// Until the inbox was empty, as are the following.
    cpu_micros_per_event: CpuMicros,
    commits_per_event: f64,
    wal_syncs_per_event: Option<f64>,
    wal_bytes_per_event: f64,
    peak_rss_bytes: u64,
    #[serde(flatten)]
    verdict: Verdict,
}

impl Round {
    pub(super) fn of(
        wanted: &Wanted,
        hooked: Hooked,
        applied: Duration,
        cost: Cost,
        peak_rss_bytes: u64,
        verdict: Verdict,
    ) -> Self {
        let took = Duration::from_micros(hooked.took_us);
        let cpu = cost.cpu_micros_per_message;
        Self {
            events: hooked.answered,
            most_events_of_a_request: wanted.most,
            connections: wanted.connections,
            events_per_second: per(hooked.answered, took),
            seconds: took.as_secs_f64(),
            applied_per_second: per(hooked.answered, applied),
            applied_seconds: applied.as_secs_f64(),
            put_off: hooked.put_off,
            cpu_micros_per_event: CpuMicros {
                fanfare: cpu.fanfare,
                postgres: cpu.postgres,
                redis: cpu.redis,
                client: cpu.receiver,
            },
            commits_per_event: cost.commits_per_message,
            wal_syncs_per_event: cost.wal_syncs_per_message,
            wal_bytes_per_event: cost.wal_bytes_per_message,
            peak_rss_bytes,
            verdict,
        }
    }

    pub(super) fn said(&self) -> String {
        let Self { events_per_second, applied_per_second, .. } = self;
        format!("{events_per_second:.0} events/s taken in, {applied_per_second:.0}/s applied")
    }
}

impl trial::Round for Round {
    const LINES: &'static [Line<Self>] = &[
        ("events", |round| round.events.to_string()),
        ("connections", |round| round.connections.to_string()),
        ("events taken in a second", |round| format!("{:.0}", round.events_per_second)),
        ("events applied a second", |round| format!("{:.0}", round.applied_per_second)),
        ("taken in after, s", |round| format!("{:.2}", round.seconds)),
        ("applied after, s", |round| format!("{:.2}", round.applied_seconds)),
        ("webhooks put off", |round| round.put_off.to_string()),
        ("CPU fanfare, microseconds an event", |round| format!("{:.2}", round.cpu_micros_per_event.fanfare)),
        ("CPU Postgres", |round| format!("{:.2}", round.cpu_micros_per_event.postgres)),
        ("CPU Redis", |round| format!("{:.2}", round.cpu_micros_per_event.redis)),
        ("CPU client", |round| format!("{:.2}", round.cpu_micros_per_event.client)),
        ("commits an event", |round| format!("{:.5}", round.commits_per_event)),
        ("syncs of the log an event", |round| {
            round.wal_syncs_per_event.map_or_else(|| "?".to_owned(), |syncs| format!("{syncs:.5}"))
        }),
        ("WAL bytes an event", |round| format!("{:.0}", round.wal_bytes_per_event)),
        ("peak memory of fanfare, MB", |round| format!("{:.1}", mega(round.peak_rss_bytes))),
        ("messages without their event", |round| round.verdict.lost.to_string()),
        ("events beyond one a message", |round| round.verdict.doubled.to_string()),
        ("events of nobody, or of another kind", |round| round.verdict.foreign.to_string()),
        ("webhooks left", |round| round.verdict.left.to_string()),
        ("webhooks rejected", |round| round.verdict.rejected.to_string()),
    ];

    fn rate(&self) -> f64 {
        self.events_per_second
    }

    fn is_right(&self) -> bool {
        self.verdict.is_clean()
    }
}
