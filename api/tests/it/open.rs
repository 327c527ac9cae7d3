//! A service on a port of its own, on a test's database, with two tenants; and whoever calls it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use fanfare::{
    assemble,
    service::{ApiSettings, Service},
};
use fanfare_engine::{
    clock::{Clock, SystemClock, TestClock},
    config::{Config, Sources, load},
    engine::{Engine, Running},
    store::Store,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::support::{House, SMS, Serving, tenant};

const WHATSAPP: &str = r#"
[[accounts]]
tenant = "acme"
provider = "whatsapp_cloud"
slug = "whatsapp"
phone_number_id = "106540352242922"
access_token = "t"
app_secret = "app_secret"
verify_token = "verify"
"#;

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// It ends with the test's runtime.
pub(crate) struct Open {
    pub(crate) base: String,
    pub(crate) engine: Engine,
    pub(crate) client: reqwest::Client,
    house: House,
    /// Takes direct messages in.
    _running: Running,
    _stop: tokio_util::sync::DropGuard,
    _tasks: tokio::task::JoinSet<()>,
}

impl Open {
    pub(crate) async fn new(pool: &PgPool) -> Self {
        Self::with(pool, &[]).await
    }

    /// With settings beside those of every test, as `FANFARE__SECTION__KEY` names them.
    pub(crate) async fn with(pool: &PgPool, settings: &[(&str, &str)]) -> Self {
        Self::by(pool, settings, Arc::new(SystemClock)).await
    }

    /// Its clock stands still; the database's goes on.
    pub(crate) async fn at(pool: &PgPool, settings: &[(&str, &str)], now: &str) -> Self {
        Self::by(pool, settings, Arc::new(TestClock::at(now.parse().unwrap()))).await
    }

    async fn by(pool: &PgPool, settings: &[(&str, &str)], clock: Arc<dyn Clock>) -> Self {
        let mut house = House::on(pool);
        let file = [tenant("acme").as_str(), &tenant("other"), SMS, WHATSAPP].concat();
        house.set("FANFARE_CONFIG", &house.file("fanfare.toml", &file));
        for (name, value) in settings {
            house.set(name, value);
        }
        let config = config(&house);
        let sources = assemble::Sources { clock, ..assemble::Sources::default() };
        let engine = assemble::engine(&config, Store::from_pool(pool.clone()), &sources).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let running = engine.start(&[]);
        let (service, writer) =
            Service::new(&engine, engine.store.clone(), running.direct.clone(), api_settings(&config));
        let stop = CancellationToken::new();
        let (mut tasks, until) = (tokio::task::JoinSet::new(), stop.clone());
        tasks.spawn(service.serve(writer, listener, until));
        let (client, _stop) = (client(), stop.drop_guard());
        Self { base, engine, client, house, _running: running, _stop, _tasks: tasks }
    }

    pub(crate) fn hook(&self, slug: &str) -> String {
        let account =
            self.engine.accounts.all().into_iter().find(|account| account.account.slug == slug).unwrap();
        format!("{}/hooks/{}", self.base, account.account.id)
    }

    /// Status and text of a page that is not the API's.
    pub(crate) async fn text(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// A client for a service that is none of these.
    pub(crate) fn http() -> reqwest::Client {
        client()
    }

    /// Nobody in particular.
    pub(crate) fn nobody(&self) -> Client {
        Client { base: self.base.clone(), http: self.client.clone(), token: None }
    }

    /// An owner of `acme`, signed in.
    pub(crate) async fn owner(&self) -> Client {
        self.owner_of("acme").await
    }

    /// An owner of `other`, signed in.
    pub(crate) async fn stranger(&self) -> Client {
        self.owner_of("other").await
    }

    async fn owner_of(&self, tenant: &str) -> Client {
        // Several services may share a database.
        static PEOPLE: AtomicUsize = AtomicUsize::new(0);
        let email = format!("owner{}@{tenant}.example", PEOPLE.fetch_add(1, Ordering::Relaxed));
        let invited =
            self.house.run(&["--json", "user", "owner", &email, "--name", "Asha", "--tenant", tenant]).json();
        let path = invited["url"].as_str().unwrap().split_once('#').unwrap().1.to_owned();
        let (status, answer) =
            self.nobody().post(&format!("/api/auth/{path}"), &json!({"password": PASSWORD})).await;
        assert_eq!(status, 200, "{answer}");
        self.bearing(answer["data"]["token"].as_str().unwrap())
    }

    /// A program of `acme` that may do this.
    pub(crate) async fn key(&self, scopes: &[&str]) -> Client {
        let (status, answer) =
            self.owner().await.post("/api/keys", &json!({"name": "program", "scopes": scopes})).await;
        assert_eq!(status, 201, "{answer}");
        self.bearing(answer["data"]["key"].as_str().unwrap())
    }

    pub(crate) fn bearing(&self, token: &str) -> Client {
        Client { token: Some(token.to_owned()), ..self.nobody() }
    }

    /// A process of this installation, beside the one in here; its settings say `PORT=0`.
    pub(crate) fn beside(&self) -> Serving {
        Serving::all(&self.house)
    }

    /// What `fanfare` prints for this installation.
    pub(crate) fn run(&self, arguments: &[&str]) -> crate::support::Ran {
        self.house.run(arguments)
    }
}

fn api_settings(config: &Config) -> ApiSettings<'_> {
    ApiSettings { api: &config.api, auth: &config.auth, imports: &config.imports, public: &config.public }
}

fn config(house: &House) -> Config {
    let sources =
        Sources { file: None, variables: house.variables.clone(), folder: house.folder.path().to_owned() };
    load(&sources).unwrap().config
}

#[expect(clippy::disallowed_methods, reason = "the client of a caller, not of the program")]
fn client() -> reqwest::Client {
    // Building a client needs a TLS provider, also where nothing is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A caller of the API.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    base: String,
    http: reqwest::Client,
    pub(crate) token: Option<String>,
}

impl Client {
    /// The same person, who asks another process.
    pub(crate) fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Status and body; no body is null.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        (status, body)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        self.send(self.request(Method::DELETE, path)).await
    }
}
