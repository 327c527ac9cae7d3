//! What several modules need: servers by their URLs, and a prefix of its own for each test.

use fanfare_engine::link::RedisLink;

pub(crate) fn redis_url() -> String {
    std::env::var("REDIS_URL").expect("REDIS_URL names the Redis to test against")
}

pub(crate) fn redis() -> RedisLink {
    RedisLink::open(&redis_url()).expect("REDIS_URL is a Redis URL")
}

/// Tests run side by side in one Redis.
pub(crate) fn prefix(test: &str) -> String {
    format!("test-{}-{test}", uuid::Uuid::new_v4().simple())
}
