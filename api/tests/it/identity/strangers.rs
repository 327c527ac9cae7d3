//! People who register by themselves, and who users are among the contacts.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::code;
use crate::open::{Open, PASSWORD};

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a12_strangers_register_only_where_they_are_let(pool: PgPool) {
    let open = Open::new(&pool).await;
    let new = json!({"email": "kim@example.com", "password": PASSWORD, "firstName": "Kim"});
    assert_eq!(open.nobody().post("/api/auth/register", &new).await.0, 403);
    let owner = open.owner().await;
    let path = "/api/settings/registration";
    let (status, usual) = owner.get(path).await;
    assert_eq!((status, &usual["data"]["role"]), (200, &Value::Null), "{usual}");
    for role in ["owner", "auditor", "nobodys"] {
        let (status, refused) = owner.put(path, &json!({"role": role})).await;
        assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("role")), "{role}: {refused}");
    }
    let (status, set) = owner.put(path, &json!({"role": "customer"})).await;
    assert_eq!((status, &set["data"]["role"]), (200, &json!("customer")), "{set}");
    let (_, noted) = owner.get("/api/audit-log?action=settings.change").await;
    assert_eq!(noted["data"]["deeds"][0]["subject"], "registration.role", "{noted}");
    let (status, made) = open.nobody().post("/api/auth/register", &new).await;
    assert_eq!((status, &made["data"]["user"]["role"]), (201, &json!("customer")), "{made}");
    let kim = open.bearing(made["data"]["token"].as_str().unwrap());
    assert_eq!(kim.get("/api/users").await.0, 403);
    let (status, again) = open.nobody().post("/api/auth/register", &new).await;
    assert_eq!((status, code(&again)), (409, "conflict"));
    let wrong = json!({"email": "kim", "password": "kim", "firstName": "", "phone": "12"});
    let (_, refused) = open.nobody().post("/api/auth/register", &wrong).await;
    let fields: Vec<&str> =
        refused["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["email", "password", "firstName", "phone"]);

    // The role that strangers get stays, and gives them no more when it is made to allow more.
    let (_, roles) = owner.get("/api/roles?limit=100").await;
    let mut roles = roles["data"]["roles"].as_array().unwrap().iter();
    let customer = roles.find(|role| role["slug"] == "customer").unwrap()["id"].as_str().unwrap().to_owned();
    let more = json!({"name": "Customer", "permissions": ["notifications:read", "contacts:read"]});
    assert_eq!(owner.put(&format!("/api/roles/{customer}"), &more).await.0, 200);
    let other = json!({"email": "lee@example.com", "password": PASSWORD, "firstName": "Lee"});
    assert_eq!(open.nobody().post("/api/auth/register", &other).await.0, 403);
    let mine = json!({"slug": "guest", "name": "Guest", "permissions": ["notifications:read"]});
    let (_, guest) = owner.post("/api/roles", &mine).await;
    assert_eq!(owner.put(path, &json!({"role": "guest"})).await.0, 200);
    let guest = format!("/api/roles/{}", guest["data"]["id"].as_str().unwrap());
    let (status, refused) = owner.delete(&guest).await;
    assert_eq!((status, code(&refused)), (409, "conflict"), "{refused}");
    assert_eq!(owner.put(path, &json!({"role": null})).await.0, 200);
    assert_eq!(owner.delete(&guest).await.0, 204);
    assert_eq!(open.nobody().post("/api/auth/register", &other).await.0, 403);
}

/// Whoever registers with somebody's address reads nothing of theirs before they have shown that it is their own.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_stranger_is_somebody_once_their_address_is_proved(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let (_, known) = owner.post("/api/contacts", &json!({"email": "kim@example.com"})).await;
    owner.put("/api/settings/registration", &json!({"role": "customer"})).await;
    let new = json!({"email": "kim@example.com", "password": PASSWORD, "firstName": "Kim"});
    let (_, made) = open.nobody().post("/api/auth/register", &new).await;
    let user = format!("/api/users/{}", made["data"]["user"]["id"].as_str().unwrap());
    assert_eq!(owner.get(&user).await.1["data"]["contactId"], Value::Null);
    let change = json!({"firstName": "Kim", "role": "customer", "rowScope": "all"});
    // They may be blocked and let in again though nobody knows who they are; the wrong person they are not made.
    let lost = json!({"contactId": "cont_01jd3v9x2gfk8s5m7q4w6r0t1z"});
    let (status, refused) = owner.put(&user, &merged(&change, &lost)).await;
    assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("contactId")), "{refused}");
    for blocked in [true, false] {
        let (status, changed) = owner.put(&user, &merged(&change, &json!({"blocked": blocked}))).await;
        assert_eq!((status, &changed["data"]["contactId"]), (200, &Value::Null), "{changed}");
    }
    let (_, link) = owner.post(&format!("{user}/link"), &json!({})).await;
    let reset = link["data"]["path"].as_str().unwrap();
    assert_eq!(open.nobody().post(reset, &json!({"password": "another long phrase"})).await.0, 204);
    assert_eq!(owner.get(&user).await.1["data"]["contactId"], known["data"]["id"]);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_agent_and_a_customer_are_somebody(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let new = json!({"email": "kim@example.com", "firstName": "Kim", "role": "agent"});
    let (status, refused) = owner.post("/api/users", &new).await;
    assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("contactId")), "{refused}");
    let (_, known) = owner.post("/api/contacts", &json!({"email": "kim@example.com"})).await;
    let (status, made) = owner.post("/api/users", &new).await;
    assert_eq!((status, &made["data"]["user"]["contactId"]), (201, &known["data"]["id"]), "{made}");
    // Of another tenant nobody is anybody here.
    let (_, theirs) = open.stranger().await.post("/api/contacts", &json!({"email": "lee@example.com"})).await;
    let new = json!({"email": "lee@example.com", "firstName": "Lee", "role": "customer", "contactId": theirs["data"]["id"]});
    let (status, refused) = owner.post("/api/users", &new).await;
    assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("contactId")), "{refused}");
    // Whoever only works here is nobody's contact.
    let new = json!({"email": "max@example.com", "firstName": "Max", "role": "marketer"});
    assert_eq!(owner.post("/api/users", &new).await.1["data"]["user"]["contactId"], Value::Null);
}

fn merged(one: &Value, other: &Value) -> Value {
    let mut both = one.as_object().unwrap().clone();
    both.extend(other.as_object().unwrap().clone());
    Value::Object(both)
}
