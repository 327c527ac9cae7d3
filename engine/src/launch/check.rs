//! The pre-flight: what a launch would do, for every recipient, without sending anything.

use std::collections::BTreeMap;

use fanfare_templates::{Compiled, Locale, RenderError, Rendered};
use serde::{Deserialize, Serialize};

use super::{LaunchError, forecast::Brakes, pins};
use crate::{
    domain::{
        outcome::Reason,
        price::{self, Bill, PriceList},
        token::{PublicLinks, ShownLinks},
    },
    id::{CampaignId, ContactId, MessageId, TenantId},
    store::{
        Store, StoreError,
        campaigns::{Campaign, Pins, Tracking},
        check::{Candidate, DryRun, Excluded},
        sheets,
        templates::Variant,
    },
};

/// Recipients looked at in one go.
const PAGE: i64 = 1_000;

/// What a launch would come to. Every recipient is in exactly one of `sendable` and `not_sent`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    pub recipients: i64,
    pub sendable: i64,
    /// By reason: excluded when the audience is frozen, refused right before the send, or not renderable.
    pub not_sent: BTreeMap<String, i64>,
    /// Values that templates need and contacts lack, by name.
    pub missing_variables: BTreeMap<String, i64>,
    /// SMS only: parts that will be billed.
    pub segments: i64,
    /// At the quota and tier of the first account of the route, the campaign's throttle and its hours; absent where there is
    /// none of them.
    pub forecast_seconds: Option<u64>,
    /// At today's prices of that account.
    pub forecast_cost: Bill,
}

/// A recipient who would not be sent to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    pub n: i32,
    pub contact: Option<ContactId>,
    pub address: String,
    pub reason: String,
    pub detail: Option<String>,
}

/// Checks a campaign that could be launched; calls `problem` for every recipient who would not be sent to.
pub async fn check(
    store: &Store,
    links: &PublicLinks,
    tenant: TenantId,
    id: CampaignId,
    mut problem: impl FnMut(Problem) + Send,
) -> Result<CheckReport, LaunchError> {
    let campaign = store.campaign(tenant, id).await?;
    let (pins, variants) = pins(store, &campaign).await?;
    let plan = store.campaign_plan(id).await?;
    let tracking = if links.exist() { plan.tracking } else { Tracking::default() };
    let compiled = compile(&variants, tracking, plan.short_no)?;
    let mut run = store.dry_run(tenant, id, &pins).await?;
    let prices = match pins.route.first() {
        Some(&first) => run.prices(first, campaign.channel).await?,
        None => PriceList::default(),
    };
    let mut report = totals(&mut run).await?;
    tell_excluded(&mut run, &mut problem).await?;
    let mut after = 0;
    loop {
        let page = run.candidates(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.n;
        for candidate in page {
            let message = MessageId { campaign: id, n: candidate.n };
            let rendered = render(&compiled, links, message, &candidate);
            judge(rendered, candidate, (&prices, &mut report), &mut problem);
        }
    }
    run.end().await?;
    report.forecast_seconds = brakes(store, &campaign, &pins).await?.seconds(report.sendable);
    Ok(report)
}

async fn tell_excluded(
    run: &mut DryRun,
    problem: &mut (impl FnMut(Problem) + Send),
) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let page = run.excluded_recipients(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.n;
        for Excluded { n, contact, address, reason } in page {
            problem(Problem { n, contact, address, reason, detail: None });
        }
    }
}

async fn totals(run: &mut DryRun) -> Result<CheckReport, StoreError> {
    let (recipients, excluded) = run.excluded().await?;
    Ok(CheckReport {
        recipients: recipients.into(),
        not_sent: excluded.into_iter().map(|count| (count.reason, count.recipients)).collect(),
        ..CheckReport::default()
    })
}

fn compile(
    variants: &[Variant],
    tracking: Tracking,
    short_no: u64,
) -> Result<Vec<CompiledVariant>, StoreError> {
    variants
        .iter()
        .map(|variant| {
            let corrupt =
                |error: &dyn std::fmt::Display| StoreError::Corrupt(format!("{}: {error}", variant.id));
            let compiled = Compiled::new(&variant.published.tracked(tracking.links, tracking.opens))
                .map_err(|e| corrupt(&e))?;
            Ok((
                ShownLinks::of(&compiled, short_no),
                compiled,
                Locale::parse(&variant.locale).map_err(|e| corrupt(&e))?,
            ))
        })
        .collect()
}

fn judge(
    rendered: Result<Option<Rendered>, RenderError>,
    candidate: Candidate,
    (prices, report): (&PriceList, &mut CheckReport),
    problem: &mut impl FnMut(Problem),
) {
    let (reason, detail) = match (candidate.refusal, rendered) {
        (Some(refusal), _) => (refusal, None),
        (None, Ok(Some(rendered))) => {
            report.sendable += 1;
            report.forecast_cost.add(prices.of(&candidate.address), price::units(&rendered).into());
            if let Rendered::Sms { segments, .. } = rendered {
                report.segments += i64::from(segments.count);
            }
            return;
        }
        (None, Ok(None)) => (Reason::RenderFailed.as_str().to_owned(), None),
        (None, Err(error)) => {
            if let RenderError::MissingVariable { name, .. } = &error {
                *report.missing_variables.entry(name.clone()).or_default() += 1;
                (Reason::MissingVariable.as_str().to_owned(), Some(error.to_string()))
            } else {
                (Reason::RenderFailed.as_str().to_owned(), Some(error.to_string()))
            }
        }
    };
    *report.not_sent.entry(reason.clone()).or_default() += 1;
    problem(Problem {
        n: candidate.n,
        contact: candidate.contact,
        address: candidate.address,
        reason,
        detail,
    });
}

fn render(
    compiled: &[CompiledVariant],
    links: &PublicLinks,
    message: MessageId,
    candidate: &Candidate,
) -> Result<Option<Rendered>, RenderError> {
    let variant = usize::try_from(candidate.variant).ok().and_then(|at| compiled.get(at));
    let Some((shown, compiled, locale)) = variant else { return Ok(None) };
    compiled.render_pinned(&candidate.variables, shown.given(links, message), locale).map(Some)
}

type CompiledVariant = (ShownLinks, Compiled, Locale);

async fn brakes(store: &Store, campaign: &Campaign, pins: &Pins) -> Result<Brakes, StoreError> {
    let accounts = store.accounts().await?;
    let first = accounts.iter().find(|account| pins.route.first() == Some(&account.id));
    let mut tx = store.begin().await?;
    Ok(Brakes::of(&sheets::get(&mut tx, campaign.tenant, campaign.id).await?, first))
}
