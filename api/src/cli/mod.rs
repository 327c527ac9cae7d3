//! Every command: one file each, one line each here.
//!
//! A command reads the configuration, does its work, and prints for people or, with `--json`, for programs. Its exit
//! code is one of [`exit::Exit`]. What it prints goes to standard output; progress, log and errors to standard error.

pub mod context;
pub mod exit;

mod audit;
mod campaign;
mod config;
mod doctor;
pub(crate) mod follow;
pub(crate) mod import;
mod message;
pub(crate) mod migrate;
pub(crate) mod out;
mod reseal;
mod sandbox;
mod send;
pub(crate) mod serve;
mod suppress;
mod template;
mod tenant;
mod unsent;
pub(crate) mod user;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use self::{
    context::Context,
    exit::{Exit, Failure},
};

/// Notifications and campaigns to millions of people, by e-mail, SMS and WhatsApp.
#[derive(Debug, Parser)]
#[command(name = "fanfare", version, after_help = exit::CODES, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Args)]
pub struct Global {
    /// Configuration file [default: $FANFARE_CONFIG, then ./fanfare.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Show what led to an error, and more of the log; twice for all of it
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service: HTTP, deliverers, scheduler, upkeep
    Serve(serve::Args),
    /// Simulate the providers: Brevo e-mail and SMS, WhatsApp
    Sandbox(sandbox::Args),
    /// Bring the database's schema up to date
    Migrate,
    /// Show the configuration that holds, and where each value came from
    Config(config::Args),
    /// Organisations that send
    #[command(subcommand)]
    Tenant(tenant::Args),
    /// People who sign in
    #[command(subcommand)]
    User(user::Args),
    /// What was done, by whom
    #[command(subcommand)]
    Audit(audit::Args),
    /// Take contacts in from a CSV, TSV or Excel file
    Import(import::Args),
    /// Templates and their versions
    #[command(subcommand)]
    Template(template::Args),
    /// Campaigns: one send to an audience over one channel
    #[command(subcommand)]
    Campaign(campaign::Args),
    /// Who was not sent, and why
    Unsent(unsent::Args),
    /// All that is known of one message
    Message(message::Args),
    /// Send one message to one person, now
    Send(send::Args),
    /// Write to an address no more
    Suppress(suppress::Args),
    /// Seal every secret anew with the first of FANFARE_SEALING_KEYS
    Reseal,
    /// Look for what is missing, and say what to do
    Doctor,
    /// Say what the exit codes mean
    #[command(after_help = exit::CODES)]
    ExitCodes,
    /// See it work: a sample insurer, its files and campaigns, against simulated providers
    Demo(crate::demo::Args),
}

/// The program. It never panics on input, and every way out has its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; what cannot be printed has nobody to read it.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let verbose = cli.global.verbose > 0;
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::refused)
        .and_then(|runtime| runtime.block_on(run(cli)));
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            failure.print(verbose);
            failure.exit.into()
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    if let Command::Config(args) = &cli.command
        && args.defaults
    {
        return config::print_defaults();
    }
    if let Command::ExitCodes = cli.command {
        return out::print(exit::CODES);
    }
    let context = Context::load(&cli.global)?;
    match cli.command {
        Command::Serve(args) => serve::run(&context, &args).await,
        Command::Sandbox(args) => sandbox::run(&context, &args).await,
        Command::Migrate => migrate::run(&context).await,
        Command::Config(_) => config::run(&context),
        Command::ExitCodes => Ok(()),
        Command::Tenant(args) => tenant::run(&context, args).await,
        Command::User(args) => user::run(&context, args).await,
        Command::Audit(args) => audit::run(&context, args).await,
        Command::Import(args) => import::run(&context, args).await,
        Command::Template(args) => template::run(&context, args).await,
        Command::Campaign(args) => campaign::run(&context, args).await,
        Command::Unsent(args) => unsent::run(&context, args).await,
        Command::Message(args) => message::run(&context, args).await,
        Command::Send(args) => send::run(&context, args).await,
        Command::Suppress(args) => suppress::run(&context, args).await,
        Command::Reseal => reseal::run(&context).await,
        Command::Doctor => doctor::run(&context).await,
        Command::Demo(args) => crate::demo::run(&cli.global, &context, &args).await,
    }
}
