//! Who may use the API, and how they prove who they are.

mod lifetimes;
mod locks;
mod strangers;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::open::{Client, Open, PASSWORD};

const KEYS: (&str, &str) = ("FANFARE_SEALING_KEYS", "test:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");

async fn me(client: &Client) -> Value {
    let (status, answer) = client.get("/api/auth/me").await;
    assert_eq!(status, 200, "{answer}");
    answer["data"].clone()
}

async fn login(open: &Open, body: Value) -> (u16, Value) {
    open.nobody().post("/api/auth/login", &body).await
}

fn code(answer: &Value) -> &str {
    answer["code"].as_str().unwrap_or_default()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn whoever_is_invited_signs_in(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let invitation =
        json!({"email": "Ravi@Acme.example", "firstName": "Ravi", "role": "marketer", "phone": "5712 3456"});
    let (status, invited) = owner.post("/api/users", &invitation).await;
    assert_eq!(status, 201, "{invited}");
    let user = &invited["data"]["user"];
    assert_eq!((&user["status"], &user["phone"]), (&json!("invited"), &json!("+23057123456")));
    let path = invited["data"]["invitation"]["path"].as_str().unwrap();

    // Nobody signs in without a password, and a weak one leaves the link good.
    let credentials = json!({"email": "ravi@acme.example", "password": PASSWORD});
    assert_eq!(login(&open, credentials.clone()).await.0, 401);
    let (status, weak) = open.nobody().post(path, &json!({"password": "password123"})).await;
    assert_eq!((status, &weak["errors"][0]["field"]), (422, &json!("password")), "{weak}");
    let (status, accepted) = open.nobody().post(path, &json!({"password": PASSWORD})).await;
    assert_eq!((status, &accepted["data"]["user"]["status"]), (200, &json!("active")), "{accepted}");
    assert_eq!(open.nobody().post(path, &json!({"password": PASSWORD})).await.0, 404, "a link is good once");

    let (status, answer) = login(&open, credentials).await;
    assert_eq!(status, 200, "{answer}");
    let data = &answer["data"];
    assert_eq!(data["user"]["role"], "marketer");
    assert!(data["token"].is_string() && data["refreshToken"].is_string());
    let ravi = open.bearing(data["token"].as_str().unwrap());
    assert_eq!(me(&ravi).await["email"], "ravi@acme.example");
    let (status, refused) = ravi.get("/api/users").await;
    assert_eq!((status, code(&refused)), (403, "forbidden"));
    assert!(refused["detail"].as_str().unwrap().contains("users:read"), "{refused}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_refresh_token_is_good_once_and_a_second_time_ends_the_session(pool: PgPool) {
    let open = Open::new(&pool).await;
    let email = me(&open.owner().await).await["email"].clone();
    let (_, first) = login(&open, json!({"email": email, "password": PASSWORD})).await;
    let refresh = |token: Value| {
        let client = open.nobody();
        async move { client.post("/api/auth/refresh", &json!({"refreshToken": token})).await }
    };
    let (status, second) = refresh(first["data"]["refreshToken"].clone()).await;
    assert_eq!(status, 200, "{second}");
    let client = open.bearing(second["data"]["token"].as_str().unwrap());
    me(&client).await;
    assert_eq!(refresh(first["data"]["refreshToken"].clone()).await.0, 401);
    assert_eq!(client.get("/api/auth/me").await.0, 401, "the session is over at once");
    assert_eq!(refresh(second["data"]["refreshToken"].clone()).await.0, 401);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn sessions_are_listed_and_ended(pool: PgPool) {
    let open = Open::new(&pool).await;
    let one = open.owner().await;
    let email = me(&one).await["email"].clone();
    let (_, other) = login(&open, json!({"email": email, "password": PASSWORD})).await;
    let other = open.bearing(other["data"]["token"].as_str().unwrap());
    let (_, listed) = one.get("/api/auth/sessions").await;
    let sessions = listed["data"]["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let theirs = sessions.iter().find(|session| session["current"] == false).unwrap();
    let path = format!("/api/auth/sessions/{}", theirs["id"].as_str().unwrap());
    assert_eq!(open.stranger().await.delete(&path).await.0, 404);
    assert_eq!(one.delete(&path).await.0, 204);
    assert_eq!(other.get("/api/auth/me").await.0, 401);
    assert_eq!(one.post("/api/auth/logout", &json!({})).await.0, 204);
    assert_eq!(one.get("/api/auth/me").await.0, 401);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_new_password_ends_the_other_sessions(pool: PgPool) {
    let open = Open::new(&pool).await;
    let one = open.owner().await;
    let email = me(&one).await["email"].clone();
    let (_, other) = login(&open, json!({"email": email, "password": PASSWORD})).await;
    let other = open.bearing(other["data"]["token"].as_str().unwrap());
    let change =
        |current: &str| json!({"currentPassword": current, "newPassword": "another horse, another battery"});
    let (status, wrong) = one.put("/api/auth/change-password", &change("wrong")).await;
    assert_eq!((status, &wrong["errors"][0]["field"]), (422, &json!("currentPassword")), "{wrong}");
    assert_eq!(one.put("/api/auth/change-password", &change(PASSWORD)).await.0, 204);
    assert_eq!(other.get("/api/auth/me").await.0, 401);
    me(&one).await;
    assert_eq!(login(&open, json!({"email": email, "password": PASSWORD})).await.0, 401);
    assert_eq!(
        login(&open, json!({"email": email, "password": "another horse, another battery"})).await.0,
        200
    );
}

fn totp(url: &str) -> totp_rs::Totp {
    let secret = url::Url::parse(url)
        .unwrap()
        .query_pairs()
        .find(|(name, _)| name == "secret")
        .unwrap()
        .1
        .into_owned();
    let secret = totp_rs::Secret::try_from_base32(&secret).unwrap();
    totp_rs::Builder::new().with_secret(secret).build().unwrap()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_second_factor_is_wanted_from_its_first_code_on(pool: PgPool) {
    let open = Open::with(&pool, &[KEYS]).await;
    let owner = open.owner().await;
    let email = me(&owner).await["email"].clone();
    assert_eq!(owner.post("/api/auth/second-factor", &json!({"password": "wrong"})).await.0, 422);
    let (status, begun) = owner.post("/api/auth/second-factor", &json!({"password": PASSWORD})).await;
    assert_eq!(status, 200, "{begun}");
    let totp = totp(begun["data"]["url"].as_str().unwrap());
    assert_eq!(login(&open, json!({"email": email, "password": PASSWORD})).await.0, 200, "not on yet");
    assert_eq!(owner.post("/api/auth/second-factor/confirm", &json!({"code": "000000"})).await.0, 422);
    let now = async || u64::try_from(open.engine.store.now().await.unwrap().as_second()).unwrap();
    let first = totp.generate(now().await).to_string();
    let (status, on) = owner.post("/api/auth/second-factor/confirm", &json!({"code": first})).await;
    assert_eq!(status, 200, "{on}");
    let recovery = on["data"]["recoveryCodes"].as_array().unwrap().clone();

    let (status, wanted) = login(&open, json!({"email": email, "password": PASSWORD})).await;
    assert_eq!((status, code(&wanted)), (401, "second_factor_wanted"));
    let with = |code: &Value| json!({"email": email, "password": PASSWORD, "code": code});
    assert_eq!(login(&open, with(&json!(first))).await.0, 401, "its step was used");
    let next = totp.generate(now().await + 30).to_string();
    assert_eq!(login(&open, with(&json!(next))).await.0, 200);
    assert_eq!(login(&open, with(&recovery[0])).await.0, 200);
    assert_eq!(login(&open, with(&recovery[0])).await.0, 401, "a recovery code is good once");
    let off = owner.request(Method::DELETE, "/api/auth/second-factor").json(&json!({"password": PASSWORD}));
    assert_eq!(owner.send(off).await.0, 204);
    assert_eq!(login(&open, json!({"email": email, "password": PASSWORD})).await.0, 200);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_key_does_what_it_may_until_it_is_revoked(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let (status, made) = owner.post("/api/keys", &json!({"name": "billing", "scopes": ["users:read"]})).await;
    assert_eq!(status, 201, "{made}");
    let key = open.bearing(made["data"]["key"].as_str().unwrap());
    assert_eq!(key.get("/api/users").await.0, 200);
    assert_eq!(key.post("/api/keys", &json!({"name": "more", "scopes": ["*"]})).await.0, 403);
    assert_eq!(key.get("/api/auth/me").await.0, 403, "a key is no person");
    let (_, listed) = owner.get("/api/keys").await;
    let row = &listed["data"]["apiKeys"][0];
    assert!(row["usedAt"].is_string() && row.get("key").is_none(), "{row}");
    assert!(made["data"]["key"].as_str().unwrap().starts_with(row["prefix"].as_str().unwrap()));
    let path = format!("/api/keys/{}", made["data"]["id"].as_str().unwrap());
    assert_eq!(open.stranger().await.delete(&path).await.0, 404);
    assert_eq!(owner.delete(&path).await.0, 204);
    assert_eq!(key.get("/api/users").await.0, 401);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a10_nobody_makes_themselves_more(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let manager =
        open.key(&["roles:update", "users:update", "users:read", "keys:update", "contacts:*"]).await;
    let role = |permissions: &[&str]| json!({"slug": "mine", "name": "Mine", "permissions": permissions});
    assert_eq!(manager.post("/api/roles", &role(&["*"])).await.0, 403);
    assert_eq!(manager.post("/api/roles", &role(&["campaigns:launch"])).await.0, 403);
    let (status, made) = manager.post("/api/roles", &role(&["customers:read", "contacts:update"])).await;
    assert_eq!(status, 201, "{made}");
    let invite =
        |role: &str| json!({"email": format!("{role}@acme.example"), "firstName": "X", "role": role});
    assert_eq!(manager.post("/api/users", &invite("owner")).await.0, 403);
    assert_eq!(manager.post("/api/users", &invite("mine")).await.0, 201);
    let id = me(&owner).await["id"].as_str().unwrap().to_owned();
    let demote = json!({"firstName": "Asha", "role": "mine", "rowScope": "all"});
    assert_eq!(manager.put(&format!("/api/users/{id}"), &demote).await.0, 403);
    assert_eq!(manager.post(&format!("/api/users/{id}/link"), &json!({})).await.0, 403);

    // Fields that nobody may set are refused by name.
    let (status, refused) = manager
        .post(
            "/api/users",
            &json!({"email": "y@acme.example", "firstName": "Y", "role": "mine", "tenantId": "ten_1"}),
        )
        .await;
    assert_eq!(status, 422);
    assert!(refused.to_string().contains("tenantId"), "{refused}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_tenant_keeps_an_owner(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let id = me(&owner).await["id"].as_str().unwrap().to_owned();
    let change = |role: &str, blocked: bool| json!({"firstName": "Asha", "role": role, "rowScope": "all", "blocked": blocked});
    let path = format!("/api/users/{id}");
    let (status, refused) = owner.put(&path, &change("auditor", false)).await;
    assert_eq!((status, code(&refused)), (409, "conflict"), "{refused}");
    assert_eq!(owner.put(&path, &change("owner", true)).await.0, 409);
    let second = open.owner().await;
    assert_eq!(second.put(&path, &change("owner", true)).await.0, 200);
    assert_eq!(owner.get("/api/auth/me").await.0, 401, "whoever is blocked is signed out");
    assert_eq!(open.stranger().await.put(&path, &change("owner", false)).await.0, 404);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn whoever_was_invited_can_be_blocked_before_they_come(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let invitation = json!({"email": "kim@acme.example", "firstName": "Kim", "role": "auditor"});
    let (_, invited) = owner.post("/api/users", &invitation).await;
    let user = format!("/api/users/{}", invited["data"]["user"]["id"].as_str().unwrap());
    let path = invited["data"]["invitation"]["path"].as_str().unwrap();
    let change =
        |blocked: bool| json!({"firstName": "Kim", "role": "auditor", "rowScope": "all", "blocked": blocked});
    let accept = || async { open.nobody().post(path, &json!({"password": PASSWORD})).await.0 };
    let (status, blocked) = owner.put(&user, &change(true)).await;
    assert_eq!((status, &blocked["data"]["status"]), (200, &json!("blocked")), "{blocked}");
    assert_eq!(accept().await, 404);
    let (status, unblocked) = owner.put(&user, &change(false)).await;
    assert_eq!((status, &unblocked["data"]["status"]), (200, &json!("invited")), "{unblocked}");
    assert_eq!(accept().await, 200);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_edit_of_what_somebody_else_has_changed_is_refused(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let (_, made) =
        owner.post("/api/roles", &json!({"slug": "mine", "name": "Mine", "permissions": []})).await;
    let path = format!("/api/roles/{}", made["data"]["id"].as_str().unwrap());
    let read = owner.request(Method::GET, &path).send().await.unwrap();
    let tag = read.headers()["etag"].clone();
    let edit = |name: &str| {
        let body = json!({"name": name, "permissions": ["contacts:read"]});
        owner.send(owner.request(Method::PUT, &path).header("if-match", tag.clone()).json(&body))
    };
    assert_eq!(edit("First").await.0, 200);
    let (status, late) = edit("Second").await;
    assert_eq!((status, code(&late)), (412, "changed"));
    assert_eq!(owner.get(&path).await.1["data"]["name"], "First");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_repeated_post_is_done_once(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let post = |key: &'static str, name: &str| {
        let body = json!({"name": name, "scopes": ["users:read"]});
        owner.request(Method::POST, "/api/keys").header("idempotency-key", key).json(&body)
    };
    let (first, again) = (owner.send(post("k1", "one")).await, owner.send(post("k1", "one")).await);
    assert_eq!(first.0, 201, "{first:?}");
    assert_eq!(first, again, "the same answer, and so the same key");
    assert_eq!(owner.get("/api/keys").await.1["data"]["apiKeys"].as_array().unwrap().len(), 1);
    let (status, reused) = owner.send(post("k1", "two")).await;
    assert_eq!((status, code(&reused)), (422, "idempotency_key_reused"));
    let side_by_side = futures::future::join_all((0..8).map(|_| owner.send(post("k2", "two")))).await;
    assert!(side_by_side.iter().all(|(status, _)| [201, 409].contains(status)), "{side_by_side:?}");
    assert_eq!(owner.get("/api/keys").await.1["data"]["apiKeys"].as_array().unwrap().len(), 2);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_tenant_makes_so_many_requests_and_hears_how_many_are_left(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__API__TENANT_PER_SECOND", "5")]).await;
    let key = open.key(&["users:read"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let mut refused = None;
    for _ in 0..12 {
        let answer = key.request(Method::GET, "/api/users").send().await.unwrap();
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.headers()["ratelimit-limit"], "5");
    }
    let refused = refused.expect("five, and what came back meanwhile");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["ratelimit-remaining"], "0");
    assert_eq!(refused.headers()["ratelimit-reset"], "1");
    assert_eq!(open.stranger().await.get("/api/users").await.0, 200, "others are not held up");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_key_makes_so_many_requests_and_leaves_the_others_theirs(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__API__PROGRAM_PER_SECOND", "3")]).await;
    let (busy, other) = (open.key(&["users:read"]).await, open.key(&["users:read"]).await);
    let mut seen = Vec::new();
    for _ in 0..40 {
        let answer = busy.request(Method::GET, "/api/users").send().await.unwrap();
        assert_eq!(answer.headers()["ratelimit-limit"], "3");
        seen.push(answer.status().as_u16());
    }
    assert!(seen.starts_with(&[200, 200, 200]) && seen.contains(&429), "{seen:?}");
    assert_eq!(other.get("/api/users").await.0, 200);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_audit_log_shows_who_did_what_and_whether_it_was_changed(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    owner.post("/api/roles", &json!({"slug": "mine", "name": "Mine", "permissions": []})).await;
    let request = owner.request(Method::GET, "/api/audit-log?action=role.").header("x-request-id", "look-1");
    let (status, log) = owner.send(request).await;
    assert_eq!(status, 200, "{log}");
    let deeds = log["data"]["deeds"].as_array().unwrap();
    assert_eq!(deeds.len(), 1);
    assert_eq!((&deeds[0]["action"], &deeds[0]["detail"]["slug"]), (&json!("role.create"), &json!("mine")));
    assert!(deeds[0]["actor"].as_str().unwrap().starts_with("user:usr_"));
    assert_eq!(open.stranger().await.get("/api/audit-log?action=role.").await.1["data"]["deeds"], json!([]));

    let verify = || open.run(&["audit", "verify", "--tenant", "acme"]);
    assert_eq!(verify().code, 0, "{}", verify().err);
    let update = "update audit_log set detail = '{}' where action = 'role.create'";
    let refused = sqlx::query(update).execute(&pool).await.unwrap_err();
    assert!(refused.to_string().contains("append-only"), "{refused}");
    sqlx::query("alter table audit_log disable trigger all").execute(&pool).await.unwrap();
    sqlx::query(update).execute(&pool).await.unwrap();
    let found = verify();
    assert_eq!(found.code, 1);
    assert!(found.err.contains("was changed"), "{}", found.err);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn deeds_of_many_at_once_are_one_chain(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let role = |n: usize| {
        let (owner, store) = (&owner, &open.engine.store);
        async move {
            let role = json!({"slug": format!("role_{n}"), "name": "One of many", "permissions": []});
            assert_eq!(owner.post("/api/roles", &role).await.0, 201);
            // Whoever reads chains, too.
            assert_eq!(owner.get("/api/audit-log?action=role.").await.0, 200);
            store.chain_audit_logs().await.unwrap();
        }
    };
    futures::future::join_all((0..30).map(role)).await;
    let log = owner.get("/api/audit-log?action=role.&limit=100").await.1;
    let slugs: BTreeSet<&str> = log["data"]["deeds"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|deed| deed["detail"]["slug"].as_str())
        .collect();
    assert_eq!(slugs.len(), 30, "{log}");
    let verified = open.run(&["--json", "audit", "verify", "--tenant", "acme"]);
    assert_eq!(verified.code, 0, "{}", verified.err);
    let rows: i64 = sqlx::query_scalar("select count(*) from audit_log").fetch_one(&pool).await.unwrap();
    assert_eq!(verified.json()["rows"], json!(rows));
    let left: i64 = sqlx::query_scalar("select count(*) from audit_pending").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 0);
}

/// The second wall: what a query without its tenant would see.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a08_row_level_security_stands_behind_the_queries(pool: PgPool) {
    let open = Open::new(&pool).await;
    let (owner, stranger) = (open.owner().await, open.stranger().await);
    me(&owner).await;
    me(&stranger).await;
    let acme = open.engine.store.tenant("acme").await.unwrap().id;
    let mut tx = open.engine.store.within(acme).await.unwrap();
    let seen: i64 = sqlx::query_scalar("select count(*) from users").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(seen, 1);
    let theirs = "update users set first_name = 'Eve' where email like '%@other.example'";
    assert_eq!(sqlx::query(theirs).execute(&mut *tx).await.unwrap().rows_affected(), 0);
    let named: i64 = sqlx::query_scalar("select count(*) from tenants").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(named, 1);
    drop(tx);

    // Every table is behind the wall, or is named here with the reason why not.
    let open_tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition and not c.relrowsecurity
         order by 1",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    insta::assert_debug_snapshot!(open_tables);
    let granted: i64 = sqlx::query_scalar(
        "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relrowsecurity
           and has_table_privilege('fanfare_api', c.oid, 'select')",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(granted, 0, "what has no wall is not shown at all");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_tenant_without_an_owner_is_known(pool: PgPool) {
    let open = Open::new(&pool).await;
    let store = &open.engine.store;
    assert_eq!(store.tenants_without_owner().await.unwrap(), ["acme", "other"]);
    open.owner().await;
    assert_eq!(store.tenants_without_owner().await.unwrap(), ["other"]);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_proves_nothing_any_more_is_deleted_and_nothing_else(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let request = |key: &str| {
        let body = json!({"name": key, "scopes": ["users:read"]});
        owner.send(owner.request(Method::POST, "/api/keys").header("idempotency-key", key).json(&body))
    };
    assert_eq!(request("old").await.0, 201);
    assert_eq!(request("new").await.0, 201);
    sqlx::raw_sql(
        "update idempotency_keys set started_at = now() - interval '25 hours' where key = 'old';
         insert into sign_in_failures (subject_hash, failures, last_at, locked_until) values
             ('\\x01', 9, now() - interval '25 hours', now() - interval '24 hours'),
             ('\\x02', 9, now() - interval '25 hours', now() + interval '1 hour'),
             ('\\x03', 1, now(), null);
         insert into one_time_links (token_hash, tenant_id, purpose, user_id, expires_at)
         select decode(to_hex(i + 16), 'hex'), tenant_id, 'invitation', id, now() + case when i < 5 then -1 else 1 end * interval '1 hour'
         from users, generate_series(0, 5) i;
         insert into sessions (id, tenant_id, user_id, environment, user_agent, expires_at, revoked_at)
         select gen_random_uuid(), tenant_id, id, 'production', agent, now() + expires, now() - revoked
         from users, (values ('expired long ago', interval '-31 days', null::interval), ('expired', interval '-1 day', null),
                             ('revoked long ago', interval '5 days', interval '31 days'), ('revoked', interval '5 days', interval '1 day'))
              as s (agent, expires, revoked);
         insert into refresh_tokens (token_hash, session_id, expires_at)
         select sha256(s.id::text::bytea || x.past::text::bytea), s.id, now() + x.past from sessions s,
                (values (interval '-1 minute'), (interval '1 day')) x (past) where s.user_agent = 'revoked'",
    )
    .execute(&pool)
    .await
    .unwrap();
    let kept = async |table: &str, column: &str| -> Vec<String> {
        let query = format!("select {column}::text from {table} order by 1");
        sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(&pool).await.unwrap()
    };
    let tokens = kept("refresh_tokens", "token_hash").await.len();
    // So many at a time of each table; the upkeep goes on while there are more.
    assert_eq!(open.engine.store.delete_spent(2).await.unwrap(), 2);
    assert_eq!(kept("one_time_links", "token_hash").await.len(), 4);
    open.engine.upkeep().once().await.unwrap();
    assert_eq!(kept("idempotency_keys", "key").await, ["new"]);
    assert_eq!(kept("sign_in_failures", "subject_hash").await, ["\\x02", "\\x03"]);
    assert_eq!(kept("one_time_links", "token_hash").await, ["\\x15"]);
    assert_eq!(kept("sessions", "user_agent").await, ["", "expired", "revoked"]);
    assert_eq!(kept("refresh_tokens", "token_hash").await.len(), tokens - 1);
    assert_eq!(me(&owner).await["role"], "owner", "whoever is signed in stays so");
}
