//! What a campaign pinned at its launch, with its templates compiled: read once, then kept in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use fanfare_templates::{Compiled, Given, Link, Locale, RenderError, Rendered};

use crate::{
    domain::{
        outcome::{Outcome, Reason},
        token::{PublicLinks, ShownLinks},
    },
    id::CampaignId,
    store::{
        Store, StoreError, StoreResult,
        campaigns::{CampaignPlan, Tracking},
    },
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
    /// The links that it shows.
    pub shown: ShownLinks,
    /// Links that lead over this service, and where to.
    pub tracked: Vec<Link>,
}

impl CompiledVariant {
    /// A recipient's message, from its pinned values. That it can't be rendered is the recipient's last word.
    pub fn render(&self, pinned: &str, given: Given) -> Result<Rendered, Outcome> {
        self.compiled.render_pinned(pinned, given, &self.locale).map_err(|error| {
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
    /// Nothing is tracked where there are no links to track by.
    links: PublicLinks,
    known: Mutex<HashMap<CampaignId, Arc<Plan>>>,
}

impl Plans {
    pub fn new(links: PublicLinks) -> Self {
        Self { links, known: Mutex::default() }
    }

    pub async fn get(&self, store: &Store, id: CampaignId) -> StoreResult<Arc<Plan>> {
        if let Some(plan) = self.lock().get(&id) {
            return Ok(Arc::clone(plan));
        }
        let campaign = store.campaign_plan(id).await?;
        let Tracking { links, opens } =
            if self.links.exist() { campaign.tracking } else { Tracking::default() };
        let published = store.published(&campaign.variants).await?;
        let variants = published
            .into_iter()
            .map(|variant| {
                let corrupt =
                    |error: &dyn std::fmt::Display| StoreError::Corrupt(format!("{}: {error}", variant.id));
                let published = variant.published.tracked(links, opens);
                let compiled = Compiled::new(&published).map_err(|e| corrupt(&e))?;
                Ok(CompiledVariant {
                    locale: Locale::parse(&variant.locale).map_err(|e| corrupt(&e))?,
                    shown: ShownLinks::of(&compiled, campaign.short_no),
                    tracked: if links { variant.published.links() } else { Vec::new() },
                    compiled,
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
