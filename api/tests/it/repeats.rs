//! Files that come again under their `Idempotency-Key`.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    open::{Client, Open},
    uploads::{BOUNDARY, form},
};

async fn upload(client: &Client, key: &str, boundary: &str, text: &str) -> (u16, Value) {
    let body = String::from_utf8(form(&[("file", Some("people.csv"), text.as_bytes())])).unwrap();
    let request = client
        .request(Method::POST, "/api/upload/file")
        .header("idempotency-key", key)
        .header("content-type", format!("multipart/form-data; boundary={boundary}"))
        .body(body.replace(BOUNDARY, boundary));
    client.send(request).await
}

async fn bulk(client: &Client, key: &str, lines: &str) -> (u16, Value) {
    let request = client
        .request(Method::POST, "/api/contacts/bulk")
        .header("idempotency-key", key)
        .header("content-type", "application/x-ndjson")
        .body(lines.to_owned());
    client.send(request).await
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_file_is_known_by_what_it_says(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let (ann, bob) = ("email,name\nann@acme.example,Ann\n", "email,name\nbob@acme.example,Bob\n");
    let first = upload(&owner, "one", BOUNDARY, ann).await;
    assert_eq!(first.0, 201, "{first:?}");
    assert_eq!(upload(&owner, "one", "another-boundary-that-is-longer", ann).await, first);
    let (status, other) = upload(&owner, "one", BOUNDARY, bob).await;
    assert_eq!(
        (status, &other["code"]),
        (422, &json!("idempotency_key_reused")),
        "as long, and not the same"
    );
    assert_eq!(upload(&owner, "two", BOUNDARY, bob).await.0, 201);
    let uploads: i64 = sqlx::query_scalar("select count(*) from uploads").fetch_one(&pool).await.unwrap();
    assert_eq!(uploads, 2);

    let first = bulk(&owner, "three", "{\"email\": \"ann@acme.example\"}\n").await;
    assert_eq!(first.0, 200, "{first:?}");
    assert_eq!(bulk(&owner, "three", "{\"email\": \"ann@acme.example\"}\n").await, first);
    let (status, other) = bulk(&owner, "three", "{\"email\": \"bob@acme.example\"}\n").await;
    assert_eq!((status, &other["code"]), (422, &json!("idempotency_key_reused")), "{other}");
}

/// What was refused before it was read is refused again, whatever it says.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_refusal_is_repeated(pool: PgPool) {
    let open = Open::new(&pool).await;
    let reader = open.key(&["contacts:read"]).await;
    let first = upload(&reader, "one", BOUNDARY, "email\nann@acme.example\n").await;
    assert_eq!(first.0, 403, "{first:?}");
    assert_eq!(upload(&reader, "one", BOUNDARY, "email\nbob@acme.example\n").await, first);
}
