//! Campaigns as people see them: everything that was said of one, and the list of a tenant's.

use jiff::{Timestamp, civil::Time};
use jiff_sqlx::ToSqlx as _;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    StoreError, StoreResult,
    campaigns::{Audience, StateRow, Tracking},
    listing::{Order, Part, Way},
};
use crate::{
    domain::{
        campaign::{CampaignState, PausedFrom},
        channel::{Channel, MessageClass},
        environment::Environment,
        review::Review,
        schedule::{Schedule, ScheduleType},
    },
    id::{CampaignId, TemplateId, TenantId},
};

/// A campaign with what was said of it.
#[derive(Debug, Clone)]
pub struct Sheet {
    pub id: CampaignId,
    pub name: String,
    pub channel: Channel,
    pub class: MessageClass,
    pub template: TemplateId,
    pub template_slug: String,
    pub audience: Option<Audience>,
    pub business_key: Option<String>,
    pub window: Option<(Time, Time)>,
    pub state: CampaignState,
    pub schedule: Schedule,
    /// When the launch is or was due.
    pub scheduled_at: Option<Timestamp>,
    /// Why it could not be launched then; it is tried again.
    pub launch_refused: Option<String>,
    pub launched_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// Of the last change by a person or of its state: its ETag.
    pub updated_at: Timestamp,
    pub frozen: i32,
    pub target: Target,
    pub review: Review,
    pub approved_by: Option<String>,
    pub approved_at: Option<Timestamp>,
    pub conversion: ConversionRule,
    /// Where whoever made it works.
    pub environment: Environment,
    pub tracking: Tracking,
    /// Messages that begin in any minute, at most.
    pub throttle_per_minute: Option<i32>,
}

/// How many recipients an audience reaches over a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Target {
    pub recipients: i64,
    /// No more than so many, however unlike the part that was counted the rest is: four eyes judge by it.
    pub most: i64,
    /// False: of a large audience a part was counted, and the rest is like it.
    pub exact: bool,
}

/// What counts as a conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionRule {
    /// For so long after the message.
    pub hours: i32,
    /// `None`: of any kind.
    pub kinds: Option<Vec<String>>,
}

struct Row {
    id: Uuid,
    name: String,
    channel: Channel,
    class: MessageClass,
    template_id: Uuid,
    template_slug: String,
    audience: Option<sqlx::types::Json<Audience>>,
    business_key: Option<String>,
    window_from: Option<String>,
    window_to: Option<String>,
    state: String,
    paused_from: Option<PausedFrom>,
    schedule_type: ScheduleType,
    wished_at: Option<jiff_sqlx::Timestamp>,
    local_at: Option<jiff_sqlx::DateTime>,
    scheduled_at: Option<jiff_sqlx::Timestamp>,
    launch_refused: Option<String>,
    launched_at: Option<jiff_sqlx::Timestamp>,
    finished_at: Option<jiff_sqlx::Timestamp>,
    created_at: jiff_sqlx::Timestamp,
    updated_at: jiff_sqlx::Timestamp,
    frozen: i32,
    target_count: i64,
    target_most: i64,
    target_exact: bool,
    authors: Vec<String>,
    approved_by: Option<String>,
    approved_at: Option<jiff_sqlx::Timestamp>,
    review_above: Option<i32>,
    conversion_hours: i32,
    conversion_kinds: Option<Vec<String>>,
    environment: Environment,
    track_links: bool,
    track_opens: bool,
    throttle_per_minute: Option<i32>,
}

impl Row {
    fn schedule(&self) -> Schedule {
        let at = self.wished_at.or(self.scheduled_at);
        match (self.schedule_type, at, self.local_at) {
            (ScheduleType::Local, _, Some(at)) => Schedule::Local(at.to_jiff()),
            (ScheduleType::Scheduled, Some(at), _) => Schedule::At(at.to_jiff()),
            // The command line schedules without a wish.
            (_, Some(at), _) => Schedule::At(at.to_jiff()),
            _ => Schedule::Immediate,
        }
    }

    fn window(&self) -> Option<(Time, Time)> {
        let time = |text: &Option<String>| text.as_ref()?.parse().ok();
        time(&self.window_from).zip(time(&self.window_to))
    }

    fn into_sheet(self) -> StoreResult<Sheet> {
        let (schedule, window) = (self.schedule(), self.window());
        let moment = |at: Option<jiff_sqlx::Timestamp>| at.map(jiff_sqlx::Timestamp::to_jiff);
        let row = StateRow {
            state: &self.state,
            paused_from: self.paused_from,
            scheduled: moment(self.scheduled_at),
            launched: moment(self.launched_at),
            finished: moment(self.finished_at),
        };
        let state = row.state(self.id.into())?;
        Ok(Sheet {
            id: self.id.into(),
            name: self.name,
            channel: self.channel,
            class: self.class,
            template: self.template_id.into(),
            template_slug: self.template_slug,
            audience: self.audience.map(|json| json.0),
            business_key: self.business_key,
            window,
            state,
            schedule,
            scheduled_at: moment(self.scheduled_at),
            launch_refused: self.launch_refused,
            launched_at: moment(self.launched_at),
            finished_at: moment(self.finished_at),
            created_at: self.created_at.to_jiff(),
            updated_at: self.updated_at.to_jiff(),
            frozen: self.frozen,
            target: Target {
                recipients: self.target_count,
                most: self.target_most,
                exact: self.target_exact,
            },
            review: Review {
                audience: self.target_most,
                above: self.review_above,
                authors: self.authors,
                approved: self.approved_at.is_some(),
            },
            approved_by: self.approved_by,
            approved_at: moment(self.approved_at),
            conversion: ConversionRule { hours: self.conversion_hours, kinds: self.conversion_kinds },
            environment: self.environment,
            tracking: Tracking { links: self.track_links, opens: self.track_opens },
            throttle_per_minute: self.throttle_per_minute,
        })
    }
}

/// These campaigns, as far as they are the tenant's, in this order.
pub async fn some(tx: &mut PgConnection, tenant: TenantId, ids: &[CampaignId]) -> StoreResult<Vec<Sheet>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select k.id, k.name, k.channel as "channel: _", k.class as "class: _", k.template_id,
                  t.slug as template_slug, k.audience as "audience: _", k.business_key,
                  k.window_from::text, k.window_to::text, k.state, k.paused_from as "paused_from: _",
                  k.schedule_type as "schedule_type: _", k.wished_at as "wished_at: _", k.local_at as "local_at: _",
                  k.scheduled_at as "scheduled_at: _", k.launch_refused, k.launched_at as "launched_at: _",
                  k.finished_at as "finished_at: _", k.created_at as "created_at: _", k.updated_at as "updated_at: _",
                  k.frozen, k.target_count, coalesce(k.target_most, k.target_count) as "target_most!", k.target_exact,
                  k.authors, k.approved_by,
                  k.approved_at as "approved_at: _", o.review_above, k.conversion_hours, k.conversion_kinds,
                  k.environment as "environment: _", k.track_links, k.track_opens, k.throttle_per_minute
           from unnest($2::uuid[]) with ordinality as wanted (id, at)
           join campaigns k on k.id = wanted.id
           join templates t on t.id = k.template_id
           join tenants o on o.id = k.tenant_id
           where k.tenant_id = $1 and k.kind = 'campaign'
           order by wanted.at"#,
        tenant.uuid(),
        &ids.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
    );
    rows.fetch_all(tx).await?.into_iter().map(Row::into_sheet).collect()
}

pub async fn get(tx: &mut PgConnection, tenant: TenantId, id: CampaignId) -> StoreResult<Sheet> {
    some(tx, tenant, &[id]).await?.pop().ok_or_else(|| StoreError::not_found(id))
}

/// The same, under the lock of an edit.
pub async fn lock(tx: &mut PgConnection, tenant: TenantId, id: CampaignId) -> StoreResult<Sheet> {
    let locked = sqlx::query!(
        "select 1 as one from campaigns where tenant_id = $1 and id = $2 and kind = 'campaign' for update",
        tenant.uuid(),
        id.uuid(),
    );
    locked.fetch_optional(&mut *tx).await?.ok_or_else(|| StoreError::not_found(id))?;
    get(tx, tenant, id).await
}

/// Locks it unless somebody holds it already; says whether it did.
pub async fn lock_if_free(tx: &mut PgConnection, id: CampaignId) -> StoreResult<bool> {
    let locked =
        sqlx::query!("select 1 as one from campaigns where id = $1 for no key update skip locked", id.uuid());
    Ok(locked.fetch_optional(tx).await?.is_some())
}

/// Nobody deletes it until the transaction has ended; whoever edits or looks through it goes on.
pub async fn hold(tx: &mut PgConnection, tenant: TenantId, id: CampaignId) -> StoreResult<()> {
    let held = sqlx::query!(
        "select 1 as one from campaigns where tenant_id = $1 and id = $2 for key share",
        tenant.uuid(),
        id.uuid(),
    );
    held.fetch_optional(tx).await?.map(drop).ok_or_else(|| StoreError::not_found(id))
}

/// Which campaigns of a tenant; nothing said: all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In the engine's words.
    pub states: Option<Vec<String>>,
    pub channels: Option<Vec<String>>,
    /// Part of the name, whatever its case.
    pub name: Option<String>,
}

/// What a list of campaigns is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    CreatedAt,
    /// All that the filter leaves is read.
    Name,
}

/// The last campaign of a page, as far as any order goes by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    id: CampaignId,
    name: String,
    created_at: Timestamp,
}

impl Sheet {
    pub fn place(&self) -> Place {
        Place { id: self.id, name: self.name.clone(), created_at: self.created_at }
    }
}

/// Rows that are counted of a list at most: nobody reads further than that by page.
const COUNTED: i64 = 100_000;

/// A part of a tenant's campaigns.
pub async fn list(
    tx: &mut PgConnection,
    tenant: TenantId,
    filter: &Filter,
    order: Order<By>,
    part: &Part<Place>,
) -> StoreResult<Vec<Sheet>> {
    let (states, channels) = (filter.states.as_deref(), filter.channels.as_deref());
    macro_rules! page {
        ($after:literal, $order:literal) => {
            sqlx::query_scalar!(
                "select id from campaigns
                 where tenant_id = $1 and kind = 'campaign'
                   and ($2::text[] is null or state = any ($2))
                   and ($3::text[] is null or channel = any ($3))
                   and ($4::text is null or position(lower($4) in lower(name)) > 0)
                   and ($5::timestamptz is null or $6::uuid is null or $7::text is null or "
                    + $after
                    + ") order by "
                    + $order
                    + " offset $8 limit $9",
                tenant.uuid(),
                states,
                channels,
                filter.name,
                part.after.as_ref().map(|place| place.created_at.to_sqlx()) as _,
                part.after.as_ref().map(|place| place.id.uuid()),
                part.after.as_ref().map(|place| place.name.as_str()),
                part.offset,
                part.limit,
            )
            .fetch_all(&mut *tx)
            .await?
        };
    }
    let ids = match order {
        (By::CreatedAt, Way::Up) => page!("(created_at, id) > ($5, $6)", "created_at, id"),
        (By::CreatedAt, Way::Down) => page!("(created_at, id) < ($5, $6)", "created_at desc, id desc"),
        (By::Name, Way::Up) => page!("(name, id) > ($7, $6)", "name, id"),
        (By::Name, Way::Down) => page!("(name, id) < ($7, $6)", "name desc, id desc"),
    };
    let ids: Vec<CampaignId> = ids.into_iter().map(Into::into).collect();
    some(tx, tenant, &ids).await
}

/// How many they are in all. A tenant has about a thousand, whom the index `campaigns_listed` holds together: to look at each
/// costs a millisecond or two.
pub async fn count(tx: &mut PgConnection, tenant: TenantId, filter: &Filter) -> StoreResult<u64> {
    let total = sqlx::query_scalar!(
        r#"select count(*) as "total!" from (
               select from campaigns
               where tenant_id = $1 and kind = 'campaign'
                 and ($2::text[] is null or state = any ($2))
                 and ($3::text[] is null or channel = any ($3))
                 and ($4::text is null or position(lower($4) in lower(name)) > 0)
               limit $5
           ) counted"#,
        tenant.uuid(),
        filter.states.as_deref(),
        filter.channels.as_deref(),
        filter.name,
        COUNTED,
    );
    Ok(total.fetch_one(tx).await?.unsigned_abs())
}
