//! What campaigns count: analytics, conversions, and everybody one by one.

use super::*;

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn numbers_are_those_of_the_sample_in_whatever_order_they_come(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let id = house.sent().await;
    house.sample_numbers(&id).await;
    let sample = json!({"sent": 142, "delivered": 138, "opened": 89, "clicked": 34, "converted": 12,
                        "openRate": 64.5, "clickRate": 24.6, "conversionRate": 8.7});
    let metrics = house.metrics(&id).await;
    for (name, value) in sample.as_object().unwrap() {
        assert_eq!(&metrics[name], value, "{name} of {metrics}");
    }
    let (_, answer) = house.owner.get(&format!("/api/campaigns/{id}/analytics?bucket=day")).await;
    let sum = |name: &str| {
        answer["data"]["timeline"].as_array().unwrap().iter().map(|e| e[name].as_i64().unwrap()).sum::<i64>()
    };
    assert_eq!((sum("sent"), sum("delivered"), sum("converted")), (142, 138, 12), "{answer}");
    assert_eq!(answer["data"]["topPerformingContent"][0]["template"], "template-1");

    let campaign: CampaignId = id.parse().unwrap();
    assert!(!house.store().check_rollup(campaign).await.unwrap(), "they are sums of rows");
    sqlx::query("update campaign_hours set recipients = recipients + 1 where measure = 'opened'")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("delete from campaign_marks where measure = 'clicked'").execute(&pool).await.unwrap();
    assert!(house.store().check_rollup(campaign).await.unwrap(), "and somebody notices when they are not");
    house.folded().await;
    assert_eq!(house.metrics(&id).await, metrics);
    assert!(!house.store().check_rollup(campaign).await.unwrap());
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_conversion_is_found_by_who_did_it_and_when(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let id = house.sent().await;
    let contacts: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from contacts order by name").fetch_all(&pool).await.unwrap();
    for contact in &contacts {
        let contact = fanfare_engine::id::ContactId::from_uuid(*contact);
        let renewed = json!({"kind": "renewal", "contact": contact.to_string()});
        let (_, counted) = house.owner.post("/api/conversions", &renewed).await;
        assert_eq!(counted["data"]["conversions"][0]["campaignId"], json!(id), "{contact}: {counted}");
    }
    sqlx::query("delete from conversions").execute(&pool).await.unwrap();
    let late = Timestamp::now_for_tests() - SignedDuration::from_hours(1);
    for (body, expected) in [
        (json!({"kind": "payment", "reference": "POL-7"}), 1),
        (json!({"kind": "payment", "reference": "POL-7"}), 0),
        (json!({"kind": "payment", "reference": "nobody's"}), 0),
        (json!({"kind": "payment", "reference": "POL-8", "at": late.to_string()}), 0),
    ] {
        let (status, counted) = house.owner.post("/api/conversions", &body).await;
        assert_eq!(status, 200, "{body}: {counted}");
        assert_eq!(counted["data"]["conversions"].as_array().unwrap().len(), expected, "{body}: {counted}");
    }
    for wrong in [
        json!({"kind": "payment"}),
        json!({"kind": "Pay ment", "reference": "POL-1"}),
        json!({"kind": "payment", "reference": "a\u{0}"}),
        json!({"kind": "payment", "reference": "POL-1", "at": "9999-01-01T00:00:00Z"}),
    ] {
        assert_eq!(house.owner.post("/api/conversions", &wrong).await.0, 422, "{wrong}");
    }
    let stranger = house.open.stranger().await;
    let (_, theirs) =
        stranger.post("/api/conversions", &json!({"kind": "payment", "reference": "POL-9"})).await;
    assert_eq!(theirs["data"]["conversions"], json!([]));
}

/// Message `n` was accepted at that moment, long ago, and the campaign counts what happens within two days after it.
const ACCEPTED: &str = "2026-03-02T08:00:00Z";
const WITHIN_HOURS: i64 = 48;

/// A campaign that was sent at that moment, with this rule of conversions.
async fn sent_long_ago(house: &Insurer, rule: Value) -> CampaignId {
    let id = house.draft().await;
    let (status, changed) =
        house.owner.patch(&format!("/api/campaigns/{id}"), &json!({"conversion": rule})).await;
    assert_eq!(status, 200, "{changed}");
    house.send(&id).await;
    let id: CampaignId = id.parse().unwrap();
    for statement in [
        "update results set at = $2::timestamptz where campaign_id = $1",
        "update campaigns set launched_at = $2::timestamptz where id = $1",
    ] {
        sqlx::query(statement).bind(id.uuid()).bind(ACCEPTED).execute(house.store().pool()).await.unwrap();
    }
    id
}

/// How many conversions it counted for.
async fn counted(house: &Insurer, body: Value) -> usize {
    let (status, counted) = house.owner.post("/api/conversions", &body).await;
    assert_eq!(status, 200, "{body}: {counted}");
    counted["data"]["conversions"].as_array().unwrap().len()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_conversion_counts_within_the_window_of_its_message(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let campaign = sent_long_ago(&house, json!({"withinHours": WITHIN_HOURS})).await;
    let accepted: Timestamp = ACCEPTED.parse().unwrap();
    let window = SignedDuration::from_hours(WITHIN_HOURS);
    let moment = SignedDuration::from_micros(1);
    for (n, at, expected) in [
        (1, accepted - moment, 0),
        (2, accepted, 1),
        (3, accepted + window - moment, 1),
        (4, accepted + window, 0),
        (5, accepted + window + moment, 0),
    ] {
        let message = MessageId { campaign, n };
        let contact: uuid::Uuid =
            sqlx::query_scalar("select contact_id from recipients where campaign_id = $1 and n = $2")
                .bind(campaign.uuid())
                .bind(n)
                .fetch_one(&pool)
                .await
                .unwrap();
        let contact = fanfare_engine::id::ContactId::from_uuid(contact);
        for who in [("message", message.to_string()), ("contact", contact.to_string())] {
            let body = json!({"kind": "payment", who.0: who.1, "at": at.to_string()});
            assert_eq!(counted(&house, body).await, expected, "{n} at {at}, by {}", who.0);
            sqlx::query("delete from conversions").execute(&pool).await.unwrap();
        }
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn kinds_that_were_named_count_and_each_recipient_once(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let rule = json!({"kinds": ["payment", "quote.requested"], "withinHours": WITHIN_HOURS});
    let campaign = sent_long_ago(&house, rule).await;
    let at =
        |minutes| (ACCEPTED.parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes)).to_string();
    let told = |n: i32, kind: &str, minutes: i64| json!({"kind": kind, "message": MessageId { campaign, n }.to_string(), "at": at(minutes)});
    for (n, kind, expected) in [
        (1, "renewal", 0),
        (1, "quote", 0),
        (1, "quote.requested", 1),
        (2, "payment", 1),
        // The same person once more, by whatever they do.
        (2, "payment", 0),
        (2, "quote.requested", 0),
        (1, "payment", 0),
    ] {
        assert_eq!(counted(&house, told(n, kind, 10)).await, expected, "{kind} of {n}");
    }
    house.folded().await;
    assert_eq!(house.metrics(&campaign.to_string()).await["converted"], json!(2));
    // Told at once by many, it is one.
    let at_once = (0..8).map(|minutes| counted(&house, told(3, "payment", minutes)));
    assert_eq!(futures::future::join_all(at_once).await.iter().sum::<usize>(), 1);
    house.folded().await;
    assert_eq!(house.metrics(&campaign.to_string()).await["converted"], json!(3));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn everybody_is_accounted_for_one_by_one(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    sqlx::query("update contacts set email = null where name = 'Person 3'").execute(&pool).await.unwrap();
    let id = house.sent().await;
    let campaign: CampaignId = id.parse().unwrap();
    let sendable: Vec<i32> = sqlx::query_scalar(
        "select n from recipients where campaign_id = $1 and excluded is null order by n limit 2",
    )
    .bind(campaign.uuid())
    .fetch_all(&pool)
    .await
    .unwrap();
    sqlx::query(
        "update results set kind = 2, reason = 'recipient_rejected' where campaign_id = $1 and n = $2",
    )
    .bind(campaign.uuid())
    .bind(sendable[0])
    .execute(&pool)
    .await
    .unwrap();
    house.tell(&id, EventKind::Opened, sendable[1], sendable[1]).await;
    let mut path = format!("/api/campaigns/{id}/recipients?limit=50");
    let mut all = Vec::new();
    loop {
        let (status, page) = house.owner.get(&path).await;
        assert_eq!(status, 200, "{page}");
        all.extend(page["data"]["recipients"].as_array().unwrap().iter().cloned());
        let Some(next) = page["data"]["pagination"]["nextCursor"].as_str() else { break };
        path = format!("/api/campaigns/{id}/recipients?limit=50&cursor={next}");
    }
    assert_eq!(all.len(), 142);
    let states = |state: &str| all.iter().filter(|one| one["state"] == state).count();
    assert_eq!((states("failed"), states("read"), states("excluded")), (1, 1, 1));
    let (_, unsent) = house.owner.get(&format!("/api/campaigns/{id}/unsent")).await;
    let unsent = &unsent["data"];
    assert_eq!(
        (&unsent["pagination"]["total"], &unsent["recipients"][2]),
        (&json!(2), &Value::Null),
        "{unsent}"
    );
    let (_, second) = house.owner.get(&format!("/api/campaigns/{id}/unsent?limit=1&page=2")).await;
    let (_, back) = house.owner.get(&format!("/api/campaigns/{id}/unsent?limit=1&sort=-n")).await;
    assert_eq!(second["data"]["recipients"], back["data"]["recipients"], "{second} {back}");
    assert_eq!(second["data"]["recipients"][0], unsent["recipients"][1], "{second}");
    let everybody = house.csv(&format!("/api/campaigns/{id}/recipients?format=csv")).await;
    let numbers: Vec<i64> = everybody.iter().map(|row| row["n"].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=142).collect::<Vec<_>>());
    let states = |state: &str| everybody.iter().filter(|row| row["state"] == state).count();
    assert_eq!((states("failed"), states("read"), states("excluded")), (1, 1, 1));
    let not_sent = house.csv(&format!("/api/campaigns/{id}/unsent?format=csv")).await;
    let mut why: Vec<&str> = not_sent.iter().map(|row| row["reason"].as_str()).collect();
    why.sort_unstable();
    assert_eq!(why, ["no_address", "recipient_rejected"]);
    let (_, noted) = house.owner.get("/api/audit-log?action=campaign.recipients_read").await;
    assert_eq!(noted["data"]["deeds"][0]["detail"], json!({"of": "unsent", "recipients": "all"}), "{noted}");
    let (status, _) =
        house.open.key(&["campaigns:read"]).await.get(&format!("/api/campaigns/{id}/unsent")).await;
    assert_eq!(status, 403, "addresses are for those who may read contacts");

    sqlx::query("select recount_chunks(array_agg(campaign_id), array_agg(no)) from chunks")
        .execute(&pool)
        .await
        .unwrap();
    let (status, retried) = house.owner.post(&format!("/api/campaigns/{id}/retry-failed"), &json!({})).await;
    assert_eq!((status, &retried["data"]["messages"]), (200, &json!(1)), "{retried}");
}
