//! The list of addresses that must not be written to, over HTTP.

use reqwest::{Method, header};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::open::{Client, Open};

async fn import(client: &Client, csv: &str) -> (u16, Value) {
    let request =
        client.request(Method::POST, "/api/suppressions/import").header(header::CONTENT_TYPE, "text/csv");
    client.send(request.body(csv.to_owned())).await
}

async fn listed(client: &Client, query: &str) -> Vec<String> {
    let (status, answer) = client.get(&format!("/api/suppressions?{query}")).await;
    assert_eq!(status, 200, "{query}: {answer}");
    let entries = answer["data"]["suppressions"].as_array().unwrap();
    entries.iter().map(|entry| entry["address"].as_str().unwrap().to_owned()).collect()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_address_goes_on_the_list_and_off_it_with_a_reason(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let (status, answer) = owner.post("/api/suppressions", &json!({"address": " Ann@Example.com"})).await;
    assert_eq!(status, 201, "{answer}");
    let entry = &answer["data"];
    assert_eq!((&entry["address"], &entry["channel"]), (&json!("ann@example.com"), &json!("email")));
    assert_eq!(
        (&entry["scope"], &entry["reason"], &entry["source"]),
        (&json!("marketing"), &json!("unsubscribed"), &json!("api"))
    );
    let (status, again) = owner.post("/api/suppressions", &json!({"address": "ann@example.com"})).await;
    assert_eq!((status, &again["data"]["id"]), (200, &entry["id"]));
    let refused: Vec<String> = sqlx::query_scalar(
        "select reason from tenants t, refusals(t.id, 'email', 'marketing', array[null::uuid], array['ann@example.com']) where slug = 'acme'",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(refused, ["unsubscribed"]);

    let path = format!("/api/suppressions/{}", entry["id"].as_str().unwrap());
    let stranger = open.stranger().await;
    assert_eq!(stranger.get(&path).await.0, 404);
    assert_eq!(stranger.delete(&format!("{path}?reason=because")).await.0, 404);
    assert_eq!(listed(&stranger, "").await, Vec::<String>::new());
    let reader = open.key(&["suppressions:read"]).await;
    assert_eq!(reader.get(&path).await.0, 200);
    assert_eq!(reader.delete(&format!("{path}?reason=because")).await.0, 403);
    assert_eq!(owner.delete(&path).await.0, 422);
    assert_eq!(owner.delete(&format!("{path}?reason=%20a")).await.0, 422);
    assert_eq!(owner.delete(&format!("{path}?reason=asked+us+by+phone")).await.0, 204);
    assert_eq!(owner.get(&path).await.0, 404);
    open.engine.store.chain_audit_logs().await.unwrap();
    let why: Value = sqlx::query_scalar("select detail from audit_log where action = 'suppression.remove'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!((&why["why"], &why["address"]), (&json!("asked us by phone"), &json!("a…@e…")), "{why}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_can_not_be_taken_is_named(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    for (body, field) in [
        (json!({"address": "nobody"}), "channel"),
        (json!({"address": "nobody@"}), "address"),
        (json!({"address": "12", "channel": "sms"}), "address"),
        (json!({"address": "a\u{0}@example.com"}), "address"),
        (json!({"address": "a@example.com", "reason": "worker_died"}), "reason"),
        (json!({"address": "a@example.com", "reason": "boredom"}), "reason"),
        (json!({"address": "a@example.com", "scope": "some"}), "scope"),
        (json!({"address": "a@example.com", "why": "x"}), "why"),
    ] {
        let (status, answer) = owner.post("/api/suppressions", &body).await;
        assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!(field)), "{answer}");
    }
    for query in ["channel=fax", "address=nobody", "limit=501", "colour=red"] {
        assert_eq!(owner.get(&format!("/api/suppressions?{query}")).await.0, 422, "{query}");
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_file_is_taken_row_by_row(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let csv = "\u{feff}Address,Channel,Scope,Reason\n\
               ann@example.com,,,\n\
               5234 5678,sms,all,complained\n\
               nobody,email,,\n\
               5234 5679,,,\n\
               bob@example.com,,everything,\n\
               bob@example.com\n\
               ann@example.com,email,marketing,bounced\n";
    let (status, answer) = import(&owner, csv).await;
    assert_eq!(status, 200, "{answer}");
    let data = &answer["data"];
    let counts = ["rowsRead", "rowsTaken", "rowsRefused", "added", "problemsLeftOut"];
    assert_eq!(counts.map(|count| data[count].as_i64().unwrap()), [7, 4, 3, 3, 0], "{data}");
    let problems: Vec<(i64, &str)> = data["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["line"].as_i64().unwrap(), problem["field"].as_str().unwrap()))
        .collect();
    assert_eq!(problems, [(4, "address"), (5, "channel"), (6, "scope")]);
    assert_eq!(listed(&owner, "").await, ["ann@example.com", "bob@example.com", "+23052345678"]);
    assert_eq!(listed(&owner, "channel=sms").await, ["+23052345678"]);
    assert_eq!(listed(&owner, "scope=all&reason=complained").await, ["+23052345678"]);
    assert_eq!(listed(&owner, "address=52345678").await, ["+23052345678"]);
    assert_eq!(listed(&owner, "address=Bob@example.com").await, ["bob@example.com"]);
    let (_, first) = owner.get("/api/suppressions?limit=2").await;
    let next = first["data"]["pagination"]["nextCursor"].as_str().unwrap();
    assert_eq!(listed(&owner, &format!("limit=2&cursor={next}")).await, ["+23052345678"]);

    for (csv, status) in [("name\nann\n", 422), ("", 422), ("address\n\u{0}\n", 200)] {
        let (answered, answer) = import(&owner, csv).await;
        assert_eq!(answered, status, "{csv:?}: {answer}");
    }
    assert_eq!(import(&open.key(&["suppressions:read"]).await, csv).await.0, 403);
}
