//! A process that is told to end while people send single messages: whatever it has answered for is sent, and sent once.

use std::{collections::HashMap, time::Duration};

use fanfare_sandbox::{Latency, RunningSandbox, Sandbox, SandboxConfig};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    open::{Open, PASSWORD},
    support::{House, Serving},
};

const CONFIG: &str = r#"
[[tenants]]
slug = "acme"
name = "Acme"
region = "MU"
locale = "en"
time_zone = "Indian/Mauritius"
currency = "MUR"

[[accounts]]
tenant = "acme"
provider = "brevo_sms"
slug = "sms"
api_key = "xkeysib-sandbox"
sender = "Acme"
"#;

/// Callers at once; each sends one message after the other.
const CALLERS: usize = 16;
/// So many have reached the provider when the process is told to end.
const REACHED: usize = 64;

async fn slow_sandbox() -> RunningSandbox {
    let mut config = SandboxConfig::default();
    config.faults.sms.latency_ms = Latency::Fixed(150);
    Sandbox::start(config).await.unwrap()
}

/// Signs the first owner in.
async fn token(house: &House, base: &str, invited: &Value) -> String {
    let (_, link) = invited["url"].as_str().unwrap().split_once('#').unwrap();
    let request = Open::http().post(format!("{base}/api/auth/{link}")).json(&json!({"password": PASSWORD}));
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["data"]["token"].as_str().unwrap_or_else(|| panic!("{answer} in {:?}", house.folder)).to_owned()
}

/// Sends until nobody listens any more; what was answered, by message.
async fn call(base: String, token: String, caller: usize) -> HashMap<String, String> {
    let http = Open::http();
    let mut answered = HashMap::new();
    for round in 0_usize.. {
        let body =
            json!({"to": format!("+2305{:07}", caller * 10_000 + round), "message": "Your code is 42."});
        let url = format!("{base}/api/communication/sms/send");
        // A new connection each time, or one that is being closed takes a request that nobody reads.
        let request = http.post(url).header("connection", "close").bearer_auth(&token);
        let Ok(answer) = request.json(&body).send().await else { break };
        let status = answer.status().as_u16();
        let Ok(told) = answer.json::<Value>().await else {
            panic!("an answer that stops in the middle: {status}")
        };
        if status == 503 {
            break;
        }
        assert_eq!(status, 201, "{told}");
        let text = |name: &str| told["data"][name].as_str().unwrap().to_owned();
        answered.insert(text("messageId"), text("status"));
    }
    answered
}

fn received(sandbox: &RunningSandbox) -> HashMap<String, u32> {
    let all = sandbox.audit().messages(0, 100_000, 0).records;
    all.into_iter().map(|record| (record.message_id, record.count)).collect()
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within a minute: {what}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_was_answered_is_sent_once_though_the_process_ends(pool: PgPool) {
    let sandbox = slow_sandbox().await;
    let mut house = House::on(&pool);
    let file = house.file("fanfare.toml", CONFIG);
    let base_url = format!("{}/v3", sandbox.base_url());
    for (name, value) in
        [("FANFARE_CONFIG", file.as_str()), ("PORT", "0"), ("FANFARE__ACCOUNTS__SMS__BASE_URL", &base_url)]
    {
        house.set(name, value);
    }
    let owner = ["--json", "user", "owner", "asha@acme.example", "--name", "Asha", "--tenant", "acme"];
    let invited = house.run(&owner).json();
    let serving = Serving::all(&house);
    let token = token(&house, &serving.base, &invited).await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(call(serving.base.clone(), token.clone(), caller));
    }
    until("messages at the provider", async || received(&sandbox).len() >= REACHED).await;
    let log = tokio::task::spawn_blocking(|| serving.stop()).await.unwrap();
    let answered: HashMap<String, String> = callers.join_all().await.into_iter().flatten().collect();
    assert!(answered.len() >= REACHED - CALLERS, "{}\n{log}", answered.len());

    let had = received(&sandbox);
    for (message, status) in &answered {
        assert!(
            status != "sent" || had.contains_key(message),
            "{message} counts as sent and was not received"
        );
    }
    // Who had an intent when it ended, and no fact, would be unknown: an orderly end leaves nobody so.
    let facts = "select count(*) filter (where kind = 0), count(*) from results";
    let (sent, all): (i64, i64) = sqlx::query_as(facts).fetch_one(&pool).await.unwrap();
    assert_eq!((sent, all), (had.len() as i64, had.len() as i64), "{log}");

    // Whatever was accepted and not yet sent is the next process's.
    let next = Serving::all(&house);
    until("the rest", async || {
        let open: i64 = sqlx::query_scalar(
            "select count(*) from recipients r where not exists
             (select from results f where (f.campaign_id, f.n) = (r.campaign_id, r.n))",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        open == 0
    })
    .await;
    tokio::task::spawn_blocking(|| next.stop()).await.unwrap();
    let had = received(&sandbox);
    assert!(had.values().all(|count| *count == 1), "{had:?}");
    for message in answered.keys() {
        assert!(had.contains_key(message), "{message} was answered for and is lost");
    }
}
