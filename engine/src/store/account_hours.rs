//! What accounts did, by the hour: what their chunks came to, and how the provider answered.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::{Store, StoreError, StoreResult};
use crate::{
    domain::{answers::BOUNDS, channel::Provider},
    id::{AccountId, TenantId},
};

/// Which hour, of which account, to which country.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HourOf {
    pub account: AccountId,
    /// Its first second.
    pub hour: i64,
    /// The country calling code; 0: no numbers.
    pub code: i16,
}

/// What its requests came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hour {
    pub requests: i64,
    /// How often a price was due.
    pub units: i64,
    pub answer_us: i64,
    /// By [`BOUNDS`].
    pub answers: [i64; BOUNDS.len() + 1],
}

impl Hour {
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.units += other.units;
        self.answer_us = self.answer_us.saturating_add(other.answer_us);
        for (one, more) in self.answers.iter_mut().zip(other.answers) {
            *one += more;
        }
    }
}

/// What the chunks of an account came to in a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSums {
    pub id: AccountId,
    pub slug: String,
    pub provider: Provider,
    pub deleted: bool,
    pub accepted: i64,
    pub failed: i64,
    pub unknown: i64,
    /// Attempts that were followed by another.
    pub retried: i64,
}

/// Every account of the tenant that there is, or that did something from `from` on and before `to`. By the moment in which a
/// chunk was done: of one that is at work nothing is counted yet.
pub async fn sums(
    tx: &mut PgConnection,
    tenant: TenantId,
    (from, to): (Timestamp, Timestamp),
) -> StoreResult<Vec<AccountSums>> {
    let rows = sqlx::query!(
        r#"with done as (
               select c.account_id, sum(c.accepted) as accepted, sum(c.failed) as failed, sum(c.unknown) as unknown,
                      sum(c.moved) as retried
               from campaigns k join chunks c on c.campaign_id = k.id
               where k.tenant_id = $1 and k.created_at < $3
                 -- What gathers a day's single messages is over when they are: the last retry comes within days.
                 and case when k.kind = 'direct' then coalesce(k.scheduled_at, k.created_at) > $2::timestamptz - interval '4 days'
                          else k.finished_at is null or k.finished_at >= $2 end
                 and c.done_at >= $2 and c.done_at < $3
               group by 1
           )
           select a.id, a.slug, a.provider as "provider: Provider", a.deleted_at is not null as "deleted!",
                  coalesce(d.accepted, 0)::bigint as "accepted!", coalesce(d.failed, 0)::bigint as "failed!",
                  coalesce(d.unknown, 0)::bigint as "unknown!", coalesce(d.retried, 0)::bigint as "retried!"
           from accounts a left join done d on d.account_id = a.id
           where a.tenant_id = $1 and (a.deleted_at is null or d.account_id is not null)
           order by a.provider, a.priority, a.slug"#,
        tenant.uuid(),
        from.to_sqlx() as _,
        to.to_sqlx() as _,
    );
    let rows = rows.fetch_all(tx).await?.into_iter();
    Ok(rows
        .map(|row| AccountSums {
            id: row.id.into(),
            slug: row.slug,
            provider: row.provider,
            deleted: row.deleted,
            accepted: row.accepted,
            failed: row.failed,
            unknown: row.unknown,
            retried: row.retried,
        })
        .collect())
}

/// How providers answered, of the tenant's accounts in a period of whole hours.
pub async fn hours(
    tx: &mut PgConnection,
    tenant: TenantId,
    (from, to): (Timestamp, Timestamp),
) -> StoreResult<Vec<(HourOf, Hour)>> {
    let rows = sqlx::query!(
        r#"select h.account_id, extract(epoch from h.hour)::bigint as "hour!", h.code, h.requests, h.units, h.answer_us,
                  h.answers
           from accounts a join account_hours h on h.account_id = a.id
           where a.tenant_id = $1 and h.hour >= $2 and h.hour < $3
           order by h.account_id, h.hour, h.code"#,
        tenant.uuid(),
        from.to_sqlx() as _,
        to.to_sqlx() as _,
    );
    let rows = rows.fetch_all(tx).await?.into_iter();
    Ok(rows
        .map(|row| {
            let mut hour = Hour {
                requests: row.requests,
                units: row.units,
                answer_us: row.answer_us,
                ..Hour::default()
            };
            for (one, stored) in hour.answers.iter_mut().zip(row.answers) {
                *one = stored;
            }
            (HourOf { account: row.account_id.into(), hour: row.hour, code: row.code }, hour)
        })
        .collect())
}

impl Store {
    /// Adds to the hours, all or nothing. Rows are taken in their order, so that two processes never wait for each other in
    /// a circle.
    pub async fn add_account_hours(&self, hours: &BTreeMap<HourOf, Hour>) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        for (of, hour) in hours {
            let at =
                Timestamp::from_second(of.hour).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            sqlx::query!(
                "insert into account_hours as known (account_id, hour, code, requests, units, answer_us, answers)
                 select id, $2, $3, $4, $5, $6, $7 from accounts where id = $1
                 on conflict (account_id, hour, code) do update set
                     requests = known.requests + excluded.requests, units = known.units + excluded.units,
                     answer_us = known.answer_us + excluded.answer_us,
                     answers = add_each(known.answers, excluded.answers)",
                of.account.uuid(),
                at.to_sqlx() as _,
                of.code,
                hour.requests,
                hour.units,
                hour.answer_us,
                &hour.answers[..] as _,
            )
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Deletes the hours of months that are past their retention.
    pub async fn forget_account_hours(&self, months: i32) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "delete from account_hours where hour < date_trunc('month', now()) - make_interval(months => $1)",
            months,
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}
