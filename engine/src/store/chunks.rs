//! Chunks: who owns one, how far its intents have come, and which are due.
//!
//! A chunk is owned by a conditional update: epoch and time limit stand in its row. The epoch fences claims and intents;
//! facts merge whatever the epoch. An owner that dies leaves its intents behind, and its successor reads from them who
//! may have been written to.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::{Store, StoreResult};
use crate::{
    domain::{
        channel::Lane,
        chunk::{ChunkRef, Members},
        outcome::Reason,
    },
    id::{AccountId, CampaignId, ProcessId, TenantId},
};

/// A chunk that this process owns until its lease ends.
#[derive(Debug, Clone)]
pub struct Claim {
    pub chunk: ChunkRef,
    pub tenant: TenantId,
    pub account: AccountId,
    pub epoch: i32,
    pub attempt: i16,
    pub burned: i16,
    pub members: Members,
    pub born_at: Timestamp,
    /// Intents of earlier owners that may have been on the wire; empty for a chunk that was given back in order.
    pub intents: Vec<Intent>,
    /// The database's clock at the claim.
    pub now: Timestamp,
}

/// A committed intent, as an owner left it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Intent {
    pub from: usize,
    pub to: usize,
    pub at: Timestamp,
    /// The key of a batch request; single requests derive theirs from the message.
    pub key: Option<Uuid>,
    pub skip: Vec<usize>,
}

impl Intent {
    pub fn covers(&self, position: usize) -> bool {
        (self.from..self.to).contains(&position) && !self.skip.contains(&position)
    }
}

/// What is asked of the database right before the first byte leaves.
#[derive(Debug)]
pub struct IntentRequest<'a> {
    pub claim: &'a Claim,
    pub lease: Duration,
    /// Ascending.
    pub positions: &'a [i32],
    pub key: Option<Uuid>,
    pub contacts: &'a [Option<Uuid>],
    pub addresses: &'a [&'a str],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntentVerdict {
    /// Everybody but these positions may be written to, now.
    Go { excluded: Vec<(usize, Reason)> },
    /// The campaign does not send now.
    Stopped,
    /// Another process owns the chunk.
    Lost,
}

/// A chunk that somebody should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueChunk {
    pub chunk: ChunkRef,
    pub account: AccountId,
}

impl Store {
    /// Takes ownership of those of `wanted` that are due and free. Each claim raises the chunk's epoch. A chunk of a throttled
    /// campaign takes its turn, too.
    pub async fn claim_chunks(
        &self,
        process: ProcessId,
        wanted: &[ChunkRef],
        lease: Duration,
    ) -> StoreResult<Vec<Claim>> {
        let (campaigns, numbers) = columns(wanted);
        let rows = sqlx::query!(
            r#"with due as (
                   select c.campaign_id, c.no
                   from unnest($2::uuid[], $3::bigint[]) as wanted (campaign_id, no)
                   -- One after another by its key, however few there were when this was planned.
                   cross join lateral (
                       select * from chunks c
                       where c.campaign_id = wanted.campaign_id and c.no = wanted.no and c.done_at is null
                         and (c.owned_until is null or c.owned_until < now())
                         and (c.not_before is null or c.not_before <= now())
                       for update skip locked
                   ) c
                   join campaigns k on k.id = c.campaign_id
                   where k.state in ('launching', 'sending')
                     and next_window(c.time_zone, k.window_from, k.window_to) is null
                     and case when k.throttle_per_minute is null then true else take_turn(k.id, c.size) end
               )
               update chunks c set epoch = c.epoch + 1, owner = $1, owned_until = now() + make_interval(secs => $4)
               from due
               where c.campaign_id = due.campaign_id and c.no = due.no
               returning c.campaign_id, c.no, c.tenant_id, c.account_id, c.epoch, c.attempt, c.burned, c.first_n,
                         c.last_n, c.members, c.born_at as "born_at: jiff_sqlx::Timestamp",
                         coalesce(c.intents, '[]') as "intents!: sqlx::types::Json<Vec<Intent>>",
                         now() as "now!: jiff_sqlx::Timestamp""#,
            process.uuid(),
            &campaigns,
            &numbers,
            lease.as_secs_f64(),
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Claim {
                chunk: ChunkRef { campaign: row.campaign_id.into(), no: row.no },
                tenant: row.tenant_id.into(),
                account: row.account_id.into(),
                epoch: row.epoch,
                attempt: row.attempt,
                burned: row.burned,
                members: match (row.first_n, row.last_n) {
                    (Some(first), Some(last)) => Members::Range { first, last },
                    _ => Members::List(row.members.unwrap_or_default()),
                },
                born_at: row.born_at.to_jiff(),
                intents: row.intents.0,
                now: row.now.to_jiff(),
            })
            .collect())
    }

    /// Re-checks everything that may stop the slice and commits the intent to send it, under the tenant's shared lock.
    pub async fn commit_intent(&self, request: &IntentRequest<'_>) -> StoreResult<IntentVerdict> {
        let row = sqlx::query!(
            "select verdict, excluded, reasons
             from commit_intent($1, $2, $3, $4, make_interval(secs => $5), $6, $7, $8, $9)",
            request.claim.tenant.uuid(),
            request.claim.chunk.campaign.uuid(),
            request.claim.chunk.no,
            request.claim.epoch,
            request.lease.as_secs_f64(),
            request.positions,
            request.key,
            request.contacts as _,
            request.addresses as _,
        )
        .fetch_one(self.pool())
        .await?;
        Ok(match row.verdict.as_deref() {
            Some("go") => {
                let excluded = row.excluded.unwrap_or_default().into_iter();
                let reasons = row.reasons.unwrap_or_default().into_iter();
                IntentVerdict::Go {
                    excluded: excluded
                        .zip(reasons)
                        .filter_map(|(at, reason)| {
                            Some((usize::try_from(at).ok()?, reason.parse().unwrap_or(Reason::Unsubscribed)))
                        })
                        .collect(),
                }
            }
            Some("stopped") => IntentVerdict::Stopped,
            _ => IntentVerdict::Lost,
        })
    }

    /// Gives a chunk back, with nothing of it on the wire. It may be claimed again after `pause`.
    pub async fn release_chunk(&self, claim: &Claim, pause: Duration) -> StoreResult<()> {
        sqlx::query!(
            "update chunks set owner = null, owned_until = null, intents = null,
                 not_before = case when $4::double precision > 0 then now() + make_interval(secs => $4::double precision) else not_before end
             where campaign_id = $1 and no = $2 and epoch = $3 and done_at is null",
            claim.chunk.campaign.uuid(),
            claim.chunk.no,
            claim.epoch,
            pause.as_secs_f64(),
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Which members have a fact of this attempt already, and which of those an open question.
    pub async fn known_members(&self, claim: &Claim, numbers: &[i32]) -> StoreResult<Vec<i32>> {
        Ok(sqlx::query_scalar!(
            r#"select member.n as "n!" from unnest($3::integer[]) as member (n)
               where exists (select from facts_of($1, member.n) f where f.attempt = $2)"#,
            claim.chunk.campaign.uuid(),
            claim.attempt,
            numbers,
        )
        .fetch_all(self.pool())
        .await?)
    }

    /// Due chunks of a lane that nobody owns: retries first, then the first of every campaign, then the second …, so that
    /// a small campaign does not wait behind a big one. `no + 0` and `num_nulls` are what the index of open chunks goes by.
    pub async fn due_chunks(&self, lane: Lane, per_campaign: i64, limit: i64) -> StoreResult<Vec<DueChunk>> {
        let rows = sqlx::query!(
            r#"with due as (
                   select c.campaign_id, c.no, c.account_id, c.rank
                   from campaigns k
                   cross join lateral (
                       (select c.*, row_number() over (order by c.no) as rank from (
                           select campaign_id, no, account_id from chunks c
                           where c.campaign_id = k.id and c.no + 0 > k.done_through and c.no + 0 < 4294967296
                             and num_nulls(c.done_at) = 1 and (c.owned_until is null or c.owned_until < now())
                             and (c.not_before is null or c.not_before <= now())
                             and next_window(c.time_zone, k.window_from, k.window_to) is null
                           order by c.no + 0
                           -- As many as may begin before somebody looks again, and some that may turn out to be another's.
                           limit case when k.throttle_per_minute is null then $3::bigint
                                      else least($3, 4 + k.throttle_per_minute / 3000) end) c)
                       union all
                       (select campaign_id, no, account_id, 0 from chunks c
                        where c.campaign_id = k.id and c.no + 0 >= 4294967296
                          and num_nulls(c.done_at) = 1 and (c.owned_until is null or c.owned_until < now())
                          and (c.not_before is null or c.not_before <= now())
                          and next_window(c.time_zone, k.window_from, k.window_to) is null
                        order by c.no + 0
                        limit case when k.throttle_per_minute is null then $3::bigint
                                   else least($3, 4 + k.throttle_per_minute / 3000) end)
                   ) c
                   where k.state in ('launching', 'sending') and k.channel = $1 and k.class = $2
                     and (k.throttled_until is null or k.throttled_until <= now())
                     -- Who gathers messages for a later hour is passed over until then.
                     and (k.kind = 'campaign' or k.scheduled_at is null or k.scheduled_at <= now())
               )
               select due.campaign_id as "campaign_id!", due.no as "no!", due.account_id as "account_id!"
               from due join accounts a on a.id = due.account_id
               where a.blocked_until is null or a.blocked_until < now()
               order by due.rank, due.campaign_id, due.no
               limit $4"#,
            lane.channel.as_str(),
            lane.class.as_str(),
            per_campaign,
            limit,
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| DueChunk {
                chunk: ChunkRef { campaign: row.campaign_id.into(), no: row.no },
                account: row.account_id.into(),
            })
            .collect())
    }

    /// How many chunks of each account are owned right now.
    pub async fn owned_chunks(&self) -> StoreResult<Vec<(AccountId, i64)>> {
        let rows = sqlx::query!(
            r#"select c.account_id as "account_id!", count(*) as "owned!"
               from campaigns k
               cross join lateral (
                   select account_id, owned_until from chunks c
                   where c.campaign_id = k.id and c.no + 0 > k.done_through and num_nulls(c.done_at) = 1
                   order by c.no + 0 limit 500) c
               where k.state in ('launching', 'sending', 'paused') and c.owned_until > now()
                 and (k.kind = 'campaign' or k.scheduled_at is null or k.scheduled_at <= now())
               group by c.account_id"#
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|row| (row.account_id.into(), row.owned)).collect())
    }

    /// Moves each open campaign's mark up to its first chunk that is not done, so that nobody looks below it again.
    /// A fresh chunk of a direct campaign is left above the mark for a minute: a lower number may still commit.
    pub async fn advance_done_through(&self) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "update campaigns k set done_through = mark.at
             from campaigns open cross join lateral (
                 select coalesce(
                     (select min(no) - 1 from chunks c
                      where c.campaign_id = open.id and c.no > open.done_through and c.no < 4294967296
                        and (c.done_at is null or (open.kind = 'direct' and c.created_at > now() - interval '1 minute'))),
                     (select max(no) from chunks c
                      where c.campaign_id = open.id and c.no > open.done_through and c.no < 4294967296)) as at
             ) mark
             where k.id = open.id and open.state in ('launching', 'sending', 'paused') and mark.at > k.done_through"
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Sending campaigns without an open chunk are finished. Returns how many there were. Who gathers direct messages takes
    /// no more of them once its day is over, or its hour; a day later nobody who takes one in knows it any more.
    pub async fn finish_campaigns(&self) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let finished = sqlx::query!(
            "update campaigns k set state = 'finished', finished_at = now()
             where k.state = 'sending'
               and (k.kind = 'campaign' or coalesce(k.scheduled_at, k.created_at) < now() - interval '2 days')
               and not exists (select 1 from chunks c
                               where c.campaign_id = k.id and c.no + 0 > k.done_through and num_nulls(c.done_at) = 1)"
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(finished.rows_affected())
    }

    /// Gives members of cancelled campaigns their last fact. Returns how many chunks were closed.
    pub async fn close_cancelled(&self, limit: i32) -> StoreResult<i32> {
        let campaigns = sqlx::query_scalar!(
            "select k.id from campaigns k
             where k.state = 'cancelled' and k.launched_at is not null and exists (
                 select 1 from chunks c where c.campaign_id = k.id and c.no + 0 > k.done_through and num_nulls(c.done_at) = 1)"
        )
        .fetch_all(self.pool())
        .await?;
        let mut closed = 0;
        for campaign in campaigns {
            let mut tx = self.begin().await?;
            closed += sqlx::query_scalar!(r#"select close_cancelled($1, $2) as "closed!""#, campaign, limit)
                .fetch_one(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(closed)
    }

    /// Campaigns whose counters may still change: open ones, and those that ended within the last day.
    pub async fn counted_campaigns(&self) -> StoreResult<Vec<CampaignId>> {
        let rows = sqlx::query_scalar!(
            "select id from campaigns
             where kind = 'campaign' and launched_at is not null
               and (state in ('launching', 'sending', 'paused') or finished_at > now() - interval '1 day')"
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Puts counters right that differ from the rows they sum up, for chunks that nobody works on. Returns how many differed.
    pub async fn repair_counters(&self, campaign: CampaignId) -> StoreResult<u64> {
        let off = sqlx::query!(
            "select c.campaign_id, c.no from chunks c
             where c.campaign_id = $1 and c.watermark > 0 and (c.owned_until is null or c.owned_until < now())
               -- Each chunk is looked at while it is open, and once or twice after.
               and (c.done_at is null or c.done_at > now() - interval '90 seconds')
               -- Each kind of chunk by itself: either condition finds its rows by the index, and both in one read them all.
               and c.accepted + c.failed + c.suppressed + c.unknown + c.moved <> case when c.members is null then (
                       select count(distinct r.n) from facts_between(c.campaign_id, c.first_n, c.last_n) r
                       where r.attempt = c.attempt
                   ) else (
                       select count(distinct member.n) from unnest(c.members) as member (n)
                       where exists (select from facts_of(c.campaign_id, member.n) r where r.attempt = c.attempt)
                   ) end",
            campaign.uuid(),
        )
        .fetch_all(self.pool())
        .await?;
        if off.is_empty() {
            return Ok(0);
        }
        let (campaigns, numbers): (Vec<Uuid>, Vec<i64>) =
            off.iter().map(|row| (row.campaign_id, row.no)).unzip();
        let mut tx = self.begin().await?;
        sqlx::query!("select recount_chunks($1, $2)", &campaigns, &numbers).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(off.len() as u64)
    }
}

pub(super) fn columns(chunks: &[ChunkRef]) -> (Vec<Uuid>, Vec<i64>) {
    chunks.iter().map(|chunk| (chunk.campaign.uuid(), chunk.no)).unzip()
}
