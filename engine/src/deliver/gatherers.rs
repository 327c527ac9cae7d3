//! Under which campaign row a single message is gathered: one for each template, day and published content, or for the hour in
//! which it is due. Rows are made when they are missing, and remembered for a few seconds, so that a message costs no look at its
//! template.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    direct::{DirectContent, DirectError, DirectRequest},
    slice::Deliverer,
};
use crate::{
    domain::channel::{Channel, MessageClass},
    id::CampaignId,
    store::{
        campaigns::Pins,
        direct::Gathering,
        templates::{Template, Variant, WrittenTemplate},
    },
};

/// The campaign row that a day's messages of one template are gathered under, kept for a while.
#[derive(Debug, Clone)]
pub(super) struct Gatherer {
    pub(super) campaign: CampaignId,
    pub(super) locales: Vec<String>,
    until: Instant,
}

/// A newly published version, a new day or a changed route is noticed within this.
const GATHERER_LIFETIME: Duration = Duration::from_secs(5);
/// How many are kept; past that those whose time is over are forgotten.
const GATHERERS_KEPT: usize = 4_096;

/// Those of this process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Gatherers(Arc<Mutex<HashMap<String, Gatherer>>>);

impl Gatherers {
    /// For a message; `test` where no figure is to count it.
    pub(super) async fn get(
        &self,
        deliverer: &Deliverer,
        request: &DirectRequest<'_>,
        test: bool,
    ) -> Result<Gatherer, DirectError> {
        // Those for later are gathered by the hour in which they are due.
        let due = request.not_before.map(|at| at.as_second().div_euclid(3_600) * 3_600);
        let due = due.and_then(|second| Timestamp::from_second(second).ok());
        let kind = if test { "test" } else { "direct" };
        let name = format!("{kind}/{}/{}/{:?}/{due:?}", request.tenant.id, request.channel, request.content);
        if let Some(known) = self.lock().get(&name).filter(|known| known.until > Instant::now()) {
            return Ok(known.clone());
        }
        let store = &deliverer.store;
        let (template, variants) = content(deliverer, request).await?;
        if !template.active {
            return Err(DirectError::Inactive(template.slug));
        }
        if variants.is_empty() {
            return Err(DirectError::NotPublished(template.slug));
        }
        let route = store.route(request.tenant.id, request.channel).await?;
        let pins = Pins {
            variants: variants.iter().map(|variant| variant.id).collect(),
            locales: variants.iter().map(|variant| variant.locale.clone()).collect(),
            variables: crate::store::templates::variables(&variants).into_iter().collect(),
            route,
        };
        let new = deliverer.ids.next(deliverer.clock.now());
        let gathering = Gathering {
            tenant: request.tenant.id,
            template: template.id,
            channel: template.channel,
            class: if test { MessageClass::Transactional } else { template.class },
            due,
            test,
        };
        let campaign = store.direct_campaign(new, &gathering, &pins).await?;
        let until = Instant::now() + GATHERER_LIFETIME;
        let gatherer = Gatherer { campaign, locales: pins.locales, until };
        let mut known = self.lock();
        if known.len() >= GATHERERS_KEPT {
            known.retain(|_, gatherer| gatherer.until > Instant::now());
        }
        known.insert(name, gatherer.clone());
        Ok(gatherer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Gatherer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn content(
    deliverer: &Deliverer,
    request: &DirectRequest<'_>,
) -> Result<(Template, Vec<Variant>), DirectError> {
    let (store, tenant, channel) = (&deliverer.store, request.tenant, request.channel);
    match request.content {
        DirectContent::Template(name) => {
            let template = store.template(tenant.id, name, channel).await?;
            let variants = store.variants(template.id, &tenant.locale).await?;
            Ok((template, variants))
        }
        DirectContent::Written(class) => {
            let written = fanfare_templates::as_written(source_channel(channel));
            let published = written.ok_or(DirectError::NeedsTemplate(channel))?;
            let (ids, now) = (&deliverer.ids, deliverer.clock.now());
            let new = WrittenTemplate { template: ids.next(now), version: ids.next(now), channel, class };
            let (template, variant) = store.written_template(tenant, new, &published).await?;
            Ok((template, vec![variant]))
        }
    }
}

const fn source_channel(channel: Channel) -> fanfare_templates::Channel {
    match channel {
        Channel::Email => fanfare_templates::Channel::Email,
        Channel::Sms => fanfare_templates::Channel::Sms,
        Channel::Whatsapp => fanfare_templates::Channel::Whatsapp,
        Channel::InApp => fanfare_templates::Channel::InApp,
    }
}
