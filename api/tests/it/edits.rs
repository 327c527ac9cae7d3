//! Edits that bear the tag of what somebody read, of every operation of the OpenAPI document.

use reqwest::{Method, header};
use serde_json::Value;
use sqlx::PgPool;

use crate::{
    contract::document,
    naughty::{
        bodies::{NUMBER, full},
        own,
    },
    single_sends::Stage,
};

/// Edits of what nobody has read before: a password, a piece of a file, a cap that is stated as a whole, what was read.
const WITHOUT: [(&str, &str); 5] = [
    ("PUT", "/api/auth/change-password"),
    ("PATCH", "/api/notifications/read-all"),
    ("PATCH", "/api/notifications/{notification_id}/read"),
    ("PUT", "/api/settings/send-caps"),
    ("PUT", "/api/upload/sessions/{upload_session_id}"),
];

/// Where one reads what is edited here, if not at its own path or at the thing that it is a part of.
const READ_AT: [(&str, &str); 1] = [("/api/auth/profile", "/api/auth/me")];

fn takes_a_tag(operation: &Value) -> bool {
    operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "If-Match"))
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn every_edit_is_refused_where_somebody_else_was_quicker(pool: PgPool) {
    let settings = [("FANFARE_SEALING_KEYS", "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")];
    let stage = Stage::with(&pool, &settings).await;
    stage.renewal_reminder().await;
    let (ids, document, owner) = (own(&stage).await, document(&stage.open).await, &stage.owner);
    let mut edits = 0;
    let paths = document["paths"].as_object().unwrap();
    // What is deleted is not there to be edited, and neither are its parts.
    for methods in [&["put", "patch"][..], &["delete"]] {
        for (template, item, method) in paths
            .iter()
            .rev()
            .flat_map(|(path, item)| methods.iter().map(move |method| (path, item, *method)))
        {
            let Some(operation) = item.get(method) else { continue };
            let method: Method = method.to_uppercase().parse().unwrap();
            if !takes_a_tag(operation) {
                let without = WITHOUT.contains(&(method.as_str(), template));
                assert!(without || method == Method::DELETE, "{method} {template} takes no If-Match");
                continue;
            }
            edits += 1;
            let path = ids
                .iter()
                .fold(template.clone(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id));
            let body = full(&method, template, "2099-01-01T00:00:00Z").to_string().replace(NUMBER, "9");
            let edit = |tag: &str| {
                let request = owner.request(method.clone(), &path).header(header::IF_MATCH, tag);
                owner.send(request.header(header::CONTENT_TYPE, "application/json").body(body.clone()))
            };
            let (status, refused) = edit("\"1\"").await;
            assert_eq!(
                (status, refused["code"].as_str()),
                (412, Some("changed")),
                "{method} {template}: {refused}"
            );
            let elsewhere = READ_AT.iter().find(|(edited, _)| edited == template);
            let read = match elsewhere {
                Some((_, read)) => read,
                None if item.get("get").is_some() => path.as_str(),
                None => path.rsplit_once('/').unwrap().0,
            };
            let read = owner.request(Method::GET, read).send().await.unwrap();
            let tag = read.headers().get(header::ETAG).unwrap_or_else(|| panic!("{template} shows no ETag"));
            let (status, answer) = edit(tag.to_str().unwrap()).await;
            assert!(status != 412 && status < 500, "{method} {template}: {status} {answer}");
        }
    }
    assert!(edits > 15, "{edits}");
}
