//! Templates over HTTP: as the seed's clients write them, as editors work on them, and who may not.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::open::{Client, Open};

const MIGRATOR: &sqlx::migrate::Migrator = &fanfare_engine::store::MIGRATOR;

/// As in the documentation of the renewal system, word by word.
fn renewal() -> Value {
    json!({
        "name": "Custom Renewal Template",
        "type": "email",
        "subject": "Policy Renewal Notice",
        "content": "Dear {name}, please renew your policy...",
        "variables": ["name", "policy_number"]
    })
}

async fn made(client: &Client, body: Value) -> String {
    let (status, answer) = client.post("/api/templates", &body).await;
    assert_eq!(status, 201, "{answer}");
    answer["data"]["templateId"].as_str().expect("an id").to_owned()
}

async fn refused(client: &Client, path: &str, body: Value, field: &str) {
    let (status, answer) = client.post(path, &body).await;
    assert_eq!((status, &answer["success"]), (422, &json!(false)), "{answer}");
    let fields: Vec<&str> = answer["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .filter_map(|error| error["field"].as_str())
        .collect();
    assert!(fields.contains(&field), "{field}: {answer}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_sample_works_as_written(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let (status, answer) = owner.post("/api/templates", &renewal()).await;
    let id = answer["data"]["templateId"].as_str().expect("an id").to_owned();
    let expected =
        json!({"success": true, "data": {"templateId": id, "message": "Template created successfully"}});
    assert_eq!((status, answer), (201, expected));

    let (status, answer) = owner.get("/api/templates?type=email&active=true").await;
    assert_eq!((status, &answer["success"]), (200, &json!(true)), "{answer}");
    assert_eq!(answer["data"]["pagination"], json!({"page": 1, "limit": 20, "total": 1, "totalPages": 1}));
    let listed = &answer["data"]["templates"][0];
    for (key, value) in renewal().as_object().expect("an object") {
        assert_eq!(&listed[key], value, "{key}");
    }
    assert_eq!(listed["id"], json!(id));
    assert_eq!(listed["slug"], "custom-renewal-template");
    assert_eq!(listed["class"], "marketing");
    for none in ["type=sms", "type=whatsapp,sms", "active=false"] {
        let (_, answer) = owner.get(&format!("/api/templates?{none}")).await;
        assert_eq!(answer["data"]["pagination"]["total"], 0, "{none}");
    }
    let stored: Value = sqlx::query_scalar("select published -> 'source' from template_versions")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(stored["body"], json!({"text": "Dear {{name}}, please renew your policy..."}));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn texts_come_back_as_they_were_given(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let check = async |texts: Value, format: Option<&str>| {
        let mut body = texts.clone();
        body["name"] = json!("Any");
        body["type"] = json!(if texts["subject"].is_null() { "sms" } else { "email" });
        let id = made(&owner, body).await;
        let (_, answer) = owner.get(&format!("/api/templates/{id}")).await;
        for (key, value) in texts.as_object().expect("an object") {
            assert_eq!(&answer["data"][key], value, "{key} of {texts}");
        }
        assert_eq!(answer["data"]["format"].as_str(), format, "{texts}");
    };
    let braces = r#"Dear { name }, {"a": {"b": 1}} {{{x} \{name} \\{{ {other} }}"#;
    check(json!({"content": braces, "variables": ["name"], "notation": "single"}), None).await;
    check(json!({"subject": "{name}", "content": "<p>{name} {x}</p>", "variables": ["name"]}), Some("html"))
        .await;
    check(
        json!({"subject": "S", "content": "{{#if late}}<b>{{name}}</b>{{/if}}", "notation": "handlebars"}),
        Some("html"),
    )
    .await;
    check(
        json!({"subject": "S", "content": "<mjml><mj-body><mj-text>{{name}}</mj-text></mj-body></mjml>"}),
        Some("mjml"),
    )
    .await;
    check(json!({"subject": "S", "content": "<b> is text", "format": "text"}), Some("text")).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn whatsapp_has_its_kinds(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let content = json!({"kind": "template", "name": "renewal_reminder", "language": "en", "body": [{"text": "{{name}}"}], "buttons": []});
    let id = made(&owner, json!({"name": "renewal reminder", "type": "whatsapp", "content": content})).await;
    // As other systems write it.
    let (status, answer) = owner.get("/api/templates/renewal_reminder").await;
    assert_eq!((status, &answer["data"]["id"]), (200, &json!(id)), "{answer}");
    assert_eq!((&answer["data"]["content"], &answer["data"]["subject"]), (&content, &Value::Null));
    let (_, answer) =
        owner.post(&format!("/api/templates/{id}/preview"), &json!({"values": {"name": "Ann"}})).await;
    assert_eq!(
        answer["data"]["whatsapp"]["template"]["components"][0]["parameters"][0]["text"], "Ann",
        "{answer}"
    );
    let wrong = json!({"name": "x", "type": "whatsapp", "content": {"kind": "template", "name": "Bad Name", "language": "en"}});
    refused(&owner, "/api/templates", wrong, "content.name").await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_can_t_be_taken_is_named(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let with = |key: &str, value: Value| {
        let mut body = renewal();
        body[key] = value;
        body
    };
    let many: Vec<String> = (0..101).map(|n| format!("v{n}")).collect();
    for (key, value, field) in [
        ("name", json!(""), "name"),
        ("name", json!("x".repeat(100_000)), "name"),
        ("name", json!("a\0b"), "name"),
        ("type", json!("fax"), "type"),
        ("subject", json!(null), "subject"),
        ("subject", json!("a\0b"), "subject"),
        ("content", json!("a\0b"), "content"),
        ("content", json!("  "), "content"),
        ("content", json!(7), "content"),
        ("content", json!("x".repeat(262_145)), "content"),
        ("content", json!("Dear {name} {{#if x}}y{{/if}}"), "notation"),
        ("content", json!("{{#if x}}never closed"), "content"),
        ("variables", json!(["else"]), "variables[0]"),
        ("variables", json!(["name", "name"]), "variables[1]"),
        ("variables", json!(["a b"]), "variables[0]"),
        ("variables", json!(many), "variables"),
        ("slug", json!("No Slug"), "slug"),
        ("locale", json!("no locale"), "locale"),
        ("class", json!("spam"), "class"),
        ("text", json!("plain"), "text"),
    ] {
        refused(&owner, "/api/templates", with(key, value), field).await;
    }
    assert_eq!(owner.post("/api/templates", &with("colour", json!("red"))).await.0, 422);
    refused(
        &owner,
        "/api/templates",
        json!({"name": "x", "type": "sms", "content": "x", "format": "html"}),
        "format",
    )
    .await;
    for path in [
        "/api/templates?limit=101",
        "/api/templates?type=fax",
        "/api/templates?active=perhaps",
        "/api/templates?cursor=x",
        "/api/templates?x=1",
    ] {
        assert_eq!(owner.get(path).await.0, 422, "{path}");
    }
    for path in [
        "/api/templates/none",
        "/api/templates/tmpl_0",
        "/api/templates/%00",
        "/api/templates/x/versions/9999999999",
    ] {
        assert_eq!(owner.get(path).await.0, 404, "{path}");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn slugs_are_unique_in_a_channel(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    made(&owner, renewal()).await;
    let second = made(&owner, renewal()).await;
    let (_, answer) = owner.get(&format!("/api/templates/{second}")).await;
    assert_eq!(answer["data"]["slug"], "custom-renewal-template-2");
    let mut taken = renewal();
    taken["slug"] = json!("custom-renewal-template");
    assert_eq!(owner.post("/api/templates", &taken).await.0, 409);
    made(&owner, json!({"name": "Custom Renewal Template", "type": "sms", "content": "Renew"})).await;
    // Two channels have it.
    assert_eq!(owner.get("/api/templates/custom-renewal-template").await.0, 409);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_draft_is_edited_and_then_published(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let mut body = renewal();
    body["draft"] = json!(true);
    let id = made(&owner, body).await;
    let (_, answer) = owner.get(&format!("/api/templates/{id}")).await;
    assert_eq!((&answer["data"]["status"], &answer["data"]["version"]), (&json!("draft"), &json!(1)));

    let versions = format!("/api/templates/{id}/versions");
    // A draft may be unfinished, but what is published may not.
    let unfinished = json!({"subject": "S", "content": "{{#if x}}"});
    assert_eq!(owner.put(&format!("{versions}/1"), &unfinished).await.0, 200);
    refused(&owner, &format!("{versions}/1/publish"), json!({}), "content").await;
    let (status, answer) =
        owner.put(&format!("{versions}/1"), &json!({"subject": "S", "content": "Dear {{name}}"})).await;
    assert_eq!((status, &answer["data"]["variables"]), (200, &json!(["name"])), "{answer}");
    let (status, answer) = owner.post(&format!("{versions}/1/publish"), &json!({})).await;
    assert_eq!((status, &answer["data"]["status"]), (200, &json!("published")), "{answer}");

    // It stays as it is.
    assert_eq!(owner.put(&format!("{versions}/1"), &json!({"subject": "S", "content": "x"})).await.0, 409);
    assert_eq!(owner.post(&format!("{versions}/1/publish"), &json!({})).await.0, 409);
    assert_eq!(owner.delete(&format!("{versions}/1")).await.0, 409);

    let (status, answer) =
        owner.post(&versions, &json!({"subject": "S", "content": "Two", "draft": true})).await;
    assert_eq!((status, &answer["data"]["version"]), (201, &json!(2)), "{answer}");
    let (_, answer) = owner.post(&versions, &json!({"subject": "S", "content": "Three"})).await;
    assert_eq!(
        (&answer["data"]["version"], &answer["data"]["status"]),
        (&json!(3), &json!("published")),
        "{answer}"
    );
    // Somebody was quicker.
    assert_eq!(owner.post(&format!("{versions}/2/publish"), &json!({})).await.0, 409);
    assert_eq!(owner.delete(&format!("{versions}/2")).await.0, 204);
    let (_, answer) =
        owner.post(&versions, &json!({"subject": "S", "content": "Trois", "locale": "fr"})).await;
    assert_eq!(
        (&answer["data"]["version"], &answer["data"]["locale"]),
        (&json!(1), &json!("fr")),
        "{answer}"
    );
    let (_, answer) = owner.get(&format!("{versions}?limit=1")).await;
    assert_eq!(answer["data"]["versions"][0]["version"], 3, "{answer}");
    let cursor = answer["data"]["pagination"]["nextCursor"].as_str().expect("more").to_owned();
    let (_, answer) = owner.get(&format!("{versions}?cursor={cursor}")).await;
    let rest: Vec<_> =
        answer["data"]["versions"].as_array().expect("a list").iter().map(|v| v["locale"].clone()).collect();
    assert_eq!(rest, [json!("en"), json!("fr")]);
    assert_eq!(owner.get(&format!("{versions}/1?locale=fr")).await.1["data"]["content"], "Trois");
    assert_eq!(owner.get(&format!("/api/templates/{id}")).await.1["data"]["content"], "Three");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_preview_is_what_a_recipient_reads(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let id = made(&owner, renewal()).await;
    let path = format!("/api/templates/{id}/preview");
    refused(&owner, &path, json!({}), "values.name").await;
    refused(&owner, &path, json!({"contact": "nobody@example.com"}), "contact").await;
    refused(&owner, &path, json!({"contact": "\0"}), "contact").await;
    let (status, answer) = owner.post(&path, &json!({"values": {"name": "<Ann>"}})).await;
    assert_eq!((status, &answer["data"]["subject"]), (200, &json!("Policy Renewal Notice")), "{answer}");
    assert_eq!(answer["data"]["text"], "Dear <Ann>, please renew your policy...");
    assert!(answer["data"]["html"].as_str().expect("HTML").contains("Dear &lt;Ann&gt;, please"));

    sqlx::query(
        "insert into contacts (id, tenant_id, name, email, time_zone)
         select '01990000-0000-7000-8000-000000000011', id, 'Ann', 'ann@example.com', 'Indian/Mauritius' from tenants where slug = 'acme'",
    )
    .execute(&pool)
    .await
    .unwrap();
    let (status, answer) = owner.post(&path, &json!({"contact": "Ann@Example.com"})).await;
    assert_eq!(
        (status, &answer["data"]["text"]),
        (200, &json!("Dear Ann, please renew your policy...")),
        "{answer}"
    );
    open.engine.store.chain_audit_logs().await.unwrap();
    let reads: i64 = sqlx::query_scalar("select count(*) from audit_log where action = 'contact.read'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(reads, 1);
    let blind = open.key(&["templates:read"]).await;
    assert_eq!(blind.post(&path, &json!({"contact": "ann@example.com"})).await.0, 403);

    let sms = made(&owner, json!({"name": "SMS", "type": "sms", "content": "Pay {{name}} €"})).await;
    let (_, answer) = owner
        .post(&format!("/api/templates/{sms}/preview"), &json!({"values": {"name": "x".repeat(160)}}))
        .await;
    assert_eq!(answer["data"]["segments"], json!({"encoding": "gsm7", "units": 167, "count": 2}), "{answer}");
    let endless: String = "{{#each l}}{{#each this}}{{this}}{{/each}}{{/each}}".repeat(100);
    let hostile = made(&owner, json!({"name": "Hostile", "type": "sms", "content": endless})).await;
    let row = vec!["x"; 120];
    let values = json!({"l": vec![row; 120]});
    let begun = std::time::Instant::now();
    refused(&owner, &format!("/api/templates/{hostile}/preview"), json!({"values": values}), "values").await;
    assert!(begun.elapsed().as_secs() < 5);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_test_goes_to_colleagues_only(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let id = made(&owner, json!({"name": "SMS", "type": "sms", "content": "Dear {{name}}"})).await;
    let path = format!("/api/templates/{id}/test");
    let values = json!({"name": "Ann"});
    refused(&owner, &path, json!({"to": [], "values": values}), "to").await;
    refused(&owner, &path, json!({"to": vec!["+23052345678"; 6], "values": values}), "to").await;
    refused(&owner, &path, json!({"to": ["+23052345678"], "values": values}), "to[0]").await;
    sqlx::query("update users set phone = '+23052345678' where tenant_id = (select id from tenants where slug = 'acme')")
        .execute(&pool)
        .await
        .unwrap();
    refused(&owner, &path, json!({"to": ["+23052345678"]}), "values").await;
    let (status, answer) = owner.post(&path, &json!({"to": ["5234 5678"], "values": values})).await;
    assert_eq!((status, &answer["data"]["messages"][0]["status"]), (202, &json!("accepted")), "{answer}");
    let gathered: Vec<(String, bool)> =
        sqlx::query_as("select class, test from campaigns").fetch_all(&pool).await.unwrap();
    assert_eq!(gathered, [("transactional".to_owned(), true)]);

    let (status, answer) = owner.patch(&format!("/api/templates/{id}"), &json!({"active": false})).await;
    assert_eq!((status, &answer["data"]["active"]), (200, &json!(false)), "{answer}");
    assert_eq!(owner.post(&path, &json!({"to": ["+23052345678"], "values": values})).await.0, 409);
    // Something was sent with it: it is kept.
    assert_eq!(owner.delete(&format!("/api/templates/{id}")).await.0, 409);
    let unused = made(&owner, renewal()).await;
    assert_eq!(owner.delete(&format!("/api/templates/{unused}")).await.0, 204);
    assert_eq!(owner.get(&format!("/api/templates/{unused}")).await.0, 404);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_diff_tells_what_changed(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let id = made(&owner, renewal()).await;
    let next =
        json!({"subject": "Policy Renewal Notice", "content": "Dear {name}, hurry!", "variables": ["name"]});
    assert_eq!(owner.post(&format!("/api/templates/{id}/versions"), &next).await.0, 201);
    let (status, answer) = owner.get(&format!("/api/templates/{id}/diff?from=1&to=2")).await;
    let lines = json!([
        {"change": "removed", "text": "Dear {name}, please renew your policy...", "from": 1, "to": null},
        {"change": "added", "text": "Dear {name}, hurry!", "from": null, "to": 1}
    ]);
    let parts = json!([{"part": "content", "lines": lines, "truncated": false}]);
    assert_eq!((status, &answer["data"]["parts"]), (200, &parts), "{answer}");
    assert_eq!(owner.get(&format!("/api/templates/{id}/diff?from=1&to=3")).await.0, 404);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn nobody_else_sees_or_touches_it(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let id = made(&owner, renewal()).await;
    let stranger = open.stranger().await;
    assert_eq!(stranger.get("/api/templates").await.1["data"]["pagination"]["total"], 0);
    let path = format!("/api/templates/{id}");
    for named in [path.clone(), "/api/templates/custom-renewal-template".to_owned()] {
        assert_eq!(stranger.get(&named).await.0, 404);
        assert_eq!(stranger.patch(&named, &json!({"name": "Mine"})).await.0, 404);
        assert_eq!(stranger.delete(&named).await.0, 404);
        assert_eq!(stranger.get(&format!("{named}/versions")).await.0, 404);
        assert_eq!(stranger.get(&format!("{named}/versions/1")).await.0, 404);
        assert_eq!(stranger.get(&format!("{named}/diff?from=1&to=1")).await.0, 404);
        assert_eq!(stranger.post(&format!("{named}/versions"), &json!({"content": "x"})).await.0, 404);
        assert_eq!(stranger.post(&format!("{named}/versions/1/publish"), &json!({})).await.0, 404);
        assert_eq!(
            stranger.post(&format!("{named}/preview"), &json!({"values": {"name": "x"}})).await.0,
            404
        );
        assert_eq!(stranger.post(&format!("{named}/test"), &json!({"to": ["a@example.com"]})).await.0, 404);
    }
    let reader = open.key(&["templates:read"]).await;
    assert_eq!(reader.get(&path).await.0, 200);
    assert_eq!(reader.post("/api/templates", &renewal()).await.0, 403);
    let author = open.key(&["templates:read", "templates:create"]).await;
    assert_eq!(author.post("/api/templates", &renewal()).await.0, 403);
    let mut draft = renewal();
    draft["draft"] = json!(true);
    assert_eq!(author.post("/api/templates", &draft).await.0, 201);
    assert_eq!(author.patch(&path, &json!({"active": false})).await.0, 403);
    assert_eq!(author.patch(&path, &json!({"name": "Renamed"})).await.0, 200);
    assert_eq!(author.delete(&path).await.0, 403);
}
