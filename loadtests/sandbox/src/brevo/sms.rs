//! `POST /v3/transactionalSMS/send` and `/sms`: one recipient a call, no batch, no idempotency key. A second call with
//! the same content is a second SMS.

use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::segments::segments;
use super::{Refusal, Text, Turned, blame, given, obey, stranger, turn_away, with_quota};
use crate::audit::{Received, Recipient, digest};
use crate::config::Channel;
use crate::faults::{After, Roll};
use crate::reply::{Ending, Reply};
use crate::script::{Effect, Scripted};
use crate::webhooks::Sent;
use crate::world::{BrevoDesk, World};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SmsRequest<'a> {
    #[serde(borrow)]
    sender: Option<Text<'a>>,
    #[serde(borrow)]
    recipient: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Text<'a>>,
    template_id: Option<i64>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    organisation_prefix: Option<Text<'a>>,
    #[serde(borrow)]
    tag: Option<Tags<'a>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    unicode_enabled: Option<bool>,
    #[serde(borrow)]
    web_url: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string or a list of strings")]
enum Tags<'a> {
    One(#[serde(borrow)] Text<'a>),
    Many(#[serde(borrow)] Vec<Text<'a>>),
}

impl Tags<'_> {
    fn list(&self) -> Vec<&str> {
        match self {
            Self::One(tag) => vec![tag.as_str()],
            Self::Many(tags) => tags.iter().map(Text::as_str).collect(),
        }
    }
}

const MAX_TAGS: usize = 10;

/// A request that keeps the rules.
struct Sms<'r> {
    /// Digits, without `+`.
    to: &'r str,
    content: String,
    tags: Vec<&'r str>,
    message_id: &'r str,
    segments: u32,
    web_url: Option<&'r str>,
}

/// `detailed`: the answer of `/sms` with counts and credits, rather than that of `/send`.
pub(crate) fn send(world: &World, headers: &HeaderMap, body: &[u8], detailed: bool) -> Reply {
    let Some(desk) = world.brevo_desk(headers) else {
        let tally = world.audit.lane(World::strangers(Channel::Sms));
        tally.arrive(&world.clock);
        tally.refuse("unauthorized");
        return Reply::now(stranger());
    };
    let tally = world.audit.lane(desk.sms);
    let at_us = tally.arrive(&world.clock);
    let roll = world.faults.roll(Channel::Sms, &world.dice, at_us);
    let quota = desk.sms_limit.admit(&world.clock);
    let taken =
        if quota.admitted { take(world, desk, at_us, &roll, body) } else { Err(Refusal::too_many().into()) };
    let mut reply = match taken {
        Ok((accepted, after)) => {
            tally.accept_request();
            if matches!(after, After::Hang | After::Drop) {
                tally.leave_unanswered();
            }
            Reply::accepted(StatusCode::CREATED, accepted.body(detailed), roll.delay, after)
        }
        Err(turned) => turn_away(world, tally, turned, &roll),
    };
    if reply.ending == Ending::Answer {
        reply.response = with_quota(reply.response, quota);
    }
    reply
}

struct Accepted {
    id: u64,
    reference: String,
    segments: u32,
    used: f64,
    left: f64,
}

impl Accepted {
    fn body(&self, detailed: bool) -> String {
        if detailed {
            json!({"reference": self.reference, "messageId": self.id, "smsCount": self.segments,
                "usedCredits": self.used, "remainingCredits": self.left})
            .to_string()
        } else {
            json!({"messageId": self.id}).to_string()
        }
    }
}

fn take(
    world: &World,
    desk: &BrevoDesk,
    at_us: u64,
    roll: &Roll,
    body: &[u8],
) -> Result<(Accepted, After), Turned> {
    obey(roll)?;
    let request: SmsRequest<'_> = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(_) => return Err(blame::<SmsRequest<'_>>(body).into()),
    };
    let sms = check(&request, world.config.brevo.sms_marketing_needs_stop_code)?;
    let scripted = world.script.of(Channel::Sms, sms.to);
    match scripted.map(|scripted| scripted.effect) {
        Some(Effect::Refuse) => return Err(Refusal::invalid("Invalid telephone number").into()),
        Some(Effect::ServerError) => return Err(Refusal::of_status(500).into()),
        Some(Effect::NeverAnswers) => return Err(Turned::Silent(Ending::Hang)),
        _ => {}
    }
    let used = world.config.brevo.sms_credits_per_segment * f64::from(sms.segments);
    let left = desk.pay(used).ok_or_else(Refusal::no_credits)?;
    let tags = sms.tags.join("\n");
    let received = Received { lane: desk.sms, at_us, message_id: sms.message_id, tags: &tags };
    let recipient = Recipient {
        address: sms.to,
        digest: digest(sms.to, sms.message_id, &[&sms.content]),
        fate: Scripted::fate(scripted),
    };
    let serial = world.audit.receive(&received, std::iter::once(recipient));
    let ids = world.audit.ids();
    let accepted = Accepted {
        id: ids.sms(serial),
        reference: ids.sms_reference(serial),
        segments: sms.segments,
        used,
        left,
    };
    if world.webhooks.wants(Channel::Sms) {
        let sent = Sent {
            address: sms.to.to_owned(),
            message_id: sms.message_id.to_owned(),
            provider_id: accepted.id.to_string(),
            tags: sms.tags.iter().map(|tag| (*tag).to_owned()).collect(),
            reference: accepted.reference.clone(),
            segments: sms.segments,
            credits: (used, left),
            url: sms.web_url.filter(|url| is_local(url)).map(str::to_owned),
            account: desk.number,
            ..Sent::new(Channel::Sms, at_us, scripted)
        };
        world.webhooks.announce(world, sent);
    }
    let hangs = scripted.is_some_and(|scripted| scripted.effect == Effect::AcceptThenTimeout);
    Ok((accepted, if hangs { After::Hang } else { roll.after }))
}

fn check<'r>(request: &'r SmsRequest<'_>, needs_stop_code: bool) -> Result<Sms<'r>, Refusal> {
    check_sender(given(&request.sender).ok_or_else(|| Refusal::missing("sender is missing"))?)?;
    let recipient = given(&request.recipient).ok_or_else(|| Refusal::missing("recipient is missing"))?;
    let to = recipient.strip_prefix('+').unwrap_or(recipient);
    if !(6..=15).contains(&to.len()) || !to.bytes().all(|c| c.is_ascii_digit()) {
        return Err(Refusal::invalid("Invalid telephone number"));
    }
    let content = match (given(&request.content), request.template_id) {
        (_, Some(id)) => format!("template:{id}:{}", request.params.map_or("", RawValue::get)),
        (Some(content), None) => content.to_owned(),
        (None, None) => return Err(Refusal::missing("content is missing")),
    };
    let marketing = match given(&request.kind) {
        None | Some("transactional") => false,
        Some("marketing") => true,
        Some(_) => return Err(Refusal::invalid("type should be transactional or marketing")),
    };
    if marketing && needs_stop_code && !content.contains("[STOP_CODE]") {
        return Err(Refusal::invalid("content of a marketing SMS should contain [STOP_CODE]"));
    }
    let tags = request.tag.as_ref().map(Tags::list).unwrap_or_default();
    if tags.len() > MAX_TAGS {
        return Err(Refusal::invalid(format!("tag may hold {MAX_TAGS} tags at most")));
    }
    let web_url = given(&request.web_url);
    if web_url.is_some_and(|url| !is_web_url(url)) {
        return Err(Refusal::invalid("webUrl is not valid"));
    }
    let prefixed =
        given(&request.organisation_prefix).map_or_else(String::new, |prefix| format!("{prefix} "));
    let segments = segments(&format!("{prefixed}{content}"), request.unicode_enabled.unwrap_or(false));
    Ok(Sms { to, message_id: message_id(&tags, web_url), content, tags, segments, web_url })
}

fn check_sender(sender: &str) -> Result<(), Refusal> {
    if !sender.bytes().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Refusal::invalid("Only alphanumeric characters are allowed in sender"));
    }
    let longest = if sender.bytes().all(|c| c.is_ascii_digit()) { 15 } else { 11 };
    if sender.len() > longest {
        return Err(Refusal::invalid(format!("sender may have {longest} characters at most")));
    }
    Ok(())
}

/// The sender's own id: a tag that looks like one (`msg_…`), or the last segment of `webUrl` that does; failing both,
/// the first tag, or that segment as it is.
fn message_id<'r>(tags: &[&'r str], web_url: Option<&'r str>) -> &'r str {
    let segment = web_url.and_then(|url| {
        let path = url.split(['?', '#']).next()?.splitn(4, '/').nth(3)?;
        path.trim_end_matches('/').rsplit('/').next()
    });
    let candidates = || tags.iter().copied().chain(segment);
    candidates().find(|id| id.starts_with("msg_")).or_else(|| candidates().next()).unwrap_or_default()
}

fn is_web_url(url: &str) -> bool {
    let scheme = url.starts_with("http://") || url.starts_with("https://");
    scheme && url.parse::<Uri>().is_ok_and(|url| url.host().is_some_and(|host| !host.is_empty()))
}

/// A simulator calls back only to its own machine; other addresses are left to the configured receiver.
fn is_local(url: &str) -> bool {
    url.parse::<Uri>()
        .ok()
        .and_then(|url| url.host().map(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host)))
        .unwrap_or(false)
}
