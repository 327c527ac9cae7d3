//! Notifications over HTTP.

use fanfare_engine::engine::Role;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::open::{Open, PASSWORD};

const MIGRATOR: &sqlx::migrate::Migrator = &fanfare_engine::store::MIGRATOR;

fn titles(answer: &Value) -> Vec<&str> {
    let all = answer["data"]["notifications"].as_array().expect("a list");
    all.iter().map(|one| one["title"].as_str().expect("a title")).collect()
}

fn fields(answer: &Value) -> Vec<&str> {
    let all = answer["errors"].as_array().expect("errors");
    all.iter().map(|one| one["field"].as_str().expect("a field")).collect()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_broadcast_is_listed_read_and_deleted(pool: PgPool) {
    let open = Open::new(&pool).await;
    let (owner, stranger) = (open.owner().await, open.stranger().await);
    let (status, made) = owner
        .post(
            "/api/notifications/broadcast",
            &json!({"type": "system", "title": "Maintenance", "message": "Saturday, 20:00", "priority": "urgent",
                   "data": {"url": "/status", "largest": f64::MAX, "exact": 0.1 + 0.2}, "expiresAt": "2099-01-01T00:00:00Z"}),
        )
        .await;
    assert_eq!((status, &made["data"]["readers"]), (201, &json!(1)), "{made}");
    let id = made["data"]["ids"][0].as_str().unwrap().to_owned();

    let (status, listed) = owner.get("/api/notifications?unread=true&type=system").await;
    assert_eq!(
        (status, &listed["success"], &listed["data"]["unreadCount"]),
        (200, &json!(true), &json!(1)),
        "{listed}"
    );
    let one = &listed["data"]["notifications"][0];
    assert_eq!(one["id"], json!(id));
    assert_eq!(one["data"], json!({"url": "/status", "largest": f64::MAX, "exact": 0.1 + 0.2}));
    assert_eq!((&one["isRead"], &one["readAt"]), (&json!(false), &Value::Null));
    assert_eq!((&one["priority"], &one["expiresAt"]), (&json!("urgent"), &json!("2099-01-01T00:00:00Z")));

    assert!(titles(&stranger.get("/api/notifications").await.1).is_empty());
    assert_eq!(stranger.patch(&format!("/api/notifications/{id}/read"), &json!({})).await.0, 404);
    assert_eq!(stranger.delete(&format!("/api/notifications/{id}")).await.0, 404);

    let (status, read) = owner.patch(&format!("/api/notifications/{id}/read"), &json!({})).await;
    assert_eq!((status, &read["data"]["isRead"]), (200, &json!(true)), "{read}");
    assert_eq!(owner.get("/api/notifications").await.1["data"]["unreadCount"], json!(0));
    assert_eq!(owner.delete(&format!("/api/notifications/{id}")).await.0, 204);
    assert_eq!(owner.delete(&format!("/api/notifications/{id}")).await.0, 404);
    assert!(titles(&owner.get("/api/notifications").await.1).is_empty());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn pages_and_cursors_lead_through_all(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    for n in 1..=5 {
        let body = json!({"title": format!("news {n}"), "message": "m"});
        assert_eq!(owner.post("/api/notifications/broadcast", &body).await.0, 201);
    }
    let (_, first) = owner.get("/api/notifications?limit=2").await;
    assert_eq!(titles(&first), ["news 5", "news 4"]);
    assert_eq!(first["data"]["pagination"]["totalPages"], json!(3));
    assert_eq!(titles(&owner.get("/api/notifications?limit=2&page=3").await.1), ["news 1"]);
    let mut seen: Vec<String> = titles(&first).into_iter().map(str::to_owned).collect();
    let mut cursor = first["data"]["pagination"]["nextCursor"].clone();
    // What comes in meanwhile is not on the way.
    owner.post("/api/notifications/broadcast", &json!({"title": "news 6", "message": "m"})).await;
    while let Some(at) = cursor.as_str() {
        let (_, next) = owner.get(&format!("/api/notifications?limit=2&cursor={at}")).await;
        seen.extend(titles(&next).into_iter().map(str::to_owned));
        cursor = next["data"]["pagination"]["nextCursor"].clone();
    }
    assert_eq!(seen, ["news 5", "news 4", "news 3", "news 2", "news 1"]);

    let newest = first["data"]["notifications"][0]["id"].as_str().unwrap();
    let (status, marked) =
        owner.patch(&format!("/api/notifications/read-all?upTo={newest}"), &json!({})).await;
    assert_eq!((status, &marked["data"]["marked"]), (200, &json!(5)), "news 6 was not looked at: {marked}");
    assert_eq!(titles(&owner.get("/api/notifications?unread=true").await.1), ["news 6"]);
    assert_eq!(owner.patch("/api/notifications/read-all", &json!({})).await.1["data"]["marked"], json!(1));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_can_not_be_taken_is_named(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let refused = [
        (json!({"title": "t\u{0}", "message": "m"}), vec!["title"]),
        (json!({"title": " ", "message": "", "type": "Policy"}), vec!["type", "title", "message"]),
        (
            json!({"title": "t", "message": "m", "audience": {"roles": ["owner", "nobody"]}}),
            vec!["audience.roles[1]"],
        ),
        (json!({"title": "t", "message": "m", "audience": {"staff": false}}), vec!["audience"]),
        (
            json!({"title": "t", "message": "m", "audience": {"users": ["usr_00000000000000000000000000"]}}),
            vec!["audience.users"],
        ),
        (json!({"title": "t", "message": "m", "audience": {"users": ["ann"]}}), vec!["audience.users[0]"]),
        (json!({"title": "t", "message": "m", "data": {"a": "\u{0}"}}), vec!["data.a"]),
        (json!({"title": "t", "message": "m", "priority": "loud"}), vec!["priority"]),
        (json!({"title": "t", "message": "m", "colour": "red"}), vec!["colour"]),
    ];
    for (body, expected) in refused {
        let (status, answer) = owner.post("/api/notifications/broadcast", &body).await;
        assert_eq!((status, fields(&answer)), (422, expected), "{body}: {answer}");
    }
    for query in ["page=0", "limit=501", "cursor=x", "unread=perhaps", "type=%00", "sort=title"] {
        assert_eq!(owner.get(&format!("/api/notifications?{query}")).await.0, 422, "{query}");
    }
    assert_eq!(owner.patch("/api/notifications/ntf_x/read", &json!({})).await.0, 404);
    let unknown = "/api/notifications/read-all?upTo=ntf_00000000000000000000000000";
    assert_eq!(owner.patch(unknown, &json!({})).await.0, 422);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_key_is_no_reader_and_may_broadcast_only_if_it_says_so(pool: PgPool) {
    let open = Open::new(&pool).await;
    let body = json!({"title": "t", "message": "m"});
    let reading = open.key(&["notifications:read"]).await;
    assert_eq!(reading.get("/api/notifications").await.0, 403);
    assert_eq!(reading.post("/api/notifications/broadcast", &body).await.0, 403);
    let telling = open.key(&["notifications:broadcast"]).await;
    assert_eq!(telling.post("/api/notifications/broadcast", &body).await.0, 201);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn preferences_decide_what_is_listed(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    owner.post("/api/notifications/broadcast", &json!({"title": "t", "message": "m", "type": "claim"})).await;
    let (status, usual) = owner.get("/api/notifications/preferences").await;
    assert_eq!(status, 200);
    assert_eq!(usual["data"]["preferences"].as_array().map(Vec::len), Some(6), "{usual}");

    let wanted = json!({"preferences": [{"type": "claim", "channels": ["email"]}]});
    let (status, said) = owner.put("/api/notifications/preferences", &wanted).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(said["data"]["preferences"][0], json!({"type": "claim", "channels": ["email"]}));
    assert!(titles(&owner.get("/api/notifications").await.1).is_empty());

    for (wanted, expected) in [
        (json!({"preferences": [{"type": "system", "channels": []}]}), "preferences[0].channels"),
        (json!({"preferences": [{"type": "claim", "channels": ["fax"]}]}), "preferences[0].channels[0]"),
        (
            json!({"preferences": [{"type": "a", "channels": []}, {"type": "a", "channels": []}]}),
            "preferences[1].type",
        ),
    ] {
        let (status, answer) = owner.put("/api/notifications/preferences", &wanted).await;
        assert_eq!((status, fields(&answer)), (422, vec![expected]), "{answer}");
    }
    let (status, _) = owner.put("/api/notifications/preferences", &json!({"preferences": []})).await;
    assert_eq!((status, titles(&owner.get("/api/notifications").await.1)), (200, vec!["t"]));
}

/// From the template to whoever reads it, over HTTP alone.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_campaign_in_app_is_read_by_those_it_was_for(pool: PgPool) {
    let settings = [("FANFARE_SEALING_KEYS", "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")];
    let open = Open::with(&pool, &settings).await;
    let owner = open.owner().await;
    let (status, account) = owner.post("/api/accounts", &json!({"slug": "app", "provider": "in_app"})).await;
    assert_eq!(status, 201, "{account}");
    let customer = async |email: &str, name: &str| {
        let (_, contact) = owner.post("/api/contacts", &json!({"email": email, "name": name})).await;
        let new = json!({"email": email, "firstName": name, "role": "customer", "contactId": contact["data"]["id"]});
        let (_, invited) = owner.post("/api/users", &new).await;
        let path = invited["data"]["invitation"]["path"].as_str().unwrap().to_owned();
        let (status, signed_in) = open.nobody().post(&path, &json!({"password": PASSWORD})).await;
        assert_eq!(status, 200, "{signed_in}");
        open.bearing(signed_in["data"]["token"].as_str().unwrap())
    };
    let (kim, lee) = (customer("kim@example.com", "Kim").await, customer("lee@example.com", "Lee").await);
    let content = json!({"title": "Dear {{name}}", "message": "Your policy is due.", "type": "policy",
                         "priority": "high", "data": {"who": "{{name}}"}});
    let template = json!({"name": "Due", "type": "in_app", "class": "obligation", "content": content});
    let (status, made) = owner.post("/api/templates", &template).await;
    assert_eq!(status, 201, "{made}");
    let campaign = json!({"name": "Due", "type": "in_app", "templates": {"in_app": "due"}});
    let (status, made) = owner.post("/api/campaigns", &campaign).await;
    assert_eq!(status, 201, "{made}");
    let campaign = format!("/api/campaigns/{}", made["data"]["campaigns"][0]["id"].as_str().unwrap());
    let (_, looked) = owner.get(&format!("{campaign}/preflight")).await;
    assert_eq!(looked["data"]["sendable"], json!(2), "{looked}");
    let running = open.engine.start(&[Role::Worker, Role::Scheduler, Role::Upkeep]);
    let (status, launched) = owner.put(&format!("{campaign}/status"), &json!({"status": "active"})).await;
    assert_eq!(status, 200, "{launched}");
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while owner.get(&campaign).await.1["data"]["status"] != "completed" {
        assert!(std::time::Instant::now() < give_up, "{}", owner.get(&campaign).await.1);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    running.shut_down().await;

    for (who, name) in [(&kim, "Kim"), (&lee, "Lee")] {
        let (_, listed) = who.get("/api/notifications").await;
        assert_eq!(
            (titles(&listed), &listed["data"]["unreadCount"]),
            (vec![format!("Dear {name}").as_str()], &json!(1))
        );
        let one = &listed["data"]["notifications"][0];
        assert_eq!(
            (&one["type"], &one["priority"], &one["data"]),
            (&json!("policy"), &json!("high"), &json!({"who": name}))
        );
    }
    let (_, listed) = kim.get("/api/notifications").await;
    let id = listed["data"]["notifications"][0]["id"].as_str().unwrap();
    assert_eq!(kim.patch(&format!("/api/notifications/{id}/read"), &json!({})).await.0, 200);
    let (_, messages) = owner.get("/api/messages?channel=in_app").await;
    assert_eq!(messages["data"]["messages"].as_array().unwrap().len(), 2, "{messages}");
    assert!(titles(&owner.get("/api/notifications").await.1).is_empty(), "it was for customers");
}
