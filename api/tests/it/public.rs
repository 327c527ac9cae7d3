//! What recipients do without signing in: over the links of mail that was really sent, to a provider that keeps what it gets.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    engine::Role,
    id::TenantId,
    store::templates::TemplateHead,
};
use fanfare_templates::publish;
use reqwest::{Method, redirect::Policy};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::open::{Client, Open};

const BASE: &str = "https://mail.example.com";
const BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36";
const ANN: &str = "01990000-0000-7000-8000-00000000aaaa";

type Mails = Arc<Mutex<Vec<Value>>>;

struct Stage {
    open: Open,
    owner: Client,
    pool: PgPool,
    mails: Mails,
    browser: reqwest::Client,
    _brevo: tokio::task::JoinSet<()>,
}

/// Brevo, as far as it takes e-mails.
async fn brevo(mails: Mails) -> (String, tokio::task::JoinSet<()>) {
    async fn take(State(mails): State<Mails>, Json(mail): Json<Value>) -> Json<Value> {
        let mut mails = mails.lock().unwrap();
        mails.push(mail);
        Json(json!({"messageId": format!("<{}@relay>", mails.len())}))
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v3", listener.local_addr().unwrap());
    async fn take_sms(State(mails): State<Mails>, Json(sms): Json<Value>) -> (StatusCode, Json<Value>) {
        let mut mails = mails.lock().unwrap();
        mails.push(sms);
        (
            StatusCode::CREATED,
            Json(json!({"messageId": mails.len(), "reference": "ab1cde2fgh3i4jklmno", "smsCount": 1})),
        )
    }
    let router = Router::new()
        .route("/v3/smtp/email", post(take))
        .route("/v3/transactionalSMS/send", post(take_sms))
        .route("/v3/transactionalSMS/sms", post(take_sms))
        .with_state(mails);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (base, tasks)
}

impl Stage {
    async fn new(pool: &PgPool) -> Self {
        let mails = Mails::default();
        let (base, _brevo) = brevo(Arc::clone(&mails)).await;
        let key = format!("test:{}", BASE64_STANDARD.encode([7; 32]));
        let settings = [
            ("BREVO_API_KEY", "xkeysib-test"),
            ("BREVO_SENDER_EMAIL", "news@acme.example"),
            ("BREVO_BASE_URL", &base),
            ("FANFARE__ACCOUNTS__BREVO_EMAIL__SENDER_NAME", "Acme"),
            ("FANFARE__ACCOUNTS__BREVO_EMAIL__TENANT", "acme"),
            ("FANFARE__ACCOUNTS__SMS__BASE_URL", &base),
            ("FANFARE__PUBLIC__BASE_URL", BASE),
            ("FANFARE_SIGNING_KEYS", &key),
        ];
        let open = Open::with(pool, &settings).await;
        let owner = open.owner().await;
        let stage = Self { open, owner, pool: pool.clone(), mails, browser: browser(), _brevo };
        let contact = "insert into contacts (id, tenant_id, name, email, phone, time_zone, attributes, created_at)
                       select $1::uuid, id, 'Ann', 'ann@example.com', '+23052345678', 'UTC', '{\"policy\": \"P 1\"}', now() - interval '1 hour'
                       from tenants where slug = 'acme'";
        stage.execute(contact).await;
        stage
    }

    /// A statement about Ann.
    async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).bind(ANN).execute(&self.pool).await.unwrap();
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.pool).await.unwrap()
    }

    async fn tenant(&self) -> TenantId {
        self.open.engine.store.tenant("acme").await.unwrap().id
    }

    async fn template(&self, slug: &str, class: MessageClass, html: &str) {
        let source = json!({"channel": "email", "subject": "News", "body": {"html": html}, "text": "News"});
        let published = publish(&serde_json::from_value(source).unwrap()).unwrap();
        let head = TemplateHead { slug, channel: Channel::Email, class, name: slug };
        let (store, ids) = (&self.open.engine.store, &self.open.engine.ids);
        store.publish_template(ids, self.tenant().await, &head, "en", &published).await.unwrap();
    }

    async fn send(&self, template: &str) -> (u16, Value) {
        let body = json!({"to": "ann@example.com", "templateId": template, "parameters": {"name": "Ann"}});
        self.owner.post("/api/communication/email/send", &body).await
    }

    /// Sends, and gives what the provider got.
    async fn sent(&self, template: &str) -> Value {
        let (status, answer) = self.send(template).await;
        assert_eq!((status, &answer["data"]["status"]), (201, &json!("sent")), "{answer}");
        self.mails.lock().unwrap().last().unwrap().clone()
    }

    /// Marketing that Ann got, and her way out of it.
    async fn marketing(&self) -> String {
        self.template(
            "news",
            MessageClass::Marketing,
            "<p>Hello {{name}}</p><a href=\"{{unsubscribe_url}}\">x</a>",
        )
        .await;
        way_out(&self.sent("news").await)
    }

    fn visit(&self, method: Method, url: &str) -> reqwest::RequestBuilder {
        self.visit_as(BROWSER, method, url)
    }

    fn visit_as(&self, agent: &str, method: Method, url: &str) -> reqwest::RequestBuilder {
        let path = url.strip_prefix(BASE).unwrap_or(url);
        self.browser.request(method, format!("{}{path}", self.open.base)).header("user-agent", agent)
    }

    async fn page(&self, url: &str) -> (u16, String) {
        text(self.visit(Method::GET, url)).await
    }

    async fn submit(&self, url: &str, form: &str) -> (u16, String) {
        let request = self.visit(Method::POST, url);
        text(request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned())).await
    }

    /// Until the statement counts this many.
    async fn until(&self, statement: &'static str, expected: i64) {
        for _ in 0..100 {
            if self.count(statement).await == expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("{statement}: {} and not {expected}", self.count(statement).await);
    }
}

#[expect(clippy::disallowed_methods, reason = "the client of a recipient, not of the program")]
fn browser() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap()
}

async fn text(request: reqwest::RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The one address of the header.
fn way_out(mail: &Value) -> String {
    let header = mail["headers"]["List-Unsubscribe"].as_str().unwrap_or_else(|| panic!("{mail}"));
    assert_eq!(mail["headers"]["List-Unsubscribe-Post"], "List-Unsubscribe=One-Click");
    let url = header.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap();
    assert!(url.starts_with(&format!("{BASE}/u/")), "{url}");
    url.to_owned()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn marketing_bears_a_way_out_and_bills_do_not(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let first = stage.marketing().await;
    let mail = stage.sent("news").await;
    assert!(mail["htmlContent"].as_str().unwrap().contains(&way_out(&mail)), "{mail}");
    assert_ne!(way_out(&mail), first, "each message has its own");
    assert!(!first.contains("ann") && !first.contains("example.com/u/YW5u"));
    for (slug, class) in [("bill", MessageClass::Obligation), ("code", MessageClass::Transactional)] {
        stage.template(slug, class, "<p>Hello {{name}}</p>").await;
        let mail = stage.sent(slug).await;
        assert_eq!(mail["headers"]["List-Unsubscribe"], Value::Null, "{mail}");
        assert_eq!(mail["headers"]["List-Unsubscribe-Post"], Value::Null);
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn one_click_stops_the_next_message_and_a_look_stops_nothing(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let url = stage.marketing().await;
    stage.template("bill", MessageClass::Obligation, "<p>Hello {{name}}</p>").await;
    for method in [Method::GET, Method::HEAD, Method::GET] {
        assert_eq!(text(stage.visit(method, &url)).await.0, 200);
    }
    assert_eq!(stage.count("select count(*) from suppressions").await, 0);
    stage.sent("news").await;

    for _ in 0..3 {
        // As a mail provider does it: no cookie, nothing but this.
        let (status, page) = stage.submit(&url, "List-Unsubscribe=One-Click").await;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("You are unsubscribed from Acme") && page.contains("a…@e…"), "{page}");
    }
    let (status, problem) = stage.send("news").await;
    assert_eq!((status, &problem["reason"]), (422, &json!("unsubscribed")), "{problem}");
    stage.sent("bill").await;
    assert_eq!(stage.count("select count(*) from events where kind = 'unsubscribed'").await, 1);
    let said: (String, String, String) = sqlx::query_as(
        "select s.scope, s.source, c.source from suppressions s, consents c where not c.granted and c.channel = 'email'",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    assert_eq!(said, ("marketing".to_owned(), "one_click".to_owned(), "one_click".to_owned()));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_form_of_several_parts_and_the_button_unsubscribe_too(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let url = stage.marketing().await;
    let parts =
        "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n";
    let request = stage.visit(Method::POST, &url).header("content-type", "multipart/form-data; boundary=x");
    assert_eq!(text(request.body(parts)).await.0, 200);
    assert_eq!(stage.count("select count(*) from suppressions where source = 'one_click'").await, 1);
    stage.execute("delete from suppressions where $1::uuid is not null").await;
    assert_eq!(stage.submit(&url, "").await.0, 200);
    assert_eq!(stage.count("select count(*) from suppressions where source = 'unsubscribe_page'").await, 1);
    let huge = "x".repeat(1 << 20);
    assert_eq!(stage.submit(&url, &huge).await.0, 200, "whoever asks is let go");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_link_that_is_none_gets_one_answer(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let url = stage.marketing().await;
    let token = url.rsplit('/').next().unwrap();
    let (status, usual) = stage.page("/u/x").await;
    assert_eq!(status, 404);
    assert!(usual.contains("This link does not work"), "{usual}");
    let turned = format!("{}{}", &token[..50], if token.ends_with('A') { 'E' } else { 'A' });
    let cut = &token[..token.len() - 1];
    for path in [
        format!("/u/{turned}"),
        format!("/u/{cut}"),
        format!("/u/{token}="),
        format!("/u/{}", "A".repeat(51)),
        format!("/u/{}", "A".repeat(5_000)),
        "/u/%00".to_owned(),
        "/u/%FF".to_owned(),
        format!("/p/{token}"),
        format!("/o/{token}.gif"),
        format!("/c/{token}/0123456789abcdef"),
    ] {
        assert_eq!(stage.page(&path).await, (404, usual.clone()), "{path}");
    }
    assert_eq!(stage.submit(&format!("/p/{token}"), "none=1").await, (404, usual.clone()));
    assert_eq!(
        stage.submit(&format!("/u/{turned}"), "List-Unsubscribe=One-Click").await,
        (404, usual.clone())
    );
    assert_eq!(stage.count("select count(*) from suppressions").await, 0);
    // A good token whose message is gone says no more than a bad one.
    stage.execute("delete from recipients where $1::uuid is not null").await;
    assert_eq!(stage.page(&url).await, (404, usual));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn pages_are_safe_and_speak_the_persons_language(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let url = stage.marketing().await;
    stage.execute("update tenants set name = '<script>alert(1)</script>\" onx=\"' where $1::uuid is not null and slug = 'acme'").await;
    let answer = stage.visit(Method::GET, &url).send().await.unwrap();
    let header = |name: &str| {
        answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let policy = header("content-security-policy");
    for part in [
        "default-src 'none'",
        "style-src 'sha256-",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"));
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert!(header("x-robots-tag").contains("noindex"));
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("set-cookie"), "");
    let page = answer.text().await.unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script"), "{page}");
    assert!(page.contains("lang=\"en\"") && page.contains("<form method=\"post\">"), "{page}");
    // The style is the one that the policy names.
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let hash = BASE64_STANDARD.encode(<sha2::Sha256 as sha2::Digest>::digest(style));
    assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");

    stage.execute("update contacts set locale = 'fr-MU' where id = $1::uuid").await;
    let (_, page) = stage.page(&url).await;
    assert!(page.contains("lang=\"fr\"") && page.contains("Me désabonner"), "{page}");
    let french = stage.visit(Method::GET, "/u/x").header("accept-language", "fr-FR,en;q=0.5");
    assert!(text(french).await.1.contains("Ce lien ne fonctionne pas"));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_person_chooses_their_channels(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    stage
        .template(
            "news",
            MessageClass::Marketing,
            "<p>{{name}}</p><a href=\"{{preferences_url}}\">Choose</a>",
        )
        .await;
    let mail = stage.sent("news").await;
    let html = mail["htmlContent"].as_str().unwrap();
    let url = html.split("href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let on = |page: &str| -> Vec<String> {
        let boxes = page.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap());
        let ticked = boxes.filter(|tag| tag.contains(" checked"));
        ticked
            .map(|tag| tag.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
            .collect()
    };
    let (status, page) = stage.page(&url).await;
    assert_eq!(
        (status, on(&page)),
        (200, vec!["email".to_owned(), "sms".to_owned(), "whatsapp".to_owned()]),
        "{page}"
    );
    assert!(!page.contains("ann@example.com") && !page.contains("52345678"), "addresses are masked: {page}");

    let (status, page) = stage.submit(&url, "channel=sms&save=1").await;
    assert_eq!((status, on(&page)), (200, vec!["sms".to_owned()]), "{page}");
    assert_eq!(stage.send("news").await.1["reason"], "unsubscribed");
    assert_eq!(stage.count("select count(*) from events where kind = 'unsubscribed'").await, 1);

    let (status, page) = stage.submit(&url, "channel=email&channel=sms").await;
    assert_eq!((status, on(&page)), (400, vec!["sms".to_owned()]), "what is not the form changes nothing");

    let (_, page) = stage.submit(&url, "channel=email&channel=sms&save=1").await;
    assert_eq!(on(&page), ["email", "sms"], "{page}");
    stage.sent("news").await;

    let (_, page) = stage.submit(&url, "channel=email&none=1").await;
    assert!(on(&page).is_empty(), "{page}");
    assert_eq!(
        stage
            .count("select count(*) from suppressions where reason = 'unsubscribed' and scope = 'marketing'")
            .await,
        3
    );
    assert_eq!(stage.count("select count(*) from consents where not granted").await, 3);

    // What can't arrive is not promised.
    stage.execute("insert into suppressions (tenant_id, channel, address, scope, reason, source)
                   select tenant_id, 'email', email, 'all', 'bounced', 'test' from contacts where id = $1::uuid").await;
    let (_, page) = stage.submit(&url, "channel=email&channel=whatsapp&save=1").await;
    assert_eq!(on(&page), ["whatsapp"]);
    assert!(page.contains("disabled") && page.contains("We cannot write to you there."), "{page}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn marketing_goes_over_channels_that_a_person_named(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let url = stage.marketing().await;
    stage.template("bill", MessageClass::Obligation, "<p>Hello {{name}}</p>").await;
    let contact = fanfare_engine::id::ContactId::from_uuid(ANN.parse().unwrap());
    let path = format!("/api/contacts/{contact}/preferences");
    let put = |channels: Value| {
        let body = json!({"channels": channels, "topics": {}});
        let (owner, path) = (stage.owner.clone(), path.clone());
        async move { owner.put(&path, &body).await.0 }
    };
    assert_eq!(put(json!(["sms"])).await, 200);
    let (status, problem) = stage.send("news").await;
    assert_eq!((status, &problem["reason"]), (422, &json!("not_preferred")), "{problem}");
    stage.sent("bill").await;
    // Nothing was said about consent.
    let (_, consents) = stage.owner.get(&format!("/api/contacts/{contact}/consents")).await;
    assert_eq!(consents["data"]["consents"], json!([]));
    assert_eq!(put(json!(["whatsapp", "email"])).await, 200);
    stage.sent("news").await;
    assert_eq!(put(json!(["sms"])).await, 200);
    // The page is the person's own word, and names the channel.
    let (_, page) = stage.page(&url).await;
    let choose = page.split("<a href=\"").nth(1).unwrap().split('"').next().unwrap();
    stage.submit(choose, "channel=email&channel=sms&save=1").await;
    stage.sent("news").await;
    assert_eq!(put(json!([])).await, 200);
    stage.sent("news").await;
    assert_eq!(stage.count("select count(*) from consents where wanted is not null").await, 0);
    assert_eq!(put(json!(["in_app"])).await, 422);
}

/// A campaign to Ann with a link and a picture, sent.
async fn campaign(stage: &Stage) -> (String, String) {
    let html =
        "<html><body><p>Hello {{name}}</p><a href=\"https://pay.example/{{policy}}?a=1&amp;b=2\">Pay</a>
                <a href=\"https://www.example/about\">About</a></body></html>";
    stage.template("offer", MessageClass::Marketing, html).await;
    let body = json!({"name": "Offer", "type": "email", "templates": {"email": "offer"}, "trackLinks": true, "trackOpens": true});
    let (status, made) = stage.owner.post("/api/campaigns", &body).await;
    assert_eq!(status, 201, "{made}");
    let made = &made["data"]["campaigns"][0];
    assert_eq!((&made["trackLinks"], &made["trackOpens"]), (&json!(true), &json!(true)));
    let id = made["id"].as_str().unwrap().to_owned();
    let (status, check) = stage.owner.post(&format!("/api/campaigns/{id}/preflight"), &json!({})).await;
    assert!(status == 200 || status == 404 || status == 405, "{check}");
    let running = stage.open.engine.start(&[Role::Worker, Role::Scheduler, Role::Upkeep]);
    let (status, answer) =
        stage.owner.put(&format!("/api/campaigns/{id}/status"), &json!({"status": "active"})).await;
    assert_eq!(status, 200, "{answer}");
    stage.until("select count(*) from results where kind = 0", 1).await;
    running.shut_down().await;
    let mail = stage.mails.lock().unwrap().last().unwrap().clone();
    way_out(&mail);
    (id, mail["htmlContent"].as_str().unwrap().to_owned())
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn clicks_lead_where_the_letter_said_and_people_are_counted(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let (id, html) = campaign(&stage).await;
    let links: Vec<&str> =
        html.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let picture = html.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(links.iter().all(|link| link.starts_with(&format!("{BASE}/c/"))), "{html}");
    assert!(picture.starts_with(&format!("{BASE}/o/")) && picture.ends_with(".gif"), "{html}");

    let follow = |url: String, agent: &'static str, method: Method| {
        let request = stage.visit_as(agent, method, &url);
        async move {
            let answer = request.send().await.unwrap();
            let led = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
            (answer.status().as_u16(), led)
        }
    };
    let pay = Some("https://pay.example/P%201?a=1&b=2".to_owned());
    // Within two seconds of the acceptance nobody has read it.
    assert_eq!(follow(links[0].to_owned(), BROWSER, Method::GET).await, (302, pay.clone()));
    stage.until("select count(*) from events where detail = 'by a machine: too_soon'", 1).await;
    stage.execute("update results set at = at - interval '1 minute' where $1::uuid is not null").await;
    // Neither do machines, whatever they follow, and nobody is led to where the request says.
    for (link, agent, method) in [
        (links[0], "Mozilla/5.0", Method::GET),
        (links[0], BROWSER, Method::HEAD),
        (links[1], "Mozilla/5.0 (compatible; BarracudaCentral/1.0)", Method::GET),
    ] {
        assert_eq!(follow(link.to_owned(), agent, method).await.0, 302);
    }
    let picture_of = |agent: &'static str| text(stage.visit_as(agent, Method::GET, picture));
    assert_eq!(picture_of("Mozilla/5.0 (via ggpht.com GoogleImageProxy)").await.0, 200);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(stage.count("select count(*) from events where kind in ('opened', 'clicked')").await, 0);
    assert_eq!(stage.count("select count(*) from events where kind = 'delivered'").await, 1);

    for more in ["?url=https://evil.example", "?to=//evil.example&next=https:evil.example"] {
        assert_eq!(follow(format!("{}{more}", links[0]), BROWSER, Method::GET).await, (302, pay.clone()));
    }
    for broken in ["/https:%2F%2Fevil.example", "/0123456789abcdef", "/", "/..%2F..%2Fx"] {
        let base = links[0].rsplit_once('/').unwrap().0;
        assert_eq!(follow(format!("{base}{broken}"), BROWSER, Method::GET).await.1, None, "{broken}");
    }
    let answer = stage.visit(Method::GET, picture).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "image/gif");
    assert!(answer.bytes().await.unwrap().starts_with(b"GIF89a"));
    stage
        .until(
            "select count(*) from events where kind = 'clicked' and detail = 'https://pay.example/P%201'",
            1,
        )
        .await;
    stage.until("select count(*) from events where kind = 'opened'", 1).await;
    while stage.open.engine.store.fold_notes().await.unwrap() > 0 {}
    let (_, told) = stage.owner.get(&format!("/api/campaigns/{id}/analytics")).await;
    let metrics = &told["data"]["metrics"];
    assert_eq!((&metrics["opened"], &metrics["clicked"]), (&json!(1), &json!(1)), "{told}");

    // Two links at once: a machine that says it is a browser.
    let together = tokio::join!(
        follow(links[0].to_owned(), BROWSER, Method::GET),
        follow(links[1].to_owned(), BROWSER, Method::GET)
    );
    assert_eq!((together.0.0, together.1.0), (302, 302));
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(stage.count("select count(*) from events where kind = 'clicked'").await, 1);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn values_lead_to_the_web_only(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    stage.execute("update contacts set attributes = '{\"policy\": \"x\", \"site\": \"javascript:alert(1)\"}' where id = $1::uuid").await;
    stage.template("offer", MessageClass::Marketing, "<p>{{name}}</p><a href=\"{{site}}\">x</a>").await;
    let body = json!({"name": "Offer", "type": "email", "templates": {"email": "offer"}, "trackLinks": true});
    let (_, made) = stage.owner.post("/api/campaigns", &body).await;
    let id = made["data"]["campaigns"][0]["id"].as_str().unwrap().to_owned();
    let running = stage.open.engine.start(&[Role::Worker, Role::Scheduler, Role::Upkeep]);
    stage.owner.put(&format!("/api/campaigns/{id}/status"), &json!({"status": "active"})).await;
    stage.until("select count(*) from results where kind = 0", 1).await;
    running.shut_down().await;
    let mail = stage.mails.lock().unwrap().last().unwrap().clone();
    let html = mail["htmlContent"].as_str().unwrap();
    let link = html.split("href=\"").nth(1).unwrap().split('"').next().unwrap();
    for site in
        ["javascript:alert(1)", "//evil.example", "https:evil.example", "https://good.example@evil.example"]
    {
        let values = format!("[{{\"name\": \"Ann\", \"site\": \"{site}\"}}]");
        sqlx::query("update recipients set variables = $1").bind(values).execute(&stage.pool).await.unwrap();
        assert_eq!(stage.page(link).await.0, 404, "{site}");
    }
    sqlx::query("update recipients set variables = $1")
        .bind("[{\"name\": \"Ann\", \"site\": \"https://good.example\"}]")
        .execute(&stage.pool)
        .await
        .unwrap();
    assert_eq!(stage.page(link).await.0, 302);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn visitors_are_limited_by_themselves(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__PUBLIC__PER_SECOND", "3")]).await;
    let mut limited = 0;
    for _ in 0..20 {
        limited += usize::from(open.text("/u/x").await.0 == 429);
    }
    assert!(limited >= 10, "{limited}");
    assert_eq!(open.nobody().get("/livez").await.0, 200);
    let body = json!({"name": "N", "type": "sms", "templates": {"sms": "x"}, "trackLinks": true});
    let (status, problem) = open.owner().await.post("/api/campaigns", &body).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("trackLinks")), "{problem}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_sms_has_short_links_where_its_author_asked(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let source = json!({"channel": "sms", "text": "Pay {{short_link payment}} or see https://acme.example"});
    let published = publish(&serde_json::from_value(source).unwrap()).unwrap();
    let head =
        TemplateHead { slug: "pay", channel: Channel::Sms, class: MessageClass::Obligation, name: "pay" };
    let (store, ids) = (&stage.open.engine.store, &stage.open.engine.ids);
    store.publish_template(ids, stage.tenant().await, &head, "en", &published).await.unwrap();
    stage
        .execute(
            "update contacts set attributes = '{\"payment\": \"https://pay.example/1\"}' where id = $1::uuid",
        )
        .await;
    let body = json!({"name": "Pay", "type": "sms", "templates": {"sms": "pay"}, "trackLinks": true});
    let (status, made) = stage.owner.post("/api/campaigns", &body).await;
    assert_eq!(status, 201, "{made}");
    let id = made["data"]["campaigns"][0]["id"].as_str().unwrap().to_owned();
    let running = stage.open.engine.start(&[Role::Worker, Role::Scheduler, Role::Upkeep]);
    stage.owner.put(&format!("/api/campaigns/{id}/status"), &json!({"status": "active"})).await;
    stage.until("select count(*) from results where kind = 0", 1).await;
    running.shut_down().await;
    let sms = stage.mails.lock().unwrap().last().unwrap().clone();
    let text = sms["content"].as_str().unwrap();
    let link = text.strip_prefix("Pay ").unwrap().split(' ').next().unwrap();
    assert!(link.starts_with(&format!("{BASE}/s/")) && text.ends_with("https://acme.example"), "{text}");
    assert!(link.len() < BASE.len() + 20, "{link}");
    let answer = stage.visit(Method::GET, link).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 302);
    assert_eq!(answer.headers()["location"], "https://pay.example/1");
    let (code, last) = link.split_at(link.len() - 1);
    assert_eq!(last, "A");
    let usual = stage.page("/u/x").await;
    for wrong in [format!("{code}B"), code.to_owned(), format!("{code}AA"), format!("{BASE}/s/AQE")] {
        assert_eq!(stage.page(&wrong).await, usual, "{wrong}");
    }
}
