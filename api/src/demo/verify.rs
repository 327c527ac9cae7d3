//! Whether everybody is accounted for: the rows against the plan, and the providers' ledger against the files.
//!
//! What a recipient should have got is rendered anew from the imported rows, by address, without a look at what the
//! campaign froze. A message whose digest differs was somebody else's, or nobody's.

use std::collections::{BTreeMap, HashMap};

use fanfare_engine::{
    domain::channel::Channel,
    id::{CampaignId, MessageId},
    store::{Store, people::UploadFacts, tenants::Tenant},
};
use fanfare_sandbox::{MessageRecord, RunningSandbox, digest};
use fanfare_templates::{Compiled, Locale, Published, Rendered};

use super::{
    house::{Draft, sandbox_channel},
    plan::Ends,
};
use crate::cli::exit::{Exit, Failure};

/// How a campaign ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) ends: Ends,
    pub(super) waiting: i64,
}

pub(super) async fn ended(store: &Store, tenant: &Tenant, draft: &Draft) -> Result<Ended, Failure> {
    let progress = store.progress(tenant.id, draft.campaign).await?;
    let reasons = store.reasons(tenant.id, draft.campaign).await?;
    Ok(Ended {
        ends: Ends {
            recipients: progress.recipients,
            sent: progress.sent,
            failed: progress.failed,
            suppressed: progress.excluded + progress.suppressed,
            unknown: progress.unknown,
            reasons: reasons
                .into_iter()
                .map(|r| (format!("{}.{}", r.state, r.reason), r.recipients))
                .collect(),
        },
        waiting: progress.waiting,
    })
}

/// What is wrong with a campaign's counts.
pub(super) fn counts(draft: &Draft, ended: &Ended) -> Vec<String> {
    let (ends, planned) = (&ended.ends, &draft.planned.ends);
    let mut wrong = Vec::new();
    let sum = ends.sent + ends.failed + ends.suppressed + ends.unknown;
    if sum != ends.recipients || ended.waiting != 0 {
        wrong.push(format!(
            "{} recipients, but {sum} accounted for and {} waiting",
            ends.recipients, ended.waiting
        ));
    }
    if ends.recipients != i64::try_from(draft.report.rows_taken).unwrap_or(i64::MAX) {
        wrong.push(format!("{} recipients of {} rows", ends.recipients, draft.report.rows_taken));
    }
    let numbers = [
        ("recipients", ends.recipients, planned.recipients),
        ("sent", ends.sent, planned.sent),
        ("failed", ends.failed, planned.failed),
        ("suppressed", ends.suppressed, planned.suppressed),
        ("unknown", ends.unknown, planned.unknown),
    ];
    let differing = numbers.iter().filter(|(_, found, expected)| found != expected);
    wrong.extend(differing.map(|(what, found, expected)| format!("{what}: {found}, expected {expected}")));
    if ends.reasons != planned.reasons {
        wrong.push(format!("reasons: {:?}, expected {:?}", ends.reasons, planned.reasons));
    }
    wrong
}

/// Whether the webhooks led to the suppressions that they should.
pub(super) async fn suppressions(
    store: &Store,
    tenant: &Tenant,
    expected: &BTreeMap<String, i64>,
) -> Result<Option<String>, Failure> {
    let mut found: BTreeMap<String, i64> = BTreeMap::new();
    for listed in store.suppressions(tenant.id, None, 10_000).await? {
        *found.entry(format!("{}.{}", listed.channel, listed.reason)).or_default() += 1;
    }
    Ok((found != *expected).then(|| format!("suppressions: {found:?}, expected {expected:?}")))
}

/// What arrived at the providers, by campaign.
pub(super) type Ledger = HashMap<CampaignId, Vec<(MessageId, MessageRecord)>>;

/// The providers' ledger, and what is wrong with it.
pub(super) fn ledger(sandbox: &RunningSandbox) -> (Ledger, Vec<String>) {
    let (mut by_campaign, mut wrong) = (Ledger::new(), Vec::new());
    let mut after = Some(0);
    while let Some(cursor) = after {
        let page = sandbox.audit().messages(cursor, 10_000, 0);
        for record in page.records {
            match record.message_id.parse::<MessageId>() {
                Ok(id) => by_campaign.entry(id.campaign).or_default().push((id, record)),
                Err(_) => wrong.push(format!("a {} arrived without our id", record.channel.name())),
            }
        }
        after = page.next;
    }
    for lane in sandbox.audit().summary().lanes {
        if lane.duplicates + lane.digest_conflicts > 0 {
            wrong.push(format!(
                "{}: {} duplicates, {} ids with two contents",
                lane.channel.name(),
                lane.duplicates,
                lane.digest_conflicts
            ));
        }
    }
    (by_campaign, wrong)
}

/// What is wrong with the messages of a campaign that arrived.
pub(super) async fn messages(
    store: &Store,
    tenant: &Tenant,
    draft: &Draft,
    arrived: &[(MessageId, MessageRecord)],
    sent: i64,
) -> Result<Vec<String>, Failure> {
    let mut wrong = Vec::new();
    if i64::try_from(arrived.len()).unwrap_or(i64::MAX) != sent {
        wrong.push(format!("{} messages arrived, {sent} were recorded as sent", arrived.len()));
    }
    let expected = Expected::new(store, tenant, draft).await?;
    let channel = sandbox_channel(draft.planned.channel);
    let (mut foreign, mut different) = (0, 0);
    for (id, record) in arrived {
        match expected.content(&record.address)? {
            Some(content) if Some(record.channel) == channel => {
                let parts: Vec<&str> = content.iter().map(String::as_str).collect();
                different +=
                    usize::from(hex(&digest(&record.address, &id.to_string(), &parts)) != record.digest);
            }
            _ => foreign += 1,
        }
    }
    if foreign > 0 {
        wrong.push(format!("{foreign} messages went to addresses that the file does not have"));
    }
    if different > 0 {
        wrong.push(format!("{different} messages say something else than their row"));
    }
    for message in &draft.planned.messages {
        let content = expected.content(message.to.trim_start_matches('+'))?;
        let got = content.as_ref().and_then(|parts| parts.first()).map_or("nothing", String::as_str);
        if got != message.text {
            wrong.push(format!("to {}: “{got}”, expected “{}”", message.to, message.text));
        }
    }
    Ok(wrong)
}

/// What everybody in a file must get.
struct Expected {
    variants: BTreeMap<&'static str, (Compiled, Locale)>,
    /// By address as the ledger has it; of several rows the first in the order of the launch.
    rows: HashMap<String, UploadFacts>,
    fallback: String,
}

impl Expected {
    async fn new(store: &Store, tenant: &Tenant, draft: &Draft) -> Result<Self, Failure> {
        let mut rows = HashMap::new();
        for row in store.upload_facts(tenant.id, draft.upload).await? {
            let address = match draft.planned.channel {
                Channel::Email => row.email.clone(),
                Channel::Sms | Channel::Whatsapp => {
                    row.phone.as_deref().map(|phone| phone.trim_start_matches('+').to_owned())
                }
                // A file says nothing of ids.
                Channel::InApp => None,
            };
            if let Some(address) = address {
                rows.entry(address).or_insert(row);
            }
        }
        let compile = |(locale, published): &(&'static str, Published)| {
            let broken = |error: &dyn std::fmt::Display| {
                Failure::say(Exit::Refused, format!("template in {locale}: {error}"))
            };
            let compiled = Compiled::new(published).map_err(|error| broken(&error))?;
            Ok((*locale, (compiled, Locale::parse(locale).map_err(|error| broken(&error))?)))
        };
        let variants = draft.published.iter().map(compile).collect::<Result<_, Failure>>()?;
        Ok(Self { variants, rows, fallback: tenant.locale.clone() })
    }

    /// The parts of the message that the ledger digests; `None` for an address that is not in the file.
    fn content(&self, address: &str) -> Result<Option<Vec<String>>, Failure> {
        let Some(row) = self.rows.get(address) else { return Ok(None) };
        let locale = row.locale.as_deref().unwrap_or(&self.fallback);
        let language = locale.split('-').next().unwrap_or(locale);
        let variant = [locale, language, &self.fallback].into_iter().find_map(|tag| self.variants.get(tag));
        let Some((compiled, locale)) = variant else { return Ok(None) };
        let Ok(rendered) = compiled.render(&row.facts, locale) else { return Ok(None) };
        Ok(Some(match rendered {
            Rendered::Email { subject, html, .. } => vec![subject, html],
            Rendered::Sms { text, .. } => vec![text],
            Rendered::InApp(notice) => vec![notice.title, notice.message],
            Rendered::Whatsapp(message) => {
                let value = serde_json::to_value(message).map_err(Failure::refused)?;
                let kind = value.get("type").and_then(serde_json::Value::as_str).unwrap_or_default();
                // Members of a JSON value are sorted.
                vec![value.get(kind).map(ToString::to_string).unwrap_or_default()]
            }
        }))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
