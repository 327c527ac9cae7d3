//! Results: facts about attempts, appended and merged, never changed.
//!
//! A flush of the recorder is one transaction with a constant number of statements: the counters of the chunks, which holds
//! their rows, the facts, and the chunks of what is to be tried again. Facts are taken whatever the epoch; the counters of a
//! chunk that has had more than one owner are recounted from its facts. Acceptances are mostly elsewhere: see
//! [`super::acceptances`]. Where a webhook settles one of the same messages at the same moment the two may wait for each other;
//! Postgres ends one of them, and both repeat.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Store, StoreError, StoreResult, acceptances, chunks::columns};
use crate::{
    domain::{
        chunk::ChunkRef,
        outcome::{FactKind, Outcome, Reason},
    },
    id::{AccountId, CampaignId, MessageId, TenantId},
};

/// What is known of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub chunk: ChunkRef,
    /// The epoch under which the chunk was worked on.
    pub epoch: i32,
    pub n: i32,
    pub attempt: i16,
    pub account_no: i16,
    pub at: Timestamp,
    pub outcome: Outcome,
}

/// Members of a chunk that are to be tried again.
#[derive(Debug, Clone)]
pub struct Retry {
    pub tenant: TenantId,
    pub campaign: CampaignId,
    pub account: AccountId,
    pub attempt: i16,
    pub burned: i16,
    pub members: Vec<i32>,
    pub wait: Duration,
    pub born_at: Timestamp,
}

#[derive(Debug, Default, Clone, Copy)]
struct Delta {
    accepted: i32,
    failed: i32,
    suppressed: i32,
    unknown: i32,
    moved: i32,
}

impl Delta {
    const fn count(&mut self, kind: FactKind) {
        match kind {
            FactKind::Accepted => self.accepted += 1,
            FactKind::Failed => self.failed += 1,
            FactKind::Suppressed => self.suppressed += 1,
            FactKind::Unknown | FactKind::Abandoned => self.unknown += 1,
            FactKind::Retry => self.moved += 1,
        }
    }
}

impl Store {
    /// Appends facts and the retries that follow from them, all or nothing.
    pub async fn record(&self, facts: &[Fact], retries: &[Retry]) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let told_again = count(&mut tx, facts).await?;
        append(&mut tx, facts, &told_again).await?;
        recount(&mut tx, &told_again).await?;
        if !retries.is_empty() {
            insert_retries(&mut tx, retries).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Messages whose latest fact is `unknown`, from `oldest` seconds of age to `youngest`.
    pub async fn unknown_messages(
        &self,
        youngest: Duration,
        oldest: Duration,
        limit: i64,
    ) -> StoreResult<Vec<UnknownMessage>> {
        let rows = sqlx::query!(
            r#"select r.campaign_id, r.n, r.attempt, a.id as account_id, r.at as "at: jiff_sqlx::Timestamp"
               from results r join accounts a on a.no = r.account_no
               where r.kind = 4 and r.at between now() - make_interval(secs => $2) and now() - make_interval(secs => $1)
                 and not exists (select 1 from facts_of(r.campaign_id, r.n) better
                                 where better.attempt = r.attempt and better.kind <> 4)
               order by r.at limit $3"#,
            youngest.as_secs_f64(),
            oldest.as_secs_f64(),
            limit,
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| UnknownMessage {
                message: MessageId { campaign: row.campaign_id.into(), n: row.n },
                attempt: row.attempt,
                account: row.account_id.into(),
                at: row.at.to_jiff(),
            })
            .collect())
    }

    /// Gives up on messages that stayed unknown until their deadline.
    pub async fn abandon(&self, messages: &[UnknownMessage]) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let campaigns: Vec<Uuid> = messages.iter().map(|m| m.message.campaign.uuid()).collect();
        let numbers: Vec<i32> = messages.iter().map(|m| m.message.n).collect();
        let attempts: Vec<i16> = messages.iter().map(|m| m.attempt).collect();
        sqlx::query!(
            "insert into results (campaign_id, n, attempt, kind, reason)
             select campaign_id, n, attempt, 5, $4 from unnest($1::uuid[], $2::integer[], $3::smallint[]) as m (campaign_id, n, attempt)
             on conflict do nothing",
            &campaigns,
            &numbers,
            &attempts,
            Reason::Unconfirmed.as_str(),
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// See [`replay_failed`].
    pub async fn replay_failed(
        &self,
        tenant: TenantId,
        campaign: CampaignId,
        chunk: i32,
    ) -> StoreResult<i64> {
        let mut tx = self.begin().await?;
        let messages = replay_failed(&mut tx, tenant, campaign, chunk).await?;
        tx.commit().await?;
        Ok(messages)
    }
}

/// Puts every message of a campaign that failed for good into new chunks, and opens the campaign again if it was finished:
/// "retry only the failed". Returns how many messages.
pub async fn replay_failed(
    tx: &mut PgConnection,
    tenant: TenantId,
    campaign: CampaignId,
    chunk: i32,
) -> StoreResult<i64> {
    let account = sqlx::query_scalar!(
        r"select a.id from campaigns k
          cross join unnest(k.route) with ordinality as route (account_id, place)
          join accounts a on a.id = route.account_id and a.deleted_at is null
          where k.id = $2 and k.tenant_id = $1
          order by route.place limit 1",
        tenant.uuid(),
        campaign.uuid(),
    );
    let Some(account) = account.fetch_optional(&mut *tx).await? else {
        return Err(StoreError::Conflict(
            "every account that this campaign was sent over is deleted: clone it to send it over another"
                .to_owned(),
        ));
    };
    let rows = sqlx::query!(
        r#"with failed as (
               select r.n, r.attempt, row_number() over (partition by r.attempt order by r.n) - 1 as rank
               from results r
               where r.campaign_id = $2 and r.kind = 2 and not exists (
                   -- Moved on, tried again since, or accepted after all.
                   select 1 from facts_of($2, r.n) other
                   where (other.attempt > r.attempt or other.kind = 0 or (other.attempt = r.attempt and other.kind = 1)))
           ), made as (
               insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, members, size)
               select $2, nextval('chunk_no'), $1, $4, f.attempt + 1, 0, array_agg(f.n order by f.n), count(*)
               from failed f, campaigns k
               where k.id = $2 and k.tenant_id = $1
               group by f.attempt, f.rank / least($3, throttled_chunk(k.throttle_per_minute))
               returning size
           ), moved as (
               -- The failure stays a fact; the message is counted where it is tried again.
               insert into results (campaign_id, n, attempt, kind)
               select $2, n, attempt, 1 from failed where exists (select 1 from made)
               returning n, attempt
           )
           select distinct chunk_of($2, n, attempt) as "no!", (select sum(size) from made) as "replayed!" from moved"#,
        tenant.uuid(),
        campaign.uuid(),
        chunk,
        account,
    )
    .fetch_all(&mut *tx)
    .await?;
    let chunks: Vec<ChunkRef> = rows.iter().map(|row| ChunkRef { campaign, no: row.no }).collect();
    let (campaigns, numbers) = columns(&chunks);
    sqlx::query!("select recount_chunks($1, $2)", &campaigns, &numbers).execute(&mut *tx).await?;
    if !rows.is_empty() {
        // In the same commit: a finished campaign with open chunks would wait for ever.
        sqlx::query!(
            "update campaigns set state = 'sending', finished_at = null where id = $1 and state = 'finished'",
            campaign.uuid()
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(rows.first().map_or(0, |row| row.replayed))
}

#[derive(Debug, Clone)]
pub struct UnknownMessage {
    pub message: MessageId,
    pub attempt: i16,
    pub account: AccountId,
    pub at: Timestamp,
}

async fn append(
    connection: &mut PgConnection,
    facts: &[Fact],
    told_again: &HashSet<ChunkRef>,
) -> StoreResult<()> {
    let (accepted, others): (Vec<&Fact>, Vec<&Fact>) =
        facts.iter().partition(|fact| matches!(fact.outcome, Outcome::Accepted { .. }));
    if !accepted.is_empty() {
        acceptances::append(connection, accepted, told_again).await?;
    }
    if !others.is_empty() {
        append_others(connection, &others).await?;
    }
    Ok(())
}

async fn append_others(connection: &mut PgConnection, facts: &[&Fact]) -> StoreResult<()> {
    let reasons: Vec<Option<&str>> =
        facts.iter().map(|fact| fact.outcome.reason().map(Reason::as_str)).collect();
    let details: Vec<Option<&str>> = facts
        .iter()
        .map(|fact| match &fact.outcome {
            Outcome::Failed { detail, .. } => detail.as_deref(),
            _ => None,
        })
        .collect();
    sqlx::query!(
        "select append_results($1, $2, $3, $4, $5, $6, $7, $8)",
        &facts.iter().map(|fact| fact.chunk.campaign.uuid()).collect::<Vec<_>>(),
        &facts.iter().map(|fact| fact.n).collect::<Vec<_>>(),
        &facts.iter().map(|fact| fact.attempt).collect::<Vec<_>>(),
        &facts.iter().map(|fact| fact.outcome.kind() as i16).collect::<Vec<_>>(),
        &facts.iter().map(|fact| fact.account_no).collect::<Vec<_>>(),
        facts.iter().map(|fact| fact.at.to_sqlx()).collect::<Vec<_>>() as _,
        reasons as _,
        details as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds to the counters of chunks that their first owner still owns, and holds their rows. Returns the others.
async fn count(connection: &mut PgConnection, facts: &[Fact]) -> StoreResult<HashSet<ChunkRef>> {
    // Sorted, so that two recorders lock the rows in the same order.
    let mut deltas: std::collections::BTreeMap<(ChunkRef, i32), Delta> = std::collections::BTreeMap::new();
    for fact in facts {
        deltas.entry((fact.chunk, fact.epoch)).or_default().count(fact.outcome.kind());
    }
    let chunks: Vec<ChunkRef> = deltas.keys().map(|(chunk, _)| *chunk).collect();
    let (campaigns, numbers) = columns(&chunks);
    let epochs: Vec<i32> = deltas.keys().map(|(_, epoch)| *epoch).collect();
    let column = |of: fn(&Delta) -> i32| -> Vec<i32> { deltas.values().map(of).collect() };
    let counted = sqlx::query!(
        r#"update chunks c set
               accepted = c.accepted + d.accepted, failed = c.failed + d.failed, suppressed = c.suppressed + d.suppressed,
               unknown = c.unknown + d.unknown, moved = c.moved + d.moved,
               done_at = case when c.size = c.accepted + c.failed + c.suppressed + c.unknown + c.moved
                                       + d.accepted + d.failed + d.suppressed + d.unknown + d.moved then now() end
           from unnest($1::uuid[], $2::bigint[], $3::integer[], $4::integer[], $5::integer[], $6::integer[],
                       $7::integer[], $8::integer[])
                as d (campaign_id, no, epoch, accepted, failed, suppressed, unknown, moved)
           where c.campaign_id = d.campaign_id and c.no = d.no and c.epoch = d.epoch and c.epoch = 1
           returning c.campaign_id, c.no"#,
        &campaigns,
        &numbers,
        &epochs,
        &column(|d| d.accepted),
        &column(|d| d.failed),
        &column(|d| d.suppressed),
        &column(|d| d.unknown),
        &column(|d| d.moved),
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut told_again: HashSet<ChunkRef> = chunks.into_iter().collect();
    for row in counted {
        told_again.remove(&ChunkRef { campaign: row.campaign_id.into(), no: row.no });
    }
    Ok(told_again)
}

async fn recount(connection: &mut PgConnection, chunks: &HashSet<ChunkRef>) -> StoreResult<()> {
    if chunks.is_empty() {
        return Ok(());
    }
    let chunks: Vec<ChunkRef> = chunks.iter().copied().collect();
    let (campaigns, numbers) = columns(&chunks);
    sqlx::query!("select recount_chunks($1, $2)", &campaigns, &numbers).execute(connection).await?;
    Ok(())
}

async fn insert_retries(connection: &mut PgConnection, retries: &[Retry]) -> StoreResult<()> {
    for retry in retries {
        sqlx::query!(
            "insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, members, size, not_before, born_at, time_zone)
             select $1, nextval('chunk_no'), $2, $3, $4, $5, $6, cardinality($6::integer[]), now() + make_interval(secs => $7), $8,
                    (select time_zone from chunks where campaign_id = $1 and no <= $6[1] order by no desc limit 1)",
            retry.campaign.uuid(),
            retry.tenant.uuid(),
            retry.account.uuid(),
            retry.attempt,
            retry.burned,
            &retry.members,
            retry.wait.as_secs_f64(),
            retry.born_at.to_sqlx() as _,
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
