//! What people say of a campaign, checked: every field that can't be taken is named, all of them at once.

use fanfare_engine::{
    domain::{
        channel::Channel,
        schedule::{Schedule, ScheduleType},
    },
    id::UploadId,
    store::{
        campaigns::{AllContacts, Audience, Tracking},
        sheets::{ConversionRule, Sheet},
    },
};
use jiff::{Timestamp, civil::Time, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::wish::Wish;
use crate::http::problem::{FieldError, Problem};

/// Room is left for the channel, which is added to the name of each of several campaigns.
const LONGEST_NAME: usize = 200;
const LONGEST_KEY: usize = 500;
const MOST_HOURS: i32 = 2_160;
/// More than any account takes.
const FASTEST: i32 = 6_000_000;
const USUAL_HOURS: i32 = 168;
const MOST_KINDS: usize = 20;

/// One channel, or several of them.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Channels {
    One(String),
    Several(Vec<String>),
}

/// A template for each channel: its id or its slug.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelTemplates {
    email: Option<String>,
    sms: Option<String>,
    whatsapp: Option<String>,
    in_app: Option<String>,
}

impl ChannelTemplates {
    fn of(&self, channel: Channel) -> Option<&str> {
        let name = match channel {
            Channel::Email => &self.email,
            Channel::Sms => &self.sms,
            Channel::Whatsapp => &self.whatsapp,
            Channel::InApp => &self.in_app,
        };
        name.as_deref()
    }
}

/// Whom it goes to, of the upload, or of all contacts without one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum TargetAudience {
    #[default]
    All,
}

/// Local hours of each recipient within which messages leave; they may span midnight.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendingHours {
    #[schema(example = "08:00")]
    pub(super) from: String,
    #[schema(example = "19:00")]
    pub(super) to: String,
}

/// What counts as a conversion.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ConversionInput {
    /// For so long after the message: 1 to 2160; 168, a week, if not said.
    #[schema(minimum = 1, maximum = 2160)]
    pub(super) within_hours: Option<i32>,
    /// `payment`, `renewal` or names of events; any kind if not said.
    #[schema(max_items = 20)]
    pub(super) kinds: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewCampaigns {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// `email`, `sms`, `whatsapp` or `in_app`, or several of them: a campaign for each. `in_app` puts a notification where
    /// those find it who sign in as a contact.
    #[serde(rename = "type")]
    channels: Channels,
    /// To the rows of this upload; to all contacts without one.
    #[schema(value_type = Option<String>, example = "upl_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    upload_id: Option<UploadId>,
    templates: ChannelTemplates,
    /// `immediate`: leaves at once. `scheduled`: at `scheduledAt`. `local`: at that local time in each recipient's own zone.
    /// Not said: stays a draft, or with `scheduledAt` is scheduled.
    #[schema(value_type = Option<String>)]
    schedule_type: Option<ScheduleType>,
    /// RFC 3339; for `local` a time without an offset, as in 2026-12-01T09:00:00. Must be to come.
    scheduled_at: Option<String>,
    #[serde(default)]
    target_audience: TargetAudience,
    /// What makes a message unique to the business, as in `policy:{policy_number}:renewal-2026`: it is sent once for each.
    #[schema(max_length = 500)]
    business_key: Option<String>,
    sending_hours: Option<SendingHours>,
    /// Messages that leave in a minute, at most; as many as its account takes if not said.
    #[schema(minimum = 1, maximum = 6_000_000, example = 600)]
    throttle_per_minute: Option<i32>,
    conversion: Option<ConversionInput>,
    /// Links of e-mails, and those of SMS that are written `{{short_link url}}`, lead over this service, so that clicks are
    /// counted. False if not said.
    #[serde(default)]
    track_links: bool,
    /// E-mails hold a picture that tells that they were opened. False if not said.
    #[serde(default)]
    track_opens: bool,
}

/// Says whether a field was there at all: null takes away, absent leaves.
fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What is to be different; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CampaignChange {
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    /// Id or slug of a template for this campaign's channel.
    template: Option<String>,
    /// Null: to all contacts.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    upload_id: Option<Option<UploadId>>,
    target_audience: Option<TargetAudience>,
    /// `immediate` takes a schedule away.
    #[schema(value_type = Option<String>)]
    schedule_type: Option<ScheduleType>,
    scheduled_at: Option<String>,
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>, max_length = 500)]
    business_key: Option<Option<String>>,
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<SendingHours>)]
    sending_hours: Option<Option<SendingHours>>,
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 6_000_000)]
    throttle_per_minute: Option<Option<i32>>,
    conversion: Option<ConversionInput>,
    track_links: Option<bool>,
    track_opens: Option<bool>,
}

/// What is wrong with a request.
#[derive(Debug, Default)]
pub(super) struct Wrong(Vec<FieldError>);

impl Wrong {
    pub(super) fn note(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { field: field.into(), message: message.into() });
    }

    /// The value, or what was wrong with it is noted.
    fn keep<T, E: ToString>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.note(field, error.to_string())).ok()
    }

    pub(super) fn end(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::fields(self.0)) }
    }
}

/// A text that Postgres can hold, of 1 to `most` characters.
pub(super) fn text(text: &str, most: usize) -> Result<(), String> {
    if text.contains('\0') {
        return Err("must not hold the character U+0000".to_owned());
    }
    if text.trim().is_empty() || text.chars().count() > most {
        return Err(format!("must have 1 to {most} characters"));
    }
    Ok(())
}

/// What times are judged by.
#[derive(Debug, Clone)]
pub(super) struct Clockwork {
    pub(super) now: Timestamp,
    /// The tenant's.
    pub(super) zone: TimeZone,
    /// Whether links and opens can be counted at all.
    pub(super) tracks: bool,
}

impl NewCampaigns {
    pub(super) fn read(self, clock: &Clockwork) -> Result<Wish, Problem> {
        let mut wrong = Wrong::default();
        wrong.keep("name", text(&self.name, LONGEST_NAME));
        let channels = self.channels(&mut wrong);
        let kind = self.schedule_type.or(self.scheduled_at.as_ref().map(|_| ScheduleType::Scheduled));
        let schedule = schedule(&mut wrong, clock, kind, self.scheduled_at.as_deref());
        if let Some(key) = &self.business_key {
            wrong.keep("businessKey", text(key, LONGEST_KEY));
        }
        let window = self.sending_hours.as_ref().and_then(|hours| window(&mut wrong, hours));
        throttle(&mut wrong, self.throttle_per_minute);
        let conversion = conversion(&mut wrong, self.conversion.as_ref(), None);
        let tracking = Tracking { links: self.track_links, opens: self.track_opens };
        trackable(&mut wrong, clock, tracking);
        wrong.end()?;
        Ok(Wish {
            name: self.name,
            audience: match self.target_audience {
                TargetAudience::All => audience(self.upload_id),
            },
            business_key: self.business_key,
            window,
            throttle_per_minute: self.throttle_per_minute,
            schedule,
            conversion,
            tracking,
            leaves: kind.is_some(),
            channels,
        })
    }

    fn channels(&self, wrong: &mut Wrong) -> Vec<(Channel, String)> {
        let named: Vec<(String, &String)> = match &self.channels {
            Channels::One(name) => vec![("type".to_owned(), name)],
            Channels::Several(names) => {
                names.iter().enumerate().map(|(at, name)| (format!("type[{at}]"), name)).collect()
            }
        };
        if named.is_empty() || named.len() > Channel::ALL.len() {
            wrong.note("type", "must name one to four channels: email, sms, whatsapp, in_app");
        }
        let mut channels: Vec<(Channel, String)> = Vec::new();
        for (field, name) in named.into_iter().take(Channel::ALL.len()) {
            let Some(channel) =
                wrong.keep(&field, name.chars().take(64).collect::<String>().parse::<Channel>())
            else {
                continue;
            };
            if channels.iter().any(|(known, _)| *known == channel) {
                wrong.note(field, "is named twice");
            } else if let Some(template) = self.templates.of(channel) {
                channels.push((channel, template.to_owned()));
            } else {
                wrong.note(
                    format!("templates.{channel}"),
                    "is needed: the id or the slug of a template for this channel",
                );
            }
        }
        for &channel in Channel::ALL {
            if self.templates.of(channel).is_some() && channels.iter().all(|(known, _)| *known != channel) {
                wrong.note(format!("templates.{channel}"), "is for a channel that `type` does not name");
            }
        }
        channels
    }
}

impl CampaignChange {
    /// The campaign as it would be.
    pub(super) fn read(self, sheet: &Sheet, clock: &Clockwork) -> Result<Wish, Problem> {
        let mut wrong = Wrong::default();
        if let Some(name) = &self.name {
            wrong.keep("name", text(name, 255));
        }
        let schedule = if self.schedule_type.is_none() && self.scheduled_at.is_none() {
            sheet.schedule
        } else {
            let usual = match sheet.schedule.kind() {
                ScheduleType::Local => ScheduleType::Local,
                _ => ScheduleType::Scheduled,
            };
            let kind = self.schedule_type.unwrap_or(usual);
            schedule(&mut wrong, clock, Some(kind), self.scheduled_at.as_deref())
        };
        let business_key = self.business_key.unwrap_or_else(|| sheet.business_key.clone());
        if let Some(key) = &business_key {
            wrong.keep("businessKey", text(key, LONGEST_KEY));
        }
        let window = match &self.sending_hours {
            None => sheet.window,
            Some(hours) => hours.as_ref().and_then(|hours| window(&mut wrong, hours)),
        };
        let throttle_per_minute = self.throttle_per_minute.unwrap_or(sheet.throttle_per_minute);
        throttle(&mut wrong, throttle_per_minute);
        let conversion = conversion(&mut wrong, self.conversion.as_ref(), Some(&sheet.conversion));
        let tracking = Tracking {
            links: self.track_links.unwrap_or(sheet.tracking.links),
            opens: self.track_opens.unwrap_or(sheet.tracking.opens),
        };
        trackable(&mut wrong, clock, tracking);
        wrong.end()?;
        let TargetAudience::All = self.target_audience.unwrap_or_default();
        let all = Audience::Contacts(AllContacts::All);
        Ok(Wish {
            name: self.name.unwrap_or_else(|| sheet.name.clone()),
            audience: self.upload_id.map_or(sheet.audience.unwrap_or(all), audience),
            business_key,
            window,
            throttle_per_minute,
            schedule,
            conversion,
            tracking,
            leaves: false,
            channels: vec![(sheet.channel, self.template.unwrap_or_else(|| sheet.template.to_string()))],
        })
    }
}

fn trackable(wrong: &mut Wrong, clock: &Clockwork, tracking: Tracking) {
    for (field, wanted) in [("trackLinks", tracking.links), ("trackOpens", tracking.opens)] {
        if wanted && !clock.tracks {
            wrong.note(field, "needs an address that recipients reach this service by: `public.base_url`");
        }
    }
}

fn audience(upload: Option<UploadId>) -> Audience {
    upload.map_or(Audience::Contacts(AllContacts::All), Audience::Upload)
}

fn schedule(wrong: &mut Wrong, clock: &Clockwork, kind: Option<ScheduleType>, at: Option<&str>) -> Schedule {
    let Some(kind) = kind else { return Schedule::Immediate };
    let schedule = wrong.keep("scheduledAt", Schedule::parse(kind, at)).unwrap_or(Schedule::Immediate);
    if schedule.is_past(clock.now, &clock.zone) {
        wrong.note("scheduledAt", "has gone by: say a time to come, or `scheduleType` `immediate`");
    }
    schedule
}

fn window(wrong: &mut Wrong, hours: &SendingHours) -> Option<(Time, Time)> {
    let time = |text: &str| text.parse::<Time>().map_err(|_| "must be a time of day, as in 08:00");
    let from = wrong.keep("sendingHours.from", time(&hours.from))?;
    let to = wrong.keep("sendingHours.to", time(&hours.to))?;
    if from == to {
        wrong.note("sendingHours.to", "must differ from `from`");
    }
    Some((from, to))
}

fn throttle(wrong: &mut Wrong, per_minute: Option<i32>) {
    if per_minute.is_some_and(|messages| !(1..=FASTEST).contains(&messages)) {
        wrong.note("throttlePerMinute", format!("must be between 1 and {FASTEST}"));
    }
}

fn conversion(
    wrong: &mut Wrong,
    input: Option<&ConversionInput>,
    before: Option<&ConversionRule>,
) -> ConversionRule {
    let usual = before.cloned().unwrap_or(ConversionRule { hours: USUAL_HOURS, kinds: None });
    let Some(input) = input else { return usual };
    let hours = input.within_hours.unwrap_or(usual.hours);
    if !(1..=MOST_HOURS).contains(&hours) {
        wrong.note("conversion.withinHours", format!("must be between 1 and {MOST_HOURS}"));
    }
    let kinds = input.kinds.as_ref().map(|kinds| {
        if kinds.is_empty() || kinds.len() > MOST_KINDS {
            wrong.note("conversion.kinds", format!("must name 1 to {MOST_KINDS} kinds"));
        }
        for (at, kind) in kinds.iter().enumerate().take(MOST_KINDS) {
            wrong.keep(&format!("conversion.kinds[{at}]"), event_name(kind));
        }
        kinds.clone()
    });
    ConversionRule { hours, kinds: kinds.or(usual.kinds) }
}

/// The name of something that happens.
pub(super) fn event_name(name: &str) -> Result<(), &'static str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        Ok(())
    } else {
        Err("must be 1 to 64 of a-z, 0-9, `_`, `.` and `-`, as in `payment`, `renewal` or `policy.signed`")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn clock() -> Clockwork {
        Clockwork {
            now: "2024-05-01T00:00:00Z".parse().expect("a moment"),
            zone: TimeZone::UTC,
            tracks: true,
        }
    }

    fn read(change: impl FnOnce(&mut Value)) -> Result<Wish, Problem> {
        let mut sample = json!({
            "name": "May Renewals Campaign", "type": ["email", "whatsapp"],
            "templates": {"email": "template-1", "whatsapp": "template-2"},
            "scheduleType": "scheduled", "scheduledAt": "2024-05-15T14:00:00Z", "targetAudience": "all"
        });
        change(&mut sample);
        serde_json::from_value::<NewCampaigns>(sample).expect("of this shape").read(&clock())
    }

    #[test]
    fn the_sample_is_two_campaigns() {
        let wish = read(|_| {}).expect("good");
        assert_eq!(wish.channels.len(), 2);
        assert!(wish.leaves);
        assert_eq!(wish.schedule.text().as_deref(), Some("2024-05-15T14:00:00Z"));
        let one = read(|sample| {
            sample["type"] = json!("email");
            sample["templates"] = json!({"email": "template-1"});
        });
        assert_eq!(one.expect("good").channels, [(Channel::Email, "template-1".to_owned())]);
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change); 11] = [
            ("name", |s| s["name"] = json!(" ")),
            ("name", |s| s["name"] = json!("a\u{0}b")),
            ("type[1]", |s| s["type"] = json!(["email", "pigeon"])),
            ("type[1]", |s| s["type"] = json!(["email", "email"])),
            ("type", |s| s["type"] = json!([])),
            ("templates.whatsapp", |s| s["templates"] = json!({"email": "t"})),
            ("templates.sms", |s| s["templates"]["sms"] = json!("t")),
            ("scheduledAt", |s| s["scheduledAt"] = json!("2024-04-30T23:59:59Z")),
            ("scheduledAt", |s| s["scheduledAt"] = json!("soon")),
            ("sendingHours.to", |s| s["sendingHours"] = json!({"from": "08:00", "to": "08:00"})),
            ("conversion.kinds[0]", |s| s["conversion"] = json!({"kinds": ["Pay ment"]})),
        ];
        for (field, change) in cases {
            let problem = read(change).expect_err(field);
            let named = format!("field: \"{field}\"");
            assert!(format!("{problem:?}").contains(&named), "{field}: {problem:?}");
        }
    }
}
