//! Conversions: that somebody who was written to did what the message was for.
//!
//! A conversion counts once a recipient, and only within the campaign's window after the message was accepted. Who pays is
//! known by a contact or a reference, not by a campaign: the campaigns of the last window that wrote to them are found.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::{
    StoreResult,
    rollups::{self, Reached},
};
use crate::{
    domain::measure::Measures,
    id::{CampaignId, ContactId, MessageId, TenantId},
};

/// What happened.
#[derive(Debug, Clone)]
pub struct Conversion<'a> {
    /// `payment`, `renewal`, or the name of an event.
    pub kind: &'a str,
    pub at: Timestamp,
    /// Only of this campaign; `None`: of every one that wrote to them.
    pub campaign: Option<CampaignId>,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Contact(ContactId),
    Message(MessageId),
}

/// Campaigns that are looked at, the latest first.
const CAMPAIGNS: i64 = 100;
/// People who bear one reference.
const BEARERS: i64 = 10;

/// Those who bear a reference: the message with this business key, else the contacts whose rows in the uploads of the
/// campaigns in question bear it. The rows of those uploads are read: half a second a million.
pub async fn bearers(
    tx: &mut PgConnection,
    tenant: TenantId,
    reference: &str,
    conversion: &Conversion<'_>,
) -> StoreResult<Vec<Who>> {
    let keyed = sqlx::query!(
        "select campaign_id, n from business_keys where tenant_id = $1 and key_hash = business_key_hash($2)",
        tenant.uuid(),
        reference,
    );
    if let Some(row) = keyed.fetch_optional(&mut *tx).await? {
        return Ok(vec![Who::Message(MessageId { campaign: row.campaign_id.into(), n: row.n })]);
    }
    let contacts = sqlx::query_scalar!(
        r#"select distinct r.contact_id from (
               select distinct (k.audience ->> 'upload')::uuid as upload
               from campaigns k
               where k.tenant_id = $1 and k.kind = 'campaign' and ($2::uuid is null or k.id = $2)
                 and k.launched_at <= $3
                 and coalesce(k.finished_at, now()) > $3 - make_interval(hours => k.conversion_hours)
                 and k.audience ? 'upload'
           ) sent
           join upload_rows r on r.upload_id = sent.upload
           where r.attributes ->> 'reference' = $4
           limit $5"#,
        tenant.uuid(),
        conversion.campaign.map(CampaignId::uuid),
        conversion.at.to_sqlx() as _,
        reference,
        BEARERS,
    );
    Ok(contacts.fetch_all(tx).await?.into_iter().map(|id| Who::Contact(id.into())).collect())
}

/// Counts a conversion where it counts; gives the messages of which it was the first.
pub async fn record(
    tx: &mut PgConnection,
    tenant: TenantId,
    who: &Who,
    conversion: &Conversion<'_>,
) -> StoreResult<Vec<MessageId>> {
    let messages = match who {
        Who::Message(message) if conversion.campaign.is_none_or(|only| only == message.campaign) => {
            vec![*message]
        }
        Who::Message(_) => Vec::new(),
        Who::Contact(contact) => written_to(&mut *tx, tenant, *contact, conversion).await?,
    };
    let rows = sqlx::query!(
        r#"with counted as (
               insert into conversions (campaign_id, n, kind, at)
               select m.campaign_id, m.n, $4, $5
               from unnest($2::uuid[], $3::integer[]) as m (campaign_id, n)
               join campaigns k on k.id = m.campaign_id and k.tenant_id = $1 and k.kind = 'campaign'
               where (k.conversion_kinds is null or $4 = any (k.conversion_kinds))
                 and exists (select from facts_of(m.campaign_id, m.n) s
                             where s.kind = 0 and s.at <= $5 and s.at > $5 - make_interval(hours => k.conversion_hours))
               order by m.campaign_id, m.n
               on conflict do nothing
               returning campaign_id, n
           )
           select c.campaign_id as "campaign_id!", c.n as "n!", r.variant
           from counted c join recipients r on r.campaign_id = c.campaign_id and r.n = c.n"#,
        tenant.uuid(),
        &messages.iter().map(|message| message.campaign.uuid()).collect::<Vec<_>>(),
        &messages.iter().map(|message| message.n).collect::<Vec<_>>(),
        conversion.kind,
        conversion.at.to_sqlx() as _,
    );
    let rows = rows.fetch_all(&mut *tx).await?;
    let reached = rows.iter().map(|row| Reached {
        message: MessageId { campaign: row.campaign_id.into(), n: row.n },
        variant: row.variant,
        measures: Measures::CONVERTED,
        at: conversion.at,
    });
    let reached: Vec<Reached> = reached.collect();
    rollups::note(tx, reached.iter().copied()).await?;
    Ok(reached.into_iter().map(|one| one.message).collect())
}

/// The first message to a contact of each campaign in question.
async fn written_to(
    tx: &mut PgConnection,
    tenant: TenantId,
    contact: ContactId,
    conversion: &Conversion<'_>,
) -> StoreResult<Vec<MessageId>> {
    let rows = sqlx::query!(
        r#"select distinct on (r.campaign_id) r.campaign_id as "campaign!", r.n as "n!"
           from recipients r join campaigns k on k.id = r.campaign_id
           where r.contact_id = $2 and r.excluded is null
             and k.tenant_id = $1 and k.kind = 'campaign' and ($3::uuid is null or k.id = $3)
             and k.launched_at <= $4 and coalesce(k.finished_at, now()) > $4 - make_interval(hours => k.conversion_hours)
           order by r.campaign_id desc, r.n limit $5"#,
        tenant.uuid(),
        contact.uuid(),
        conversion.campaign.map(CampaignId::uuid),
        conversion.at.to_sqlx() as _,
        CAMPAIGNS,
    );
    let rows = rows.fetch_all(tx).await?.into_iter();
    Ok(rows.map(|row| MessageId { campaign: row.campaign.into(), n: row.n }).collect())
}
