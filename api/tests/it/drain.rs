//! A process that is told to end, or is killed, while people send single messages: whatever it has answered for is sent by the
//! next one, or known not to be known of.

use std::collections::HashMap;

use fanfare_engine::domain::outcome::FactKind;
use fanfare_sandbox::{Latency, RunningSandbox, Sandbox, SandboxConfig};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    open::{Open, PASSWORD},
    support::{House, MOST_PER_KILL, SMS, Serving, facts, tenant, until},
};

/// Callers at once; each sends one message after the other.
const CALLERS: usize = 16;
/// So many have reached the provider when the process ends.
const REACHED: usize = 64;
/// Callers hardly wait, so that most answers are given before the provider's.
const HARDLY: (&str, &str) = ("FANFARE__API__SEND_WAIT_MS", "50");

/// One installation, whose processes come and go.
struct Desk {
    house: House,
    sandbox: RunningSandbox,
    pool: PgPool,
    invited: Value,
}

impl Desk {
    /// `account` goes on with what the account of the configuration says.
    async fn new(pool: &PgPool, account: &str) -> Self {
        let mut config = SandboxConfig::default();
        config.faults.sms.latency_ms = Latency::Fixed(150);
        let sandbox = Sandbox::start(config).await.unwrap();
        let mut house = House::on(pool);
        let file = house.file("fanfare.toml", &[&tenant("acme"), SMS, account].concat());
        let base_url = format!("{}/v3", sandbox.base_url());
        let settings = [
            ("FANFARE_CONFIG", file.as_str()),
            ("PORT", "0"),
            ("FANFARE__ACCOUNTS__SMS__BASE_URL", &base_url),
            // What a killed process was at is another's sooner.
            ("FANFARE__WORKER__LEASE_S", "5"),
            ("FANFARE__HTTP__TIMEOUT_MS", "2000"),
            HARDLY,
        ];
        settings.iter().for_each(|(name, value)| house.set(name, value));
        let owner = ["--json", "user", "owner", "asha@acme.example", "--name", "Asha", "--tenant", "acme"];
        let invited = house.run(&owner).json();
        Self { house, sandbox, pool: pool.clone(), invited }
    }

    /// Signs the first owner in.
    async fn token(&self, base: &str) -> String {
        let (_, link) = self.invited["url"].as_str().unwrap().split_once('#').unwrap();
        let request =
            Open::http().post(format!("{base}/api/auth/{link}")).json(&json!({"password": PASSWORD}));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["data"]["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// What a process has answered for until `end` ended it in the midst of it, by message.
    async fn interrupted(
        &self,
        serving: Serving,
        end: impl FnOnce(Serving) + Send + 'static,
    ) -> HashMap<String, String> {
        let token = self.token(&serving.base).await;
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..CALLERS {
            callers.spawn(call(serving.base.clone(), token.clone(), caller));
        }
        until("messages at the provider", async || self.received().len() >= REACHED).await;
        tokio::task::spawn_blocking(|| end(serving)).await.unwrap();
        callers.join_all().await.into_iter().flatten().collect()
    }

    fn received(&self) -> HashMap<String, u32> {
        let all = self.sandbox.audit().messages(0, 100_000, 0).records;
        all.into_iter().map(|record| (record.message_id, record.count)).collect()
    }

    /// Until no message waits: each has a fact, and not one that says it is tried again.
    async fn settled(&self) {
        until("the rest", async || {
            let messages: i64 =
                sqlx::query_scalar("select count(*) from recipients").fetch_one(&self.pool).await.unwrap();
            let facts = facts(&self.pool).await;
            facts.len() as i64 == messages && facts.values().all(|kind| *kind != FactKind::Retry as i16)
        })
        .await;
    }

    async fn end(&self, next: Serving) {
        self.settled().await;
        tokio::task::spawn_blocking(|| next.stop()).await.unwrap();
    }
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
        let status = answer.status();
        // A killed process stops in the middle of an answer, too: its caller was told nothing.
        let Ok(told) = answer.json::<Value>().await else { break };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            break;
        }
        assert_eq!(status, 201, "{told}");
        let text = |name: &str| told["data"][name].as_str().unwrap().to_owned();
        answered.insert(text("messageId"), text("status"));
    }
    answered
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_was_answered_is_sent_once_though_the_process_ends(pool: PgPool) {
    // More is asked for than the account may send, so that some of it is left over.
    let desk = Desk::new(&pool, "limits = [{ window = \"second\", requests = 40 }]").await;
    let serving = Serving::all(&desk.house);
    let answered = desk.interrupted(serving, |serving| drop(serving.stop())).await;
    assert!(answered.len() >= REACHED, "{}", answered.len());

    let had = desk.received();
    for (message, status) in &answered {
        assert!(
            status != "sent" || had.contains_key(message),
            "{message} counts as sent and was not received"
        );
    }
    let left = answered.keys().filter(|message| !had.contains_key(*message)).count();
    assert!(left > 0, "all {} were sent before it ended: nothing is left to prove", had.len());
    // Who had an intent when it ended, and no fact, would be unknown: an orderly end leaves nobody so.
    let facts = facts(&pool).await;
    let sent = facts.values().filter(|kind| **kind == FactKind::Accepted as i16).count();
    let known = |kind: &i16| [FactKind::Accepted as i16, FactKind::Retry as i16].contains(kind);
    assert!(sent == had.len() && facts.values().all(known), "{} were received: {facts:?}", had.len());

    // Whatever was accepted and not yet sent is the next process's.
    desk.end(Serving::all(&desk.house)).await;
    let had = desk.received();
    assert!(had.values().all(|count| *count == 1), "{had:?}");
    for message in answered.keys() {
        assert!(had.contains_key(message), "{message} was answered for and is lost");
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_was_answered_is_not_lost_though_the_process_is_killed(pool: PgPool) {
    let desk = Desk::new(&pool, "").await;
    let serving = Serving::all(&desk.house);
    let answered = desk.interrupted(serving, Serving::kill).await;
    assert!(answered.len() >= REACHED, "{}", answered.len());
    desk.end(Serving::all(&desk.house)).await;

    let had = desk.received();
    let doubled: i64 = had.values().map(|count| i64::from(count - 1)).sum();
    assert!(doubled <= MOST_PER_KILL, "{doubled} were sent twice");
    let (facts, mut unknown) = (facts(&pool).await, 0);
    for (message, told) in &answered {
        let fact = facts[message];
        let was_received = had.contains_key(message);
        match fact {
            0 => assert!(was_received, "{message} counts as sent and was not received"),
            4 => unknown += 1,
            other => panic!("{message} was answered `{told}` and counts as {other}"),
        }
        assert!(told != "sent" || (fact == 0 && was_received), "{message} was answered as sent");
    }
    assert!(unknown <= MOST_PER_KILL, "{unknown} of {} are unknown", answered.len());
}
