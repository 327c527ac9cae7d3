//! `fanfare campaign`: from a draft to its end.

use std::path::PathBuf;

use fanfare_engine::{
    domain::{campaign::CampaignState, campaign_status::CampaignStatus, channel::Channel, price::Micros},
    id::{CampaignId, TenantId, UploadId},
    launch::{self, check::Problem, control},
    spreadsheet,
    store::{
        Store,
        accounts::Account,
        campaigns::{AllContacts, Audience, Campaign, NewCampaign, Progress},
    },
};
use jiff::{Timestamp, civil::Time};
use serde::Serialize;
use serde_json::json;

use super::{
    context::Context,
    exit::{Exit, Failure},
    follow::follow,
    out,
};
use crate::assemble::links;

#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Make a draft
    Create(Create),
    /// Look at everybody whom a launch would reach, and send nothing
    Check(Check),
    /// Send it, now or at a time
    Launch(Launch),
    /// Let nothing more leave, until it is resumed
    Pause(One),
    /// Go on
    Resume(One),
    /// End it; who was not sent to will not be
    Cancel(One),
    /// Send the messages that failed for good once more, and only those
    RetryFailed(One),
    /// How far it is
    Status(Status),
    /// The latest campaigns
    List(List),
}

#[derive(Debug, clap::Args)]
pub struct Create {
    /// Name as people know it
    #[arg(long)]
    name: String,
    /// Slug of the template
    #[arg(long)]
    template: String,
    /// email, sms, whatsapp or in_app
    #[arg(long)]
    channel: Channel,
    /// To the rows of this upload, as `fanfare import` names it
    #[arg(long, required_unless_present = "all_contacts", conflicts_with = "all_contacts")]
    upload: Option<UploadId>,
    /// To all contacts
    #[arg(long)]
    all_contacts: bool,
    /// What makes a message unique to the business, as in policy:{policy_number}:renewal-2026
    #[arg(long, value_name = "KEY")]
    business_key: Option<String>,
    /// Local hours within which messages leave, as in 08:00-19:00
    #[arg(long, value_parser = hours)]
    hours: Option<(Time, Time)>,
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct One {
    /// Campaign, as in camp_01…
    campaign: CampaignId,
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Check {
    #[command(flatten)]
    one: One,
    /// Where to write who would not be sent to, and why
    #[arg(long, value_name = "OUT.csv")]
    problems: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct Launch {
    #[command(flatten)]
    one: One,
    /// When, as in 2026-12-01T09:00:00+04:00 [default: now]
    #[arg(long, conflicts_with = "follow")]
    at: Option<Timestamp>,
    /// Watch until it has ended
    #[arg(long)]
    follow: bool,
}

#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    one: One,
    /// Watch until it has ended
    #[arg(long)]
    follow: bool,
}

#[derive(Debug, clap::Args)]
pub struct List {
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: i64,
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
}

fn hours(text: &str) -> Result<(Time, Time), String> {
    let time = |text: &str| text.trim().parse::<Time>().ok();
    text.split_once('-')
        .and_then(|(from, to)| Some((time(from)?, time(to)?)))
        .filter(|(from, to)| from != to)
        .ok_or_else(|| "write two times of day, as in 08:00-19:00".to_owned())
}

pub(super) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    context.start_log(true)?;
    match args {
        Args::Create(args) => create(context, args).await,
        Args::Check(args) => check(context, args).await,
        Args::Launch(args) => launched(context, args).await,
        Args::Pause(one) => {
            let found @ (store, tenant) = &find(context, &one).await?;
            let state = control::pause(store, *tenant, one.campaign).await?;
            changed(context, found, one.campaign, ("campaign.pause", state)).await
        }
        Args::Resume(one) => {
            let found @ (store, tenant) = &find(context, &one).await?;
            let state = control::resume(store, *tenant, one.campaign).await?;
            changed(context, found, one.campaign, ("campaign.activate", state)).await
        }
        Args::Cancel(one) => {
            let found @ (store, tenant) = &find(context, &one).await?;
            let state = control::cancel(store, *tenant, one.campaign).await?;
            changed(context, found, one.campaign, ("campaign.stop", state)).await
        }
        Args::RetryFailed(one) => {
            let (store, tenant) = find(context, &one).await?;
            let chunk = context.config().launch.chunk;
            let messages = control::retry_failed(&store, tenant, one.campaign, chunk).await?;
            let detail = json!({"messages": messages});
            context.note(&store, context.deed(tenant, "campaign.retry_failed", one.campaign, detail)).await?;
            context.out.show(&json!({"campaign": one.campaign, "messages": messages}), |_| {
                format!("{messages} messages are sent once more.")
            })
        }
        Args::Status(args) => status(context, args).await,
        Args::List(args) => list(context, args).await,
    }
}

async fn find(context: &Context, one: &One) -> Result<(Store, TenantId), Failure> {
    let store = context.store().await?;
    let tenant = context.tenant(&store, one.tenant.as_deref()).await?;
    Ok((store, tenant.id))
}

async fn changed(
    context: &Context,
    found: &(Store, TenantId),
    id: CampaignId,
    change: (&'static str, CampaignState),
) -> Result<(), Failure> {
    noted(context, found, id, change).await?;
    shown(context, id, change.1)
}

async fn noted(
    context: &Context,
    (store, tenant): &(Store, TenantId),
    id: CampaignId,
    (action, state): (&'static str, CampaignState),
) -> Result<(), Failure> {
    let detail = json!({"after": CampaignStatus::of(state)});
    context.note(store, context.deed(*tenant, action, id, detail)).await
}

fn shown(context: &Context, id: CampaignId, state: CampaignState) -> Result<(), Failure> {
    let answer = json!({"campaign": id, "state": state.as_str()});
    context.out.show(&answer, |_| format!("{id} is {} now.", state.as_str()))
}

async fn create(context: &Context, args: Create) -> Result<(), Failure> {
    let store = context.store().await?;
    let tenant = context.tenant(&store, args.tenant.as_deref()).await?;
    let template = store.template(tenant.id, &args.template, args.channel).await?;
    let audience = match args.upload {
        Some(upload) => Audience::Upload(store.upload(tenant.id, upload).await?.id),
        None => Audience::Contacts(AllContacts::All),
    };
    let campaign = NewCampaign {
        id: context.sources.ids.next(context.sources.clock.now()),
        tenant: tenant.id,
        name: args.name,
        channel: args.channel,
        class: template.class,
        template: template.id,
        audience,
        business_key: args.business_key,
        window: args.hours,
    };
    store.create_campaign(&campaign).await?;
    let id = campaign.id;
    let detail = json!({"name": campaign.name, "type": campaign.channel});
    context.note(&store, context.deed(tenant.id, "campaign.create", id, detail)).await?;
    let answer = json!({"campaign": id, "state": "draft"});
    context.out.show(&answer, |_| format!("{id} is a draft: `fanfare campaign check {id}`, then `launch`."))
}

async fn check(context: &Context, args: Check) -> Result<(), Failure> {
    let store = context.declared_store().await?;
    let tenant = context.tenant(&store, args.one.tenant.as_deref()).await?;
    let mut lines = spreadsheet::header(["n", "address", "reason", "detail"]);
    let note = |Problem { n, address, reason, detail, .. }: Problem| {
        lines.extend(spreadsheet::lines([[n.to_string(), address, reason, detail.unwrap_or_default()]]));
    };
    let report =
        launch::check::check(&store, &links(context.config()), tenant.id, args.one.campaign, note).await?;
    let detail = json!({"report": report});
    context.note(&store, context.deed(tenant.id, "campaign.preflight", args.one.campaign, detail)).await?;
    if let Some(path) = &args.problems {
        std::fs::write(path, lines).map_err(|error| {
            Failure::say(Exit::Usage, format!("{} cannot be written: {error}", path.display()))
        })?;
    }
    context.out.show(&report, |report| {
        let mut text = format!("{} recipients, {} would be sent to", report.recipients, report.sendable);
        if report.segments > 0 {
            text += &format!(", {} SMS parts", report.segments);
        }
        if let Some(seconds) = report.forecast_seconds {
            text += &format!(", in about {} at the configured quota", duration(seconds));
        }
        for (currency, micros) in &report.forecast_cost.micros {
            text += &format!(", for {} {currency}", Micros(*micros));
        }
        for (reason, count) in &report.not_sent {
            text += &format!("\n{count:>9}  not: {reason}");
        }
        for (name, count) in &report.missing_variables {
            text += &format!("\n{count:>9}  lack a value for `{name}`");
        }
        text
    })
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

async fn launched(context: &Context, args: Launch) -> Result<(), Failure> {
    let store = context.declared_store().await?;
    let (tenant, id) = (context.tenant(&store, args.one.tenant.as_deref()).await?.id, args.one.campaign);
    let state = match args.at {
        Some(at) => launch::schedule(&store, tenant, id, at).await?,
        None => launch::launch(&store, tenant, id).await?,
    };
    let found = (store, tenant);
    noted(context, &found, id, ("campaign.activate", state)).await?;
    if args.follow { ended(context, &found.0, tenant, id).await } else { shown(context, id, state) }
}

async fn status(context: &Context, args: Status) -> Result<(), Failure> {
    let (store, tenant) = find(context, &args.one).await?;
    if args.follow {
        return ended(context, &store, tenant, args.one.campaign).await;
    }
    let campaign = store.campaign(tenant, args.one.campaign).await?;
    let progress = store.progress(tenant, args.one.campaign).await?;
    let refused = refused_accounts(&store, &campaign).await?;
    show(context, &campaign, campaign.state, progress, refused)
}

/// Accounts of the campaign's channel that their provider does not take at present.
async fn refused_accounts(store: &Store, campaign: &Campaign) -> Result<Vec<RefusedAccount>, Failure> {
    let ours = |account: &Account| {
        account.tenant == campaign.tenant && account.provider.channel() == campaign.channel
    };
    let refused = |account: Account| {
        let blocked = account.blocked?;
        Some(RefusedAccount { account: account.slug, again_at: blocked.until })
    };
    Ok(store.accounts().await?.into_iter().filter(ours).filter_map(refused).collect())
}

async fn ended(context: &Context, store: &Store, tenant: TenantId, id: CampaignId) -> Result<(), Failure> {
    let (state, progress) = follow(store, tenant, id).await?;
    show(context, &store.campaign(tenant, id).await?, state, progress, Vec::new())
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    campaign: CampaignId,
    name: &'a str,
    channel: Channel,
    state: &'static str,
    #[serde(flatten)]
    progress: Progress,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused_accounts: Vec<RefusedAccount>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RefusedAccount {
    account: String,
    /// When its provider is asked once more.
    again_at: Timestamp,
}

fn show(
    context: &Context,
    campaign: &Campaign,
    state: CampaignState,
    progress: Progress,
    refused_accounts: Vec<RefusedAccount>,
) -> Result<(), Failure> {
    let Campaign { id, name, channel, .. } = campaign;
    let shown =
        Shown { campaign: *id, name, channel: *channel, state: state.as_str(), progress, refused_accounts };
    context.out.show(&shown, |shown| {
        let Progress { recipients, excluded, sent, failed, suppressed, unknown, waiting } = progress;
        let mut text = format!(
            "{name} ({channel}, {}): {recipients} recipients = {sent} sent + {failed} failed + {} suppressed + {unknown} unknown \
             + {waiting} waiting",
            state.as_str(),
            excluded + suppressed,
        );
        for RefusedAccount { account, again_at } in &shown.refused_accounts {
            text += &format!(
                "\nThe provider refuses account `{account}`: check its key, credit and permissions (`fanfare doctor` asks it). \
                 Nobody is lost: it is asked again at {again_at}"
            );
        }
        text
    })
}

async fn list(context: &Context, args: List) -> Result<(), Failure> {
    let store = context.store().await?;
    let tenant = context.tenant(&store, args.tenant.as_deref()).await?;
    let campaigns = store.campaigns(tenant.id, args.limit).await?;
    let entry = |c: &Campaign| json!({"campaign": c.id, "name": c.name, "channel": c.channel, "class": c.class, "state": c.state.as_str(), "recipients": c.frozen});
    let answer: Vec<serde_json::Value> = campaigns.iter().map(entry).collect();
    context.out.show(&answer, |_| {
        let row = |c: &Campaign| {
            vec![
                c.id.to_string(),
                c.name.clone(),
                c.channel.to_string(),
                c.class.to_string(),
                c.state.as_str().to_owned(),
                c.frozen.to_string(),
            ]
        };
        let rows: Vec<Vec<String>> = campaigns.iter().map(row).collect();
        out::table(&["CAMPAIGN", "NAME", "CHANNEL", "CLASS", "STATE", "RECIPIENTS"], &rows)
    })
}
