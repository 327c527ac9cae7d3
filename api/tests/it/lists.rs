//! Every list of the document, in each of its orders, by page and by cursor: found by what the answers hold, so that a new
//! one is tried from its first day.

use std::collections::{BTreeMap, BTreeSet};

use fanfare_engine::id::{CampaignId, MessageId, UserId};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    contract::{call, document, filled, operations},
    open::{Client, Open, PASSWORD},
};

/// What holds rows and is no list.
const PARTS: [(&str, &str); 6] = [
    ("/api/accounts/{account_id}", "limits of the one account"),
    ("/api/campaigns/{campaign_id}/analytics", "figures of the one campaign"),
    ("/api/contacts/{contact_id}/consents", "a word for each channel, as they are put"),
    ("/api/notifications/preferences", "a form, as it is put"),
    ("/api/templates/{template_id}/diff", "two versions side by side"),
    ("/api/upload/status/{upload_id}", "columns of the one file"),
];

const FREE: [(&str, &str); 3] = [
    ("FANFARE_SEALING_KEYS", "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
    ("FANFARE__API__STRANGER_PER_SECOND", "100000"),
    ("FANFARE__API__TENANT_PER_SECOND", "100000"),
];

/// A list of the document.
#[derive(Debug)]
struct List {
    path: String,
    /// Where its rows are.
    rows: String,
    /// Parameters of its query.
    parameters: BTreeSet<String>,
    orders: Vec<String>,
    usual: String,
    /// Whether its answer tells which part of all it is.
    paginated: bool,
}

fn resolved<'d>(document: &'d Value, mut schema: &'d Value) -> &'d Value {
    while let Some(name) = schema["$ref"].as_str() {
        schema = document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("no {name}"));
    }
    schema
}

/// The field at data level that holds an array of objects.
fn rows_of(document: &Value, operation: &Value) -> Option<(String, bool)> {
    let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"];
    let data = resolved(document, &resolved(document, answer)["properties"]["data"]);
    let fields = data["properties"].as_object()?;
    let object = |schema: &Value| {
        let item = resolved(document, &schema["items"]);
        item.get("properties").is_some() || item.get("allOf").is_some() || item["type"] == "object"
    };
    let rows = fields.iter().find(|(_, schema)| object(schema))?;
    Some((rows.0.clone(), fields.contains_key("pagination")))
}

fn lists(document: &Value) -> Vec<List> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some((rows, paginated)) = rows_of(document, &item["get"]) else { continue };
        if PARTS.iter().any(|(part, _)| part == path) {
            continue;
        }
        let parameters = item["get"]["parameters"].as_array().into_iter().flatten();
        let query: Vec<&Value> = parameters.filter(|one| one["in"] == "query").collect();
        let sort = query.iter().find(|one| one["name"] == "sort").map_or(&Value::Null, |one| &one["schema"]);
        let orders = sort["enum"].as_array().into_iter().flatten();
        all.push(List {
            path: path.clone(),
            rows,
            parameters: query.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect(),
            orders: orders.map(|order| order.as_str().unwrap().to_owned()).collect(),
            usual: sort["default"].as_str().unwrap_or_default().to_owned(),
            paginated,
        });
    }
    all
}

async fn made(client: &Client, path: &str, body: Value) -> Value {
    let (status, answer) = client.post(path, &body).await;
    assert_eq!(status, 201, "{path}: {answer}");
    answer["data"].clone()
}

/// Three of everything, by the names of the parameters that take their ids.
async fn world(open: &Open, owner: &Client, pool: &PgPool) -> BTreeMap<&'static str, String> {
    let email = owner.get("/api/auth/me").await.1["data"]["email"].clone();
    let mut last = BTreeMap::new();
    for n in 1..=3 {
        // Two of one name, and the last the first of them.
        let name = if n == 3 { "Ante" } else { "Same" };
        let login = json!({"email": email, "password": PASSWORD});
        assert_eq!(open.nobody().post("/api/auth/login", &login).await.0, 200);
        let user = json!({"email": format!("u{n}@acme.example"), "firstName": "Ann", "role": "auditor"});
        made(owner, "/api/users", user).await;
        made(owner, "/api/keys", json!({"name": name, "scopes": ["users:read"]})).await;
        let account =
            made(owner, "/api/accounts", json!({"slug": format!("a{n}"), "provider": "in_app"})).await;
        let contact = json!({"email": format!("c{n}@acme.example"), "name": name});
        last.insert("contact_id", made(owner, "/api/contacts", contact).await["id"].clone());
        made(owner, "/api/suppressions", json!({"address": format!("s{n}@acme.example")})).await;
        let text = format!("email,phone\np{n}@acme.example,12\nnone{n},13\n");
        let (_, uploaded) = crate::uploads::upload(owner, "people.csv", &text, &json!({})).await;
        last.insert("upload_id", uploaded["data"]["uploadId"].clone());
        let template = json!({"name": name, "slug": format!("t{n}"), "type": "sms", "content": "Hello"});
        last.insert("template_id", made(owner, "/api/templates", template).await["templateId"].clone());
        made(owner, "/api/notifications/broadcast", json!({"title": "T", "message": "M"})).await;
        let allowed = json!({"channel": "email", "address": format!("l{n}@acme.example")});
        made(owner, "/api/settings/allowed-addresses", allowed).await;
        let cap = json!({"channel": "sms", "prefix": format!("23{n}"), "perDay": 1});
        assert_eq!(owner.put("/api/settings/send-caps", &cap).await.0, 200);
        let price = |prefix: &str| json!({"prefix": prefix, "micros": 1, "currency": "EUR"});
        let prices = format!("/api/accounts/{}/prices", account["id"].as_str().unwrap());
        let (status, answer) =
            owner.put(&prices, &json!({"prices": [price("230"), price("44"), price("91")]})).await;
        assert_eq!(status, 200, "{answer}");
        last.insert("account_id", account["id"].clone());
    }
    crate::uploads::drain(open).await;
    let mut ids: BTreeMap<&str, String> =
        last.iter().map(|(name, id)| (*name, id.as_str().unwrap().to_owned())).collect();
    for _ in 0..2 {
        let path = format!("/api/templates/{}/versions", ids["template_id"]);
        made(owner, &path, json!({"content": "Hello again"})).await;
    }
    ids.insert("version", "1".to_owned());
    sqlx::raw_sql(CAMPAIGNS).execute(pool).await.unwrap();
    let (_, listed) = owner.get("/api/campaigns?limit=1").await;
    ids.insert("campaign_id", listed["data"]["campaigns"][0]["id"].as_str().unwrap().to_owned());
    ids
}

/// Campaigns with the newest template, each to the newest contact three times, who is excluded; with all that was said in
/// review, what a pre-flight found, and what Meta was asked.
const CAMPAIGNS: &str = "
    insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, audience, state, frozen, target_count)
    select gen_random_uuid(), t.tenant_id, 'campaign', case n when 3 then 'Ante' else 'Same' end, 'sms', 'obligation', t.id, '{\"contacts\": \"all\"}',
           'in_review', 3, 3
    from (select * from templates order by created_at desc limit 1) t cross join generate_series(1, 3) n;
    insert into recipients (campaign_id, n, variant, contact_id, address, variables, excluded)
    select k.id, n, 0, c.id, '+2305700000' || n, '[]', 'no_address'
    from campaigns k cross join generate_series(1, 3) n
    cross join (select id from contacts where email = 'c3@acme.example') c;
    insert into campaign_reviews (campaign_id, at, action, actor)
    select k.id, now() + n * interval '1 second', 'submitted', 'user:x' from campaigns k cross join generate_series(1, 3) n;
    insert into preflights (campaign_id, campaign_updated_at, at, report) select id, now(), now(), '{}' from campaigns;
    insert into preflight_problems (campaign_id, n, address, reason)
    select k.id, n, '', case n when 1 then 'suppressed' else 'no_address' end
    from campaigns k cross join generate_series(1, 3) n;
    insert into template_approvals (account_id, name, language, tenant_id, template_id, locale, version, category, status)
    select a.id, 'n' || n, 'en', t.tenant_id, t.id, 'en', 1, 'utility', 'pending'
    from (select * from templates order by created_at desc limit 1) t
    cross join (select id from accounts where slug = 'whatsapp') a cross join generate_series(1, 3) n";

async fn page(client: &Client, list: &List, path: &str, query: &str) -> (Vec<Value>, Value) {
    let (status, answer) = client.get(&format!("{path}?{query}")).await;
    assert_eq!(status, 200, "{path}?{query}: {answer}");
    let rows = answer["data"][&list.rows].as_array().unwrap_or_else(|| panic!("{path}: {answer}"));
    (rows.clone(), answer["data"]["pagination"].clone())
}

/// Moments, numbers and plain words; other texts stand in an order of the database's own.
fn rising(rows: &[Value], field: &str) -> bool {
    rows.windows(2).all(|two| match [&two[0][field], &two[1][field]] {
        [Value::Number(one), Value::Number(next)] => one.as_f64() <= next.as_f64(),
        [Value::String(one), Value::String(next)] => {
            match (one.parse::<Timestamp>(), next.parse::<Timestamp>()) {
                (Ok(one), Ok(next)) => one <= next,
                _ => !is_a_word(one) || !is_a_word(next) || one <= next,
            }
        }
        _ => true,
    })
}

fn is_a_word(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_uppercase())
        && bytes.all(|byte| byte.is_ascii_lowercase())
}

async fn try_order(client: &Client, list: &List, path: &str, order: &str) -> Vec<Value> {
    let (all, told) = page(client, list, path, &format!("sort={order}&limit=100")).await;
    let place = format!("{path} by {order}");
    assert!(all.len() >= 2, "{place}: the world of this test has too few rows: {all:?}");
    assert_eq!(told["total"], json!(all.len()), "{place}: {told}");
    assert!(told.get("nextCursor").is_none(), "{place}: {told}");
    let (mut by_page, mut by_cursor) = (Vec::new(), Vec::new());
    for n in 1..=all.len() {
        by_page.extend(page(client, list, path, &format!("sort={order}&limit=1&page={n}")).await.0);
    }
    let mut query = format!("sort={order}&limit=1");
    loop {
        let (rows, told) = page(client, list, path, &query).await;
        assert_eq!((rows.len(), &told["total"]), (1, &json!(all.len())), "{place}: {told}");
        by_cursor.extend(rows);
        let Some(next) = told["nextCursor"].as_str() else { break };
        query = format!("sort={order}&limit=1&cursor={next}");
    }
    assert_eq!(by_page, all, "{place}, by page");
    assert_eq!(by_cursor, all, "{place}, by cursor");
    all
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn every_list_is_read_by_page_and_by_cursor_in_each_order(pool: PgPool) {
    let open = Open::with(&pool, &FREE).await;
    let owner = open.owner().await;
    let lists = lists(&document(&open).await);
    let ids = world(&open, &owner, &pool).await;
    for list in &lists {
        for needed in ["page", "limit", "cursor", "sort"] {
            assert!(list.parameters.contains(needed), "{}: no `{needed}`", list.path);
        }
        assert!(list.paginated && list.orders.contains(&list.usual), "{list:?}");
        let path = filled(&list.path, &ids);
        assert!(!path.contains('{'), "{path}: say in this test what a thing of this kind is");
        for order in list.orders.iter().filter(|order| !order.starts_with('-')) {
            let mut forth = try_order(&owner, list, &path, order).await;
            let back = try_order(&owner, list, &path, &format!("-{order}")).await;
            assert!(rising(&forth, order), "{path} by {order}: {forth:?}");
            forth.reverse();
            assert_eq!(back, forth, "{path} by {order}, and back");
        }
        let usual = page(&owner, list, &path, "limit=100").await.0;
        let same = page(&owner, list, &path, &format!("limit=100&sort={}", list.usual)).await.0;
        assert_eq!(usual, same, "{path}: {} if nothing is said", list.usual);
        let (_, told) = page(&owner, list, &path, "limit=1").await;
        let other = list.orders.iter().find(|order| **order != list.usual).unwrap();
        let foreign = format!("cursor={}&sort={other}", told["nextCursor"].as_str().unwrap());
        for (query, field) in [("sort=nothing", "sort"), ("sort=", "sort"), (foreign.as_str(), "cursor")] {
            let (status, answer) = owner.get(&format!("{path}?{query}")).await;
            assert_eq!(
                (status, &answer["errors"][0]["field"]),
                (422, &json!(field)),
                "{path}?{query}: {answer}"
            );
        }
    }
    assert!(lists.len() > 20, "{}", lists.len());
}

/// A filter that is spelt wrong would otherwise leave everything.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_parameter_that_an_operation_does_not_have_is_refused_by_name(pool: PgPool) {
    let open = Open::with(&pool, &FREE).await;
    let owner = open.owner().await;
    for operation in operations(&document(&open).await) {
        let path = format!("{}?spelt%20=wrong", operation.path);
        let (status, answer) = call(&owner, &operation, &path, &json!({})).await;
        let place = format!("{} {}", operation.method, operation.path);
        assert_eq!((status, &answer["code"]), (422, &json!("invalid")), "{place}: {answer}");
        assert_eq!(answer["errors"][0]["field"], "spelt ", "{place}: {answer}");
    }
}

/// What shows one's own, or was sent to everybody alike.
const ONES_OWN: [&str; 2] = ["/api/auth/me", "/api/auth/sessions"];

/// Found by what the answers hold, too: whoever has read somebody's address is in the audit log before they have it.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_answer_that_shows_an_address_is_in_the_audit_log(pool: PgPool) {
    let open = Open::with(&pool, &FREE).await;
    let owner = open.owner().await;
    let mut ids = world(&open, &owner, &pool).await;
    let known: (uuid::Uuid, uuid::Uuid) = sqlx::query_as(
        "select (select id from users where email = 'u1@acme.example'), (select id from campaigns order by id desc limit 1)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    ids.insert("user_id", UserId::from_uuid(known.0).to_string());
    ids.insert("message_id", MessageId { campaign: CampaignId::from_uuid(known.1), n: 1 }.to_string());
    let noted = async || -> i64 {
        let noted = "select (select count(*) from audit_log) + (select count(*) from audit_pending)";
        sqlx::query_scalar(noted).fetch_one(&pool).await.unwrap()
    };
    let mut showed = BTreeSet::new();
    for operation in operations(&document(&open).await).iter().filter(|one| one.method == Method::GET) {
        let before = noted().await;
        let (status, answer) = owner.get(&filled(&operation.path, &ids)).await;
        let text = answer.to_string();
        if status == 200 && (text.contains("@acme.example") || text.contains("+2305700000")) {
            showed.insert(operation.path.clone());
            let is_noted = noted().await > before || ONES_OWN.contains(&operation.path.as_str());
            assert!(is_noted, "GET {} shows an address, and nothing was noted: {text}", operation.path);
        }
    }
    for expected in
        ["/api/contacts", "/api/messages/{message_id}", "/api/suppressions", "/api/users/{user_id}"]
    {
        assert!(showed.contains(expected), "{expected}: {showed:?}");
    }
}
