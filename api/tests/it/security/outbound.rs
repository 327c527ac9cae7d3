//! A1 SSRF, A2 templates, A3 header injection, A16 what providers answer.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::{net::TcpListener, task::JoinSet};

use crate::open::{Client, Open};

/// Tries of which the quickest counts: what else a busy machine does only adds to the time.
const TRIES: usize = 30;

/// An answer of a provider: status, a header, body.
type Said = (u16, Option<(&'static str, String)>, Vec<u8>);
/// Names of headers, and the body.
type Seen = (Vec<String>, Value);
type Answers = Box<dyn Fn(&str) -> Said + Send + Sync>;

/// A provider that keeps what it is sent, and answers whatever it is told to.
struct Provider {
    base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: JoinSet<()>,
}

impl Provider {
    async fn new(answers: impl Fn(&str) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (kept, answers): (_, Arc<Answers>) = (Arc::clone(&seen), Arc::new(Box::new(answers)));
        let answer = move |request: Request| {
            let (kept, answers) = (Arc::clone(&kept), Arc::clone(&answers));
            async move {
                let names = request.headers().keys().map(ToString::to_string).collect();
                let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
                kept.lock().unwrap().push((names, serde_json::from_slice(&body).unwrap_or_default()));
                respond((*answers)(&String::from_utf8_lossy(&body)))
            }
        };
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
        Self { base, seen, _task: task }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn respond((status, header, body): Said) -> Response {
    let mut response = Response::new(Bytes::from(body).into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some((name, value)) = header {
        let value = HeaderValue::from_str(&value).unwrap();
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

fn accepted() -> Said {
    (201, None, json!({"messageId": 1_511_882_900_176_220_u64, "reference": "r"}).to_string().into_bytes())
}

/// A service whose SMS and WhatsApp go to this address.
async fn sending_to(pool: &PgPool, base: &str) -> (Open, Client) {
    let settings = [
        ("FANFARE__ACCOUNTS__SMS__BASE_URL", base),
        ("FANFARE__ACCOUNTS__WHATSAPP__BASE_URL", base),
        ("FANFARE__API__SEND_WAIT_MS", "1500"),
    ];
    let open = Open::with(pool, &settings).await;
    let owner = open.owner().await;
    (open, owner)
}

async fn sms(client: &Client, to: &str, text: &str) -> (u16, Value) {
    client.post("/api/communication/sms/send", &json!({"to": to, "message": text})).await
}

/// Whoever may make accounts can't have this service call what it reaches and they do not.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a01_an_account_names_no_address_of_the_inside(pool: PgPool) {
    let keys = ("FANFARE_SEALING_KEYS", "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
    let allowed = ("FANFARE__API__PROVIDER_BASE_URLS", r#"["https://sandbox.example/v3"]"#);
    let inside = Provider::new(|_| accepted()).await;
    let open = Open::with(&pool, &[keys, allowed]).await;
    let owner = open.owner().await;
    let port = inside.base.rsplit_once(':').unwrap().1;
    let hosts = [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0",
        "0.0.0.0",
        "localhost",
        "localhost.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "127.0.0.1.nip.io",
        "sandbox.example@127.0.0.1",
    ];
    let mut urls: Vec<String> = hosts.iter().map(|host| format!("http://{host}:{port}/v3")).collect();
    urls.extend(
        [
            "http://169.254.169.254/latest/meta-data/",
            "http://[fd00::1]/",
            "http://10.0.0.1/",
            "http://[::ffff:10.0.0.1]/",
            "gopher://127.0.0.1:6379/_FLUSHALL",
            "file:///etc/passwd",
            "https://sandbox.example/v3/../../",
            "https://sandbox.example/v3?",
            "https://sandbox.example.evil.example/v3",
            "https://sandbox.example/v3#",
            "HTTPS://SANDBOX.EXAMPLE/v3",
            " https://sandbox.example/v3",
            "https://sandbox.example/v3\r\nX: y",
            "",
        ]
        .map(str::to_owned),
    );
    let account = |url: &str| json!({"slug": "kept", "provider": "brevo_sms", "settings": {"sender": "Acme", "baseUrl": url}, "secrets": {"apiKey": "k"}});
    for url in &urls {
        let (status, answer) = owner.post("/api/accounts", &account(url)).await;
        assert_eq!(
            (status, &answer["errors"][0]["field"]),
            (422, &json!("settings.baseUrl")),
            "{url}: {answer}"
        );
    }
    // Nor does a change lead there.
    let (status, made) = owner.post("/api/accounts", &account("https://sandbox.example/v3")).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("/api/accounts/{}", made["data"]["id"].as_str().unwrap());
    for url in &urls {
        let change = json!({"priority": 0, "limits": [], "settings": {"sender": "Acme", "baseUrl": url}});
        assert_eq!(owner.put(&path, &change).await.0, 422, "{url}");
    }
    assert_eq!(inside.seen().len(), 0);
}

/// An answer that leads elsewhere is an answer.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a01_a_provider_leads_the_service_nowhere(pool: PgPool) {
    let inside = Provider::new(|_| accepted()).await;
    let target = inside.base.clone();
    let provider = Provider::new(move |body| {
        let status = [301, 302, 303, 307, 308][body.bytes().filter(|b| *b == b'!').count()];
        (status, Some(("location", format!("{target}/latest/meta-data/"))), Vec::new())
    })
    .await;
    let (_open, owner) = sending_to(&pool, &provider.base).await;
    for (at, marks) in ["", "!", "!!", "!!!", "!!!!"].into_iter().enumerate() {
        let (status, answer) = sms(&owner, &format!("+2305234560{at}"), &format!("Hello{marks}")).await;
        assert!((200..500).contains(&status) && answer["data"]["status"] != "sent", "{status} {answer}");
    }
    assert_eq!((provider.seen().len(), inside.seen().len()), (5, 0));
}

/// A loop of a million rounds ends soon, and what comes in as a value is never a template.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a02_a_template_neither_runs_on_nor_runs_its_values(pool: PgPool) {
    let provider = Provider::new(|_| accepted()).await;
    let (open, owner) = sending_to(&pool, &provider.base).await;
    let template = async |name: &str, content: &str| {
        owner.post("/api/templates", &json!({"name": name, "type": "sms", "content": content})).await
    };
    let (status, made) =
        template("Rounds", "{{#each l}}{{#each ../l}}{{#if this}}{{/if}}{{/each}}{{/each}}x").await;
    assert_eq!(status, 201, "{made}");
    let path = format!("/api/templates/{}/preview", made["data"]["templateId"].as_str().unwrap());
    let mut quickest = Duration::MAX;
    for _ in 0..TRIES {
        let begun = Instant::now();
        let (status, answer) = owner.post(&path, &json!({"values": {"l": vec![1; 500]}})).await;
        quickest = quickest.min(begun.elapsed());
        assert_eq!(status, 422, "{answer}");
    }
    assert!(quickest <= Duration::from_millis(50), "{quickest:?}");

    // Whatever reaches out of the template, or that no template has.
    for content in [
        "{{> partial}}",
        "{{#> layout}}x{{/layout}}",
        "{{lookup this 'constructor'}}",
        "{{env 'DATABASE_URL'}}",
        "{{include '/etc/passwd'}}",
        "{{read_file 'x'}}",
        "{{{{raw}}}}x{{{{/raw}}}}",
        "{{{name}}}",
        "{{exec 'id'}}",
        "{{log name}}",
    ] {
        let (status, answer) = template("Reaches out", content).await;
        assert_eq!(status, 422, "{content}: {answer}");
    }

    // Over the whole way: as a variable of a template, and in a message that is sent as it is written.
    let (_, made) = template("Dear", "Dear {{name}}").await;
    let id = made["data"]["templateId"].as_str().unwrap();
    for injected in
        ["{{7*7}}", "{name}", "{{name}}", "${7*7}", "<%= 7*7 %>", "#{7*7}", "{{#each l}}{{/each}}"]
    {
        let body = json!({"to": "+23052345678", "templateId": id, "parameters": {"name": injected}});
        let (status, answer) = owner.post("/api/communication/sms/send", &body).await;
        assert_eq!(status, 201, "{answer}");
        let (status, answer) = sms(&owner, "+23052345678", injected).await;
        assert_eq!(status, 201, "{answer}");
        let seen = provider.seen();
        let text = |back: usize| seen[seen.len() - back].1["content"].as_str().unwrap().to_owned();
        // Behind what is marketing stands how to stop it.
        assert!(text(2).starts_with(&format!("Dear {injected}")), "{}", text(2));
        assert_eq!(text(1), injected);
    }
    drop(open);
}

/// Whatever stands in a name, a subject or an address, the provider is sent as many headers and fields as ever, and none
/// of those that become headers of a mail holds the end of a line.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a03_nothing_that_people_write_becomes_a_header(pool: PgPool) {
    let provider = Provider::new(|_| (201, None, br#"{"messageId": "<1@relay.example>"}"#.to_vec())).await;
    let allowed = format!("[\"{}/v3\"]", provider.base);
    let settings = [
        ("FANFARE_SEALING_KEYS", "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
        ("FANFARE__API__PROVIDER_BASE_URLS", allowed.as_str()),
    ];
    let open = Open::with(&pool, &settings).await;
    let owner = open.owner().await;
    let account = |name: &str, reply_to: &str| {
        json!({"slug": "mail", "provider": "brevo_email", "secrets": {"apiKey": "k"}, "settings": {
            "baseUrl": format!("{}/v3", provider.base), "senderEmail": "a@acme.example", "senderName": name, "replyTo": reply_to}})
    };
    const ENDS: [&str; 7] = ["\r\n", "\n", "\r", "\u{0}", "\u{2028}", "\u{85}", "\u{b}"];
    for end in ENDS {
        let injected = format!("Acme{end}Bcc: all@evil.example");
        let mut answers = vec![(account(&injected, "a@acme.example"), "settings.senderName")];
        if !matches!(end, "\u{2028}") {
            answers.push((
                account("Acme", &format!("a@acme.example{end}Bcc: b@evil.example")),
                "settings.replyTo",
            ));
        }
        for (body, field) in answers {
            let (status, answer) = owner.post("/api/accounts", &body).await;
            assert!(
                status == 422 && answer["errors"].to_string().contains(field),
                "{end:?} in {field}: {status} {answer}"
            );
        }
    }
    let (status, made) = owner.post("/api/accounts", &account("Acme", "r@acme.example")).await;
    assert_eq!(status, 201, "{made}");
    open.engine.roster.refresh().await.unwrap();
    let template =
        json!({"name": "Due", "type": "email", "subject": "Due {{name}}", "content": "Dear {{name}}"});
    let (status, made) = owner.post("/api/templates", &template).await;
    assert_eq!(status, 201, "{made}");
    let template = made["data"]["templateId"].clone();

    let send = async |body: Value| {
        let before = provider.seen().len();
        let (status, answer) = owner.post("/api/communication/email/send", &body).await;
        let seen = provider.seen();
        match status {
            201 => Some(seen[before].clone()),
            422 => {
                assert_eq!(seen.len(), before, "{answer}");
                None
            }
            other => panic!("{other} {answer}"),
        }
    };
    let plain = send(json!({"to": "b@acme.example", "subject": "Due", "message": "x"})).await.unwrap();
    let shape = |(headers, body): &(Vec<String>, Value)| {
        (headers.len(), keys(body), keys(&body["headers"]), keys(&body["to"][0]), keys(&body["replyTo"]))
    };
    for end in ENDS.into_iter().chain(["%0d%0a", "=?utf-8?q?=0d=0aBcc:_b=40evil.example?="]) {
        let injected = format!("x{end}Bcc: b@evil.example");
        let to = format!("b{end}bcc@acme.example");
        for body in [
            json!({"to": "b@acme.example", "subject": injected, "message": "x"}),
            json!({"to": "b@acme.example", "templateId": template, "parameters": {"name": injected}}),
            json!({"to": to, "subject": "x", "message": "x"}),
            json!({"to": "b@acme.example", "subject": "x", "message": "x", "businessKey": injected, "references": {"a": injected}}),
        ] {
            let Some(seen) = send(body.clone()).await else { continue };
            assert_eq!(shape(&seen), shape(&plain), "{body}");
            let subject = seen.1["subject"].as_str().unwrap();
            let ends = |c: char| c.is_control() || ['\u{2028}', '\u{2029}'].contains(&c);
            assert!(!subject.contains(ends), "{subject:?} of {body}");
            assert!(!seen.1["to"].to_string().contains("bcc@") || !to.contains(ends), "{}", seen.1);
        }
    }
}

fn keys(value: &Value) -> Vec<String> {
    value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
}

/// Bodies that a provider that was taken over, or that is broken, might answer.
fn hostile() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = [
        "",
        "null",
        "[]",
        "0",
        "\"x\"",
        "{",
        "<html><script>alert(1)</script>",
        r#"{"messageId": null}"#,
        r#"{"messageId": 1e400}"#,
        r#"{"messageId": "\u0000"}"#,
        r#"{"messageId": "a\u0000b"}"#,
        r#"{"messageId": "\ud800"}"#,
        r#"{"messageId": ["1", "2"]}"#,
        r#"{"messageId": 1, "messageId": 2}"#,
        r#"{"messageId": "'; drop table results; --"}"#,
        r#"{"code": "invalid_parameter", "message": "a\u0000b"}"#,
        r#"{"code": "\u0000", "message": 7}"#,
        r#"{"messages": [{"id": "wamid.\u0000"}]}"#,
        r#"{"messages": [{"id": "\u0001\u2028"}]}"#,
        r#"{"error": {"code": 131026, "message": "a\u0000b", "error_data": {"details": "c\u0000d"}}}"#,
        r#"{"error": {"code": "131026", "message": {"a": 1}}}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    bodies.push(b"\xff\xfe{}".to_vec());
    bodies.push(vec![b'['; 100_000]);
    bodies.push(format!(r#"{{"messageId": "{}"}}"#, "9".repeat(100_000)).into_bytes());
    bodies.push(
        format!(r#"{{"code": "invalid_parameter", "message": "{}"}}"#, "x".repeat(900_000)).into_bytes(),
    );
    bodies.push(vec![b' '; 2 << 20]);
    bodies
}

/// Whatever a provider answers, every message has its fact, and the next one goes.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a16_what_a_provider_answers_breaks_nothing(pool: PgPool) {
    let headers: [Option<(&str, &str)>; 4] = [
        None,
        Some(("retry-after", "99999999999999999999")),
        Some(("retry-after", "-1")),
        Some(("content-encoding", "gzip")),
    ];
    let (good, all) = (Arc::new(Mutex::new(true)), hostile());
    let (count, told) = (all.len(), Arc::clone(&good));
    let turn = Mutex::new(0_usize);
    let provider = Provider::new(move |body| {
        let mut turn = turn.lock().unwrap();
        if *told.lock().unwrap() {
            let whatsapp = body.contains("messaging_product");
            return if whatsapp {
                (200, None, br#"{"messages": [{"id": "wamid.1"}]}"#.to_vec())
            } else {
                accepted()
            };
        }
        *turn += 1;
        // Each body with an acceptance and a refusal, by turns.
        let status = [201, 400, 200, 404][(*turn / count) % 4];
        let header = headers[*turn % 4].map(|(name, value)| (name, value.to_owned()));
        (status, header, all[*turn % count].clone())
    })
    .await;
    let (open, owner) = sending_to(&pool, &provider.base).await;
    let text = json!({"name": "Dear", "type": "whatsapp", "content": "Dear {{name}}"});
    let (status, made) = owner.post("/api/templates", &text).await;
    assert_eq!(status, 201, "{made}");
    let template = made["data"]["templateId"].clone();
    let whatsapp = async |n: usize| {
        let body =
            json!({"to": format!("+23057{n:06}"), "templateId": template, "parameters": {"name": "Ann"}});
        owner.post("/api/communication/whatsapp/send", &body).await
    };
    let sound = async |n: usize| {
        for (status, answer) in
            [sms(&owner, &format!("+23058{n:06}"), "x").await, whatsapp(500_000 + n).await]
        {
            assert_eq!((status, &answer["data"]["status"]), (201, &json!("sent")), "after {n}: {answer}");
        }
    };
    for n in 0..2 * count {
        *good.lock().unwrap() = false;
        for (status, answer) in [sms(&owner, &format!("+23057{n:06}"), "x").await, whatsapp(n).await] {
            assert!(status < 500, "{n}: {status} {answer}");
        }
        // A good one between them keeps the breaker from opening, and shows that the outcome before it was written.
        *good.lock().unwrap() = true;
        sound(n).await;
    }
    let without: i64 = sqlx::query_scalar(
        "select count(*) from recipients r where not exists (select from facts_of(r.campaign_id, r.n))",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(without, 0, "every message has a fact");
    let (status, listed) = owner.get("/api/messages?limit=500").await;
    assert_eq!(status, 200, "{listed}");
    for message in listed["data"]["messages"].as_array().unwrap().iter().take(60) {
        let (status, shown) =
            owner.get(&format!("/api/messages/{}", message["messageId"].as_str().unwrap())).await;
        assert!(status == 200 && shown.to_string().len() < 20_000, "{status}");
    }
    drop(open);
}
