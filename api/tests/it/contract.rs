//! What the OpenAPI document says of every operation, tried on every operation: generated from the document, so that a new
//! route is tried from its first day.

use std::collections::BTreeMap;

use fanfare_engine::{
    domain::permission::Permission,
    id::{CampaignId, MessageId},
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::open::{Client, Open};

/// An operation of the document.
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// The permissions that it names; `None` for a public one.
    pub(crate) needs: Option<Vec<String>>,
    has_body: bool,
}

pub(crate) async fn document(open: &Open) -> Value {
    let (status, document) = open.nobody().get("/api/openapi.json").await;
    assert_eq!(status, 200);
    document
}

pub(crate) fn operations(document: &Value) -> Vec<Operation> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let needs = operation["security"].as_array().map(|security| {
                let scopes = security.iter().flat_map(|one| one["bearer"].as_array().unwrap());
                scopes.map(|scope| scope.as_str().unwrap().to_owned()).collect()
            });
            all.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                needs,
                has_body: operation.get("requestBody").is_some(),
            });
        }
    }
    all
}

/// The path with its parameters filled in.
pub(crate) fn filled(path: &str, ids: &BTreeMap<&str, String>) -> String {
    ids.iter().fold(path.to_owned(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id))
}

pub(crate) async fn call(client: &Client, operation: &Operation, path: &str, body: &Value) -> (u16, Value) {
    let request = client.request(operation.method.clone(), path);
    client.send(if operation.has_body { request.json(body) } else { request }).await
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_document_is_what_clients_were_made_from(pool: PgPool) {
    let open = Open::new(&pool).await;
    let mut document = document(&open).await;
    document["info"]["version"] = json!("[version]");
    insta::assert_json_snapshot!(document);
    let (status, page) = open.text("/api/docs/").await;
    assert!(status == 200 && page.contains("swagger-ui"), "{page}");
    assert!(!page.contains("https://"), "the page brings its own assets: {page}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn nobody_does_what_needs_somebody(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__API__STRANGER_PER_SECOND", "1000")]).await;
    for operation in operations(&document(&open).await) {
        let place = format!("{} {}", operation.method, operation.path);
        let (status, answer) = call(&open.nobody(), &operation, &operation.path, &json!({})).await;
        assert_eq!(status == 401, operation.needs.is_some(), "{place}: {status} {answer}");
        let forged = open.bearing("eyJhbGciOiJub25lIn0.e30.");
        let (status, _) = call(&forged, &operation, &operation.path, &json!({})).await;
        assert_eq!(status == 401, operation.needs.is_some(), "{place}, with a forged token");
    }
}

/// Whoever may do everything but the one thing is refused, before anything else is looked at.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_every_operation_needs_the_permission_that_it_names(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__API__STRANGER_PER_SECOND", "1000")]).await;
    let mut keys: BTreeMap<String, Client> = BTreeMap::new();
    let mut tried = 0;
    for operation in operations(&document(&open).await) {
        for needed in operation.needs.iter().flatten() {
            let permission: Permission =
                needed.parse().unwrap_or_else(|_| panic!("{}: `{needed}`", operation.path));
            if !keys.contains_key(needed) {
                let others: Vec<&str> = Permission::ALL
                    .iter()
                    .filter(|other| **other != permission)
                    .map(|other| other.as_str())
                    .collect();
                keys.insert(needed.clone(), open.key(&others).await);
            }
            let (status, answer) = call(&keys[needed], &operation, &operation.path, &json!({})).await;
            assert_eq!(status, 403, "{} {}: {answer}", operation.method, operation.path);
            assert!(answer["detail"].as_str().unwrap().contains(needed), "{answer}");
            tried += 1;
        }
    }
    assert!(tried > 8, "{tried}");
}

/// Things of a tenant, by the name of the parameter that takes their ids; made by an owner of it.
pub(crate) async fn things(open: &Open, owner: &Client, tenant: &str) -> BTreeMap<&'static str, String> {
    let id = |answer: &(u16, Value), pointer: &str| {
        answer.1.pointer(pointer).unwrap_or_else(|| panic!("{answer:?}")).as_str().unwrap().to_owned()
    };
    let role =
        owner.post("/api/roles", &json!({"slug": "theirs", "name": "Theirs", "permissions": []})).await;
    let user = json!({"email": "theirs@other.example", "firstName": "Theirs", "role": "theirs"});
    let user = owner.post("/api/users", &user).await;
    let key = owner.post("/api/keys", &json!({"name": "theirs", "scopes": ["users:read"]})).await;
    let sessions = owner.get("/api/auth/sessions").await;
    let contact = owner.post("/api/contacts", &json!({"email": "theirs@other.example"})).await;
    let suppression = owner.post("/api/suppressions", &json!({"address": "theirs@other.example"})).await;
    let piece = json!({"filename": "theirs.csv", "size": 100});
    let upload_session = owner.post("/api/upload/sessions", &piece).await;
    let upload = crate::uploads::upload(owner, "theirs.csv", "email\nthem@other.example\n", &json!({})).await;
    let template = json!({"name": "Theirs", "type": "sms", "content": "Theirs"});
    let template = owner.post("/api/templates", &template).await;
    let campaign = their_campaign(open, tenant).await;
    let account = owner.post("/api/accounts", &json!({"slug": "theirs", "provider": "in_app"})).await;
    let told =
        owner.post("/api/notifications/broadcast", &json!({"title": "Theirs", "message": "Theirs"})).await;
    BTreeMap::from([
        ("contact_id", id(&contact, "/data/id")),
        ("suppression_id", id(&suppression, "/data/id")),
        ("campaign_id", campaign.to_string()),
        ("message_id", MessageId { campaign, n: 1 }.to_string()),
        ("role_id", id(&role, "/data/id")),
        ("user_id", id(&user, "/data/user/id")),
        ("key_id", id(&key, "/data/id")),
        ("upload_session_id", id(&upload_session, "/data/sessionId")),
        ("upload_id", id(&upload, "/data/uploadId")),
        ("template_id", id(&template, "/data/templateId")),
        ("version", "1".to_owned()),
        ("session_id", id(&sessions, "/data/sessions/0/id")),
        ("notification_id", id(&told, "/data/ids/0")),
        ("account_id", id(&account, "/data/id")),
        // Whoever has the link is whom it is for.
        ("token", "ffl_guess".to_owned()),
    ])
}

/// A campaign with one message.
async fn their_campaign(open: &Open, tenant: &str) -> CampaignId {
    let (campaign, template) = (open.engine.ids.random_uuid(), open.engine.ids.random_uuid());
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "insert into templates (id, tenant_id, slug, channel, class, name)
         select '{template}', id, 'their-campaign', 'sms', 'obligation', 'Theirs' from tenants where slug = '{tenant}';
         insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, audience, state)
         select '{campaign}', id, 'campaign', 'Theirs', 'sms', 'obligation', '{template}', '{{\"contacts\": \"all\"}}', 'in_review'
         from tenants where slug = '{tenant}';
         insert into recipients (campaign_id, n, variant, contact_id, address, variables)
         values ('{campaign}', 1, 0, gen_random_uuid(), '+23057001234', '[]')"
    )))
    .execute(open.engine.store.pool())
    .await
    .unwrap();
    CampaignId::from_uuid(campaign)
}

/// A body that the operation would take.
pub(crate) fn good_body(method: &Method, path: &str) -> Value {
    match (method.as_str(), path) {
        ("PUT", "/api/roles/{role_id}") => json!({"name": "Mine", "permissions": []}),
        ("PUT", "/api/accounts/{account_id}") => json!({"priority": 0, "limits": [], "settings": {}}),
        ("PUT", "/api/accounts/{account_id}/secret") => json!({"secrets": {}}),
        ("PUT", "/api/accounts/{account_id}/prices") => json!({"prices": []}),
        ("PUT", "/api/users/{user_id}") => json!({"firstName": "Mine", "role": "auditor", "rowScope": "all"}),
        ("PUT", "/api/campaigns/{campaign_id}/status") => json!({"status": "stopped"}),
        ("POST", "/api/campaigns/{campaign_id}/conversions") => {
            json!({"kind": "payment", "reference": "theirs"})
        }
        ("POST", "/api/auth/reset-password/{token}" | "/api/auth/accept-invitation/{token}") => {
            json!({"password": "correct horse battery staple"})
        }
        ("PUT", "/api/contacts/{contact_id}/consents") => {
            json!({"consents": [{"channel": "email", "granted": true, "source": "mine"}]})
        }
        ("PUT", "/api/contacts/{contact_id}/preferences") => json!({"channels": []}),
        ("POST", "/api/templates/{template_id}/versions")
        | ("PUT", "/api/templates/{template_id}/versions/{version}") => {
            json!({"content": "Mine"})
        }
        ("POST", "/api/templates/{template_id}/versions/{version}/submit") => {
            json!({"category": "utility", "body": "Hello"})
        }
        ("POST", "/api/templates/{template_id}/test") => json!({"to": ["mine@acme.example"]}),
        _ => json!({}),
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a08_nobody_sees_or_touches_what_is_another_tenants(pool: PgPool) {
    let keys = "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let open = Open::with(&pool, &[("FANFARE_SEALING_KEYS", keys)]).await;
    let ids = things(&open, &open.stranger().await, "other").await;
    let owner = open.owner().await;
    let mut tried = 0;
    let operations = operations(&document(&open).await);
    // A reference is no thing of anybody's: whoever asks about one is told how often they wrote about it.
    let named = |operation: &&Operation| {
        operation.path.contains('{') && operation.path != "/api/references/{name}/{value}"
    };
    for operation in operations.iter().filter(named) {
        let path = filled(&operation.path, &ids);
        assert!(
            !path.contains('{'),
            "{}: say in this test what another tenant's thing of this kind is",
            operation.path
        );
        let (status, answer) =
            call(&owner, operation, &path, &good_body(&operation.method, &operation.path)).await;
        assert_eq!(status, 404, "{} {path}: {answer}", operation.method);
        assert_eq!(answer["code"], "not_found", "{answer}");
        tried += 1;
    }
    assert!(tried > 8, "{tried}");
}

/// utoipa keeps one of two types of the same name, and describes the other as that one.
#[test]
fn no_two_types_share_a_name_in_the_document() {
    fn sources(folder: &std::path::Path, all: &mut Vec<String>) {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else {
                all.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut all = Vec::new();
    sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    let mut named = std::collections::BTreeSet::new();
    for source in &all {
        let derived = source.split("#[derive(").skip(1).filter_map(|after| after.split_once(')'));
        for (_, after) in derived.filter(|(derives, _)| derives.contains("ToSchema")) {
            let mut words = after
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .skip_while(|word| !["struct", "enum"].contains(word));
            let name = words.nth(1).unwrap();
            assert!(named.insert(name), "two types are called `{name}`: the document can hold one of them");
        }
    }
    assert!(named.len() > 100, "{}", named.len());
}

/// Whoever meets an error is led to its explanation by the answer itself.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn every_error_leads_to_its_paragraph(pool: PgPool) {
    let open = Open::new(&pool).await;
    let (status, page) = open.text("/api/docs/errors").await;
    assert_eq!(status, 200);
    let owner = open.owner().await;
    let contact = json!({"email": "ann@acme.example"});
    let role = json!({"slug": "clerk", "name": "Clerk", "permissions": []});
    assert_eq!(owner.post("/api/roles", &role).await.0, 201);
    let met = [
        (owner.get("/api/nothing").await, "no_such_route"),
        (owner.delete("/api/users").await, "no_such_method"),
        (owner.get("/api/contacts/cont_01jd3v9x2gfk8s5m7q4w6r0t1z").await, "not_found"),
        (owner.post("/api/contacts", &json!({"email": 1})).await, "invalid"),
        (
            owner.send(owner.request(Method::POST, "/api/contacts").json(&contact).body("{")).await,
            "malformed",
        ),
        (owner.send(owner.request(Method::POST, "/api/contacts").body("x")).await, "wrong_content_type"),
        (owner.post("/api/contacts", &json!({"name": "x".repeat(9 << 20)})).await, "too_large"),
        (open.nobody().get("/api/users").await, "unauthenticated"),
        (open.key(&["users:read"]).await.get("/api/contacts").await, "forbidden"),
        (owner.post("/api/roles", &role).await, "conflict"),
    ];
    for ((status, answer), code) in met {
        assert_eq!((&answer["code"], &answer["status"]), (&json!(code), &json!(status)), "{answer}");
        let (path, anchor) = answer["type"].as_str().unwrap().split_once('#').unwrap();
        assert_eq!((path, anchor), ("/api/docs/errors", code));
        assert!(
            page.contains(&format!("<tr id=\"{anchor}\"><td><code>{code}</code></td><td>{status}</td>")),
            "{page}"
        );
    }
}

/// What is large comes compressed to whoever takes it so; what fits a packet, and answers to webhooks, do not.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn large_answers_are_compressed(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let asked = async |client: &Client, method: Method, path: &str, encoding: &str| {
        let request = client.request(method, path).header("accept-encoding", encoding);
        let answer = request.send().await.unwrap();
        let encoding = answer.headers().get("content-encoding").map(|name| name.to_str().unwrap().to_owned());
        let varies = answer.headers().get_all("vary").iter().any(|name| name == "accept-encoding");
        (encoding, varies, answer.bytes().await.unwrap())
    };
    for path in ["/api/roles", "/api/openapi.json", "/api/docs/swagger-ui-bundle.js", "/api/docs/errors"] {
        let (encoding, varies, packed) = asked(&owner, Method::GET, path, "br;q=1, gzip;q=0.5").await;
        assert_eq!((encoding.as_deref(), varies), (Some("gzip"), true), "{path}");
        let (encoding, _, plain) = asked(&owner, Method::GET, path, "identity").await;
        assert_eq!(encoding, None, "{path}");
        assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() * 2 < plain.len(), "{path}");
    }
    let hook = open.hook("sms");
    let hook = hook.strip_prefix(&open.base).unwrap();
    for (client, method, path) in [
        (&owner, Method::GET, "/api/auth/me"),
        (&owner, Method::GET, "/api/nothing"),
        (&open.nobody(), Method::GET, "/api/roles"),
        (&open.nobody(), Method::POST, hook),
        (&open.nobody(), Method::GET, "/livez"),
    ] {
        let (encoding, _, _) = asked(client, method, path, "gzip").await;
        assert_eq!(encoding, None, "{path}");
    }
}
