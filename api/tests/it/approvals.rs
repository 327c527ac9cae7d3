//! WhatsApp templates at Meta: submitted over HTTP, followed by webhook and by asking, heeded by launches.

use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    store::templates::TemplateHead,
};
use fanfare_sandbox::{RunningSandbox, Sandbox, SandboxConfig};
use fanfare_templates::publish;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::open::{Client, Open};

struct House {
    open: Open,
    owner: Client,
    pool: PgPool,
    sandbox: RunningSandbox,
}

const SUBMIT: &str = "/api/templates/renewal/versions/1/submit";
const APPROVALS: &str = "/api/templates/renewal/versions/1/approvals";
const BUSINESS: &str = "102290129340398";
/// As TOML, or it would be read as a number.
const BUSINESS_SETTING: &str = "\"102290129340398\"";

impl House {
    async fn new(pool: &PgPool, business: bool) -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
        let base = sandbox.base_url();
        let mut settings = vec![
            ("FANFARE__ACCOUNTS__WHATSAPP__BASE_URL", base.as_str()),
            ("FANFARE__ACCOUNTS__WHATSAPP__ACCESS_TOKEN", "sandbox-token"),
        ];
        if business {
            settings.push(("FANFARE__ACCOUNTS__WHATSAPP__BUSINESS_ACCOUNT_ID", BUSINESS_SETTING));
        }
        let open = Open::with(pool, &settings).await;
        let owner = open.owner().await;
        publish_version(&open, json!({"body": [{"text": "{{name}}"}, {"text": "{{email}}"}]})).await;
        let tenant = open.engine.store.tenant("acme").await.unwrap().id;
        sqlx::query(
            "insert into contacts (id, tenant_id, name, email, phone, locale, time_zone, created_at)
             values (gen_random_uuid(), $1, 'Ann', 'ann@example.com', '+23052345678', 'en', 'UTC', now() - interval '1 second')",
        )
        .bind(tenant.uuid())
        .execute(pool)
        .await
        .unwrap();
        Self { open, owner, pool: pool.clone(), sandbox }
    }

    /// Meta's word, to whoever asks.
    async fn meta_says(&self, status: &str, reason: Option<&str>) {
        let body = json!({"name": "renewal_reminder", "status": status, "reason": reason});
        let url = format!("{}/sandbox/whatsapp/template", self.sandbox.base_url());
        assert_eq!(self.open.client.put(url).json(&body).send().await.unwrap().status(), 204);
        sqlx::query("update template_approvals set asked_at = now() - interval '1 day'")
            .execute(&self.pool)
            .await
            .unwrap();
        self.open.engine.upkeep().once().await.unwrap();
    }

    async fn webhook(&self, event: &str, reason: &str) {
        let body = json!({"object": "whatsapp_business_account", "entry": [{"id": BUSINESS, "time": 1, "changes": [{
            "field": "message_template_status_update",
            "value": {"event": event, "message_template_id": 900_001, "message_template_name": "renewal_reminder",
                      "message_template_language": "en", "reason": reason},
        }]}]})
        .to_string();
        let signature = fanfare_sandbox::signature("app_secret", body.as_bytes());
        let post = self.open.client.post(self.open.hook("whatsapp")).header("x-hub-signature-256", signature);
        assert_eq!(post.body(body).send().await.unwrap().status(), 200);
        let accounts = fanfare_engine::feedback::HookAccounts::from(&self.open.engine.accounts);
        let worker = fanfare_engine::feedback::Worker::new(self.open.engine.store.clone());
        assert_eq!(worker.pass(&accounts).await.unwrap().taken, 1);
    }

    async fn approval(&self) -> Value {
        let (status, answer) = self.owner.get(APPROVALS).await;
        assert_eq!(status, 200, "{answer}");
        answer["data"]["approvals"][0].clone()
    }

    async fn launch(&self) -> (u16, Value) {
        let body = json!({"name": "May", "type": "whatsapp", "templates": {"whatsapp": "renewal"}});
        let (status, made) = self.owner.post("/api/campaigns", &body).await;
        assert_eq!(status, 201, "{made}");
        let id = made["data"]["campaigns"][0]["id"].as_str().unwrap();
        let (status, looked) = self.owner.get(&format!("/api/campaigns/{id}/preflight")).await;
        let launched =
            self.owner.put(&format!("/api/campaigns/{id}/status"), &json!({"status": "active"})).await;
        assert_eq!(status, launched.0, "the pre-flight says the same: {looked}");
        launched
    }
}

/// The next version of the template, with these values.
async fn publish_version(open: &Open, values: Value) {
    let mut source =
        json!({"channel": "whatsapp", "kind": "template", "name": "renewal_reminder", "language": "en"});
    source.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
    let published = publish(&serde_json::from_value(source).unwrap()).unwrap();
    let (engine, channel, class) = (&open.engine, Channel::Whatsapp, MessageClass::Obligation);
    let tenant = engine.store.tenant("acme").await.unwrap().id;
    let head = TemplateHead { slug: "renewal", channel, class, name: "Renewal" };
    engine.store.publish_template(&engine.ids, tenant, &head, "en", &published).await.unwrap();
}

fn words() -> Value {
    json!({"category": "utility", "body": "Dear {{1}}, we write to {{2}}.", "examples": ["Ann", "ann@acme.example"],
           "footer": "Acme", "buttons": [{"type": "phone_number", "text": "Call us", "phoneNumber": "+2302034800"}]})
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_template_is_submitted_followed_and_heeded(pool: PgPool) {
    let house = House::new(&pool, true).await;
    assert_eq!(house.launch().await.0, 200, "of one that nobody submitted nothing is known");

    let (status, made) = house.owner.post(SUBMIT, &words()).await;
    let approval = &made["data"];
    assert_eq!(
        (status, &approval["status"], &approval["name"], &approval["category"]),
        (201, &json!("pending"), &json!("renewal_reminder"), &json!("utility")),
        "{made}"
    );
    let (status, problem) = house.launch().await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(status == 409 && detail.contains("renewal_reminder") && detail.contains("pending"), "{problem}");
    assert_eq!(house.owner.post(SUBMIT, &words()).await.0, 409, "Meta is at it");

    // By a webhook, and then by asking.
    house.webhook("REJECTED", "INVALID_FORMAT").await;
    let approval = house.approval().await;
    assert_eq!((&approval["status"], &approval["reason"]), (&json!("rejected"), &json!("INVALID_FORMAT")));
    assert!(house.launch().await.1["detail"].as_str().unwrap().contains("INVALID_FORMAT"));
    house.meta_says("APPROVED", None).await;
    let approval = house.approval().await;
    assert_eq!((&approval["status"], &approval["reason"]), (&json!("approved"), &Value::Null));
    assert_eq!(house.launch().await.0, 200);
    house.webhook("PAUSED", "NONE").await;
    assert_eq!(house.approval().await["status"], "paused");
    assert_eq!(house.launch().await.0, 409);

    // Other words in the place of those.
    house.meta_says("REJECTED", Some("ABUSIVE_CONTENT")).await;
    assert_eq!(house.approval().await["reason"], "ABUSIVE_CONTENT");
    let (status, made) = house.owner.post(SUBMIT, &words()).await;
    assert_eq!((status, &made["data"]["status"]), (201, &json!("pending")), "{made}");
    let ids: Vec<Option<String>> =
        sqlx::query_scalar("select provider_id from template_approvals").fetch_all(&pool).await.unwrap();
    assert_eq!(ids, [Some("900001".to_owned())]);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_meta_would_not_take_is_not_submitted(pool: PgPool) {
    let house = House::new(&pool, true).await;
    let with = |field: &str, value: Value| {
        let mut body = words();
        body[field] = value;
        body
    };
    for (body, field) in [
        (with("body", json!("Dear {{1}}.")), "body"),
        (with("examples", json!(["Ann"])), "examples"),
        (with("footer", json!("a\u{0}b")), "footer"),
        (with("accountId", json!("acct_01jd3v9x2gfk8s5m7q4w6r0t1z")), "accountId"),
        (with("header", json!({"text": "{{1}}", "example": "x"})), "header.text"),
        (with("buttons", json!([{"type": "url", "text": "Go", "url": "ftp://x"}])), "buttons[0].url"),
    ] {
        let (status, problem) = house.owner.post(SUBMIT, &body).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
    }
    assert_eq!(house.owner.post(SUBMIT, &with("category", json!("fun"))).await.0, 422);
    assert_eq!(house.owner.post("/api/templates/renewal/versions/2/submit", &words()).await.0, 404);
    let stranger = house.open.stranger().await;
    assert_eq!(stranger.post(SUBMIT, &words()).await.0, 404);
    assert_eq!(stranger.get(APPROVALS).await.0, 404);
    let reader = house.open.key(&["templates:read"]).await;
    assert_eq!(reader.post(SUBMIT, &words()).await.0, 403);
    assert_eq!(house.approval().await, Value::Null, "nothing was noted");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_account_that_cannot_submit_says_so_and_nothing_is_pending(pool: PgPool) {
    let house = House::new(&pool, false).await;
    let (status, problem) = house.owner.post(SUBMIT, &words()).await;
    assert!(
        status == 409 && problem["detail"].as_str().unwrap().contains("business_account_id"),
        "{problem}"
    );
    assert_eq!(house.approval().await, Value::Null);
    assert_eq!(house.launch().await.0, 200);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_version_with_other_values_than_were_approved_is_not_launched(pool: PgPool) {
    let house = House::new(&pool, true).await;
    assert_eq!(house.owner.post(SUBMIT, &words()).await.0, 201);
    house.meta_says("APPROVED", None).await;
    assert_eq!(house.launch().await.0, 200);
    let two = json!([{"text": "{{email}}"}, {"text": "{{name}}"}]);
    for (values, named) in [
        (
            json!({"body": [{"text": "{{name}}"}]}),
            "approved with 2 parameters, and this version has 1 parameter",
        ),
        (
            json!({"body": [{"text": "{{name}}", "name": "who"}, {"text": "{{email}}", "name": "where"}]}),
            "where, who",
        ),
        (
            json!({"body": two, "header": {"type": "text", "text": "{{name}}"}}),
            "its header was approved with no value",
        ),
        (
            json!({"body": two, "buttons": [{"sub_type": "url", "index": 1, "parameter": "{{name}}"}]}),
            "address for number 1",
        ),
    ] {
        publish_version(&house.open, values).await;
        let (status, problem) = house.launch().await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(status == 409 && detail.contains("renewal_reminder") && detail.contains(named), "{problem}");
    }
    publish_version(&house.open, json!({"body": two})).await;
    assert_eq!(house.launch().await.0, 200, "other values in the same places");
}
