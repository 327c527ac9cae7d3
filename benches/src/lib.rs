//! Benchmarks of the hot functions, one file a stage in the order of the flow. They call what production calls.
//!
//! `cargo bench -p fanfare-benches --bench render`. Here is what several of them need.

use std::sync::Arc;

use fanfare_engine::{
    id::{CampaignId, MessageId},
    providers::{
        Adapter,
        settings::{AccountSettings, BrevoEmailSettings, ConfigError, HttpSettings, build},
    },
};
use fanfare_templates::{Channel, Starter, starters};
use uuid::Uuid;

/// A message whose id looks like any other.
pub const MESSAGE: MessageId = MessageId { campaign: CampaignId::from_uuid(CAMPAIGN), n: 123_456 };
const CAMPAIGN: Uuid = Uuid::from_u128(0x0193_5f2c_9a40_7d11_b2a4_5c3e_8f10_77aa);

/// The key of [`brevo`]'s account.
pub const API_KEY: &str = "xkeysib-benchmark";

/// The starter for renewals on a channel, in English.
pub fn renewal(channel: Channel) -> Option<&'static Starter> {
    starters()
        .iter()
        .find(|starter| starter.slug == "renewal" && starter.locale == "en" && starter.channel == channel)
}

/// An adapter for Brevo's e-mail at `base_url`.
pub fn brevo(base_url: String) -> Result<Arc<dyn Adapter>, ConfigError> {
    let settings = BrevoEmailSettings {
        base_url,
        api_key: API_KEY.into(),
        sender_email: "renewals@harmony.example".to_owned(),
        sender_name: "Harmony Insurance".to_owned(),
        reply_to: None,
        webhook_auth: None,
        webhook_ips: Vec::new(),
        batch: true,
    };
    build(&AccountSettings::BrevoEmail(settings), &HttpSettings::default())
}
