//! The direct path: one transactional message, accepted and sent by the process that took it in.
//!
//! Acceptance and intent are one transaction, so the answer "accepted" already means that the message is durable and that
//! whatever could have stopped it was looked at. If the account has a time slot at once, this process sends it; otherwise
//! the chunk stands there without an intent and the queue brings it to a worker. If the process dies in between, the
//! chunk's lease ends and its next owner decides as for any other chunk.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fanfare_templates::{Locale, Rendered};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{
    accounts::{AccountHandle, Accounts},
    plans::{Plan, Plans},
    slice::{Deliverer, Intent, Work, may_repeat},
    tame::UrgentLatency,
};
use crate::{
    domain::{
        address::{self, AddressError},
        channel::{Channel, Lane, MessageClass},
        chunk::{ChunkRef, Members},
        outcome::{Outcome, Reason},
    },
    id::{CampaignId, ContactId, MessageId, ProcessId, TenantId},
    queue::Queue,
    store::{
        StoreError,
        campaigns::Pins,
        chunks::Claim,
        direct::{Acceptance, DirectMessage, Gathering},
        recipients::Recipient,
        tenants::Tenant,
    },
};

/// A message as a caller asks for it.
#[derive(Debug, Clone)]
pub struct DirectRequest<'a> {
    pub tenant: &'a Tenant,
    pub channel: Channel,
    /// The template's slug.
    pub template: &'a str,
    pub to: &'a str,
    pub contact: Option<ContactId>,
    pub locale: Option<&'a str>,
    pub variables: serde_json::Map<String, serde_json::Value>,
    pub business_key: Option<&'a str>,
}

#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    #[error("`to`: {0}")]
    Address(#[from] AddressError),
    #[error("no provider account serves {0}: configure one")]
    NoAccount(Channel),
    #[error("template `{0}` has no published version: publish one")]
    NotPublished(String),
    #[error("template `{0}` is not in use any more: set it active, or take another")]
    Inactive(String),
    #[error("the template cannot be rendered with these values: {0}")]
    Render(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The answer to a caller; the message is durable in each case.
#[derive(Debug)]
pub enum Taken {
    /// It is on its way. The receiver gets the outcome of the attempt that this process makes, if it makes one.
    Accepted {
        message: MessageId,
        outcome: tokio::sync::oneshot::Receiver<Outcome>,
    },
    Refused {
        message: MessageId,
        reason: Reason,
    },
    /// A message with this business key was accepted before: this one.
    Duplicate {
        message: MessageId,
    },
}

/// Takes direct messages in; one a process, with database and HTTP connections of its own.
#[derive(Debug, Clone)]
pub struct DirectPath {
    pub process: ProcessId,
    pub deliverer: Deliverer,
    pub accounts: Accounts,
    pub plans: Arc<Plans>,
    pub queue: Queue,
    pub tasks: TaskTracker,
    pub latency: UrgentLatency,
    gatherers: Arc<Mutex<HashMap<String, Gatherer>>>,
    /// What is taken in is a look at a template, which no figure counts.
    test: bool,
}

/// A message that nothing but the database can refuse any more.
#[derive(Debug)]
struct Ready<'a> {
    tenant: TenantId,
    plan: Arc<Plan>,
    account: Arc<AccountHandle>,
    recipient: Recipient,
    variables: serde_json::Value,
    content: Rendered,
    business_key: Option<&'a str>,
}

/// A message whose intent this process has just committed.
#[derive(Debug)]
struct Sending {
    work: Work,
    content: Rendered,
    intent: Intent,
    tell: tokio::sync::oneshot::Sender<Outcome>,
}

/// The campaign row that a day's messages of one template are gathered under, kept for a while.
#[derive(Debug, Clone)]
struct Gatherer {
    campaign: CampaignId,
    locales: Vec<String>,
    until: Instant,
}

/// A newly published version, a new day or a changed route is noticed within this.
const GATHERER_LIFETIME: Duration = Duration::from_secs(5);

impl DirectPath {
    pub fn new(
        process: ProcessId,
        deliverer: Deliverer,
        accounts: Accounts,
        plans: Arc<Plans>,
        queue: Queue,
        tasks: TaskTracker,
    ) -> Self {
        let latency = UrgentLatency::default();
        let gatherers = Arc::default();
        Self { process, deliverer, accounts, plans, queue, tasks, latency, gatherers, test: false }
    }

    /// The same path for messages that somebody sends to themselves to look at a template. They are transactional, whatever
    /// the template's class is: whoever asks for one waits for it.
    pub fn for_tests(&self) -> Self {
        Self { test: true, ..self.clone() }
    }

    /// Takes a message in; when it returns `Accepted` the message survives whatever happens to this process.
    pub async fn take(&self, request: DirectRequest<'_>) -> Result<Taken, DirectError> {
        let accepted_at = Instant::now();
        let ready = self.prepare(request).await?;
        // A slot at once, or the queue: an intent must not wait for a permit.
        let place = self.deliverer.places.take_now(&ready.account);
        let mut slot = place.filter(|_| ready.account.breaker.allows()).zip(ready.account.pacer.admit_now(1));
        if slot.is_some() {
            let wait = ready.account.waits(&[&ready.recipient.address]).await;
            slot = slot.filter(|_| wait.is_ok_and(|wait| wait[0].is_none()));
        }
        let message = DirectMessage {
            tenant: ready.tenant,
            campaign: ready.plan.campaign.id,
            account: ready.account.account.id,
            channel: ready.plan.campaign.channel,
            class: ready.plan.campaign.class,
            variant: ready.recipient.variant,
            contact: ready.recipient.contact,
            address: &ready.recipient.address,
            variables: &ready.variables,
            business_key: ready.business_key,
            sender: slot.is_some().then_some(self.process),
        };
        let acceptance = self.deliverer.store.accept_direct(&message, self.deliverer.lease).await?;
        count(&ready.plan, acceptance);
        let message = match acceptance {
            Acceptance::Refused(message, reason) => return Ok(Taken::Refused { message, reason }),
            Acceptance::Duplicate(message) => return Ok(Taken::Duplicate { message }),
            Acceptance::Accepted(message) => message,
        };
        let (tell, outcome) = tokio::sync::oneshot::channel();
        match slot {
            Some((places, admission)) => {
                let intent = Intent { places, admission, committed: Instant::now() };
                let content = ready.content.clone();
                let sending = Sending { work: self.work(ready, message), content, intent, tell };
                let path = self.clone();
                self.tasks.spawn(async move { path.send(sending, accepted_at).await });
            }
            None => self.leave_to_queue(&ready.plan, chunk_of(message)).await,
        }
        Ok(Taken::Accepted { message, outcome })
    }

    /// Everything that can be refused before the database is asked.
    async fn prepare<'a>(&self, request: DirectRequest<'a>) -> Result<Ready<'a>, DirectError> {
        let address = address::normalised(request.channel, request.to)?;
        let gatherer = self.gatherer(&request).await?;
        let plan = self.plans.get(&self.deliverer.store, gatherer.campaign).await?;
        let account = plan.campaign.route.first().and_then(|&account| self.accounts.get(account));
        let account = account.ok_or(DirectError::NoAccount(request.channel))?;
        let wanted = Locale::parse(request.locale.unwrap_or(&request.tenant.locale)).ok();
        let variant = wanted
            .and_then(|locale| {
                locale.fallbacks().find_map(|l| gatherer.locales.iter().position(|known| known == l))
            })
            .unwrap_or(0);
        let variables = serde_json::Value::Object(request.variables);
        let template = &plan.variants[variant];
        let content = template
            .compiled
            .render(&variables, &template.locale)
            .map_err(|error| DirectError::Render(error.to_string()))?;
        let recipient = Recipient {
            n: 0,
            variant: i16::try_from(variant).unwrap_or(0),
            contact: request.contact,
            address,
            // Rendered already.
            variables: String::new(),
            keyed: request.business_key.is_some(),
        };
        let (tenant, business_key) = (request.tenant.id, request.business_key);
        Ok(Ready { tenant, plan, account, recipient, variables, content, business_key })
    }

    /// The message as the one member of its chunk, which this process owns already.
    fn work(&self, ready: Ready<'_>, message: MessageId) -> Work {
        let now = self.deliverer.clock.now();
        let claim = Claim {
            chunk: chunk_of(message),
            tenant: ready.tenant,
            account: ready.account.account.id,
            epoch: 1,
            attempt: 1,
            burned: 0,
            members: Members::Range { first: message.n, last: message.n },
            born_at: now,
            intents: Vec::new(),
            now,
        };
        let members = vec![Recipient { n: message.n, ..ready.recipient }];
        Work { claim, plan: ready.plan, account: ready.account, members }
    }

    async fn send(self, sending: Sending, accepted_at: Instant) {
        let Sending { work, content, intent, tell } = sending;
        let latency = accepted_at.elapsed();
        self.latency.observe(latency);
        metrics::histogram!(crate::metrics::URGENT_SECONDS).record(latency.as_secs_f64());
        match self.deliverer.send_alone(&work, content, &intent).await {
            // A request under the same key may settle it: the chunk's next owner repeats it.
            Some(outcome) if may_repeat(&outcome) && work.account.adapter.key_lifetime().is_some() => {
                let _ = tell.send(outcome);
            }
            Some(outcome) => {
                self.deliverer.record(&work, 0, outcome.clone()).await;
                self.deliverer.recorder.flushed().await;
                let _ = tell.send(outcome);
            }
            None => {
                // Nothing was on the wire: the intent goes back, and the queue brings the message to whoever has a slot.
                if let Err(error) = self.deliverer.store.release_chunk(&work.claim, Duration::ZERO).await {
                    tracing::warn!(%error, chunk = %work.claim.chunk, "left to its lease");
                }
                self.leave_to_queue(&work.plan, work.claim.chunk).await;
            }
        }
    }

    /// The hint only makes it quicker: the feeder finds the chunk in any case.
    async fn leave_to_queue(&self, plan: &Plan, chunk: ChunkRef) {
        let lane = Lane { channel: plan.campaign.channel, class: plan.campaign.class };
        if let Err(error) = self.queue.publish(lane, &[chunk]).await {
            tracing::debug!(%error, %chunk, "no hint could be given");
        }
    }

    async fn gatherer(&self, request: &DirectRequest<'_>) -> Result<Gatherer, DirectError> {
        let kind = if self.test { "test" } else { "direct" };
        let name = format!("{kind}/{}/{}/{}", request.tenant.id, request.channel, request.template);
        if let Some(known) = self.lock().get(&name).filter(|known| known.until > Instant::now()) {
            return Ok(known.clone());
        }
        let store = &self.deliverer.store;
        let template = store.template(request.tenant.id, request.template, request.channel).await?;
        if !template.active {
            return Err(DirectError::Inactive(template.slug));
        }
        let variants = store.variants(template.id, &request.tenant.locale).await?;
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
        let new = self.deliverer.ids.next(self.deliverer.clock.now());
        let gathering = Gathering {
            tenant: request.tenant.id,
            template: template.id,
            channel: template.channel,
            class: if self.test { MessageClass::Transactional } else { template.class },
            test: self.test,
        };
        let campaign = store.direct_campaign(new, &gathering, &pins).await?;
        let until = Instant::now() + GATHERER_LIFETIME;
        let gatherer = Gatherer { campaign, locales: pins.locales, until };
        self.lock().insert(name, gatherer.clone());
        Ok(gatherer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Gatherer>> {
        self.gatherers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn chunk_of(message: MessageId) -> ChunkRef {
    ChunkRef { campaign: message.campaign, no: message.n as i64 }
}

fn count(plan: &Plan, acceptance: Acceptance) {
    let verdict = match acceptance {
        Acceptance::Accepted(_) => "accepted",
        Acceptance::Refused(..) => "refused",
        Acceptance::Duplicate(_) => "duplicate",
    };
    let (channel, class) = (plan.campaign.channel.as_str(), plan.campaign.class.as_str());
    metrics::counter!(crate::metrics::DIRECT, "channel" => channel, "class" => class, "verdict" => verdict)
        .increment(1);
}

/// Variables from `name=value` texts: what is a JSON number, object or boolean is taken as one, all else as text.
pub fn variables(pairs: &BTreeMap<String, String>) -> serde_json::Map<String, serde_json::Value> {
    pairs
        .iter()
        .map(|(name, value)| {
            let parsed =
                serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::String(value.clone()));
            (name.clone(), parsed)
        })
        .collect()
}
