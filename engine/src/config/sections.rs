//! Every key that the file may hold, with its default and what it means: a small struct per concern.

use serde::{Deserialize, Serialize};

use super::accounts::{AccountConfig, TenantConfig};
use crate::deliver::recorder::RecorderSettings;

/// What the default file and the errors tell about a section. Made by [`section!`].
#[derive(Debug, Clone, Copy)]
pub struct SectionDoc {
    pub name: &'static str,
    pub about: &'static str,
    pub keys: &'static [KeyDoc],
}

#[derive(Debug, Clone, Copy)]
pub struct KeyDoc {
    pub name: &'static str,
    pub about: &'static str,
}

macro_rules! section {
    ($(#[doc = $about:literal])+ $name:ident in $section:literal {
        $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr,)+
    }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: $type,)+
        }
        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }
        impl $name {
            pub(crate) const DOC: SectionDoc = SectionDoc {
                name: $section,
                about: concat!($($about),+),
                keys: &[$(KeyDoc { name: stringify!($key), about: concat!($($doc),+) },)+],
            };
        }
    };
}

section! {
    /// Postgres, the system of record.
    DatabaseConfig in "database" {
        /// Where it is. DATABASE_URL says it, too.
        url: SecretUrl = SecretUrl::from("postgres://fanfare@localhost:5432/fanfare"),
        /// Connections that one process may hold for campaigns and upkeep.
        connections: u32 = 20,
        /// Connections beside those for what requests ask within their tenant, and as many again for webhooks and whatever is of all tenants.
        api_connections: u32 = 10,
        /// Connections beside those, for transactional messages alone.
        urgent_connections: u32 = 4,
        /// Whether `fanfare serve` brings the schema up to date before it starts.
        migrate: bool = true,
    }
}

section! {
    /// Redis, the queue of hints. Nothing is lost when it is away, and sending goes on more slowly.
    RedisConfig in "redis" {
        /// Where it is; several nodes of a Redis Cluster are separated by commas. REDIS_URL says it, too.
        url: SecretUrl = SecretUrl::from("redis://localhost:6379/0"),
        /// Begins every key, so that several installations can share one Redis.
        prefix: String = "fanfare".to_owned(),
    }
}

section! {
    /// The HTTP service: the API, health, metrics and the providers' webhooks.
    ApiConfig in "api" {
        /// Address to listen on. 0.0.0.0 listens on all interfaces.
        bind: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        /// Port to listen on; 0 takes a free one. PORT says it, too.
        port: u16 = 8080,
        /// Address that people and providers reach this service by, as in https://fanfare.example.com; stands in links. Without
        /// one no invitation and no link for a new password is mailed.
        public_url: String = String::new(),
        /// Pages of other origins that may call the API, as in ["https://console.example.com"].
        cors_origins: Vec<String> = Vec::new(),
        /// Base URLs that accounts made by the API may name instead of their provider's own. Any other could be a machine of
        /// yours that nobody outside is meant to reach.
        provider_base_urls: Vec<String> = Vec::new(),
        /// Requests a second that a tenant may make, of each process.
        tenant_per_second: u32 = 1_000,
        /// Requests a second that one program of a tenant may make, of each process.
        program_per_second: u32 = 1_000,
        /// Requests a second that one address may make, of each process, before anybody has proved who they are.
        stranger_per_second: u32 = 50,
        /// How long a single send waits for the provider before it answers `queued`, in milliseconds, ten seconds at most.
        send_wait_ms: u64 = 2_000,
        /// How long a connection may say nothing, or be in the midst of a request's head, in seconds; a balancer in front that keeps
        /// connections has to let go of them sooner.
        idle_s: u64 = 75,
    }
}

impl ApiConfig {
    /// What links begin with: the public address, or that of this process.
    pub fn base(&self) -> String {
        if self.public_url.is_empty() {
            format!("http://{}:{}", self.bind, self.port)
        } else {
            self.public_url.trim_end_matches('/').to_owned()
        }
    }
}

section! {
    /// How people prove who they are.
    AuthConfig in "auth" {
        /// Signs access tokens: at least 32 characters, the same in every process. JWT_SECRET says it, too. Without one, tokens
        /// end with the process that gave them.
        jwt_secret: SecretText = SecretText::default(),
        /// Keys that seal secrets in the database, as in "2026:" and 32 bytes in base64; the first seals, all of them open.
        /// FANFARE_SEALING_KEYS says it, too. Without one, nobody can switch a second factor on or
        /// give an account its secret over the API.
        sealing_keys: SecretText = SecretText::default(),
        /// How long an access token is good for, in minutes, a day at most.
        access_minutes: u64 = 15,
        /// How long a session lasts without being used, in days.
        refresh_days: u64 = 30,
    }
}

section! {
    /// Pages for recipients: unsubscribe, preferences, links and opens that are counted.
    PublicConfig in "public" {
        /// Address that recipients reach this service by, as in https://mail.example.com; stands in mail. Without one, mail bears
        /// no List-Unsubscribe, templates know no {{unsubscribe_url}}, and nothing is counted.
        base_url: String = String::new(),
        /// Keys that sign the links, as in "2026:" and 32 bytes in base64; the first signs, all of them are believed.
        /// FANFARE_SIGNING_KEYS says it, too. Links last as long as the key that signed them is listed.
        signing_keys: SecretText = SecretText::default(),
        /// Requests a second that one address may make to these pages. A proxy in front of them is one address.
        per_second: u32 = 1_000,
    }
}

section! {
    /// Deliverers.
    WorkerConfig in "worker" {
        /// Chunks that one process works on at the same time.
        chunks: usize = 8,
        /// Requests of campaigns that one process has on the wire at the same time, to providers that honour idempotency keys.
        in_flight: usize = 2_048,
        /// The same to providers that do not: as many messages may be in doubt after a process was killed.
        in_flight_keyless: usize = 256,
        /// Recipients of a chunk whose intents are committed together, at most.
        slice: usize = 500,
        /// How long a chunk stays with a process that does not renew its claim, in seconds.
        lease_s: u64 = 30,
        /// Transactional messages that one process has on the wire at the same time.
        urgent_in_flight: usize = 64,
    }
}

section! {
    /// Freezing of audiences.
    LaunchConfig in "launch" {
        /// Recipients that are frozen in one transaction.
        slice: i32 = 10_000,
        /// Recipients of the first transaction: few, so that the first message leaves at once.
        first_slice: i32 = 1_000,
        /// Recipients that are queued, claimed and recorded together.
        chunk: i32 = 500,
    }
}

section! {
    /// The queue in Redis.
    QueueConfig in "queue" {
        /// Hints that a lane holds at most.
        high_water: usize = 128,
    }
}

section! {
    /// Requests to providers.
    HttpConfig in "http" {
        /// Longest wait for a connection, in milliseconds.
        connect_timeout_ms: u64 = 3_000,
        /// Longest wait for an answer, in milliseconds. Afterwards nobody knows whether the message was sent.
        timeout_ms: u64 = 10_000,
    }
}

section! {
    /// Files with contacts. A larger file is refused before it is read.
    ImportConfig in "imports" {
        /// Bytes of a file.
        max_bytes: u64 = 1 << 30,
        /// Bytes of the files of one upload over the API. A larger one, up to max_bytes, comes in pieces.
        max_upload_bytes: u64 = 200 << 20,
        /// Bytes of a workbook once it is inflated.
        max_inflated_bytes: u64 = 2 << 30,
        /// Bytes of one row.
        max_row_bytes: usize = 1 << 20,
        /// Columns of a row.
        max_columns: usize = 512,
    }
}

section! {
    /// Messages of which nobody knows whether they were sent.
    UnknownConfig in "unknown" {
        /// How long a webhook or the provider's records may still tell, in seconds; then the message is abandoned.
        deadline_s: u64 = 3_600,
        /// Age at which the provider is asked first, in seconds.
        look_up_s: u64 = 5,
    }
}

section! {
    /// How long records of messages are kept.
    RetentionConfig in "retention" {
        /// Whole months; what is older is dropped.
        months: i32 = 13,
    }
}

section! {
    /// The log, on standard error. It never holds addresses, contents or secrets.
    LogConfig in "log" {
        /// For people: "pretty"; for machines, one object a line: "json".
        format: LogFormat = LogFormat::Pretty,
        /// What is logged, as in "info,fanfare_engine=debug".
        filter: String = "info".to_owned(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Pretty,
    Json,
}

/// The settings of the recorder live beside it.
const RECORDER: SectionDoc = SectionDoc {
    name: "recorder",
    about: " Writing of outcomes.",
    keys: &[
        KeyDoc { name: "batch", about: " Outcomes that are written in one transaction at most." },
        KeyDoc { name: "tick_ms", about: " How long the first of them waits for others, in milliseconds." },
        KeyDoc { name: "buffer", about: " Outcomes that may wait; when there are more, sending waits." },
    ],
};

/// A text that nobody is to see: its `Debug` and `Display` show that there is one.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_empty() { "" } else { "***" })
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// A URL that may hold a password: its `Debug` and `Display` leave that out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// With its password.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SecretUrl {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl std::fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Each URL of a list, without the password between `user:` and `@`, and without parameters, which may hold one too.
pub(crate) fn without_password(urls: &str) -> String {
    let one = |url: &str| {
        let url = url.split('?').next().unwrap_or_default();
        let Some((scheme, rest)) = url.split_once("://") else { return "***".to_owned() };
        match rest.rsplit_once('@') {
            None => url.to_owned(),
            Some((user, host)) => {
                format!("{scheme}://{}:***@{host}", user.split(':').next().unwrap_or_default())
            }
        }
    };
    urls.split(',').map(one).collect::<Vec<_>>().join(",")
}

/// All that a process is told. The order is that of the default file.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub database: DatabaseConfig,
    pub redis: RedisConfig,
    pub api: ApiConfig,
    pub auth: AuthConfig,
    pub public: PublicConfig,
    pub log: LogConfig,
    pub worker: WorkerConfig,
    pub recorder: RecorderSettings,
    pub launch: LaunchConfig,
    pub queue: QueueConfig,
    pub http: HttpConfig,
    pub imports: ImportConfig,
    pub unknown: UnknownConfig,
    pub retention: RetentionConfig,
    pub tenants: Vec<TenantConfig>,
    pub accounts: Vec<AccountConfig>,
}

/// Every section, in the order of the default file.
pub const SECTIONS: &[SectionDoc] = &[
    DatabaseConfig::DOC,
    RedisConfig::DOC,
    ApiConfig::DOC,
    AuthConfig::DOC,
    PublicConfig::DOC,
    LogConfig::DOC,
    WorkerConfig::DOC,
    RECORDER,
    LaunchConfig::DOC,
    QueueConfig::DOC,
    HttpConfig::DOC,
    ImportConfig::DOC,
    UnknownConfig::DOC,
    RetentionConfig::DOC,
];

impl Config {
    /// The sections as TOML, without tenants and accounts.
    pub(crate) fn to_tables(&self) -> Vec<(&'static str, toml::Table)> {
        fn table(section: &impl Serialize) -> toml::Table {
            toml::Table::try_from(section).expect("a section is a table of plain values")
        }
        vec![
            ("database", table(&self.database)),
            ("redis", table(&self.redis)),
            ("api", table(&self.api)),
            ("auth", table(&self.auth)),
            ("public", table(&self.public)),
            ("log", table(&self.log)),
            ("worker", table(&self.worker)),
            ("recorder", table(&self.recorder)),
            ("launch", table(&self.launch)),
            ("queue", table(&self.queue)),
            ("http", table(&self.http)),
            ("imports", table(&self.imports)),
            ("unknown", table(&self.unknown)),
            ("retention", table(&self.retention)),
        ]
    }
}
