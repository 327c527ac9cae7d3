//! How long what lets somebody in is good.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use sqlx::PgPool;

use super::{login, me};
use crate::open::{Open, PASSWORD};

/// Seconds from now until the newest of these ends.
async fn left(pool: &PgPool, table: &str) -> f64 {
    let left = format!("select extract(epoch from max(expires_at) - now())::float8 from {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(left)).fetch_one(pool).await.unwrap()
}

async fn end(pool: &PgPool, table: &str) {
    let end = format!("update {table} set expires_at = now() - interval '1 second'");
    sqlx::query(sqlx::AssertSqlSafe(end)).execute(pool).await.unwrap();
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_refresh_token_is_good_for_thirty_days(pool: PgPool) {
    let open = Open::new(&pool).await;
    let email = me(&open.owner().await).await["email"].clone();
    let (_, first) = login(&open, json!({"email": email, "password": PASSWORD})).await;
    let days = left(&pool, "refresh_tokens").await / 86_400.0;
    assert!((29.99..=30.0).contains(&days), "{days} days");
    end(&pool, "refresh_tokens").await;
    let token = json!({"refreshToken": first["data"]["refreshToken"]});
    assert_eq!(open.nobody().post("/api/auth/refresh", &token).await.0, 401);
}

/// A quarter of an hour, and no longer than a day whatever is set.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_access_token_is_good_for_as_long_as_is_set(pool: PgPool) {
    for (settings, seconds) in [(&[][..], 900), (&[("FANFARE__AUTH__ACCESS_MINUTES", "1440")][..], 86_400)] {
        let open = Open::with(&pool, settings).await;
        let email = me(&open.owner().await).await["email"].clone();
        let (_, answer) = login(&open, json!({"email": email, "password": PASSWORD})).await;
        let token = answer["data"]["token"].as_str().unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), seconds, "{claims}");
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_key_is_good_until_its_day(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let new = json!({"name": "until", "scopes": ["contacts:read"], "expiresAt": "2999-01-01T00:00:00Z"});
    let (status, made) = owner.post("/api/keys", &new).await;
    assert_eq!(status, 201, "{made}");
    let key = open.bearing(made["data"]["key"].as_str().unwrap());
    assert_eq!(key.get("/api/contacts").await.0, 200);
    end(&pool, "api_keys").await;
    assert_eq!(key.get("/api/contacts").await.0, 401);
}
