//! The workers of one process, under apalis' monitor until SIGTERM.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use apalis::prelude::*;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Interval, MissedTickBehavior},
};

use crate::{
    config::{self, Backend, Config, Job},
    office::Office,
};

/// How often an empty queue is looked at. Without a strategy a worker that found nothing waits for its heartbeat.
const POLL: Duration = Duration::from_millis(20);

/// Polls at an interval. The release's own `IntervalStrategy` leaves its timer without a waker when a fetch takes longer than the
/// interval: the worker then sleeps until its heartbeat, half a minute later.
struct Every(Interval);

impl Every {
    fn new(period: Duration) -> Self {
        let mut interval = tokio::time::interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(interval)
    }
}

impl PollStrategy for Every {
    fn poll_drive(&mut self, cx: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        let mut due = Poll::Pending;
        // To the tick that is still to come: only that one wakes.
        while self.0.poll_tick(cx).is_ready() {
            due = Poll::Ready(Some(()));
        }
        due
    }
}

async fn send(job: Job, office: Data<Arc<Office>>) -> Result<(), BoxDynError> {
    office.send(&job).await.map_err(|error| {
        eprintln!("job {}: {error:#}", job.n);
        error.into()
    })
}

/// Registers the workers on a backend; the two backends have nothing but apalis' traits in common.
macro_rules! register {
    ($monitor:expr, $storage:expr, $settings:expr, $office:expr) => {{
        let mut monitor = $monitor;
        for index in 0..$settings.workers {
            let (storage, office) = ($storage.clone(), Arc::clone(&$office));
            let concurrency = $settings.concurrency;
            monitor = monitor.register(move |_| {
                WorkerBuilder::new(format!("letters-{}-{index}", std::process::id()))
                    .backend(storage.clone().poll_with_strategy(Every::new(POLL)))
                    .concurrency(concurrency)
                    .parallelize(tokio::spawn)
                    .data(Arc::clone(&office))
                    .build(send)
            });
        }
        monitor
    }};
}

#[expect(clippy::disallowed_methods, reason = "as in apalis' guide; it awaits what it spawns")]
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let pool = config::pool(&config).await?;
    let settings = config.settings.clone();
    let redis = config::redis_storage(&config).await?;
    let postgres = config::postgres_storage(&pool, &settings);
    let office = Arc::new(Office::new(config, pool)?);
    let (started, all) = (AtomicUsize::new(0), settings.workers);
    let monitor = Monitor::new().on_event(move |worker, event| match event {
        Event::Start if started.fetch_add(1, Relaxed) + 1 == all => println!("ready"),
        Event::Error(error) => eprintln!("{}: {error}", worker.name()),
        _ => {}
    });
    let monitor = match settings.backend {
        Backend::Redis => register!(monitor, redis, settings, office),
        Backend::Postgres => register!(monitor, postgres, settings, office),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let ended = async move {
        terminate.recv().await;
        Ok(())
    };
    Ok(monitor.shutdown_timeout(Duration::from_secs(10)).run_with_signal(ended).await?)
}
