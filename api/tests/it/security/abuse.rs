//! A11 rate limits, A12 flows that cost somebody else something.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::open::{Client, Open, PASSWORD};

/// How many of so many requests at once were let through.
async fn let_through(client: &Client, requests: Vec<reqwest::RequestBuilder>) -> usize {
    let answers = join_all(requests.into_iter().map(|request| client.send(request))).await;
    answers.iter().filter(|(status, _)| *status != 429).count()
}

/// Nobody becomes somebody else by saying so.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a11_a_limit_is_of_the_peer_whatever_it_says(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__API__STRANGER_PER_SECOND", "10")]).await;
    let nobody = open.nobody();
    let body = json!({"refreshToken": "ffr_guess"});
    let paths = [
        "/api/auth/refresh",
        "/api/auth/refresh/",
        "/API/AUTH/REFRESH",
        "//api/auth/refresh",
        "/api/auth/refresh?x=1",
        "/api/auth/%72efresh",
        "/api/./auth/refresh",
    ];
    let requests = (0..120).map(|n| {
        let request = nobody.request(Method::POST, paths[n % paths.len()]).json(&body);
        let (name, value) = [
            ("x-forwarded-for", format!("198.51.100.{n}")),
            ("forwarded", format!("for=198.51.100.{n}")),
            ("x-real-ip", format!("198.51.100.{n}")),
            ("true-client-ip", format!("198.51.100.{n}")),
            ("x-originating-ip", format!("198.51.100.{n}")),
            ("authorization", format!("Bearer ffk_guess{n}")),
        ][n % 6]
            .clone();
        request.header(name, value)
    });
    let answers = join_all(requests.map(|request| nobody.send(request))).await;
    // What leads nowhere is told so, whoever asks: that costs nothing.
    let taken = answers.iter().filter(|(status, _)| ![404, 405, 429].contains(status)).count();
    assert!((1..=25).contains(&taken), "{taken} of a limit of ten a second");
}

/// More keys, more sessions and more routes are the same tenant.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a11_a_limit_is_of_the_tenant_with_all_its_keys(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__API__TENANT_PER_SECOND", "20")]).await;
    let owner = open.owner().await;
    let mut clients = vec![owner.clone()];
    for n in 0..5 {
        let (status, made) =
            owner.post("/api/keys", &json!({"name": format!("k{n}"), "scopes": ["*"]})).await;
        assert_eq!(status, 201, "{made}");
        clients.push(open.bearing(made["data"]["key"].as_str().unwrap()));
    }
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let paths = ["/api/users", "/api/roles", "/api/contacts", "/api/contacts/", "/api/nothing", "/api/keys"];
    let begun = std::time::Instant::now();
    let requests =
        (0..150).map(|n| clients[n % clients.len()].request(Method::GET, paths[n % paths.len()])).collect();
    let taken = let_through(&owner, requests).await;
    let allowed = 20 + 20 * usize::try_from(begun.elapsed().as_secs() + 1).unwrap();
    // Paths that lead nowhere are not counted, and cost nothing: a third of them.
    assert!(taken <= allowed + 50, "{taken} of {allowed}");
}

/// A list of a thousand is a request, and has a bound of its own.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a11_one_request_asks_for_so_much_and_no_more(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    for path in [
        "/api/contacts",
        "/api/messages",
        "/api/users",
        "/api/audit-log",
        "/api/notifications",
        "/api/suppressions",
        "/api/upload/history",
        "/api/campaigns",
        "/api/templates",
    ] {
        for query in [
            "limit=0",
            "limit=501",
            "limit=4294967295",
            "limit=4294967296",
            "limit=-1",
            "page=0",
            "page=4294967295&limit=500",
        ] {
            let (status, answer) = owner.get(&format!("{path}?{query}")).await;
            assert_eq!(status, 422, "{path}?{query}: {answer}");
        }
    }
    let users: Vec<Value> = (0..101).map(|_| json!("usr_x")).collect();
    let broadcast = json!({"title": "T", "message": "M", "audience": {"users": users}});
    assert_eq!(owner.post("/api/notifications/broadcast", &broadcast).await.0, 422);
    let deep = format!("{{\"name\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let request =
        owner.request(Method::POST, "/api/contacts").header("content-type", "application/json").body(deep);
    assert!([400, 422].contains(&owner.send(request).await.0), "nesting has an end");
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(9 << 20));
    let request =
        owner.request(Method::POST, "/api/contacts").header("content-type", "application/json").body(large);
    assert_eq!(owner.send(request).await.0, 413);
}

/// Whoever has codes sent to numbers that earn them money has so many sent in a day, and no more however many ask at once.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a12_codes_to_costly_numbers_are_capped(pool: PgPool) {
    const CAPS: &str = "/api/settings/send-caps";
    let stage = crate::single_sends::Stage::with(&pool, &[]).await;
    let (owner, stranger) = (&stage.owner, stage.open.stranger().await);
    let cap = |prefix: &str, per_day: i32| json!({"channel": "sms", "prefix": prefix, "perDay": per_day});
    for (prefix, per_day) in [("91", 40), ("9198", 8), ("44", 0)] {
        let (status, made) = owner.put(CAPS, &cap(prefix, per_day)).await;
        assert_eq!((status, &made["data"]["usedToday"]), (200, &json!(0)), "{made}");
    }
    for (body, field) in [
        (cap("+91", 1), "prefix"),
        (cap("1234567890123456", 1), "prefix"),
        (cap("91", -1), "perDay"),
        (json!({"channel": "email", "prefix": "", "perDay": 1}), "channel"),
    ] {
        let (status, problem) = owner.put(CAPS, &body).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
    }
    let send = |to: String, key: String| async move {
        let body = json!({"to": to, "message": "Your code is 123456", "businessKey": key});
        owner.post("/api/communication/sms/send", &body).await
    };
    let all = (0..25).map(|n| send(format!("+9198765432{n:02}"), format!("code-{n}")));
    let answers = join_all(all).await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 201);
    assert_eq!((taken.len(), refused.len()), (8, 17));
    assert!(
        refused
            .iter()
            .all(|(status, problem)| (*status, &problem["code"]) == (429, &json!("send_cap_reached"))),
        "{refused:?}"
    );
    assert_eq!(send("+447911123456".to_owned(), "uk".to_owned()).await.0, 429);
    assert_eq!(send("+917012345678".to_owned(), "other".to_owned()).await.0, 201, "the wider cap has room");
    // What was taken in is known, whatever the caps say by now; what was not is not.
    let (known, _): (Vec<String>, Vec<i32>) =
        sqlx::query_as::<_, (String, i32)>("select address, n from recipients")
            .fetch_all(&pool)
            .await
            .unwrap()
            .into_iter()
            .unzip();
    assert_eq!(known.len(), 9);
    // Whoever asks twice at once is told of the one message, although it took the last place.
    let last = json!({"channel": "sms", "prefix": "2305", "perDay": 1});
    assert_eq!(owner.put(CAPS, &last).await.0, 200);
    let twice = join_all((0..8).map(|_| send("+23052345678".to_owned(), "twice".to_owned()))).await;
    assert!(twice.iter().all(|(status, _)| [200, 201].contains(status)), "{twice:?}");
    assert_eq!(owner.delete(&format!("{CAPS}?channel=sms&prefix=2305")).await.0, 204);
    let (_, list) = owner.get(CAPS).await;
    let used: Vec<_> =
        list["data"]["sendCaps"].as_array().unwrap().iter().map(|cap| cap["usedToday"].clone()).collect();
    assert_eq!(used, [json!(0), json!(9), json!(8)], "by prefix: {list}");
    // A day later there is room again.
    sqlx::query("update send_caps set day = day - 1").execute(&pool).await.unwrap();
    assert_eq!(send("+919876543299".to_owned(), "tomorrow".to_owned()).await.0, 201);

    assert_eq!(stranger.get(CAPS).await.1["data"]["sendCaps"], json!([]));
    let off = format!("{CAPS}?channel=sms&prefix=44");
    assert_eq!(
        (stranger.delete(&off).await.0, owner.delete(&off).await.0, owner.delete(&off).await.0),
        (404, 204, 404)
    );
    assert_eq!(
        send("+447911123456".to_owned(), "uk".to_owned()).await.0,
        201,
        "a refused one can be asked for again"
    );
}

/// A request that asks for several messages counts as many, whichever route it takes.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a11_what_one_request_asks_for_is_counted_one_by_one(pool: PgPool) {
    const CAPS: &str = "/api/settings/send-caps";
    let stage = crate::single_sends::Stage::with(&pool, &[]).await;
    let owner = &stage.owner;
    let colleagues = "insert into users (id, tenant_id, email, first_name, phone, role_id, status, password_hash)
                      select gen_random_uuid(), tenant_id, 'c' || i || '@acme.example', 'C', '+2305234567' || i, role_id, 'active', 'x'
                      from (select * from users limit 1) one, generate_series(1, 9) i";
    sqlx::query(colleagues).execute(&pool).await.unwrap();
    let template = json!({"name": "Code", "type": "sms", "content": "Your code is 1234"});
    let (status, made) = owner.post("/api/templates", &template).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("/api/templates/{}/test", made["data"]["templateId"].as_str().unwrap());
    let test = async |who: std::ops::Range<u8>| {
        let to: Vec<String> = who.map(|i| format!("+2305234567{i}")).collect();
        owner.post(&path, &json!({"to": to})).await
    };
    let cap = json!({"channel": "sms", "prefix": "230", "perDay": 7});
    assert_eq!(owner.put(CAPS, &cap).await.0, 200);
    let (status, first) = test(1..6).await;
    let statuses = |answer: &Value| -> Vec<String> {
        let messages = answer["data"]["messages"].as_array().unwrap();
        messages.iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((status, statuses(&first)), (202, vec!["accepted".to_owned(); 5]), "{first}");
    // Two have room: whoever asked is told which.
    let (status, second) = test(6..10).await;
    assert_eq!(
        (status, statuses(&second)),
        (202, ["accepted", "accepted", "capped", "capped"].map(str::to_owned).into()),
        "{second}"
    );
    let (status, third) = test(1..3).await;
    assert_eq!((status, &third["code"]), (429, &json!("send_cap_reached")), "{third}");
    let single = json!({"to": "+23052345670", "message": "m"});
    assert_eq!(owner.post("/api/communication/sms/send", &single).await.0, 429);
    let taken: i64 = sqlx::query_scalar("select count(*) from recipients").fetch_one(&pool).await.unwrap();
    assert_eq!((taken, &owner.get(CAPS).await.1["data"]["sendCaps"][0]["usedToday"]), (7, &json!(7)));
}

/// What a day of codes to costly numbers can cost: the cap, times the most segments, times the price, however long the messages
/// are, however many ask at once, and under whichever keys.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a12_what_a_day_of_codes_costs_is_bounded(pool: PgPool) {
    const PER_DAY: usize = 6;
    const SEGMENTS: usize = 10;
    let stage = crate::single_sends::Stage::with(&pool, &[]).await;
    let owner = &stage.owner;
    stage.price(50_000).await;
    let cap = json!({"channel": "sms", "prefix": "91", "perDay": PER_DAY});
    assert_eq!(owner.put("/api/settings/send-caps", &cap).await.0, 200);
    let clients =
        [owner.clone(), stage.open.key(&["messages:send"]).await, stage.open.key(&["messages:*"]).await];
    let long = "x".repeat(1_530);
    let ask = |n: usize| {
        let (client, text) = (clients[n % clients.len()].clone(), [long.as_str(), "code"][n % 2]);
        let body = json!({"to": format!("+91987654{n:04}"), "message": text});
        async move { client.post("/api/communication/sms/send", &body).await }
    };
    let answers = join_all((0..60).map(ask)).await;
    let costs: Vec<f64> = answers
        .iter()
        .filter(|(status, _)| *status == 201)
        .map(|(_, one)| one["data"]["cost"].as_f64().unwrap())
        .collect();
    assert_eq!(costs.len(), PER_DAY, "{answers:?}");
    let bound = 0.05 * (PER_DAY * SEGMENTS) as f64;
    assert!(costs.iter().sum::<f64>() <= bound + 1e-9, "{costs:?} of {bound}");
    let (status, refused) = owner
        .post("/api/communication/sms/send", &json!({"to": "+919876543210", "message": "x".repeat(1_531)}))
        .await;
    assert_eq!(
        (status, &refused["errors"][0]["field"]),
        (422, &json!("message")),
        "no message has more segments"
    );
}

/// A stranger has nobody written to but whoever forgot their password, and them a few times only. Whoever asks is told
/// nothing about who exists.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a12_strangers_have_nobody_written_to(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__API__STRANGER_PER_SECOND", "100000")]).await;
    let owner = open.owner().await;
    let email = owner.get("/api/auth/me").await.1["data"]["email"].clone();
    let document = crate::contract::document(&open).await;
    let public: Vec<String> = crate::contract::operations(&document)
        .into_iter()
        .filter(|operation| operation.needs.is_none() && operation.method != Method::GET)
        .map(|operation| operation.path)
        .collect();
    // A route that joins them has a limit for each address, and a line here.
    assert_eq!(
        public,
        [
            "/api/auth/accept-invitation/{token}",
            "/api/auth/forgot-password",
            "/api/auth/login",
            "/api/auth/refresh",
            "/api/auth/register",
            "/api/auth/reset-password/{token}"
        ]
    );
    let nobody = open.nobody();
    let known =
        nobody.post("/api/auth/login", &json!({"email": email, "password": "a wrong password"})).await;
    let unknown = nobody
        .post("/api/auth/login", &json!({"email": "no@acme.example", "password": "a wrong password"}))
        .await;
    assert_eq!(known, unknown);
    let mut asked = [Vec::new(), Vec::new()];
    for _ in 0..20 {
        for (email, answers) in [&email, &json!("no@acme.example")].into_iter().zip(&mut asked) {
            answers.push(nobody.post("/api/auth/forgot-password", &json!({"email": email})).await.0);
        }
    }
    assert_eq!(asked[0], asked[1]);
    let mailed = asked[0].iter().filter(|status| **status == 202).count();
    assert!((1..=5).contains(&mailed) && asked[0][mailed..].iter().all(|status| *status == 429), "{asked:?}");
    // A link is one of 2^256; guessing leaves no trace and hits no one.
    let guess = |n: usize| {
        let (nobody, body) = (nobody.clone(), json!({"password": PASSWORD}));
        async move { nobody.post(&format!("/api/auth/reset-password/ffl_{n}"), &body).await.0 }
    };
    let guesses = join_all((0..100).map(guess)).await;
    assert!(guesses.iter().all(|status| *status == 404), "{guesses:?}");
    let sent: i64 = sqlx::query_scalar("select count(*) from recipients").fetch_one(&pool).await.unwrap();
    assert_eq!(sent, 0);
}
