//! What a caller may do. A permission is written `thing:verb`; `thing:*` stands for every verb of a thing, and `*` for
//! everything. A role and an API key hold a set of them.
//!
//! Other systems have words of their own for some things (`customers` are contacts): both words mean the same permission.

use std::{collections::BTreeSet, fmt, str::FromStr};

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident => $text:literal,)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission { $($(#[$doc])* $variant,)+ }

        impl Permission {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// As roles, keys, tokens and the documentation of the API write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        /// Each permission as a type, so that the signature of a route says what it needs.
        pub mod needs {
            use super::{Needs, Permission};

            $($(#[$doc])* #[derive(Debug, Clone, Copy)] pub struct $variant;
              impl Needs for $variant { const PERMISSION: Permission = Permission::$variant; })+
        }
    };
}

/// A type that stands for a permission.
pub trait Needs: 'static {
    const PERMISSION: Permission;
}

permissions! {
    ContactsRead => "contacts:read",
    ContactsCreate => "contacts:create",
    ContactsUpdate => "contacts:update",
    ContactsDelete => "contacts:delete",
    SuppressionsRead => "suppressions:read",
    SuppressionsUpdate => "suppressions:update",
    UploadsRead => "uploads:read",
    UploadsCreate => "uploads:create",
    UploadsDelete => "uploads:delete",
    TemplatesRead => "templates:read",
    TemplatesCreate => "templates:create",
    TemplatesPublish => "templates:publish",
    CampaignsRead => "campaigns:read",
    CampaignsCreate => "campaigns:create",
    CampaignsUpdate => "campaigns:update",
    CampaignsApprove => "campaigns:approve",
    CampaignsLaunch => "campaigns:launch",
    MessagesRead => "messages:read",
    MessagesSend => "messages:send",
    NotificationsRead => "notifications:read",
    NotificationsBroadcast => "notifications:broadcast",
    AccountsRead => "accounts:read",
    AccountsUpdate => "accounts:update",
    ReportsRead => "reports:read",
    UsersRead => "users:read",
    UsersUpdate => "users:update",
    RolesUpdate => "roles:update",
    KeysUpdate => "keys:update",
    AuditRead => "audit:read",
    SettingsUpdate => "settings:update",
    PaymentPlansRead => "payment_plans:read",
    PaymentPlansCreate => "payment_plans:create",
    QrCodesGenerate => "qr_codes:generate",
    AodCreate => "aod:create",
    CslPoliciesRead => "csl_policies:read",
    CslInteractionsCreate => "csl_interactions:create",
    CslReportsRead => "csl_reports:read",
}

/// Words of other systems for our things.
const SYNONYMS: &[(&str, &str)] =
    &[("customers", "contacts"), ("files", "uploads"), ("communication", "messages")];

/// A text that is no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no permission: write `thing:verb`, `thing:*` or `*`")]
pub struct UnknownPermission(String);

/// One entry of a set, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(String);

impl Entry {
    fn covers(&self, permission: Permission) -> bool {
        let (Some((thing, verb)), Some((wanted_thing, wanted_verb))) =
            (self.0.split_once(':'), permission.as_str().split_once(':'))
        else {
            return self.0 == "*";
        };
        ours(thing) == wanted_thing && (verb == "*" || verb == wanted_verb)
    }
}

fn ours(thing: &str) -> &str {
    SYNONYMS.iter().find(|(theirs, _)| *theirs == thing).map_or(thing, |(_, ours)| ours)
}

/// What a role or a key allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions(BTreeSet<Entry>);

impl Permissions {
    /// All of them must be known: a set with a misspelt entry allows less than its author thinks.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, UnknownPermission> {
        texts.into_iter().map(|text| entry(text.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// As it stands in the database, where it was checked before; entries that this version does not know allow nothing.
    pub fn stored(texts: Vec<String>) -> Self {
        Self(texts.into_iter().map(Entry).collect())
    }

    pub fn allows(&self, permission: Permission) -> bool {
        self.0.iter().any(|entry| entry.covers(permission))
    }

    /// Whether everything that `other` allows is allowed here too: nobody gives away what they do not have.
    pub fn includes(&self, other: &Self) -> bool {
        Permission::ALL.iter().all(|&permission| self.allows(permission) || !other.allows(permission))
    }

    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(|entry| entry.0.clone()).collect()
    }
}

fn entry(text: &str) -> Result<Entry, UnknownPermission> {
    let entry = Entry(text.to_owned());
    let known = Permission::ALL.iter().any(|&permission| entry.covers(permission));
    if known { Ok(entry) } else { Err(UnknownPermission(text.chars().take(64).collect())) }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = UnknownPermission;
    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.as_str() == text)
            .ok_or_else(|| UnknownPermission(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> Permissions {
        Permissions::parse(texts).expect("known")
    }

    #[test]
    fn a_star_is_everything_of_its_kind() {
        assert!(Permission::ALL.iter().all(|&permission| set(&["*"]).allows(permission)));
        let contacts = set(&["contacts:*"]);
        assert!(contacts.allows(Permission::ContactsDelete) && !contacts.allows(Permission::CampaignsRead));
        assert!(!set(&["contacts:read"]).allows(Permission::ContactsUpdate));
    }

    #[test]
    fn words_of_other_systems_mean_the_same() {
        let agent =
            ["customers:read", "customers:update", "payment_plans:create", "qr_codes:generate", "aod:create"];
        assert!(set(&agent).allows(Permission::ContactsUpdate));
        assert!(set(&agent).allows(Permission::AodCreate));
        assert!(!set(&agent).allows(Permission::ContactsDelete));
        assert_eq!(set(&agent).texts().len(), agent.len());
        set(&["csl_policies:read", "csl_interactions:create", "csl_reports:read"]);
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for text in ["contact:read", "contacts", "contacts:", ":read", "**", "", "contacts:Read"] {
            let error = Permissions::parse([text]).expect_err(text);
            assert!(error.to_string().contains(text));
        }
    }

    #[test]
    fn nobody_gives_away_what_they_do_not_have() {
        assert!(set(&["*"]).includes(&set(&["users:update"])));
        assert!(set(&["contacts:*"]).includes(&set(&["customers:read"])));
        assert!(!set(&["contacts:read"]).includes(&set(&["contacts:*"])));
    }
}
