//! Trials beside the campaigns: the same thing measured in rounds against a bar, and the report of it.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Serialize;
use sqlx::PgPool;

use crate::{
    machine::{self, Machine},
    report::{self, Figure, Line},
    run,
};

/// One measurement.
pub(crate) trait Round: Serialize + Clone + 'static {
    /// Its lines in the table.
    const LINES: &'static [Line<Self>];

    /// What it is judged by: the more, the better.
    fn rate(&self) -> f64;

    /// Whether everything came out as it should.
    fn is_right(&self) -> bool;
}

/// What is to be reached: a rate, and how it is said.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) rate: f64,
    pub(crate) said: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report<R> {
    #[serde(skip)]
    name: &'static str,
    #[serde(skip)]
    bar: Bar,
    /// The round whose rate is the median.
    #[serde(flatten)]
    median: R,
    /// Over all rounds, every figure by itself.
    figures: BTreeMap<String, Figure>,
    date: String,
    machine: Machine,
    commit: String,
    rounds: Vec<R>,
}

impl<R: Round> Report<R> {
    pub(crate) async fn of(
        name: &'static str,
        bar: Bar,
        rounds: Vec<R>,
        pool: &PgPool,
    ) -> anyhow::Result<Self> {
        let mut sorted: Vec<&R> = rounds.iter().collect();
        sorted.sort_by(|one, other| one.rate().total_cmp(&other.rate()));
        let median = sorted.len().checked_sub(1).map(|last| sorted[last / 2].clone());
        Ok(Self {
            name,
            bar,
            median: median.context("there is at least one round")?,
            figures: report::figures(&rounds)?,
            date: run::date(pool).await?,
            machine: Machine::this(),
            commit: machine::commit(),
            rounds,
        })
    }

    pub(crate) fn is_right(&self) -> bool {
        self.rounds.iter().all(R::is_right)
    }

    pub(crate) fn print(&self) {
        let Machine { cpu, cores } = &self.machine;
        println!(
            "\n{}, {} round(s)\n{cpu}, {cores} cores, commit {}, {}\n",
            self.name,
            self.rounds.len(),
            self.commit,
            self.date
        );
        report::print_rounds(R::LINES, &self.rounds);
        println!("\n{}", if self.is_right() { "everything was right" } else { "NOT EVERYTHING WAS RIGHT" });
        let reached = if self.median.rate() >= self.bar.rate { "reached" } else { "NOT REACHED" };
        println!("the bar, {}: {reached}", self.bar.said);
    }
}
