//! What can be measured, by name.

use clap::ValueEnum;
use fanfare_engine::domain::channel::Channel;
use serde::Serialize;

use crate::{api, receiver::Kind};

/// So that a campaign of five million gives more than ten thousand samples.
const OTP_PER_SECOND: u32 = 60;
/// Four of five read, one sends.
const API_PER_SECOND: u32 = 1_000;

/// A way to send a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// One request a message to the sandbox, which judges every one of them.
    Judged,
    /// One request a message to the sink, which answers at once.
    Single,
    /// The same, each answer after 50 ms.
    #[value(name = "single-50ms")]
    #[serde(rename = "single-50ms")]
    Single50,
    /// The same, each answer after 200 ms.
    #[value(name = "single-200ms")]
    #[serde(rename = "single-200ms")]
    Single200,
    /// As `single`, by four processes.
    FourProcesses,
    /// Many messages in a request, to the sink. The bare loop still sends one each, so the ratio says something else.
    Batches,
    /// One request a message of Brevo's SMS.
    Sms,
    /// One request a message of the WhatsApp Cloud API.
    Whatsapp,
    /// As `single`, and the sink posts a webhook of one event for each message: done once all are applied.
    WebhooksSingle,
    /// The same with up to 500 events a webhook.
    WebhooksBatched,
    /// As `single`, by one campaign for every ten people.
    SmallCampaigns,
    /// As `single`, with 5 ms more to Postgres and back.
    #[value(name = "postgres-5ms")]
    #[serde(rename = "postgres-5ms")]
    Postgres5,
    /// As `single`, on a database that holds 50 million older results.
    OlderResults,
    /// As `single`, beside one-time passwords that are asked for at fixed moments.
    Otp,
    /// The same over one account whose quota the campaign uses up.
    OtpOneQuota,
    /// As `single`, beside requests to the API at fixed moments. A send is answered once it is taken in.
    Api,
    /// The same, and a send waits for the provider as it does by default.
    ApiSendWait,
    /// As `single`, while a transaction elsewhere holds a snapshot from before the launch.
    HeldSnapshot,
}

/// Webhooks of the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Webhooks {
    /// Most events of one request.
    pub(crate) most: usize,
}

/// What a scenario sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) channel: Channel,
    pub(crate) receiver: Kind,
    pub(crate) latency_ms: u64,
    pub(crate) workers: u16,
    pub(crate) batch: bool,
    pub(crate) webhooks: Option<Webhooks>,
    /// Recipients of a campaign; all of them in one if absent.
    pub(crate) campaign_of: Option<u64>,
    /// What a round trip to Postgres takes longer.
    pub(crate) postgres_ms: u64,
    /// Results that the database holds before the launch.
    pub(crate) older_results: u64,
    /// One-time passwords that are asked for in a second.
    pub(crate) otp_per_second: Option<u32>,
    /// Requests that the account takes in a second; any number if absent.
    pub(crate) quota: Option<u32>,
    /// What is asked of the API meanwhile.
    pub(crate) api: Option<api::Wanted>,
    /// Whether a transaction holds a snapshot from before the launch until the end.
    pub(crate) held_snapshot: bool,
}

impl Scenario {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) const fn setup(self) -> Setup {
        let single = Setup {
            channel: Channel::Email,
            receiver: Kind::Sink,
            latency_ms: 0,
            workers: 1,
            batch: false,
            webhooks: None,
            campaign_of: None,
            postgres_ms: 0,
            older_results: 0,
            otp_per_second: None,
            quota: None,
            api: None,
            held_snapshot: false,
        };
        match self {
            Self::Judged => Setup { receiver: Kind::Sandbox, ..single },
            Self::Single => single,
            Self::Single50 => Setup { latency_ms: 50, ..single },
            Self::Single200 => Setup { latency_ms: 200, ..single },
            Self::FourProcesses => Setup { workers: 4, ..single },
            Self::Batches => Setup { batch: true, ..single },
            Self::Sms => Setup { channel: Channel::Sms, ..single },
            Self::Whatsapp => Setup { channel: Channel::Whatsapp, ..single },
            Self::WebhooksSingle => Setup { webhooks: Some(Webhooks { most: 1 }), ..single },
            Self::WebhooksBatched => Setup { webhooks: Some(Webhooks { most: 500 }), ..single },
            Self::SmallCampaigns => Setup { campaign_of: Some(10), ..single },
            Self::Postgres5 => Setup { postgres_ms: 5, ..single },
            Self::OlderResults => Setup { older_results: 50_000_000, ..single },
            Self::Otp => Setup { otp_per_second: Some(OTP_PER_SECOND), ..single },
            Self::OtpOneQuota => {
                Setup { otp_per_second: Some(OTP_PER_SECOND), quota: Some(10_000), ..single }
            }
            Self::Api => Setup {
                api: Some(api::Wanted { per_second: API_PER_SECOND, send_wait_ms: Some(0) }),
                ..single
            },
            Self::ApiSendWait => {
                Setup { api: Some(api::Wanted { per_second: API_PER_SECOND, send_wait_ms: None }), ..single }
            }
            Self::HeldSnapshot => Setup { held_snapshot: true, ..single },
        }
    }
}
