//! Benchmarks of the hot functions, one file a stage in the order of the flow. They call what production calls.
//!
//! `cargo bench -p fanfare-benches --bench render`. Here is what several of them need.

pub mod bed;
pub mod insurer;
pub mod receiver;

use std::sync::Arc;

use fanfare_engine::{
    id::{CampaignId, MessageId},
    providers::{
        Adapter,
        settings::{AccountSettings, BrevoEmailSettings, ConfigError, HttpSettings, build},
    },
};
use fanfare_templates::{Channel, Compiled, Locale, Rendered, Starter, publish, starters};
use serde_json::{Value, json};
use uuid::Uuid;

// What the macro below names.
pub use criterion;
pub use mimalloc;

/// `main` of a bench: Criterion's, with the allocator of the binary.
#[macro_export]
macro_rules! main {
    ($($bench:path),+) => {
        #[global_allocator]
        static ALLOCATOR: $crate::mimalloc::MiMalloc = $crate::mimalloc::MiMalloc;
        $crate::criterion::criterion_group!(benches, $($bench),+);
        $crate::criterion::criterion_main!(benches);
    };
}

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

/// The starter for renewals by e-mail: the letter of most benches.
pub fn renewal_letter() -> &'static Starter {
    renewal(Channel::Email).expect("there is a starter for every channel")
}

/// The letter as a campaign holds it, and its language.
pub fn letter() -> (Compiled, Locale) {
    let published = publish(&renewal_letter().source).expect("starters are sound");
    let compiled = Compiled::new(&published).expect("what is published compiles");
    (compiled, Locale::parse("en").expect("a locale"))
}

/// The letter, rendered with its starter's own values.
pub fn rendered() -> Rendered {
    let (compiled, english) = letter();
    compiled.render(&renewal_letter().sample, &english).expect("the sample fits")
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
        sandbox: true,
    };
    build(&AccountSettings::BrevoEmail(settings), &HttpSettings::default())
}

/// What Brevo tells of a delivered message. Another `sending` of it is another event.
pub fn delivered(message: MessageId, sending: i32) -> Value {
    let MessageId { n, .. } = message;
    json!({
        "id": 26224 + n, "event": "delivered", "email": format!("p{n}@mail1.example"),
        "subject": "Policy MTR-204417 expires on 15 December 2026", "date": "2026-11-21 08:30:12",
        "ts": 1_795_249_812, "ts_event": 1_795_249_812, "ts_epoch": 1_795_249_812_345_i64,
        "message-id": format!("<202611210830.{n}{sending:03}@smtp-relay.mailin.fr>"),
        "X-Mailin-custom": message.to_string(),
        "tag": "[\"renewal\"]", "tags": ["renewal"], "sending_ip": "185.41.28.109", "template_id": 0,
    })
}
