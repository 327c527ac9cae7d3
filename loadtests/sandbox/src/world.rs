//! Everything a request may need, made once from the configuration: the desks (credentials with their limits), the
//! faults, the script, the audit and the way to the webhooks. Nothing here is locked across work.

use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;

use crate::audit::{Audit, LaneId};
use crate::clock::Clock;
use crate::config::{BrevoAccount, Channel, SandboxConfig, WhatsappAccount};
use crate::dice::Dice;
use crate::faults::FaultBoard;
use crate::idempotency::UsedKeys;
use crate::pace::PairPace;
use crate::script::Script;
use crate::webhooks::Webhooks;
use crate::whatsapp::templates::Submissions;
use crate::window::{HOUR_US, MINUTE_US, SECOND_US, SlidingLimit};

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: SandboxConfig,
    pub(crate) clock: Clock,
    pub(crate) dice: Dice,
    pub(crate) faults: FaultBoard,
    pub(crate) audit: Audit,
    pub(crate) script: Script,
    pub(crate) used_keys: UsedKeys,
    pub(crate) webhooks: Webhooks,
    pub(crate) submissions: Submissions,
    brevo: Vec<BrevoDesk>,
    whatsapp: Vec<WhatsappDesk>,
}

/// One Brevo account at work.
#[derive(Debug)]
pub(crate) struct BrevoDesk {
    pub(crate) account: BrevoAccount,
    pub(crate) number: u16,
    pub(crate) email: LaneId,
    pub(crate) sms: LaneId,
    pub(crate) email_limit: SlidingLimit,
    pub(crate) batch_limit: SlidingLimit,
    pub(crate) sms_limit: SlidingLimit,
    pub(crate) events_limit: SlidingLimit,
    sms_credits: Mutex<f64>,
}

/// One WhatsApp number at work.
#[derive(Debug)]
pub(crate) struct WhatsappDesk {
    pub(crate) account: WhatsappAccount,
    pub(crate) number: u16,
    pub(crate) lane: LaneId,
    pub(crate) limit: SlidingLimit,
    pub(crate) pair: PairPace,
}

/// Requests with credentials that no account has are counted here, by channel.
const STRANGERS: &str = "(unknown)";

impl World {
    pub(crate) fn new(config: SandboxConfig) -> Self {
        let clock = Clock::start();
        let mut lanes: Vec<_> = Channel::ALL.map(|channel| (channel, STRANGERS.to_owned())).to_vec();
        let mut lane = |channel, account: &str| {
            lanes.push((channel, account.to_owned()));
            LaneId((lanes.len() - 1) as u16)
        };
        let mut brevo = Vec::new();
        for (number, account) in config.brevo.accounts.iter().enumerate() {
            let (email, sms) = (lane(Channel::Email, &account.name), lane(Channel::Sms, &account.name));
            brevo.push(BrevoDesk {
                account: account.clone(),
                number: number as u16,
                email,
                sms,
                email_limit: SlidingLimit::new(account.email_per_second, SECOND_US),
                batch_limit: SlidingLimit::new(account.batches_per_minute, MINUTE_US),
                sms_limit: SlidingLimit::new(account.sms_per_second, SECOND_US),
                events_limit: SlidingLimit::new(account.events_per_hour, HOUR_US),
                sms_credits: Mutex::new(config.brevo.sms_credits),
            });
        }
        let mut whatsapp = Vec::new();
        for (number, account) in config.whatsapp.accounts.iter().enumerate() {
            whatsapp.push(WhatsappDesk {
                account: account.clone(),
                number: number as u16,
                lane: lane(Channel::Whatsapp, &account.phone_number_id),
                limit: SlidingLimit::new(account.messages_per_second, SECOND_US),
                pair: PairPace::new(account.pair),
            });
        }
        Self {
            audit: Audit::new(&lanes, &clock),
            faults: FaultBoard::new(config.faults.clone(), clock.now_us()),
            dice: Dice::new(config.seed),
            script: Script::new(config.rules.clone()),
            used_keys: UsedKeys::new(config.brevo.idempotency_ttl_s * SECOND_US),
            webhooks: Webhooks::new(&config.webhooks),
            submissions: Submissions::default(),
            clock,
            brevo,
            whatsapp,
            config,
        }
    }

    pub(crate) fn strangers(channel: Channel) -> LaneId {
        LaneId(channel as u16)
    }

    pub(crate) fn brevo_desk(&self, headers: &HeaderMap) -> Option<&BrevoDesk> {
        let key = headers.get("api-key")?.as_bytes();
        self.brevo.iter().find(|desk| desk.account.api_key.as_bytes() == key)
    }

    pub(crate) fn whatsapp_desk(&self, phone_number_id: &str) -> Option<&WhatsappDesk> {
        self.whatsapp.iter().find(|desk| desk.account.phone_number_id == phone_number_id)
    }

    pub(crate) fn whatsapp_desk_of_token(&self, token: &str) -> Option<&WhatsappDesk> {
        self.whatsapp.iter().find(|desk| desk.account.token == token)
    }

    pub(crate) fn whatsapp_account(&self, number: u16) -> Option<&WhatsappAccount> {
        self.whatsapp.get(usize::from(number)).map(|desk| &desk.account)
    }

    pub(crate) fn any_whatsapp_account(&self) -> Option<&WhatsappAccount> {
        self.whatsapp_account(0)
    }
}

impl BrevoDesk {
    /// Takes what a message costs; what is left, or nothing if it is not enough.
    pub(crate) fn pay(&self, price: f64) -> Option<f64> {
        let mut credits = self.sms_credits.lock().unwrap_or_else(PoisonError::into_inner);
        if *credits < price {
            return None;
        }
        *credits -= price;
        Some(*credits)
    }
}
