//! Provider accounts over HTTP: kept, sealed, tried, and known to the process that sends.

use std::time::Duration;

use fanfare_engine::{id::AccountId, store::StoreError};
use fanfare_sandbox::{RunningSandbox, Sandbox, SandboxConfig};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    open::{Client, Open, PASSWORD},
    support::House,
};

const MIGRATOR: &sqlx::migrate::Migrator = &fanfare_engine::store::MIGRATOR;
const KEY: &str = "xkeysib-sandbox";
/// 32 bytes each.
const SEALING_KEYS: &str = "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// A service that keeps secrets, and Brevo's twin.
struct Ground {
    open: Open,
    sandbox: RunningSandbox,
}

impl Ground {
    async fn new(pool: &PgPool) -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
        let urls = format!("[\"{}/v3\"]", sandbox.base_url());
        let settings =
            [("FANFARE_SEALING_KEYS", SEALING_KEYS), ("FANFARE__API__PROVIDER_BASE_URLS", urls.as_str())];
        Self { open: Open::with(pool, &settings).await, sandbox }
    }

    fn body(&self, key: &str) -> Value {
        json!({
            "slug": "kept", "provider": "brevo_sms", "priority": 7, "limits": [{"window": "second", "requests": 10}],
            "settings": {"baseUrl": format!("{}/v3", self.sandbox.base_url()), "sender": "Acme"},
            "secrets": {"apiKey": key},
        })
    }

    async fn made(&self, owner: &Client, key: &str) -> String {
        let (status, made) = owner.post("/api/accounts", &self.body(key)).await;
        assert_eq!(status, 201, "{made}");
        made["data"]["id"].as_str().unwrap().to_owned()
    }

    async fn forget(&self) -> u64 {
        self.open.engine.store.forget_deleted_accounts(Duration::from_secs(3_600)).await.unwrap()
    }

    async fn execute(&self, sql: &str) {
        let pool = self.open.engine.store.pool();
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
    }

    /// Whether the process that serves has the account, and its key works.
    async fn works_here(&self, id: &str) -> Option<bool> {
        self.open.engine.roster.refresh().await.unwrap();
        let id: AccountId = id.parse().unwrap();
        let urgent = self.open.engine.urgent_accounts.get(id);
        let handle = self.open.engine.accounts.get(id)?;
        assert!(urgent.is_some(), "the urgent have it, too");
        Some(handle.adapter.probe().await.is_ok())
    }
}

fn fields(answer: &Value) -> Vec<&str> {
    let all = answer["errors"].as_array().expect("errors");
    all.iter().map(|one| one["field"].as_str().expect("a field")).collect()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_account_is_made_changed_and_deleted_and_processes_follow(pool: PgPool) {
    let ground = Ground::new(&pool).await;
    let (owner, stranger) = (ground.open.owner().await, ground.open.stranger().await);
    let id = ground.made(&owner, KEY).await;
    let path = format!("/api/accounts/{id}");
    assert_eq!(ground.works_here(&id).await, Some(true));
    assert_eq!(owner.post("/api/accounts", &ground.body(KEY)).await.0, 409, "the name is taken");

    let (status, shown) = owner.get(&path).await;
    assert_eq!(status, 200);
    assert_eq!(shown["data"]["settings"]["sender"], json!("Acme"));
    assert_eq!(shown["data"]["secret"]["lastFour"], json!("dbox"));
    assert_eq!((&shown["data"]["configured"], &shown["data"]["channel"]), (&json!(false), &json!("sms")));
    for method in ["get", "put", "delete", "check"] {
        let (status, _) = match method {
            "get" => stranger.get(&path).await,
            "put" => stranger.put(&path, &json!({"priority": 1, "limits": [], "settings": {}})).await,
            "delete" => stranger.delete(&path).await,
            _ => stranger.post(&format!("{path}/check"), &json!({})).await,
        };
        assert_eq!(status, 404, "{method}");
    }

    let change =
        json!({"priority": -1, "limits": [], "peoplePerDay": 250, "settings": ground.body(KEY)["settings"]});
    let (status, changed) = owner.put(&path, &change).await;
    assert_eq!(
        (status, &changed["data"]["priority"], &changed["data"]["peoplePerDay"]),
        (200, &json!(-1), &json!(250)),
        "{changed}"
    );
    ground.works_here(&id).await;
    let account: AccountId = id.parse().unwrap();
    let handle = ground.open.engine.accounts.get(account).unwrap();
    assert_eq!(handle.people_per_day.map(std::num::NonZeroU64::get), Some(250));
    assert!(handle.account.limits.is_empty());

    assert_eq!(owner.delete(&path).await.0, 204);
    assert_eq!((owner.get(&path).await.0, owner.delete(&path).await.0), (404, 404));
    // Its name is free again.
    ground.made(&owner, KEY).await;
    // A launch may have chosen it just before: it works until nobody needs it, and then nothing of its secrets is left.
    assert_eq!((ground.forget().await, ground.works_here(&id).await), (0, Some(true)));
    ground
        .execute("update accounts set deleted_at = now() - interval '2 hours' where deleted_at is not null")
        .await;
    ground
        .execute(&format!(
            "with template as (
                 insert into templates (id, tenant_id, slug, channel, class, name)
                 select gen_random_uuid(), tenant_id, 't', 'sms', 'obligation', 'T' from accounts where deleted_at is not null
                 returning id, tenant_id)
             insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, state, launched_at, frozen, route)
             select '{campaign}', tenant_id, 'campaign', 'C', 'sms', 'obligation', id, 'sending', now(), 0, array['{account}'::uuid]
             from template",
            campaign = ground.open.engine.ids.random_uuid(),
            account = account.uuid(),
        ))
        .await;
    assert_eq!((ground.forget().await, ground.works_here(&id).await), (0, Some(true)));
    ground.execute("update campaigns set state = 'finished'").await;
    // From its deletion on, what failed over it is not tried again over it.
    let (tenant, campaign): (uuid::Uuid, uuid::Uuid) =
        sqlx::query_as("select tenant_id, id from campaigns").fetch_one(&pool).await.unwrap();
    let replayed = ground.open.engine.store.replay_failed(tenant.into(), campaign.into(), 500).await;
    assert!(matches!(replayed, Err(StoreError::Conflict(_))), "{replayed:?}");
    // Upkeep at work may have been quicker.
    assert!(ground.forget().await <= 1);
    assert_eq!(ground.works_here(&id).await, None);
    // What comes in for it later is put aside.
    ground.execute(&format!("insert into inbox (account_id, webhooks, bytes, bodies) values ('{}', 2, 2, array['a'::bytea, 'b'])", account.uuid())).await;
    assert_eq!(ground.forget().await, 0);
    let aside: i64 =
        sqlx::query_scalar("select count(*) from inbox_rejected").fetch_one(&pool).await.unwrap();
    assert_eq!(aside, 2);
    let left: bool =
        sqlx::query_scalar("select bool_or(secrets <> '\\x') from accounts where deleted_at is not null")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert!(!left);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn secrets_are_sealed_shown_to_nobody_and_rotated(pool: PgPool) {
    let ground = Ground::new(&pool).await;
    let owner = ground.open.owner().await;
    let id = ground.made(&owner, "xkeysib-of-yesterday").await;
    let path = format!("/api/accounts/{id}");
    let (status, checked) = owner.post(&format!("{path}/check"), &json!({})).await;
    assert_eq!((status, &checked["data"]["works"]), (200, &json!(false)), "{checked}");
    assert!(checked["data"]["said"].as_str().is_some_and(|said| !said.is_empty()));

    let (status, refused) =
        owner.put(&format!("{path}/secret"), &json!({"secrets": {"apiKey": "xkeysib-with-a-slip"}})).await;
    assert_eq!((status, fields(&refused)), (422, vec!["secrets"]), "{refused}");
    let (status, rotated) = owner.put(&format!("{path}/secret"), &json!({"secrets": {"apiKey": KEY}})).await;
    assert_eq!((status, &rotated["data"]["secret"]["lastFour"]), (200, &json!("dbox")), "{rotated}");
    assert_eq!(ground.works_here(&id).await, Some(true));
    assert_eq!(owner.post(&format!("{path}/check"), &json!({})).await.1["data"]["works"], json!(true));
    let unasked = json!({"secrets": {"apiKey": "xkeysib-of-tomorrow"}, "check": false});
    assert_eq!(owner.put(&format!("{path}/secret"), &unasked).await.0, 200);
    assert_eq!(ground.works_here(&id).await, Some(false));

    ground.open.engine.store.chain_audit_logs().await.unwrap();
    let all: String = sqlx::query_scalar(
        "select coalesce(string_agg(a::text, ' '), '') || coalesce((select string_agg(l::text, ' ') from audit_log l), '')
         from accounts a",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    for (shown, place) in [(all, "the database"), (owner.get("/api/accounts").await.1.to_string(), "the API")]
    {
        assert!(!shown.contains("xkeysib") && !shown.contains(&hex::encode("xkeysib")), "{place}: {shown}");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_sealed_secret_is_good_for_its_own_account_only(pool: PgPool) {
    let ground = Ground::new(&pool).await;
    let owner = ground.open.owner().await;
    let id = ground.made(&owner, KEY).await;
    let other = json!({"slug": "other", "provider": "in_app"});
    let (status, made) = owner.post("/api/accounts", &other).await;
    assert_eq!(status, 201, "{made}");
    sqlx::query("update accounts set secrets = (select secrets from accounts where slug = 'other'), updated_at = now() where slug = 'kept'")
        .execute(&pool)
        .await
        .unwrap();
    let (status, answer) = owner.post(&format!("/api/accounts/{id}/check"), &json!({})).await;
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "{answer}");
    assert_eq!(ground.works_here(&id).await, None, "it is not used");
}

/// With nothing lost on the way: before, both keys open; after, the new one does alone.
#[sqlx::test(migrator = "MIGRATOR")]
async fn the_key_that_seals_is_changed_for_another(pool: PgPool) {
    const NEWER: &str = "2027:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    let ground = Ground::new(&pool).await;
    let owner = ground.open.owner().await;
    let id = ground.made(&owner, KEY).await;
    let (status, begun) = owner.post("/api/auth/second-factor", &json!({"password": PASSWORD})).await;
    assert_eq!(status, 200, "{begun}");
    let reseal = |keys: &str| {
        let mut house = House::on(&pool);
        house.set("FANFARE_SEALING_KEYS", keys);
        house.run(&["--json", "reseal"])
    };
    let without = reseal(NEWER);
    assert_eq!((without.code, without.err.contains(&id), without.err.contains("`2026`")), (1, true, true));
    let counted = |accounts, factors, already| json!({"accounts": accounts, "secondFactors": factors, "already": already});
    let both = format!("{NEWER},{SEALING_KEYS}");
    assert_eq!(reseal(&both).json(), counted(1, 1, 0));
    assert_eq!(reseal(NEWER).json(), counted(0, 0, 2));
    let after = Ground { open: Open::with(&pool, &[("FANFARE_SEALING_KEYS", NEWER)]).await, ..ground };
    assert_eq!(after.works_here(&id).await, Some(true));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_can_not_be_taken_is_named(pool: PgPool) {
    let ground = Ground::new(&pool).await;
    let owner = ground.open.owner().await;
    let with = |pointer: &str, value: Value| {
        let mut body = ground.body(KEY);
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let refused = [
        (with("/slug", json!("Kept")), "slug"),
        (with("/settings/baseUrl", json!("http://169.254.169.254/")), "settings.baseUrl"),
        (with("/settings/sender", json!("A sender with spaces")), "settings.sender"),
        (with("/settings", json!({})), "settings.sender"),
        (with("/settings", json!({"sender": "Acme", "apiKey": "k"})), "secrets.apiKey"),
        (with("/settings", json!({"sender": "Acme", "colour": "red"})), "settings.colour"),
        (with("/secrets", json!({})), "secrets.apiKey"),
        (with("/secrets/apiKey", json!(" spaced ")), "secrets.apiKey"),
        (with("/limits", json!([{"window": "second", "requests": 0}])), "limits[0].requests"),
        (with("/priority", json!(40_000)), "priority"),
        (with("/provider", json!("carrier_pigeon")), "provider"),
    ];
    for (body, field) in refused {
        let (status, answer) = owner.post("/api/accounts", &body).await;
        assert_eq!((status, fields(&answer)), (422, vec![field]), "{answer}");
    }
    let (_, listed) = owner.get("/api/accounts").await;
    assert_eq!(
        listed["data"]["accounts"].as_array().map(Vec::len),
        Some(2),
        "only those of the configuration: {listed}"
    );
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn accounts_of_the_configuration_are_shown_and_changed_there(pool: PgPool) {
    let ground = Ground::new(&pool).await;
    let owner = ground.open.owner().await;
    let (_, listed) = owner.get("/api/accounts").await;
    let first = &listed["data"]["accounts"][0];
    assert_eq!(
        (&first["configured"], &first["settings"], &first["secret"]["lastFour"]),
        (&json!(true), &Value::Null, &Value::Null)
    );
    let path = format!("/api/accounts/{}", first["id"].as_str().unwrap());
    let change = json!({"priority": 1, "limits": [], "settings": {}});
    for (status, answer) in [
        owner.put(&path, &change).await,
        owner.put(&format!("{path}/secret"), &json!({"secrets": {"apiKey": "k"}})).await,
        owner.delete(&path).await,
    ] {
        assert_eq!(status, 409, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains("[[accounts]]"), "{answer}");
    }
    assert_eq!(owner.post(&format!("{path}/check"), &json!({})).await.0, 200);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn without_a_sealing_key_nothing_is_kept(pool: PgPool) {
    let open = Open::new(&pool).await;
    let body = json!({"slug": "kept", "provider": "brevo_sms", "settings": {"sender": "Acme"}, "secrets": {"apiKey": KEY}});
    let (status, answer) = open.owner().await.post("/api/accounts", &body).await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("FANFARE_SEALING_KEYS"), "{answer}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn prices_hold_from_when_they_are_said(pool: PgPool) {
    let ground = Ground::new(&pool).await;
    let owner = ground.open.owner().await;
    let id = ground.made(&owner, KEY).await;
    let path = format!("/api/accounts/{id}/prices");
    let price = |prefix: &str, micros: i64| json!({"prefix": prefix, "micros": micros, "currency": "EUR"});
    let (status, said) =
        owner.put(&path, &json!({"prices": [price("", 50_000), price("230", 20_000)]})).await;
    assert_eq!(status, 200, "{said}");
    let (_, said) = owner.put(&path, &json!({"prices": [price("230", 25_000), price("", 50_000)]})).await;
    let (_, listed) = owner.get(&path).await;
    assert_eq!(said["data"]["prices"], listed["data"]["prices"]);
    let now: Vec<_> = listed["data"]["prices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|price| (price["prefix"].as_str().unwrap().to_owned(), price["micros"].as_i64().unwrap()))
        .collect();
    assert_eq!(now, [(String::new(), 50_000), ("230".to_owned(), 25_000)]);
    let rows: i64 = sqlx::query_scalar("select count(*) from prices").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 3, "the old price stays for what was sent, and what did not change is no new row");

    for (wrong, field) in [
        (price("+230", 1), "prices[0].prefix"),
        (price("230", -1), "prices[0].micros"),
        (json!({"prefix": "", "micros": 1, "currency": "eur"}), "prices[0].currency"),
        (json!({"prefix": "", "micros": 0.5, "currency": "EUR"}), "prices[0].micros"),
    ] {
        let (status, answer) = owner.put(&path, &json!({"prices": [wrong]})).await;
        assert_eq!((status, fields(&answer)), (422, vec![field]), "{answer}");
    }
    let stranger = ground.open.stranger().await;
    assert_eq!(stranger.get(&path).await.0, 404);
    assert_eq!(stranger.put(&path, &json!({"prices": []})).await.0, 404);
}
