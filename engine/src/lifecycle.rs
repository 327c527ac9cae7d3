//! How a process ends: in two steps, by tokens that are passed on, never by a global.
//!
//! The first SIGINT or SIGTERM *drains*: nobody claims or accepts any more, what is at work is finished and recorded.
//! A second signal, or the end of [`GRACE`], *cuts*: tasks end where they are. Whatever is cut is as if the process had
//! been killed, which the leases and intents in the database are made for.

use std::time::Duration;

use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a drain may take. Supervisors commonly kill after 30 seconds.
pub const GRACE: Duration = Duration::from_secs(25);

/// What every task of a process is given; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    drain: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
}

/// How a process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything at work was finished.
    Drained,
    /// Some tasks were cut.
    Cut,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when nothing new is to be begun.
    pub const fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    /// Cancelled when everything is to end at once.
    pub const fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Begins the end, as a first signal does.
    pub fn stop(&self) {
        self.drain.cancel();
    }

    /// Runs a task until it ends by itself or is cut. [`Self::ended`] waits for it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_on(&Handle::current(), task);
    }

    /// The same on another runtime.
    pub fn spawn_on(&self, runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.tasks.spawn_on(async move { cut.run_until_cancelled(task).await }, runtime);
    }

    /// Waits until [`Self::stop`] or a first signal, then for the tasks, at most [`GRACE`] or until a second signal.
    pub async fn ended(&self, signals: &mut Signals) -> Ended {
        tokio::select! {
            () = self.drain.cancelled() => {}
            name = signals.next() => tracing::info!(signal = name, grace_s = GRACE.as_secs(), "finishing what is at work"),
        }
        self.drain.cancel();
        self.tasks.close();
        let reason = tokio::select! {
            () = self.tasks.wait() => return Ended::Drained,
            name = signals.next() => name,
            () = tokio::time::sleep(GRACE) => "it took too long",
        };
        tracing::warn!(reason, "cutting off what is at work");
        self.cut.cancel();
        self.tasks.wait().await;
        Ended::Cut
    }
}

/// SIGINT and SIGTERM. From its making on they end nothing by themselves, so a process has it before it says that it is ready.
#[derive(Debug)]
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// # Errors
    ///
    /// The system gives no handler.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The name of the next one that comes.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_what_is_at_work() {
        let life = Lifecycle::new();
        let (done, finished) = tokio::sync::oneshot::channel();
        let drain = life.drain().clone();
        life.spawn(async move {
            drain.cancelled().await;
            tokio::time::sleep(Duration::from_secs(20)).await;
            let _ = done.send(());
        });
        life.stop();
        assert_eq!(life.ended(&mut Signals::new().expect("signals")).await, Ended::Drained);
        assert!(finished.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_outlives_the_grace() {
        let life = Lifecycle::new();
        life.spawn(std::future::pending());
        life.stop();
        assert_eq!(life.ended(&mut Signals::new().expect("signals")).await, Ended::Cut);
    }
}
