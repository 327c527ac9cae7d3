//! Which events follow a message, and when each is due.

use std::sync::Arc;

use super::{Event, Inbound, Job, Receivers, Sent};
use crate::config::{Channel, EmailEvent, SmsEvent};
use crate::dice::Dice;
use crate::faults::WebhookFaults;
use crate::script::Effect;

/// How far apart disorder may carry the events of one message.
const DISORDER_US: u64 = 200_000;

pub(super) fn events(receivers: &Receivers, sent: &Sent) -> Vec<Event> {
    match sent.channel {
        Channel::Email => email(&receivers.email.events, sent).into_iter().map(Event::Email).collect(),
        Channel::Sms => sms(&receivers.sms.events, sent).into_iter().map(Event::Sms).collect(),
        Channel::Whatsapp => {
            let usual = receivers.whatsapp.events.iter().copied().map(Event::Status);
            whatsapp(usual.collect(), sent)
        }
    }
}

fn email(usual: &[EmailEvent], sent: &Sent) -> Vec<EmailEvent> {
    let end = match sent.scripted.map(|scripted| scripted.effect) {
        Some(Effect::HardBounce) => EmailEvent::HardBounce,
        Some(Effect::SoftBounce) => EmailEvent::SoftBounce,
        Some(Effect::Blocked) => EmailEvent::Blocked,
        Some(Effect::InvalidEmail) => EmailEvent::InvalidEmail,
        Some(Effect::Spam) => return [usual, &[EmailEvent::Spam]].concat(),
        Some(Effect::Unsubscribe) => return [usual, &[EmailEvent::Unsubscribed]].concat(),
        _ => return usual.to_vec(),
    };
    let requested = usual.contains(&EmailEvent::Request).then_some(EmailEvent::Request);
    requested.into_iter().chain([end]).collect()
}

fn sms(usual: &[SmsEvent], sent: &Sent) -> Vec<SmsEvent> {
    let end = match sent.scripted.map(|scripted| scripted.effect) {
        Some(Effect::HardBounce | Effect::InvalidEmail) => SmsEvent::HardBounce,
        Some(Effect::SoftBounce) => SmsEvent::SoftBounce,
        Some(Effect::Blocked) => return vec![SmsEvent::Blacklisted],
        Some(Effect::StopReply | Effect::StopButton | Effect::Unsubscribe) => {
            return [usual, &[SmsEvent::Reply, SmsEvent::Unsubscribe]].concat();
        }
        _ => return usual.to_vec(),
    };
    let went_out = usual.contains(&SmsEvent::Sent).then_some(SmsEvent::Sent);
    went_out.into_iter().chain([end]).collect()
}

fn whatsapp(mut usual: Vec<Event>, sent: &Sent) -> Vec<Event> {
    let Some(scripted) = sent.scripted else { return usual };
    let stop = || "STOP".to_owned();
    let then = match scripted.effect {
        Effect::NotOnWhatsapp | Effect::HardBounce | Effect::InvalidEmail => {
            return vec![Event::Failed(131_026)];
        }
        Effect::Fail | Effect::SoftBounce => return vec![Event::Failed(scripted.code.unwrap_or(131_000))],
        Effect::Blocked => return vec![Event::Failed(131_050)],
        Effect::StopReply | Effect::Unsubscribe => Event::Inbound(Inbound::Text { body: stop() }),
        Effect::StopButton => Event::Inbound(Inbound::Button { payload: stop(), text: stop() }),
        Effect::StopMarketing => Event::Preference { stop: true },
        Effect::Spam
        | Effect::Refuse
        | Effect::ServerError
        | Effect::NeverAnswers
        | Effect::AcceptThenTimeout => return usual,
    };
    usual.push(then);
    usual
}

/// An event with its time.
pub(super) struct Planned {
    event: Event,
    at_us: u64,
    due_us: u64,
    pub(super) withheld: bool,
}

impl Planned {
    pub(super) fn into_job(self, sent: &Arc<Sent>, number: u64) -> Job {
        Job {
            due_us: self.due_us,
            number,
            attempt: 0,
            sent: Arc::clone(sent),
            event: self.event,
            at_us: self.at_us,
        }
    }
}

pub(super) fn schedule(
    faults: &WebhookFaults,
    dice: &Dice,
    sent: &Sent,
    events: Vec<Event>,
    gap_ms: u64,
) -> Vec<Planned> {
    let first_us = sent.at_us + faults.delay_ms * 1_000;
    let mut planned = Vec::with_capacity(events.len());
    for (event, place) in events.into_iter().zip(0_u64..) {
        let at_us = sent.at_us + place * gap_ms * 1_000;
        for _ in 0..=faults.duplicate {
            let in_order = first_us + place * gap_ms * 1_000;
            let due_us = if faults.reorder { first_us + dice.between(0, DISORDER_US) } else { in_order };
            let due_us = if faults.batched { end_of_window(due_us, faults.batch_window_ms) } else { due_us };
            let share = f64::from(faults.drop);
            let withheld = share > 0.0 && dice.share() < share;
            planned.push(Planned { event: event.clone(), at_us, due_us, withheld });
        }
    }
    planned
}

/// Batched events wait for the end of the window they fall into, all of them for the same moment.
fn end_of_window(due_us: u64, window_ms: u64) -> u64 {
    let window_us = window_ms.max(1) * 1_000;
    (due_us / window_us + 1) * window_us
}
