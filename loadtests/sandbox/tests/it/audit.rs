//! Who got what, how often and when.

use fanfare_sandbox::digest;
use serde_json::{Value, json};

use crate::support::{Rig, mail, rig, with};

async fn send(rig: &Rig, to: &str, id: &str, html: &str) {
    let body = with(mail(to), &json!({"htmlContent": html, "headers": {"X-Mailin-custom": id}}));
    assert_eq!(rig.email(&body).await.status, 201);
}

#[tokio::test]
async fn duplicates_and_conflicts_are_told_apart() {
    let rig = rig().await;
    send(&rig, "a@example.com", "msg_1", "<p>10</p>").await;
    send(&rig, "a@example.com", "msg_1", "<p>10</p>").await;
    let lane = rig.lane("email");
    assert_eq!((lane.messages, lane.distinct_messages, lane.duplicates, lane.digest_conflicts), (2, 1, 1, 0));
    send(&rig, "a@example.com", "msg_1", "<p>11</p>").await;
    assert_eq!(rig.lane("email").digest_conflicts, 1);
    send(&rig, "b@example.com", "msg_1", "<p>10</p>").await;
    let lane = rig.lane("email");
    assert_eq!(
        (lane.distinct_messages, lane.distinct_message_ids, lane.duplicates, lane.digest_conflicts),
        (2, 1, 2, 2)
    );
    // Without an id nothing is a duplicate of anything.
    for _ in 0..3 {
        assert_eq!(rig.email(&mail("a@example.com")).await.status, 201);
    }
    let lane = rig.lane("email");
    assert_eq!((lane.messages, lane.distinct_messages, lane.duplicates), (7, 5, 2));
}

#[tokio::test]
async fn several_people_of_one_mail_are_no_conflict() {
    let rig = rig().await;
    let body = json!({"to": [{"email": "a@example.com"}, {"email": "b@example.com"}], "cc": [{"email": "c@example.com"}],
        "headers": {"X-Mailin-custom": "msg_1"}});
    for _ in 0..2 {
        assert_eq!(rig.email(&with(mail("x@example.com"), &body)).await.status, 201);
    }
    let lane = rig.lane("email");
    assert_eq!(
        (lane.accepted_requests, lane.messages, lane.distinct_messages, lane.digest_conflicts),
        (2, 6, 3, 0)
    );
}

#[tokio::test]
async fn pages_give_every_message_once_with_its_digest() {
    let rig = rig().await;
    let sends: Vec<_> = (0..250).map(|n| (format!("p{n}@example.com"), format!("msg_{n}"))).collect();
    futures::future::join_all(sends.iter().map(|(to, id)| send(&rig, to, id, "<p>Hi</p>"))).await;
    let (mut seen, mut after, mut pages) = (Vec::new(), 0, 0);
    loop {
        let page = rig.get(&format!("/sandbox/audit/messages?after={after}&limit=100")).await;
        let mut next = None;
        for line in page.text.lines() {
            let record: Value = serde_json::from_str(line).expect("NDJSON");
            match record["next"].as_u64() {
                Some(cursor) => next = Some(cursor),
                None => seen.push((
                    record["address"].as_str().expect("text").to_owned(),
                    record["message_id"].as_str().expect("text").to_owned(),
                    record["digest"].as_str().expect("text").to_owned(),
                )),
            }
        }
        pages += 1;
        match next {
            Some(cursor) => after = cursor,
            None => break,
        }
    }
    assert_eq!(pages, 3);
    let expected = |(to, id): &(String, String)| {
        let digest = digest(to, id, &["Hi", "<p>Hi</p>"]);
        (to.clone(), id.clone(), digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    let mut expected: Vec<_> = sends.iter().map(expected).collect();
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn times_can_be_asked_for() {
    let rig = rig().await;
    send(&rig, "a@example.com", "msg_1", "<p>1</p>").await;
    let between = rig.get("/sandbox/clock").await.json()["monotonic_us"].as_u64().expect("a number");
    send(&rig, "b@example.com", "msg_2", "<p>2</p>").await;
    let count = |got: Value| got["count"].as_u64();
    assert_eq!(count(rig.get(&format!("/sandbox/audit/arrivals?to_us={between}")).await.json()), Some(1));
    assert_eq!(count(rig.get(&format!("/sandbox/audit/arrivals?from_us={between}")).await.json()), Some(1));
    let later = rig.get(&format!("/sandbox/audit/messages?since_us={between}")).await;
    assert_eq!(later.text.lines().count(), 1);
    let record = &rig.get("/sandbox/audit/message/msg_2").await.json()[0];
    assert!(record["first_us"].as_u64() >= Some(between));
    let clock = rig.sandbox.clock();
    let epoch = record["first_epoch_us"].as_u64().expect("a number");
    assert_eq!(epoch - record["first_us"].as_u64().expect("a number"), clock.started_epoch_us);
    assert_eq!(rig.get("/sandbox/audit/message/msg_3").await.status, 404);
}

#[tokio::test]
async fn a_reset_begins_anew() {
    let rig = rig().await;
    let keyed = json!({"headers": {"Idempotency-Key": "4f0c1c1e-0000-4000-8000-000000000000", "X-Mailin-custom": "msg_1"}});
    let body = with(mail("a@example.com"), &keyed);
    let first = rig.email(&body).await.json();
    let cleared = rig.client.delete(rig.url("/sandbox/audit")).send().await.expect("an answer");
    assert_eq!(cleared.status(), 204);
    assert_eq!(rig.lane("email").requests, 0);
    let second = rig.email(&body).await;
    assert_eq!(second.status, 201);
    assert_ne!(first, second.json());
    let summary = rig.get("/sandbox/audit").await.json();
    let over_http: fanfare_sandbox::Summary = serde_json::from_value(summary).expect("the same shape");
    assert_eq!(over_http, rig.sandbox.audit().summary());
    assert_eq!((rig.lane("email").messages, rig.lane("email").duplicates), (1, 0));
}
