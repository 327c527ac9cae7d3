//! Load tests: how fast Fanfare sends, beside the fastest that this machine could, and whether everybody got what was meant.
//!
//! `run` is one command without any preparation. On a private Postgres, a private Redis and a sandbox in a process of its
//! own it measures a *bare loop* (render, serialise, POST, read the answer: no database, no queue, no promise) and right
//! after it a campaign sent by real `fanfare serve` processes. Then it compares what the sandbox received with what the
//! seeded people should have got, message by message, and fails if one is lost, doubled, unknown or wrong.
//!
//! Whatever it started it ends: servers, processes and data, also after an error or Ctrl-C.

mod bare;
mod binary;
mod fleet;
mod letter;
mod machine;
mod meters;
mod people;
mod processes;
mod questions;
mod report;
mod run;
mod sandbox;
mod seed;
mod services;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// The sandbox in a process of its own; ends when its standard input does.
    #[command(hide = true)]
    Sandbox(sandbox::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(options) => run::run(options).await,
        Command::Sandbox(options) => sandbox::serve(options).await.map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtests: {error:#}");
            ExitCode::FAILURE
        }
    }
}
