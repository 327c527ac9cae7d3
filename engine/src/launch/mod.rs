//! Stage 1: from a click to chunks in Postgres.
//!
//! [`launch`] checks that the campaign can be sent at all, pins the template versions, variables and route, and moves the
//! campaign to Launching: one transaction, then the caller has its answer. [`freeze::Launcher`], a duty of one process at
//! a time, walks the audience from there, slice by slice; each slice's recipients, chunks and cursor commit together. The
//! first chunks leave while later slices are still being frozen. If it dies, the next holder goes on at the cursor.
//!
//! [`control`] stops: pause, resume, cancel. [`check`] is the pre-flight: a launch in a transaction that is rolled back.

pub mod check;
pub mod control;
mod forecast;
pub mod freeze;

use fanfare_templates::{Source, Whatsapp};
use sqlx::PgConnection;

use crate::{
    domain::{
        approval::{self, ApprovalStatus},
        campaign::CampaignState,
        review::ReviewError,
    },
    id::{AccountId, CampaignId, TenantId},
    store::{
        Store, StoreError,
        approvals::{Approval, ApprovedAs},
        campaigns::{self, Audience, Campaign, ChangeError, Pins},
        drafts, sheets,
        templates::{self, Variant},
    },
};

/// Why a campaign can't be launched; each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("template has no published version: publish one first")]
    NotPublished,
    #[error("the template is not in use any more: set it active, or take another")]
    TemplateInactive,
    #[error("no provider account serves {0}: configure one under [[accounts]]")]
    NoAccount(crate::domain::channel::Channel),
    #[error(
        "Meta has not approved the template `{name}` in `{language}`: it is {status}{}", because(.reason.as_deref())
    )]
    NotApproved { name: String, language: String, status: ApprovalStatus, reason: Option<String> },
    #[error(
        "Meta refuses every message of the template `{name}` in `{language}`: {difference}. Submit this version, or publish one \
         with the same values"
    )]
    NotAsApproved { name: String, language: String, difference: String },
    #[error("{why}: `POST /api/campaigns/{campaign}/submit` hands it over, and `/approve` lets it leave")]
    NotReviewed { campaign: CampaignId, why: ReviewError },
    #[error("the campaign has no audience: create it with an upload, or with all contacts")]
    NoAudience,
    #[error("upload {0} does not exist, or has no rows that were taken")]
    EmptyUpload(crate::id::UploadId),
    #[error(transparent)]
    Change(#[from] ChangeError),
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(", because of {reason}")).unwrap_or_default()
}

impl From<StoreError> for LaunchError {
    fn from(error: StoreError) -> Self {
        Self::Change(error.into())
    }
}

/// Launches a campaign: when it returns, the launch is durable, and every recipient will end with a state and a reason.
pub async fn launch(store: &Store, tenant: TenantId, id: CampaignId) -> Result<CampaignState, LaunchError> {
    let campaign = store.campaign(tenant, id).await?;
    let (pins, _) = pins(store, &campaign).await?;
    let mut tx = store.begin().await?;
    may_leave(&mut tx, tenant, id).await?;
    let state = campaigns::change(&mut tx, tenant, id, CampaignState::launch, Some(&pins)).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(state)
}

/// Launches a campaign whose time has come. `None` while somebody else holds it, who may look at a million people: others are
/// due as well, and it stays so.
pub async fn launch_due(
    store: &Store,
    tenant: TenantId,
    id: CampaignId,
) -> Result<Option<CampaignState>, LaunchError> {
    let campaign = store.campaign(tenant, id).await?;
    let (pins, _) = pins(store, &campaign).await?;
    let mut tx = store.begin().await?;
    if !sheets::lock_if_free(&mut tx, id).await? {
        return Ok(None);
    }
    let state = campaigns::change(&mut tx, tenant, id, CampaignState::launch, Some(&pins)).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(Some(state))
}

/// Schedules a launch. What is pinned is pinned then, when the launch comes.
pub async fn schedule(
    store: &Store,
    tenant: TenantId,
    id: CampaignId,
    at: jiff::Timestamp,
) -> Result<CampaignState, LaunchError> {
    let campaign = store.campaign(tenant, id).await?;
    pins(store, &campaign).await?;
    let mut tx = store.begin().await?;
    may_leave(&mut tx, tenant, id).await?;
    let state = campaigns::change(&mut tx, tenant, id, |state, _| state.schedule(at), None).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(state)
}

/// Whether four eyes let it leave; nobody changes it until the transaction has ended.
async fn may_leave(tx: &mut PgConnection, tenant: TenantId, campaign: CampaignId) -> Result<(), LaunchError> {
    let sheet = sheets::lock(&mut *tx, tenant, campaign).await?;
    // Where nothing has to be approved, nobody waits until a million are counted.
    let review = match sheet.review.above {
        Some(_) => drafts::counted(tx, tenant, &sheet).await?,
        None => sheet.review,
    };
    review.may_leave(sheet.state).map_err(|why| LaunchError::NotReviewed { campaign, why })
}

/// What a launch of this campaign would pin now.
pub async fn pins(store: &Store, campaign: &Campaign) -> Result<(Pins, Vec<Variant>), LaunchError> {
    match campaign.audience {
        None => return Err(LaunchError::NoAudience),
        Some(Audience::Upload(upload)) if !store.upload_has_rows(campaign.tenant, upload).await? => {
            return Err(LaunchError::EmptyUpload(upload));
        }
        Some(_) => {}
    }
    if !store.template_is_active(campaign.template).await? {
        return Err(LaunchError::TemplateInactive);
    }
    let tenant = store.tenant_by_id(campaign.tenant).await?;
    let variants = store.variants(campaign.template, &tenant.locale).await?;
    if variants.is_empty() {
        return Err(LaunchError::NotPublished);
    }
    let route = store.route(campaign.tenant, campaign.channel).await?;
    if route.is_empty() {
        return Err(LaunchError::NoAccount(campaign.channel));
    }
    approved(store, &route, &variants).await?;
    let pins = Pins {
        variants: variants.iter().map(|variant| variant.id).collect(),
        locales: variants.iter().map(|variant| variant.locale.clone()).collect(),
        variables: templates::variables(&variants).into_iter().collect(),
        route,
    };
    Ok((pins, variants))
}

/// Nobody is written to with a template that was submitted here and is not approved, or was approved with other values. Of one
/// that Meta knows without us, it says so itself when the first message is refused.
async fn approved(store: &Store, route: &[AccountId], variants: &[Variant]) -> Result<(), LaunchError> {
    let sent: Vec<(&Whatsapp<String>, (&str, &str))> = variants
        .iter()
        .filter_map(|variant| match variant.published.source() {
            Source::Whatsapp(sent @ Whatsapp::Template { name, language, .. }) => {
                Some((sent, (name.as_str(), language.as_str())))
            }
            _ => None,
        })
        .collect();
    if sent.is_empty() {
        return Ok(());
    }
    let templates: Vec<(&str, &str)> = sent.iter().map(|(_, named)| *named).collect();
    if let Some(Approval { name, language, status, reason, .. }) =
        store.not_approved(route, &templates).await?
    {
        return Err(LaunchError::NotApproved { name, language, status, reason });
    }
    for ApprovedAs { name, language, published } in store.approved_as(route, &templates).await? {
        let Source::Whatsapp(approved) = published.source() else { continue };
        let mut sent = sent.iter().filter(|(_, named)| *named == (name.as_str(), language.as_str()));
        if let Some(difference) = sent.find_map(|(sent, _)| approval::difference(approved, sent)) {
            return Err(LaunchError::NotAsApproved { name, language, difference });
        }
    }
    Ok(())
}
