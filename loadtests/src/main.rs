//! Load tests: how fast Fanfare sends, beside the fastest that this machine could, and whether everybody got what was meant.
//!
//! `run` is one command without any preparation. On a private Postgres, a private Redis and a receiver in a process of its
//! own it measures a *bare loop* (render, serialise, POST, read the answer: no database, no queue, no promise) and right
//! after it a campaign sent by real `fanfare serve` processes. Then it compares what was received with what the
//! seeded people should have got, message by message, and fails if one is lost, doubled, unknown or wrong. `quota` and
//! `throttled-tenant` measure on the same servers, with the same judge, what pacing promises; `ingest` and `import` what
//! comes in, `soak` what time does.
//!
//! Whatever it started it ends: servers, processes and data, also after an error or Ctrl-C.

mod api;
mod bare;
mod binary;
mod fleet;
mod import;
mod ingest;
mod letter;
mod machine;
mod meters;
mod older;
mod otp;
mod peers;
mod people;
mod processes;
mod proxy;
mod questions;
mod quota;
mod receiver;
mod report;
mod run;
mod scenario;
mod seed;
mod services;
mod sink;
mod site;
mod sizes;
mod soak;
mod tenants;
mod timing;
mod trial;
mod verify;
mod webhooks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use crate::receiver::Kind;

#[derive(Debug, Parser)]
#[command(about = "Measures Fanfare beside a bare loop, and checks every message")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the bare loop and a campaign, check every message, clean up.
    Run(run::Options),
    /// The same for every scenario.
    All(run::AllOptions),
    /// Other queues at the same work, on the same servers, with the same sink and the same checks.
    Peers(peers::Options),
    /// Whether an account's quota is kept and used while processes and Redis fail.
    Quota(quota::Options),
    /// Whether a tenant that has to wait holds up nine others.
    ThrottledTenant(tenants::Options),
    /// How fast webhooks are taken in and applied, while nothing is sent.
    Ingest(ingest::Options),
    /// How fast a file becomes contacts.
    Import(import::Options),
    /// The API on a large database: contacts by the million, and what its questions take.
    ApiSize(sizes::Options),
    /// Campaigns one after the other for half an hour: does anything grow, slow down or get lost?
    Soak(soak::Options),
    /// A receiver in a process of its own; ends when its standard input does.
    #[command(hide = true)]
    Receive(receiver::Options),
    /// The engine, and callers who want one-time passwords of it; ends when it is told to.
    #[command(hide = true)]
    Otp(otp::sender::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtests: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was right.
fn run(command: Command) -> anyhow::Result<bool> {
    let mut runtime = match &command {
        Command::Receive(options) if options.receiver == Kind::Sink => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(async {
        match command {
            Command::Run(options) => run::run(options).await,
            Command::All(options) => run::all(options).await,
            Command::Otp(options) => otp::sender::run(options).await.map(|()| true),
            Command::Peers(options) => peers::run(options).await,
            Command::Quota(options) => quota::run(options).await,
            Command::ThrottledTenant(options) => tenants::run(options).await,
            Command::Ingest(options) => ingest::run(options).await,
            Command::Import(options) => import::run(options).await,
            Command::ApiSize(options) => sizes::run(options).await,
            Command::Soak(options) => soak::run(options).await,
            Command::Receive(options) => receiver::serve(options).await.map(|()| true),
        }
    })
}
