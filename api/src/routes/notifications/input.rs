//! What comes in about notifications, and what of it can't be taken.

use std::collections::{BTreeMap, BTreeSet};

use fanfare_engine::{
    domain::channel::Channel,
    id::{NotificationId, RoleId, TenantId, UserId},
    store::{
        notifications::{Hearers, Preference},
        roles,
    },
};
use fanfare_templates::Priority;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::http::problem::{FieldError, Problem};

/// What concerns the use of the system itself: everybody sees it.
const SYSTEM: &str = "system";
/// Types that preferences show even if nothing was said about them.
const USUAL: [&str; 6] = ["policy", "payment", "commission", "withdrawal", "claim", SYSTEM];
const TITLE: usize = 255;
const MESSAGE: usize = 10_000;
/// Of `data`, as JSON.
const DATA_BYTES: usize = 16 << 10;
/// Single users of one request; more are a role or a branch.
const USERS: usize = 100;
const NAMED: usize = 100;
const LONGEST_NAME: usize = 200;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewBroadcast {
    /// `policy`, `payment`, `commission`, `withdrawal`, `claim`, `system`, or a word of your own.
    #[serde(rename = "type", default = "system")]
    #[schema(pattern = "^[a-z][a-z0-9_]{0,49}$", default = "system")]
    pub(super) kind: String,
    #[schema(min_length = 1, max_length = 255)]
    pub(super) title: String,
    #[schema(min_length = 1, max_length = 10_000)]
    pub(super) message: String,
    /// What the application needs beside the texts; at most 16 kB of JSON.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(super) data: Map<String, Value>,
    /// `low`, `medium`, `high` or `urgent`; `medium` if not said.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "medium")]
    pub(super) priority: Priority,
    /// RFC 3339; after a year if not said.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) expires_at: Option<Timestamp>,
    /// All of the staff if not said.
    #[serde(default)]
    pub(super) audience: NamedAudience,
}

fn system() -> String {
    SYSTEM.to_owned()
}

/// Whom it is for. Users either one by one, or by roles and branches.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct NamedAudience {
    /// Users who are no customers; true if not said.
    staff: bool,
    /// Of the staff only those who have one of these roles: slugs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    /// Of these only those of these branches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    branches: Vec<String>,
    /// Users of the role `customer`.
    customers: bool,
    /// These users, and nobody else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    users: Vec<UserId>,
}

impl Default for NamedAudience {
    fn default() -> Self {
        Self { staff: true, roles: Vec::new(), branches: Vec::new(), customers: false, users: Vec::new() }
    }
}

/// A checked [`NamedAudience`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Audience {
    Users(Vec<UserId>),
    Hearers(NamedHearers),
}

/// Roles by their slugs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedHearers {
    staff: bool,
    roles: Vec<String>,
    branches: Vec<String>,
    customers: bool,
}

impl NewBroadcast {
    /// Everything that is wrong with it, at once.
    pub(super) fn check(&self, now: Timestamp) -> Result<Audience, Problem> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: &str| {
            errors.push(FieldError { field: field.to_owned(), message: message.to_owned() });
        };
        if !is_kind(&self.kind) {
            wrong("type", KIND_RULE);
        }
        if !sound(&self.title, TITLE) {
            wrong("title", "must have 1 to 255 characters, none of them NUL");
        }
        if !sound(&self.message, MESSAGE) {
            wrong("message", "must have 1 to 10000 characters, none of them NUL");
        }
        if serde_json::to_vec(&self.data).map_or(true, |json| json.len() > DATA_BYTES) {
            wrong("data", "must be at most 16 kB of JSON");
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            wrong("expiresAt", "must be later than now");
        }
        if let Err(message) = self.audience.check() {
            wrong(message.0, message.1);
        }
        if !errors.is_empty() {
            return Err(Problem::fields(errors));
        }
        let NamedAudience { staff, roles, branches, customers, users } = self.audience.clone();
        if users.is_empty() {
            return Ok(Audience::Hearers(NamedHearers { staff, roles, branches, customers }));
        }
        let users: BTreeSet<UserId> = users.into_iter().collect();
        Ok(Audience::Users(users.into_iter().collect()))
    }
}

impl NamedAudience {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let narrowed = !self.roles.is_empty() || !self.branches.is_empty();
        if !self.users.is_empty() && (narrowed || self.customers) {
            return Err(("audience.users", "names single users: leave out roles, branches and customers"));
        }
        if self.users.len() > USERS {
            return Err(("audience.users", "has more than 100: address a role or a branch"));
        }
        if self.users.is_empty() && !self.staff && !self.customers {
            return Err(("audience", "is nobody: say staff, customers or users"));
        }
        if !self.staff && narrowed {
            return Err(("audience.staff", "is false, but roles or branches of the staff are named"));
        }
        if self.roles.len() > NAMED || self.branches.len() > NAMED {
            return Err(("audience", "names more than 100 roles or branches"));
        }
        if !self.branches.iter().all(|branch| sound(branch, LONGEST_NAME)) {
            return Err(("audience.branches", "must each have 1 to 200 characters, none of them NUL"));
        }
        Ok(())
    }
}

impl NamedHearers {
    /// Finds the roles; one that there is not is an error that names it.
    pub(super) async fn resolve(self, tx: &mut PgConnection, tenant: TenantId) -> Result<Hearers, Problem> {
        let known: BTreeMap<String, RoleId> =
            roles::list(tx, tenant).await?.into_iter().map(|role| (role.slug, role.id)).collect();
        let mut errors = Vec::new();
        let mut found = Vec::new();
        for (at, slug) in self.roles.iter().enumerate() {
            match known.get(slug) {
                Some(&id) => found.push(id),
                None => errors.push(FieldError {
                    field: format!("audience.roles[{at}]"),
                    message: "is the slug of no role; `GET /api/roles` lists them".to_owned(),
                }),
            }
        }
        if errors.is_empty() {
            Ok(Hearers {
                staff: self.staff,
                roles: found,
                branches: self.branches,
                customers: self.customers,
            })
        } else {
            Err(Problem::fields(errors))
        }
    }
}

/// A user whom the tenant does not have is an error that names them; nobody is told then.
pub(super) fn all_known(told: &[(NotificationId, UserId)], reached: &[UserId]) -> Result<(), Problem> {
    let errors: Vec<FieldError> = told
        .iter()
        .filter(|(_, user)| !reached.contains(user))
        .map(|(_, user)| FieldError {
            field: "audience.users".to_owned(),
            message: format!("{user} is no user"),
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::fields(errors)) }
}

const KIND_RULE: &str = "must begin with a letter a-z and go on with a-z, 0-9 and _, 50 at most";

pub(super) fn kind(field: &str, text: &str) -> Result<(), Problem> {
    if is_kind(text) { Ok(()) } else { Err(Problem::field(field, KIND_RULE)) }
}

fn is_kind(text: &str) -> bool {
    text.len() <= 50
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn sound(text: &str, most: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= most
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Preferences {
    /// At most 100.
    preferences: Vec<PreferenceView>,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PreferenceView {
    #[serde(rename = "type")]
    #[schema(pattern = "^[a-z][a-z0-9_]{0,49}$")]
    kind: String,
    /// Of `email`, `sms`, `whatsapp`, `in_app`; none: not at all.
    #[schema(value_type = Vec<String>)]
    channels: Vec<Channel>,
}

impl From<Preference> for PreferenceView {
    fn from(said: Preference) -> Self {
        Self { kind: said.kind, channels: said.channels }
    }
}

impl Preferences {
    /// What was said, and of the usual types what holds where nothing was.
    pub(super) fn with_usual(said: Vec<Preference>) -> Self {
        let all = |kind: &str| (kind.to_owned(), Channel::ALL.to_vec());
        let mut by_kind: BTreeMap<String, Vec<Channel>> = USUAL.into_iter().map(all).collect();
        by_kind.extend(said.into_iter().map(|preference| (preference.kind, preference.channels)));
        let preferences = by_kind.into_iter().map(|(kind, channels)| PreferenceView { kind, channels });
        Self { preferences: preferences.collect() }
    }

    pub(super) fn check(self) -> Result<Vec<Preference>, Problem> {
        if self.preferences.len() > NAMED {
            return Err(Problem::field("preferences", "has more than 100 types"));
        }
        let (mut errors, mut seen) = (Vec::new(), BTreeSet::new());
        for (at, preference) in self.preferences.iter().enumerate() {
            let mut wrong = |what: &str, message: &str| {
                errors.push(FieldError {
                    field: format!("preferences[{at}].{what}"),
                    message: message.to_owned(),
                });
            };
            if !is_kind(&preference.kind) {
                wrong("type", KIND_RULE);
            }
            if !seen.insert(preference.kind.as_str()) {
                wrong("type", "is there twice");
            }
            if preference.kind == SYSTEM && !preference.channels.contains(&Channel::InApp) {
                wrong("channels", "must hold in_app: what concerns the system itself is always shown");
            }
        }
        if !errors.is_empty() {
            return Err(Problem::fields(errors));
        }
        let distinct =
            |channels: Vec<Channel>| channels.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        Ok(self
            .preferences
            .into_iter()
            .map(|view| Preference { kind: view.kind, channels: distinct(view.channels) })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().expect("a time")
    }

    fn checked(change: Value) -> Result<Audience, Problem> {
        let mut body = json!({"title": "Maintenance", "message": "Saturday, 20:00"});
        body.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        serde_json::from_value::<NewBroadcast>(body).expect("of the right kinds").check(now())
    }

    #[test]
    fn what_is_not_said_is_all_of_the_staff() {
        let everybody =
            NamedHearers { staff: true, roles: Vec::new(), branches: Vec::new(), customers: false };
        assert_eq!(checked(json!({})), Ok(Audience::Hearers(everybody.clone())));
        let customers_too = checked(json!({"audience": {"customers": true}}));
        assert_eq!(customers_too, Ok(Audience::Hearers(NamedHearers { customers: true, ..everybody })));
    }

    #[test]
    fn each_fault_is_named() {
        let user = UserId::from_uuid(uuid::Uuid::nil());
        let faults = [
            (json!({"type": "System"}), "type"),
            (json!({"title": ""}), "title"),
            (json!({"title": "x".repeat(256)}), "title"),
            (json!({"data": {"a": "x".repeat(DATA_BYTES)}}), "data"),
            (json!({"expiresAt": "2026-11-21T12:00:00Z"}), "expiresAt"),
            (json!({"audience": {"staff": false}}), "audience"),
            (json!({"audience": {"staff": false, "roles": ["sre"], "customers": true}}), "audience.staff"),
            (json!({"audience": {"users": [user], "customers": true}}), "audience.users"),
            (json!({"audience": {"branches": [""]}}), "audience.branches"),
        ];
        for (change, field) in faults {
            let problem = checked(change.clone()).expect_err(field);
            assert!(format!("{problem:?}").contains(&format!("field: \"{field}\"")), "{change}: {problem:?}");
        }
        assert_eq!(checked(json!({"audience": {"users": [user, user]}})), Ok(Audience::Users(vec![user])));
    }

    #[test]
    fn nobody_opts_out_of_the_system_itself() {
        let wanted = |kind: &str, channels: Value| {
            let body = json!({"preferences": [{"type": kind, "channels": channels}]});
            serde_json::from_value::<Preferences>(body).expect("of the right kinds").check()
        };
        assert!(wanted(SYSTEM, json!(["email"])).is_err());
        let none = Preference { kind: "payment".to_owned(), channels: Vec::new() };
        assert_eq!(wanted("payment", json!([])), Ok(vec![none]));
        let once = wanted("claim", json!(["sms", "in_app", "sms"])).expect("sound");
        assert_eq!(once[0].channels, [Channel::Sms, Channel::InApp]);
    }
}
