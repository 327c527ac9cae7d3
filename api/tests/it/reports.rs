//! Reports over HTTP, on what was sent to the providers' sandbox.

use std::time::Duration;

use fanfare_sandbox::{Sandbox, SandboxConfig};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::open::{Client, Open};

async fn accounts(client: &Client, query: &str) -> Vec<Value> {
    let (status, answer) = client.get(&format!("/api/reports/providers{query}")).await;
    assert_eq!(status, 200, "{answer}");
    answer["data"]["accounts"].as_array().unwrap().clone()
}

fn sms(accounts: &[Value]) -> &Value {
    accounts.iter().find(|account| account["slug"] == "sms").unwrap()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn providers_are_told_by_what_they_did(pool: PgPool) {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let brevo = format!("{}/v3", sandbox.base_url());
    let settings = [
        ("FANFARE__ACCOUNTS__SMS__BASE_URL", brevo.as_str()),
        ("FANFARE__ACCOUNTS__SMS__API_KEY", "xkeysib-sandbox"),
    ];
    let open = Open::with(&pool, &settings).await;
    let owner = open.owner().await;
    let before = accounts(&owner, "").await;
    assert_eq!((&sms(&before)["total"], &sms(&before)["latency"]), (&json!(0), &json!({"answers": 0})));

    sqlx::query(
        "insert into prices (tenant_id, account_id, channel, prefix, micros, currency, valid_from)
         select tenant_id, id, 'sms', '91', 50000, 'INR', now() - interval '1 day' from accounts where slug = 'sms'",
    )
    .execute(&pool)
    .await
    .unwrap();
    let long = "x".repeat(200);
    for (to, message) in [("+919876543210", "one"), ("+919876543211", long.as_str()), ("+23052345678", "two")]
    {
        let (status, answer) =
            owner.post("/api/communication/sms/send", &json!({"to": to, "message": message})).await;
        assert_eq!((status, &answer["data"]["status"]), (201, &json!("sent")), "{answer}");
    }
    let mut told = Vec::new();
    for _ in 0..800 {
        told = accounts(&owner, "").await;
        if sms(&told)["latency"]["answers"] == json!(3) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let account = sms(&told);
    assert_eq!(
        [&account["total"], &account["sent"], &account["failed"], &account["successRate"]],
        [&json!(3), &json!(3), &json!(0), &json!(100.0)],
        "{account}"
    );
    // Three segments to India; nobody knows what Mauritius costs.
    assert_eq!(account["costs"], json!([{"amount": 0.15, "currency": "INR"}]), "{account}");
    assert_eq!((&account["unpriced"], &account["costsEstimated"]), (&json!(1), &Value::Null));
    let latency = |name: &str| account["latency"][name].as_f64().unwrap();
    assert!(latency("averageMs") > 0.0 && latency("p95Ms") <= 10_000.0, "{account}");
    assert_eq!(account["provider"], "brevo_sms");

    // Another day, another tenant, and whoever may not.
    let past = accounts(&owner, "?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z").await;
    assert_eq!((&sms(&past)["total"], &sms(&past)["costs"]), (&json!(0), &json!([])));
    assert!(accounts(&open.stranger().await, "").await.is_empty());
    let writer = open.key(&["messages:send"]).await;
    assert_eq!(writer.get("/api/reports/providers").await.0, 403);
    for query in ["?from=x", "?from=2999-01-01T00:00:00Z", "?from=2020-01-01T00:00:00Z", "?until=now"] {
        assert_eq!(owner.get(&format!("/api/reports/providers{query}")).await.0, 422, "{query}");
    }
}
