//! Feedback on a real database: applied once, in any order, whatever breaks off in between.

use std::{sync::Arc, time::Duration};

use fanfare_engine::{
    domain::{
        channel::{Channel, MessageClass},
        event::{DeliveryState, EventKind, Scope},
        outcome::{FactKind, Reason},
    },
    feedback::{
        Inbox, InboxError, InboxSettings, Pass, reconcile,
        visits::{Deed, Visit, Visits},
    },
    id::MessageId,
    store::StoreError,
};
use fanfare_sandbox::{Sandbox, SandboxConfig};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::desk::Desk;

fn mail(kind: &str, message: MessageId) -> Value {
    json!({
        "event": kind, "email": "x@example.com", "message-id": format!("<{}@relay>", message.n), "ts_epoch": 1_700_000_000_000_i64,
        "X-Mailin-custom": message,
    })
}

fn one(address: &str, scope: &str, reason: &str) -> Vec<(String, String, String)> {
    vec![(address.to_owned(), scope.to_owned(), reason.to_owned())]
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_repeated_webhook_changes_nothing(pool: PgPool) {
    let desk = Desk::new(pool).await;
    for repetitions in [1, 2, 100] {
        for _ in 0..repetitions {
            desk.put(0, &mail("delivered", desk.email(1))).await;
            desk.put(0, &json!([mail("click", desk.email(1)), mail("click", desk.email(1))])).await;
        }
        let pass = desk.apply().await;
        assert_eq!(pass.taken, repetitions * 2);
        assert_eq!(desk.kinds(1).await, [EventKind::Clicked, EventKind::Delivered]);
    }
}

/// One that is known among many does not keep the others from being new, nor is it counted again.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_is_new_is_told_from_what_is_known(pool: PgPool) {
    let desk = Desk::new(pool).await;
    desk.put(0, &json!([mail("delivered", desk.email(2)), mail("click", desk.email(1))])).await;
    assert_eq!(desk.apply().await.applied.repeated, 0);
    let again = ["delivered", "opened", "click"].map(|kind| [1, 2, 3].map(|n| mail(kind, desk.email(n))));
    desk.put(0, &json!(again.as_flattened())).await;
    let applied = desk.apply().await.applied;
    assert_eq!((applied.repeated, applied.events.values().sum::<u64>()), (2, 7));
    let news =
        [EventKind::Delivered, EventKind::Opened, EventKind::Clicked].map(|kind| applied.events[&kind]);
    assert_eq!(news, [2, 3, 2]);
    for n in 1..=3 {
        assert_eq!(desk.kinds(n).await.len(), 3, "{n}");
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_order_does_not_matter(pool: PgPool) {
    let desk = Desk::new(pool).await;
    let words = ["request", "delivered", "opened"];
    for word in words {
        desk.put(0, &mail(word, desk.email(1))).await;
        desk.apply().await;
    }
    for word in words.iter().rev() {
        desk.put(0, &mail(word, desk.email(2))).await;
        desk.apply().await;
    }
    assert_eq!(desk.kinds(1).await, desk.kinds(2).await);
    // Delivered after it was read: it stays read.
    assert_eq!(DeliveryState::after(desk.kinds(2).await), DeliveryState::Read);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_event_settles_an_unknown_attempt_once(pool: PgPool) {
    let desk = Desk::new(pool).await;
    for n in 1..=3 {
        desk.record(n, FactKind::Unknown).await;
    }
    assert_eq!(desk.facts(1).await.1, (0, 0, 3));
    desk.put(0, &json!([mail("error", desk.email(2)), mail("request", desk.email(1))])).await;
    assert_eq!(desk.apply().await.applied.settled, 2);
    assert_eq!(desk.facts(1).await, (vec![FactKind::Accepted as i16, FactKind::Unknown as i16], (1, 1, 1)));
    assert_eq!(desk.facts(2).await.0, [FactKind::Failed as i16, FactKind::Unknown as i16]);
    let (provider_id, reason): (Option<String>, Option<String>) = sqlx::query_as(
        "select provider_id, reason from results where campaign_id = $1 and n = 1 and kind = 0",
    )
    .bind(desk.channels[0].1.uuid())
    .fetch_one(desk.store.pool())
    .await
    .unwrap();
    assert_eq!((provider_id.as_deref(), reason), (Some("1@relay"), None));
    desk.put(0, &mail("delivered", desk.email(1))).await;
    assert_eq!(desk.apply().await.applied.settled, 0, "it is known by now");
    // Given up, and then it came after all.
    desk.record(3, FactKind::Abandoned).await;
    desk.put(0, &mail("delivered", desk.email(3))).await;
    assert_eq!(desk.apply().await.applied.settled, 1);
    assert_eq!(desk.facts(3).await.1, (2, 1, 0));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_event_before_the_result_settles_it_later(pool: PgPool) {
    let desk = Desk::new(pool).await;
    desk.put(
        0,
        &json!([
            mail("delivered", desk.email(1)),
            mail("error", desk.email(2)),
            mail("error", desk.email(3))
        ]),
    )
    .await;
    assert_eq!(desk.apply().await.applied.settled, 0);
    desk.record(1, FactKind::Unknown).await;
    desk.record(2, FactKind::Unknown).await;
    desk.record(3, FactKind::Accepted).await;
    assert_eq!(desk.store.settle_from_events(100).await.unwrap(), 2);
    assert_eq!(desk.facts(1).await, (vec![0, 4], (2, 1, 0)));
    assert_eq!(desk.facts(3).await.0, [0]);
    assert_eq!(desk.store.settle_from_events(100).await.unwrap(), 0);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn bounces_and_complaints_suppress_the_address_that_was_written_to(pool: PgPool) {
    let desk = Desk::new(pool).await;
    desk.put(
        0,
        &json!([
            mail("hard_bounce", desk.email(1)),
            mail("spam", desk.email(2)),
            mail("soft_bounce", desk.email(3))
        ]),
    )
    .await;
    assert_eq!(desk.apply().await.applied.suppressed, 2);
    let expected =
        [one("person1@example.com", "all", "bounced"), one("person2@example.com", "marketing", "complained")];
    assert_eq!(desk.suppressed().await, expected.concat());
    // Somebody takes the address off the list; the same webhook, once more, does not put it back.
    let removed = sqlx::query("delete from suppressions where address = 'person1@example.com'")
        .execute(desk.store.pool());
    assert_eq!(removed.await.unwrap().rows_affected(), 1);
    desk.put(0, &mail("hard_bounce", desk.email(1))).await;
    assert_eq!(desk.apply().await.applied.suppressed, 0);
    assert_eq!(desk.suppressed().await, expected[1]);
}

fn whatsapp(field: &str, value: &Value) -> Value {
    json!({"object": "whatsapp_business_account", "entry": [{"changes": [{"field": field, "value": value}]}]})
}

fn preference(value: &str, at: i64) -> Value {
    whatsapp(
        "user_preferences",
        &json!({"user_preferences": [
            {"wa_id": "23052345671", "category": "marketing_messages", "value": value, "timestamp": at},
        ]}),
    )
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_person_stops_and_resumes_by_whatever_way(pool: PgPool) {
    let desk = Desk::new(pool).await;
    let stopped = one("+23052345671", "marketing", "unsubscribed");
    desk.put(2, &whatsapp("messages", &json!({"messages": [
        {"from": "23052345671", "id": "wamid.1", "timestamp": "1700000000", "type": "text", "text": {"body": "Stop"}},
    ]})))
    .await;
    desk.apply().await;
    assert_eq!(desk.suppressed().await, stopped);
    desk.put(2, &preference("resume", 1_700_000_100)).await;
    assert_eq!(desk.apply().await.applied.resumed, 1);
    assert_eq!(desk.suppressed().await, []);
    // Both in one portion: the later one holds, in whichever order they come.
    desk.put(2, &preference("resume", 1_700_000_300)).await;
    desk.put(2, &preference("stop", 1_700_000_200)).await;
    desk.apply().await;
    assert_eq!(desk.suppressed().await, []);
    desk.put(2, &preference("stop", 1_700_000_400)).await;
    desk.put(2, &preference("resume", 1_700_000_300)).await;
    desk.apply().await;
    assert_eq!(desk.suppressed().await, stopped);
    // An old resumption, repeated after a newer stop, undoes nothing.
    desk.put(2, &preference("resume", 1_700_000_300)).await;
    assert_eq!(desk.apply().await.applied.resumed, 0);
    assert_eq!(desk.suppressed().await, stopped);
    // SMS: by an event of our message, and by a reply.
    for (n, status) in
        [(2, json!({"msg_status": "unsubscribe"})), (3, json!({"msg_status": "reply", "reply": "ARRÊT"}))]
    {
        let mut event = json!({
            "to": format!("2305234567{n}"), "messageId": n, "ts_event": 1_700_000_000,
            "tag": [MessageId { campaign: desk.channels[1].1, n }],
        });
        event.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
        desk.put(1, &event).await;
    }
    desk.apply().await;
    let by_sms =
        [one("+23052345672", "marketing", "unsubscribed"), one("+23052345673", "marketing", "unsubscribed")];
    assert_eq!(desk.suppressed().await, [by_sms.concat(), stopped].concat());
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_resumption_does_not_lift_what_the_person_did_not_set(pool: PgPool) {
    let desk = Desk::new(pool).await;
    let tenant = desk.tenant.into();
    let reason = Reason::BlockedByProvider;
    desk.store
        .suppress(tenant, Channel::Whatsapp, "+23052345671", Scope::Marketing, reason, "api")
        .await
        .unwrap();
    desk.put(2, &preference("resume", 4_000_000_000)).await;
    assert_eq!(desk.apply().await.applied.resumed, 0);
    let listed = desk.store.suppressions(tenant, None, 10).await.unwrap();
    assert_eq!((listed.len(), listed[0].source.as_str()), (1, "api"));
    assert_eq!(desk.store.suppressions(tenant, Some(&listed[0]), 10).await.unwrap(), []);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_webhook_that_makes_no_sense_holds_nobody_up(pool: PgPool) {
    let desk = Desk::new(pool).await;
    desk.put(0, &mail("delivered", desk.email(1))).await;
    desk.store.add_to_inbox(&[desk.channels[0].0.uuid()], &[b"<html>\0\xff"]).await.unwrap();
    // Readable, but not for this database, for whatever reason.
    sqlx::raw_sql("alter table events add check (detail <> 'unheard of')")
        .execute(desk.store.pool())
        .await
        .unwrap();
    let deferred = |reason: &str, message: MessageId| json!({"event": "deferred", "X-Mailin-custom": message, "reason": reason});
    desk.put(0, &deferred("unheard of", desk.email(2))).await;
    desk.put(0, &mail("delivered", desk.email(3))).await;
    // A text that no database keeps is left out of an event that counts.
    desk.put(0, &deferred("a\0b", desk.email(3))).await;
    let pass = desk.apply().await;
    assert_eq!((pass.taken, pass.rejected), (5, 2));
    assert_eq!(desk.kinds(1).await, [EventKind::Delivered]);
    assert_eq!(desk.kinds(2).await, []);
    assert_eq!(desk.kinds(3).await, [EventKind::Deferred, EventKind::Delivered]);
    let rejected: Vec<(Vec<u8>, String)> =
        sqlx::query_as("select body, reason from inbox_rejected order by id")
            .fetch_all(desk.store.pool())
            .await
            .unwrap();
    assert_eq!(rejected[0].0, b"<html>\0\xff");
    assert_eq!(rejected[0].1, "the webhook's body is not what the provider documents");
    assert!(rejected[1].1.contains("the database refused a statement"), "{}", rejected[1].1);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn nobody_tells_about_another_tenants_messages(pool: PgPool) {
    let ours = Desk::new(pool.clone()).await;
    let theirs = Desk::at(pool, "other", "http://127.0.0.1:9").await;
    ours.put(0, &mail("hard_bounce", theirs.email(1))).await;
    ours.put(0, &mail("delivered", MessageId { n: 99, ..ours.email(1) })).await;
    let pass = ours.apply().await;
    assert_eq!(pass.applied.orphans, 2);
    assert_eq!(theirs.kinds(1).await, []);
    assert_eq!((ours.suppressed().await, theirs.suppressed().await), (vec![], vec![]));
    // Webhooks of accounts that a process does not have are left for one that has them.
    theirs.put(0, &mail("delivered", theirs.email(1))).await;
    assert_eq!(ours.worker.pass(&ours.accounts).await.unwrap(), Pass::default());
    assert_eq!(theirs.apply().await.taken, 1);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_account_tells_about_messages_of_its_channel(pool: PgPool) {
    let desk = Desk::new(pool).await;
    let message = MessageId { campaign: desk.channels[1].1, n: 1 };
    // Whoever holds the secret of the tenant's e-mail account knows the id of one of its SMS.
    desk.put(0, &json!([mail("hard_bounce", message), mail("delivered", message)])).await;
    let pass = desk.apply().await;
    assert_eq!((pass.applied.orphans, pass.applied.suppressed), (2, 0));
    assert_eq!(desk.suppressed().await, vec![]);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_breaks_off_is_applied_once(pool: PgPool) {
    let desk = Desk::new(pool).await;
    desk.record(1, FactKind::Unknown).await;
    desk.put(0, &mail("delivered", desk.email(1))).await;
    // As a worker that dies before its commit: everything was done, and nothing of it is there.
    let portion = fanfare_engine::store::inbox::Portion { webhooks: 10, bytes: 1 << 20 };
    let mut tx = desk.store.begin().await.unwrap();
    let claimed =
        fanfare_engine::store::inbox::claim(&mut tx, &[desk.channels[0].0.uuid()], portion).await.unwrap();
    assert_eq!(claimed.len(), 1);
    // While one has it in hand, nobody else takes it.
    assert_eq!(desk.worker.pass(&desk.accounts).await.unwrap().taken, 0);
    tx.rollback().await.unwrap();
    let pass = desk.apply().await;
    assert_eq!((pass.taken, pass.applied.settled), (1, 1));
    assert_eq!(desk.worker.pass(&desk.accounts).await.unwrap().taken, 0);
    assert_eq!(desk.facts(1).await, (vec![0, 4], (1, 0, 0)));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_portion_is_bounded_in_webhooks_and_bytes(pool: PgPool) {
    let desk = Desk::new(pool).await;
    let account = desk.channels[0].0.uuid();
    let body = vec![b' '; 1_000];
    for _ in 0..6 {
        desk.store.add_to_inbox(&[account; 2], &[&body, &body]).await.unwrap();
    }
    for (webhooks, bytes, expected) in [(10, 1, 1), (10, 2_001, 2), (3, 1_000_000, 2), (1_000, 1_000_000, 1)]
    {
        let mut tx = desk.store.begin().await.unwrap();
        let portion = fanfare_engine::store::inbox::Portion { webhooks, bytes };
        let claimed = fanfare_engine::store::inbox::claim(&mut tx, &[account], portion).await.unwrap();
        assert_eq!(claimed.len(), expected, "of {webhooks} webhooks and {bytes} bytes");
        tx.commit().await.unwrap();
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn webhooks_are_committed_together_before_they_are_acknowledged(pool: PgPool) {
    let desk = Desk::new(pool).await;
    let (inbox, writer) = Inbox::new(desk.store.clone(), InboxSettings::default());
    let account = desk.channels[0].0;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(writer.run());
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..200 {
        let inbox = inbox.clone();
        callers.spawn(async move { inbox.store(account, format!("{n}").into_bytes()).await });
    }
    assert!(callers.join_all().await.iter().all(Result::is_ok));
    assert_eq!(desk.store.inbox_backlog().await.unwrap().webhooks, 200);
    let rows: i64 =
        sqlx::query_scalar("select count(*) from inbox").fetch_one(desk.store.pool()).await.unwrap();
    assert!(rows <= 20, "those of one commit share a row: {rows}");
    drop(inbox);
    tokio::time::timeout(Duration::from_secs(5), tasks.join_all())
        .await
        .expect("ends when nobody can hand anything over");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_full_inbox_says_so_at_once(pool: PgPool) {
    let desk = Desk::new(pool).await;
    let account = desk.channels[0].0;
    let settings = InboxSettings { commit_rows: 1, waiting_bytes: 8 << 10, ..InboxSettings::default() };
    let (inbox, writer) = Inbox::new(desk.store.clone(), settings);
    assert_eq!(inbox.store(account, vec![b'x'; 9 << 10]).await, Err(InboxError::Busy), "too many bytes");
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let inbox = inbox.clone();
        callers.spawn(async move { inbox.store(account, b"x".to_vec()).await });
    }
    // Four find room, the fifth hears that there is none; nobody writes yet.
    assert_eq!(callers.join_next().await.unwrap().unwrap(), Err(InboxError::Busy));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(writer.run());
    assert!(callers.join_all().await.iter().all(Result::is_ok));
    assert_eq!(desk.store.inbox_backlog().await.unwrap().webhooks, 4);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_provider_is_asked_about_what_no_webhook_told(pool: PgPool) {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let desk = Desk::at(pool, "acme", &sandbox.base_url()).await;
    let (account, campaign) = desk.channels[0];
    let adapter = Arc::clone(&desk.accounts.get(account).unwrap().adapter);
    for n in [1, 2] {
        desk.record(n, FactKind::Unknown).await;
    }
    // The first arrived, the second never did.
    let content =
        fanfare_templates::Rendered::Email { subject: "S".into(), html: "<p>H</p>".into(), text: "T".into() };
    let envelope = fanfare_engine::providers::Envelope {
        message: desk.email(1),
        to: "person1@example.com",
        class: MessageClass::Marketing,
        content: &content,
        key: desk.email(1).idempotency_key(1),
        unsubscribe: None,
    };
    adapter.send(envelope).await;
    let since = desk.store.now().await.unwrap();
    let asked = [1, 2].map(|n| MessageId { campaign, n });
    let settled = reconcile::look_up(&desk.store, adapter.as_ref(), account, &asked, since).await.unwrap();
    assert_eq!(settled, 1);
    assert_eq!(desk.facts(1).await, (vec![0, 4], (1, 0, 1)));
    assert_eq!(desk.kinds(1).await, [EventKind::Delivered, EventKind::Sent]);
    assert_eq!(desk.facts(2).await.0, [4]);
    sandbox.shutdown().await;
    let failed = reconcile::look_up(&desk.store, adapter.as_ref(), account, &asked, since).await;
    assert_eq!(failed.unwrap_err().to_string(), "Brevo's event log cannot be reached");
}

/// Takes the shared side of the tenant's lock, as an intent does.
async fn intent(desk: &Desk) -> sqlx::PgTransaction<'static> {
    let mut tx = desk.store.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock_shared(lock_key) from tenants where id = $1")
        .bind(desk.tenant)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_stop_is_acknowledged_after_every_intent_that_may_not_have_seen_it(pool: PgPool) {
    let desk = Desk::new(pool).await;
    let open = intent(&desk).await;
    let tenant = desk.tenant.into();
    let (store, watched) = (desk.store.clone(), desk.store.clone());
    let mut stops = tokio::task::JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        stops.spawn(async move {
            let address = format!("+2305234500{n}");
            store.suppress(tenant, Channel::Sms, &address, Scope::All, Reason::Unsubscribed, "api").await
        });
    }
    // All have committed and wait: nobody is told before the open intent is over.
    let listed = async {
        while watched.suppressions(tenant, None, 100).await.unwrap().len() < 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), listed).await.unwrap();
    assert!(stops.try_join_next().is_none());
    open.commit().await.unwrap();
    let results = tokio::time::timeout(Duration::from_secs(10), stops.join_all()).await.unwrap();
    assert!(results.iter().all(Result::is_ok));
    let unknown = desk.store.grace(Uuid::nil().into()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })), "{unknown:?}");
}

/// Whoever follows every link of a message does so within a second or two, longer than visits wait to be judged.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_last_click_of_a_machine_is_one_of_a_machine(pool: PgPool) {
    let desk = Desk::new(pool).await;
    let (visits, writer) = Visits::new(desk.store.clone());
    let writing = tokio::spawn(writer.run());
    let first = desk.store.now().await.unwrap();
    let click = |link: &str, at| Visit {
        message: desk.email(1),
        deed: Deed::Click { link: link.to_owned(), page: String::new() },
        at,
        machine: None,
    };
    visits.note(click("a", first));
    for _ in 0..400 {
        if !desk.kinds(1).await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(desk.kinds(1).await, [EventKind::Clicked]);
    visits.note(click("b", first + Duration::from_millis(900)));
    drop(visits);
    writing.await.unwrap();
    assert_eq!(desk.kinds(1).await, [EventKind::Clicked, EventKind::Delivered]);
}
