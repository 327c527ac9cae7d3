//! An insurer, Ann, and a provider that keeps what it gets.

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

use crate::{
    open::{Client, Open},
    support::found,
};

pub(crate) const BASE: &str = "https://mail.example.com";
pub(crate) const BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36";
pub(crate) const ANN: &str = "01990000-0000-7000-8000-00000000aaaa";

type Mails = Arc<Mutex<Vec<Value>>>;

pub(crate) struct Stage {
    pub(crate) open: Open,
    pub(crate) owner: Client,
    pub(crate) pool: PgPool,
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
    pub(crate) async fn new(pool: &PgPool) -> Self {
        let mails = Mails::default();
        let (base, _brevo) = brevo(Arc::clone(&mails)).await;
        let key = signing_key(7);
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
    pub(crate) async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).bind(ANN).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn tenant(&self) -> TenantId {
        self.open.engine.store.tenant("acme").await.unwrap().id
    }

    pub(crate) async fn template(&self, slug: &str, class: MessageClass, html: &str) {
        let source = json!({"channel": "email", "subject": "News", "body": {"html": html}, "text": "News"});
        let published = publish(&serde_json::from_value(source).unwrap()).unwrap();
        let head = TemplateHead { slug, channel: Channel::Email, class, name: slug };
        let (store, ids) = (&self.open.engine.store, &self.open.engine.ids);
        store.publish_template(ids, self.tenant().await, &head, "en", &published).await.unwrap();
    }

    pub(crate) async fn send(&self, template: &str) -> (u16, Value) {
        let body = json!({"to": "ann@example.com", "templateId": template, "parameters": {"name": "Ann"}});
        self.owner.post("/api/communication/email/send", &body).await
    }

    /// Sends, and gives what the provider got.
    pub(crate) async fn sent(&self, template: &str) -> Value {
        let (status, answer) = self.send(template).await;
        assert_eq!((status, &answer["data"]["status"]), (201, &json!("sent")), "{answer}");
        self.mails.lock().unwrap().last().unwrap().clone()
    }

    /// Marketing that Ann got, and her way out of it.
    pub(crate) async fn marketing(&self) -> String {
        self.template(
            "news",
            MessageClass::Marketing,
            "<p>Hello {{name}}</p><a href=\"{{unsubscribe_url}}\">x</a>",
        )
        .await;
        way_out(&self.sent("news").await)
    }

    pub(crate) fn visit(&self, method: Method, url: &str) -> reqwest::RequestBuilder {
        self.visit_as(BROWSER, method, url)
    }

    pub(crate) fn visit_as(&self, agent: &str, method: Method, url: &str) -> reqwest::RequestBuilder {
        let path = url.strip_prefix(BASE).unwrap_or(url);
        self.browser.request(method, format!("{}{path}", self.open.base)).header("user-agent", agent)
    }

    pub(crate) async fn page(&self, url: &str) -> (u16, String) {
        text(self.visit(Method::GET, url)).await
    }

    pub(crate) async fn submit(&self, url: &str, form: &str) -> (u16, String) {
        let request = self.visit(Method::POST, url);
        text(request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned())).await
    }

    /// Until the statement counts this many.
    pub(crate) async fn until(&self, statement: &'static str, expected: i64) {
        found(statement, async || {
            let count = self.count(statement).await;
            if count == expected { Ok(()) } else { Err(move || format!("{count} and not {expected}")) }
        })
        .await;
    }

    /// Makes a campaign to Ann and gives its id.
    pub(crate) async fn campaign(&self, body: Value) -> String {
        let (status, made) = self.owner.post("/api/campaigns", &body).await;
        assert_eq!(status, 201, "{made}");
        made["data"]["campaigns"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Launches the campaign, and gives what the provider got.
    pub(crate) async fn launched(&self, campaign: &str) -> Value {
        let running = self.open.engine.start(&[Role::Worker, Role::Scheduler, Role::Upkeep]);
        let path = format!("/api/campaigns/{campaign}/status");
        let (status, answer) = self.owner.put(&path, &json!({"status": "active"})).await;
        assert_eq!(status, 200, "{answer}");
        self.until("select count(*) from recipients r, facts_of(r.campaign_id, r.n) where kind = 0", 1).await;
        running.shut_down().await;
        self.mails.lock().unwrap().last().unwrap().clone()
    }
}

/// As a setting names it; the links of a stage are signed with 7.
pub(crate) fn signing_key(byte: u8) -> String {
    format!("test:{}", BASE64_STANDARD.encode([byte; 32]))
}

#[expect(clippy::disallowed_methods, reason = "the client of a recipient, not of the program")]
fn browser() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap()
}

pub(crate) async fn text(request: reqwest::RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The one address of the header.
pub(crate) fn way_out(mail: &Value) -> String {
    let header = mail["headers"]["List-Unsubscribe"].as_str().unwrap_or_else(|| panic!("{mail}"));
    assert_eq!(mail["headers"]["List-Unsubscribe-Post"], "List-Unsubscribe=One-Click");
    let url = header.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap();
    assert!(url.starts_with(&format!("{BASE}/u/")), "{url}");
    url.to_owned()
}
