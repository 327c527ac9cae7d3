//! What several modules need: servers by their URLs, and a prefix of its own for each test.

use std::time::Duration;

use fanfare_engine::{link::RedisLink, store::Store};
use tokio::{sync::OnceCell, time::Instant};

pub(crate) fn redis_url() -> String {
    std::env::var("REDIS_URL").expect("REDIS_URL names the Redis to test against")
}

pub(crate) fn redis() -> RedisLink {
    RedisLink::open(&redis_url()).expect("REDIS_URL is a Redis URL")
}

/// The URL of the same Redis for another user.
pub(crate) fn redis_url_of(user: &str, password: &str) -> String {
    let mut url = url::Url::parse(&redis_url()).expect("REDIS_URL is a URL");
    url.set_username(user).expect("a Redis URL has a user");
    url.set_password(Some(password)).expect("a Redis URL has a password");
    url.into()
}

/// Tests run side by side in one Redis.
pub(crate) fn prefix(test: &str) -> String {
    format!("test-{}-{test}", uuid::Uuid::new_v4().simple())
}

/// Connections of its own on a database that has all migrations.
pub(crate) async fn store() -> Store {
    static MIGRATED: OnceCell<()> = OnceCell::const_new();
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names the Postgres to test against");
    let store = Store::connect(&url, 4).expect("DATABASE_URL is a Postgres URL");
    MIGRATED.get_or_init(async || store.migrate().await.expect("migrations")).await;
    store
}

/// Looks until there is what is looked for, for a minute; until then a look says what there is instead.
pub(crate) async fn found<T, I: std::fmt::Debug>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, I>,
) -> T {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) => {
                assert!(Instant::now() < give_up, "not within a minute: {what}; {instead:?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Looks until `holds`, as [`found`] does.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    found(what, async || if holds().await { Ok(()) } else { Err(()) }).await;
}
