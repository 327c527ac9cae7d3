//! A9 mass assignment, A19 SQL and other texts that are more than texts somewhere. Generated from the OpenAPI document: a route,
//! a field or a parameter that is new is tried from its first day.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    contract::{Operation, document, filled, operations, things},
    open::{Client, Open},
    support::in_two_days,
};

/// Requests at once.
const AT_ONCE: usize = 8;

/// Fields that would change whose it is, what it costs or what one may do, if they were taken.
const COVETED: [&str; 9] = [
    "tenantId",
    "tenant_id",
    "ownerId",
    "createdBy",
    "cost",
    "permissions",
    "isAdmin",
    "approvedBy",
    "__proto__",
];

/// The schema itself, where it is told by a name.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let Some(name) = schema["$ref"].as_str() else { return schema };
    let pointer = name.strip_prefix('#').expect("of this document");
    resolved(document, document.pointer(pointer).expect("what is named is there"))
}

/// A value that has every field of the schema, each of the right kind.
fn example(document: &Value, schema: &Value) -> Value {
    let schema = resolved(document, schema);
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    for several in ["oneOf", "anyOf"] {
        if let Some(one) =
            schema[several].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null"))
        {
            return example(document, one);
        }
    }
    if let Some(all) = schema["allOf"].as_array() {
        let parts = all.iter().filter_map(|one| example(document, one).as_object().cloned());
        return Value::Object(parts.flatten().collect());
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("array") => json!([example(document, &schema["items"])]),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("string") if schema["format"] == "date-time" => json!(in_two_days()),
        Some("string") => json!("x"),
        _ => {
            let properties = schema["properties"].as_object();
            let fields = properties.into_iter().flatten();
            Value::Object(fields.map(|(name, field)| (name.clone(), example(document, field))).collect())
        }
    }
}

/// Where in an example an object stands whose fields the schema names, and which.
fn objects(document: &Value, schema: &Value, at: &str, found: &mut Vec<Place>) {
    let schema = resolved(document, schema);
    for several in ["oneOf", "anyOf"] {
        if let Some(one) =
            schema[several].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null"))
        {
            objects(document, one, at, found);
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        found.push((at.to_owned(), properties.keys().cloned().collect()));
        for (name, field) in properties {
            objects(document, field, &format!("{at}/{name}"), found);
        }
    }
    if schema.get("items").is_some() {
        objects(document, &schema["items"], &format!("{at}/0"), found);
    }
}

fn body_schema<'a>(document: &'a Value, operation: &Operation) -> Option<&'a Value> {
    let item = &document["paths"][&operation.path][operation.method.as_str().to_lowercase()];
    let schema = &item["requestBody"]["content"]["application/json"]["schema"];
    (!schema.is_null()).then_some(schema)
}

/// Where an object stands in a body, and the fields that the document names in it.
type Place = (String, Vec<String>);

/// Every operation with a body, its schema, and every object in it.
fn objects_of_bodies(document: &Value) -> Vec<(Operation, &Value, Vec<Place>)> {
    let bodies = operations(document).into_iter().filter_map(|operation| {
        let schema = body_schema(document, &operation)?;
        let mut places = Vec::new();
        objects(document, schema, "", &mut places);
        Some((operation, schema, places))
    });
    bodies.collect()
}

/// Ids of every kind, of another tenant: what is asked is read, and then there is no such thing.
type Ids = BTreeMap<&'static str, String>;

async fn ids(open: &Open) -> Ids {
    things(open, &open.stranger().await, "other").await
}

async fn open(pool: &PgPool) -> Open {
    let settings = [
        ("FANFARE__API__STRANGER_PER_SECOND", "100000"),
        ("FANFARE__API__TENANT_PER_SECOND", "100000"),
        ("FANFARE__API__PROGRAM_PER_SECOND", "100000"),
        ("FANFARE_SEALING_KEYS", "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
    ];
    Open::with(pool, &settings).await
}

/// In every object of every body, a field that the document does not name is refused by its name, and so is one that only
/// differs in case or notation from one that it does.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a09_what_nobody_may_set_is_refused_by_name(pool: PgPool) {
    let open = open(&pool).await;
    let owner = open.owner().await;
    let (document, ids) = (document(&open).await, ids(&open).await);
    let mut requests = Vec::new();
    for (operation, schema, places) in objects_of_bodies(&document) {
        let whole = example(&document, schema);
        for (at, named) in places {
            for coveted in COVETED.iter().filter(|coveted| !named.iter().any(|name| name == *coveted)) {
                let mut body = whole.clone();
                let Some(Value::Object(object)) = body.pointer_mut(&at) else { continue };
                object.insert((*coveted).to_owned(), json!("x"));
                let body = if at.is_empty() { first(coveted, &whole) } else { body.to_string() };
                requests.push((
                    operation.method.clone(),
                    filled(&operation.path, &ids),
                    body,
                    at.clone(),
                    *coveted,
                ));
            }
        }
    }
    assert!(requests.len() > 400, "{}", requests.len());
    let owner = &owner;
    stream::iter(requests)
        .for_each_concurrent(AT_ONCE, |(method, path, body, at, coveted)| async move {
            let (status, answer) = owner
                .send(
                    owner
                        .request(method.clone(), &path)
                        .header("content-type", "application/json")
                        .body(body),
                )
                .await;
            let place = format!("{method} {path}: `{coveted}` in `{at}`: {status} {answer}");
            assert_eq!(status, 422, "{place}");
            // Where something before the object is wrong as well, that is told.
            assert!(!at.is_empty() || answer["errors"].to_string().contains(coveted), "{place}");
        })
        .await;
}

/// Lists are not objects without names: where the document has an object, a list is refused, at every depth.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a09_a_list_is_no_object(pool: PgPool) {
    let open = open(&pool).await;
    let owner = open.owner().await;
    let (document, ids) = (document(&open).await, ids(&open).await);
    let mut requests = Vec::new();
    for (operation, _, places) in objects_of_bodies(&document) {
        for (at, named) in places {
            for list in [json!([]), json!([null]), json!(vec![Value::Null; named.len()])] {
                requests.push((
                    operation.method.clone(),
                    filled(&operation.path, &ids),
                    at.clone(),
                    alone(&at, list),
                ));
            }
        }
    }
    assert!(requests.len() > 150, "{}", requests.len());
    let owner = &owner;
    let taken: Vec<String> = stream::iter(requests)
        .map(|(method, path, at, body)| async move {
            let (status, answer) = owner.send(owner.request(method.clone(), &path).json(&body)).await;
            let told = &answer["errors"][0];
            // What a tag tells apart is read from a list by serde itself, and then the tag is wrong.
            let by_its_tag =
                told["message"].as_str().is_some_and(|message| message.contains("variant identifier"));
            let refused = status == 422 && (told["field"] == json!(path_of(&at)) || by_its_tag);
            (!refused).then(|| format!("{method} {path}: a list in `{at}`: {status} {answer}"))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |taken| taken)
        .collect()
        .await;
    assert!(taken.is_empty(), "{}", taken.join("\n"));
}

/// How an error names the place that a pointer leads to.
fn path_of(at: &str) -> String {
    let path = at.split('/').skip(1).fold(String::new(), |path, step| match (path.as_str(), step) {
        (_, "0") => path + "[0]",
        ("", name) => name.to_owned(),
        (_, name) => path + "." + name,
    });
    if path.is_empty() { "body".to_owned() } else { path }
}

/// A body with nothing in it but what leads to this place, so that nothing is wrong before it.
fn alone(at: &str, value: Value) -> Value {
    at.rsplit('/').filter(|step| !step.is_empty()).fold(value, |inner, step| match step {
        "0" => json!([inner]),
        name => json!({name: inner}),
    })
}

/// With this field before all others, so that nothing else is wrong before it.
fn first(field: &str, whole: &Value) -> String {
    let rest = whole.to_string();
    let rest = rest.strip_prefix('{').expect("an object");
    format!("{{\"{field}\":\"x\"{}{rest}", if rest == "}" { "" } else { "," })
}

/// Texts that mean something to somebody behind: a database, a shell, a log, a page, a spreadsheet.
const TEXTS: [&str; 10] = [
    "' or 1=1; drop table users; --",
    "\") union select null, password_hash from users --",
    "\\'; select pg_sleep(5); --",
    "a\u{0}b",
    "%00%ff%c0%ae $1::text {{7*7}} ${jndi:ldap://x} <script>alert(1)</script> ../../../etc/passwd",
    "\u{202e}\u{200b}\u{feff}\u{1f469}\u{200d}\u{1f680}",
    "99999999999999999999999999",
    "-1",
    // Before and behind all that calendars know.
    "-009000-01-01T00:00:00Z",
    "9999-12-30T22:00:00Z",
];

/// Bodies that are taken, beside those that the document's examples make.
fn sound() -> Vec<(Method, &'static str, Value)> {
    let post = |path, body| (Method::POST, path, body);
    vec![
        post(
            "/api/contacts",
            json!({"email": "a@acme.example", "phone": "+23052345678", "name": "Ann", "locale": "en", "timeZone": "UTC"}),
        ),
        post("/api/suppressions", json!({"address": "a@acme.example"})),
        post("/api/roles", json!({"slug": "mine", "name": "Mine", "permissions": ["contacts:read"]})),
        post(
            "/api/users",
            json!({"email": "u@acme.example", "firstName": "U", "lastName": "V", "phone": "+23052345678", "role": "auditor"}),
        ),
        post("/api/keys", json!({"name": "mine", "scopes": ["contacts:read"]})),
        post("/api/templates", json!({"name": "Mine", "type": "sms", "content": "Dear {{name}}"})),
        post(
            "/api/templates",
            json!({"name": "Mine", "type": "email", "subject": "S", "content": "Dear {{name}}", "variables": ["name"]}),
        ),
        post(
            "/api/communication/sms/send",
            json!({"to": "+23052345678", "message": "m", "businessKey": "b", "references": {"a": "b"}, "locale": "en"}),
        ),
        post(
            "/api/notifications/broadcast",
            json!({"title": "T", "message": "M", "type": "system", "data": {"a": "b"}}),
        ),
        post(
            "/api/accounts",
            json!({"slug": "mine", "provider": "brevo_sms", "settings": {"sender": "Acme", "stopText": "Stop [STOP_CODE]", "webUrl": "https://a.example"}, "secrets": {"apiKey": "k"}}),
        ),
        post(
            "/api/upload/sessions",
            json!({"filename": "a.csv", "size": 10, "metadata": {"description": "d", "region": "MU"}}),
        ),
        post("/api/auth/login", json!({"email": "u@acme.example", "password": "a long password here"})),
        post(
            "/api/auth/register",
            json!({"email": "u@acme.example", "password": "a long password here", "firstName": "U", "with": "acme"}),
        ),
        post("/api/auth/refresh", json!({"refreshToken": "ffr_x"})),
        (
            Method::PUT,
            "/api/auth/profile",
            json!({"firstName": "A", "lastName": "B", "phone": "+23052345678"}),
        ),
        post(
            "/api/campaigns",
            json!({"name": "Mine", "type": "sms", "uploadId": "x", "templates": {"sms": "mine"}}),
        ),
        post("/api/conversions", json!({"kind": "payment", "reference": "r"})),
    ]
}

/// Every text of a value, as a pointer to it.
fn texts(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(at.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| texts(item, &format!("{at}/{n}"), found));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| texts(field, &format!("{at}/{name}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

async fn never_breaks(client: &Client, requests: Vec<(Method, String, Value)>) {
    let begun = std::time::Instant::now();
    let count = requests.len();
    stream::iter(requests)
        .for_each_concurrent(AT_ONCE, |(method, path, body)| async move {
            let request = client.request(method.clone(), &path);
            let request = if body.is_null() { request } else { request.json(&body) };
            let asked = std::time::Instant::now();
            let (status, answer) = client.send(request).await;
            assert!(status < 500, "{method} {path} {body}: {status} {answer}");
            assert!(asked.elapsed().as_secs() < 5, "{method} {path} {body} slept");
            let told = answer.to_string();
            for inside in ["sqlx", "syntax error", "violates", "panicked", "/src/"] {
                assert!(!told.contains(inside), "{path} {body}: {told}");
            }
        })
        .await;
    println!("{count} requests in {:?}", begun.elapsed());
}

/// In every field of every body, a text is a text: it is taken as it stands, or refused; nothing breaks.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a19_texts_in_bodies_are_texts(pool: PgPool) {
    let open = open(&pool).await;
    let owner = open.owner().await;
    let (document, ids) = (document(&open).await, ids(&open).await);
    let mut bodies = sound();
    for operation in operations(&document) {
        if let Some(schema) = body_schema(&document, &operation) {
            let path = Box::leak(filled(&operation.path, &ids).into_boxed_str());
            bodies.push((operation.method.clone(), path, example(&document, schema)));
        }
    }
    let mut requests = Vec::new();
    for (method, path, body) in bodies {
        let mut places = Vec::new();
        texts(&body, "", &mut places);
        // Passwords are hashed, which takes its time.
        for at in places.iter().filter(|at| !at.to_lowercase().contains("password")) {
            for text in TEXTS {
                let mut body = body.clone();
                *body.pointer_mut(at).unwrap() = json!(text);
                requests.push((method.clone(), path.to_owned(), body));
            }
        }
    }
    never_breaks(&owner, requests).await;
    let users: i64 = sqlx::query_scalar("select count(*) from users where email like 'owner%'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(users, 2, "one of each tenant");
}

/// The same of every parameter of every path and query, and of what sorts and pages.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a19_texts_in_queries_and_paths_are_texts(pool: PgPool) {
    let open = open(&pool).await;
    let owner = open.owner().await;
    let (document, ids) = (document(&open).await, ids(&open).await);
    let encoded: Vec<String> = TEXTS
        .iter()
        .map(|text| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        })
        // What is no UTF-8, and a cursor whose contents are of another kind.
        .chain([
            "%ff%fe".to_owned(),
            "%c0%80".to_owned(),
            "WyInIG9yIDE9MSAtLSIsIDFd".to_owned(),
            "bnVsbA".to_owned(),
            String::new(),
        ])
        .collect();
    let mut requests = Vec::new();
    for operation in operations(&document) {
        let item = &document["paths"][&operation.path][operation.method.as_str().to_lowercase()];
        for parameter in item["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            for text in &encoded {
                let path = match parameter["in"].as_str().unwrap() {
                    "query" => format!("{}?{name}={text}", filled(&operation.path, &ids)),
                    "path" => filled(&operation.path.replace(&format!("{{{name}}}"), text), &ids),
                    _ => continue,
                };
                let body = body_schema(&document, &operation).map(|schema| example(&document, schema));
                requests.push((operation.method.clone(), path, body.unwrap_or_default()));
            }
        }
    }
    assert!(requests.len() > 1_000, "{}", requests.len());
    never_breaks(&owner, requests).await;

    // What is searched for is not part of the question.
    owner.post("/api/contacts", &json!({"email": "ann@acme.example", "name": "Ann"})).await;
    let found = async |search: &str| {
        let (status, answer) = owner.get(&format!("/api/contacts?q={search}")).await;
        assert_eq!(status, 200, "{answer}");
        answer["data"]["contacts"].as_array().unwrap().len()
    };
    assert_eq!(found("Ann").await, 1);
    for search in ["Ann%27%20or%20%271%27%3D%271", "%27%20or%201%3D1%20--", "%25nn%25", "_nn", "A%25"] {
        assert_eq!(found(search).await, 0, "{search}");
    }
    for sort in ["name;drop", "name%20desc,%20(select%201)", "password_hash", "1", "name%27"] {
        let (status, answer) = owner.get(&format!("/api/contacts?sort={sort}")).await;
        assert_eq!(status, 422, "{sort}: {answer}");
    }
}
