//! Log and metrics of this process.
//!
//! The log goes to standard error, so that what a command prints stays its own. Neither holds addresses, contents or
//! secrets: whoever writes a log line names ids.

use std::sync::OnceLock;

use fanfare_engine::config::sections::{LogConfig, LogFormat};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// From a twentieth of a millisecond, an urgent message's own time, to half a minute.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

#[derive(Debug, thiserror::Error)]
#[error(
    "`log.filter` is `{filter}`, which cannot be read ({problem}): write something like \"info\" or \"info,fanfare_engine=debug\""
)]
pub struct FilterError {
    filter: String,
    problem: String,
}

/// Starts the log. A second call changes nothing.
pub fn start_log(config: &LogConfig) -> Result<(), FilterError> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| FilterError { filter: config.filter.clone(), problem: error.to_string() })?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(true);
    // An error means that the process has a log already.
    let _ = match config.format {
        LogFormat::Pretty => {
            registry.with(layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init()
        }
        LogFormat::Json => {
            registry.with(layer.json().flatten_event(true).with_current_span(false)).try_init()
        }
    };
    Ok(())
}

/// The metrics of this process; the first call installs their recorder.
pub fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
                .expect("the list of buckets is not empty")
                .build_recorder();
            let handle = recorder.handle();
            // Whoever embeds this crate may have a recorder; then ours shows nothing, and theirs everything.
            if metrics::set_global_recorder(recorder).is_ok() {
                fanfare_engine::metrics::describe();
            }
            handle
        })
        .clone()
}
