//! Acceptances: nearly every fact is one, so they are appended by the run.
//!
//! | | |
//! |---|---|
//! | Run | what the first owner of a chunk tells of numbers near each other: one row of `acceptances`, an array of times and one of provider ids |
//! | Row | an acceptance that comes with few others, or from a later owner of its chunk: one row of `results`, like every other fact |
//!
//! The caller holds the rows of the chunks of the runs it appends, as their first owner: nobody else can tell of these messages
//! meanwhile. Rows are appended where no run tells the same, so a message is accepted once an attempt, whoever tells it again.
//! Readers go through `facts_of` and `facts_between`, which know both tables.

use std::collections::HashSet;

use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{StoreResult, results::Fact};
use crate::domain::{chunk::ChunkRef, outcome::Outcome};

/// Numbers from the first to the last of a run, at most. The table checks it: a look-up of a number reaches as far.
const SPAN: i32 = 1_024;
/// Fewer are rows. A look-up of a number that meets all the runs it may meet reads `SPAN / FEWEST` of them.
const FEWEST: usize = 8;

/// Appends acceptances; none by the run of `told_again`, the chunks of which not only their first owner tells.
pub(super) async fn append(
    connection: &mut PgConnection,
    mut accepted: Vec<&Fact>,
    told_again: &HashSet<ChunkRef>,
) -> StoreResult<()> {
    let shared = |fact: &Fact| (fact.chunk, fact.attempt, fact.account_no);
    accepted.sort_unstable_by_key(|fact| (shared(fact), fact.n));
    let (mut runs, mut rows) = (Vec::new(), Vec::new());
    for mut rest in accepted.chunk_by(|one, other| shared(one) == shared(other)) {
        while let [first, ..] = rest {
            let (near, beyond) = rest.split_at(rest.partition_point(|fact| fact.n - first.n < SPAN));
            if near.len() < FEWEST || told_again.contains(&first.chunk) {
                rows.extend_from_slice(near);
            } else {
                runs.push(near);
            }
            rest = beyond;
        }
    }
    if !runs.is_empty() {
        append_runs(&mut *connection, &runs).await?;
    }
    if !rows.is_empty() {
        append_rows(connection, &rows).await?;
    }
    Ok(())
}

/// The arrays of all runs behind each other: Postgres has no arrays of arrays of different lengths.
async fn append_runs(connection: &mut PgConnection, runs: &[&[&Fact]]) -> StoreResult<()> {
    let (mut starts, mut lasts) = (Vec::with_capacity(runs.len()), Vec::with_capacity(runs.len()));
    let (mut ats, mut provider_ids) = (Vec::new(), Vec::new());
    for run in runs {
        starts.push(i32::try_from(ats.len() + 1).expect("a flush has fewer facts than that"));
        let mut next = run[0].n;
        for fact in *run {
            // Told twice in one flush.
            if fact.n < next {
                continue;
            }
            while next < fact.n {
                ats.push(None);
                provider_ids.push(None);
                next += 1;
            }
            ats.push(Some(fact.at.to_sqlx()));
            provider_ids.push(provider_id(fact));
            next += 1;
        }
        lasts.push(next - 1);
    }
    sqlx::query!(
        "select append_runs($1, $2, $3, $4, $5, $6, $7, $8)",
        &runs.iter().map(|run| run[0].chunk.campaign.uuid()).collect::<Vec<_>>(),
        &runs.iter().map(|run| run[0].attempt).collect::<Vec<_>>(),
        &runs.iter().map(|run| run[0].account_no).collect::<Vec<_>>(),
        &runs.iter().map(|run| run[0].n).collect::<Vec<_>>(),
        &lasts,
        &starts,
        ats as _,
        provider_ids as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What acceptances of one campaign, attempt and account share is told once.
async fn append_rows(connection: &mut PgConnection, facts: &[&Fact]) -> StoreResult<()> {
    let shared = |fact: &Fact| (fact.chunk.campaign.uuid(), fact.attempt, fact.account_no);
    let mut groups: Vec<(Uuid, i16, i16)> = facts.iter().map(|fact| shared(fact)).collect();
    groups.sort_unstable();
    groups.dedup();
    let group = |fact: &Fact| {
        let at = groups.binary_search(&shared(fact)).expect("every fact's group is among them");
        i32::try_from(at + 1).expect("a flush has fewer facts than that")
    };
    sqlx::query!(
        "select append_accepted($1, $2, $3, $4, $5, $6, $7)",
        &groups.iter().map(|group| group.0).collect::<Vec<_>>(),
        &groups.iter().map(|group| group.1).collect::<Vec<_>>(),
        &groups.iter().map(|group| group.2).collect::<Vec<_>>(),
        &facts.iter().map(|fact| group(fact)).collect::<Vec<_>>(),
        &facts.iter().map(|fact| fact.n).collect::<Vec<_>>(),
        facts.iter().map(|fact| fact.at.to_sqlx()).collect::<Vec<_>>() as _,
        facts.iter().map(|fact| provider_id(fact)).collect::<Vec<_>>() as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn provider_id(fact: &Fact) -> Option<&str> {
    match &fact.outcome {
        Outcome::Accepted { provider_id } => provider_id.as_deref(),
        _ => None,
    }
}
