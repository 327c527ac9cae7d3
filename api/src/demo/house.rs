//! The sample insurer: its tenant, accounts at the simulated providers, files, templates and drafts.

use std::path::Path;

use fanfare_engine::{
    config::{self, Loaded},
    contacts::{self, ImportOptions, ImportReport, ImportRequest},
    deliver::accounts::Accounts,
    domain::channel::{Channel, MessageClass, Provider},
    id::{CampaignId, UploadId},
    store::{
        Store,
        campaigns::{Audience, NewCampaign},
        templates::TemplateHead,
        tenants::Tenant,
    },
};
use fanfare_sandbox::{Limit, RunningSandbox, Sandbox, SandboxConfig, Targets, WebhookAuth, WebhookTarget};
use fanfare_templates::{Published, publish};

use super::plan::{Plan, Planned};
use crate::{
    assemble::import_limits,
    cli::{
        context::Context,
        exit::{Exit, Failure},
    },
};

/// Shown by the simulated Brevo with its webhooks.
const HOOK_TOKEN: &str = "sandbox-hook-token";
/// Requests a second: those of an ordinary Brevo account, and of a sender at Meta whose throughput was raised.
const EMAIL_RATE: u32 = 1_000;
const SMS_RATE: u32 = 500;
const WHATSAPP_RATE: u32 = 500;

/// A campaign as it was set up.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) planned: Planned,
    pub(super) campaign: CampaignId,
    pub(super) upload: UploadId,
    pub(super) report: ImportReport,
    /// The published template by locale, for the checker.
    pub(super) published: Vec<(&'static str, Published)>,
}

pub(super) async fn sandbox(plan: &Plan) -> Result<RunningSandbox, Failure> {
    let mut config = SandboxConfig { rules: plan.rules.clone(), ..SandboxConfig::default() };
    // As the providers do: many at a time.
    config.webhooks.concurrency = 64;
    // One that failed comes again after seconds, not after ten minutes.
    config.webhooks.retry_time_factor = 0.01;
    for account in &mut config.brevo.accounts {
        account.email_per_second = Limit::AtMost(EMAIL_RATE);
        account.sms_per_second = Limit::AtMost(SMS_RATE);
    }
    for account in &mut config.whatsapp.accounts {
        account.messages_per_second = Limit::AtMost(WHATSAPP_RATE);
    }
    Sandbox::start(config).await.map_err(Failure::refused)
}

/// The configuration of the demo: what the caller said of database and Redis, and the insurer with its accounts.
pub(super) fn configuration(
    context: &Context,
    folder: &Path,
    slug: &str,
    sandbox: &str,
) -> Result<Loaded, Failure> {
    let SandboxConfig { brevo, whatsapp, .. } = SandboxConfig::default();
    let (brevo, whatsapp) = match (brevo.accounts.first(), whatsapp.accounts.first()) {
        (Some(brevo), Some(whatsapp)) => (brevo.clone(), whatsapp.clone()),
        _ => return Err(Failure::say(Exit::Refused, "the sandbox has no accounts")),
    };
    let text = format!(
        r#"
[[tenants]]
slug = "{slug}"
name = "Island Mutual"
region = "MU"
locale = "en"
time_zone = "Indian/Mauritius"
currency = "MUR"

[[accounts]]
provider = "brevo_email"
slug = "email"
tenant = "{slug}"
base_url = "{sandbox}/v3"
api_key = "{key}"
sender_email = "billing@island-mutual.example"
sender_name = "Island Mutual"
webhook_auth = {{ bearer = {{ token = "{HOOK_TOKEN}" }} }}
sandbox = true
limits = [{{ window = "second", requests = {EMAIL_RATE} }}]

[[accounts]]
provider = "brevo_sms"
slug = "sms"
tenant = "{slug}"
base_url = "{sandbox}/v3"
api_key = "{key}"
sender = "IslandMut"
webhook_auth = {{ bearer = {{ token = "{HOOK_TOKEN}" }} }}
sandbox = true
limits = [{{ window = "second", requests = {SMS_RATE} }}]

[[accounts]]
provider = "whatsapp_cloud"
slug = "whatsapp"
tenant = "{slug}"
base_url = "{sandbox}"
phone_number_id = "{phone}"
access_token = "{token}"
app_secret = "{secret}"
verify_token = "{verify}"
sandbox = true
limits = [{{ window = "second", requests = {WHATSAPP_RATE} }}]
"#,
        key = brevo.api_key,
        phone = whatsapp.phone_number_id,
        token = whatsapp.token,
        secret = whatsapp.app_secret,
        verify = whatsapp.verify_token,
    );
    let path = folder.join("fanfare.toml");
    std::fs::write(&path, text)?;
    let mut demo = config::load(&config::Sources {
        file: Some(path),
        variables: Vec::new(),
        folder: folder.to_owned(),
    })?;
    // Everything but the insurer is as the caller has it.
    let (tenants, accounts) =
        (std::mem::take(&mut demo.config.tenants), std::mem::take(&mut demo.config.accounts));
    demo.config = context.config().clone();
    (demo.config.tenants, demo.config.accounts) = (tenants, accounts);
    Ok(demo)
}

/// Tells the sandbox where webhooks go.
pub(super) fn hook_up(sandbox: &RunningSandbox, accounts: &Accounts, port: u16) {
    let url = |provider: Provider| {
        let account = accounts.all().into_iter().find(|account| account.account.provider == provider)?;
        Some(format!("http://127.0.0.1:{port}/hooks/{}", account.account.id))
    };
    let bearer = || WebhookAuth::Bearer(HOOK_TOKEN.to_owned());
    sandbox.set_webhooks(Targets {
        email: Some(WebhookTarget {
            url: url(Provider::BrevoEmail),
            auth: bearer(),
            ..WebhookTarget::default()
        }),
        sms: Some(WebhookTarget { url: url(Provider::BrevoSms), auth: bearer(), ..WebhookTarget::default() }),
        whatsapp: Some(WebhookTarget { url: url(Provider::WhatsappCloud), ..WebhookTarget::default() }),
    });
}

/// Imports a campaign's file, publishes its template and makes its draft.
pub(super) async fn draft(
    context: &Context,
    store: &Store,
    tenant: &Tenant,
    planned: &Planned,
    file: &Path,
) -> Result<Draft, Failure> {
    let options = ImportOptions { limits: import_limits(context.config()), ..ImportOptions::default() };
    let request = ImportRequest {
        tenant: tenant.id,
        path: file.to_owned(),
        file_name: planned.file.clone(),
        options,
        author: None,
    };
    let report =
        contacts::import(store, &context.sources.ids, &*context.sources.clock, request, &|_| {}).await?;
    let slug = planned.name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let mut published = Vec::new();
    let mut template = None;
    for (starter, source) in planned.templates()? {
        let version = publish(&source).map_err(|error| {
            Failure::say(Exit::BadInput, format!("{} ({}): {error}", starter.slug, starter.locale))
        })?;
        let head = TemplateHead {
            slug: &slug,
            channel: planned.channel,
            class: MessageClass::Obligation,
            name: &starter.name,
        };
        let (id, _) =
            store.publish_template(&context.sources.ids, tenant.id, &head, starter.locale, &version).await?;
        template = Some(id);
        published.push((starter.locale, version));
    }
    let template = template
        .ok_or_else(|| Failure::say(Exit::BadInput, format!("there is no starter `{}`", planned.starter)))?;
    let campaign = NewCampaign {
        id: context.sources.ids.next(context.sources.clock.now()),
        tenant: tenant.id,
        name: planned.name.clone(),
        channel: planned.channel,
        class: MessageClass::Obligation,
        template,
        audience: Audience::Upload(report.upload),
        business_key: planned.business_key.clone(),
        window: None,
    };
    store.create_campaign(&campaign).await?;
    Ok(Draft { planned: planned.clone(), campaign: campaign.id, upload: report.upload, report, published })
}

/// `None`: what goes over it leaves no house.
pub(super) const fn sandbox_channel(channel: Channel) -> Option<fanfare_sandbox::Channel> {
    Some(match channel {
        Channel::Email => fanfare_sandbox::Channel::Email,
        Channel::Sms => fanfare_sandbox::Channel::Sms,
        Channel::Whatsapp => fanfare_sandbox::Channel::Whatsapp,
        Channel::InApp => return None,
    })
}
