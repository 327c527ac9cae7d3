//! Links and pictures of messages: where they lead, and who is counted.

use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    store::templates::TemplateHead,
};
use fanfare_templates::publish;
use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;

use super::stage::{BASE, BROWSER, Stage, way_out};

/// A campaign to Ann with two links and a picture, sent: its id and the letter.
async fn offer(stage: &Stage) -> (String, String) {
    let html =
        "<html><body><p>Hello {{name}}</p><a href=\"https://pay.example/{{policy}}?a=1&amp;b=2\">Pay</a>
                <a href=\"https://www.example/about\">About</a></body></html>";
    stage.template("offer", MessageClass::Marketing, html).await;
    let body = json!({"name": "Offer", "type": "email", "templates": {"email": "offer"}, "trackLinks": true, "trackOpens": true});
    let id = stage.campaign(body).await;
    let (_, made) = stage.owner.get(&format!("/api/campaigns/{id}")).await;
    let made = &made["data"];
    assert_eq!((&made["trackLinks"], &made["trackOpens"]), (&json!(true), &json!(true)), "{made}");
    let (status, check) = stage.owner.get(&format!("/api/campaigns/{id}/preflight")).await;
    assert_eq!((status, &check["data"]["sendable"]), (200, &json!(1)), "{check}");
    let mail = stage.launched(&id).await;
    way_out(&mail);
    (id, mail["htmlContent"].as_str().unwrap().to_owned())
}

/// What stands in the letter's attributes of this name.
fn attributes<'h>(html: &'h str, name: &str) -> Vec<&'h str> {
    let begin = format!("{name}=\"");
    html.split(begin.as_str()).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Status, and where somebody is led.
async fn follow(stage: &Stage, url: &str, agent: &str, method: Method) -> (u16, Option<String>) {
    let answer = stage.visit_as(agent, method, url).send().await.unwrap();
    let led = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
    (answer.status().as_u16(), led)
}

/// Visits are judged in the order in which they came: once this person's look is counted, so are those before it.
async fn look(stage: &Stage, picture: &str) {
    let answer = stage.visit(Method::GET, picture).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "image/gif");
    assert!(answer.bytes().await.unwrap().starts_with(b"GIF89a"));
    stage.until("select count(*) from events where kind = 'opened'", 1).await;
}

async fn events(stage: &Stage) -> Vec<(String, Option<String>)> {
    let told = sqlx::query_as("select kind, detail from events order by kind, detail");
    told.fetch_all(&stage.pool).await.unwrap()
}

const FORGET: &str = "delete from events where $1::uuid is not null";
const READ_LATER: &str = "update results set at = now() - interval '1 minute' where $1::uuid is not null";

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a13_clicks_lead_where_the_letter_said_and_people_are_counted(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let (id, html) = offer(&stage).await;
    let (links, picture) = (attributes(&html, "href"), attributes(&html, "src")[0]);
    assert!(links.iter().all(|link| link.starts_with(&format!("{BASE}/c/"))), "{html}");
    assert!(picture.starts_with(&format!("{BASE}/o/")) && picture.ends_with(".gif"), "{html}");
    stage.execute(READ_LATER).await;

    // Nobody is led to where the request says.
    let pay = Some("https://pay.example/P%201?a=1&b=2".to_owned());
    for more in ["", "?url=https://evil.example", "?to=//evil.example&next=https:evil.example"] {
        let url = format!("{}{more}", links[0]);
        assert_eq!(follow(&stage, &url, BROWSER, Method::GET).await, (302, pay.clone()));
    }
    for broken in ["/https:%2F%2Fevil.example", "/0123456789abcdef", "/", "/..%2F..%2Fx"] {
        let base = links[0].rsplit_once('/').unwrap().0;
        let url = format!("{base}{broken}");
        assert_eq!(follow(&stage, &url, BROWSER, Method::GET).await, (404, None), "{broken}");
    }
    look(&stage, picture).await;
    let mut told = events(&stage).await;
    // Clicks of one second are one.
    told.dedup();
    let clicked = ("clicked".to_owned(), Some("https://pay.example/P%201".to_owned()));
    assert_eq!(told, [clicked, ("opened".to_owned(), None)]);
    while stage.open.engine.store.fold_notes().await.unwrap() > 0 {}
    let (_, told) = stage.owner.get(&format!("/api/campaigns/{id}/analytics")).await;
    let metrics = &told["data"]["metrics"];
    assert_eq!((&metrics["opened"], &metrics["clicked"]), (&json!(1), &json!(1)), "{told}");
}

/// A machine's visit proves that the message arrived, and nothing more.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn machines_are_not_taken_for_people(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let (_, html) = offer(&stage).await;
    let (links, picture) = (attributes(&html, "href"), attributes(&html, "src")[0]);
    let by = |machine: &str| ("delivered".to_owned(), Some(format!("by a machine: {machine}")));
    // Nobody has read what was taken just now, however long this machine needed since.
    stage.execute("update results set at = now() + interval '1 minute' where $1::uuid is not null").await;
    follow(&stage, links[0], BROWSER, Method::GET).await;
    stage.until("select count(*) from events", 1).await;
    assert_eq!(events(&stage).await, [by("too_soon")]);

    stage.execute(READ_LATER).await;
    for (machine, url, agent, method) in [
        ("mail_proxy", links[0], "Mozilla/5.0", Method::GET),
        ("head", links[0], BROWSER, Method::HEAD),
        ("scanner", links[1], "Mozilla/5.0 (compatible; BarracudaCentral/1.0)", Method::GET),
        ("mail_proxy", picture, "Mozilla/5.0 (via ggpht.com GoogleImageProxy)", Method::GET),
    ] {
        stage.execute(FORGET).await;
        let (status, _) = follow(&stage, url, agent, method).await;
        assert!(status < 400, "{url}: {status}");
        stage.until("select count(*) from events", 1).await;
        assert_eq!(events(&stage).await, [by(machine)], "{url}");
    }

    // Two links at once: a machine that says it is a browser.
    stage.execute(FORGET).await;
    let together = tokio::join!(
        follow(&stage, links[0], BROWSER, Method::GET),
        follow(&stage, links[1], BROWSER, Method::GET)
    );
    assert_eq!((together.0.0, together.1.0), (302, 302));
    look(&stage, picture).await;
    assert_eq!(events(&stage).await, [by("too_many"), ("opened".to_owned(), None)]);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a13_values_lead_to_the_web_only(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    stage.execute("update contacts set attributes = '{\"policy\": \"x\", \"site\": \"javascript:alert(1)\"}' where id = $1::uuid").await;
    stage.template("offer", MessageClass::Marketing, "<p>{{name}}</p><a href=\"{{site}}\">x</a>").await;
    let body = json!({"name": "Offer", "type": "email", "templates": {"email": "offer"}, "trackLinks": true});
    let mail = stage.launched(&stage.campaign(body).await).await;
    let link = attributes(mail["htmlContent"].as_str().unwrap(), "href")[0];
    let led = async |site: &str| {
        let values = json!([{"name": "Ann", "site": site}]).to_string();
        sqlx::query("update recipients set variables = $1").bind(values).execute(&stage.pool).await.unwrap();
        follow(&stage, link, BROWSER, Method::GET).await
    };
    for site in [
        "javascript:alert(1)",
        "//evil.example",
        "https:evil.example",
        "https:\\\\evil.example",
        "/\\evil.example",
        "https://good.example\\@evil.example",
        "https://good.example@evil.example",
        "https://:x@evil.example",
    ] {
        assert_eq!(led(site).await, (404, None), "{site}");
    }
    // A name in other letters is shown for what it is.
    for (site, to) in [
        ("https://good.example", "https://good.example/"),
        ("https://g\u{43e}\u{43e}d.example", "https://xn--gd-fmca.example/"),
    ] {
        assert_eq!(led(site).await, (302, Some(to.to_owned())), "{site}");
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_sms_has_short_links_where_its_author_asked(pool: PgPool) {
    let stage = Stage::new(&pool).await;
    let source = json!({"channel": "sms", "text": "Pay {{short_link payment}} or see https://acme.example"});
    let published = publish(&serde_json::from_value(source).unwrap()).unwrap();
    let head =
        TemplateHead { slug: "pay", channel: Channel::Sms, class: MessageClass::Obligation, name: "pay" };
    let (store, ids) = (&stage.open.engine.store, &stage.open.engine.ids);
    store.publish_template(ids, stage.tenant().await, &head, "en", &published).await.unwrap();
    stage
        .execute(
            "update contacts set attributes = '{\"payment\": \"https://pay.example/1\"}' where id = $1::uuid",
        )
        .await;
    let body = json!({"name": "Pay", "type": "sms", "templates": {"sms": "pay"}, "trackLinks": true});
    let sms = stage.launched(&stage.campaign(body).await).await;
    let words = sms["content"].as_str().unwrap();
    let link = words.strip_prefix("Pay ").unwrap().split(' ').next().unwrap();
    assert!(link.starts_with(&format!("{BASE}/s/")) && words.ends_with("https://acme.example"), "{words}");
    assert!(link.len() < BASE.len() + 20, "{link}");
    let led = follow(&stage, link, BROWSER, Method::GET).await;
    assert_eq!(led, (302, Some("https://pay.example/1".to_owned())));
    let (code, last) = link.split_at(link.len() - 1);
    assert_eq!(last, "A");
    let usual = stage.page("/u/x").await;
    for wrong in [format!("{code}B"), code.to_owned(), format!("{code}AA"), format!("{BASE}/s/AQE")] {
        assert_eq!(stage.page(&wrong).await, usual, "{wrong}");
    }
}
