//! What a campaign pinned at its launch, with its templates compiled: read once, then kept in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use fanfare_templates::{Compiled, Locale, RenderError, Rendered};

use crate::{
    domain::outcome::{Outcome, Reason},
    id::CampaignId,
    store::{Store, StoreError, StoreResult, campaigns::CampaignPlan},
};

/// How many campaigns are kept. Past that all are forgotten and read again: pins never change, so nothing is lost.
const KEPT: usize = 512;

#[derive(Debug)]
pub struct Plan {
    pub campaign: CampaignPlan,
    pub variants: Vec<CompiledVariant>,
}

#[derive(Debug)]
pub struct CompiledVariant {
    pub locale: Locale,
    pub compiled: Compiled,
}

impl CompiledVariant {
    /// A recipient's message, from its pinned values. That it can't be rendered is the recipient's last word.
    pub fn render(&self, pinned: &str) -> Result<Rendered, Outcome> {
        self.compiled.render_pinned(pinned, &self.locale).map_err(|error| {
            let reason = match error {
                RenderError::MissingVariable { .. } => Reason::MissingVariable,
                _ => Reason::RenderFailed,
            };
            Outcome::Failed { reason, detail: Some(error.to_string()) }
        })
    }
}

#[derive(Debug, Default)]
pub struct Plans {
    known: Mutex<HashMap<CampaignId, Arc<Plan>>>,
}

impl Plans {
    pub async fn get(&self, store: &Store, id: CampaignId) -> StoreResult<Arc<Plan>> {
        if let Some(plan) = self.lock().get(&id) {
            return Ok(Arc::clone(plan));
        }
        let campaign = store.campaign_plan(id).await?;
        let published = store.published(&campaign.variants).await?;
        let variants = published
            .into_iter()
            .map(|variant| {
                let corrupt =
                    |error: &dyn std::fmt::Display| StoreError::Corrupt(format!("{}: {error}", variant.id));
                Ok(CompiledVariant {
                    locale: Locale::parse(&variant.locale).map_err(|e| corrupt(&e))?,
                    compiled: Compiled::new(&variant.published).map_err(|e| corrupt(&e))?,
                })
            })
            .collect::<StoreResult<Vec<_>>>()?;
        let plan = Arc::new(Plan { campaign, variants });
        let mut known = self.lock();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(id, Arc::clone(&plan));
        Ok(plan)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CampaignId, Arc<Plan>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
