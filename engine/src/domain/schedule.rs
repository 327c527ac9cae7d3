//! When a campaign is to leave.

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

use super::channel::text_enum;

text_enum! {
    /// How the time is meant.
    ScheduleType {
        /// As soon as somebody launches it.
        Immediate => "immediate",
        /// At one moment for everybody.
        Scheduled => "scheduled",
        /// At a local time, in each recipient's own zone.
        Local => "local",
    }
}

/// When a campaign is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    Immediate,
    At(Timestamp),
    Local(DateTime),
}

/// Why a text is no time of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("is needed with this `scheduleType`")]
    Missing,
    #[error("has no meaning with the `scheduleType` `immediate`: leave it out, or say `scheduled`")]
    NotScheduled,
    #[error("must be a time with its offset from UTC, as in 2026-12-01T09:00:00+04:00 or …Z")]
    NoMoment,
    #[error(
        "must be a local time without an offset, as in 2026-12-01T09:00:00: it is meant in each recipient's own zone"
    )]
    NotLocal,
}

/// No zone is further ahead of UTC: where a local time comes first.
const FIRST_ZONE: Offset = Offset::constant(14);

impl Schedule {
    pub fn parse(kind: ScheduleType, at: Option<&str>) -> Result<Self, ScheduleError> {
        match (kind, at) {
            (ScheduleType::Immediate, None) => Ok(Self::Immediate),
            (ScheduleType::Immediate, Some(_)) => Err(ScheduleError::NotScheduled),
            (_, None) => Err(ScheduleError::Missing),
            (ScheduleType::Scheduled, Some(text)) => {
                text.parse().map(Self::At).map_err(|_| ScheduleError::NoMoment)
            }
            (ScheduleType::Local, Some(text)) => {
                let moment = text.parse::<Timestamp>().is_ok() || text.contains('[');
                let local = text.parse().ok().filter(|_| !moment);
                local.map(Self::Local).ok_or(ScheduleError::NotLocal)
            }
        }
    }

    pub const fn kind(self) -> ScheduleType {
        match self {
            Self::Immediate => ScheduleType::Immediate,
            Self::At(_) => ScheduleType::Scheduled,
            Self::Local(_) => ScheduleType::Local,
        }
    }

    /// As it was asked for.
    pub fn text(self) -> Option<String> {
        match self {
            Self::Immediate => None,
            Self::At(at) => Some(at.to_string()),
            Self::Local(at) => Some(at.to_string()),
        }
    }

    /// When the launch is due: for a local time, when it is that time in the first zone of the world. Chunks of later zones
    /// wait for theirs.
    pub fn due(self) -> Option<Timestamp> {
        match self {
            Self::Immediate => None,
            Self::At(at) => Some(at),
            Self::Local(at) => Some(FIRST_ZONE.to_timestamp(at).unwrap_or(Timestamp::MIN)),
        }
    }

    /// Whether the time has gone by; a local one where the tenant is.
    pub fn is_past(self, now: Timestamp, tenant: &TimeZone) -> bool {
        match self {
            Self::Immediate => false,
            Self::At(at) => at <= now,
            Self::Local(at) => tenant.to_timestamp(at).is_ok_and(|at| at <= now) || at.year() < 1970,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: ScheduleType, text: &str) -> Result<Schedule, ScheduleError> {
        Schedule::parse(kind, Some(text))
    }

    #[test]
    fn a_time_is_of_its_type() {
        let at = parse(ScheduleType::Scheduled, "2026-12-01T09:00:00+04:00").expect("a moment");
        assert_eq!(at.text().as_deref(), Some("2026-12-01T05:00:00Z"));
        let local = parse(ScheduleType::Local, "2026-12-01T09:00:00").expect("a local time");
        assert_eq!(local.text().as_deref(), Some("2026-12-01T09:00:00"));
        assert_eq!(local.due().expect("due").to_string(), "2026-11-30T19:00:00Z");
        for (kind, text, expected) in [
            (ScheduleType::Scheduled, "2026-12-01T09:00:00", ScheduleError::NoMoment),
            (ScheduleType::Scheduled, "tomorrow", ScheduleError::NoMoment),
            (ScheduleType::Local, "2026-12-01T09:00:00Z", ScheduleError::NotLocal),
            (ScheduleType::Local, "2026-12-01T09:00:00+04:00", ScheduleError::NotLocal),
            (ScheduleType::Immediate, "2026-12-01T09:00:00Z", ScheduleError::NotScheduled),
        ] {
            assert_eq!(parse(kind, text), Err(expected), "{kind} {text}");
        }
        assert_eq!(Schedule::parse(ScheduleType::Local, None), Err(ScheduleError::Missing));
    }

    #[test]
    fn what_has_gone_by_is_past() {
        let now: Timestamp = "2026-12-01T06:00:00Z".parse().expect("a moment");
        let mauritius = TimeZone::fixed(Offset::constant(4));
        let past = |kind, text| parse(kind, text).expect("a time").is_past(now, &mauritius);
        assert!(past(ScheduleType::Scheduled, "2026-12-01T06:00:00Z"));
        assert!(!past(ScheduleType::Scheduled, "2026-12-01T06:00:01Z"));
        assert!(past(ScheduleType::Local, "2026-12-01T10:00:00"));
        assert!(!past(ScheduleType::Local, "2026-12-01T10:00:01"));
        assert!(past(ScheduleType::Local, "-009999-01-01T00:00:00"));
    }
}
