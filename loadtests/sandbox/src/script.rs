//! Scripted addresses: the recipient decides what becomes of the message, so that a demo and a test can write down
//! the counts they expect. The first rule that matches wins; an address without a rule is delivered.

use serde::{Deserialize, Serialize};

use crate::audit::Fate;
use crate::config::Channel;

/// One line of the script: which addresses, and what happens to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Only on this channel; on all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    #[serde(flatten)]
    pub matcher: Matcher,
    pub effect: Effect,
    /// The WhatsApp error code for `refuse` and `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
}

/// How a rule finds its addresses. Phone numbers are compared without their `+`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matcher {
    /// The whole address.
    Exact(String),
    /// How the address ends.
    Suffix(String),
    /// What the local part of an e-mail address, or the number, contains.
    Contains(String),
}

/// What becomes of a message to a scripted address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The request is refused: 400 at Brevo (a batch as a whole), error `code` (131009) at WhatsApp.
    Refuse,
    /// 500.
    ServerError,
    /// Not accepted, and no answer ever comes.
    NeverAnswers,
    /// Accepted, and no answer ever comes.
    AcceptThenTimeout,
    HardBounce,
    SoftBounce,
    Blocked,
    InvalidEmail,
    /// Delivered, then reported as spam.
    Spam,
    /// Delivered, then unsubscribed (by SMS: reply STOP and unsubscribe).
    Unsubscribe,
    /// Accepted, then the status `failed` with 131026, as for a number that is not on WhatsApp.
    NotOnWhatsapp,
    /// Accepted, then the status `failed` with `code`.
    Fail,
    /// Delivered, then the person writes STOP.
    StopReply,
    /// Delivered, then the person presses the template's button with payload STOP.
    StopButton,
    /// Delivered, then the person stops marketing messages in WhatsApp itself.
    StopMarketing,
}

/// The outcome of the script for one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scripted {
    pub(crate) effect: Effect,
    pub(crate) code: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Script {
    rules: Vec<Rule>,
}

impl Script {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    pub(crate) fn of(&self, channel: Channel, address: &str) -> Option<Scripted> {
        let part = match channel {
            Channel::Email => address.rsplit_once('@').map_or(address, |(local, _)| local),
            Channel::Sms | Channel::Whatsapp => address,
        };
        self.rules
            .iter()
            .filter(|rule| rule.channel.is_none_or(|only| only == channel))
            .find(|rule| match &rule.matcher {
                Matcher::Exact(whole) => address == whole.trim_start_matches('+'),
                Matcher::Suffix(end) => address.ends_with(end.as_str()),
                Matcher::Contains(inner) => part.contains(inner.as_str()),
            })
            .map(|rule| Scripted { effect: rule.effect, code: rule.code })
    }
}

/// The script of a sandbox that was given none; the README shows it as a table.
pub fn default_rules() -> Vec<Rule> {
    use Effect::{
        AcceptThenTimeout, Blocked, Fail, HardBounce, InvalidEmail, NeverAnswers, NotOnWhatsapp, Refuse,
        ServerError, SoftBounce, Spam, StopButton, StopMarketing, StopReply, Unsubscribe,
    };
    let email = [
        ("rejected", Refuse),
        ("servererror", ServerError),
        ("neveranswers", NeverAnswers),
        ("accepttimeout", AcceptThenTimeout),
        ("hardbounce", HardBounce),
        ("softbounce", SoftBounce),
        ("blocked", Blocked),
        ("invalidemail", InvalidEmail),
        ("spamreport", Spam),
        ("unsubscribes", Unsubscribe),
    ];
    let sms = [
        ("7999400", Refuse),
        ("7999500", ServerError),
        ("7999408", NeverAnswers),
        ("7999504", AcceptThenTimeout),
        ("7999551", HardBounce),
        ("7999451", SoftBounce),
        ("7999550", Blocked),
        ("7999700", StopReply),
    ];
    let whatsapp = [
        ("7999400", Refuse, None),
        ("7999500", ServerError, None),
        ("7999408", NeverAnswers, None),
        ("7999504", AcceptThenTimeout, None),
        ("7999026", NotOnWhatsapp, None),
        ("7999126", Refuse, Some(131_026)),
        ("7999047", Refuse, Some(131_047)),
        ("7999049", Fail, Some(131_049)),
        ("7999050", Refuse, Some(131_050)),
        ("7999700", StopReply, None),
        ("7999701", StopButton, None),
        ("7999702", StopMarketing, None),
    ];
    let rule = |channel, matcher, effect, code| Rule { channel: Some(channel), matcher, effect, code };
    let mut rules = Vec::new();
    rules.extend(
        email.map(|(part, effect)| rule(Channel::Email, Matcher::Contains(part.to_owned()), effect, None)),
    );
    rules.extend(sms.map(|(end, effect)| rule(Channel::Sms, Matcher::Suffix(end.to_owned()), effect, None)));
    rules.extend(
        whatsapp.map(|(end, effect, code)| {
            rule(Channel::Whatsapp, Matcher::Suffix(end.to_owned()), effect, code)
        }),
    );
    rules
}

impl Scripted {
    /// What the ledger holds of a message with this outcome.
    pub(crate) fn fate(scripted: Option<Self>) -> Fate {
        match scripted.map(|scripted| scripted.effect) {
            Some(Effect::HardBounce) => Fate::HardBounced,
            Some(Effect::SoftBounce) => Fate::SoftBounced,
            Some(Effect::Blocked) => Fate::Blocked,
            Some(Effect::InvalidEmail) => Fate::Invalid,
            Some(Effect::Spam) => Fate::Spam,
            Some(Effect::Unsubscribe) => Fate::Unsubscribed,
            Some(Effect::NotOnWhatsapp | Effect::Fail) => Fate::Failed,
            Some(Effect::StopReply | Effect::StopButton | Effect::StopMarketing) => Fate::Replied,
            Some(Effect::Refuse | Effect::ServerError | Effect::NeverAnswers | Effect::AcceptThenTimeout)
            | None => Fate::Delivered,
        }
    }
}
