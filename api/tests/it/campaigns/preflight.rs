//! What a launch would come to, over HTTP.

use serde_json::json;
use sqlx::PgPool;

use super::{Insurer, PEOPLE};

/// Of the account that goes first, segment by segment, in the currency of each number's prefix.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_preflight_forecasts_what_it_costs(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let text = "Your policy is due. ".repeat(10);
    let text = json!({"name": "Long", "type": "sms", "content": text, "class": "obligation"});
    assert_eq!(house.owner.post("/api/templates", &text).await.0, 201);
    let body = json!({"name": "Long", "type": "sms", "uploadId": house.upload, "templates": {"sms": "long"}});
    let (_, made) = house.owner.post("/api/campaigns", &body).await;
    let path = format!(
        "/api/campaigns/{}/preflight?fresh=true",
        made["data"]["campaigns"][0]["id"].as_str().unwrap()
    );
    let report = async || house.owner.get(&path).await.1["data"].take();
    let first = report().await;
    assert_eq!((&first["segments"], &first["unpriced"]), (&json!(2 * PEOPLE), &json!(2 * PEOPLE)), "{first}");
    assert_eq!(first["forecastCosts"], json!([]));

    let (_, listed) = house.owner.get("/api/accounts").await;
    let mut accounts = listed["data"]["accounts"].as_array().unwrap().iter();
    let sms =
        accounts.find(|account| account["channel"] == "sms").unwrap()["id"].as_str().unwrap().to_owned();
    // Ten of the numbers are +23050000010 to 19.
    let prices = json!({"prices": [
        {"prefix": "2305000001", "micros": 30_000, "currency": "MUR"},
        {"prefix": "230", "micros": 25_001, "currency": "EUR"},
        {"prefix": "91", "micros": 1, "currency": "INR"},
    ]});
    assert_eq!(house.owner.put(&format!("/api/accounts/{sms}/prices"), &prices).await.0, 200);
    let priced = report().await;
    let others = f64::from(2 * (PEOPLE - 10) * 25_001) / 1e6;
    let expected = json!([{"amount": others, "currency": "EUR"}, {"amount": 0.6, "currency": "MUR"}]);
    assert_eq!((&priced["forecastCosts"], &priced["unpriced"]), (&expected, &json!(0)), "{priced}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_preflight_tells_who_is_behind_its_numbers(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    sqlx::query("update contacts set email = null where name in ('Person 3', 'Person 4')")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("update contacts set name = null where email = 'person5@example.com'")
        .execute(&pool)
        .await
        .unwrap();
    let id = house.draft().await;
    let (status, preflight) = house.owner.get(&format!("/api/campaigns/{id}/preflight")).await;
    assert_eq!(status, 200, "{preflight}");
    let report = &preflight["data"];
    assert_eq!((&report["recipients"], &report["sendable"]), (&json!(142), &json!(139)), "{report}");
    assert_eq!(report["notSent"], json!({"no_address": 2, "missing_variable": 1}));
    assert_eq!(report["missingVariables"], json!({"name": 1}));
    let mut path = format!("/api/campaigns/{id}/preflight/recipients?limit=1");
    let mut reasons = Vec::new();
    loop {
        let (_, page) = house.owner.get(&path).await;
        reasons
            .extend(page["data"]["recipients"].as_array().unwrap().iter().map(|one| one["reason"].clone()));
        let Some(next) = page["data"]["pagination"]["nextCursor"].as_str() else { break };
        path = format!("/api/campaigns/{id}/preflight/recipients?limit=1&cursor={next}");
    }
    assert_eq!(reasons, ["missing_variable", "no_address", "no_address"]);
    let all = house.csv(&format!("/api/campaigns/{id}/preflight/recipients?format=csv")).await;
    let reasons: Vec<&str> = all.iter().map(|row| row["reason"].as_str()).collect();
    assert_eq!(reasons, ["missing_variable", "no_address", "no_address"]);
    assert_eq!(all[0]["address"], "person5@example.com");
    assert!(all[0]["contact"].starts_with("cont_") && all[0]["detail"].contains("name"), "{all:?}");
    let few =
        house.csv(&format!("/api/campaigns/{id}/preflight/recipients?format=csv&reason=no_address")).await;
    assert_eq!(few.len(), 2);
    assert_eq!(house.owner.get(&format!("/api/campaigns/{id}")).await.1["data"]["status"], "draft");
}

/// The slowest of what slows it down, day by day where it may not leave all the time.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_preflight_forecasts_how_long_it_takes(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let path = format!("/api/campaigns/{}", house.draft().await);
    let after = async |change: serde_json::Value| {
        assert_eq!(house.owner.patch(&path, &change).await.0, 200);
        house.owner.get(&format!("{path}/preflight?fresh=true")).await.1["data"]["forecastSeconds"].clone()
    };
    assert_eq!(after(json!({"throttlePerMinute": null})).await, json!(null), "nothing slows it down");
    // Of 62 seconds, so one a second.
    assert_eq!(after(json!({"throttlePerMinute": 62})).await, json!(PEOPLE));
    let hours = json!({"from": "08:00", "to": "08:01"});
    assert_eq!(after(json!({"sendingHours": hours})).await, json!(2 * 86_400 + PEOPLE - 120));
    sqlx::query("update accounts set people_per_day = 100 where slug = 'mail'").execute(&pool).await.unwrap();
    assert_eq!(after(json!({"sendingHours": null})).await, json!(86_400 + PEOPLE - 100));
}
