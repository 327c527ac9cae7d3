//! `fanfare config`: what holds, and where it came from.

use fanfare_engine::config::{self, shown};

use super::{context::Context, exit::Failure, out};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the file with all defaults and what they mean
    #[arg(long)]
    pub(super) defaults: bool,
}

pub(super) fn print_defaults() -> Result<(), Failure> {
    out::print(&config::default_file())
}

pub(super) fn run(context: &Context) -> Result<(), Failure> {
    context.out.show(&shown(&context.loaded), |all| {
        let rows: Vec<Vec<String>> =
            all.iter().map(|key| vec![key.key.clone(), key.value.clone(), key.origin.to_string()]).collect();
        out::table(&["KEY", "VALUE", "FROM"], &rows)
    })
}
