//! Health and webhooks, over HTTP.

use fanfare::{assemble, service::Service};
use fanfare_engine::{
    config::{Config, Sources, load},
    engine::Engine,
    store::Store,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::support::{House, url_of};

const CONFIG: &str = r#"
[[tenants]]
slug = "acme"
name = "Acme"
region = "MU"
locale = "en"
time_zone = "Indian/Mauritius"
currency = "MUR"

[[accounts]]
provider = "brevo_sms"
slug = "sms"
api_key = "k"
sender = "Acme"
webhook_auth = { bearer = { token = "hook-token" } }

[[accounts]]
provider = "whatsapp_cloud"
slug = "whatsapp"
phone_number_id = "106540352242922"
access_token = "t"
app_secret = "app_secret"
verify_token = "verify"
"#;

/// A service on a port of its own; it ends with the test's runtime.
struct Open {
    base: String,
    engine: Engine,
    client: reqwest::Client,
    _stop: tokio_util::sync::DropGuard,
    _tasks: tokio::task::JoinSet<()>,
}

fn config(pool: &PgPool) -> Config {
    let house = House::empty();
    let variables = vec![
        ("DATABASE_URL".to_owned(), url_of(pool)),
        ("REDIS_URL".to_owned(), std::env::var("REDIS_URL").unwrap()),
        (
            "FANFARE__REDIS__PREFIX".to_owned(),
            format!("test-{}", pool.connect_options().get_database().unwrap()),
        ),
    ];
    let file = Some(house.file("fanfare.toml", CONFIG).into());
    load(&Sources { file, variables, folder: house.folder.path().to_owned() }).unwrap().config
}

impl Open {
    async fn new(pool: &PgPool) -> Self {
        let engine =
            assemble::engine(&config(pool), Store::from_pool(pool.clone()), &assemble::Sources::default())
                .await
                .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (service, writer) = Service::new(&engine);
        let stop = CancellationToken::new();
        let (mut tasks, until) = (tokio::task::JoinSet::new(), stop.clone());
        tasks.spawn(async move { service.serve(writer, listener, until).await.unwrap() });
        Self { base, engine, client: client(), _stop: stop.drop_guard(), _tasks: tasks }
    }

    fn hook(&self, slug: &str) -> String {
        let account =
            self.engine.accounts.all().into_iter().find(|account| account.account.slug == slug).unwrap();
        format!("{}/hooks/{}", self.base, account.account.id)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

#[expect(clippy::disallowed_methods, reason = "a test speaks HTTP from outside")]
fn client() -> reqwest::Client {
    // Building a client needs a TLS provider, also where nothing is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn stored(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select coalesce(sum(webhooks), 0) from inbox").fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn health(pool: PgPool) {
    let open = Open::new(&pool).await;
    assert_eq!(open.get("/livez").await.0, 200);
    let (status, body) = open.get("/readyz").await;
    assert_eq!((status, body.contains(r#""redis":"answers""#)), (200, true), "{body}");
    let (status, body) = open.get("/metrics").await;
    assert_eq!((status, body.contains("fanfare_database_connections")), (200, true), "{body}");
    let (status, body) = open.get("/nothing").await;
    insta::assert_snapshot!(format!("{status} {body}"));

    sqlx::query("delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)")
        .execute(&pool)
        .await
        .unwrap();
    let (status, body) = open.get("/readyz").await;
    assert_eq!((status, body.contains("run `fanfare migrate`")), (503, true), "{body}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_webhook_is_stored_before_it_is_answered(pool: PgPool) {
    let open = Open::new(&pool).await;
    let body = r#"{"entry":[]}"#;
    let post = |url: String, proof: (&'static str, String)| {
        open.client.post(url).header(proof.0, proof.1).body(body).send()
    };

    let right = ("x-hub-signature-256", fanfare_sandbox::signature("app_secret", body.as_bytes()));
    assert_eq!(post(open.hook("whatsapp"), right).await.unwrap().status(), 200);
    assert_eq!(stored(&pool).await, 1);
    assert_eq!(
        post(open.hook("sms"), ("authorization", "Bearer hook-token".to_owned())).await.unwrap().status(),
        200
    );
    assert_eq!(stored(&pool).await, 2);
    let kept: Vec<u8> =
        sqlx::query_scalar("select bodies[1] from inbox limit 1").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, body.as_bytes());

    let forged = ("x-hub-signature-256", fanfare_sandbox::signature("another", body.as_bytes()));
    let answer = post(open.hook("whatsapp"), forged).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    insta::assert_snapshot!(format!("{} {}", answer.status().as_u16(), answer.text().await.unwrap()));
    assert_eq!(
        post(open.hook("sms"), ("authorization", "Bearer guess".to_owned())).await.unwrap().status(),
        401
    );
    assert_eq!(
        post(format!("{}/hooks/acct_0", open.base), ("authorization", "x".to_owned()))
            .await
            .unwrap()
            .status(),
        404
    );
    assert_eq!(stored(&pool).await, 2);

    let large = open.client.post(open.hook("sms")).body(vec![b' '; (3 << 20) + 1]).send().await.unwrap();
    assert_eq!(large.status(), 413);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_provider_is_asked_to_come_again_while_the_database_is_away(pool: PgPool) {
    let open = Open::new(&pool).await;
    pool.close().await;
    let post = open.client.post(open.hook("sms")).header("authorization", "Bearer hook-token").body("{}");
    let answer = post.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (429, true));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_handshake_knows_its_token(pool: PgPool) {
    let open = Open::new(&pool).await;
    let ask = |token: &str| {
        format!("{}?hub.mode=subscribe&hub.challenge=42&hub.verify_token={token}", open.hook("whatsapp"))
    };
    let right = open.client.get(ask("verify")).send().await.unwrap();
    assert_eq!((right.status().as_u16(), right.text().await.unwrap()), (200, "42".to_owned()));
    assert_eq!(open.client.get(ask("guess")).send().await.unwrap().status(), 403);
}
