//! Under which campaign row a single message is gathered: one for each template, day and published content, or for the hour in
//! which it is due. Rows are made when they are missing, and remembered for a few seconds, so that a message costs no look at its
//! template.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::{Instant, timeout};

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
/// Whoever comes first in the last part of it looks again; the others need not wait for that.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// For whoever looks at the moment.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How many are kept; past that those whose time is over are forgotten.
const GATHERERS_KEPT: usize = 4_096;

/// What is known of one.
#[derive(Debug, Clone, Default)]
struct Known {
    gatherer: Option<Gatherer>,
    /// One message looks, and those that come meanwhile wait for what it finds.
    looking: Arc<tokio::sync::Mutex<()>>,
}

impl Known {
    fn with_at_least(&self, left: Duration) -> Option<&Gatherer> {
        let until = Instant::now() + left;
        self.gatherer.as_ref().filter(|gatherer| gatherer.until > until)
    }
}

/// Those of this process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Gatherers(Arc<Mutex<HashMap<String, Known>>>);

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
        let known = self.known(&name);
        let _look = match known.with_at_least(Duration::ZERO) {
            // Where looking fails it takes long, and whoever comes next must not wait for everybody before.
            None => timeout(LONGEST_WAIT, known.looking.lock()).await.ok(),
            Some(gatherer) if known.with_at_least(LOOK_AGAIN).is_some() => return Ok(gatherer.clone()),
            Some(gatherer) => match known.looking.try_lock() {
                Ok(look) => Some(look),
                Err(_) => return Ok(gatherer.clone()),
            },
        };
        if let Some(found) = self.known(&name).with_at_least(LOOK_AGAIN) {
            return Ok(found.clone());
        }
        let gatherer = look(deliverer, request, due, test).await?;
        self.lock().entry(name).or_default().gatherer = Some(gatherer.clone());
        Ok(gatherer)
    }

    fn known(&self, name: &str) -> Known {
        let mut all = self.lock();
        if let Some(known) = all.get(name) {
            return known.clone();
        }
        if all.len() >= GATHERERS_KEPT {
            all.retain(|_, known| known.with_at_least(Duration::ZERO).is_some());
        }
        all.entry(name.to_owned()).or_default().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look(
    deliverer: &Deliverer,
    request: &DirectRequest<'_>,
    due: Option<Timestamp>,
    test: bool,
) -> Result<Gatherer, DirectError> {
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
    Ok(Gatherer { campaign, locales: pins.locales, until: Instant::now() + GATHERER_LIFETIME })
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
