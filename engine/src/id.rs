//! Typed identifiers.
//!
//! Every row's id is a UUIDv7 behind [`Id<Kind>`], so that ids of different kinds can't be mixed up and partitions can
//! follow the moment an id was made. In text an id bears its kind: `camp_01jd…` (26 characters of Crockford's base32).
//!
//! A message has no row of its own: its id is the pair (campaign, recipient number) and is written `msg_…`. Providers
//! echo it back in their webhooks, which therefore find the rows by primary key.

use std::{fmt, hash::Hash, marker::PhantomData, str::FromStr, sync::Mutex};

use jiff::Timestamp;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// What an [`Id`] identifies; gives the prefix of its text form.
pub trait Kind: 'static {
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($name:ident, $alias:ident => $prefix:literal;)+) => {
        /// The kinds of things that bear an id.
        pub mod kind {
            $(#[derive(Debug, Clone, Copy)] pub struct $name;
              impl super::Kind for $name { const PREFIX: &'static str = $prefix; })+
        }
        $(pub type $alias = Id<kind::$name>;)+
    };
}

kinds! {
    Tenant, TenantId => "ten";
    Contact, ContactId => "cont";
    Template, TemplateId => "tmpl";
    TemplateVersion, TemplateVersionId => "tver";
    Upload, UploadId => "upl";
    UploadSession, UploadSessionId => "upls";
    Blob, BlobId => "blob";
    Campaign, CampaignId => "camp";
    Account, AccountId => "acct";
    Process, ProcessId => "proc";
    User, UserId => "usr";
    Role, RoleId => "role";
    Session, SessionId => "sess";
    ApiKey, ApiKeyId => "key";
    Suppression, SuppressionId => "supp";
    Notification, NotificationId => "ntf";
}

/// A UUIDv7 that knows what it identifies.
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

impl<K> Id<K> {
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self { uuid, kind: PhantomData }
    }

    pub const fn uuid(self) -> Uuid {
        self.uuid
    }

    /// The moment by which it sorts, in milliseconds: when it was made.
    pub fn made_at(self) -> Timestamp {
        let [a, b, c, d, e, f, ..] = self.uuid.into_bytes();
        let millis = i64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    /// Ids that were made before this moment, by [`Self::made_at`], sort before it, and no others do.
    pub fn first_at(moment: Timestamp) -> Self {
        let begun = i64::from(moment.subsec_nanosecond() % 1_000_000 > 0);
        let [_, _, a, b, c, d, e, f] = (moment.as_millisecond() + begun).max(0).to_be_bytes();
        Self::from_uuid(Uuid::from_bytes([a, b, c, d, e, f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uuid.cmp(&other.uuid)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}
impl<K> From<Uuid> for Id<K> {
    fn from(uuid: Uuid) -> Self {
        Self::from_uuid(uuid)
    }
}
impl<K> From<Id<K>> for Uuid {
    fn from(id: Id<K>) -> Self {
        id.uuid
    }
}
impl<K> sqlx::Type<sqlx::Postgres> for Id<K> {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        <Uuid as sqlx::Type<sqlx::Postgres>>::type_info()
    }
}
impl<'r, K> sqlx::Decode<'r, sqlx::Postgres> for Id<K> {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        Uuid::decode(value).map(Self::from_uuid)
    }
}
impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", K::PREFIX, base32::encode(self.uuid.as_bytes()))
    }
}
impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that starts with `{expected}_`, got `{got}`")]
pub struct IdError {
    pub expected: &'static str,
    pub got: String,
}

fn parse<const N: usize>(prefix: &'static str, text: &str) -> Result<[u8; N], IdError> {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .and_then(base32::decode)
        .ok_or_else(|| IdError { expected: prefix, got: text.chars().take(64).collect() })
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        parse::<16>(K::PREFIX, text).map(|bytes| Self::from_uuid(Uuid::from_bytes(bytes)))
    }
}
impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A message: recipient number `n` of a campaign.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    pub campaign: CampaignId,
    pub n: i32,
}

impl MessageId {
    const PREFIX: &'static str = "msg";

    /// The key that a provider which honours idempotency keys gets with this attempt: the same bytes for every resend
    /// of the same attempt, from whichever process.
    pub fn idempotency_key(self, attempt: i16) -> Uuid {
        let mut name = [0_u8; 6];
        name[..4].copy_from_slice(&self.n.to_be_bytes());
        name[4..].copy_from_slice(&attempt.to_be_bytes());
        Uuid::new_v5(&self.campaign.uuid(), &name)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0_u8; 20];
        bytes[..16].copy_from_slice(self.campaign.uuid().as_bytes());
        bytes[16..].copy_from_slice(&self.n.to_be_bytes());
        write!(f, "{}_{}", Self::PREFIX, base32::encode(&bytes))
    }
}
impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for MessageId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = parse::<20>(Self::PREFIX, text)?;
        let (campaign, n) = bytes.split_at(16);
        let campaign = campaign.try_into().map(Uuid::from_bytes).expect("split at 16");
        Ok(Self { campaign: campaign.into(), n: i32::from_be_bytes(n.try_into().expect("four bytes left")) })
    }
}
impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Makes ids and other random values; seeded, so that a test can repeat a run.
#[derive(Debug)]
pub struct Ids {
    rng: Mutex<StdRng>,
}

impl Ids {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's randomness")]
    pub fn from_entropy() -> Self {
        Self { rng: Mutex::new(StdRng::from_rng(&mut rand::rng())) }
    }

    pub fn from_seed(seed: u64) -> Self {
        Self { rng: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    /// A new id that sorts by `now`.
    pub fn next<K>(&self, now: Timestamp) -> Id<K> {
        let mut random = [0_u8; 10];
        self.with(|rng| rng.fill_bytes(&mut random));
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        Id::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// A random UUID without any order: keys of batch requests.
    pub fn random_uuid(&self) -> Uuid {
        let mut random = [0_u8; 16];
        self.with(|rng| rng.fill_bytes(&mut random));
        uuid::Builder::from_random_bytes(random).into_uuid()
    }

    /// Bytes that nobody can guess: secrets and tokens.
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut random = [0_u8; N];
        self.with(|rng| rng.fill_bytes(&mut random));
        random
    }

    /// Uniform in 0..1.
    pub fn fraction(&self) -> f64 {
        self.with(|rng| f64::from(rng.next_u32()) / f64::from(u32::MAX))
    }

    fn with<T>(&self, f: impl FnOnce(&mut StdRng) -> T) -> T {
        f(&mut self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// Crockford's base32, lower case, most significant bit first: keeps the order of the bytes.
mod base32 {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    pub(super) fn encode(bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
        let (mut buffer, mut bits) = (0_u32, 0);
        for &byte in bytes {
            buffer = buffer << 8 | u32::from(byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                text.push(ALPHABET[(buffer >> bits & 31) as usize].into());
            }
            buffer &= (1 << bits) - 1;
        }
        if bits > 0 {
            text.push(ALPHABET[(buffer << (5 - bits) & 31) as usize].into());
        }
        text
    }

    pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
        if text.len() != (N * 8).div_ceil(5) {
            return None;
        }
        let mut bytes = [0_u8; N];
        let (mut buffer, mut bits, mut at) = (0_u32, 0, 0);
        for symbol in text.bytes() {
            let value = ALPHABET.iter().position(|&known| known == symbol.to_ascii_lowercase())?;
            buffer = buffer << 5 | u32::try_from(value).ok()?;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                *bytes.get_mut(at)? = u8::try_from(buffer >> bits).ok()?;
                at += 1;
                buffer &= (1 << bits) - 1;
            }
        }
        // Padding bits must be zero, or two texts would name one id.
        (at == N && buffer == 0).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_survive_their_text(bytes: [u8; 16], n: i32) {
            let id = CampaignId::from_uuid(Uuid::from_bytes(bytes));
            prop_assert_eq!(id.to_string().parse::<CampaignId>(), Ok(id));
            let message = MessageId { campaign: id, n };
            prop_assert_eq!(message.to_string().parse::<MessageId>(), Ok(message));
        }

        #[test]
        fn no_text_is_read_with_a_panic(text in ".{0,60}") {
            let _ = text.parse::<CampaignId>();
            let _ = format!("msg_{text}").parse::<MessageId>();
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let ids = Ids::from_seed(1);
        let campaign: CampaignId = ids.next(Timestamp::UNIX_EPOCH);
        let error = campaign.to_string().parse::<TenantId>().expect_err("a campaign is no tenant");
        assert!(error.to_string().starts_with("expected an id that starts with `ten_`"), "{error}");
    }

    proptest! {
        #[test]
        fn an_id_knows_when_it_was_made(millis in 0..253_402_207_200_000_i64, seed: u64) {
            let moment = Timestamp::from_millisecond(millis).expect("before the year 10000");
            let id: ContactId = Ids::from_seed(seed).next(moment);
            prop_assert_eq!(id.made_at(), moment);
            prop_assert!(ContactId::first_at(moment) <= id);
            let later = moment + jiff::SignedDuration::from_nanos(1);
            prop_assert!(id < ContactId::first_at(later));
        }

        #[test]
        fn any_bytes_were_made_at_some_time(bytes: [u8; 16]) {
            let id = ContactId::from_uuid(Uuid::from_bytes(bytes));
            prop_assert!(ContactId::first_at(id.made_at()) <= id);
        }
    }

    #[test]
    fn nothing_was_made_before_1970() {
        assert_eq!(ContactId::first_at(Timestamp::MIN).uuid(), Uuid::nil());
    }

    #[test]
    fn ids_sort_by_time() {
        let ids = Ids::from_seed(1);
        let early: CampaignId = ids.next(Timestamp::from_second(1_000).expect("in range"));
        let late: CampaignId = ids.next(Timestamp::from_second(2_000).expect("in range"));
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn a_key_belongs_to_one_attempt() {
        let campaign = CampaignId::from_uuid(Uuid::nil());
        let message = MessageId { campaign, n: 7 };
        assert_eq!(message.idempotency_key(1), message.idempotency_key(1));
        assert_ne!(message.idempotency_key(1), message.idempotency_key(2));
        assert_ne!(message.idempotency_key(1), MessageId { campaign, n: 8 }.idempotency_key(1));
    }
}
