//! A8 tenants, A10 functions: beside the matrices that `contract` makes of the document.

use std::collections::BTreeMap;

use fanfare_engine::domain::permission::{Permission, Permissions};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    contract::{document, operations},
    open::{Client, Open, PASSWORD},
};

pub(super) async fn made(client: &Client, path: &str, body: Value) -> Value {
    let (status, answer) = client.post(path, &body).await;
    assert_eq!(status, 201, "{path}: {answer}");
    answer["data"].clone()
}

/// What is another tenant's can't be named in a body either, be it as a reference, a key, a cursor or a tag.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a08_what_is_another_tenants_is_named_in_vain(pool: PgPool) {
    let keys = ("FANFARE_SEALING_KEYS", "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
    let open = Open::with(&pool, &[keys]).await;
    let (owner, stranger) = (open.owner().await, open.stranger().await);
    let contact =
        made(&stranger, "/api/contacts", json!({"email": "theirs@other.example", "name": "Theirs Alone"}))
            .await;
    let template = made(
        &stranger,
        "/api/templates",
        json!({"name": "Theirs", "type": "sms", "content": "Theirs {{name}}"}),
    )
    .await;
    let mine =
        made(&owner, "/api/templates", json!({"name": "Mine", "type": "sms", "content": "Mine {{name}}"}))
            .await;
    let (_, uploaded) = crate::uploads::upload(&stranger, "t.csv", "phone\n+23052345678\n", &json!({})).await;
    crate::uploads::drain(&open).await;
    made(&stranger, "/api/roles", json!({"slug": "theirs", "name": "Theirs", "permissions": []})).await;
    let user = made(
        &stranger,
        "/api/users",
        json!({"email": "u@other.example", "firstName": "U", "role": "theirs"}),
    )
    .await;
    let account: fanfare_engine::id::AccountId = {
        let secrets = json!({"apiKey": "k", "webhookAuth": {"bearer": {"token": "their-hook-token"}}});
        let new = json!({"slug": "theirs", "provider": "brevo_sms", "settings": {"sender": "Other"}, "secrets": secrets});
        made(&stranger, "/api/accounts", new).await["id"].as_str().unwrap().parse().unwrap()
    };
    open.engine.roster.refresh().await.unwrap();

    let (their_template, upload) = (&template["templateId"], &uploaded["data"]["uploadId"]);
    let preview = format!("/api/templates/{}/preview", mine["templateId"].as_str().unwrap());
    for (path, body) in [
        ("/api/communication/sms/send", json!({"to": contact["id"], "message": "m"})),
        (
            "/api/communication/sms/send",
            json!({"to": "+23052345678", "templateId": their_template, "parameters": {"name": "x"}}),
        ),
        (
            "/api/communication/sms/send",
            json!({"to": "+23052345678", "templateId": "theirs", "parameters": {"name": "x"}}),
        ),
        (
            "/api/campaigns",
            json!({"name": "C", "type": "sms", "uploadId": upload, "templates": {"sms": "mine"}}),
        ),
        (
            "/api/campaigns",
            json!({"name": "C", "type": "sms", "uploadId": upload, "templates": {"sms": their_template}}),
        ),
        ("/api/campaigns", json!({"name": "C", "type": "sms", "templates": {"sms": their_template}})),
        ("/api/users", json!({"email": "v@acme.example", "firstName": "V", "role": "theirs"})),
        (preview.as_str(), json!({"contact": "theirs@other.example"})),
        (preview.as_str(), json!({"contact": contact["id"]})),
    ] {
        let (status, answer) = owner.post(path, &body).await;
        assert!([404, 409, 422].contains(&status), "{path} {body}: {status} {answer}");
        assert!(!answer.to_string().contains("Theirs Alone"), "{answer}");
    }
    // To a user of another tenant nothing is told.
    let told = json!({"title": "T", "message": "M", "audience": {"users": [user["user"]["id"]]}});
    let (status, answer) = owner.post("/api/notifications/broadcast", &told).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!("audience.users")), "{answer}");
    // A secret of one account opens no other.
    for (token, status) in [("hook-token", 401), ("their-hook-token", 200)] {
        let hook = open.client.post(format!("{}/hooks/{account}", open.base)).bearer_auth(token);
        assert_eq!(hook.body("{}").send().await.unwrap().status(), status, "{token}");
    }

    // Searched for by everything that it is known by: they find it, and nobody else does.
    made(&stranger, "/api/suppressions", json!({"address": "theirs@other.example"})).await;
    for (query, named) in [
        ("/api/contacts?q=Theirs", "Theirs Alone"),
        ("/api/contacts?q=theirs@other.example", "theirs@other.example"),
        ("/api/contacts?email=theirs@other.example", "theirs@other.example"),
        ("/api/users?role=theirs", "u@other.example"),
        ("/api/templates?type=sms", "Theirs"),
        ("/api/suppressions?address=theirs@other.example", "other.example"),
        ("/api/audit-log?action=role.create", "theirs"),
        ("/api/upload/history", "t.csv"),
    ] {
        let ((status, answer), (_, found)) = (owner.get(query).await, stranger.get(query).await);
        assert_eq!(status, 200, "{query}: {answer}");
        assert!(!answer.to_string().contains(named), "{query}: {answer}");
        assert!(found.to_string().contains(named), "{query}: {found}");
    }
    let (status, listed) =
        owner.get(&format!("/api/messages?contact={}", contact["id"].as_str().unwrap())).await;
    assert_eq!((status, &listed["data"]["messages"]), (200, &json!([])), "{listed}");
}

/// Cursors, keys of requests, tags and business keys are each tenant's own.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a08_keys_cursors_and_tags_are_each_tenants_own(pool: PgPool) {
    let open = Open::new(&pool).await;
    let (owner, stranger) = (open.owner().await, open.stranger().await);
    for n in 0..4 {
        made(
            &stranger,
            "/api/contacts",
            json!({"email": format!("t{n}@other.example"), "name": format!("T{n}")}),
        )
        .await;
        made(
            &owner,
            "/api/contacts",
            json!({"email": format!("m{n}@acme.example"), "name": format!("M{n}")}),
        )
        .await;
    }
    for (client, email) in [(&stranger, "u@other.example"), (&owner, "u@acme.example")] {
        made(client, "/api/users", json!({"email": email, "firstName": "U", "role": "auditor"})).await;
    }
    for (path, rows) in [("/api/contacts", "contacts"), ("/api/users", "users"), ("/api/audit-log", "deeds")]
    {
        let (_, first) = stranger.get(&format!("{path}?limit=1")).await;
        let cursor = first["data"]["pagination"]["nextCursor"].as_str().unwrap_or_else(|| panic!("{first}"));
        let (status, next) = owner.get(&format!("{path}?limit=100&cursor={cursor}")).await;
        let (_, all) = owner.get(&format!("{path}?limit=100")).await;
        let (next, all) = (&next["data"][rows], all["data"][rows].as_array().unwrap());
        let rows = next.as_array().filter(|rows| !rows.is_empty());
        assert!(rows.is_some_and(|rows| rows.iter().all(|row| all.contains(row))), "{path}: {status} {next}");
    }

    // The same key of a request, from two tenants and from two people of one.
    let keyed = async |client: &Client, email: &str| {
        let request = client.request(Method::POST, "/api/contacts").header("idempotency-key", "same");
        client.send(request.json(&json!({"email": email}))).await
    };
    let (mine, theirs) = (keyed(&owner, "k@acme.example").await, keyed(&stranger, "k@other.example").await);
    assert_eq!((mine.0, theirs.0), (201, 201), "{mine:?} {theirs:?}");
    assert!(!theirs.1.to_string().contains("acme"), "{theirs:?}");
    let colleague = open.key(&["contacts:read"]).await;
    let (status, answer) = keyed(&colleague, "k@acme.example").await;
    assert!(
        status >= 400 && !answer.to_string().contains("k@acme.example"),
        "nobody else's answer: {answer}"
    );

    // A tag that somebody else read opens nothing, and a key is one message in each tenant.
    let role = made(&stranger, "/api/roles", json!({"slug": "r", "name": "R", "permissions": []})).await;
    let path = format!("/api/roles/{}", role["id"].as_str().unwrap());
    let tag = stranger.request(Method::GET, &path).send().await.unwrap().headers()["etag"].clone();
    for tag in [tag, "*".parse().unwrap()] {
        let request = owner.request(Method::PUT, &path).header("if-match", tag);
        let (status, answer) = owner.send(request.json(&json!({"name": "Mine", "permissions": []}))).await;
        assert_eq!(status, 404, "{answer}");
        let request = owner.request(Method::GET, &path).header("if-none-match", "*");
        assert_eq!(owner.send(request).await.0, 404);
    }
}

/// A token of one tenant is none of another, whatever is written into it; and a session that ended is over everywhere.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a08_a_token_says_what_was_signed(pool: PgPool) {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

    let open = Open::new(&pool).await;
    let (owner, stranger) = (open.owner().await, open.stranger().await);
    let token = owner.token.clone().unwrap();
    let theirs = stranger.token.clone().unwrap();
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (mine, other) = (parts(&token), parts(&theirs));
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(&mine[1]).unwrap()).unwrap();
    let their: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(&other[1]).unwrap()).unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
    };
    let header = |header: Value| BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
    let mut forged = vec![
        format!("{}.{}.{}", mine[0], with("tid", their["tid"].clone()), mine[2]),
        format!("{}.{}.{}", mine[0], with("exp", json!(9_999_999_999_i64)), mine[2]),
        format!("{}.{}.{}", mine[0], mine[1], other[2]),
        format!("{}.{}.", mine[0], mine[1]),
        format!("{}.{}", mine[0], mine[1]),
        format!("{}.{}.{}", header(json!({"alg": "none"})), mine[1], ""),
        format!("{}.{}.{}", header(json!({"alg": "HS256", "kid": "../../dev/null"})), mine[1], mine[2]),
        format!("{}.{}.{}", header(json!({"alg": "RS256"})), mine[1], mine[2]),
        format!("{token}x"),
        format!("{} {token}", "Bearer"),
        "ffk_".to_owned(),
        "null".to_owned(),
    ];
    // Keys that somebody might have left as they were.
    for secret in ["", "secret", "changeme", "fanfare", "your-256-bit-secret"] {
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        forged.push(jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap());
    }
    for token in forged {
        assert_eq!(open.bearing(&token).get("/api/auth/me").await.0, 401, "{token}");
    }
    for scheme in ["Basic", "Token", "bearer:", ""] {
        let request = open
            .nobody()
            .request(Method::GET, "/api/auth/me")
            .header("authorization", format!("{scheme} {token}"));
        assert_eq!(owner.send(request).await.0, 401, "{scheme}");
    }
    let request =
        open.nobody().request(Method::GET, &format!("/api/auth/me?access_token={token}&token={token}"));
    assert_eq!(owner.send(request.header("cookie", format!("token={token}"))).await.0, 401);
    assert_eq!(owner.get("/api/auth/me").await.0, 200);
}

/// Somebody of `acme` who has this role.
pub(super) async fn in_role(open: &Open, owner: &Client, role: &str) -> Client {
    let email = format!("{}@acme.example", role.replace('_', "-"));
    // An agent and a customer are somebody.
    made(owner, "/api/contacts", json!({"email": email})).await;
    let invited = made(owner, "/api/users", json!({"email": email, "firstName": "X", "role": role})).await;
    let path = invited["invitation"]["path"].as_str().unwrap();
    let (status, answer) = open.nobody().post(path, &json!({"password": PASSWORD})).await;
    assert_eq!(status, 200, "{answer}");
    open.bearing(answer["data"]["token"].as_str().unwrap())
}

/// Every role of the box does what its permissions say on every operation of the document, and nothing else.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_every_role_does_what_it_may_and_no_more(pool: PgPool) {
    let settings =
        [("FANFARE__API__STRANGER_PER_SECOND", "100000"), ("FANFARE__API__TENANT_PER_SECOND", "100000")];
    let open = Open::with(&pool, &settings).await;
    let owner = open.owner().await;
    let operations = operations(&document(&open).await);
    let (_, listed) = owner.get("/api/roles?limit=100").await;
    let mut refused_to: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for role in listed["data"]["roles"].as_array().unwrap() {
        let slug = role["slug"].as_str().unwrap().to_owned();
        let allowed = role["permissions"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
        let allowed = Permissions::parse(allowed).unwrap();
        let client = in_role(&open, &owner, &slug).await;
        for operation in operations.iter().filter(|operation| !operation.path.starts_with("/api/auth/")) {
            let Some(needs) = &operation.needs else { continue };
            let may = needs.iter().all(|needed| allowed.allows(needed.parse::<Permission>().unwrap()));
            let name = format!("{} {}", operation.method, operation.path);
            if may {
                continue;
            }
            let request = client.request(operation.method.clone(), &operation.path).json(&json!({}));
            let (status, answer) = client.send(request).await;
            assert_eq!((status, &answer["code"]), (403, &json!("forbidden")), "{slug}: {name}: {answer}");
            refused_to.entry(slug.clone()).or_default().push(name);
        }
    }
    // Said once more by hand: what a mistake in the document or in a role would cost most.
    let sends = [
        "POST /api/communication/sms/send",
        "POST /api/communication/email/send",
        "POST /api/communication/whatsapp/send",
    ];
    let launches = [
        "POST /api/campaigns/{campaign_id}/approve",
        "PUT /api/campaigns/{campaign_id}/status",
        "POST /api/campaigns/{campaign_id}/retry-failed",
    ];
    let secrets = [
        "PUT /api/accounts/{account_id}/secret",
        "POST /api/accounts",
        "POST /api/keys",
        "POST /api/users",
        "POST /api/users/{user_id}/link",
        "POST /api/roles",
        "PUT /api/settings/campaigns",
    ];
    let all = [&sends[..], &launches, &secrets].concat();
    for (role, never) in [
        ("auditor", all.clone()),
        ("agent", all.clone()),
        ("customer", all.clone()),
        ("call_centre_agent", [&launches[..], &secrets].concat()),
        ("billing_agent", [&launches[..], &secrets].concat()),
        ("sre", [&sends[..], &launches, &["POST /api/keys", "POST /api/users", "POST /api/roles"]].concat()),
        ("marketer", secrets.to_vec()),
    ] {
        let refused = refused_to
            .get(role)
            .unwrap_or_else(|| panic!("there is no role {role}: {:?}", refused_to.keys()));
        for operation in never {
            assert!(refused.iter().any(|one| one == operation), "{role}: {operation}");
        }
    }
    let writes: Vec<&str> = operations
        .iter()
        .filter(|operation| {
            operation.method != Method::GET && operation.needs.as_ref().is_some_and(|needs| !needs.is_empty())
        })
        .map(|operation| operation.path.as_str())
        .filter(|path| !path.ends_with("/preview"))
        .collect();
    let auditors = &refused_to["auditor"];
    for path in writes {
        assert!(
            auditors.iter().any(|one| !one.starts_with("GET") && one.ends_with(path)),
            "an auditor changes nothing: {path}"
        );
    }
}

/// Whoever sees a branch can't make themselves, somebody else or a program see more.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_whoever_sees_a_branch_gives_nobody_a_wider_view(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let permissions = ["users:*", "keys:update", "contacts:read"];
    made(&owner, "/api/roles", json!({"slug": "branch_head", "name": "Head", "permissions": permissions}))
        .await;
    let head = in_role(&open, &owner, "branch_head").await;
    let me = head.get("/api/auth/me").await.1["data"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/users/{me}");
    let change = |scope: &str, branch: Value| json!({"firstName": "Head", "role": "branch_head", "rowScope": scope, "branch": branch});
    assert_eq!(owner.put(&path, &change("branch", json!("north"))).await.0, 200);

    for body in
        [change("all", Value::Null), change("branch", json!("south")), change("assigned", Value::Null)]
    {
        let (status, answer) = head.put(&path, &body).await;
        assert_eq!(status, 403, "{body}: {answer}");
        let (_, now) = head.get("/api/auth/me").await;
        assert_eq!((&now["data"]["rowScope"], &now["data"]["branch"]), (&json!("branch"), &json!("north")));
    }
    assert_eq!(head.put(&path, &change("branch", json!("north"))).await.0, 200, "as it is");
    let key = json!({"name": "wide", "scopes": ["contacts:read"]});
    assert_eq!(head.post("/api/keys", &key).await.0, 403, "a key sees everybody");
    let user = json!({"email": "wide@acme.example", "firstName": "Wide", "role": "branch_head"});
    assert_eq!(head.post("/api/users", &user).await.0, 403, "whoever is invited sees everybody at first");
    let ours = owner.get("/api/auth/me").await.1["data"]["id"].as_str().unwrap().to_owned();
    assert_eq!(head.post(&format!("/api/users/{ours}/link"), &json!({})).await.0, 403);
    // Nor does a link to somebody who sees more make one into them.
    let wide = made(
        &owner,
        "/api/users",
        json!({"email": "w@acme.example", "firstName": "W", "role": "branch_head"}),
    )
    .await;
    let link = format!("/api/users/{}/link", wide["user"]["id"].as_str().unwrap());
    assert_eq!(head.post(&link, &json!({})).await.0, 403);
}

/// What is only tried out stays so: a program of the sandbox makes no key that sends to everybody.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_whoever_tries_things_out_makes_no_key_for_the_real_thing(pool: PgPool) {
    let open = Open::new(&pool).await;
    let new = json!({"name": "try", "scopes": ["keys:update", "messages:send"], "environment": "sandbox"});
    let key = made(&open.owner().await, "/api/keys", new).await;
    let program = open.bearing(key["key"].as_str().unwrap());
    for environment in [json!("production"), Value::Null] {
        let body = json!({"name": "real", "scopes": ["messages:send"], "environment": environment});
        let (status, answer) = program.post("/api/keys", &body).await;
        assert_eq!(status, 403, "{environment}: {answer}");
    }
    made(
        &program,
        "/api/keys",
        json!({"name": "more", "scopes": ["messages:send"], "environment": "sandbox"}),
    )
    .await;
}
