//! How people come in by mail: invitations, and links for those who forgot their password.

use std::time::Duration;

use fanfare_sandbox::{RunningSandbox, Sandbox, SandboxConfig};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::open::{Client, Open, PASSWORD};

const SEALING_KEYS: &str = "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const BASE: &str = "https://fanfare.acme.example";

/// A service whose tenant may have an account for e-mail at Brevo's twin.
struct House {
    open: Open,
    owner: Client,
    pool: PgPool,
    sandbox: RunningSandbox,
}

impl House {
    async fn new(pool: &PgPool) -> Self {
        Self::at(pool, "https://fanfare.acme.example/").await
    }

    /// Where people find it, or nothing.
    async fn at(pool: &PgPool, public_url: &str) -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
        let urls = format!("[\"{}/v3\"]", sandbox.base_url());
        let settings = [
            ("FANFARE_SEALING_KEYS", SEALING_KEYS),
            ("FANFARE__API__PROVIDER_BASE_URLS", urls.as_str()),
            ("FANFARE__API__PUBLIC_URL", public_url),
            ("FANFARE__API__STRANGER_PER_SECOND", "1000"),
        ];
        let open = Open::with(pool, &settings).await;
        let owner = open.owner().await;
        Self { open, owner, pool: pool.clone(), sandbox }
    }

    async fn with_mail(pool: &PgPool) -> Self {
        Self::new(pool).await.mailing().await
    }

    async fn mailing(self) -> Self {
        let body = json!({
            "slug": "mail", "provider": "brevo_email",
            "settings": {"baseUrl": format!("{}/v3", self.sandbox.base_url()), "senderEmail": "hello@acme.example",
                         "senderName": "Acme", "sandbox": true},
            "secrets": {"apiKey": "xkeysib-sandbox"},
        });
        let (status, made) = self.owner.post("/api/accounts", &body).await;
        assert_eq!((status, &made["data"]["sandbox"]), (201, &json!(true)), "{made}");
        self.open.engine.roster.refresh().await.unwrap();
        self
    }

    /// Subject and text of the mails to an address, the oldest first.
    async fn mails(&self, address: &str) -> Vec<(String, String)> {
        let kept: Vec<String> =
            sqlx::query_scalar("select variables from recipients where address = $1 order by campaign_id, n")
                .bind(address)
                .fetch_all(&self.pool)
                .await
                .unwrap();
        let part = |mail: &Value, name: &str| mail[0][name].as_str().unwrap().to_owned();
        kept.iter()
            .map(|mail| serde_json::from_str::<Value>(mail).unwrap())
            .map(|mail| (part(&mail, "subject"), part(&mail, "text")))
            .collect()
    }

    /// The same, once there are so many.
    async fn mails_come(&self, address: &str, count: usize) -> Vec<(String, String)> {
        for _ in 0..400 {
            let mails = self.mails(address).await;
            if mails.len() >= count {
                return mails;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("no {count} mails came");
    }

    async fn forgot(&self, email: &str) -> (u16, Value) {
        self.open.nobody().post("/api/auth/forgot-password", &json!({"email": email})).await
    }

    async fn invite(&self, email: &str) -> Value {
        let invitation = json!({"email": email, "firstName": "Ravi", "role": "marketer"});
        let (status, invited) = self.owner.post("/api/users", &invitation).await;
        assert_eq!(status, 201, "{invited}");
        invited["data"].clone()
    }
}

/// The secret in a mail's link, as the page reads it.
fn token<'a>(text: &'a str, purpose: &str) -> &'a str {
    let link = format!("{BASE}/password#{purpose}/");
    text.split_once(&link).unwrap_or_else(|| panic!("{link}: {text}")).1.lines().next().unwrap()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_invitation_is_mailed_and_its_link_sets_the_password(pool: PgPool) {
    let house = House::with_mail(&pool).await;
    let invited = house.invite("ravi@acme.example").await;
    assert_eq!(invited["invitation"]["mailed"], json!(true));
    let mails = house.mails("ravi@acme.example").await;
    let (subject, text) = &mails[0];
    assert_eq!((mails.len(), subject.as_str()), (1, "You are invited to Acme"));
    assert!(text.contains("Hello Ravi") && text.contains("72 hours"), "{text}");
    let token = token(text, "accept-invitation");
    assert_eq!(invited["invitation"]["token"], token);
    let path = format!("/api/auth/accept-invitation/{token}");
    assert_eq!(house.open.nobody().post(&path, &json!({"password": PASSWORD})).await.0, 200);

    // In the language of the tenant.
    sqlx::query("update tenants set locale = 'fr-MU' where slug = 'acme'").execute(&pool).await.unwrap();
    house.invite("rose@acme.example").await;
    assert_eq!(house.mails("rose@acme.example").await[0].0, "Votre invitation chez Acme");

    // It arrives where mails arrive.
    for _ in 0..400 {
        if house.sandbox.audit().summary().lanes.iter().map(|lane| lane.messages).sum::<u64>() >= 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the provider got no mail");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn whoever_forgot_their_password_gets_a_link_and_others_the_same_answer(pool: PgPool) {
    let house = House::with_mail(&pool).await;
    let invited = house.invite("ravi@acme.example").await;
    let path = invited["invitation"]["path"].as_str().unwrap();
    assert_eq!(house.open.nobody().post(path, &json!({"password": PASSWORD})).await.0, 200);

    let known = house.forgot(" Ravi@Acme.example ").await;
    assert_eq!(known, house.forgot("nobody@acme.example").await);
    assert_eq!(known, (202, Value::Null));
    let mails = house.mails_come("ravi@acme.example", 2).await;
    let (subject, text) = &mails[1];
    assert_eq!(subject, "Your password at Acme");
    assert!(text.contains("1 hour:"), "{text}");
    let token = token(text, "reset-password");
    let path = format!("/api/auth/reset-password/{token}");
    let next = json!({"password": "another horse battery staple"});
    assert_eq!(house.open.nobody().post(&path, &next).await.0, 204);
    assert_eq!(house.open.nobody().post(&path, &next).await.0, 404, "good once");
    let login = json!({"email": "ravi@acme.example", "password": "another horse battery staple"});
    assert_eq!(house.open.nobody().post("/api/auth/login", &login).await.0, 200);

    // Nobody is flooded: an address waits from the fifth time on, whether anybody has it or not.
    for address in ["ravi@acme.example", "nobody@acme.example"] {
        for _ in 0..4 {
            assert_eq!(house.forgot(address).await.0, 202, "{address}");
        }
        assert_eq!(house.forgot(address).await.1["code"], "too_many_requests", "{address}");
    }
    for wrong in ["", "ravi", "ravi@acme.example\0", &"x".repeat(60_000)] {
        assert_eq!(house.forgot(wrong).await.0, 422);
    }
    assert_eq!(house.forgot(&"x".repeat(100_000)).await.0, 413);
    let strangers: i64 =
        sqlx::query_scalar("select count(*) from recipients where address = 'nobody@acme.example'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(strangers, 0);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn without_an_account_for_mail_the_admin_hands_the_link_on(pool: PgPool) {
    let house = House::new(&pool).await;
    let invited = house.invite("ravi@acme.example").await;
    assert_eq!(invited["invitation"]["mailed"], json!(false));
    let path = invited["invitation"]["path"].as_str().unwrap();
    assert_eq!(house.forgot("ravi@acme.example").await, (202, Value::Null));
    // Whoever has not come yet gets an invitation again. The first one stays good: anybody could have asked.
    let links = async || -> i64 {
        let of_ravi = "select count(*) from one_time_links where user_id = (select id from users where email = 'ravi@acme.example')";
        sqlx::query_scalar(of_ravi).fetch_one(&pool).await.unwrap()
    };
    for _ in 0..400 {
        if links().await == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(links().await, 2);
    assert_eq!(house.open.nobody().post(path, &json!({"password": "weak"})).await.0, 422);
    assert_eq!(house.open.nobody().post(path, &json!({"password": PASSWORD})).await.0, 200);
    assert_eq!(links().await, 0, "whoever has come needs no other");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_link_that_leads_nowhere_is_not_mailed(pool: PgPool) {
    let house = House::at(&pool, "").await.mailing().await;
    let invited = house.invite("ravi@acme.example").await;
    assert_eq!(invited["invitation"]["mailed"], json!(false));
    assert!(
        invited["invitation"]["url"].as_str().unwrap().contains("/password#accept-invitation/"),
        "{invited}"
    );
    assert_eq!(house.mails("ravi@acme.example").await, []);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_page_behind_a_link_runs_its_own_script_only(pool: PgPool) {
    let open = Open::new(&pool).await;
    let answer = open.client.get(format!("{}/password", open.base)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(answer.text().await.unwrap().contains("/password.js"));
    let (status, script) = open.text("/password.js").await;
    assert!(status == 200 && script.contains("/api/auth/"), "{script}");
}
