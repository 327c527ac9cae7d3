//! A18 races: what is good once is good once, however many ask for it at the same moment.

use std::collections::BTreeMap;

use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    store::templates::TemplateHead,
};
use fanfare_templates::publish;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    open::{Client, Open, PASSWORD},
    support::in_two_days,
};

const AT_ONCE: usize = 100;

/// How often each status was answered.
type Tally = BTreeMap<u16, usize>;

fn tally(answers: &[(u16, Value)]) -> Tally {
    let broken = answers.iter().find(|(status, _)| *status >= 500);
    assert!(broken.is_none(), "{broken:?}");
    answers.iter().fold(Tally::new(), |mut tally, (status, _)| {
        *tally.entry(*status).or_default() += 1;
        tally
    })
}

async fn open(pool: &PgPool) -> Open {
    let settings = [
        ("FANFARE__API__STRANGER_PER_SECOND", "100000"),
        ("FANFARE__API__TENANT_PER_SECOND", "100000"),
        ("FANFARE_SEALING_KEYS", "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
    ];
    Open::with(pool, &settings).await
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

async fn email(client: &Client) -> Value {
    client.get("/api/auth/me").await.1["data"]["email"].clone()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a18_a_link_is_taken_by_one(pool: PgPool) {
    let open = open(&pool).await;
    let owner = open.owner().await;
    let new = json!({"email": "ravi@acme.example", "firstName": "Ravi", "role": "auditor"});
    let (_, invited) = owner.post("/api/users", &new).await;
    let invitation = invited["data"]["invitation"]["path"].as_str().unwrap().to_owned();
    let nobody = open.nobody();
    // Each hashes a password, if it gets so far: fewer of them.
    let accept = |n: usize| {
        let (nobody, path) = (nobody.clone(), invitation.clone());
        async move { nobody.post(&path, &json!({"password": format!("{PASSWORD} {n}")})).await }
    };
    let answers = join_all((0..20).map(accept)).await;
    assert_eq!(tally(&answers), Tally::from([(200, 1), (404, 19)]));
    assert_eq!(
        count(
            &pool,
            "select count(*) from sessions s join users u on u.id = s.user_id where u.email like 'ravi%'"
        )
        .await,
        1
    );
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a18_a_refresh_token_is_used_by_one(pool: PgPool) {
    let open = open(&pool).await;
    let email = email(&open.owner().await).await;
    let (_, begun) =
        open.nobody().post("/api/auth/login", &json!({"email": email, "password": PASSWORD})).await;
    let body = json!({"refreshToken": begun["data"]["refreshToken"]});
    let nobody = open.nobody();
    let answers = join_all((0..AT_ONCE).map(|_| nobody.post("/api/auth/refresh", &body))).await;
    assert_eq!(tally(&answers), Tally::from([(200, 1), (401, AT_ONCE - 1)]));
    // Somebody has stolen it, and nobody can tell who: the session is over, with whatever it was given last.
    let (_, next) = answers.iter().find(|(status, _)| *status == 200).unwrap();
    let client = open.bearing(next["data"]["token"].as_str().unwrap());
    assert_eq!(client.get("/api/auth/me").await.0, 401);
}

/// As many guesses as are taken one after the other, not one more for being asked at once.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a18_guesses_at_a_password_are_counted_at_once(pool: PgPool) {
    let open = open(&pool).await;
    let owner = open.owner().await;
    let email = email(&owner).await;
    let nobody = open.nobody();
    let guess = |n: usize| {
        let password = format!("a wrong guess {n}");
        let (nobody, body) = (nobody.clone(), json!({"email": email, "password": password}));
        async move { nobody.post("/api/auth/login", &body).await }
    };
    let answers = join_all((0..40).map(guess)).await;
    let tally = tally(&answers);
    // Five, and those that are being looked at when the fifth is known to be wrong.
    assert!(tally.get(&401).is_some_and(|taken| (5..=12).contains(taken)), "{tally:?}");
    assert_eq!(tally.values().sum::<usize>(), tally[&401] + tally[&429], "{tally:?}");
    let right = nobody.post("/api/auth/login", &json!({"email": email, "password": PASSWORD})).await;
    assert_eq!(right.0, 429, "after them a right one is none");

    let change = |n: usize| {
        let (owner, body) = (owner.clone(), json!({"password": format!("a wrong guess {n}")}));
        async move { owner.post("/api/auth/second-factor", &body).await }
    };
    let answers = join_all((0..40).map(change)).await;
    let tally = self::tally(&answers);
    assert!(tally.get(&422).is_some_and(|taken| (5..=12).contains(taken)), "{tally:?}");
    assert_eq!(tally.values().sum::<usize>(), tally[&422] + tally[&429], "{tally:?}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a18_a_request_with_a_key_is_done_once(pool: PgPool) {
    let open = open(&pool).await;
    let owner = open.owner().await;
    let post = |_| {
        let request = owner.request(Method::POST, "/api/contacts").header("idempotency-key", "one");
        owner.send(request.json(&json!({"name": "Ann", "phone": "+23052345678"})))
    };
    let answers = join_all((0..AT_ONCE).map(post)).await;
    let tally = tally(&answers);
    assert!(tally.keys().all(|status| [201, 409].contains(status)) && tally.contains_key(&201), "{tally:?}");
    open.engine.store.chain_audit_logs().await.unwrap();
    assert_eq!(count(&pool, "select count(*) from audit_log where action = 'contact.create'").await, 1);

    // A business key is one message, without any key of the request.
    let body =
        json!({"to": "+23052345678", "message": "m", "businessKey": "due:1", "scheduledAt": in_two_days()});
    let answers = join_all((0..AT_ONCE).map(|_| owner.post("/api/communication/sms/send", &body))).await;
    let ids: std::collections::BTreeSet<&str> =
        answers.iter().filter_map(|(_, answer)| answer["data"]["messageId"].as_str()).collect();
    assert_eq!((ids.len(), count(&pool, "select count(*) from recipients").await), (1, 1), "{answers:?}");
}

/// A campaign to ten people, which two pairs of eyes have to see.
async fn campaign(open: &Open, owner: &Client) -> String {
    let (store, ids) = (&open.engine.store, &open.engine.ids);
    let tenant = store.tenant("acme").await.unwrap().id;
    let source = serde_json::from_value(json!({"channel": "sms", "text": "Due"})).unwrap();
    let head =
        TemplateHead { slug: "due", channel: Channel::Sms, class: MessageClass::Obligation, name: "Due" };
    store.publish_template(ids, tenant, &head, "en", &publish(&source).unwrap()).await.unwrap();
    let list = (0..10).fold("phone\n".to_owned(), |list, n| format!("{list}+2305234567{n}\n"));
    let (_, uploaded) = crate::uploads::upload(owner, "a.csv", &list, &json!({})).await;
    crate::uploads::drain(open).await;
    let body = json!({"name": "Due", "type": "sms", "uploadId": uploaded["data"]["uploadId"], "templates": {"sms": "due"}});
    let (status, made) = owner.post("/api/campaigns", &body).await;
    assert_eq!(status, 201, "{made}");
    made["data"]["campaigns"][0]["id"].as_str().unwrap().to_owned()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a18_a_campaign_is_approved_launched_and_stopped_once(pool: PgPool) {
    let open = open(&pool).await;
    let (owner, second) = (open.owner().await, open.owner().await);
    let (status, rule) = owner.put("/api/settings/campaigns", &json!({"reviewAbove": 1})).await;
    assert_eq!(status, 200, "{rule}");
    let id = campaign(&open, &owner).await;
    let path = format!("/api/campaigns/{id}");
    let at_once = async |client: &Client, path: String, body: Value| {
        let post = !path.ends_with("status");
        let ask = |_| {
            let request = client.request(if post { Method::POST } else { Method::PUT }, &path);
            client.send(request.json(&body))
        };
        join_all((0..AT_ONCE).map(ask)).await
    };
    let submitted = at_once(&owner, format!("{path}/submit"), json!({})).await;
    assert_eq!(tally(&submitted).get(&200), Some(&1), "{submitted:?}");
    let own = at_once(&owner, format!("{path}/approve"), json!({})).await;
    assert!(!tally(&own).contains_key(&200), "nobody approves what they wrote: {:?}", own[0]);
    let approved = at_once(&second, format!("{path}/approve"), json!({})).await;
    assert_eq!(tally(&approved).get(&200), Some(&1), "{approved:?}");
    assert_eq!(count(&pool, "select count(*) from campaign_reviews where action = 'approved'").await, 1);

    // Pause and resume from all sides: whatever is answered last is so, and nothing is torn.
    let status = |n: usize| {
        let status = if n.is_multiple_of(2) { "paused" } else { "active" };
        let (owner, path) = (owner.clone(), format!("{path}/status"));
        async move { owner.put(&path, &json!({"status": status})).await }
    };
    let flipped = join_all((0..AT_ONCE).map(status)).await;
    let tally_of = tally(&flipped);
    assert!(tally_of.keys().all(|status| [200, 409].contains(status)), "{tally_of:?}");
    let stopped = at_once(&owner, format!("{path}/status"), json!({"status": "stopped"})).await;
    assert!(tally(&stopped).contains_key(&200), "{stopped:?}");
    let resumed = at_once(&owner, format!("{path}/status"), json!({"status": "active"})).await;
    assert!(!tally(&resumed).contains_key(&200), "what was stopped stays so: {:?}", resumed[0]);
    let (_, shown) = owner.get(&path).await;
    assert_eq!(shown["data"]["status"], "stopped", "{shown}");
}

/// What is unique is made once.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a18_what_is_unique_is_made_once(pool: PgPool) {
    let open = open(&pool).await;
    let owner = open.owner().await;
    for (path, body) in [
        ("/api/roles", json!({"slug": "mine", "name": "Mine", "permissions": []})),
        ("/api/users", json!({"email": "u@acme.example", "firstName": "U", "role": "auditor"})),
        ("/api/contacts", json!({"email": "ann@acme.example", "name": "Ann"})),
        ("/api/suppressions", json!({"address": "no@acme.example"})),
        ("/api/accounts", json!({"slug": "mine", "provider": "in_app"})),
    ] {
        let answers = join_all((0..AT_ONCE).map(|_| owner.post(path, &body))).await;
        let tally = tally(&answers);
        // An address is put on the list, and is on it already, by the same answer.
        let once = tally.get(&201) == Some(&1) || path == "/api/suppressions";
        assert!(once, "{path}: {tally:?} {:?}", answers[0]);
    }
    assert_eq!(count(&pool, "select count(*) from suppressions").await, 1);
    // The last owner stays, also when two of them put each other out at the same moment.
    let second = open.owner().await;
    let me = |client: Client| async move {
        client.get("/api/auth/me").await.1["data"]["id"].as_str().unwrap().to_owned()
    };
    let (one, two) = (me(owner.clone()).await, me(second.clone()).await);
    let block = json!({"firstName": "A", "role": "owner", "rowScope": "all", "blocked": true});
    let paths = [format!("/api/users/{two}"), format!("/api/users/{one}")];
    let (first, other) = tokio::join!(owner.put(&paths[0], &block), second.put(&paths[1], &block));
    assert!(first.0 < 500 && other.0 < 500, "{first:?} {other:?}");
    assert!(
        count(&pool, "select count(*) from users u join tenants t on t.id = u.tenant_id where t.slug = 'acme' and u.status = 'active' and u.email like 'owner%'").await >= 1
    );
}
