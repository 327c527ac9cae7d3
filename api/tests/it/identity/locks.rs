//! Wrong attempts, and how long they lock an address.

use super::*;

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn wrong_attempts_lock_an_address_whether_it_exists_or_not(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = me(&open.owner().await).await;
    let known = owner["email"].as_str().unwrap();
    for email in [known, "nobody@acme.example"] {
        for attempt in 0..5 {
            let (status, answer) = login(&open, json!({"email": email, "password": "wrong password"})).await;
            assert_eq!((status, code(&answer)), (401, "wrong_credentials"), "{email}, attempt {attempt}");
        }
        let body = json!({"email": email, "password": PASSWORD});
        let request = open.nobody().request(Method::POST, "/api/auth/login").json(&body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 429, "{email}");
        let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait} s");
    }
}

/// By a clock that stands still, what Retry-After says is how long after the first attempt somebody may come again.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn each_lock_is_longer_than_the_one_before(pool: PgPool) {
    let begun: i64 =
        sqlx::query_scalar("select extract(epoch from now())::bigint").fetch_one(&pool).await.unwrap();
    let begun = jiff::Timestamp::from_second(begun).unwrap();
    let open = Open::at(&pool, &[], &begun.to_string()).await;
    let email = me(&open.owner().await).await["email"].clone();
    let attempt = async |password: &str| {
        let body = json!({"email": email, "password": password});
        let request = open.nobody().request(Method::POST, "/api/auth/login").json(&body);
        let answer = request.send().await.unwrap();
        let wait =
            answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().parse::<u64>().unwrap());
        (answer.status().as_u16(), wait)
    };
    for _ in 0..4 {
        assert_eq!(attempt("wrong password").await, (401, None));
    }
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert_eq!(attempt("wrong password").await, (401, None));
        let (status, wait) = attempt(PASSWORD).await;
        assert_eq!(status, 429);
        let elapsed: i64 = sqlx::query_scalar("select extract(epoch from now() - to_timestamp($1))::bigint")
            .bind(begun.as_second())
            .fetch_one(&pool)
            .await
            .unwrap();
        let least = wait.unwrap().saturating_sub(elapsed.unsigned_abs() + 1);
        waits.push((least, wait.unwrap()));
        // It is over.
        sqlx::query("update sign_in_failures set locked_until = now()").execute(&pool).await.unwrap();
    }
    let expected = [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600];
    for (n, ((least, most), expected)) in waits.iter().zip(expected).enumerate() {
        assert!((*least..=*most).contains(&expected), "lock {n} of {expected} s: {waits:?}");
    }
    assert_eq!(attempt(PASSWORD).await.0, 200);
    // Who signed in begins anew.
    assert_eq!(attempt("wrong password").await.0, 401);
    assert_eq!(attempt(PASSWORD).await.0, 200);
}
