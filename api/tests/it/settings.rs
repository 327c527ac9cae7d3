//! Settings: the addresses that messages reach outside production, and campaigns that keep to them.

use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    id::CampaignId,
    store::{recipients::SliceSizes, templates::TemplateHead},
};
use fanfare_templates::publish;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::open::{Client, Open};

const PATH: &str = "/api/settings/allowed-addresses";

fn allowed(channel: &str, address: &str) -> Value {
    json!({"channel": channel, "address": address})
}

async fn listed(client: &Client, query: &str) -> (Vec<String>, Value) {
    let (status, answer) = client.get(&format!("{PATH}{query}")).await;
    assert_eq!(status, 200, "{answer}");
    let rows = answer["data"]["allowedAddresses"].as_array().unwrap();
    let shown = rows
        .iter()
        .map(|row| format!("{} {}", row["channel"].as_str().unwrap(), row["address"].as_str().unwrap()));
    (shown.collect(), answer["data"]["pagination"].clone())
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn addresses_are_allowed_and_taken_off_again(pool: PgPool) {
    let open = Open::new(&pool).await;
    let (owner, stranger) = (open.owner().await, open.stranger().await);
    for (channel, address, normal) in [
        ("sms", "5 234 5678", "+23052345678"),
        ("email", " Ann@Acme.example", "ann@acme.example"),
        ("email", "@Test.example", "@test.example"),
    ] {
        for _ in 0..2 {
            let (status, made) = owner.post(PATH, &allowed(channel, address)).await;
            assert_eq!((status, &made["data"]["address"]), (201, &json!(normal)), "{made}");
        }
    }
    let all = ["email @test.example", "email ann@acme.example", "sms +23052345678"];
    let (shown, pagination) = listed(&owner, "").await;
    assert_eq!((shown, &pagination["total"]), (all.map(str::to_owned).to_vec(), &json!(3)));
    let (mut walked, mut query) = (Vec::new(), "?limit=1".to_owned());
    loop {
        let (shown, pagination) = listed(&owner, &query).await;
        walked.extend(shown);
        let Some(next) = pagination["nextCursor"].as_str() else { break };
        query = format!("?limit=1&cursor={next}");
    }
    assert_eq!(walked, all);
    assert!(listed(&stranger, "").await.0.is_empty());

    let off = format!("{PATH}?channel=sms&address=%2B23052345678");
    assert_eq!(stranger.delete(&off).await.0, 404);
    assert_eq!(owner.delete(&off).await.0, 204);
    assert_eq!(owner.delete(&off).await.0, 404);
    assert_eq!(listed(&owner, "").await.0.len(), 2);
    let (_, log) = owner.get("/api/audit-log?action=settings.").await;
    let deeds = log["data"]["deeds"].as_array().unwrap();
    assert_eq!(deeds.len(), 7, "{log}");
    assert!(!log.to_string().contains("ann@acme.example"), "masked: {log}");

    for (channel, address, field) in [
        ("sms", "12", "address"),
        ("email", "ann", "address"),
        ("email", "@", "address"),
        ("email", "a\u{0}@acme.example", "address"),
        ("in_app", "x", "channel"),
    ] {
        let (status, problem) = owner.post(PATH, &allowed(channel, address)).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
    }
    assert_eq!(owner.post(PATH, &allowed("email", &"x".repeat(100_000))).await.0, 422);
    let reader = open.key(&["accounts:read"]).await;
    assert_eq!(reader.request(Method::GET, PATH).send().await.unwrap().status(), 403);
}

/// A campaign that was made in the sandbox reaches allowed addresses only, and its pre-flight says so before.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_campaign_of_the_sandbox_reaches_allowed_addresses_only(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let store = open.engine.store.clone();
    let tenant = store.tenant("acme").await.unwrap().id;
    sqlx::query(
        "insert into contacts (id, tenant_id, name, email, phone, locale, time_zone, created_at)
         select gen_random_uuid(), $1, 'Person ' || i, 'person' || i || '@example.com', '+2305234567' || i, 'en', 'UTC',
                now() - interval '1 second'
         from generate_series(1, 9) i",
    )
    .bind(tenant.uuid())
    .execute(&pool)
    .await
    .unwrap();
    let head =
        TemplateHead { slug: "hello", channel: Channel::Sms, class: MessageClass::Obligation, name: "Hello" };
    let source = serde_json::from_value(json!({"channel": "sms", "text": "Hello {{name}}"})).unwrap();
    store.publish_template(&open.engine.ids, tenant, &head, "en", &publish(&source).unwrap()).await.unwrap();
    for address in ["+23052345671", "+23052345672"] {
        assert_eq!(owner.post(PATH, &allowed("sms", address)).await.0, 201);
    }
    let key = json!({"name": "try", "scopes": ["campaigns:*"], "environment": "sandbox"});
    let (_, made) = owner.post("/api/keys", &key).await;
    let program = open.bearing(made["data"]["key"].as_str().unwrap());

    let body = json!({"name": "Try", "type": "sms", "templates": {"sms": "hello"}, "targetAudience": "all"});
    let draft = async |client: &Client| {
        let (status, made) = client.post("/api/campaigns", &body).await;
        assert_eq!(status, 201, "{made}");
        made["data"]["campaigns"][0].clone()
    };
    let id = |campaign: &Value| campaign["id"].as_str().unwrap().to_owned();
    let reasons = async |campaign: &str| {
        let campaign: CampaignId = campaign.parse().unwrap();
        store.freeze_slice(campaign, SliceSizes { first: 100, slice: 100, chunk: 50 }).await.unwrap();
        let counts = store.reasons(tenant, campaign).await.unwrap();
        counts.iter().map(|count| (count.reason.clone(), count.recipients)).collect::<Vec<_>>()
    };
    let activate = async |client: &Client, campaign: &str| {
        client.put(&format!("/api/campaigns/{campaign}/status"), &json!({"status": "active"})).await
    };

    let tried = draft(&program).await;
    assert_eq!(tried["environment"], "sandbox");
    let (status, checked) = program.get(&format!("/api/campaigns/{}/preflight", id(&tried))).await;
    assert_eq!((status, &checked["data"]["sendable"]), (200, &json!(2)), "{checked}");
    assert_eq!(checked["data"]["notSent"], json!({"not_allow_listed": 7}));
    assert_eq!(activate(&program, &id(&tried)).await.0, 200);
    assert_eq!(reasons(&id(&tried)).await, [("not_allow_listed".to_owned(), 7)]);

    // Production is not held to the list, and whoever tries things out does not launch it.
    let real = draft(&owner).await;
    assert_eq!(real["environment"], "production");
    let (status, problem) = activate(&program, &id(&real)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "{problem}");
    assert_eq!(activate(&owner, &id(&real)).await.0, 200);
    assert_eq!(reasons(&id(&real)).await, []);

    // Nor lets others launch it.
    assert_eq!(owner.put("/api/settings/campaigns", &json!({"reviewAbove": 1})).await.0, 200);
    let real = draft(&owner).await;
    let path = format!("/api/campaigns/{}", id(&real));
    assert_eq!(owner.send(owner.request(Method::POST, &format!("{path}/submit"))).await.0, 200);
    let (status, problem) = program.post(&format!("{path}/approve"), &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "{problem}");
    assert_eq!(owner.get(&path).await.1["data"]["status"], "in_review");
    assert_eq!(owner.put("/api/settings/campaigns", &json!({"reviewAbove": null})).await.0, 200);

    // Nor is whoever sends over accounts that reach nobody.
    sqlx::query("update accounts set sandbox = true where slug = 'sms'").execute(&pool).await.unwrap();
    let tried = draft(&program).await;
    assert_eq!(activate(&program, &id(&tried)).await.0, 200);
    assert_eq!(reasons(&id(&tried)).await, []);
}
