//! The work of the load test on apalis: `worker` renders, posts and records, `producer` enqueues.

mod config;
mod office;
mod producer;
mod worker;

use anyhow::bail;

/// As in Fanfare's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = config::read()?;
    match std::env::args().nth(1).as_deref() {
        Some("worker") => worker::run(config).await,
        Some("producer") => producer::run(config).await,
        _ => bail!("worker or producer?"),
    }
}
