//! A connection that one task holds on to. What it asks again and again costs it no ways to the pool and back, each of which
//! is one to the server.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use sqlx::{Connection as _, Postgres, pool::PoolConnection};

use super::{RESTED, Store, StoreResult};

/// A connection, and when it was last used.
type Resting = Option<(PoolConnection<Postgres>, Instant)>;

/// Takes a connection when it is first needed. Cheap to clone; clones hold on to one together.
#[derive(Debug, Clone)]
pub struct Held {
    store: Store,
    connection: Arc<Mutex<Resting>>,
}

impl Held {
    pub fn new(store: Store) -> Self {
        Self { store, connection: Arc::default() }
    }

    /// The connection, or another one. Whoever meets an error with it does not [`keep`](Self::keep) it.
    pub async fn take(&self) -> StoreResult<PoolConnection<Postgres>> {
        let held = self.lock().take();
        // One that has rested may have ended meanwhile.
        if let Some((mut connection, left)) = held
            && (left.elapsed() <= RESTED || connection.ping().await.is_ok())
        {
            return Ok(connection);
        }
        Ok(self.store.pool().acquire().await?)
    }

    pub fn keep(&self, connection: PoolConnection<Postgres>) {
        *self.lock() = Some((connection, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, Resting> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
