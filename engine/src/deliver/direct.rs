//! The direct path: one message, accepted and sent by the process that took it in.
//!
//! Acceptance and intent are one transaction, so the answer "accepted" already means that the message is durable and that
//! whatever could have stopped it was looked at. If the account has a time slot at once, this process sends it, as soon as
//! it has a place on the wire; otherwise the chunk stands there without an intent and the queue brings it to a worker. If
//! the process dies in between, the chunk's lease ends and its next owner decides as for any other chunk.
//!
//! A message for later is accepted in the same way, and its chunk waits for its moment. What may stop it is looked at twice:
//! when it is accepted, and again by the intent right before it leaves.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fanfare_templates::{Locale, Rendered};
use jiff::{Timestamp, tz::TimeZone};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    accounts::{AccountHandle, Accounts},
    gatherers::Gatherers,
    plans::{Plan, Plans},
    slice::{Deliverer, Intent, Work, may_repeat},
    tame::{CallersWait, UrgentLatency},
};
use crate::{
    domain::{
        address::{self, AddressError},
        channel::{Channel, Lane, MessageClass},
        chunk::{ChunkRef, Members},
        outcome::{Outcome, Reason},
        price::{self, Price},
        references::References,
    },
    id::{ContactId, MessageId, ProcessId, TenantId},
    limit::Admission,
    queue::Queue,
    store::{
        StoreError,
        audit::Deed,
        chunks::Claim,
        direct::{Acceptance, DirectMessage},
        recipients::Recipient,
        tenants::Tenant,
    },
};

/// For which a place on the wire is waited.
const A_MOMENT: Duration = Duration::from_millis(500);

/// What is in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DirectContent<'a> {
    /// The template of this slug or id, with the request's variables.
    Template(&'a str),
    /// What the caller wrote whole: the variables are its parts (see [`fanfare_templates::as_written`]).
    Written(MessageClass),
}

/// A message as a caller asks for it.
#[derive(Debug, Clone)]
pub struct DirectRequest<'a> {
    pub tenant: &'a Tenant,
    pub channel: Channel,
    pub content: DirectContent<'a>,
    pub to: &'a str,
    pub contact: Option<ContactId>,
    pub locale: Option<&'a str>,
    pub variables: serde_json::Map<String, serde_json::Value>,
    pub business_key: Option<&'a str>,
    /// Not before this moment; `None`: now.
    pub not_before: Option<Timestamp>,
    pub references: References,
    /// What the audit log says of it, in the transaction in which it is taken in; its subject is the message.
    pub deed: Option<Deed>,
}

impl<'a> DirectRequest<'a> {
    /// For now, without values, in the tenant's language.
    pub fn new(tenant: &'a Tenant, channel: Channel, content: DirectContent<'a>, to: &'a str) -> Self {
        Self {
            tenant,
            channel,
            content,
            to,
            contact: None,
            locale: None,
            variables: serde_json::Map::new(),
            business_key: None,
            not_before: None,
            references: References::default(),
            deed: None,
        }
    }
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
    #[error("nobody may write freely over {0}: use a template")]
    NeedsTemplate(Channel),
    #[error("as many single messages as may be have gone to such numbers today")]
    Capped,
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A moment for which no message can be taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("is in the past")]
    Past,
    #[error("is more than a year away")]
    TooFar,
    #[error("is later than the records of today's messages are kept (`retention.months`)")]
    PastRetention,
}

/// The answer to a caller; the message is durable in each case.
#[derive(Debug)]
pub enum Taken {
    /// It is on its way. The receiver gets the outcome of the attempt that this process makes, if it makes one.
    Accepted {
        message: MessageId,
        outcome: tokio::sync::oneshot::Receiver<Outcome>,
        /// What the account charges over which it is to go, where that is known.
        price: Option<Price>,
        /// How often that is due; see [`price::units`].
        units: u32,
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
    /// How long those who ask the API wait for the database: bulk steps aside for them, too.
    pub callers: CallersWait,
    /// For how many months after their own messages are kept.
    retention_months: i32,
    gatherers: Gatherers,
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
    not_before: Option<Timestamp>,
    references: References,
    deed: Option<Deed>,
}

/// A message whose intent this process has just committed.
#[derive(Debug)]
struct Sending {
    work: Work,
    content: Rendered,
    intent: Intent,
    tell: tokio::sync::oneshot::Sender<Outcome>,
}

/// As long as nobody says how long messages are kept.
const A_YEAR_AND_A_MONTH: i32 = 13;
/// How far ahead a message may be taken in.
const FURTHEST: jiff::SignedDuration = jiff::SignedDuration::from_hours(366 * 24);

impl DirectPath {
    pub fn new(
        process: ProcessId,
        deliverer: Deliverer,
        accounts: Accounts,
        plans: Arc<Plans>,
        queue: Queue,
        tasks: TaskTracker,
    ) -> Self {
        let (latency, callers, gatherers) =
            (UrgentLatency::default(), CallersWait::default(), Gatherers::default());
        let retention_months = A_YEAR_AND_A_MONTH;
        let test = false;
        Self {
            process,
            deliverer,
            accounts,
            plans,
            queue,
            tasks,
            latency,
            callers,
            retention_months,
            gatherers,
            test,
        }
    }

    /// The same path for messages that somebody sends to themselves to look at a template. They are transactional, whatever
    /// the template's class is: whoever asks for one waits for it.
    pub fn for_tests(&self) -> Self {
        Self { test: true, ..self.clone() }
    }

    /// Whoever is scheduled must not be dropped with the records of the month in which they were taken in.
    pub fn keeping(self, retention_months: i32) -> Self {
        Self { retention_months, ..self }
    }

    /// How often the price of a message is due, from the values that were pinned with it; `None` where it can't be rendered.
    pub async fn units(
        &self,
        message: MessageId,
        variant: i16,
        pinned: &str,
    ) -> Result<Option<u32>, StoreError> {
        let plan = self.plans.get(&self.deliverer.store, message.campaign).await?;
        let variant = usize::try_from(variant).ok().and_then(|at| plan.variants.get(at));
        let content = variant.and_then(|variant| {
            variant.render(pinned, variant.shown.given(&self.deliverer.links, message)).ok()
        });
        Ok(content.map(|content| price::units(&content)))
    }

    /// Takes a message in; when it returns `Accepted` the message survives whatever happens to this process.
    pub async fn take(&self, request: DirectRequest<'_>) -> Result<Taken, DirectError> {
        let accepted_at = Instant::now();
        let ready = self.prepare(request).await?;
        let slot = if ready.not_before.is_none() { slot(&self.deliverer, &ready).await } else { None };
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
            not_before: ready.not_before,
            references: &ready.references,
            deed: ready.deed.as_ref(),
        };
        let acceptance = self.deliverer.store.accept_direct(&message, self.deliverer.lease).await?;
        count(&ready.plan, &acceptance);
        let (message, prices) = match acceptance {
            Acceptance::Refused(message, reason) => return Ok(Taken::Refused { message, reason }),
            Acceptance::Duplicate(message) => return Ok(Taken::Duplicate { message }),
            Acceptance::Capped => return Err(DirectError::Capped),
            Acceptance::Accepted(message, prices) => (message, prices),
        };
        let (tell, outcome) = tokio::sync::oneshot::channel();
        let units = price::units(&ready.content);
        let price = price::price(&prices, &ready.recipient.address, self.deliverer.clock.now()).cloned();
        match slot {
            Some((places, admission)) => {
                let intent = Intent { places, admission, committed: Instant::now() };
                let content = self.content_of(&ready, message)?;
                let sending = Sending { work: self.work(ready, message), content, intent, tell };
                let path = self.clone();
                self.tasks.spawn(async move { path.send(sending, accepted_at).await });
            }
            None if ready.not_before.is_some() => {}
            None => self.leave_to_queue(&ready.plan, chunk_of(message)).await,
        }
        Ok(Taken::Accepted { message, outcome, price, units })
    }

    /// Everything that can be refused before the database is asked.
    async fn prepare<'a>(&self, request: DirectRequest<'a>) -> Result<Ready<'a>, DirectError> {
        let address = address::normalised(request.channel, request.to)?;
        if let Some(at) = request.not_before {
            schedulable(at, self.deliverer.clock.now(), self.retention_months)?;
        }
        let gatherer = self.gatherers.get(&self.deliverer, &request, self.test).await?;
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
        // Which message it is is known once it has been accepted.
        let content =
            self.render(&plan, variant, &variables, MessageId { campaign: plan.campaign.id, n: 0 })?;
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
        Ok(Ready {
            tenant,
            plan,
            account,
            recipient,
            variables,
            content,
            business_key,
            not_before: request.not_before,
            references: request.references,
            deed: request.deed,
        })
    }

    /// The message with its own links, if it shows any.
    fn content_of(&self, ready: &Ready<'_>, message: MessageId) -> Result<Rendered, DirectError> {
        let variant = usize::try_from(ready.recipient.variant).unwrap_or(0);
        if ready.plan.variants[variant].shown.is_empty() {
            return Ok(ready.content.clone());
        }
        self.render(&ready.plan, variant, &ready.variables, message)
    }

    fn render(
        &self,
        plan: &Plan,
        variant: usize,
        variables: &serde_json::Value,
        message: MessageId,
    ) -> Result<Rendered, DirectError> {
        let template = &plan.variants[variant];
        let given = template.shown.given(&self.deliverer.links, message);
        template
            .compiled
            .render_with(variables, given, &template.locale)
            .map_err(|error| DirectError::Render(error.to_string()))
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
}

/// A slot, or the queue. A place is waited for a moment, before anything is committed: by the queue a message costs the database
/// three times as much, so a process that is behind for a moment and leaves its messages there would be behind from then on.
async fn slot(deliverer: &Deliverer, ready: &Ready<'_>) -> Option<(OwnedSemaphorePermit, Admission)> {
    let place = timeout(A_MOMENT, deliverer.places.take(&ready.account, 1)).await.ok().flatten();
    let slot = place.filter(|_| ready.account.breaker.allows()).zip(ready.account.pacer.admit_now(1))?;
    let wait = ready.account.waits(&[&ready.recipient.address]).await;
    wait.is_ok_and(|wait| wait[0].is_none()).then_some(slot)
}

/// Whether a message may be taken in for this moment. Its records are dropped with those of the month in which it is taken
/// in, so it must be due before that.
fn schedulable(at: Timestamp, now: Timestamp, retention_months: i32) -> Result<(), ScheduleError> {
    if at <= now {
        return Err(ScheduleError::Past);
    }
    if at.duration_since(now) > FURTHEST {
        return Err(ScheduleError::TooFar);
    }
    let month = |moment: Timestamp| {
        let date = moment.to_zoned(TimeZone::UTC).date();
        i32::from(date.year()) * 12 + i32::from(date.month())
    };
    if month(at) - month(now) > retention_months {
        return Err(ScheduleError::PastRetention);
    }
    Ok(())
}

const fn chunk_of(message: MessageId) -> ChunkRef {
    ChunkRef { campaign: message.campaign, no: message.n as i64 }
}

fn count(plan: &Plan, acceptance: &Acceptance) {
    let verdict = match acceptance {
        Acceptance::Accepted(..) => "accepted",
        Acceptance::Refused(..) => "refused",
        Acceptance::Duplicate(_) => "duplicate",
        Acceptance::Capped => "capped",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(now: &str, at: &str, months: i32, expected: Result<(), ScheduleError>) {
        let moment = |text: &str| text.parse::<Timestamp>().expect("a moment");
        assert_eq!(schedulable(moment(at), moment(now), months), expected, "{now} {at} {months}");
    }

    #[test]
    fn a_message_for_later_is_due_before_its_records_are_dropped() {
        let now = "2026-01-31T12:00:00Z";
        check(now, "2026-01-31T12:00:01Z", 13, Ok(()));
        check(now, "2027-02-01T12:00:00Z", 13, Ok(()));
        check(now, "2026-02-28T23:59:59Z", 1, Ok(()));
        check(now, now, 13, Err(ScheduleError::Past));
        check(now, "2027-02-02T12:00:00Z", 13, Err(ScheduleError::TooFar));
        check(now, "9999-12-30T00:00:00Z", 13, Err(ScheduleError::TooFar));
        check(now, "2026-03-01T00:00:00Z", 1, Err(ScheduleError::PastRetention));
    }
}
