//! `POST /v3/smtp/email`, the hot path: one parse that borrows from the body, one digest and one locked shard a mail.

use axum::http::{HeaderMap, StatusCode};
use serde_json::json;

use super::email::EmailRequest;
use super::email_rules::{Mail, mails};
use super::{Refusal, Text, Turned, blame, given, obey, stranger, turn_away, with_quota};
use crate::audit::{Received, Recipient, digest};
use crate::config::Channel;
use crate::faults::{After, Roll};
use crate::reply::{Ending, Reply};
use crate::script::{Effect, Scripted};
use crate::webhooks::Sent;
use crate::window::Quota;
use crate::world::{BrevoDesk, World};

pub(crate) fn send(world: &World, headers: &HeaderMap, body: &[u8]) -> Reply {
    let Some(desk) = world.brevo_desk(headers) else {
        let tally = world.audit.lane(World::strangers(Channel::Email));
        tally.arrive(&world.clock);
        tally.refuse("unauthorized");
        return Reply::now(stranger());
    };
    let tally = world.audit.lane(desk.email);
    let at_us = tally.arrive(&world.clock);
    let roll = world.faults.roll(Channel::Email, &world.dice, at_us);
    let mut case = Case { world, desk, at_us, roll, quota: None };
    let mut reply = match case.take(body) {
        Ok(accepted) => {
            tally.accept_request();
            if matches!(accepted.after, After::Hang | After::Drop) {
                tally.leave_unanswered();
            }
            Reply::accepted(accepted.status, accepted.body, roll.delay, accepted.after)
        }
        Err(turned) => turn_away(world, tally, turned, &roll),
    };
    if reply.ending == Ending::Answer {
        let quota = case.quota.unwrap_or_else(|| desk.email_limit.peek(&world.clock));
        reply.response = with_quota(reply.response, quota);
    }
    reply
}

/// One request on its way.
struct Case<'w> {
    world: &'w World,
    desk: &'w BrevoDesk,
    at_us: u64,
    roll: Roll,
    quota: Option<Quota>,
}

struct Accepted {
    status: StatusCode,
    body: String,
    after: After,
}

impl Case<'_> {
    fn take(&mut self, body: &[u8]) -> Result<Accepted, Turned> {
        let Self { world, desk, at_us, roll, .. } = *self;
        let request: EmailRequest<'_> = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(_) => return Err(blame::<EmailRequest<'_>>(body).into()),
        };
        let key =
            request.headers.as_ref().and_then(|headers| headers.idempotency_key.as_ref()).map(Text::as_str);
        let claim = || match key {
            Some(key) if !world.used_keys.claim(desk.number, key, at_us) => Err(Refusal::duplicate_key()),
            _ => Ok(()),
        };
        if roll.burn_key {
            claim()?;
        }
        self.admit(request.message_versions.is_some())?;
        obey(&roll)?;
        let mails = mails(&request, world.clock.wall_us(at_us), world.config.brevo.require_uuid_keys)?;
        let fates = self.fates(&mails)?;
        if !roll.burn_key {
            claim()?;
        }
        let hangs = fates.iter().flatten().any(|scripted| scripted.effect == Effect::AcceptThenTimeout);
        let ids = self.accept(&request, &mails, &fates);
        Ok(Accepted {
            status: if request.scheduled_at.is_some() { StatusCode::ACCEPTED } else { StatusCode::CREATED },
            body: answer(&request, &ids),
            after: if hangs { After::Hang } else { roll.after },
        })
    }

    fn admit(&mut self, batch: bool) -> Result<(), Refusal> {
        let quota = self.desk.email_limit.admit(&self.world.clock);
        self.quota = Some(quota);
        if batch {
            self.world.audit.lane(self.desk.email).batch(&self.world.clock);
        }
        if !quota.admitted {
            return Err(Refusal::too_many());
        }
        if batch {
            let batches = self.desk.batch_limit.admit(&self.world.clock);
            if !batches.admitted {
                self.quota = Some(batches);
                return Err(Refusal::too_many());
            }
        }
        Ok(())
    }

    /// What the script has for each person, mail after mail; or that it turns the whole request away.
    fn fates(&self, mails: &[Mail<'_>]) -> Result<Vec<Option<Scripted>>, Turned> {
        let people = mails.iter().flat_map(|mail| &mail.people);
        people
            .map(|address| {
                let scripted = self.world.script.of(Channel::Email, address);
                match scripted.map(|scripted| scripted.effect) {
                    Some(Effect::Refuse) => Err(Refusal::invalid("email is not valid in to").into()),
                    Some(Effect::ServerError) => Err(Refusal::of_status(500).into()),
                    Some(Effect::NeverAnswers) => Err(Turned::Silent(Ending::Hang)),
                    _ => Ok(scripted),
                }
            })
            .collect()
    }

    fn accept(
        &self,
        request: &EmailRequest<'_>,
        mails: &[Mail<'_>],
        fates: &[Option<Scripted>],
    ) -> Vec<String> {
        let wall_us = self.world.clock.wall_us(self.at_us);
        let dropped = request.headers.as_ref().and_then(|headers| headers.sandbox.as_ref());
        let dropped = dropped.is_some_and(|value| value.as_str().eq_ignore_ascii_case("drop"));
        let tags: Vec<&str> = request.tags.iter().flatten().map(Text::as_str).collect();
        let tags = tags.join("\n");
        let announce = self.world.webhooks.wants(Channel::Email);
        let mut fates = fates.iter().copied();
        let mut ids = Vec::with_capacity(mails.len());
        for mail in mails {
            let received =
                Received { lane: self.desk.email, at_us: self.at_us, message_id: mail.custom, tags: &tags };
            let fates: Vec<_> = fates.by_ref().take(mail.people.len()).collect();
            if dropped {
                // Validated only: an id that belongs to nothing.
                ids.push(self.world.audit.ids().email(self.at_us, wall_us));
                continue;
            }
            let recipients = mail.people.iter().zip(&fates).map(|(address, scripted)| Recipient {
                address,
                digest: digest(address, mail.custom, &[&mail.subject, &mail.html]),
                fate: Scripted::fate(*scripted),
            });
            let serial = self.world.audit.receive(&received, recipients);
            let id = self.world.audit.ids().email(serial, wall_us);
            if announce {
                self.announce(request, mail, &fates, &id);
            }
            ids.push(id);
        }
        ids
    }

    fn announce(&self, request: &EmailRequest<'_>, mail: &Mail<'_>, fates: &[Option<Scripted>], id: &str) {
        for (address, scripted) in mail.people.iter().zip(fates) {
            self.world.webhooks.announce(
                self.world,
                Sent {
                    address: (*address).to_owned(),
                    message_id: mail.custom.to_owned(),
                    provider_id: id.to_owned(),
                    subject: mail.subject.to_string(),
                    tags: request.tags.iter().flatten().map(|tag| tag.as_str().to_owned()).collect(),
                    template_id: request.template_id,
                    account: self.desk.number,
                    ..Sent::new(Channel::Email, self.at_us, *scripted)
                },
            );
        }
    }
}

fn answer(request: &EmailRequest<'_>, ids: &[String]) -> String {
    let scheduled = request.scheduled_at.is_some();
    match (ids, request.message_versions.is_some()) {
        ([id], false) if !scheduled => {
            let mut body = String::with_capacity(id.len() + 16);
            body.push_str(r#"{"messageId":""#);
            body.push_str(id);
            body.push_str(r#""}"#);
            body
        }
        (ids, batch) => {
            let mut body = if batch { json!({"messageIds": ids}) } else { json!({"messageId": ids.first()}) };
            if scheduled {
                let given = given(&request.batch_id).map(str::to_owned);
                #[expect(clippy::disallowed_methods, reason = "an id of the provider, not of the engine")]
                let made = || uuid::Uuid::new_v4().to_string();
                body["batchId"] = given.unwrap_or_else(made).into();
            }
            body.to_string()
        }
    }
}
