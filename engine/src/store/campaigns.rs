//! Campaigns: their states, what a launch pins, and their progress as sums of their chunks.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::{Store, StoreError, StoreResult, accounts::moment, drafts};
use crate::{
    domain::{
        campaign::{CampaignState, Paused, PausedFrom, TransitionError},
        channel::{Channel, MessageClass},
    },
    id::{AccountId, CampaignId, TemplateId, TemplateVersionId, TenantId, UploadId},
};

/// Who a campaign goes to, before the launch resolves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Each taken row of an upload: somebody with three policies has three rows.
    #[serde(with = "upload_uuid")]
    Upload(UploadId),
    Contacts(AllContacts),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllContacts {
    All,
}

/// The database joins by the plain UUID.
mod upload_uuid {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::id::UploadId;

    pub(super) fn serialize<S: Serializer>(id: &UploadId, serializer: S) -> Result<S::Ok, S::Error> {
        id.uuid().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UploadId, D::Error> {
        uuid::Uuid::deserialize(deserializer).map(UploadId::from_uuid)
    }
}

#[derive(Debug, Clone)]
pub struct NewCampaign {
    pub id: CampaignId,
    pub tenant: TenantId,
    pub name: String,
    pub channel: Channel,
    pub class: MessageClass,
    pub template: TemplateId,
    pub audience: Audience,
    pub business_key: Option<String>,
    /// Local hours, `from` to `to`, within which messages may leave.
    pub window: Option<(jiff::civil::Time, jiff::civil::Time)>,
}

#[derive(Debug, Clone)]
pub struct Campaign {
    pub id: CampaignId,
    pub tenant: TenantId,
    pub name: String,
    pub channel: Channel,
    pub class: MessageClass,
    pub template: TemplateId,
    pub audience: Option<Audience>,
    pub business_key: Option<String>,
    pub state: CampaignState,
    pub frozen: i32,
}

/// What a launch pins, once and for all.
#[derive(Debug, Clone)]
pub struct Pins {
    pub variants: Vec<TemplateVersionId>,
    pub locales: Vec<String>,
    pub variables: Vec<String>,
    pub route: Vec<AccountId>,
}

/// What deliverers need to know of a campaign; none of it changes after the launch.
#[derive(Debug, Clone)]
pub struct CampaignPlan {
    pub id: CampaignId,
    pub tenant: TenantId,
    pub channel: Channel,
    pub class: MessageClass,
    pub variants: Vec<TemplateVersionId>,
    pub route: Vec<AccountId>,
    pub tracking: Tracking,
    /// What names it in short links.
    pub short_no: u64,
}

/// What a campaign counts of its recipients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tracking {
    pub links: bool,
    pub opens: bool,
}

/// Sums over a campaign's rows. `recipients = excluded + accepted + failed + suppressed + unknown + waiting`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub recipients: i64,
    /// Suppressed when the audience was frozen: no address, duplicate address, duplicate business key.
    pub excluded: i64,
    pub sent: i64,
    pub failed: i64,
    /// Suppressed right before the send, or by a cancel.
    pub suppressed: i64,
    pub unknown: i64,
    pub waiting: i64,
}

struct Row {
    id: uuid::Uuid,
    tenant_id: uuid::Uuid,
    name: String,
    channel: Channel,
    class: MessageClass,
    template_id: uuid::Uuid,
    audience: Option<sqlx::types::Json<Audience>>,
    business_key: Option<String>,
    state: String,
    paused_from: Option<PausedFrom>,
    scheduled_at: Option<jiff_sqlx::Timestamp>,
    launched_at: Option<jiff_sqlx::Timestamp>,
    finished_at: Option<jiff_sqlx::Timestamp>,
    frozen: i32,
}

/// A state as the table holds it.
pub(super) struct StateRow<'a> {
    pub(super) state: &'a str,
    pub(super) paused_from: Option<PausedFrom>,
    pub(super) scheduled: Option<Timestamp>,
    pub(super) launched: Option<Timestamp>,
    pub(super) finished: Option<Timestamp>,
}

impl StateRow<'_> {
    pub(super) fn state(&self, id: CampaignId) -> StoreResult<CampaignState> {
        self.read().ok_or_else(|| StoreError::Corrupt(format!("campaign {id}: state {}", self.state)))
    }

    fn read(&self) -> Option<CampaignState> {
        let Self { scheduled, launched, finished, .. } = *self;
        Some(match self.state {
            "draft" => CampaignState::Draft,
            "in_review" => CampaignState::InReview,
            "scheduled" => CampaignState::Scheduled { at: scheduled? },
            "launching" => CampaignState::Launching { since: launched? },
            "sending" => CampaignState::Sending { since: launched? },
            "paused" => CampaignState::Paused(match self.paused_from? {
                PausedFrom::Scheduled => Paused::Scheduled { at: scheduled? },
                PausedFrom::Launching => Paused::Launching { since: launched? },
                PausedFrom::Sending => Paused::Sending { since: launched? },
            }),
            "finished" => CampaignState::Finished { since: launched?, at: finished? },
            "cancelled" => CampaignState::Cancelled { at: finished? },
            _ => return None,
        })
    }
}

impl Row {
    fn into_campaign(self) -> StoreResult<Campaign> {
        let moment = |at: Option<jiff_sqlx::Timestamp>| at.map(jiff_sqlx::Timestamp::to_jiff);
        let state = StateRow {
            state: &self.state,
            paused_from: self.paused_from,
            scheduled: moment(self.scheduled_at),
            launched: moment(self.launched_at),
            finished: moment(self.finished_at),
        };
        let state = state.state(self.id.into())?;
        Ok(Campaign {
            id: self.id.into(),
            tenant: self.tenant_id.into(),
            name: self.name,
            channel: self.channel,
            class: self.class,
            template: self.template_id.into(),
            audience: self.audience.map(|json| json.0),
            business_key: self.business_key,
            state,
            frozen: self.frozen,
        })
    }
}

/// A change of state that was refused, or could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error(transparent)]
    Refused(#[from] TransitionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ChangeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    pub async fn create_campaign(&self, campaign: &NewCampaign) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        drafts::hold(&mut tx, campaign.tenant, campaign.audience).await?;
        insert(&mut tx, campaign).await?;
        Ok(tx.commit().await?)
    }

    pub async fn campaign(&self, tenant: TenantId, id: CampaignId) -> StoreResult<Campaign> {
        let mut connection = self.pool().acquire().await.map_err(StoreError::from)?;
        load(&mut connection, tenant, id, false).await
    }

    /// The campaigns of a tenant, newest first.
    pub async fn campaigns(&self, tenant: TenantId, limit: i64) -> StoreResult<Vec<Campaign>> {
        let rows = sqlx::query_as!(
            Row,
            r#"select id, tenant_id, name, channel as "channel: _", class as "class: _", template_id,
                      audience as "audience: _", business_key, state, paused_from as "paused_from: _",
                      scheduled_at as "scheduled_at: _", launched_at as "launched_at: _",
                      finished_at as "finished_at: _", frozen
               from campaigns where tenant_id = $1 and kind = 'campaign' order by created_at desc limit $2"#,
            tenant.uuid(),
            limit,
        )
        .fetch_all(self.pool())
        .await?;
        rows.into_iter().map(Row::into_campaign).collect()
    }

    /// Changes a campaign's state by one of its transitions. The row is locked, so that of two changes one sees the other.
    pub async fn change_campaign(
        &self,
        tenant: TenantId,
        id: CampaignId,
        transition: impl FnOnce(CampaignState, Timestamp) -> Result<CampaignState, TransitionError> + Send,
        pins: Option<&Pins>,
    ) -> Result<CampaignState, ChangeError> {
        let mut tx = self.begin().await?;
        let state = change(&mut tx, tenant, id, transition, pins).await?;
        tx.commit().await?;
        Ok(state)
    }

    pub async fn campaign_plan(&self, id: CampaignId) -> StoreResult<CampaignPlan> {
        let row = sqlx::query!(
            r#"select tenant_id, channel as "channel: Channel", class as "class: MessageClass",
                      coalesce(variants, '{}') as "variants!", coalesce(route, '{}') as "route!",
                      track_links, track_opens, short_no
               from campaigns where id = $1"#,
            id.uuid()
        )
        .fetch_optional(self.pool())
        .await?
        .ok_or_else(|| StoreError::not_found(id))?;
        Ok(CampaignPlan {
            id,
            tenant: row.tenant_id.into(),
            channel: row.channel,
            class: row.class,
            variants: row.variants.into_iter().map(Into::into).collect(),
            route: row.route.into_iter().map(Into::into).collect(),
            tracking: Tracking { links: row.track_links, opens: row.track_opens },
            short_no: row.short_no.cast_unsigned(),
        })
    }

    /// Scheduled campaigns whose time has come, by the database's clock; of those that could not be launched, the ones that
    /// have not been tried for a minute.
    pub async fn due_campaigns(&self) -> StoreResult<Vec<(TenantId, CampaignId)>> {
        let rows = sqlx::query!(
            "select tenant_id, id from campaigns
             where state = 'scheduled' and scheduled_at <= now()
               and (launch_refused_at is null or launch_refused_at < now() - interval '1 minute')
             order by scheduled_at limit 100"
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|row| (row.tenant_id.into(), row.id.into())).collect())
    }

    /// Notes why a campaign whose time has come can't be launched; not while somebody holds it, who may take long.
    pub async fn note_refused_launch(&self, id: CampaignId, why: &str) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "update campaigns set launch_refused = $2, launch_refused_at = now()
             where id = (select id from campaigns where id = $1 and state = 'scheduled' for no key update skip locked)",
            id.uuid(),
            why,
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Campaigns whose audience is not frozen to its end, and how many of its recipients are: the fewest, then the oldest launch, first.
    pub async fn launching_campaigns(&self) -> StoreResult<Vec<(CampaignId, i32)>> {
        let rows = sqlx::query!(
            "select id, frozen from campaigns where state = 'launching' order by frozen, launched_at limit 1000"
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|row| (row.id.into(), row.frozen)).collect())
    }

    /// How many recipients of a campaign are frozen.
    pub async fn frozen(&self, id: CampaignId) -> StoreResult<i32> {
        Ok(sqlx::query_scalar!("select frozen from campaigns where id = $1", id.uuid())
            .fetch_one(self.pool())
            .await?)
    }

    pub async fn upload_has_rows(&self, tenant: TenantId, upload: UploadId) -> StoreResult<bool> {
        Ok(sqlx::query_scalar!(
            r#"select exists (select 1 from uploads where id = $1 and tenant_id = $2 and rows_taken > 0) as "has!""#,
            upload.uuid(),
            tenant.uuid(),
        )
        .fetch_one(self.pool())
        .await?)
    }

    /// See [`progress`].
    pub async fn progress(&self, tenant: TenantId, id: CampaignId) -> StoreResult<Progress> {
        let mut connection = self.pool().acquire().await?;
        progress(&mut connection, tenant, id).await
    }
}

/// How far a campaign is.
pub async fn progress(tx: &mut PgConnection, tenant: TenantId, id: CampaignId) -> StoreResult<Progress> {
    let row = sqlx::query!(
        r#"select k.frozen,
                  (select count(*) from recipients r where r.campaign_id = $1 and r.excluded is not null) as "excluded!",
                  coalesce(c.accepted, 0) as "accepted!", coalesce(c.failed, 0) as "failed!",
                  coalesce(c.suppressed, 0) as "suppressed!", coalesce(c.unknown, 0) as "unknown!",
                  coalesce(c.waiting, 0) as "waiting!"
           from campaigns k left join lateral (
               select sum(accepted) as accepted, sum(failed) as failed, sum(suppressed) as suppressed,
                      sum(unknown) as unknown, sum(size - accepted - failed - suppressed - unknown - moved) as waiting
               from chunks where campaign_id = $1
           ) c on true
           where k.id = $1 and k.tenant_id = $2"#,
        id.uuid(),
        tenant.uuid(),
    )
    .fetch_optional(tx)
    .await?
    .ok_or_else(|| StoreError::not_found(id))?;
    Ok(Progress {
        recipients: row.frozen.into(),
        excluded: row.excluded,
        sent: row.accepted,
        failed: row.failed,
        suppressed: row.suppressed,
        unknown: row.unknown,
        waiting: row.waiting,
    })
}

/// Makes a draft.
pub async fn insert(tx: &mut PgConnection, campaign: &NewCampaign) -> StoreResult<()> {
    let time = |time: jiff::civil::Time| time.to_string();
    sqlx::query!(
        "insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, audience, business_key,
                                window_from, window_to, state)
         values ($1, $2, 'campaign', $3, $4, $5, $6, $7, $8, $9::text::time, $10::text::time, 'draft')",
        campaign.id.uuid(),
        campaign.tenant.uuid(),
        campaign.name,
        campaign.channel.as_str(),
        campaign.class.as_str(),
        campaign.template.uuid(),
        sqlx::types::Json(campaign.audience) as _,
        campaign.business_key,
        campaign.window.map(|(from, _)| time(from)) as _,
        campaign.window.map(|(_, to)| time(to)) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Changes a campaign's state by one of its transitions, at the database's time. The row is locked, so that of two changes
/// one sees the other. What stops something waits for [`Store::grace`] after its commit.
pub async fn change(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: CampaignId,
    transition: impl FnOnce(CampaignState, Timestamp) -> Result<CampaignState, TransitionError> + Send,
    pins: Option<&Pins>,
) -> Result<CampaignState, ChangeError> {
    let campaign = load(&mut *tx, tenant, id, true).await?;
    let now =
        sqlx::query_scalar!(r#"select now() as "now!: jiff_sqlx::Timestamp""#).fetch_one(&mut *tx).await?;
    let state = transition(campaign.state, now.to_jiff())?;
    if let Some(pins) = pins {
        pin(&mut *tx, id, pins).await?;
    }
    save_state(tx, id, state).await?;
    Ok(state)
}

pub(super) async fn load(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: CampaignId,
    lock: bool,
) -> StoreResult<Campaign> {
    if lock {
        sqlx::query!("select 1 as one from campaigns where id = $1 for no key update", id.uuid())
            .fetch_optional(&mut *connection)
            .await?;
    }
    let row = sqlx::query_as!(
        Row,
        r#"select id, tenant_id, name, channel as "channel: _", class as "class: _", template_id,
                  audience as "audience: _", business_key, state, paused_from as "paused_from: _",
                  scheduled_at as "scheduled_at: _", launched_at as "launched_at: _",
                  finished_at as "finished_at: _", frozen
           from campaigns where id = $1 and tenant_id = $2 and kind = 'campaign'"#,
        id.uuid(),
        tenant.uuid(),
    )
    .fetch_optional(&mut *connection)
    .await?
    .ok_or_else(|| StoreError::not_found(id))?;
    row.into_campaign()
}

pub(super) async fn pin(connection: &mut PgConnection, id: CampaignId, pins: &Pins) -> StoreResult<()> {
    let variants: Vec<uuid::Uuid> = pins.variants.iter().map(|id| id.uuid()).collect();
    let route: Vec<uuid::Uuid> = pins.route.iter().map(|id| id.uuid()).collect();
    sqlx::query!(
        "update campaigns set variants = $2, locales = $3, variables = $4, route = $5 where id = $1",
        id.uuid(),
        &variants,
        &pins.locales,
        &pins.variables,
        &route,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what a state holds; what it does not hold stays as it was.
pub(super) async fn save_state(
    connection: &mut PgConnection,
    id: CampaignId,
    state: CampaignState,
) -> StoreResult<()> {
    let (mut scheduled, mut launched, mut finished, mut from) = (None, None, None, None);
    match state {
        CampaignState::Draft | CampaignState::InReview => {}
        CampaignState::Scheduled { at } => scheduled = Some(at),
        CampaignState::Launching { since } | CampaignState::Sending { since } => launched = Some(since),
        CampaignState::Paused(paused) => {
            from = Some(match paused {
                Paused::Scheduled { .. } => PausedFrom::Scheduled,
                Paused::Launching { .. } => PausedFrom::Launching,
                Paused::Sending { .. } => PausedFrom::Sending,
            });
        }
        CampaignState::Finished { since, at } => (launched, finished) = (Some(since), Some(at)),
        CampaignState::Cancelled { at } => finished = Some(at),
    }
    sqlx::query!(
        "update campaigns set state = $2, paused_from = $3, scheduled_at = coalesce($4, scheduled_at),
             launched_at = coalesce($5, launched_at), finished_at = coalesce($6, finished_at)
         where id = $1",
        id.uuid(),
        state.as_str(),
        from.map(PausedFrom::as_str),
        moment(scheduled) as _,
        moment(launched) as _,
        moment(finished) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}
