//! Texts that programs stumble over, in every text field of every body that the OpenAPI document knows: none of them breaks
//! anything, and what is taken comes back as it was, byte by byte.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    contract::{document, good_body, things},
    open::{Client, PASSWORD},
    single_sends::Stage,
};

const LIST: &str = include_str!("naughty.txt");
/// Stands in a body where a text of the list is put, escapes and all.
const HERE: &str = "@@here@@";
/// In a good body: another number each time.
pub(crate) const NUMBER: &str = "@@number@@";
/// Of the list, for each field; which ones goes round.
const EACH: usize = 6;
/// The same of fields beside which a password is hashed.
const EACH_SLOW: usize = 2;
/// Requests at a time.
const ABREAST: usize = 8;
/// Fields that have a normal form, in which they come back: addresses, languages, moments, names of files without their folders.
const NORMALISED: [&str; 10] =
    ["email", "phone", "address", "to", "locale", "filename", "expiresAt", "scheduledAt", "recordedAt", "at"];

/// Texts of the list, as JSON.
fn listed() -> Vec<String> {
    LIST.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// What every field is tried with: it is what breaks databases, parsers and limits.
fn always() -> Vec<String> {
    let mut all: Vec<String> =
        [r#""\u0000""#, r#""a\u0000b""#, r#""\ud800""#, r#""""#, r#"" ""#].map(str::to_owned).into();
    all.push(format!("\"{}\"", "x".repeat(100_000)));
    all.push(format!("\"{}\"", "\u{1f600}".repeat(1_000)));
    all
}

/// Where texts stand in a body, as JSON pointers.
fn texts(document: &Value, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#')).unwrap();
        return texts(document, schema, at, found);
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        for one in schema[several].as_array().into_iter().flatten() {
            texts(document, one, at, found);
        }
    }
    let is = |kind: &str| {
        let types = &schema["type"];
        types == kind || types.as_array().is_some_and(|types| types.iter().any(|one| one == kind))
    };
    let anything = ["type", "oneOf", "anyOf", "allOf"].iter().all(|key| schema.get(key).is_none());
    if is("string") || anything {
        found.insert(at.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        texts(document, property, &format!("{at}/{name}"), found);
    }
    if let Some(items) = schema.get("items") {
        texts(document, items, &format!("{at}/0"), found);
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        texts(document, values, &format!("{at}/key"), found);
    }
    if is("object") && schema.get("properties").is_none() && schema.get("additionalProperties").is_none() {
        found.insert(format!("{at}/key"));
    }
}

/// The body with a text at this place; what leads there is made.
fn with(body: &Value, pointer: &str, text: Value) -> Value {
    let Some((name, rest)) = pointer.strip_prefix('/').map(|path| path.split_once('/').unwrap_or((path, "")))
    else {
        return text;
    };
    let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
    if name == "0" {
        let first = body.get(0).cloned().unwrap_or(Value::Null);
        return json!([with(&first, &rest, text)]);
    }
    let mut members = body.as_object().cloned().unwrap_or_default();
    let member = members.remove(name).unwrap_or(Value::Null);
    members.insert(name.to_owned(), with(&member, &rest, text));
    Value::Object(members)
}

/// All texts at the end of this path, wherever in the answer it begins; of a list in it, those of all items.
fn found<'a>(answer: &'a Value, path: &[&str], all: &mut Vec<&'a str>) {
    at(answer, path, all);
    match answer {
        Value::Array(items) => items.iter().for_each(|item| found(item, path, all)),
        Value::Object(members) => members.values().for_each(|member| found(member, path, all)),
        _ => {}
    }
}

fn at<'a>(value: &'a Value, path: &[&str], all: &mut Vec<&'a str>) {
    match (path, value) {
        ([], Value::String(text)) => all.push(text),
        (["0", rest @ ..], Value::Array(items)) => items.iter().for_each(|item| at(item, rest, all)),
        ([name, rest @ ..], Value::Object(members)) => {
            members.get(*name).into_iter().for_each(|member| at(member, rest, all));
        }
        _ => {}
    }
}

/// A body that is taken, with all its texts where that can be.
pub(crate) fn full(method: &Method, path: &str, soon: &str) -> Value {
    let email = json!({"subject": "S", "content": "<p>Hello</p>", "format": "html", "preheader": "p", "text": "t",
                       "notation": "handlebars"});
    match (method.as_str(), path) {
        ("POST", "/api/keys") => json!({"name": "k", "scopes": ["users:read"]}),
        ("POST", "/api/roles") => {
            json!({"slug": format!("r{NUMBER}"), "name": "n", "description": "d", "permissions": []})
        }
        ("POST", "/api/users") => {
            json!({"email": format!("u{NUMBER}@acme.example"), "firstName": "F", "lastName": "L", "role": "auditor"})
        }
        ("POST", "/api/contacts") => {
            json!({"email": format!("c{NUMBER}@acme.example"), "name": "N", "branch": "b", "attributes": {}})
        }
        ("POST", "/api/suppressions") => json!({"address": "naughty@acme.example"}),
        ("POST", "/api/templates") => {
            let mut body = email;
            (body["name"], body["type"]) = (json!("T"), json!("email"));
            body
        }
        (_, "/api/templates/{template_id}/versions" | "/api/templates/{template_id}/versions/{version}") => {
            email
        }
        ("PATCH", "/api/templates/{template_id}") => json!({"name": "T"}),
        ("POST", "/api/campaigns") => json!({"name": "N", "type": "sms", "templates": {"sms": "theirs"}}),
        ("POST", "/api/communication/sms/send") => {
            json!({"to": "+23052345678", "message": "m", "scheduledAt": soon, "references": {}})
        }
        ("POST", "/api/communication/whatsapp/send") => {
            json!({"to": "+23052345678", "templateId": "renewal_reminder", "scheduledAt": soon,
                   "parameters": {"name": "n", "policy_number": "p", "expiry_date": "e"}})
        }
        ("POST", "/api/conversions") => json!({"kind": "payment", "reference": "r"}),
        ("POST", "/api/notifications/broadcast") => json!({"title": "t", "message": "m", "data": {}}),
        ("PUT", "/api/notifications/preferences") => {
            json!({"preferences": [{"type": "policy", "channels": ["email"]}]})
        }
        ("POST", "/api/upload/sessions") => {
            json!({"filename": "a.csv", "size": 100, "metadata": {"description": "d"}})
        }
        ("POST", "/api/accounts") => json!({"slug": format!("a{NUMBER}"), "provider": "in_app"}),
        ("PUT", "/api/auth/profile") => json!({"firstName": "A", "lastName": "B"}),
        ("POST", "/api/auth/login") => json!({"email": "nobody@acme.example", "password": PASSWORD}),
        ("POST", "/api/auth/register") => {
            json!({"email": format!("n{NUMBER}@acme.example"), "password": PASSWORD, "firstName": "N"})
        }
        ("POST", "/api/auth/refresh") => json!({"refreshToken": "ffr_x"}),
        ("PUT", "/api/auth/change-password") => {
            json!({"currentPassword": "not this one", "newPassword": PASSWORD})
        }
        (_, "/api/auth/second-factor") => json!({"password": "not this one"}),
        ("POST", "/api/auth/forgot-password") => json!({"email": "nobody@acme.example"}),
        ("PUT", "/api/settings/registration") => json!({"role": "customer"}),
        ("PUT", "/api/settings/send-caps") => json!({"channel": "sms", "prefix": "999", "perDay": 1000}),
        ("POST", "/api/settings/allowed-addresses") => {
            json!({"channel": "email", "address": "a@acme.example"})
        }
        _ => good_body(method, path),
    }
}

/// Bodies that nobody could fill in so that they are taken: they prove something, or lead to an account that is not there.
const NEVER_TAKEN: [(&str, &str); 13] = [
    ("POST", "/api/auth/accept-invitation/{token}"),
    ("PUT", "/api/auth/change-password"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/refresh"),
    ("POST", "/api/auth/register"),
    ("POST", "/api/auth/reset-password/{token}"),
    ("DELETE", "/api/auth/second-factor"),
    ("POST", "/api/auth/second-factor"),
    ("POST", "/api/auth/second-factor/confirm"),
    ("POST", "/api/communication/email/send"),
    ("POST", "/api/campaigns/{campaign_id}/approve"),
    ("POST", "/api/templates/{template_id}/test"),
    ("POST", "/api/templates/{template_id}/versions/{version}/submit"),
];

/// Fields that must have come back as they were at least once, or this test would look nowhere.
const COME_BACK: [(&str, &str); 10] = [
    ("POST /api/roles", "/name"),
    ("PUT /api/roles/{role_id}", "/description"),
    ("POST /api/users", "/firstName"),
    ("PUT /api/auth/profile", "/lastName"),
    ("POST /api/contacts", "/name"),
    ("PATCH /api/contacts/{contact_id}", "/attributes/key"),
    ("POST /api/templates", "/subject"),
    ("PUT /api/templates/{template_id}/versions/{version}", "/content"),
    ("POST /api/campaigns", "/name"),
    ("PATCH /api/campaigns/{campaign_id}", "/name"),
];

struct Field {
    method: Method,
    /// As the document has it.
    template: String,
    path: String,
    pointer: String,
    good: Value,
    tries: Vec<String>,
}

impl Field {
    fn operation(&self) -> String {
        format!("{} {}", self.method, self.template)
    }
}

/// What is known after a field's tries.
#[derive(Default)]
struct Tried {
    requests: usize,
    taken: usize,
    came_back: usize,
    wrong: Vec<String>,
}

async fn attempt(client: &Client, field: &Field) -> Tried {
    let mut tried = Tried::default();
    let last = field.pointer.rsplit('/').find(|name| *name != "0").unwrap_or_default();
    for (number, text) in field.tries.iter().enumerate() {
        // Of all fields of all operations each number is another.
        let number = format!("{:x}x{number}", number_of(&format!("{}{}", field.operation(), field.pointer)));
        let body = with(&field.good, &field.pointer, json!(HERE)).to_string();
        let body = body.replace(NUMBER, &number).replace(&format!("\"{HERE}\""), text);
        let request = client
            .request(field.method.clone(), &field.path)
            .header("content-type", "application/json")
            .body(body);
        let (status, answer) = client.send(request).await;
        tried.requests += 1;
        let shown: String = text.chars().take(80).collect();
        let place = format!("{} {} with {shown}", field.operation(), field.pointer);
        if status >= 500 {
            tried.wrong.push(format!("{place}: {status} {answer}"));
        }
        if !(200..300).contains(&status) {
            continue;
        }
        tried.taken += 1;
        let Ok(sent) = serde_json::from_str::<String>(text) else {
            tried.wrong.push(format!("{place}: {status}, and it is no text"));
            continue;
        };
        if NORMALISED.contains(&last) {
            continue;
        }
        let path: Vec<&str> = field.pointer.split('/').skip(1).collect();
        let mut back = Vec::new();
        found(&answer, &path, &mut back);
        let read = read_back(client, field, &answer).await;
        found(&read, &path, &mut back);
        let listed = path.contains(&"0");
        let right =
            if listed { back.contains(&sent.as_str()) } else { back.iter().all(|back| *back == sent) };
        if !back.is_empty() && !right {
            tried.wrong.push(format!("{place}: came back as {back:?}"));
        }
        tried.came_back += usize::from(!back.is_empty());
    }
    tried
}

/// What a GET of the thing says, where there is one.
async fn read_back(client: &Client, field: &Field, answer: &Value) -> Value {
    let made =
        ["id", "templateId", "sessionId", "messageId"].iter().find_map(|key| answer["data"][key].as_str());
    let path = match (field.method.as_str(), made) {
        ("POST", Some(id)) => format!("{}/{id}", field.path),
        ("PUT" | "PATCH", _) => field.path.clone(),
        _ => return Value::Null,
    };
    let (status, answer) = client.get(&path).await;
    if status == 200 { answer } else { Value::Null }
}

/// The same number for the same text, in every run.
fn number_of(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Ids of what the owner has, where a change is taken.
pub(crate) async fn own(stage: &Stage) -> BTreeMap<&'static str, String> {
    let mut ids = things(&stage.open, &stage.owner, "acme").await;
    let template = json!({"name": "Naughty", "type": "email", "subject": "S", "content": "C", "draft": true});
    let (_, template) = stage.owner.post("/api/templates", &template).await;
    ids.insert("template_id", template["data"]["templateId"].as_str().unwrap().to_owned());
    ids
}

async fn fields(stage: &Stage, soon: &str) -> Vec<Field> {
    let (ids, document, listed) = (own(stage).await, document(&stage.open).await, listed());
    let copy = format!("/api/campaigns/{}/clone", ids["campaign_id"]);
    let (_, draft) = stage.owner.post(&copy, &json!({})).await;
    let draft = draft["data"]["id"].as_str().unwrap();
    let mut fields: Vec<Field> = Vec::new();
    let mut next = listed.iter().cycle();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(schema) = operation["requestBody"].pointer("/content/application~1json/schema") else {
                continue;
            };
            let method: Method = method.to_uppercase().parse().unwrap();
            let mut path = template.clone();
            for (name, id) in &ids {
                let id = if method == Method::PATCH && *name == "campaign_id" { draft } else { id };
                path = path.replace(&format!("{{{name}}}"), id);
            }
            let mut pointers = BTreeSet::new();
            texts(&document, schema, "", &mut pointers);
            let each = if template.starts_with("/api/auth/") { EACH_SLOW } else { EACH };
            for pointer in pointers {
                let tries = always().into_iter().chain(next.by_ref().take(each).cloned()).collect();
                let good = full(&method, template, soon);
                fields.push(Field {
                    method: method.clone(),
                    template: template.clone(),
                    path: path.clone(),
                    pointer,
                    good,
                    tries,
                });
            }
        }
    }
    fields
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn no_text_breaks_anything_and_what_is_taken_comes_back(pool: PgPool) {
    let many = "100000";
    let settings = [
        ("FANFARE_SEALING_KEYS", "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
        ("FANFARE__API__TENANT_PER_SECOND", many),
        ("FANFARE__API__STRANGER_PER_SECOND", many),
    ];
    let stage = Stage::with(&pool, &settings).await;
    stage.renewal_reminder().await;
    let soon = (jiff::Timestamp::from_second(
        sqlx::query_scalar("select extract(epoch from now())::bigint").fetch_one(&pool).await.unwrap(),
    )
    .unwrap()
        + jiff::SignedDuration::from_hours(48))
    .to_string();
    let fields = fields(&stage, &soon).await;
    assert!(fields.len() > 150, "{}", fields.len());
    // The fields of one thing one after the other, or what is read back would be another field's.
    let mut things: BTreeMap<&str, Vec<&Field>> = BTreeMap::new();
    for field in &fields {
        things.entry(&field.path).or_default().push(field);
    }
    let tried: Vec<(&Field, Tried)> = futures::stream::iter(things.into_values())
        .map(|fields| {
            let owner = &stage.owner;
            async move {
                let mut tried = Vec::new();
                for field in fields {
                    tried.push((field, attempt(owner, field).await));
                }
                tried
            }
        })
        .buffer_unordered(ABREAST)
        .concat()
        .await;
    let requests: usize = tried.iter().map(|(_, tried)| tried.requests).sum();
    let wrong: Vec<&String> = tried.iter().flat_map(|(_, tried)| &tried.wrong).collect();
    assert!(wrong.is_empty(), "{} of {requests}: {wrong:#?}", wrong.len());

    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for (field, tried) in &tried {
        *taken.entry(field.operation()).or_default() += tried.taken;
    }
    let never: Vec<String> = NEVER_TAKEN.iter().map(|(method, path)| format!("{method} {path}")).collect();
    // Where no text of the list can be good, the good body is.
    for (operation, _) in taken.iter().filter(|(operation, taken)| **taken == 0 && !never.contains(operation))
    {
        let field = fields.iter().find(|field| field.operation() == *operation).unwrap();
        let good = field.good.to_string().replace(NUMBER, "0");
        let request = stage.owner.request(field.method.clone(), &field.path);
        let request = request.header("content-type", "application/json").body(good);
        let (status, answer) = stage.owner.send(request).await;
        assert!((200..300).contains(&status), "give a better body in `full`, {operation} answers {answer}");
    }
    for (operation, pointer) in COME_BACK {
        let back = tried.iter().any(|(field, tried)| {
            field.operation() == operation && field.pointer == pointer && tried.came_back > 0
        });
        assert!(back, "{operation} {pointer}");
    }
}
