//! What a sandbox is told at start. Every field has a default, so that `SandboxConfig::default()` is a working
//! sandbox on a free port; the same shape is read from TOML.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::faults::Faults;
use crate::script::{Rule, default_rules};

/// The kinds of messages the sandbox takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Email,
    Sms,
    Whatsapp,
}

impl Channel {
    pub const ALL: [Self; 3] = [Self::Email, Self::Sms, Self::Whatsapp];

    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Whatsapp => "whatsapp",
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// All chance of the sandbox follows from it.
    pub seed: u64,
    /// A larger request body is answered 413.
    pub max_body_bytes: usize,
    /// How long a request that "never answers" is held open before its connection is cut, in seconds.
    pub hang_s: u64,
    pub brevo: BrevoConfig,
    pub whatsapp: WhatsappConfig,
    pub webhooks: WebhooksConfig,
    /// Scripted addresses, first match wins.
    pub rules: Vec<Rule>,
    /// Faults from the first request on.
    pub faults: Faults,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            port: 0,
            seed: 1,
            max_body_bytes: 25 << 20,
            hang_s: 600,
            brevo: BrevoConfig::default(),
            whatsapp: WhatsappConfig::default(),
            webhooks: WebhooksConfig::default(),
            rules: default_rules(),
            faults: Faults::default(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrevoConfig {
    pub accounts: Vec<BrevoAccount>,
    /// How long an idempotency key of e-mail is remembered, in seconds.
    pub idempotency_ttl_s: u64,
    /// Whether an idempotency key must be a UUID.
    pub require_uuid_keys: bool,
    /// Whether an SMS of type `marketing` must contain `[STOP_CODE]`.
    pub sms_marketing_needs_stop_code: bool,
    /// Credits of each account for SMS, and what a segment costs.
    pub sms_credits: f64,
    pub sms_credits_per_segment: f64,
}

impl Default for BrevoConfig {
    fn default() -> Self {
        Self {
            accounts: vec![BrevoAccount::default()],
            idempotency_ttl_s: 1_800,
            require_uuid_keys: true,
            sms_marketing_needs_stop_code: false,
            sms_credits: 1e9,
            sms_credits_per_segment: 0.7,
        }
    }
}

/// Credentials and limits of one Brevo account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrevoAccount {
    pub name: String,
    /// Expected in the header `api-key`.
    pub api_key: String,
    pub email_per_second: Limit,
    /// Calls with `messageVersions`; they count as e-mail requests too.
    pub batches_per_minute: Limit,
    pub sms_per_second: Limit,
    /// `GET /v3/smtp/statistics/events`.
    pub events_per_hour: Limit,
}

impl Default for BrevoAccount {
    fn default() -> Self {
        Self {
            name: "main".to_owned(),
            api_key: "xkeysib-sandbox".to_owned(),
            email_per_second: Limit::AtMost(1_000),
            batches_per_minute: Limit::AtMost(100),
            sms_per_second: Limit::AtMost(150),
            events_per_hour: Limit::AtMost(300),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WhatsappConfig {
    pub accounts: Vec<WhatsappAccount>,
    /// The templates that exist. Empty: every well-formed name does, with any number of parameters.
    pub templates: Vec<WhatsappTemplate>,
}

impl Default for WhatsappConfig {
    fn default() -> Self {
        Self { accounts: vec![WhatsappAccount::default()], templates: Vec::new() }
    }
}

/// One phone number of a WhatsApp business account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WhatsappAccount {
    pub phone_number_id: String,
    /// Expected as `Authorization: Bearer`.
    pub token: String,
    /// Signs the webhooks.
    pub app_secret: String,
    /// Sent in the verification handshake.
    pub verify_token: String,
    pub business_account_id: String,
    pub display_phone_number: String,
    pub quality_rating: String,
    pub messages_per_second: Limit,
    pub pair: PairLimit,
}

impl Default for WhatsappAccount {
    fn default() -> Self {
        Self {
            phone_number_id: "106540352242922".to_owned(),
            token: "sandbox-token".to_owned(),
            app_secret: "app_secret".to_owned(),
            verify_token: "verify-token".to_owned(),
            business_account_id: "102290129340398".to_owned(),
            display_phone_number: "15550783881".to_owned(),
            quality_rating: "GREEN".to_owned(),
            messages_per_second: Limit::AtMost(80),
            pair: PairLimit::Paced { interval_ms: 6_000, burst: 45 },
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhatsappTemplate {
    pub name: String,
    pub language: String,
    /// How many parameters its body has.
    #[serde(default)]
    pub body_params: usize,
    #[serde(default = "utility")]
    pub category: String,
}

fn utility() -> String {
    "utility".to_owned()
}

/// A number per window, or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    AtMost(u32),
    Unlimited,
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AtMost(number) => out.serialize_u32(*number),
            Self::Unlimited => out.serialize_str("unlimited"),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Word {
            Unlimited,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number or \"unlimited\"")]
        enum Either {
            Number(u32),
            Word(Word),
        }
        Either::deserialize(input).map(|either| match either {
            Either::Number(number) => Self::AtMost(number),
            Either::Word(Word::Unlimited) => Self::Unlimited,
        })
    }
}

/// Pace between one number and one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairLimit {
    Paced { interval_ms: u32, burst: u32 },
    Unlimited,
}

/// Where events are sent, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksConfig {
    pub email: WebhookTarget<EmailEvent>,
    pub sms: WebhookTarget<SmsEvent>,
    pub whatsapp: WebhookTarget<WhatsappEvent>,
    /// Events waiting or in flight; beyond it new ones are counted as `overflowed` and not sent.
    pub queue_limit: usize,
    /// Requests in flight at once.
    pub concurrency: usize,
    pub timeout_ms: u64,
    /// The providers' retry times are multiplied by it, so that a test need not wait for hours.
    pub retry_time_factor: f64,
    /// Whether Brevo retries after a 5xx (its documentation says that it gives up, some receivers saw otherwise).
    pub retry_5xx: bool,
    /// Time between two events of one message, in milliseconds.
    pub gap_ms: u64,
    /// Whether a batch of Brevo's events is an array, or an object with the array in `events`.
    pub batch_as_object: bool,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        Self {
            email: WebhookTarget::default(),
            sms: WebhookTarget::default(),
            whatsapp: WebhookTarget::default(),
            queue_limit: 1_000_000,
            concurrency: 16,
            timeout_ms: 5_000,
            retry_time_factor: 1.0,
            retry_5xx: false,
            gap_ms: 5,
            batch_as_object: false,
        }
    }
}

/// The receiver of one provider's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "E: Deserialize<'de> + UsualEvents"))]
pub struct WebhookTarget<E> {
    /// None: no webhooks for this provider.
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub auth: WebhookAuth,
    /// What follows an accepted message when the script says nothing else. Empty: no webhooks at all.
    #[serde(default = "E::usual")]
    pub events: Vec<E>,
}

/// The events that follow when a target names none.
pub trait UsualEvents: Sized {
    fn usual() -> Vec<Self>;
}

impl UsualEvents for EmailEvent {
    fn usual() -> Vec<Self> {
        vec![Self::Request, Self::Delivered]
    }
}

impl UsualEvents for SmsEvent {
    fn usual() -> Vec<Self> {
        vec![Self::Sent, Self::Delivered]
    }
}

impl UsualEvents for WhatsappEvent {
    fn usual() -> Vec<Self> {
        vec![Self::Sent, Self::Delivered]
    }
}

impl<E: UsualEvents> Default for WebhookTarget<E> {
    fn default() -> Self {
        Self { url: None, auth: WebhookAuth::None, events: E::usual() }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookAuth {
    #[default]
    None,
    Bearer(String),
    Basic {
        user: String,
        password: String,
    },
}

/// `event` of Brevo's e-mail webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmailEvent {
    Request,
    Delivered,
    Deferred,
    SoftBounce,
    HardBounce,
    Spam,
    Blocked,
    InvalidEmail,
    Error,
    Click,
    Opened,
    UniqueOpened,
    ProxyOpen,
    Unsubscribed,
}

/// `msg_status` of Brevo's SMS webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmsEvent {
    Accepted,
    Sent,
    Delivered,
    SoftBounce,
    HardBounce,
    Blacklisted,
    Reply,
    Unsubscribe,
}

/// `status` of WhatsApp's webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhatsappEvent {
    Sent,
    Delivered,
    Read,
}
