//! A running sandbox with a client, and a real receiver of webhooks.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use fanfare_sandbox::{
    BrevoAccount, FaultsChange, LaneSummary, Limit, PairLimit, RunningSandbox, Sandbox, SandboxConfig,
    WhatsappAccount,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

pub(crate) const NUMBER: &str = "106540352242922";

pub(crate) struct Rig {
    pub(crate) sandbox: RunningSandbox,
    pub(crate) client: reqwest::Client,
}

/// No limit anywhere, so that a test meets only those it sets.
pub(crate) fn unlimited() -> SandboxConfig {
    let mut config = SandboxConfig::default();
    config.brevo.accounts = vec![BrevoAccount {
        email_per_second: Limit::Unlimited,
        batches_per_minute: Limit::Unlimited,
        sms_per_second: Limit::Unlimited,
        events_per_hour: Limit::Unlimited,
        ..BrevoAccount::default()
    }];
    config.whatsapp.accounts = vec![WhatsappAccount {
        messages_per_second: Limit::Unlimited,
        pair: PairLimit::Unlimited,
        ..WhatsappAccount::default()
    }];
    config.webhooks.retry_time_factor = 0.000_01;
    config
}

pub(crate) async fn rig() -> Rig {
    rig_of(unlimited()).await
}

pub(crate) async fn rig_of(config: SandboxConfig) -> Rig {
    let sandbox = Sandbox::start(config).await.expect("a free port");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    Rig { sandbox, client }
}

/// Status, headers and body of an answer.
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }
}

impl Rig {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.base_url())
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        let request = self.client.get(self.url(path)).header("api-key", "xkeysib-sandbox");
        got(request.bearer_auth("sandbox-token").send().await.expect("an answer")).await
    }

    pub(crate) async fn post(&self, path: &str, body: String) -> Got {
        self.try_post(path, body).await.expect("an answer")
    }

    pub(crate) async fn try_post(&self, path: &str, body: String) -> reqwest::Result<Got> {
        let request = self.client.post(self.url(path)).header("api-key", "xkeysib-sandbox");
        let request = request.bearer_auth("sandbox-token").header("content-type", "application/json");
        Ok(got(request.body(body).send().await?).await)
    }

    pub(crate) async fn email(&self, body: &Value) -> Got {
        self.post("/v3/smtp/email", body.to_string()).await
    }

    pub(crate) async fn sms(&self, body: &Value) -> Got {
        self.post("/v3/transactionalSMS/send", body.to_string()).await
    }

    pub(crate) async fn whatsapp(&self, body: &Value) -> Got {
        self.post(&format!("/v23.0/{NUMBER}/messages"), body.to_string()).await
    }

    pub(crate) fn faults(&self, change: Value) {
        let change: FaultsChange = serde_json::from_value(change).expect("faults");
        self.sandbox.set_faults(change).expect("possible faults");
    }

    /// The known account's lane on a channel.
    pub(crate) fn lane(&self, channel: &str) -> LaneSummary {
        let lanes = self.sandbox.audit().summary().lanes;
        let known = |lane: &&LaneSummary| lane.channel.name() == channel && lane.account != "(unknown)";
        lanes.iter().find(known).expect("one account a channel").clone()
    }
}

async fn got(response: reqwest::Response) -> Got {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Got { status, headers, text: response.text().await.unwrap_or_default() }
}

pub(crate) fn mail(to: &str) -> Value {
    json!({
        "sender": {"email": "no-reply@example.com", "name": "Acme"},
        "to": [{"email": to, "name": "A"}],
        "subject": "Hi",
        "htmlContent": "<p>Hello</p>",
    })
}

/// `base` with the fields of `change`; null takes a field away.
pub(crate) fn with(mut base: Value, change: &Value) -> Value {
    let fields = base.as_object_mut().expect("an object");
    for (name, value) in change.as_object().expect("an object") {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    base
}

/// One request that the receiver got.
#[derive(Debug)]
pub(crate) struct Hook {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Hook {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    hooks: mpsc::UnboundedReceiver<Hook>,
}

#[derive(Clone)]
struct Answers {
    hooks: mpsc::UnboundedSender<Hook>,
    statuses: std::sync::Arc<std::sync::Mutex<Vec<u16>>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self::answering(Vec::new()).await
    }

    /// Answers with these statuses, the first first, and 200 after them.
    pub(crate) async fn answering(mut statuses: Vec<u16>) -> Self {
        statuses.reverse();
        let (sender, hooks) = mpsc::unbounded_channel();
        let answers = Answers { hooks: sender, statuses: std::sync::Arc::new(statuses.into()) };
        let router = Router::new().route("/hook", post(receive).get(handshake)).with_state(answers);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url: format!("http://{address}/hook"), hooks }
    }

    pub(crate) async fn next(&mut self) -> Hook {
        let waited = tokio::time::timeout(std::time::Duration::from_secs(10), self.hooks.recv()).await;
        waited.expect("a webhook within ten seconds").expect("the receiver runs")
    }

    pub(crate) fn nothing_more(&mut self) {
        assert!(self.hooks.try_recv().is_err(), "an unexpected webhook");
    }
}

async fn receive(State(answers): State<Answers>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let status = answers.statuses.lock().expect("no panic while locked").pop().unwrap_or(200);
    let _ = answers.hooks.send(Hook { headers, body });
    StatusCode::from_u16(status).expect("a status")
}

/// Meta's handshake, as a receiver with the token `verify-token` answers it.
async fn handshake(RawQuery(query): RawQuery) -> (StatusCode, String) {
    let query = query.unwrap_or_default();
    let value = |name: &str| {
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        pair.unwrap_or_default().to_owned()
    };
    if value("hub.mode") == "subscribe" && value("hub.verify_token") == "verify-token" {
        (StatusCode::OK, value("hub.challenge"))
    } else {
        (StatusCode::FORBIDDEN, String::new())
    }
}
