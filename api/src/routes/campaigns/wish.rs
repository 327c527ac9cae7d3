//! What a campaign is wished to be: what was said of it, read, and then looked up among the tenant's templates and files.

use fanfare_engine::{
    domain::{channel::Channel, schedule::Schedule},
    id::TenantId,
    store::{
        StoreError,
        campaigns::{AllContacts, Audience, Tracking},
        drafts::{self, DraftFacts, Reach},
        sheets::{ConversionRule, Sheet},
        templates::{self, Template},
    },
};
use jiff::civil::Time;
use sqlx::PgConnection;

use super::input::Wrong;
use crate::http::problem::Problem;

/// What a campaign is wished to be, whatever its channel.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) audience: Audience,
    pub(super) business_key: Option<String>,
    pub(super) window: Option<(Time, Time)>,
    pub(super) throttle_per_minute: Option<i32>,
    pub(super) schedule: Schedule,
    pub(super) conversion: ConversionRule,
    pub(super) tracking: Tracking,
    /// Whether it is to leave, and not to stay a draft.
    pub(super) leaves: bool,
    /// The channels, and how the template of each is named.
    pub(super) channels: Vec<(Channel, String)>,
}

impl Wish {
    /// A copy of a campaign, to be written anew: without its schedule, which has passed or is the other's.
    pub(super) fn like(sheet: &Sheet, name: String) -> Self {
        Self {
            name,
            audience: sheet.audience.unwrap_or(Audience::Contacts(AllContacts::All)),
            business_key: sheet.business_key.clone(),
            window: sheet.window,
            throttle_per_minute: sheet.throttle_per_minute,
            schedule: Schedule::Immediate,
            conversion: sheet.conversion.clone(),
            tracking: sheet.tracking,
            leaves: false,
            channels: vec![(sheet.channel, sheet.template.to_string())],
        }
    }

    /// What is written of each channel's campaign. `one_template`: the field that a single template was named by.
    pub(super) async fn facts(
        &self,
        tx: &mut PgConnection,
        tenant: TenantId,
        one_template: Option<&str>,
    ) -> Result<Vec<DraftFacts>, Problem> {
        self.hold(&mut *tx, tenant).await?;
        let reach = drafts::reach(&mut *tx, tenant, self.audience).await?;
        let (mut facts, mut wrong) = (Vec::new(), Wrong::default());
        for (channel, name) in &self.channels {
            let field = one_template.map_or_else(|| format!("templates.{channel}"), str::to_owned);
            match template(&mut *tx, tenant, *channel, name).await? {
                Some(template) => facts.push(self.fact(&reach, template)),
                None => wrong.note(field, format!("is no template of yours for {channel}")),
            }
        }
        wrong.end()?;
        Ok(facts)
    }

    /// Nobody deletes its upload until the transaction has ended.
    pub(super) async fn hold(&self, tx: &mut PgConnection, tenant: TenantId) -> Result<(), Problem> {
        drafts::hold(tx, tenant, self.audience).await.map_err(|error| match error {
            StoreError::NotFound { .. } => Problem::field("uploadId", "is no upload of yours"),
            other => other.into(),
        })
    }

    fn fact(&self, reach: &Reach, template: Template) -> DraftFacts {
        let name = if self.channels.len() > 1 {
            format!("{} ({})", self.name, called(template.channel))
        } else {
            self.name.clone()
        };
        DraftFacts {
            name,
            target: reach.over(template.channel),
            template,
            audience: self.audience,
            business_key: self.business_key.clone(),
            window: self.window,
            throttle_per_minute: self.throttle_per_minute,
            schedule: self.schedule,
            conversion: self.conversion.clone(),
            tracking: self.tracking,
        }
    }
}

/// A channel as people call it.
const fn called(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "Email",
        Channel::Sms => "SMS",
        Channel::Whatsapp => "WhatsApp",
        Channel::InApp => "In-app",
    }
}

async fn template(
    tx: &mut PgConnection,
    tenant: TenantId,
    channel: Channel,
    name: &str,
) -> Result<Option<Template>, StoreError> {
    if name.len() > 100 || name.contains('\0') {
        return Ok(None);
    }
    templates::named(tx, tenant, name, channel).await
}
