//! The event logs: `GET /v3/smtp/statistics/events` and `GET /v3/transactionalSMS/statistics/events`. They tell what
//! happened to the messages that the audit holds, worked out from each message's fate; so they answer also when no
//! webhook is configured, or when one was lost.

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refusal, query, refuse, stranger, with_quota};
use crate::audit::{Fate, LogFilter, Logged};
use crate::clock::timestamp;
use crate::faults::RetryAfter;
use crate::reply;
use crate::world::{BrevoDesk, World};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    limit: Option<usize>,
    offset: usize,
    start_date: Option<String>,
    end_date: Option<String>,
    days: Option<u32>,
    email: Option<String>,
    phone_number: Option<String>,
    event: Option<String>,
    tags: Option<String>,
    message_id: Option<String>,
    sort: Option<String>,
}

/// What differs between the two logs.
struct Log {
    default_limit: usize,
    max_limit: usize,
    events: &'static [&'static str],
    of: fn(Fate) -> &'static [&'static str],
}

const EMAIL: Log = Log {
    default_limit: 2_500,
    max_limit: 5_000,
    events: &[
        "bounces",
        "hardBounces",
        "softBounces",
        "delivered",
        "spam",
        "requests",
        "opened",
        "clicks",
        "invalid",
        "deferred",
        "blocked",
        "unsubscribed",
        "error",
        "loadedByProxy",
    ],
    of: |fate| match fate {
        Fate::Delivered | Fate::Failed | Fate::Replied => &["requests", "delivered"],
        Fate::HardBounced => &["requests", "hardBounces"],
        Fate::SoftBounced => &["requests", "softBounces"],
        Fate::Blocked => &["requests", "blocked"],
        Fate::Invalid => &["requests", "invalid"],
        Fate::Spam => &["requests", "delivered", "spam"],
        Fate::Unsubscribed => &["requests", "delivered", "unsubscribed"],
    },
};

const SMS: Log = Log {
    default_limit: 50,
    max_limit: 100,
    events: &[
        "bounces",
        "hardBounces",
        "softBounces",
        "delivered",
        "sent",
        "accepted",
        "unsubscription",
        "replies",
        "blocked",
        "rejected",
        "skipped",
    ],
    of: |fate| match fate {
        Fate::Delivered => &["sent", "delivered"],
        Fate::HardBounced | Fate::Failed | Fate::Invalid => &["sent", "hardBounces"],
        Fate::SoftBounced => &["sent", "softBounces"],
        Fate::Blocked | Fate::Spam => &["blocked"],
        Fate::Unsubscribed | Fate::Replied => &["sent", "delivered", "replies", "unsubscription"],
    },
};

/// One event of one message.
struct Happened<'m> {
    message: &'m Logged,
    event: &'static str,
    at_us: u64,
}

/// Events of one message are this far apart.
const GAP_US: u64 = 1_000;
const DAY_US: u64 = 86_400_000_000;

pub(crate) fn email(world: &World, headers: &HeaderMap, uri: &Uri) -> Response<Body> {
    let Some(desk) = world.brevo_desk(headers) else { return stranger() };
    let quota = desk.events_limit.admit(&world.clock);
    let answer = if quota.admitted { list_email(world, desk, uri) } else { Err(Refusal::too_many()) };
    let response = match answer {
        Ok(events) => reply::json(StatusCode::OK, json!({ "events": events }).to_string()),
        Err(refusal) => refuse(world, &refusal, RetryAfter::Absent),
    };
    with_quota(response, quota)
}

pub(crate) fn sms(world: &World, headers: &HeaderMap, uri: &Uri) -> Response<Body> {
    let Some(desk) = world.brevo_desk(headers) else { return stranger() };
    let response = match list_sms(world, desk, uri) {
        Ok(events) => reply::json(StatusCode::OK, json!({ "events": events }).to_string()),
        Err(refusal) => refuse(world, &refusal, RetryAfter::Absent),
    };
    with_quota(response, desk.sms_limit.peek(&world.clock))
}

fn list_email(world: &World, desk: &BrevoDesk, uri: &Uri) -> Result<Vec<Value>, Refusal> {
    let wanted: Wanted = query(uri)?;
    let mut filter = filter(world, &wanted)?;
    filter.address.clone_from(&wanted.email);
    if let Some(id) = &wanted.message_id {
        let Some(serial) = world.audit.ids().email_serial(id) else { return Ok(Vec::new()) };
        filter.serial = Some(serial);
    }
    let messages = world.audit.log(desk.email, &filter, usize::MAX);
    let events = EMAIL.select(&wanted, &messages)?;
    Ok(events
        .iter()
        .map(|happened| {
            let message = happened.message;
            let wall_us = world.clock.wall_us(message.at_us);
            let mut event = json!({
                "date": date(world, happened.at_us),
                "email": message.address,
                "event": happened.event,
                "messageId": world.audit.ids().email(message.serial, wall_us),
            });
            if !message.tags.is_empty() {
                event["tag"] = message.tags.join(",").into();
            }
            event
        })
        .collect())
}

fn list_sms(world: &World, desk: &BrevoDesk, uri: &Uri) -> Result<Vec<Value>, Refusal> {
    let wanted: Wanted = query(uri)?;
    let mut filter = filter(world, &wanted)?;
    filter.address =
        wanted.phone_number.as_ref().map(|number| number.trim_start_matches(['+', ' ']).to_owned());
    let messages = world.audit.log(desk.sms, &filter, usize::MAX);
    let events = SMS.select(&wanted, &messages)?;
    Ok(events
        .iter()
        .map(|happened| {
            let message = happened.message;
            let mut event = json!({
                "date": date(world, happened.at_us),
                "phoneNumber": message.address.parse::<u64>().unwrap_or_default(),
                "event": happened.event,
                "messageId": world.audit.ids().sms(message.serial).to_string(),
            });
            if let Some(tag) = message.tags.first() {
                event["tag"] = tag.as_str().into();
            }
            if happened.event == "replies" {
                event["reply"] = "STOP".into();
            }
            event
        })
        .collect())
}

fn date(world: &World, at_us: u64) -> String {
    timestamp(world.clock.wall_us(at_us)).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// The times and tags of a query; both dates or neither, 90 days at most.
fn filter(world: &World, wanted: &Wanted) -> Result<LogFilter, Refusal> {
    let started = world.clock.wall_us(0);
    let day = |text: &str, field: &str| -> Result<u64, Refusal> {
        let date: jiff::civil::Date =
            text.parse().map_err(|_| Refusal::invalid(format!("{field} is not a date (YYYY-MM-DD)")))?;
        let at = date
            .to_zoned(jiff::tz::TimeZone::UTC)
            .map_err(|_| Refusal::invalid(format!("{field} is not valid")))?;
        Ok(u64::try_from(at.timestamp().as_microsecond()).unwrap_or_default())
    };
    let (from, to) = match (&wanted.start_date, &wanted.end_date) {
        (Some(start), Some(end)) => (day(start, "startDate")?, day(end, "endDate")? + DAY_US - 1),
        (None, None) => (0, u64::MAX),
        _ => return Err(Refusal::missing("startDate and endDate are needed together")),
    };
    if from > to {
        return Err(Refusal::invalid("startDate is after endDate"));
    }
    if wanted.days.is_some_and(|days| days > 90) || (to != u64::MAX && to - from > 90 * DAY_US) {
        return Err(Refusal::out_of_range("the range may be 90 days at most"));
    }
    let tags = wanted.tags.as_deref().unwrap_or_default();
    let tags = serde_json::from_str(tags).unwrap_or_else(|_| {
        tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
    });
    Ok(LogFilter {
        tags,
        from_us: from.saturating_sub(started),
        to_us: to.saturating_sub(started),
        ..LogFilter::default()
    })
}

impl Log {
    fn select<'m>(&self, wanted: &Wanted, messages: &'m [Logged]) -> Result<Vec<Happened<'m>>, Refusal> {
        if let Some(event) = wanted.event.as_deref()
            && !self.events.contains(&event)
        {
            return Err(Refusal::invalid("event is not valid"));
        }
        let limit = wanted.limit.unwrap_or(self.default_limit);
        if limit > self.max_limit {
            return Err(Refusal::out_of_range(format!("limit may be {} at most", self.max_limit)));
        }
        let mut events: Vec<_> = messages
            .iter()
            .flat_map(|message| {
                (self.of)(message.fate).iter().zip(0_u64..).map(move |(event, place)| Happened {
                    message,
                    event,
                    at_us: message.at_us + place * GAP_US,
                })
            })
            .filter(|happened| wanted.event.as_deref().is_none_or(|event| covers(event, happened.event)))
            .collect();
        match wanted.sort.as_deref() {
            None | Some("desc") => events.sort_by_key(|happened| std::cmp::Reverse(happened.at_us)),
            Some("asc") => events.sort_by_key(|happened| happened.at_us),
            Some(_) => return Err(Refusal::invalid("sort should be asc or desc")),
        }
        Ok(events.into_iter().skip(wanted.offset).take(limit).collect())
    }
}

/// `bounces` asks for both kinds.
fn covers(wanted: &str, event: &str) -> bool {
    wanted == event || (wanted == "bounces" && ["hardBounces", "softBounces"].contains(&event))
}
