//! A14 tokens of recipients' links, A15 their pages.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use fanfare_engine::{
    domain::token::{PublicLinks, Purpose},
    id::{CampaignId, Ids, MessageId},
};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;

use crate::public::{ANN, BASE, Stage, signing_key};

const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

fn links(key: u8) -> PublicLinks {
    PublicLinks::new(BASE, &signing_key(key)).unwrap()
}

fn token(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

/// Everything that somebody might make of a token who has one, but not the key: another recipient's, another campaign's, one for
/// another purpose, and guesses at the signature.
fn forged(own: &str) -> Vec<String> {
    let message = links(7).read(Purpose::Unsubscribe, own).unwrap();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(own).unwrap();
    let with = |at: usize, by: u8| {
        let mut bytes = bytes.clone();
        bytes[at] ^= by;
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    };
    let mut forged: Vec<String> = (0..bytes.len()).flat_map(|at| [with(at, 1), with(at, 0x80)]).collect();
    forged.extend((1..=u8::MAX).map(|by| with(bytes.len() - 1, by)));
    for purpose in [Purpose::Preferences, Purpose::Open, Purpose::Click] {
        forged.push(token(&links(7).url(purpose, message).unwrap()).to_owned());
    }
    for key in [0, 8, u8::MAX] {
        forged.push(token(&links(key).url(Purpose::Unsubscribe, message).unwrap()).to_owned());
    }
    forged
}

/// A link says for whom it is without naming them, unsubscribes them alone and from its own tenant alone, and nobody makes
/// one who has seen another.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a14_an_unsubscribe_token_is_neither_forged_nor_guessed(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let url = stage.marketing().await;
    let contact = json!({"email": "ann@example.com", "name": "Ann"});
    let (status, made) = stage.open.stranger().await.post("/api/contacts", &contact).await;
    assert_eq!(status, 201, "{made}");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token(&url)).unwrap();
    let person: uuid::Uuid = ANN.parse().unwrap();
    for named in [b"ann".as_slice(), b"ANN", b"52345678", person.as_bytes()] {
        assert!(!bytes.windows(named.len()).any(|part| part == named), "{named:?} in {bytes:?}");
    }
    let usual = stage.page("/u/x").await;
    assert_eq!(usual.0, 404);
    for forged in forged(token(&url)) {
        assert_eq!(stage.submit(&format!("/u/{forged}"), ONE_CLICK).await, usual, "{forged}");
    }
    assert_eq!(stage.count("select count(*) from suppressions").await, 0);

    assert_eq!(stage.submit(&url, ONE_CLICK).await.0, 200);
    let stopped: Vec<(String, String)> =
        sqlx::query_as("select t.slug, s.address from suppressions s join tenants t on t.id = s.tenant_id")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(stopped, [("acme".to_owned(), "ann@example.com".to_owned())]);
}

/// Guesses at the signature of somebody's link, of a long one and of a short one.
#[test]
fn a14_a_million_guesses_find_no_token() {
    const GUESSES: i32 = 1_000_000;
    let ids = Ids::from_seed(14);
    let campaign: CampaignId = ids.next(Timestamp::UNIX_EPOCH);
    let message = |n| MessageId { campaign, n };
    let links = links(7);
    let sound =
        BASE64_URL_SAFE_NO_PAD.decode(token(&links.url(Purpose::Unsubscribe, message(1)).unwrap())).unwrap();
    let short = BASE64_URL_SAFE_NO_PAD.decode(token(&links.short_url(7, 1).unwrap())).unwrap();
    std::thread::scope(|threads| {
        for half in [0, 1] {
            let (links, sound, short, ids) = (&links, &sound, &short, &ids);
            threads.spawn(move || {
                let guess = |bytes: &[u8], tag: usize| {
                    let (said, _) = bytes.split_at(bytes.len() - tag);
                    BASE64_URL_SAFE_NO_PAD.encode([said, &ids.random_bytes::<16>()[..tag]].concat())
                };
                for _ in (half..GUESSES).step_by(2) {
                    assert_eq!(links.read(Purpose::Unsubscribe, &guess(sound, 16)), None);
                    assert!(links.read_short(&guess(short, 6)).is_none());
                }
            });
        }
    });
    assert_eq!(
        links.read(Purpose::Unsubscribe, &BASE64_URL_SAFE_NO_PAD.encode(&sound)),
        Some(message(1)),
        "what was guessed at is one"
    );
}

/// What people wrote is text on every page for recipients, and no page runs or loads anything.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a15_what_people_wrote_is_text_on_every_page(pool: PgPool) {
    const MARKUP: &str = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'";
    let stage = Stage::new(&pool).await;
    let way_out = stage.marketing().await;
    sqlx::query("update tenants set name = $1 where slug = 'acme'")
        .bind(MARKUP)
        .execute(&pool)
        .await
        .unwrap();
    let message = links(7).read(Purpose::Unsubscribe, token(&way_out)).unwrap();
    let choice = links(7).url(Purpose::Preferences, message).unwrap();
    for (method, url, form, status) in [
        (Method::GET, way_out.as_str(), "", 200),
        (Method::POST, &way_out, ONE_CLICK, 200),
        (Method::GET, &choice, "", 200),
        (Method::POST, &choice, "channel=email&save=1", 200),
        (Method::POST, &choice, "channel=<script>&save=1", 400),
        (Method::GET, "/u/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "", 404),
    ] {
        let place = format!("{method} {url} {form}");
        let request = stage.visit(method, url).header("accept-language", MARKUP);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{place}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{place}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{place}: {policy}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{place}");
        let page = answer.text().await.unwrap();
        assert!(!page.contains("<script") && !page.contains("<img"), "{place}: {page}");
        let named = page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&lt;img");
        assert_eq!(named, status != 404, "{place}: {page}");
    }
}
