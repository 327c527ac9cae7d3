//! Postgres, the system of record: one file per table or group of tables, row types with the queries beside them.
//!
//! Only this module writes SQL. Every query that touches a tenant's rows takes the tenant, or an id that came out of a
//! query that did.

mod acceptances;
pub mod account_hours;
pub mod accounts;
pub mod addressees;
pub mod analytics;
pub mod api_keys;
pub mod approvals;
pub mod audit;
pub mod blobs;
pub mod campaigns;
pub mod check;
pub mod chunks;
pub mod consents;
pub mod contacts;
pub mod conversions;
pub mod direct;
pub mod drafts;
pub mod duties;
pub mod events;
mod grace;
pub mod health;
pub mod held;
pub mod idempotency;
pub mod inbox;
pub mod intake;
pub mod kept;
pub(crate) mod lines;
pub mod listing;
pub mod members;
mod merge;
pub mod message_search;
pub mod messages;
mod nodelay;
pub mod notifications;
pub mod pace;
pub mod people;
pub mod preflights;
pub mod prices;
pub mod public;
pub mod recipients;
pub mod results;
pub mod roles;
pub mod rollups;
pub mod sealed;
pub mod send_caps;
pub mod sessions;
pub mod settings;
pub mod sheets;
pub mod sign_in;
mod spent;
pub(crate) mod straight;
pub mod suppressions;
pub mod template_list;
pub mod template_versions;
pub mod templates;
pub mod tenancy;
pub mod tenants;
pub mod timeline;
pub mod upload_history;
pub mod upload_sessions;
pub mod uploads;
pub mod users;

use std::{sync::Arc, time::Duration};

use sqlx::{Connection as _, PgPool, postgres::PgPoolOptions};

use crate::seen_through::seen_through;

pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// What went wrong with the database, as far as a caller decides by it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database cannot be reached: {0}")]
    Unavailable(sqlx::Error),
    #[error("{what} does not exist")]
    NotFound { what: String },
    #[error("{0}")]
    Conflict(String),
    #[error("somebody else is at work on it: try again in a moment")]
    Busy,
    #[error("the database refused a statement: {0}")]
    Query(sqlx::Error),
    #[error("somebody in the file became a contact while the file was taken: import it again")]
    Raced,
    #[error("the database holds what this version cannot read: {0}")]
    Corrupt(String),
    #[error("another process has taken over the duty `{0}`")]
    Superseded(&'static str),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Tls(_) => Self::Unavailable(error),
            // Class 08: connection; 57P: the server is stopping, starting or has crashed; 25P03: it ended a session that
            // was idle in a transaction.
            sqlx::Error::Database(db)
                if db.code().is_some_and(|c| c.starts_with("08") || c.starts_with("57P") || c == "25P03") =>
            {
                Self::Unavailable(error)
            }
            // Waited for a lock as long as [`LOCK_TIMEOUT`], or for one who waited for it.
            sqlx::Error::Database(db) if db.code().is_some_and(|code| code == "55P03" || code == "40P01") => {
                Self::Busy
            }
            _ => Self::Query(error),
        }
    }
}

impl StoreError {
    /// Whether a text was sent that no database keeps: 22021 and 22P05, of texts and of JSON.
    pub fn is_of_the_text(&self) -> bool {
        self.is_one_of(&["22021", "22P05"])
    }

    /// Whether a moment was sent that is beyond the calendar of the database.
    pub fn is_of_a_moment(&self) -> bool {
        self.is_one_of(&["22008"])
    }

    fn is_one_of(&self, codes: &[&str]) -> bool {
        let Self::Query(sqlx::Error::Database(db)) = self else { return false };
        db.code().is_some_and(|code| codes.contains(&code.as_ref()))
    }

    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::NotFound { what: what.to_string() }
    }

    /// Whether waiting may help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy)
    }
}

pub type StoreResult<T> = Result<T, StoreError>;

/// Rows that were found for some of `count` questions, each with the number of its question, from 1 on.
fn in_their_places<T>(found: impl Iterator<Item = (i64, T)>, count: usize) -> Vec<Option<T>> {
    let mut places: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    for (number, row) in found {
        let place = usize::try_from(number - 1).ok().and_then(|at| places.get_mut(at));
        if let Some(place) = place {
            *place = Some(row);
        }
    }
    places
}

/// After this the server rolls back a transaction whose process says nothing more, and its locks are free: a process that
/// is frozen must not stop the others.
const IDLE_IN_TRANSACTION: &str = "10s";

/// A request waits no longer for what another transaction holds. An import or a pre-flight of a million holds its rows for a
/// minute, and each that waits for them keeps a connection from everybody else.
const LOCK_TIMEOUT: &str = "10s";

/// Whoever has waited so long for a connection is told that there is none.
const ACQUIRED_WITHIN: Duration = Duration::from_secs(5);

/// A connection that nobody has taken for so long may have ended meanwhile.
const RESTED: Duration = Duration::from_secs(1);

/// How many connections there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    pub idle: usize,
    pub used: usize,
}

/// A handle on the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    seats: tenancy::Seats,
    turns: Arc<grace::Turns>,
    duty: Option<duties::DutyProof>,
}

impl Store {
    /// Opens connections as they are needed, so that a process can start before its database does.
    pub fn connect(url: &str, connections: u32) -> StoreResult<Self> {
        let options = url
            .parse::<sqlx::postgres::PgConnectOptions>()?
            .application_name("fanfare")
            // Partitions and policies make short statements look long: compiling one took a hundred times as long as running it.
            .options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION), ("jit", "off")]);
        let port = options.get_port();
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRED_WITHIN)
            // Asking after every connection that is taken costs as much as a short statement does.
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                Box::pin(async move {
                    if known.idle_for > RESTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |_, _| Box::pin(async move { Ok(nodelay::to_port(port)?) }))
            .connect_lazy_with(options);
        Ok(Self::from_pool(pool))
    }

    pub fn from_pool(pool: PgPool) -> Self {
        Self { seats: tenancy::Seats::beside(&pool), pool, turns: Arc::default(), duty: None }
    }

    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Those of the pool, and those of requests.
    pub fn connections(&self) -> Connections {
        let idle = self.pool.num_idle();
        let used = usize::try_from(self.pool.size()).unwrap_or(0).saturating_sub(idle);
        let seats = self.seats.connections();
        Connections { idle: idle + seats.idle, used: used + seats.used }
    }

    /// Begins a transaction, and sees that through although whoever waits for it is let go. sqlx 0.9.0 rolls back only what
    /// it has seen begin: it would give the connection back in the midst of a transaction.
    async fn begun(&self, statement: &'static str) -> StoreResult<sqlx::PgTransaction<'static>> {
        let pool = self.pool.clone();
        let begin = async move { pool.begin_with(statement).await };
        Ok(seen_through(begin, None).await?)
    }

    /// A transaction; on the store of a duty it fails when another process has taken the duty over.
    pub async fn begin(&self) -> StoreResult<sqlx::PgTransaction<'static>> {
        let mut tx = self.begun("begin").await?;
        if let Some(duty) = self.duty {
            duty.check(&mut tx).await?;
        }
        Ok(tx)
    }

    /// The same, and all that it reads is of one moment.
    pub(crate) async fn begin_snapshot(&self) -> StoreResult<sqlx::PgTransaction<'static>> {
        let mut tx = self.begun("begin isolation level repeatable read").await?;
        if let Some(duty) = self.duty {
            duty.check(&mut tx).await?;
        }
        Ok(tx)
    }

    pub async fn ping(&self) -> StoreResult<()> {
        sqlx::query("select 1").execute(&self.pool).await?;
        Ok(())
    }

    pub async fn migrate(&self) -> Result<(), sqlx::migrate::MigrateError> {
        MIGRATOR.run(&self.pool).await
    }
}
