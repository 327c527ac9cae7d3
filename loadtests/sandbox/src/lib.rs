//! A simulator of the providers' HTTP contracts: Brevo e-mail, Brevo SMS, WhatsApp Cloud API.
//!
//! It judges whoever sends: it rejects what the providers would reject, enforces their limits in true sliding windows,
//! fails on demand, sends their webhooks back, signed, and keeps an audit of who got what and how often. It shares no
//! code with the engine, so that a mistake there is not repeated here.
//!
//! A request passes `server` -> `sends` -> `brevo` or `whatsapp` -> `audit` and `webhooks`. All state is in memory and
//! dies with the process; a crash loses the audit, never invents one. Acceptance is entered in the audit *before* the
//! answer's delay, so a sender that is killed while it waits has been received all the same.

mod audit;
mod brevo;
mod clock;
mod config;
mod control;
mod dice;
mod faults;
mod idempotency;
mod pace;
mod provider_id;
mod reply;
mod routes;
mod script;
mod sends;
mod server;
mod webhooks;
mod whatsapp;
mod window;
mod world;

pub use crate::audit::{Audit, Fate, LaneSummary, MessageRecord, Page, Summary, digest};
pub use crate::clock::Reading;
pub use crate::config::{
    BrevoAccount, BrevoConfig, Channel, EmailEvent, Limit, PairLimit, SandboxConfig, SmsEvent, UsualEvents,
    WebhookAuth, WebhookTarget, WebhooksConfig, WhatsappAccount, WhatsappConfig, WhatsappEvent,
    WhatsappTemplate,
};
pub use crate::faults::{
    ChannelFaults, FaultCode, Faults, FaultsChange, Latency, Malformed, RetryAfter, Share, Throttle,
    WebhookFaults,
};
pub use crate::script::{Effect, Matcher, Rule, default_rules};
pub use crate::server::{RunningSandbox, Sandbox, SandboxError, router};
pub use crate::webhooks::{Inbound, Targets, WebhookCounts, signature};
