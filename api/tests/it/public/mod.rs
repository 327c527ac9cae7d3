//! What recipients do without signing in: over the links of mail that was really sent, to a provider that keeps what it gets.

pub(crate) mod stage;
mod visits;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fanfare_engine::domain::channel::MessageClass;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

pub(crate) use self::stage::{ANN, BASE, Stage, signing_key};
use self::stage::{text, way_out};
use crate::open::Open;

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn marketing_bears_a_way_out_and_bills_do_not(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let first = stage.marketing().await;
    let mail = stage.sent("news").await;
    assert!(mail["htmlContent"].as_str().unwrap().contains(&way_out(&mail)), "{mail}");
    assert_ne!(way_out(&mail), first, "each message has its own");
    assert!(!first.contains("ann") && !first.contains("example.com/u/YW5u"));
    for (slug, class) in [("bill", MessageClass::Obligation), ("code", MessageClass::Transactional)] {
        stage.template(slug, class, "<p>Hello {{name}}</p>").await;
        let mail = stage.sent(slug).await;
        assert_eq!(mail["headers"]["List-Unsubscribe"], Value::Null, "{mail}");
        assert_eq!(mail["headers"]["List-Unsubscribe-Post"], Value::Null);
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn one_click_stops_the_next_message_and_a_look_stops_nothing(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let url = stage.marketing().await;
    stage.template("bill", MessageClass::Obligation, "<p>Hello {{name}}</p>").await;
    for method in [Method::GET, Method::HEAD, Method::GET] {
        assert_eq!(text(stage.visit(method, &url)).await.0, 200);
    }
    assert_eq!(stage.count("select count(*) from suppressions").await, 0);
    stage.sent("news").await;

    for _ in 0..3 {
        // As a mail provider does it: no cookie, nothing but this.
        let (status, page) = stage.submit(&url, "List-Unsubscribe=One-Click").await;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("You are unsubscribed from Acme") && page.contains("a…@e…"), "{page}");
    }
    let (status, problem) = stage.send("news").await;
    assert_eq!((status, &problem["reason"]), (422, &json!("unsubscribed")), "{problem}");
    stage.sent("bill").await;
    assert_eq!(stage.count("select count(*) from events where kind = 'unsubscribed'").await, 1);
    let said: (String, String, String) = sqlx::query_as(
        "select s.scope, s.source, c.source from suppressions s, consents c where not c.granted and c.channel = 'email'",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    assert_eq!(said, ("marketing".to_owned(), "one_click".to_owned(), "one_click".to_owned()));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_form_of_several_parts_and_the_button_unsubscribe_too(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let url = stage.marketing().await;
    let parts =
        "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n";
    let request = stage.visit(Method::POST, &url).header("content-type", "multipart/form-data; boundary=x");
    assert_eq!(text(request.body(parts)).await.0, 200);
    assert_eq!(stage.count("select count(*) from suppressions where source = 'one_click'").await, 1);
    stage.execute("delete from suppressions where $1::uuid is not null").await;
    assert_eq!(stage.submit(&url, "").await.0, 200);
    assert_eq!(stage.count("select count(*) from suppressions where source = 'unsubscribe_page'").await, 1);
    let huge = "x".repeat(1 << 20);
    assert_eq!(stage.submit(&url, &huge).await.0, 200, "whoever asks is let go");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_link_that_is_none_gets_one_answer(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let url = stage.marketing().await;
    let token = url.rsplit('/').next().unwrap();
    let (status, usual) = stage.page("/u/x").await;
    assert_eq!(status, 404);
    assert!(usual.contains("This link does not work"), "{usual}");
    let turned = format!("{}{}", &token[..50], if token.ends_with('A') { 'E' } else { 'A' });
    let cut = &token[..token.len() - 1];
    for path in [
        format!("/u/{turned}"),
        format!("/u/{cut}"),
        format!("/u/{token}="),
        format!("/u/{}", "A".repeat(51)),
        format!("/u/{}", "A".repeat(5_000)),
        "/u/%00".to_owned(),
        "/u/%FF".to_owned(),
        format!("/p/{token}"),
        format!("/o/{token}.gif"),
        format!("/c/{token}/0123456789abcdef"),
    ] {
        assert_eq!(stage.page(&path).await, (404, usual.clone()), "{path}");
    }
    assert_eq!(stage.submit(&format!("/p/{token}"), "none=1").await, (404, usual.clone()));
    assert_eq!(
        stage.submit(&format!("/u/{turned}"), "List-Unsubscribe=One-Click").await,
        (404, usual.clone())
    );
    assert_eq!(stage.count("select count(*) from suppressions").await, 0);
    // A good token whose message is gone says no more than a bad one.
    stage.execute("delete from recipients where $1::uuid is not null").await;
    assert_eq!(stage.page(&url).await, (404, usual));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn pages_are_safe_and_speak_the_persons_language(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let url = stage.marketing().await;
    stage.execute("update tenants set name = '<script>alert(1)</script>\" onx=\"' where $1::uuid is not null and slug = 'acme'").await;
    let answer = stage.visit(Method::GET, &url).send().await.unwrap();
    let header = |name: &str| {
        answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let policy = header("content-security-policy");
    for part in [
        "default-src 'none'",
        "style-src 'sha256-",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"));
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert!(header("x-robots-tag").contains("noindex"));
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("set-cookie"), "");
    let page = answer.text().await.unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script"), "{page}");
    assert!(page.contains("lang=\"en\"") && page.contains("<form method=\"post\">"), "{page}");
    // The style is the one that the policy names.
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let hash = BASE64_STANDARD.encode(<sha2::Sha256 as sha2::Digest>::digest(style));
    assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");

    stage.execute("update contacts set locale = 'fr-MU' where id = $1::uuid").await;
    let (_, page) = stage.page(&url).await;
    assert!(page.contains("lang=\"fr\"") && page.contains("Me désabonner"), "{page}");
    let french = stage.visit(Method::GET, "/u/x").header("accept-language", "fr-FR,en;q=0.5");
    assert!(text(french).await.1.contains("Ce lien ne fonctionne pas"));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_person_chooses_their_channels(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    stage
        .template(
            "news",
            MessageClass::Marketing,
            "<p>{{name}}</p><a href=\"{{preferences_url}}\">Choose</a>",
        )
        .await;
    let mail = stage.sent("news").await;
    let html = mail["htmlContent"].as_str().unwrap();
    let url = html.split("href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let on = |page: &str| -> Vec<String> {
        let boxes = page.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap());
        let ticked = boxes.filter(|tag| tag.contains(" checked"));
        ticked
            .map(|tag| tag.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
            .collect()
    };
    let (status, page) = stage.page(&url).await;
    assert_eq!(
        (status, on(&page)),
        (200, vec!["email".to_owned(), "sms".to_owned(), "whatsapp".to_owned()]),
        "{page}"
    );
    assert!(!page.contains("ann@example.com") && !page.contains("52345678"), "addresses are masked: {page}");

    let (status, page) = stage.submit(&url, "channel=sms&save=1").await;
    assert_eq!((status, on(&page)), (200, vec!["sms".to_owned()]), "{page}");
    assert_eq!(stage.send("news").await.1["reason"], "unsubscribed");
    assert_eq!(stage.count("select count(*) from events where kind = 'unsubscribed'").await, 1);

    let (status, page) = stage.submit(&url, "channel=email&channel=sms").await;
    assert_eq!((status, on(&page)), (400, vec!["sms".to_owned()]), "what is not the form changes nothing");

    let (_, page) = stage.submit(&url, "channel=email&channel=sms&save=1").await;
    assert_eq!(on(&page), ["email", "sms"], "{page}");
    stage.sent("news").await;

    let (_, page) = stage.submit(&url, "channel=email&none=1").await;
    assert!(on(&page).is_empty(), "{page}");
    assert_eq!(
        stage
            .count("select count(*) from suppressions where reason = 'unsubscribed' and scope = 'marketing'")
            .await,
        3
    );
    assert_eq!(stage.count("select count(*) from consents where not granted").await, 3);

    // What can't arrive is not promised.
    stage.execute("insert into suppressions (tenant_id, channel, address, scope, reason, source)
                   select tenant_id, 'email', email, 'all', 'bounced', 'test' from contacts where id = $1::uuid").await;
    let (_, page) = stage.submit(&url, "channel=email&channel=whatsapp&save=1").await;
    assert_eq!(on(&page), ["whatsapp"]);
    assert!(page.contains("disabled") && page.contains("We cannot write to you there."), "{page}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn marketing_goes_over_channels_that_a_person_named(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let url = stage.marketing().await;
    stage.template("bill", MessageClass::Obligation, "<p>Hello {{name}}</p>").await;
    let contact = fanfare_engine::id::ContactId::from_uuid(ANN.parse().unwrap());
    let path = format!("/api/contacts/{contact}/preferences");
    let put = |channels: Value| {
        let body = json!({"channels": channels});
        let (owner, path) = (stage.owner.clone(), path.clone());
        async move { owner.put(&path, &body).await.0 }
    };
    assert_eq!(put(json!(["sms"])).await, 200);
    let (status, problem) = stage.send("news").await;
    assert_eq!((status, &problem["reason"]), (422, &json!("not_preferred")), "{problem}");
    stage.sent("bill").await;
    // Nothing was said about consent.
    let (_, consents) = stage.owner.get(&format!("/api/contacts/{contact}/consents")).await;
    assert_eq!(consents["data"]["consents"], json!([]));
    assert_eq!(put(json!(["whatsapp", "email"])).await, 200);
    stage.sent("news").await;
    assert_eq!(put(json!(["sms"])).await, 200);
    // The page is the person's own word, and names the channel.
    let (_, page) = stage.page(&url).await;
    let choose = page.split("<a href=\"").nth(1).unwrap().split('"').next().unwrap();
    stage.submit(choose, "channel=email&channel=sms&save=1").await;
    stage.sent("news").await;
    assert_eq!(put(json!([])).await, 200);
    stage.sent("news").await;
    assert_eq!(stage.count("select count(*) from consents where wanted is not null").await, 0);
    assert_eq!(put(json!(["in_app"])).await, 422);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn visitors_are_limited_by_themselves(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__PUBLIC__PER_SECOND", "3")]).await;
    let mut limited = 0;
    for _ in 0..20 {
        limited += usize::from(open.text("/u/x").await.0 == 429);
    }
    assert!(limited >= 10, "{limited}");
    assert_eq!(open.nobody().get("/livez").await.0, 200);
    let body = json!({"name": "N", "type": "sms", "templates": {"sms": "x"}, "trackLinks": true});
    let (status, problem) = open.owner().await.post("/api/campaigns", &body).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("trackLinks")), "{problem}");
}
