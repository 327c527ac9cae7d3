//! Health and webhooks, over HTTP.

use sqlx::PgPool;

use crate::open::Open;

async fn stored(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select coalesce(sum(webhooks), 0) from inbox").fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn health(pool: PgPool) {
    let open = Open::new(&pool).await;
    assert_eq!(open.text("/livez").await.0, 200);
    let (status, body) = open.text("/readyz").await;
    assert_eq!((status, body.contains(r#""redis":"answers""#)), (200, true), "{body}");
    let (status, body) = open.text("/metrics").await;
    assert_eq!(
        (
            status,
            body.contains("fanfare_database_connections") && body.contains("fanfare_allocations_total ")
        ),
        (200, true),
        "{body}"
    );
    let (status, body) = open.text("/nothing").await;
    insta::assert_snapshot!(format!("{status} {body}"));

    sqlx::query("delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)")
        .execute(&pool)
        .await
        .unwrap();
    let (status, body) = open.text("/readyz").await;
    assert_eq!((status, body.contains("run `fanfare migrate`")), (503, true), "{body}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_webhook_is_stored_before_it_is_answered(pool: PgPool) {
    let open = Open::new(&pool).await;
    let body = r#"{"entry":[]}"#;
    let post = |url: String, proof: (&'static str, String)| {
        open.client.post(url).header(proof.0, proof.1).body(body).send()
    };

    let right = ("x-hub-signature-256", fanfare_sandbox::signature("app_secret", body.as_bytes()));
    assert_eq!(post(open.hook("whatsapp"), right).await.unwrap().status(), 200);
    assert_eq!(stored(&pool).await, 1);
    assert_eq!(
        post(open.hook("sms"), ("authorization", "Bearer hook-token".to_owned())).await.unwrap().status(),
        200
    );
    assert_eq!(stored(&pool).await, 2);
    let kept: Vec<u8> =
        sqlx::query_scalar("select bodies[1] from inbox limit 1").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, body.as_bytes());

    let forged = ("x-hub-signature-256", fanfare_sandbox::signature("another", body.as_bytes()));
    let answer = post(open.hook("whatsapp"), forged).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    insta::assert_snapshot!(format!("{} {}", answer.status().as_u16(), answer.text().await.unwrap()));
    assert_eq!(
        post(open.hook("sms"), ("authorization", "Bearer guess".to_owned())).await.unwrap().status(),
        401
    );
    assert_eq!(
        post(format!("{}/hooks/acct_0", open.base), ("authorization", "x".to_owned()))
            .await
            .unwrap()
            .status(),
        404
    );
    assert_eq!(stored(&pool).await, 2);

    let large = open.client.post(open.hook("sms")).body(vec![b' '; (3 << 20) + 1]).send().await.unwrap();
    assert_eq!(large.status(), 413);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_provider_is_asked_to_come_again_while_the_database_is_away(pool: PgPool) {
    let open = Open::new(&pool).await;
    pool.close().await;
    let post = open.client.post(open.hook("sms")).header("authorization", "Bearer hook-token").body("{}");
    let answer = post.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (429, true));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_handshake_knows_its_token(pool: PgPool) {
    let open = Open::new(&pool).await;
    let ask = |token: &str| {
        format!("{}?hub.mode=subscribe&hub.challenge=42&hub.verify_token={token}", open.hook("whatsapp"))
    };
    let right = open.client.get(ask("verify")).send().await.unwrap();
    assert_eq!((right.status().as_u16(), right.text().await.unwrap()), (200, "42".to_owned()));
    assert_eq!(open.client.get(ask("guess")).send().await.unwrap().status(), 403);
}

/// Of the two methods one passes the router and the other does not.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_hook_takes_its_two_methods_and_nothing_from_a_page(pool: PgPool) {
    let open = Open::new(&pool).await;
    for method in [reqwest::Method::DELETE, reqwest::Method::OPTIONS] {
        let asked = open.client.request(method, open.hook("sms")).header("origin", "https://console.example");
        let asked = asked.header("access-control-request-method", "POST").send().await.unwrap();
        assert_eq!(
            (asked.status().as_u16(), &asked.headers()["allow"] == "GET,HEAD,POST"),
            (405, true),
            "{asked:?}"
        );
        assert_eq!(asked.headers()["content-type"], "application/problem+json");
        assert!(!asked.headers().contains_key("access-control-allow-methods"), "{asked:?}");
    }
}
