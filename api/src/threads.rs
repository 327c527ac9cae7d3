//! Threads for those who wait.
//!
//! A campaign keeps hundreds of tasks ready to run, and whoever calls would stand in line behind them at each step of the way: to
//! be read, to begin a transaction, to hear from the database, to be answered. On a runtime of its own a request stands in line
//! behind requests only, and the system gives its threads, which sleep most of the time, the processor before those that never
//! do. Single messages are sent here as well: what a request begins runs where the request does.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// As many threads as there are processors. What still runs on them when this is dropped is cut off, so it is kept until the
/// engine has ended.
#[derive(Debug)]
pub(crate) struct Threads {
    /// Absent once they are let go of.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Threads {
    pub(crate) fn new() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("api").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Dropping it would wait for its threads, which a task must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
