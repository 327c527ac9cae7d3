//! Stops of a campaign, and what undoes them.
//!
//! A stop commits, then takes and releases the exclusive side of its tenant's lock, and only then returns. Every intent
//! takes the shared side before it looks at the state, so after the return no intent can commit that did not see the stop,
//! and only what had its intent before may still leave, within a second.

use crate::{
    domain::campaign::CampaignState,
    id::{CampaignId, TenantId},
    store::{Store, campaigns::ChangeError},
};

pub async fn pause(store: &Store, tenant: TenantId, id: CampaignId) -> Result<CampaignState, ChangeError> {
    let state = store.change_campaign(tenant, id, |state, _| state.pause(), None).await?;
    store.grace(tenant).await?;
    Ok(state)
}

pub async fn resume(store: &Store, tenant: TenantId, id: CampaignId) -> Result<CampaignState, ChangeError> {
    store.change_campaign(tenant, id, |state, _| state.resume(), None).await
}

/// Whoever was not sent to ends as suppressed, with this as the reason.
pub async fn cancel(store: &Store, tenant: TenantId, id: CampaignId) -> Result<CampaignState, ChangeError> {
    let state = store.change_campaign(tenant, id, CampaignState::cancel, None).await?;
    store.grace(tenant).await?;
    Ok(state)
}

/// Sends the messages that failed for good once more, and only those. Returns how many they are.
pub async fn retry_failed(
    store: &Store,
    tenant: TenantId,
    id: CampaignId,
    chunk: i32,
) -> Result<i64, ChangeError> {
    store.campaign(tenant, id).await?.state.reopen()?;
    Ok(store.replay_failed(tenant, id, chunk).await?)
}
