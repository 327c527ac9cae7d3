//! Faults on demand, per provider. `POST /sandbox/faults` replaces the faults of the providers it names; each request
//! then rolls once, in an order that depends on the seed alone.
//!
//! A refusal is decided before anything is accepted. What happens after acceptance (no answer, a cut connection, an
//! unreadable 2xx) leaves the message in the audit: those are the ambiguous cases a sender must settle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Channel;
use crate::dice::Dice;
use crate::window::SECOND_US;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    pub email: ChannelFaults,
    pub sms: ChannelFaults,
    pub whatsapp: ChannelFaults,
}

/// The body of `POST /sandbox/faults`: providers that are not named keep their faults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultsChange {
    pub email: Option<ChannelFaults>,
    pub sms: Option<ChannelFaults>,
    pub whatsapp: Option<ChannelFaults>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelFaults {
    /// Connections are cut before anything is read.
    pub down: bool,
    /// Time between acceptance and answer.
    pub latency_ms: Latency,
    /// Share of requests refused with an HTTP status (400 to 599) or a WhatsApp error code (any other number).
    pub error_mix: BTreeMap<FaultCode, Share>,
    /// The `Retry-After` of every 429 and 503.
    pub retry_after: RetryAfter,
    /// Every request is answered 429 (WhatsApp: 130429) for a time that starts with the call.
    pub throttle: Option<Throttle>,
    pub drop_before_accept: Share,
    pub drop_after_accept: Share,
    pub timeout_after_accept: Share,
    pub malformed_2xx: Share,
    /// Which spoilt answers `malformed_2xx` takes, in turn by chance; empty: all that end by themselves.
    pub malformed_kinds: Vec<Malformed>,
    /// Brevo e-mail: a refused call uses up its idempotency key.
    pub burn_key_on_refusal: bool,
    pub webhooks: WebhookFaults,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookFaults {
    /// Time between acceptance and the first event.
    pub delay_ms: u64,
    /// How many more times each event is sent.
    pub duplicate: u32,
    /// Events of a message come in any order, and duplicates far from each other.
    pub reorder: bool,
    /// Share of events that never come.
    pub drop: Share,
    /// Events are collected over `batch_window_ms` and sent up to `batch_max` in a request.
    pub batched: bool,
    pub batch_max: usize,
    pub batch_window_ms: u64,
}

impl Default for WebhookFaults {
    fn default() -> Self {
        Self {
            delay_ms: 0,
            duplicate: 0,
            reorder: false,
            drop: Share::default(),
            batched: false,
            batch_max: 500,
            batch_window_ms: 300_000,
        }
    }
}

/// Milliseconds: a number, or `[lowest, highest]` between which all are equally likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "milliseconds, or [lowest, highest]")]
pub enum Latency {
    Fixed(u64),
    Uniform(u64, u64),
}

impl Default for Latency {
    fn default() -> Self {
        Self::Fixed(0)
    }
}

/// A share of requests, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(format!("a share is 0 to 1, not {share}"))
        }
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.0
    }
}

/// An HTTP status (400 to 599) or, by any other number, an error code of WhatsApp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FaultCode(u32);

impl FaultCode {
    pub fn number(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for FaultCode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("{text:?} is no HTTP status and no error code"))
    }
}

impl From<FaultCode> for String {
    fn from(code: FaultCode) -> Self {
        code.0.to_string()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    #[default]
    Absent,
    /// As a number of seconds.
    Seconds(u64),
    /// As an HTTP date so many seconds ahead.
    Date(u64),
    /// A thousand million seconds.
    Absurd,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    pub for_s: f64,
    #[serde(default)]
    pub retry_after: RetryAfter,
}

/// Ways to spoil a 2xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Malformed {
    NotJson,
    WrongType,
    /// Fewer bytes than `Content-Length` says, then the connection ends.
    Truncated,
    Html,
    DuplicateKeys,
    Empty,
    FewerIds,
    MoreIds,
    PermutedIds,
    SameIdTwice,
    /// One byte a second.
    SlowBody,
    /// A gigabyte.
    HugeBody,
}

impl Malformed {
    const ENDING: [Self; 10] = [
        Self::NotJson,
        Self::WrongType,
        Self::Truncated,
        Self::Html,
        Self::DuplicateKeys,
        Self::Empty,
        Self::FewerIds,
        Self::MoreIds,
        Self::PermutedIds,
        Self::SameIdTwice,
    ];
}

/// What chance decided for one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Roll {
    pub(crate) before: Before,
    pub(crate) delay: Duration,
    pub(crate) after: After,
    pub(crate) retry_after: RetryAfter,
    pub(crate) burn_key: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Before {
    Proceed,
    Refuse(u32),
    Throttled,
    Drop,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum After {
    Answer,
    Hang,
    Drop,
    Spoil(Malformed),
}

/// The faults in force, and until when the throttles last.
#[derive(Debug)]
pub(crate) struct FaultBoard {
    current: RwLock<Arc<Faults>>,
    throttled_until_us: [AtomicU64; 3],
}

impl FaultBoard {
    pub(crate) fn new(faults: Faults, now_us: u64) -> Self {
        let board = Self { current: RwLock::default(), throttled_until_us: Default::default() };
        board.replace(faults, now_us);
        board
    }

    pub(crate) fn current(&self) -> Arc<Faults> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change(&self, change: FaultsChange, now_us: u64) -> Result<(), String> {
        let mut next = Faults::clone(&self.current());
        let named = [
            (Channel::Email, change.email),
            (Channel::Sms, change.sms),
            (Channel::Whatsapp, change.whatsapp),
        ];
        for (channel, faults) in named {
            let Some(faults) = faults else { continue };
            faults.check().map_err(|problem| format!("{}: {problem}", channel.name()))?;
            self.start_throttle(channel, &faults, now_us);
            *next.of_mut(channel) = faults;
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    pub(crate) fn replace(&self, faults: Faults, now_us: u64) {
        for channel in Channel::ALL {
            self.start_throttle(channel, faults.of(channel), now_us);
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(faults);
    }

    pub(crate) fn roll(&self, channel: Channel, dice: &Dice, now_us: u64) -> Roll {
        let faults = self.current();
        let throttled = now_us < self.throttled_until_us[channel as usize].load(Ordering::Relaxed);
        faults.of(channel).roll(dice, throttled)
    }

    fn start_throttle(&self, channel: Channel, faults: &ChannelFaults, now_us: u64) {
        let until = faults
            .throttle
            .map_or(0, |throttle| now_us.saturating_add((throttle.for_s.max(0.0) * SECOND_US as f64) as u64));
        self.throttled_until_us[channel as usize].store(until, Ordering::Relaxed);
    }
}

impl Faults {
    pub(crate) fn of(&self, channel: Channel) -> &ChannelFaults {
        match channel {
            Channel::Email => &self.email,
            Channel::Sms => &self.sms,
            Channel::Whatsapp => &self.whatsapp,
        }
    }

    fn of_mut(&mut self, channel: Channel) -> &mut ChannelFaults {
        match channel {
            Channel::Email => &mut self.email,
            Channel::Sms => &mut self.sms,
            Channel::Whatsapp => &mut self.whatsapp,
        }
    }

    /// What a person must know who gave impossible faults.
    pub(crate) fn check(&self) -> Result<(), String> {
        Channel::ALL.iter().try_for_each(|channel| {
            self.of(*channel).check().map_err(|problem| format!("faults of {}: {problem}", channel.name()))
        })
    }
}

impl ChannelFaults {
    fn check(&self) -> Result<(), String> {
        let before = self.drop_before_accept.0 + self.error_mix.values().map(|share| share.0).sum::<f64>();
        let after = self.drop_after_accept.0 + self.timeout_after_accept.0 + self.malformed_2xx.0;
        if before > 1.0 + 1e-9 {
            return Err("error_mix and drop_before_accept together are more than 1".to_owned());
        }
        if after > 1.0 + 1e-9 {
            return Err("drop_after_accept, timeout_after_accept and malformed_2xx together are more than 1"
                .to_owned());
        }
        if matches!(self.latency_ms, Latency::Uniform(low, high) if low > high) {
            return Err("latency_ms is [lowest, highest]".to_owned());
        }
        if self.webhooks.batch_max == 0 {
            return Err("webhooks.batch_max is at least 1".to_owned());
        }
        Ok(())
    }

    fn roll(&self, dice: &Dice, throttled: bool) -> Roll {
        let delay = match self.latency_ms {
            Latency::Fixed(ms) => ms,
            Latency::Uniform(low, high) => dice.between(low, high),
        };
        let (before, retry_after) = match self.throttle {
            _ if self.down => (Before::Drop, RetryAfter::Absent),
            Some(throttle) if throttled => (Before::Throttled, throttle.retry_after),
            _ => (self.before(dice), self.retry_after),
        };
        Roll {
            before,
            delay: Duration::from_millis(delay),
            after: self.after(dice),
            retry_after,
            burn_key: self.burn_key_on_refusal,
        }
    }

    fn before(&self, dice: &Dice) -> Before {
        if self.error_mix.is_empty() && self.drop_before_accept.0 == 0.0 {
            return Before::Proceed;
        }
        let mut draw = dice.share() - self.drop_before_accept.0;
        if draw < 0.0 {
            return Before::Drop;
        }
        for (code, share) in &self.error_mix {
            draw -= share.0;
            if draw < 0.0 {
                return Before::Refuse(code.0);
            }
        }
        Before::Proceed
    }

    fn after(&self, dice: &Dice) -> After {
        if self.drop_after_accept.0 + self.timeout_after_accept.0 + self.malformed_2xx.0 == 0.0 {
            return After::Answer;
        }
        let mut draw = dice.share();
        for (share, fate) in [(self.drop_after_accept, After::Drop), (self.timeout_after_accept, After::Hang)]
        {
            draw -= share.0;
            if draw < 0.0 {
                return fate;
            }
        }
        if draw < self.malformed_2xx.0 {
            let kinds =
                if self.malformed_kinds.is_empty() { &Malformed::ENDING[..] } else { &self.malformed_kinds };
            return After::Spoil(kinds[dice.draw() as usize % kinds.len()]);
        }
        After::Answer
    }
}
