//! The second wall between tenants. The first is the tenant in every query; this one is row-level security in Postgres:
//! requests of the API run as the role `fanfare_api`, which sees only the rows of the tenant that the connection names.
//! Workers and upkeep serve all tenants and run as the owner of the tables, whom no policy holds.
//!
//! Most of what a short statement costs is its way to the server and back, so requests have connections of their own, which take
//! the role once and keep the tenant that they served last: what only reads is its statements and nothing else. It has no
//! transaction, and can change nothing. What changes something is a transaction, and names its tenant for that long.
//!
//! Work that was ended leaves its connection as it should be. What was let go of in the midst, by an error or by a client that hung
//! up, may have left a transaction open or an answer unread, or the server may be gone: its connection is put in order first.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool::{
    Runtime, Status,
    managed::{Manager, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::{runtime::Handle, time::timeout};

use super::{ACQUIRED_WITHIN, Connections, LOCK_TIMEOUT, RESTED, Store, StoreError, StoreResult, nodelay};
use crate::id::TenantId;

/// The server keeps the plans of a connection for as long as that lives.
const LIFETIME: Duration = Duration::from_mins(30);

/// The connections of requests; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Seats(Pool<Opener>);

#[derive(Debug)]
struct Opener {
    options: Arc<PgConnectOptions>,
}

/// A connection in the role of requests.
#[derive(Debug)]
struct Seat {
    connection: PgConnection,
    /// Whose rows it shows outside of a transaction.
    tenant: Option<TenantId>,
    left: Instant,
}

impl Seats {
    /// As many as `pool` has, to the same database, each opened when it is first needed.
    pub(super) fn beside(pool: &PgPool) -> Self {
        let opener = Opener { options: pool.connect_options() };
        let seats = Pool::builder(opener)
            .max_size(pool.options().get_max_connections() as usize)
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(ACQUIRED_WITHIN))
            .create_timeout(Some(ACQUIRED_WITHIN))
            .recycle_timeout(Some(ACQUIRED_WITHIN));
        #[expect(clippy::expect_used, reason = "it is about the runtime, which is given")]
        Self(seats.build().expect("timeouts have their runtime"))
    }

    pub(super) fn connections(&self) -> Connections {
        let Status { size, available, .. } = self.0.status();
        Connections { idle: available, used: size.saturating_sub(available) }
    }

    async fn take(&self) -> StoreResult<Within> {
        let seat = self.0.get().await.map_err(|error| match error {
            PoolError::Backend(error) => StoreError::from(error),
            PoolError::Closed => StoreError::Unavailable(sqlx::Error::PoolClosed),
            _ => StoreError::Unavailable(sqlx::Error::PoolTimedOut),
        })?;
        Ok(Within { seat: Some(seat), is_transaction: false })
    }
}

impl Manager for Opener {
    type Type = Seat;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Seat, sqlx::Error> {
        let connection = PgConnection::connect_with(&self.options).await?;
        nodelay::to_port(self.options.get_port())?;
        let mut seat = Seat { connection, tenant: None, left: Instant::now() };
        // Statements keep one plan: to plan them anew, with policies and partitions, took Postgres longer than to run them.
        seat.say(format!(
            "set role fanfare_api; set plan_cache_mode = force_generic_plan; set lock_timeout = '{LOCK_TIMEOUT}'; \
             set default_transaction_read_only = on"
        ))
        .await?;
        Ok(seat)
    }

    async fn recycle(&self, seat: &mut Seat, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.created.elapsed() > LIFETIME {
            return Err(RecycleError::message("it is as old as a connection should become"));
        }
        if seat.left.elapsed() > RESTED {
            seat.connection.ping().await?;
        }
        Ok(())
    }
}

impl Seat {
    /// Several statements may come in one round trip.
    async fn say(&mut self, statements: impl Into<String>) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(statements.into())).execute(&mut self.connection).await.map(drop)
    }

    async fn read_for(&mut self, tenant: TenantId) -> sqlx::Result<()> {
        if self.tenant == Some(tenant) {
            return Ok(());
        }
        self.say(format!("set {}", is(tenant))).await?;
        self.tenant = Some(tenant);
        Ok(())
    }

    async fn begin_for(&mut self, tenant: TenantId) -> sqlx::Result<()> {
        if self.tenant == Some(tenant) {
            self.say("begin read write").await
        } else {
            self.say(format!("begin read write; set local {}", is(tenant))).await
        }
    }

    /// Ends what somebody has left half-way. Outside of a transaction `rollback` does nothing.
    async fn put_in_order(&mut self) -> sqlx::Result<()> {
        // Nobody knows whether a setting came through.
        self.tenant = None;
        self.say("rollback").await?;
        self.left = Instant::now();
        Ok(())
    }
}

/// A UUID has neither quotes nor anything else that a statement could be made of.
fn is(tenant: TenantId) -> String {
    format!("fanfare.tenant = '{}'", tenant.uuid())
}

/// Work on a connection on which nothing but one tenant's rows can be read, or written if it was begun for that. It has no
/// savepoints: what fails fails as a whole.
#[derive(Debug)]
pub struct Within {
    /// Absent once the work has ended.
    seat: Option<Object<Opener>>,
    is_transaction: bool,
}

impl Within {
    /// What was changed is durable when this returns.
    pub async fn commit(mut self) -> StoreResult<()> {
        self.seat().say("commit").await?;
        self.leave();
        Ok(())
    }

    /// Of what only read: no statement of it is under way any more. A transaction is rolled back.
    pub fn end(mut self) {
        if !self.is_transaction {
            self.leave();
        }
    }

    fn leave(&mut self) {
        self.seat().left = Instant::now();
        self.seat = None;
    }

    #[expect(clippy::expect_used, reason = "nobody has the work once it has ended")]
    fn seat(&mut self) -> &mut Seat {
        self.seat.as_mut().expect("the work has not ended")
    }
}

impl Deref for Within {
    type Target = PgConnection;

    #[expect(clippy::expect_used, reason = "nobody has the work once it has ended")]
    fn deref(&self) -> &PgConnection {
        &self.seat.as_ref().expect("the work has not ended").connection
    }
}

impl DerefMut for Within {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.seat().connection
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let Some(mut seat) = self.seat.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return drop(Object::take(seat)) };
        runtime.spawn(async move {
            if !matches!(timeout(ACQUIRED_WITHIN, seat.put_in_order()).await, Ok(Ok(()))) {
                drop(Object::take(seat));
            }
        });
    }
}

impl Store {
    /// For what only reads. Each statement sees what was committed before it.
    pub async fn reading(&self, tenant: TenantId) -> StoreResult<Within> {
        let mut within = self.seats.take().await?;
        within.seat().read_for(tenant).await?;
        Ok(within)
    }

    /// A transaction in which nothing but this tenant's rows can be read or written.
    pub async fn within(&self, tenant: TenantId) -> StoreResult<Within> {
        let mut within = self.seats.take().await?;
        within.is_transaction = true;
        within.seat().begin_for(tenant).await?;
        Ok(within)
    }
}
