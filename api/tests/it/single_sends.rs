//! Single sends and messages, over HTTP, with the providers' sandbox behind them.

use std::time::{Duration, Instant};

use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    id::{MessageId, TenantId},
    store::templates::TemplateHead,
};
use fanfare_sandbox::{RunningSandbox, Sandbox, SandboxConfig};
use fanfare_templates::publish;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    open::{Client, Open},
    support::until,
};

pub(crate) struct Stage {
    pub(crate) open: Open,
    pub(crate) owner: Client,
    pool: PgPool,
    /// Holds the providers.
    sandbox: RunningSandbox,
}

const INDIAN: &str = "+919876543210";

impl Stage {
    async fn new(pool: &PgPool) -> Self {
        Self::with(pool, &[]).await
    }

    pub(crate) async fn with(pool: &PgPool, more: &[(&str, &str)]) -> Self {
        Self::by(pool, more, None).await
    }

    pub(crate) async fn at(pool: &PgPool, now: &str) -> Self {
        Self::by(pool, &[], Some(now)).await
    }

    async fn by(pool: &PgPool, more: &[(&str, &str)], now: Option<&str>) -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
        let base = sandbox.base_url().to_string();
        let brevo = format!("{base}/v3");
        let settings = [
            ("FANFARE__ACCOUNTS__SMS__BASE_URL", brevo.as_str()),
            ("FANFARE__ACCOUNTS__SMS__API_KEY", "xkeysib-sandbox"),
            ("FANFARE__ACCOUNTS__WHATSAPP__BASE_URL", base.as_str()),
            ("FANFARE__ACCOUNTS__WHATSAPP__ACCESS_TOKEN", "sandbox-token"),
        ];
        let settings: Vec<(&str, &str)> = settings.into_iter().chain(more.iter().copied()).collect();
        let open = match now {
            Some(now) => Open::at(pool, &settings, now).await,
            None => Open::with(pool, &settings).await,
        };
        let owner = open.owner().await;
        Self { open, owner, pool: pool.clone(), sandbox }
    }

    async fn tenant(&self) -> TenantId {
        self.open.engine.store.tenant("acme").await.unwrap().id
    }

    /// A template with the variables of the sample.
    async fn template(&self, channel: Channel, class: MessageClass, slug: &str) {
        let body = "Dear {{name}}, your policy {{policy_number}} expires on {{expiry_date}}.";
        let source = match channel {
            Channel::Whatsapp => json!({"channel": "whatsapp", "kind": "text", "body": body}),
            _ => json!({"channel": "sms", "text": body}),
        };
        let published = publish(&serde_json::from_value(source).unwrap()).unwrap();
        let head = TemplateHead { slug, channel, class, name: "Renewal" };
        let (store, ids) = (&self.open.engine.store, &self.open.engine.ids);
        store.publish_template(ids, self.tenant().await, &head, "en", &published).await.unwrap();
    }

    /// What the sample names.
    pub(crate) async fn renewal_reminder(&self) {
        self.template(Channel::Whatsapp, MessageClass::Obligation, "renewal-reminder").await;
    }

    pub(crate) async fn price(&self, micros: i64) {
        let add = "insert into prices (tenant_id, account_id, channel, prefix, micros, currency, valid_from)
                   select tenant_id, id, 'sms', '91', $1, 'INR', '2020-01-01Z' from accounts where slug = 'sms'";
        sqlx::query(add).bind(micros).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn event(&self, message: &str, kind: &str, at: &str) {
        let id: MessageId = message.parse().unwrap();
        let add = "insert into events (campaign_id, n, kind, dedup, at) values ($1, $2, $3, gen_random_uuid(), $4::timestamptz)";
        sqlx::query(add)
            .bind(id.campaign.uuid())
            .bind(id.n)
            .bind(kind)
            .bind(at)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    async fn sms(&self, body: Value) -> (u16, Value) {
        self.owner.post("/api/communication/sms/send", &body).await
    }

    /// One that was sent.
    pub(crate) async fn sent(&self, body: Value) -> String {
        let (status, answer) = self.sms(body).await;
        assert_eq!((status, &answer["data"]["status"]), (201, &json!("sent")), "{answer}");
        answer["data"]["messageId"].as_str().unwrap().to_owned()
    }

    /// The messages that the audit log says were sent, the newest first; none of them with an address.
    async fn noted(&self) -> Vec<String> {
        let (status, log) = self.owner.get("/api/audit-log?action=message.send").await;
        assert_eq!(status, 200, "{log}");
        assert!(!log.to_string().contains(&INDIAN[1..]), "{log}");
        let deeds = log["data"]["deeds"].as_array().unwrap();
        deeds.iter().map(|deed| deed["subject"].as_str().unwrap().to_owned()).collect()
    }

    async fn status(&self, message: &str) -> Value {
        let (status, answer) = self.owner.get(&format!("/api/communication/delivery-status/{message}")).await;
        assert_eq!(status, 200, "{answer}");
        answer["data"].clone()
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_samples_work_as_written(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    stage.renewal_reminder().await;
    stage.price(50_000).await;
    let whatsapp = json!({
        "to": "+919876543210",
        "templateId": "renewal_reminder",
        "parameters": {"name": "John Doe", "policy_number": "POL123456", "expiry_date": "2024-06-15"}
    });
    let (status, answer) = stage.owner.post("/api/communication/whatsapp/send", &whatsapp).await;
    assert_eq!(
        (status, &answer["success"], &answer["data"]["status"]),
        (201, &json!(true), &json!("sent")),
        "{answer}"
    );
    assert!(answer["data"]["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let message = answer["data"]["messageId"].as_str().unwrap();

    let sms = json!({
        "to": "+919876543210",
        "message": "Dear John, your policy POL123456 expires on 2024-06-15. Renew now: https://example.com/renew"
    });
    let request = stage.owner.request(Method::POST, "/api/communication/sms/send").json(&sms);
    let text = request.send().await.unwrap().text().await.unwrap();
    assert!(text.contains(r#""status":"sent""#) && text.contains(r#""cost":0.05,"#), "{text}");

    stage.event(message, "delivered", "2024-05-15T10:32:00Z").await;
    stage.event(message, "read", "2024-05-15T10:35:00Z").await;
    let told = stage.status(message).await;
    assert_eq!(told["messageId"], message);
    assert_eq!(
        (&told["deliveredAt"], &told["readAt"]),
        (&json!("2024-05-15T10:32:00Z"), &json!("2024-05-15T10:35:00Z"))
    );
    assert_eq!(told["status"], "delivered", "`readAt` says the rest");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_message_is_sent_once_under_its_key(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let body = json!({"to": INDIAN, "message": "one", "businessKey": "installment:42:due-3d"});
    let first = stage.sent(body.clone()).await;
    let (status, again) =
        stage.sms(json!({"to": INDIAN, "message": "two", "businessKey": "installment:42:due-3d"})).await;
    assert_eq!((status, &again["data"]["duplicate"]), (200, &json!(true)), "{again}");
    assert_eq!((&again["data"]["messageId"], &again["data"]["status"]), (&json!(first), &json!("sent")));
    // The key of a request is one, too: also when its kept answer is gone.
    let keyed = || {
        let request = stage.owner.request(Method::POST, "/api/communication/sms/send");
        stage
            .owner
            .send(request.header("idempotency-key", "k-1").json(&json!({"to": INDIAN, "message": "one"})))
    };
    let (_, one) = keyed().await;
    let (_, replayed) = keyed().await;
    assert_eq!(one, replayed);
    sqlx::query("delete from idempotency_keys").execute(&stage.pool).await.unwrap();
    let (status, later) = keyed().await;
    assert_eq!((status, &later["data"]["messageId"]), (200, &one["data"]["messageId"]), "{later}");
    let recipients: i64 =
        sqlx::query_scalar("select count(*) from recipients").fetch_one(&stage.pool).await.unwrap();
    assert_eq!(recipients, 2);
    let noted = stage.noted().await;
    assert_eq!(noted, [one["data"]["messageId"].as_str().unwrap(), &first], "each once, the newest first");
}

/// Whoever has waited long enough is told that it is queued, and not more than is known; it is sent all the same, and once.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_provider_that_takes_its_time_makes_nobody_wait_longer(pool: PgPool) {
    const WAIT: Duration = Duration::from_millis(300);
    let stage = Stage::with(&pool, &[("FANFARE__API__SEND_WAIT_MS", "300")]).await;
    let slow = json!({"sms": {"latency_ms": 2_000}, "whatsapp": {"latency_ms": 2_000}});
    stage.sandbox.set_faults(serde_json::from_value(slow).unwrap()).unwrap();
    stage.renewal_reminder().await;
    let parameters = json!({"name": "John", "policy_number": "P", "expiry_date": "2024-06-15"});
    for (channel, body) in [
        ("sms", json!({"to": INDIAN, "message": "m"})),
        ("whatsapp", json!({"to": INDIAN, "templateId": "renewal_reminder", "parameters": parameters})),
    ] {
        let begun = Instant::now();
        let (status, answer) = stage.owner.post(&format!("/api/communication/{channel}/send"), &body).await;
        let waited = begun.elapsed();
        assert_eq!((status, &answer["data"]["status"]), (201, &json!("queued")), "{answer}");
        assert!(waited >= WAIT && waited < Duration::from_millis(1_900), "{waited:?}");
        let message = answer["data"]["messageId"].as_str().unwrap();
        assert_eq!(stage.status(message).await["status"], "queued", "nothing is known yet");
        until("the provider's answer", async || stage.status(message).await["status"] == "sent").await;
        let received = stage.sandbox.audit().messages(0, 10, 0).records;
        let counts: Vec<u32> =
            received.iter().filter(|one| one.message_id == message).map(|one| one.count).collect();
        assert_eq!(counts, [1], "{channel}");
        stage.event(message, "delivered", "2026-05-15T10:32:00Z").await;
        assert_eq!(stage.status(message).await["status"], "delivered");
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn who_must_not_be_written_to_is_refused_with_the_reason(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let suppress = "insert into suppressions (tenant_id, channel, address, scope, reason, source)
                    select id, 'sms', $1, 'all', 'bounced', 'test' from tenants where slug = 'acme'";
    sqlx::query(suppress).bind(INDIAN).execute(&stage.pool).await.unwrap();
    let (status, problem) = stage.sms(json!({"to": INDIAN, "message": "m"})).await;
    assert_eq!(
        (status, &problem["code"], &problem["reason"]),
        (422, &json!("message_refused"), &json!("bounced")),
        "{problem}"
    );
    let told = stage.status(problem["messageId"].as_str().unwrap()).await;
    assert_eq!((&told["status"], &told["reason"]), (&json!("suppressed"), &json!("bounced")));
    assert_eq!(stage.noted().await, [problem["messageId"].as_str().unwrap()]);

    // A person's no holds for their number, also where the caller does not say whose it is.
    let contact = "insert into contacts (id, tenant_id, email, phone, time_zone)
                   select '01990000-0000-7000-8000-00000000aaaa', id, 'ann@example.com', '+23052345678', 'UTC' from tenants where slug = 'acme'";
    sqlx::query(contact).execute(&stage.pool).await.unwrap();
    let no = "insert into consents (contact_id, channel, granted, source) values ('01990000-0000-7000-8000-00000000aaaa', 'sms', false, 'test')";
    sqlx::query(no).execute(&stage.pool).await.unwrap();
    let marketing = json!({"to": "52345678", "message": "Offers!", "class": "marketing"});
    let (status, problem) = stage.sms(marketing).await;
    assert_eq!((status, &problem["reason"]), (422, &json!("no_consent")), "{problem}");
    stage.sent(json!({"to": "52345678", "message": "Your code is 1234"})).await;
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_message_for_later_waits_and_can_be_stopped(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let now = jiff::Timestamp::from_second(
        sqlx::query_scalar::<_, i64>("select extract(epoch from now())::bigint")
            .fetch_one(&stage.pool)
            .await
            .unwrap(),
    )
    .unwrap();
    let at = |hours: i64| (now + jiff::SignedDuration::from_hours(hours)).to_string();
    for wrong in [at(-1), at(24 * 400)] {
        let (status, problem) = stage.sms(json!({"to": INDIAN, "message": "m", "scheduledAt": wrong})).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("scheduledAt")), "{problem}");
    }
    let (status, answer) = stage.sms(json!({"to": INDIAN, "message": "m", "scheduledAt": at(2)})).await;
    assert_eq!((status, &answer["data"]["status"]), (201, &json!("scheduled")), "{answer}");
    let message = answer["data"]["messageId"].as_str().unwrap();
    assert_eq!(stage.status(message).await["status"], "scheduled");
    let path = format!("/api/communication/messages/{message}");
    let stranger = stage.open.stranger().await;
    assert_eq!(stranger.delete(&path).await.0, 404);
    for _ in 0..2 {
        let (status, answer) = stage.owner.delete(&path).await;
        assert_eq!((status, &answer["data"]["status"]), (200, &json!("cancelled")), "{answer}");
    }
    assert_eq!(stage.status(message).await["status"], "cancelled");
    let open: i64 = sqlx::query_scalar("select count(*) from chunks where done_at is null")
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert_eq!(open, 0);
    let sent = stage.sent(json!({"to": INDIAN, "message": "m"})).await;
    let (status, problem) = stage.owner.delete(&format!("/api/communication/messages/{sent}")).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "{problem}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn messages_are_found_by_what_callers_call_them(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    stage.price(50_000).await;
    let about = |message: String| json!({"to": INDIAN, "message": message, "references": {"policyId": "POL123456", "caseId": "a/b"}});
    let first = stage.sent(about("x".repeat(200))).await;
    let second = stage.sent(about("y".to_owned())).await;
    let other = stage.sent(json!({"to": "+23052345678", "message": "z"})).await;

    let (status, answer) = stage.owner.get("/api/references/policyId/POL123456").await;
    assert_eq!(
        (status, &answer["data"]["messages"], &answer["data"]["attempts"]),
        (200, &json!(2), &json!({"sms": 2})),
        "{answer}"
    );
    assert!(answer["data"]["lastContactAt"].is_string());
    assert_eq!(stage.owner.get("/api/references/caseId/a%2Fb").await.1["data"]["messages"], 2);
    let stranger = stage.open.stranger().await;
    assert_eq!(stranger.get("/api/references/policyId/POL123456").await.1["data"]["messages"], 0);

    let listed = async |query: &str| {
        let (status, answer) = stage.owner.get(&format!("/api/messages?{query}")).await;
        assert_eq!(status, 200, "{answer}");
        let messages = answer["data"]["messages"].as_array().unwrap().clone();
        let ids: Vec<String> =
            messages.iter().map(|line| line["messageId"].as_str().unwrap().to_owned()).collect();
        (ids, answer["data"]["pagination"].clone())
    };
    let both = vec![second.clone(), first.clone()];
    assert_eq!(listed("reference=policyId:POL123456").await.0, both);
    assert_eq!(listed("address=%2B919876543210").await.0, both);
    assert_eq!(listed("address=%2B919876543210&status=sent&channel=sms").await.0, both);
    assert!(listed("address=%2B919876543210&status=failed").await.0.is_empty());
    assert!(listed("channel=email").await.0.is_empty());
    let (all, pagination) = listed("").await;
    assert_eq!((all.len(), &pagination["total"]), (3, &json!(3)));
    assert_eq!(all[0], other);
    let mut walked = Vec::new();
    let mut query = "limit=1".to_owned();
    loop {
        let (ids, pagination) = listed(&query).await;
        walked.extend(ids);
        let Some(next) = pagination["nextCursor"].as_str() else { break };
        query = format!("limit=1&cursor={next}");
    }
    assert_eq!(walked, all);

    let (status, answer) = stage.owner.get(&format!("/api/messages/{first}")).await;
    let shown = &answer["data"];
    assert_eq!(
        (status, &shown["segments"], &shown["cost"], &shown["currency"]),
        (200, &json!(2), &json!(0.1), &json!("INR")),
        "{answer}"
    );
    assert_eq!(shown["references"], json!({"policyId": "POL123456", "caseId": "a/b"}));
    let what: Vec<&str> =
        shown["timeline"].as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["taken", "accepted"]);
    assert_eq!(stranger.get(&format!("/api/messages/{first}")).await.0, 404);
    assert_eq!(stranger.get("/api/messages").await.1["data"]["messages"], json!([]));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn whoever_tries_things_out_reaches_only_whom_the_tenant_allows(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let new = json!({"name": "try", "scopes": ["messages:*"], "environment": "sandbox"});
    let (status, answer) = stage.owner.post("/api/keys", &new).await;
    assert_eq!(status, 201, "{answer}");
    let program = stage.open.bearing(answer["data"]["key"].as_str().unwrap());
    let body = json!({"to": INDIAN, "message": "m"});
    let send = || program.post("/api/communication/sms/send", &body);
    let (status, problem) = send().await;
    assert_eq!((status, &problem["code"]), (422, &json!("not_allow_listed")), "{problem}");
    let kept: i64 =
        sqlx::query_scalar("select count(*) from recipients").fetch_one(&stage.pool).await.unwrap();
    assert_eq!(kept, 0);
    let allow = "insert into allowed_addresses (tenant_id, channel, address) select id, 'sms', $1 from tenants where slug = 'acme'";
    sqlx::query(allow).bind(INDIAN).execute(&stage.pool).await.unwrap();
    assert_eq!(send().await.0, 201);
    sqlx::query("delete from allowed_addresses").execute(&stage.pool).await.unwrap();
    sqlx::query("update accounts set sandbox = true where slug = 'sms'").execute(&stage.pool).await.unwrap();
    assert_eq!(send().await.0, 201);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_cannot_be_taken_is_named(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    stage.template(Channel::Sms, MessageClass::Obligation, "renewal").await;
    let cases = [
        (json!({"to": "12", "message": "m"}), "to"),
        (json!({"to": "cont_x", "message": "m"}), "to"),
        (json!({"to": INDIAN, "message": "m\u{0}"}), "message"),
        (json!({"to": INDIAN, "message": "x".repeat(1_600)}), "message"),
        (json!({"to": INDIAN, "templateId": "nothing"}), "templateId"),
        (json!({"to": INDIAN, "templateId": "renewal"}), "parameters"),
        (json!({"to": INDIAN, "message": "m", "unheard": 1}), "unheard"),
        (json!({"to": INDIAN, "message": "m", "scheduledAt": "tomorrow"}), "scheduledAt"),
    ];
    for (body, field) in cases {
        let (status, problem) = stage.sms(body.clone()).await;
        assert_eq!(status, 422, "{body} {problem}");
        assert!(problem["errors"][0].to_string().contains(field), "{field}: {problem}");
    }
    for query in [
        "address=x",
        "contact=x",
        "campaign=x",
        "reference=x",
        "status=x",
        "channel=x",
        "from=x",
        "address=a@b.example&reference=a:b",
    ] {
        assert_eq!(stage.owner.get(&format!("/api/messages?{query}")).await.0, 422, "{query}");
    }
    for path in [
        "/api/messages/msg_x",
        "/api/communication/delivery-status/x",
        "/api/references/a%00/b",
        "/api/references/%ff/b",
    ] {
        assert_eq!(stage.owner.get(path).await.0, 404, "{path}");
    }
    let reader = stage.open.key(&["messages:read"]).await;
    assert_eq!(
        reader.post("/api/communication/sms/send", &json!({"to": INDIAN, "message": "m"})).await.0,
        403
    );
}
