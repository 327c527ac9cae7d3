//! A Postgres database of its own for every bench, so that runs do not see each other.

use std::time::Duration;

use fanfare_engine::store::Store;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::runtime::{Builder, Runtime};
use url::Url;

/// A database with all migrations, dropped in the end.
#[derive(Debug)]
pub struct Bed {
    pub runtime: Runtime,
    pub store: Store,
    server: Url,
    name: String,
}

impl Bed {
    /// `None`, and a word about it, where `DATABASE_URL` names no server. Everything runs on one thread, which also drives
    /// the connections, so that nothing but the database is waited for.
    pub fn make(stage: &str) -> Option<Self> {
        Self::on(Builder::new_current_thread().enable_all().build().expect("a runtime"), stage)
    }

    /// On a runtime that the stage needs.
    pub fn on(runtime: Runtime, stage: &str) -> Option<Self> {
        let Ok(server) = std::env::var("DATABASE_URL") else {
            eprintln!("{stage}: not measured, since DATABASE_URL is not set (`make bench` sets it)");
            return None;
        };
        let server = Url::parse(&server).expect("DATABASE_URL is a URL");
        let name = format!("bench_{stage}_{}", unique());
        let mut url = server.clone();
        url.set_path(&name);
        let store = runtime.block_on(async {
            administer(&server, format!("create database {name}")).await.expect("a database");
            let store = Store::connect(url.as_str(), 8).expect("DATABASE_URL is a Postgres URL");
            store.migrate().await.expect("the schema");
            let durable: bool = sqlx::query_scalar(
                "select bool_and(setting = 'on') from pg_settings
                 where name in ('fsync', 'synchronous_commit', 'full_page_writes')",
            )
            .fetch_one(store.pool())
            .await
            .expect("settings");
            assert!(durable, "a commit that a crash undoes is not what production waits for");
            store
        });
        Some(Self { runtime, store, server, name })
    }

    /// Statements of the bench itself, outside of what is timed.
    pub async fn execute(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(self.store.pool()).await.expect(sql);
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let Self { runtime, store, server, name } = self;
        let dropped = runtime.block_on(async {
            store.pool().close().await;
            administer(server, format!("drop database {name} with (force)")).await
        });
        if let Err(error) = dropped {
            eprintln!("the database {name} is left behind: {error}");
        }
    }
}

/// The sum of what each repetition says that it took: what it did to prepare itself is not counted.
pub async fn spent(repetitions: u64, mut repetition: impl AsyncFnMut() -> Duration) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..repetitions {
        sum += repetition().await;
    }
    sum
}

/// A word that nobody else uses.
pub fn unique() -> String {
    fanfare_engine::id::Ids::from_entropy().random_uuid().simple().to_string()
}

/// A statement that no transaction may hold, made of nothing that comes from outside.
async fn administer(server: &Url, sql: String) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(server.as_str()).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}
