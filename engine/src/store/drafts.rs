//! Drafts: what people write of a campaign before it leaves, and what is said of it in review.

use jiff::{Timestamp, civil::Time};
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::{
    StoreError, StoreResult,
    accounts::moment,
    campaigns::{AllContacts, Audience, NewCampaign, Tracking, insert},
    sheets::{ConversionRule, Sheet, Target},
    templates::Template,
};
use crate::{
    domain::{
        channel::{Channel, text_enum},
        environment::Environment,
        review::Review,
        schedule::Schedule,
    },
    id::{ApiKeyId, CampaignId, TenantId, UploadId},
};

/// Everything that a person says of a campaign but its channel, which stays.
#[derive(Debug, Clone)]
pub struct DraftFacts {
    pub name: String,
    pub template: Template,
    pub audience: Audience,
    pub business_key: Option<String>,
    /// Local hours within which messages leave.
    pub window: Option<(Time, Time)>,
    pub throttle_per_minute: Option<i32>,
    pub schedule: Schedule,
    pub conversion: ConversionRule,
    pub tracking: Tracking,
    pub target: Target,
}

pub async fn create(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: CampaignId,
    facts: &DraftFacts,
    (authors, environment): (&[String], Environment),
) -> StoreResult<()> {
    let new = NewCampaign {
        id,
        tenant,
        name: facts.name.clone(),
        channel: facts.template.channel,
        class: facts.template.class,
        template: facts.template.id,
        audience: facts.audience,
        business_key: facts.business_key.clone(),
        window: facts.window,
    };
    insert(&mut *tx, &new).await?;
    sqlx::query!("update campaigns set environment = $2 where id = $1", id.uuid(), environment.as_str())
        .execute(&mut *tx)
        .await?;
    write(tx, tenant, id, facts, authors).await
}

/// Writes a draft anew, and whoever did among its authors. What was approved of it no longer is.
pub async fn write(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: CampaignId,
    facts: &DraftFacts,
    authors: &[String],
) -> StoreResult<()> {
    let (from, to) = facts.window.map(|(from, to)| (from.to_string(), to.to_string())).unzip();
    let (wished, local) = match facts.schedule {
        Schedule::Immediate => (None, None),
        Schedule::At(at) => (Some(at), None),
        Schedule::Local(at) => (facts.schedule.due(), Some(at.to_sqlx())),
    };
    sqlx::query!(
        "update campaigns set
             name = $3, template_id = $4, class = $5, audience = $6, business_key = $7,
             window_from = $8::text::time, window_to = $9::text::time,
             schedule_type = $10, wished_at = $11, local_at = $12,
             conversion_hours = $13, conversion_kinds = $14, target_count = $15, target_exact = $16, target_most = $21,
             track_links = $18, track_opens = $19, throttle_per_minute = $20,
             authors = array(select distinct unnest(authors || $17::text[])),
             approved_by = null, approved_at = null, updated_at = clock_timestamp()
         where tenant_id = $1 and id = $2",
        tenant.uuid(),
        id.uuid(),
        facts.name,
        facts.template.id.uuid(),
        facts.template.class.as_str(),
        sqlx::types::Json(facts.audience) as _,
        facts.business_key,
        from as _,
        to as _,
        facts.schedule.kind().as_str(),
        moment(wished) as _,
        local as _,
        facts.conversion.hours,
        facts.conversion.kinds.as_deref(),
        facts.target.recipients,
        facts.target.exact,
        authors,
        facts.tracking.links,
        facts.tracking.opens,
        facts.throttle_per_minute,
        facts.target.most,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The campaign leaves now, whatever its schedule said.
pub async fn forget_schedule(tx: &mut PgConnection, tenant: TenantId, id: CampaignId) -> StoreResult<()> {
    sqlx::query!(
        "update campaigns set schedule_type = 'immediate', wished_at = null, local_at = null where tenant_id = $1 and id = $2",
        tenant.uuid(),
        id.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes a campaign of which nothing was frozen. Its state is checked by the caller, under its lock.
pub async fn delete(tx: &mut PgConnection, tenant: TenantId, id: CampaignId) -> StoreResult<()> {
    let deleted = sqlx::query!(
        "delete from campaigns where tenant_id = $1 and id = $2 and state = 'draft' and frozen = 0",
        tenant.uuid(),
        id.uuid()
    );
    if deleted.execute(tx).await?.rows_affected() == 0 {
        return Err(StoreError::Conflict("only a draft can be deleted".to_owned()));
    }
    Ok(())
}

/// Members of an audience that are counted; of a larger one the rest is taken to be like them.
const COUNTED: i64 = 20_000;

/// Whom an audience reaches.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    members: i64,
    looked_at: i64,
    emails: i64,
    phones: i64,
}

impl Reach {
    pub fn over(&self, channel: Channel) -> Target {
        let addresses = match channel {
            Channel::Email => self.emails,
            Channel::Sms | Channel::Whatsapp => self.phones,
            Channel::InApp => self.looked_at,
        };
        if self.looked_at >= self.members {
            return Target { recipients: addresses, most: addresses, exact: true };
        }
        let scaled = i128::from(addresses) * i128::from(self.members) / i128::from(self.looked_at.max(1));
        Target { recipients: i64::try_from(scaled).unwrap_or(i64::MAX), most: self.members, exact: false }
    }
}

/// Keeps the upload of an audience from being deleted until the transaction has ended; one that is gone is not found.
pub async fn hold(tx: &mut PgConnection, tenant: TenantId, audience: Audience) -> StoreResult<()> {
    let Audience::Upload(upload) = audience else { return Ok(()) };
    let held = sqlx::query!(
        "select 1 as one from uploads where tenant_id = $1 and id = $2 for key share",
        tenant.uuid(),
        upload.uuid()
    );
    held.fetch_optional(tx).await?.map(drop).ok_or_else(|| StoreError::not_found(upload))
}

/// Counts distinct addresses; an upload that the tenant does not have is not found. What it costs does not grow with an upload;
/// to count a million contacts takes a tenth of a second.
pub async fn reach(tx: &mut PgConnection, tenant: TenantId, audience: Audience) -> StoreResult<Reach> {
    match audience {
        Audience::Upload(upload) => reach_of_upload(tx, tenant, upload).await,
        Audience::Contacts(AllContacts::All) => reach_of_all(tx, tenant).await,
    }
}

async fn reach_of_upload(tx: &mut PgConnection, tenant: TenantId, upload: UploadId) -> StoreResult<Reach> {
    let members = sqlx::query_scalar!(
        "select rows_taken from uploads where tenant_id = $1 and id = $2",
        tenant.uuid(),
        upload.uuid()
    );
    let members = members.fetch_optional(&mut *tx).await?.ok_or_else(|| StoreError::not_found(upload))?;
    let row = sqlx::query!(
        r#"select count(*) as "looked_at!", count(distinct c.email) as "emails!", count(distinct c.phone) as "phones!"
           from (select contact_id from upload_rows where upload_id = $2
                 order by time_zone, contact_id, row_no limit $3) r
           left join contacts c on c.tenant_id = $1 and c.id = r.contact_id and c.erased_at is null"#,
        tenant.uuid(),
        upload.uuid(),
        COUNTED,
    );
    let row = row.fetch_one(tx).await?;
    Ok(Reach { members, looked_at: row.looked_at, emails: row.emails, phones: row.phones })
}

async fn reach_of_all(tx: &mut PgConnection, tenant: TenantId) -> StoreResult<Reach> {
    let row = sqlx::query!(
        r#"select (select count(*) from contacts where tenant_id = $1) as "members!", count(*) as "looked_at!",
                  count(distinct email) filter (where erased_at is null) as "emails!",
                  count(distinct phone) filter (where erased_at is null) as "phones!"
           from (select email, phone, erased_at from contacts where tenant_id = $1
                 order by time_zone, id limit $2) looked_at"#,
        tenant.uuid(),
        COUNTED,
    );
    let row = row.fetch_one(tx).await?;
    Ok(Reach { members: row.members, looked_at: row.looked_at, emails: row.emails, phones: row.phones })
}

text_enum! {
    /// What was done in review.
    ReviewAction {
        Submitted => "submitted",
        Approved => "approved",
        Rejected => "rejected",
    }
}

#[derive(Debug, Clone)]
pub struct ReviewRow {
    pub at: Timestamp,
    pub action: ReviewAction,
    pub actor: String,
    pub comment: Option<String>,
}

/// Notes what somebody said in review; who submits is an author, and who approves is the one who did.
pub async fn review(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: CampaignId,
    action: ReviewAction,
    actors: &[String],
    comment: Option<&str>,
) -> StoreResult<()> {
    let actor = actors.first().map(String::as_str).unwrap_or_default();
    sqlx::query!(
        "with said as (
             insert into campaign_reviews (campaign_id, action, actor, comment) values ($2, $3, $4, $5)
         )
         update campaigns set
             authors = case when $3 = 'submitted' then array(select distinct unnest(authors || $6::text[])) else authors end,
             approved_by = case when $3 = 'approved' then $4 end,
             approved_at = case when $3 = 'approved' then clock_timestamp() end,
             updated_at = clock_timestamp()
         where tenant_id = $1 and id = $2",
        tenant.uuid(),
        id.uuid(),
        action.as_str(),
        actor,
        comment,
        actors,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What was said in review of a campaign, the latest first; the last hundred.
pub async fn reviews(tx: &mut PgConnection, tenant: TenantId, id: CampaignId) -> StoreResult<Vec<ReviewRow>> {
    let rows = sqlx::query!(
        r#"select r.at as "at: jiff_sqlx::Timestamp", r.action as "action: ReviewAction", r.actor, r.comment
           from campaign_reviews r join campaigns k on k.id = r.campaign_id
           where k.tenant_id = $1 and k.id = $2 order by r.at desc limit 100"#,
        tenant.uuid(),
        id.uuid(),
    );
    let rows = rows.fetch_all(tx).await?.into_iter();
    Ok(rows
        .map(|row| ReviewRow {
            at: row.at.to_jiff(),
            action: row.action,
            actor: row.actor,
            comment: row.comment,
        })
        .collect())
}

/// The user who made a key: a key does its maker's work.
pub async fn maker(
    tx: &mut PgConnection,
    tenant: TenantId,
    key: ApiKeyId,
) -> StoreResult<Option<uuid::Uuid>> {
    let maker = sqlx::query_scalar!(
        "select created_by from api_keys where tenant_id = $1 and id = $2",
        tenant.uuid(),
        key.uuid()
    );
    Ok(maker.fetch_optional(tx).await?.flatten())
}

/// What decides whether a campaign may leave, with its audience as it is now. Its row is locked by the caller.
pub async fn counted(tx: &mut PgConnection, tenant: TenantId, sheet: &Sheet) -> StoreResult<Review> {
    let Some(audience) = sheet.audience else { return Ok(sheet.review.clone()) };
    let target = reach(&mut *tx, tenant, audience).await?.over(sheet.channel);
    if target != sheet.target {
        set_target(tx, tenant, sheet.id, target).await?;
    }
    Ok(Review { audience: target.most, ..sheet.review.clone() })
}

async fn set_target(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: CampaignId,
    target: Target,
) -> StoreResult<()> {
    sqlx::query!(
        "update campaigns set target_count = $3, target_exact = $4, target_most = $5 where tenant_id = $1 and id = $2",
        tenant.uuid(),
        id.uuid(),
        target.recipients,
        target.exact,
        target.most,
    )
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_audience_is_like_the_part_that_was_counted() {
        let all = Reach { members: 142, looked_at: 142, emails: 142, phones: 100 };
        assert_eq!(all.over(Channel::Email), Target { recipients: 142, most: 142, exact: true });
        assert_eq!(all.over(Channel::Whatsapp), Target { recipients: 100, most: 100, exact: true });
        let part = Reach { members: 1_000_000, looked_at: 20_000, emails: 19_000, phones: 0 };
        assert_eq!(part.over(Channel::Email), Target { recipients: 950_000, most: 1_000_000, exact: false });
        let none = Reach { members: 0, looked_at: 0, emails: 0, phones: 0 };
        assert_eq!(none.over(Channel::Sms), Target { recipients: 0, most: 0, exact: true });
    }
}
