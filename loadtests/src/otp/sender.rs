//! The process under test: the engine with all roles, and callers who ask it for one-time passwords at fixed moments.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use fanfare::assemble;
use fanfare_engine::{
    config,
    deliver::direct::{DirectContent, DirectPath, DirectRequest, Taken},
    domain::channel::Channel,
    engine::Role,
    store::tenants::Tenant,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::address;
use crate::{bare, seed};

/// Before the moment of the first password in the log, in microseconds by the receiver's clock.
pub(super) const BEGINS: &str = "one-time passwords begin at ";
/// Until the process is at work.
const WARM_UP: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    config: PathBuf,
    #[arg(long)]
    per_second: u32,
    /// Whose clock counts.
    #[arg(long)]
    receiver: String,
}

/// Runs until it is told to end.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let sources = config::Sources {
        file: Some(options.config),
        variables: Vec::new(),
        folder: std::env::current_dir()?,
    };
    let config = config::load(&sources)?.config;
    let store = assemble::store(&config)?;
    let engine = assemble::engine(&config, store.clone(), &assemble::Sources::default()).await?;
    let running = engine.start(&[Role::Worker, Role::Scheduler, Role::Upkeep]);
    let tenants = store.tenants().await?;
    let tenant = tenants.into_iter().find(|tenant| tenant.slug == seed::TENANT).context("no tenant")?;
    let (now, clock_us) = clock(&options.receiver).await?;
    let begin = now + WARM_UP;
    println!("{BEGINS}{}", clock_us + u64::try_from(WARM_UP.as_micros())?);
    let caller = Arc::new(Caller { direct: running.direct.clone(), tenant });
    let calls = caller.call(begin, options.per_second);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        ended = calls => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(caller);
    running.shut_down().await;
    Ok(())
}

struct Caller {
    direct: DirectPath,
    tenant: Tenant,
}

impl Caller {
    /// Never ends by itself.
    async fn call(self: &Arc<Self>, begin: Instant, per_second: u32) -> anyhow::Result<()> {
        let mut calls = JoinSet::new();
        for k in 0.. {
            sleep_until(begin + Duration::from_secs(1) * k / per_second).await;
            let caller = Arc::clone(self);
            calls.spawn(async move { caller.one(u64::from(k)).await });
            while let Some(ended) = calls.try_join_next() {
                ended??;
            }
        }
        Ok(())
    }

    async fn one(&self, k: u64) -> anyhow::Result<()> {
        let variables = json!({"code": format!("{:06}", k % 1_000_000)});
        let taken = self
            .direct
            .take(DirectRequest {
                variables: variables.as_object().cloned().unwrap_or_default(),
                ..DirectRequest::new(
                    &self.tenant,
                    Channel::Email,
                    DirectContent::Template(seed::OTP_TEMPLATE),
                    &address(k),
                )
            })
            .await?;
        if let Taken::Accepted { outcome, .. } = taken {
            // Where nobody here sends it, the queue does.
            let _ = outcome.await;
        }
        Ok(())
    }
}

/// The receiver's clock, in microseconds, and the moment here at which it was so.
pub(crate) async fn clock(receiver: &str) -> anyhow::Result<(Instant, u64)> {
    #[derive(Deserialize)]
    struct Clock {
        monotonic_us: u64,
    }
    let client = bare::client()?;
    let mut best: Option<(Duration, Instant, u64)> = None;
    for _ in 0..20 {
        let asked = Instant::now();
        let text = client.get(format!("{receiver}/sandbox/clock")).send().await?.text().await?;
        let took = asked.elapsed();
        let told = serde_json::from_str::<Clock>(&text)?.monotonic_us;
        if best.is_none_or(|(least, ..)| took < least) {
            best = Some((took, asked + took / 2, told));
        }
    }
    let (_, moment, told) = best.context("the receiver's clock")?;
    Ok((moment, told))
}
