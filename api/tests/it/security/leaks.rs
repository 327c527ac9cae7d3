//! A20 canaries: what is nobody's business is sent through the whole program, and then looked for wherever it must not be.

use std::time::{Duration, Instant};

use fanfare_sandbox::{Sandbox, SandboxConfig};
use redis::AsyncCommands as _;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    open::Open,
    support::{House, Serving, tenant},
};

const ACCOUNTS: &str = r#"
[[accounts]]
tenant = "acme"
provider = "brevo_sms"
slug = "sms"
api_key = "xkeysib-sandbox"
sender = "Acme"
webhook_auth = { bearer = { token = "canary-hook-token" } }

[[accounts]]
tenant = "acme"
provider = "brevo_email"
slug = "mail"
api_key = "xkeysib-sandbox"
sender_email = "a@acme.example"
sender_name = "Acme"
webhook_auth = { bearer = { token = "canary-hook-token" } }
"#;

const EMAIL: &str = "canary.person@mine.example";
/// As it is dialled, and as it is kept.
const PHONES: [&str; 2] = ["57770042", "23057770042"];
const CARD: &str = "4111111111111111";
const BODY: &str = "canary-of-a-text";
const PASSWORD: &str = "canary horse battery staple";
const ACCOUNT_KEY: &str = "xkeysib-canary-of-an-account";
const JWT: &str = "canary-of-the-secret-that-signs-tokens";

/// A caller of a process of its own.
struct Caller<'a> {
    base: &'a str,
    http: reqwest::Client,
    token: String,
    /// Every answer that was no success.
    refusals: Vec<String>,
}

impl Caller<'_> {
    async fn send(&mut self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let mut request =
            self.http.request(method, format!("{}{path}", self.base)).header("idempotency-key", path);
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        let answer = request.json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        if status >= 400 {
            self.refusals.push(format!("{path}: {text}"));
        }
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn post(&mut self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(Method::POST, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer["data"].clone()
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer} of {value}"))
        .to_owned()
}

fn check_absent(place: &str, text: &str, canaries: &[String]) {
    for canary in canaries {
        for spelling in [canary.clone(), hex::encode(canary), percent(canary)] {
            if let Some(at) = text.find(&spelling) {
                let from = text[..at].char_indices().rev().nth(200).map_or(0, |(at, _)| at);
                let to = text[at..].char_indices().nth(200).map_or(text.len(), |(to, _)| at + to);
                panic!("`{canary}` stands in {place}: …{}…", &text[from..to]);
            }
        }
    }
}

fn percent(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a20_canaries_are_found_nowhere(pool: PgPool) {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let base = format!("{}/v3", sandbox.base_url());
    let mut house = House::on(&pool);
    let file = house.file("fanfare.toml", &[&tenant("acme"), ACCOUNTS].concat());
    for (name, value) in [
        ("FANFARE_CONFIG", file.as_str()),
        ("PORT", "0"),
        ("JWT_SECRET", JWT),
        ("FANFARE_SEALING_KEYS", "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
        ("FANFARE__API__PUBLIC_URL", "https://fanfare.mine.example"),
        ("FANFARE__LOG__FORMAT", "json"),
        ("FANFARE__LOG__FILTER", "debug,fanfare=trace,fanfare_engine=trace,fanfare_templates=trace"),
        ("FANFARE__ACCOUNTS__SMS__BASE_URL", &base),
        ("FANFARE__ACCOUNTS__MAIL__BASE_URL", &base),
        ("FANFARE__API__PROVIDER_BASE_URLS", &format!("[\"{base}\"]")),
    ] {
        house.set(name, value);
    }
    let invited = house.run(&["--json", "user", "owner", EMAIL, "--name", "Asha", "--tenant", "acme"]).json();
    let serving = Serving::all(&house);
    let link = format!("/api/auth/{}", text(&invited, "/url").split_once('#').unwrap().1);
    let http = Open::http();
    let mut caller =
        Caller { base: &serving.base, http: http.clone(), token: String::new(), refusals: Vec::new() };

    // In and in again, by right and by wrong.
    let begun = caller.post(&link, json!({"password": PASSWORD})).await;
    let again = caller.post("/api/auth/login", json!({"email": EMAIL, "password": PASSWORD})).await;
    let wrong = json!({"email": EMAIL, "password": format!("{PASSWORD}!")});
    assert_eq!(caller.send(Method::POST, "/api/auth/login", wrong).await.0, 401);
    let refreshed = caller.post("/api/auth/refresh", json!({"refreshToken": again["refreshToken"]})).await;
    let mut secrets: Vec<String> = [&begun, &again, &refreshed]
        .iter()
        .flat_map(|pair| [text(pair, "/token"), text(pair, "/refreshToken")])
        .collect();
    secrets.push(link.rsplit_once('/').unwrap().1.to_owned());
    caller.token = text(&refreshed, "/token");

    // Through every kind of thing.
    let key = caller.post("/api/keys", json!({"name": "canary", "scopes": ["*"]})).await;
    secrets.push(text(&key, "/key"));
    let user =
        json!({"email": "second@mine.example", "firstName": "B", "role": "auditor", "phone": PHONES[0]});
    let mailed = text(&caller.post("/api/users", user).await, "/invitation/token");
    secrets.push(mailed.clone());
    let factor = caller.post("/api/auth/second-factor", json!({"password": PASSWORD})).await;
    let url = url::Url::parse(&text(&factor, "/url")).unwrap();
    secrets.push(url.query_pairs().find(|(name, _)| name == "secret").unwrap().1.into_owned());
    let account = json!({"slug": "kept", "provider": "brevo_sms", "priority": 9, "settings": {"sender": "Acme", "baseUrl": base}, "secrets": {"apiKey": ACCOUNT_KEY}});
    let account = text(&caller.post("/api/accounts", account).await, "/id");
    caller.post(&format!("/api/accounts/{account}/check"), json!({})).await;
    let contact = json!({"email": EMAIL, "phone": PHONES[0], "name": "Canary", "attributes": {"card": CARD}});
    let contact = caller.post("/api/contacts", contact).await;
    let template = json!({"name": "Canary", "type": "sms", "content": format!("{BODY} {{{{name}}}}")});
    let template = caller.post("/api/templates", template).await;
    for (path, body) in [
        ("/api/communication/sms/send", json!({"to": PHONES[0], "message": format!("{BODY} {CARD}")})),
        (
            "/api/communication/sms/send#2",
            json!({"to": PHONES[0], "templateId": template["templateId"], "parameters": {"name": CARD}}),
        ),
        ("/api/communication/sms/send#3", json!({"to": contact["id"], "message": BODY})),
        (
            "/api/communication/email/send",
            json!({"to": EMAIL, "subject": BODY, "message": format!("{BODY} {CARD}"), "references": {"mail": EMAIL}}),
        ),
    ] {
        caller.post(path, body).await;
    }
    caller.post("/api/suppressions", json!({"address": "canary.other@mine.example"})).await;
    for hook in ["sms", "mail"] {
        let id: uuid::Uuid = sqlx::query_scalar("select id from accounts where slug = $1")
            .bind(hook)
            .fetch_one(&pool)
            .await
            .unwrap();
        let id: fanfare_engine::id::AccountId = id.into();
        for (token, body) in [
            (
                "canary-hook-token",
                json!({"event": "unsubscribed", "email": EMAIL, "to": PHONES[1], "msg_status": "unsubscribe", "reason": EMAIL}),
            ),
            ("canary-wrong-token", json!({"email": EMAIL})),
        ] {
            let request = http.post(format!("{}/hooks/{id}?email={EMAIL}", serving.base)).bearer_auth(token);
            request.json(&body).send().await.unwrap();
        }
    }
    // What is refused is told without being repeated.
    for (method, path, body) in [
        (
            Method::POST,
            "/api/auth/login#refused",
            json!({"email": EMAIL, "password": PASSWORD, "unheard": 1}),
        ),
        (Method::POST, "/api/auth/login#kind", json!({"email": [EMAIL], "password": [PASSWORD]})),
        (
            Method::POST,
            "/api/accounts#refused",
            json!({"slug": "x", "provider": "brevo_sms", "settings": {"sender": "Acme", "apiKey": ACCOUNT_KEY}, "secrets": {"apiKey": ACCOUNT_KEY, "other": ACCOUNT_KEY}}),
        ),
        (Method::POST, "/api/communication/sms/send#refused", json!({"to": EMAIL, "message": BODY})),
        (
            Method::POST,
            "/api/communication/sms/send#scheduled",
            json!({"to": PHONES[0], "message": CARD, "scheduledAt": BODY}),
        ),
        (Method::POST, "/api/contacts#refused", json!({"email": PHONES[0], "phone": EMAIL})),
        (Method::POST, "/api/contacts#again", json!({"email": EMAIL, "phone": PHONES[0]})),
        (
            Method::PUT,
            "/api/auth/change-password",
            json!({"currentPassword": PASSWORD, "newPassword": "short"}),
        ),
        (Method::GET, &format!("/api/contacts?q={EMAIL}"), json!({})),
        (Method::GET, &format!("/api/messages?address={EMAIL}"), json!({})),
        (Method::GET, &format!("/api/nothing?token={CARD}&email={EMAIL}"), json!({})),
    ] {
        caller.send(method, path, body).await;
    }
    assert!(caller.refusals.len() >= 7, "{:?}", caller.refusals);

    let people: Vec<String> = [&[EMAIL, CARD, BODY, "canary.other@mine.example"][..], &PHONES]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
    secrets
        .extend([PASSWORD, ACCOUNT_KEY, JWT, "canary-hook-token", "canary-wrong-token"].map(str::to_owned));
    let all = [people.clone(), secrets.clone()].concat();
    let metrics = http.get(format!("{}/metrics", serving.base)).send().await.unwrap().text().await.unwrap();
    check_absent("the metrics", &metrics, &all);
    check_absent("an answer that refuses", &caller.refusals.join("\n"), &secrets);
    check_absent("Redis", &redis_of(&house).await, &all);
    let log = tokio::task::spawn_blocking(|| serving.stop()).await.unwrap();
    assert!(log.contains("answered") && log.lines().count() > 50, "{log}");
    check_absent("the log", &log, &all);
    // A mail is kept with what is written in it, so a link that was mailed stands in that mail's row, and there only.
    let mail = "update recipients set variables = replace(variables, $1, '')
                where address = 'second@mine.example' and position($1 in variables) > 0";
    assert_eq!(sqlx::query(mail).bind(&mailed).execute(&pool).await.unwrap().rows_affected(), 1);
    check_database(&pool, &secrets, &people).await;
}

/// No secret stands in any table, and nobody's address in the records that are kept for ever.
async fn check_database(pool: &PgPool, secrets: &[String], people: &[String]) {
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    for table in tables {
        let dump = format!("select coalesce(string_agg(t::text, ' '), '') from {table} t");
        let dump: String = sqlx::query_scalar(sqlx::AssertSqlSafe(dump)).fetch_one(pool).await.unwrap();
        check_absent(&table, &dump, secrets);
        if ["audit_log", "audit_pending", "results", "events", "sign_in_failures", "idempotency_keys"]
            .contains(&table.as_str())
        {
            check_absent(&table, &dump, people);
        }
    }
}

/// Every key that this installation has in Redis, with what is in it.
async fn redis_of(house: &House) -> String {
    let of = |name: &str| house.variables.iter().find(|(known, _)| known == name).unwrap().1.clone();
    let client = redis::Client::open(of("REDIS_URL")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let give_up = Instant::now() + Duration::from_secs(5);
    let mut found = Vec::new();
    while found.is_empty() && Instant::now() < give_up {
        let pattern = format!("*{}*", of("FANFARE__REDIS__PREFIX"));
        let mut scan = connection.scan_match::<_, String>(pattern).await.unwrap();
        while let Some(key) = scan.next_item().await {
            found.push(key.unwrap());
        }
    }
    assert!(!found.is_empty(), "the installation uses Redis");
    let mut text = String::new();
    for key in found {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.unwrap();
        let command: &[&str] = match kind.as_str() {
            "string" => &["GET", &key],
            "hash" => &["HGETALL", &key],
            "set" => &["SMEMBERS", &key],
            "list" => &["LRANGE", &key, "0", "-1"],
            "zset" => &["ZRANGE", &key, "0", "-1", "WITHSCORES"],
            "stream" => &["XRANGE", &key, "-", "+"],
            _ => continue,
        };
        let mut asked = redis::cmd(command[0]);
        command[1..].iter().for_each(|argument| {
            asked.arg(*argument);
        });
        let value: redis::Value = asked.query_async(&mut connection).await.unwrap();
        text += &format!("{key} {}\n", shown(&value));
    }
    text
}

/// Bytes as text, so that a canary in them is found.
fn shown(value: &redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::Array(items) | redis::Value::Set(items) => {
            items.iter().map(shown).collect::<Vec<_>>().join(" ")
        }
        redis::Value::Map(pairs) => pairs
            .iter()
            .map(|(key, value)| format!("{} {}", shown(key), shown(value)))
            .collect::<Vec<_>>()
            .join(" "),
        other => format!("{other:?}"),
    }
}
