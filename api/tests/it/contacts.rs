//! Contacts over HTTP: one at a time, found again, by the thousand, and what they were sent and said.

use reqwest::{Method, header};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::open::{Client, Open};

async fn made(client: &Client, contact: Value) -> Value {
    let (status, answer) = client.post("/api/contacts", &contact).await;
    assert_eq!(status, 201, "{answer}");
    answer["data"].clone()
}

async fn found(client: &Client, query: &str) -> Vec<String> {
    let (status, answer) = client.get(&format!("/api/contacts?{query}")).await;
    assert_eq!(status, 200, "{query}: {answer}");
    let contacts = answer["data"]["contacts"].as_array().unwrap();
    contacts.iter().map(|contact| contact["name"].as_str().unwrap_or("-").to_owned()).collect()
}

fn path(contact: &Value) -> String {
    format!("/api/contacts/{}", contact["id"].as_str().unwrap())
}

fn fields(answer: &Value) -> Vec<&str> {
    answer["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect()
}

async fn send(client: &Client, path: &str, kind: &str, body: String) -> (u16, Value) {
    let request = client.request(Method::POST, path).header(header::CONTENT_TYPE, kind).body(body);
    client.send(request).await
}

async fn bulk(client: &Client, lines: &[&str]) -> Value {
    let (status, answer) = send(client, "/api/contacts/bulk", "application/x-ndjson", lines.join("\n")).await;
    assert_eq!(status, 200, "{answer}");
    answer["data"].clone()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_person_is_known_by_the_address_and_without_one_by_the_phone(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let ann = made(&owner, json!({"name": "Ann", "email": " Ann@Example.COM", "attributes": {"plan": "A", "due": {"minor": 1250, "currency": "MUR"}}})).await;
    assert_eq!((&ann["email"], &ann["timeZone"]), (&json!("ann@example.com"), &json!("Indian/Mauritius")));
    let again = json!({"email": "ann@example.com", "phone": "5234 5678", "attributes": {"plan": "B", "rate": f64::MAX}});
    let (status, told) = owner.post("/api/contacts", &again).await;
    assert_eq!(
        (status, &told["data"]["id"], &told["data"]["name"]),
        (200, &ann["id"], &json!("Ann")),
        "{told}"
    );
    assert_eq!(
        told["data"]["attributes"],
        json!({"plan": "B", "rate": f64::MAX, "due": {"minor": 1250, "currency": "MUR"}})
    );
    assert_eq!(told["data"]["phone"], "+23052345678");

    // Known by phone alone, until an address comes.
    let bob = made(&owner, json!({"name": "Bob", "phone": "5234 5679"})).await;
    let (status, same) =
        owner.post("/api/contacts", &json!({"phone": "+230 5234 5679", "locale": "fr"})).await;
    assert_eq!((status, &same["data"]["id"]), (200, &bob["id"]), "{same}");
    let (status, given) =
        owner.post("/api/contacts", &json!({"phone": "52345679", "email": "bob@example.com"})).await;
    assert_eq!(
        (status, &given["data"]["id"], &given["data"]["email"]),
        (200, &bob["id"], &json!("bob@example.com"))
    );
    made(&owner, json!({"name": "Another", "phone": "5234 5679"})).await;

    // Another tenant has its own Ann, and not ours.
    let stranger = open.stranger().await;
    assert_eq!(stranger.get(&path(&ann)).await.0, 404);
    assert_eq!(stranger.patch(&path(&ann), &json!({"name": "Mine"})).await.0, 404);
    assert_eq!(stranger.delete(&path(&ann)).await.0, 404);
    let theirs = made(&stranger, json!({"email": "ann@example.com"})).await;
    assert_ne!(theirs["id"], ann["id"]);
    assert_eq!(found(&stranger, "q=ann").await, ["-"]);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_can_not_be_taken_is_named(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let many: serde_json::Map<String, Value> = (0..201).map(|n| (format!("a{n}"), json!(n))).collect();
    let cases = [
        (json!({"name": "Nobody"}), vec!["email"]),
        (
            json!({"email": "nobody", "phone": "1", "timeZone": "Mars/Olympus", "locale": "?"}),
            vec!["email", "phone", "locale", "timeZone"],
        ),
        (json!({"email": "a@example.com", "name": "a\u{0}b"}), vec!["name"]),
        (json!({"email": "a@example.com", "name": "x".repeat(100_000)}), vec!["name"]),
        (json!({"email": "a@example.com", "attributes": {"phone": "1"}}), vec!["attributes.phone"]),
        (
            json!({"email": "a@example.com", "attributes": {"a": "\u{0}", "b": ["\u{0}"]}}),
            vec!["attributes.a", "attributes.b[0]"],
        ),
        (
            json!({"email": "a@example.com", "attributes": {"b": [1], "c": null}}),
            vec!["attributes.b", "attributes.c"],
        ),
        (json!({"email": "a@example.com", "attributes": many}), vec!["attributes"]),
        (json!({"email": "a@example.com", "branch": ""}), vec!["branch"]),
        (
            json!({"email": "a@example.com", "assignedTo": "usr_00000000000000000000000000"}),
            vec!["assignedTo"],
        ),
        (json!({"email": "a@example.com", "surname": "x"}), vec!["surname"]),
    ];
    for (contact, expected) in cases {
        let (status, answer) = owner.post("/api/contacts", &contact).await;
        assert_eq!((status, fields(&answer)), (422, expected), "{answer}");
    }
    let (status, answer) =
        send(&owner, "/api/contacts", "application/json", r#"{"name": "\ud800"}"#.to_owned()).await;
    assert!(status == 400 || status == 422, "{status} {answer}");
    for query in
        ["q=%00", "q=-", "sort=phone", "limit=0", "email=nobody", "createdAfter=yesterday", "colour=red"]
    {
        let (status, answer) = owner.get(&format!("/api/contacts?{query}")).await;
        assert_eq!(status, 422, "{query}: {answer}");
    }
    let reader = open.key(&["contacts:read"]).await;
    assert_eq!(reader.post("/api/contacts", &json!({"email": "a@example.com"})).await.0, 403);
    assert_eq!(open.nobody().get("/api/contacts").await.0, 401);
    // Whoever may add may not change.
    made(&owner, json!({"email": "a@example.com"})).await;
    let adder = open.key(&["contacts:create"]).await;
    assert_eq!(adder.post("/api/contacts", &json!({"email": "a@example.com", "name": "A"})).await.0, 403);
    made(&adder, json!({"email": "b@example.com"})).await;
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_edit_sets_takes_away_and_meets_what_was_read(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let ann = made(
        &owner,
        json!({"name": "Ann", "email": "ann@example.com", "locale": "fr", "attributes": {"a": 1, "b": 2}}),
    )
    .await;
    let read = owner.request(Method::GET, &path(&ann)).send().await.unwrap();
    let tag = read.headers()["etag"].to_str().unwrap().to_owned();
    let edit = |change: Value| {
        let request = owner.request(Method::PATCH, &path(&ann)).header("If-Match", &tag).json(&change);
        owner.send(request)
    };
    let (status, answer) = edit(json!({"name": null, "attributes": {"a": null, "c": 3}})).await;
    assert_eq!(status, 200, "{answer}");
    let contact = &answer["data"];
    assert_eq!((&contact["name"], &contact["locale"]), (&Value::Null, &json!("fr")));
    assert_eq!(contact["attributes"], json!({"b": 2, "c": 3}));
    assert_eq!(edit(json!({"name": "Late"})).await.0, 412);
    let (status, answer) = owner.patch(&path(&ann), &json!({"email": null})).await;
    assert_eq!((status, fields(&answer)), (422, vec!["email"]));
    assert_eq!(owner.patch(&path(&ann), &json!({"timeZone": null})).await.0, 200, "nothing is said");

    made(&owner, json!({"email": "bob@example.com"})).await;
    let (status, answer) = owner.patch(&path(&ann), &json!({"email": "Bob@example.com"})).await;
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "{answer}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_erased_contact_is_nobody(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let ann = made(&owner, json!({"name": "Ann", "email": "ann@example.com", "attributes": {"a": 1}})).await;
    let consent = json!({"consents": [{"channel": "email", "granted": true, "source": "form"},
                                      {"channel": "sms", "granted": false, "source": "form"}]});
    assert_eq!(owner.put(&format!("{}/consents", path(&ann)), &consent).await.0, 200);
    assert_eq!(owner.delete(&path(&ann)).await.0, 204);
    assert_eq!(owner.get(&path(&ann)).await.0, 404);
    assert_eq!(owner.get(&format!("{}/timeline", path(&ann))).await.0, 404);
    assert_eq!(found(&owner, "q=ann").await, Vec::<String>::new());
    let left: (Option<String>, Option<String>, Value, i64) = sqlx::query_as(
        "select name, email, attributes, (select count(*) from consents) from contacts where erased_at is not null",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(left, (None, None, json!({}), 1), "a no stays for what was frozen before");
    let anew = made(&owner, json!({"email": "ann@example.com"})).await;
    assert_ne!(anew["id"], ann["id"]);
    open.engine.store.chain_audit_logs().await.unwrap();
    let logged: String = sqlx::query_scalar(
        "select string_agg(detail::text, ' ') from audit_log where action like 'contact.%'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert!(!logged.contains("ann@example.com") && !logged.contains("Ann"), "{logged}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn people_are_found_and_listed_in_order(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    for (name, email, phone) in [
        ("Ann Smith", "a.smith@example.com", "5234 0001"),
        ("Bob O'Neil", "bob@mail.example", "5234 0002"),
        ("Chloé Dupont-Smith", "chloe@example.com", "5299 0003"),
    ] {
        made(&owner, json!({"name": name, "email": email, "phone": phone, "locale": if name.starts_with('C') { "fr" } else { "en" }})).await;
    }
    for (query, expected) in [
        ("q=smi&sort=name", vec!["Ann Smith", "Chloé Dupont-Smith"]),
        ("q=ann+smith", vec!["Ann Smith"]),
        ("q=A.Smith@EX", vec!["Ann Smith"]),
        ("q=o'neil", vec!["Bob O'Neil"]),
        ("q=mail.ex", vec!["Bob O'Neil"]),
        ("q=dupont-smith", vec!["Chloé Dupont-Smith"]),
        ("q=%2B230+5234+0002", vec!["Bob O'Neil"]),
        ("q=5299", vec!["Chloé Dupont-Smith"]),
        ("q=nobody", vec![]),
        ("email=Bob@mail.example", vec!["Bob O'Neil"]),
        ("locale=fr", vec!["Chloé Dupont-Smith"]),
        ("timeZone=Europe/Paris", vec![]),
        ("sort=-name&limit=2", vec!["Chloé Dupont-Smith", "Bob O'Neil"]),
        ("sort=createdAt&limit=1", vec!["Ann Smith"]),
        ("createdAfter=2100-01-01T00:00:00Z", vec![]),
        ("createdBefore=1960-01-01T00:00:00Z", vec![]),
        ("createdAfter=1960-01-01T00:00:00Z&limit=1", vec!["Chloé Dupont-Smith"]),
    ] {
        assert_eq!(found(&owner, query).await, expected, "{query}");
    }
    let (_, answer) = owner.get("/api/contacts?sort=createdAt").await;
    let second = answer["data"]["contacts"][1]["createdAt"].as_str().unwrap();
    let after = found(&owner, &format!("createdAfter={second}&sort=createdAt")).await;
    assert_eq!(after, ["Bob O'Neil", "Chloé Dupont-Smith"]);
    assert_eq!(found(&owner, &format!("createdBefore={second}")).await, ["Ann Smith"]);
    // Signs that mean something in a text query mean nothing here.
    for query in ["q=%27%3A*+%26+%5C", "q=a%27%7C%21b", "q=%5C%27"] {
        let (status, answer) = owner.get(&format!("/api/contacts?{query}")).await;
        assert!(status == 200 || status == 422, "{query}: {status} {answer}");
    }
    // Page by page, by cursor: everybody once, also with somebody new in between.
    let (mut names, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let query = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let (status, answer) = owner.get(&format!("/api/contacts?limit=1{query}")).await;
        assert_eq!((status, &answer["data"]["pagination"]["total"]), (200, &json!(3)), "{answer}");
        names.push(answer["data"]["contacts"][0]["name"].as_str().unwrap().to_owned());
        made(&owner, json!({"email": format!("new{}@example.com", names.len())})).await;
        match answer["data"]["pagination"]["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(names, ["Chloé Dupont-Smith", "Bob O'Neil", "Ann Smith"]);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn whoever_sees_a_branch_finds_no_other(pool: PgPool) {
    let open = Open::new(&pool).await;
    let (owner, agent) = (open.owner().await, open.owner().await);
    let user = agent.get("/api/auth/me").await.1["data"]["email"].as_str().unwrap().to_owned();
    let ours =
        made(&owner, json!({"name": "Ours", "email": "ours@example.com", "branch": "Port Louis"})).await;
    let theirs =
        made(&owner, json!({"name": "Theirs", "email": "theirs@example.com", "branch": "Curepipe"})).await;
    sqlx::query("update users set scope = 'branch', branch = 'Port Louis' where email = $1")
        .bind(&user)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(found(&agent, "").await, ["Ours"]);
    assert_eq!(found(&agent, "q=the").await, Vec::<String>::new());
    assert_eq!(agent.get(&path(&ours)).await.0, 200);
    for path in [path(&theirs), format!("{}/consents", path(&theirs)), format!("{}/timeline", path(&theirs))]
    {
        assert_eq!(agent.get(&path).await.0, 404, "{path}");
    }
    assert_eq!(agent.patch(&path(&theirs), &json!({"name": "Ours"})).await.0, 404);
    assert_eq!(agent.patch(&path(&ours), &json!({"branch": "Curepipe"})).await.0, 403);
    assert_eq!(
        agent.post("/api/contacts", &json!({"email": "theirs@example.com", "name": "Ours"})).await.0,
        409
    );
    assert_eq!(
        agent.post("/api/contacts", &json!({"email": "x@example.com", "branch": "Curepipe"})).await.0,
        403
    );
    assert_eq!(made(&agent, json!({"email": "new@example.com"})).await["branch"], "Port Louis");
    assert_eq!(send(&agent, "/api/contacts/bulk", "application/x-ndjson", "{}".to_owned()).await.0, 403);

    // Nor through what was sent to them, or through what is not to be.
    for list in ["/api/messages", "/api/messages?address=theirs@example.com", "/api/suppressions"] {
        assert_eq!(agent.get(list).await.0, 403, "{list}");
    }
    let messages = |contact: &Value| format!("/api/messages?contact={}", contact["id"].as_str().unwrap());
    assert_eq!(agent.get(&messages(&ours)).await.0, 200);
    assert_eq!(agent.get(&messages(&theirs)).await.0, 404);
    let send = json!({"to": theirs["id"], "subject": "S", "message": "m"});
    let (status, refused) = agent.post("/api/communication/email/send", &send).await;
    assert_eq!((status, fields(&refused)), (422, vec!["to"]), "{refused}");

    sqlx::query("update users set scope = 'assigned', branch = null where email = $1")
        .bind(&user)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(found(&agent, "").await, Vec::<String>::new());
    let mine = made(&agent, json!({"name": "Mine", "email": "mine@example.com"})).await;
    assert!(mine["assignedTo"].is_string(), "{mine}");
    assert_eq!(found(&agent, "").await, ["Mine"]);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn contacts_come_by_the_thousand(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    made(&owner, json!({"name": "Ann", "email": "ann@example.com", "attributes": {"a": 1}})).await;
    let taken = bulk(&owner, &[
        r#"{"email": "Ann@example.com", "attributes": {"b": 2}}"#,
        "",
        r#"{"name": "Bob", "phone": "5234 5678", "locale": "fr-MU", "attributes": {"due": {"minor": 1250, "currency": "MUR"}}}"#,
        r#"{"email": "nobody"}"#,
        r#"{"emial": "x@example.com"}"#,
        "not json",
        r#"{"email": "twice@example.com", "name": "First"}"#,
        r#"{"email": "twice@example.com", "name": "Second"}"#,
    ])
    .await;
    let counts =
        ["linesRead", "linesTaken", "linesRefused", "contactsCreated", "contactsUpdated", "problemsLeftOut"];
    assert_eq!(counts.map(|count| taken[count].as_i64().unwrap()), [7, 4, 3, 2, 1, 0], "{taken}");
    let problems: Vec<(i64, &str)> = taken["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["line"].as_i64().unwrap(), problem["field"].as_str().unwrap()))
        .collect();
    assert_eq!(problems, [(4, "email"), (5, "row"), (6, "row")]);
    assert_eq!(found(&owner, "sort=name").await, ["Ann", "Bob", "Second"]);
    let (_, ann) = owner.get("/api/contacts?email=ann@example.com").await;
    assert_eq!(ann["data"]["contacts"][0]["attributes"], json!({"a": 1, "b": 2}));
    let (_, bob) = owner.get("/api/contacts?q=52345678").await;
    assert_eq!(bob["data"]["contacts"][0]["attributes"], json!({"due": {"minor": 1250, "currency": "MUR"}}));
    assert_eq!(bob["data"]["contacts"][0]["locale"], "fr-MU");

    let lines: Vec<String> = (0..3_000)
        .map(|n| if n % 2 == 0 { format!(r#"{{"email": "p{n}@example.com"}}"#) } else { "{}".to_owned() })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let many = bulk(&owner, &lines).await;
    assert_eq!((&many["contactsCreated"], &many["linesRefused"]), (&json!(1_500), &json!(1_500)));
    assert_eq!((many["problems"].as_array().unwrap().len(), &many["problemsLeftOut"]), (1_000, &json!(500)));
    let again = bulk(&owner, &lines).await;
    assert_eq!((&again["contactsCreated"], &again["contactsUpdated"]), (&json!(0), &json!(0)));
    open.engine.store.chain_audit_logs().await.unwrap();
    let deeds: i64 = sqlx::query_scalar("select count(*) from audit_log where action = 'contact.bulk'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(deeds, 3);

    for (kind, body, status) in [
        ("application/json", "{}", 415),
        ("application/x-ndjson", "", 422),
        ("application/x-ndjson", "\u{0}", 422),
    ] {
        let (answered, answer) = send(&owner, "/api/contacts/bulk", kind, body.to_owned()).await;
        assert_eq!(answered, status, "{answer}");
    }
    let adder = open.key(&["contacts:create"]).await;
    assert_eq!(send(&adder, "/api/contacts/bulk", "application/x-ndjson", "{}".to_owned()).await.0, 403);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn consents_and_wishes_are_kept(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let ann = made(&owner, json!({"email": "ann@example.com"})).await;
    let consents = format!("{}/consents", path(&ann));
    let word = |granted: bool, at: &str| json!({"consents": [{"channel": "email", "granted": granted, "source": "form", "recordedAt": at}]});
    assert_eq!(owner.get(&consents).await.1["data"], json!({"rule": "opt_out", "consents": []}));
    assert_eq!(owner.put(&consents, &word(false, "2026-01-02T00:00:00Z")).await.0, 200);
    let (_, answer) = owner.put(&consents, &word(true, "2026-01-01T00:00:00Z")).await;
    assert_eq!(answer["data"]["consents"][0]["granted"], false, "an older word changes nothing: {answer}");
    let refused = [
        json!({"consents": []}),
        json!({"consents": [{"channel": "fax", "granted": true, "source": "form"}]}),
        json!({"consents": [{"channel": "sms", "granted": true, "source": ""}]}),
        word(true, "2999-01-01T00:00:00Z"),
        json!({"consents": [{"channel": "sms", "granted": true, "source": "a"}, {"channel": "sms", "granted": false, "source": "b"}]}),
    ];
    for body in refused {
        assert_eq!(owner.put(&consents, &body).await.0, 422, "{body}");
    }
    // The rule that a send asks knows it.
    let refusals: Vec<String> = sqlx::query_scalar(
        "select reason from contacts c, refusals(c.tenant_id, 'email', 'marketing', array[c.id], array[c.email])",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(refusals, ["no_consent"]);

    let wishes = format!("{}/preferences", path(&ann));
    let wanted = json!({"channels": ["whatsapp", "email"]});
    assert_eq!(owner.get(&wishes).await.1["data"], json!({"channels": []}));
    assert_eq!(owner.put(&wishes, &wanted).await.0, 200);
    assert_eq!(owner.get(&wishes).await.1["data"], wanted);
    for body in [json!({"channels": ["sms", "sms"]}), json!({"channels": ["in_app"]})] {
        assert_eq!(owner.put(&wishes, &body).await.0, 422, "{body}");
    }
    assert_eq!(open.stranger().await.get(&consents).await.0, 404);
}

/// A campaign of two channels to Ann, as its rows are when it has ended.
const SENT: &str = "
    with ann as (select id, tenant_id from contacts where email = 'ann@example.com'),
    template as (
        insert into templates (id, tenant_id, slug, channel, class, name)
        select gen_random_uuid(), tenant_id, 't', 'email', 'obligation', 'T' from ann returning id, tenant_id
    ), campaign as (
        insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, state, launched_at)
        select c.id::uuid, template.tenant_id, 'campaign', c.name, 'email', 'obligation', template.id, 'finished', c.at::timestamptz
        from template, (values ('01990000-0000-7000-8000-0000000000c1', 'First', '2026-01-01T00:00:00Z'),
                               ('01990000-0000-7000-8000-0000000000c2', 'Second', '2026-02-01T00:00:00Z'),
                               ('01990000-0000-7000-8000-0000000000c3', 'Third', '2026-03-01T00:00:00Z')) c (id, name, at)
    ), recipient as (
        insert into recipients (campaign_id, n, variant, excluded, contact_id, address, variables)
        select c.id::uuid, 1, 0, c.excluded, ann.id, 'ann@example.com', '[]'
        from ann, (values ('01990000-0000-7000-8000-0000000000c1', null), ('01990000-0000-7000-8000-0000000000c2', null),
                          ('01990000-0000-7000-8000-0000000000c3', 'duplicate_address')) c (id, excluded)
    ), event as (
        insert into events (campaign_id, n, kind, dedup, at)
        values ('01990000-0000-7000-8000-0000000000c1', 1, 'delivered', gen_random_uuid(), '2026-01-01T00:02:00Z')
    )
    insert into results (campaign_id, n, attempt, kind, at, reason)
    values ('01990000-0000-7000-8000-0000000000c1', 1, 1, 1, '2026-01-01T00:00:01Z', 'throttled'),
           ('01990000-0000-7000-8000-0000000000c1', 1, 2, 0, '2026-01-01T00:01:00Z', null),
           ('01990000-0000-7000-8000-0000000000c2', 1, 1, 2, '2026-02-01T00:00:01Z', 'recipient_rejected')";

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_timeline_tells_what_became_of_every_message(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let ann = made(&owner, json!({"email": "ann@example.com"})).await;
    let bob = made(&owner, json!({"email": "bob@example.com"})).await;
    sqlx::raw_sql(SENT).execute(&pool).await.unwrap();
    let timeline = |contact: &Value, query: &str| {
        let (owner, path) = (owner.clone(), format!("{}/timeline{query}", path(contact)));
        async move { owner.get(&path).await }
    };
    let (status, answer) = timeline(&ann, "").await;
    assert_eq!((status, &answer["data"]["pagination"]["total"]), (200, &json!(3)), "{answer}");
    let messages = answer["data"]["messages"].as_array().unwrap();
    let states: Vec<_> = messages
        .iter()
        .map(|message| {
            (
                message["campaignName"].as_str().unwrap(),
                message["state"].as_str().unwrap(),
                message["reason"].as_str(),
            )
        })
        .collect();
    let expected = [
        ("Third", "excluded", Some("duplicate_address")),
        ("Second", "failed", Some("recipient_rejected")),
        ("First", "delivered", None),
    ];
    assert_eq!(states, expected);
    let events: Vec<&str> = messages[2]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["retry", "accepted", "delivered"]);
    let (_, first) = timeline(&ann, "?limit=2").await;
    let next = first["data"]["pagination"]["nextCursor"].as_str().unwrap();
    let (_, second) = timeline(&ann, &format!("?limit=2&cursor={next}")).await;
    assert_eq!(second["data"]["messages"][0]["campaignName"], "First", "{second}");
    assert_eq!(second["data"]["messages"].as_array().unwrap().len(), 1);
    assert_eq!(timeline(&bob, "").await.1["data"]["messages"], json!([]));
    assert_eq!(open.stranger().await.get(&format!("{}/timeline", path(&ann))).await.0, 404);
    let reader = open.key(&["contacts:read"]).await;
    assert_eq!(reader.get(&format!("{}/timeline", path(&ann))).await.0, 403);
}
