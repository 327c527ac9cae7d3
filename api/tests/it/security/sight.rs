//! A10 rows and environments: whoever sees only some of the contacts, and whoever only tries things out.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::tenants::{in_role, made};
use crate::{
    contract::{call, document, filled, operations, things},
    naughty::bodies::full,
    open::{Client, Open},
    support::in_two_days,
};

/// Somebody who may do everything, to contacts of the north.
async fn northerner(open: &Open, owner: &Client) -> Client {
    made(owner, "/api/roles", json!({"slug": "north", "name": "North", "permissions": ["*"]})).await;
    let head = in_role(open, owner, "north").await;
    let me = head.get("/api/auth/me").await.1["data"]["id"].as_str().unwrap().to_owned();
    let change = json!({"firstName": "Head", "role": "north", "rowScope": "branch", "branch": "north"});
    assert_eq!(owner.put(&format!("/api/users/{me}"), &change).await.0, 200);
    head
}

async fn open(pool: &PgPool) -> Open {
    Open::with(pool, &[("FANFARE_SEALING_KEYS", "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")]).await
}

/// A contact, a message or a reference that is out of sight is so on every operation of the document that takes one.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_whom_nobody_sees_they_do_not_name(pool: PgPool) {
    let open = open(&pool).await;
    let owner = open.owner().await;
    let mut ids = things(&open, &owner, "acme").await;
    ids.extend([("name", "policyId".to_owned()), ("value", "POL-1".to_owned())]);
    let head = northerner(&open, &owner).await;
    let document = document(&open).await;
    let named = [
        ("contact_id", ids["contact_id"].as_str()),
        ("contact", ids["contact_id"].as_str()),
        ("contactId", ids["contact_id"].as_str()),
        ("message_id", ids["message_id"].as_str()),
        ("message", ids["message_id"].as_str()),
        ("reference", "policyId:POL-1"),
        ("value", "POL-1"),
    ];
    let mut tried = 0;
    for operation in operations(&document) {
        let item = &document["paths"][&operation.path][operation.method.as_str().to_lowercase()];
        let path = filled(&operation.path, &ids);
        let good = full(&operation.method, &operation.path, &in_two_days());
        let takes = |name: &str, place: &str| {
            let mut parameters = item["parameters"].as_array().into_iter().flatten();
            parameters.any(|parameter| parameter["name"] == name && parameter["in"] == place)
        };
        let schema = &item["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let fields = schema.as_str().map(|schema| &document.pointer(&schema[1..]).unwrap()["properties"]);
        let mut requests = Vec::new();
        for (name, value) in named {
            if takes(name, "path") {
                requests.push((path.clone(), good.clone()));
            } else if takes(name, "query") {
                requests.push((format!("{path}?{name}={value}"), good.clone()));
            }
            // What is written to somebody is called a message, too.
            let field = fields.map_or(&Value::Null, |fields| &fields[name]);
            if !field.is_null() && (name != "message" || field["example"].as_str().is_some_and(is_message)) {
                let mut body = good.clone();
                body.as_object_mut().unwrap().remove("reference");
                body[name] = json!(value);
                requests.push((path.clone(), body));
            }
        }
        for (path, body) in requests {
            let (status, answer) = call(&head, &operation, &path, &body).await;
            assert!([403, 404].contains(&status), "{} {path} {body}: {status} {answer}", operation.method);
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
}

fn is_message(example: &str) -> bool {
    example.starts_with("msg_")
}

/// A contact that is added again by its address stays whose it is; and a key tells nothing of somebody out of sight.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_whoever_sees_a_branch_gives_nobody_away(pool: PgPool) {
    let open = open(&pool).await;
    let owner = open.owner().await;
    let head = northerner(&open, &owner).await;
    let me = head.get("/api/auth/me").await.1["data"]["id"].clone();
    let north = json!({"email": "n@acme.example", "phone": "+23052345671", "branch": "north"});
    let south = json!({"email": "s@acme.example", "phone": "+23052345672", "branch": "south"});
    made(&owner, "/api/contacts", north).await;
    let south = made(&owner, "/api/contacts", south).await;
    for (more, expected) in [
        (json!({"assignedTo": me}), 403),
        (json!({"branch": "south"}), 403),
        (json!({"branch": "north", "name": "Ann"}), 200),
    ] {
        let mut body = more.clone();
        body["email"] = json!("n@acme.example");
        let (status, answer) = head.post("/api/contacts", &body).await;
        assert_eq!(status, expected, "{more}: {answer}");
    }
    let assigned: i64 = sqlx::query_scalar("select count(*) from contacts where assigned_to is not null")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(assigned, 0);
    made(&head, "/api/contacts", json!({"email": "new@acme.example", "assignedTo": me})).await;

    let keyed =
        |to: &Value| json!({"to": to, "message": "m", "businessKey": "due", "scheduledAt": in_two_days()});
    let sms = "/api/communication/sms/send";
    made(&owner, sms, keyed(&south["id"])).await;
    let (status, answer) = head.post(sms, &keyed(&json!("+23052345671"))).await;
    assert_eq!((status, &answer["messageId"]), (409, &Value::Null), "{answer}");
    let (status, answer) = owner.post(sms, &keyed(&south["id"])).await;
    assert_eq!((status, &answer["data"]["duplicate"]), (200, &json!(true)), "{answer}");
}

/// Whoever may add a contact reads one that is known by its address: it is noted that they did.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_a_contact_that_is_added_again_was_read(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let ann = made(&owner, "/api/contacts", json!({"email": "ann@acme.example", "name": "Ann"})).await;
    let adder = open.key(&["contacts:create", "contacts:update"]).await;
    let (status, known) = adder.post("/api/contacts", &json!({"email": "ann@acme.example"})).await;
    assert_eq!((status, &known["data"]["name"]), (200, &json!("Ann")), "{known}");
    let (_, log) = owner.get("/api/audit-log?action=contact.read").await;
    let deeds = log["data"]["deeds"].as_array().unwrap();
    assert_eq!(deeds.len(), 1, "{log}");
    assert_eq!(deeds[0]["subject"], ann["id"]);
    assert!(deeds[0]["actor"].as_str().unwrap().starts_with("key:"), "{log}");
}

/// What a key makes is its maker's: through however many keys, nobody approves what they wrote.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_a_key_of_a_key_is_its_makers(pool: PgPool) {
    let open = Open::new(&pool).await;
    let (owner, other) = (open.owner().await, open.owner().await);
    assert_eq!(owner.put("/api/settings/campaigns", &json!({"reviewAbove": 1})).await.0, 200);
    made(&owner, "/api/templates", json!({"name": "Due", "type": "sms", "content": "Due"})).await;
    for phone in ["+23052345671", "+23052345672"] {
        made(&owner, "/api/contacts", json!({"phone": phone})).await;
    }
    let new = json!({"name": "Due", "type": "sms", "templates": {"sms": "due"}, "targetAudience": "all"});
    let drafted = made(&owner, "/api/campaigns", new).await;
    let path = format!("/api/campaigns/{}", drafted["campaigns"][0]["id"].as_str().unwrap());
    let (status, submitted) = owner.post(&format!("{path}/submit"), &json!({})).await;
    assert_eq!(status, 200, "{submitted}");
    let mut program = owner.clone();
    for _ in 0..3 {
        let key = made(&program, "/api/keys", json!({"name": "program", "scopes": ["*"]})).await;
        program = open.bearing(key["key"].as_str().unwrap());
        let (status, answer) = program.post(&format!("{path}/approve"), &json!({})).await;
        assert_eq!((status, &answer["code"]), (403, &json!("forbidden")), "{answer}");
    }
    let (status, answer) = other.post(&format!("{path}/approve"), &json!({})).await;
    assert_eq!(status, 200, "{answer}");
}

/// A program of the sandbox changes nothing that production goes by: not its people, not its accounts, not its settings.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_whoever_tries_things_out_changes_nothing_of_the_real_thing(pool: PgPool) {
    let open = open(&pool).await;
    let owner = open.owner().await;
    let ids = things(&open, &owner, "acme").await;
    let new = json!({"name": "try", "scopes": ["*"], "environment": "sandbox"});
    let key = made(&owner, "/api/keys", new).await;
    let program = open.bearing(key["key"].as_str().unwrap());
    let of_production = ["users:update", "roles:update", "accounts:update", "settings:update"];
    let mut tried = 0;
    for operation in operations(&document(&open).await) {
        let needs = operation.needs.iter().flatten();
        let guarded = needs.filter(|needed| of_production.contains(&needed.as_str())).count() > 0;
        if !guarded || operation.method == Method::GET {
            continue;
        }
        let body = full(&operation.method, &operation.path, &in_two_days());
        let (status, answer) = call(&program, &operation, &filled(&operation.path, &ids), &body).await;
        assert_eq!(status, 403, "{} {}: {answer}", operation.method, operation.path);
        assert!(answer["detail"].as_str().unwrap().contains("outside"), "{answer}");
        tried += 1;
    }
    assert!(tried > 12, "{tried}");
    for path in ["/api/users", "/api/roles", "/api/accounts", "/api/settings/allowed-addresses"] {
        assert_eq!(program.get(path).await.0, 200, "{path}");
    }
}

/// Nor does the test of a template reach a colleague who is not on the list.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_whoever_tries_a_template_out_reaches_whom_the_tenant_allows(pool: PgPool) {
    let open = open(&pool).await;
    let owner = open.owner().await;
    made(&owner, "/api/templates", json!({"name": "Due", "type": "sms", "content": "Due"})).await;
    let colleague = json!({"firstName": "Asha", "phone": "+23052345671"});
    let (status, answer) = owner.put("/api/auth/profile", &colleague).await;
    assert_eq!(status, 200, "{answer}");
    let new = json!({"name": "try", "scopes": ["templates:create"], "environment": "sandbox"});
    let key = made(&owner, "/api/keys", new).await;
    let program = open.bearing(key["key"].as_str().unwrap());
    let test = json!({"to": ["+23052345671"]});
    let (status, answer) = program.post("/api/templates/due/test", &test).await;
    assert_eq!((status, &answer["code"]), (422, &json!("not_allow_listed")), "{answer}");
    let allowed = json!({"channel": "sms", "address": "+23052345671"});
    made(&owner, "/api/settings/allowed-addresses", allowed).await;
    let (status, answer) = program.post("/api/templates/due/test", &test).await;
    assert_eq!(status, 202, "{answer}");
}

/// A key of a request is its caller's: another program under the same one, or another request, is another message. And what
/// is tried out leaves a key to the real thing.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_a_key_swallows_no_message_of_another(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let sms = "/api/communication/sms/send";
    let soon = in_two_days();
    let body =
        |key: Value| json!({"to": "+23052345671", "message": "m", "businessKey": key, "scheduledAt": soon});
    let send = async |client: &Client, body: &Value| {
        let request = client.request(Method::POST, sms).header("idempotency-key", "k-1").json(body);
        let (status, answer) = client.send(request).await;
        // Kept answers are gone after a day.
        sqlx::query("delete from idempotency_keys").execute(&pool).await.unwrap();
        (status, answer["data"]["messageId"].clone())
    };
    let (first, second) = (open.key(&["messages:send"]).await, open.key(&["messages:send"]).await);
    let one = send(&first, &body(Value::Null)).await;
    assert_eq!(one.0, 201);
    assert_eq!(send(&first, &body(Value::Null)).await, (200, one.1.clone()), "the same again");
    assert_eq!(send(&second, &body(Value::Null)).await.0, 201, "another program");
    let mut other = body(Value::Null);
    other["message"] = json!("another");
    assert_eq!(send(&first, &other).await.0, 201, "another request");

    let new = json!({"name": "try", "scopes": ["messages:send"], "environment": "sandbox"});
    let key = made(&owner, "/api/keys", new).await;
    let program = open.bearing(key["key"].as_str().unwrap());
    let allowed = json!({"channel": "sms", "address": "+23052345671"});
    made(&owner, "/api/settings/allowed-addresses", allowed).await;
    let keyed = body(json!("due"));
    for client in [&program, &first] {
        let (status, answer) = client.post(sms, &keyed).await;
        assert_eq!(status, 201, "{answer}");
        assert_eq!(client.post(sms, &keyed).await.0, 200);
    }
}

/// Of the same person in both environments an answer is kept for each.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_an_answer_of_one_environment_is_none_of_another(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let (_, me) = owner.get("/api/auth/me").await;
    let login =
        json!({"email": me["data"]["email"], "password": crate::open::PASSWORD, "environment": "sandbox"});
    let (status, signed_in) = open.nobody().post("/api/auth/login", &login).await;
    assert_eq!(status, 200, "{signed_in}");
    let trying = open.bearing(signed_in["data"]["token"].as_str().unwrap());
    let add = async |client: &Client| {
        let request = client.request(Method::POST, "/api/contacts").header("idempotency-key", "k");
        client.send(request.json(&json!({"email": "a@acme.example"}))).await
    };
    assert_eq!(add(&owner).await.0, 201);
    let (status, answer) = add(&trying).await;
    assert_eq!((status, &answer["code"]), (422, &json!("idempotency_key_reused")), "{answer}");
}
