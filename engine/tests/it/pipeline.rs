//! Campaigns from launch to the last record.

use fanfare_engine::{
    domain::{
        channel::{Channel, MessageClass},
        event::Scope,
    },
    engine::{Settings, WorkerSettings},
    launch::control,
};
use fanfare_sandbox::SandboxConfig;
use sqlx::PgPool;

use crate::{
    house::{ALL, House, stop},
    support::until,
};

const MIGRATOR: &sqlx::migrate::Migrator = &fanfare_engine::store::MIGRATOR;

fn faults(house: &House, change: &str) {
    house.sandbox.set_faults(serde_json::from_str(change).unwrap()).unwrap();
}

fn slow(latency_ms: u64) -> SandboxConfig {
    let faults = serde_json::json!({"email": {"latency_ms": latency_ms}});
    SandboxConfig { faults: serde_json::from_value(faults).unwrap(), ..SandboxConfig::default() }
}

/// Everybody got exactly one message, with their own values.
async fn assert_everybody_got_theirs(house: &House, channel: Channel, expected: usize) {
    let received = house.received();
    assert_eq!(received.len(), expected, "{channel}");
    let rows: Vec<(uuid::Uuid, i32, String, String, String)> = sqlx::query_as(
        "select r.campaign_id, r.n, r.address, c.name, c.attributes ->> 'policy'
         from recipients r join contacts c on c.id = r.contact_id join campaigns k on k.id = r.campaign_id
         where k.channel = $1",
    )
    .bind(channel.as_str())
    .fetch_all(house.store.pool())
    .await
    .unwrap();
    for (campaign, n, address, name, policy) in rows {
        let id = fanfare_engine::id::MessageId { campaign: campaign.into(), n }.to_string();
        let Some(record) = received.get(&id) else { continue };
        // The sandbox knows numbers without their plus sign.
        let address = address.trim_start_matches('+');
        assert_eq!((record.address.as_str(), record.count), (address, 1), "{id}");
        let text = format!("Dear {name}, policy {policy} is due.");
        let content = match channel {
            Channel::Email => vec![format!("Policy {policy}"), format!("<p>{text}</p>")],
            Channel::Sms => vec![text],
            Channel::Whatsapp => vec![format!(r#"{{"body":"{text}","preview_url":false}}"#)],
            Channel::InApp => panic!("the sandbox sees none of it"),
        };
        let parts: Vec<&str> = content.iter().map(String::as_str).collect();
        assert_eq!(
            record.digest,
            hex::encode(fanfare_sandbox::digest(address, &id, &parts)),
            "{id}: {content:?}"
        );
    }
}

async fn sends_to_everybody(pool: PgPool, channel: Channel, class: MessageClass) {
    let house = House::new(pool).await;
    house.contacts(1_500).await;
    let campaign = house.draft(channel, class).await;
    let running = house.engine(Settings::default()).await.start(ALL);
    house.launch(campaign).await;
    let progress = house.finished(campaign).await;
    assert_eq!((progress.recipients, progress.sent, progress.unknown), (1_500, 1_500, 0));
    assert_everybody_got_theirs(&house, channel, 1_500).await;
    stop(running).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn email_reaches_everybody(pool: PgPool) {
    sends_to_everybody(pool, Channel::Email, MessageClass::Obligation).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sms_reaches_everybody(pool: PgPool) {
    sends_to_everybody(pool, Channel::Sms, MessageClass::Obligation).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn whatsapp_reaches_everybody(pool: PgPool) {
    sends_to_everybody(pool, Channel::Whatsapp, MessageClass::Marketing).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn batches_reach_everybody_and_one_bad_address_costs_one_message(pool: PgPool) {
    let house = House::new(pool).await.batching();
    house.contacts(1_000).await;
    sqlx::query("update contacts set email = 'rejected-' || email where name in ('Person 17', 'Person 700')")
        .execute(house.store.pool())
        .await
        .unwrap();
    let campaign = house.draft(Channel::Email, MessageClass::Obligation).await;
    let running = house.engine(Settings::default()).await.start(ALL);
    house.launch(campaign).await;
    let progress = house.finished(campaign).await;
    assert_eq!((progress.sent, progress.failed, progress.unknown), (998, 2, 0));
    assert_everybody_got_theirs(&house, Channel::Email, 998).await;
    stop(running).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_fails_for_a_while_is_tried_again_and_what_failed_can_be_replayed(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(60).await;
    let campaign = house.draft(Channel::Sms, MessageClass::Transactional).await;
    // Every second request is refused for good.
    faults(&house, r#"{"sms": {"error_mix": {"400": 0.5}}}"#);
    let running = house.engine(Settings::default()).await.start(ALL);
    house.launch(campaign).await;
    let progress = house.finished(campaign).await;
    assert_eq!(progress.sent + progress.failed, 60, "{progress:?}");
    assert!(progress.failed > 0, "{progress:?}");
    faults(&house, r#"{"sms": {}}"#);
    let replayed = control::retry_failed(&house.store, house.tenant_id(), campaign, 500).await.unwrap();
    assert_eq!(replayed, progress.failed);
    assert_eq!(
        control::retry_failed(&house.store, house.tenant_id(), campaign, 500).await.unwrap(),
        0,
        "once"
    );
    let progress = house.finished(campaign).await;
    assert_eq!((progress.sent, progress.failed), (60, 0));
    assert!(house.received().values().all(|record| record.count == 1));
    stop(running).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_cancel_gives_everybody_a_last_word(pool: PgPool) {
    let house = House::with(pool, slow(100)).await;
    house.contacts(3_000).await;
    let campaign = house.draft(Channel::Email, MessageClass::Obligation).await;
    let worker =
        WorkerSettings { in_flight: 20, in_flight_keyless: 20, slice: 50, ..WorkerSettings::default() };
    let running = house.engine(Settings { worker, ..Settings::default() }).await.start(ALL);
    house.launch(campaign).await;
    house.until(campaign, "progress", |progress| progress.sent > 100).await;
    control::cancel(&house.store, house.tenant_id(), campaign).await.unwrap();
    let progress = house.until(campaign, "end", |progress| progress.waiting == 0).await;
    assert_eq!(progress.sent + progress.suppressed, progress.recipients, "{progress:?}");
    assert_eq!(house.received().len() as i64, progress.sent);
    let reasons = house.store.reasons(house.tenant_id(), campaign).await.unwrap();
    assert_eq!(reasons.iter().map(|count| count.reason.as_str()).collect::<Vec<_>>(), ["cancelled"]);
    stop(running).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_unsubscribe_on_the_way_is_honoured(pool: PgPool) {
    let house = House::with(pool, slow(50)).await;
    house.contacts(2_000).await;
    let campaign = house.draft(Channel::Email, MessageClass::Marketing).await;
    let worker = WorkerSettings {
        in_flight: 20,
        in_flight_keyless: 20,
        slice: 20,
        chunks: 2,
        ..WorkerSettings::default()
    };
    let running = house.engine(Settings { worker, ..Settings::default() }).await.start(ALL);
    house.launch(campaign).await;
    house.until(campaign, "progress", |progress| progress.sent > 50).await;
    let waiting: String = sqlx::query_scalar(
        "select address from recipients r where campaign_id = $1 and not exists (
             select 1 from facts_of($1, r.n)) order by n desc limit 1",
    )
    .bind(campaign.uuid())
    .fetch_one(house.store.pool())
    .await
    .unwrap();
    house
        .store
        .suppress(
            house.tenant_id(),
            Channel::Email,
            &waiting,
            Scope::Marketing,
            fanfare_engine::domain::outcome::Reason::Unsubscribed,
            "test",
        )
        .await
        .unwrap();
    let progress = house.finished(campaign).await;
    assert_eq!((progress.sent, progress.suppressed), (1_999, 1));
    assert!(house.received().values().all(|record| record.address != waiting));
    stop(running).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_refused_account_fails_nobody(pool: PgPool) {
    let mut config = SandboxConfig::default();
    config.brevo.accounts[0].api_key = "another-key".to_owned();
    let house = House::with(pool, config).await;
    house.contacts(50).await;
    let campaign = house.draft(Channel::Email, MessageClass::Obligation).await;
    let running = house.engine(Settings::default()).await.start(ALL);
    house.launch(campaign).await;
    until("the account is noted as refused", async || {
        house.store.accounts().await.unwrap().iter().any(|account| account.blocked.is_some())
    })
    .await;
    let progress = house.progress(campaign).await;
    assert_eq!((progress.failed, progress.sent, progress.waiting), (0, 0, 50), "{progress:?}");
    stop(running).await;
}

/// Somebody who has stopped marketing in WhatsApp itself (131050): the provider's answer is the first that we hear of it.
#[sqlx::test(migrator = "MIGRATOR")]
async fn who_was_refused_as_unsubscribed_is_not_asked_for_again(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(3).await;
    sqlx::query("update contacts set phone = '+23057999050' where name = 'Person 2'")
        .execute(house.store.pool())
        .await
        .unwrap();
    let running = house.engine(Settings::default()).await.start(ALL);
    for (requests, stage) in [(3, "the provider refuses"), (5, "the engine asks no more")] {
        let campaign = house.draft(Channel::Whatsapp, MessageClass::Marketing).await;
        house.launch(campaign).await;
        let progress = house.finished(campaign).await;
        assert_eq!((progress.sent, progress.suppressed), (2, 1), "{stage}");
        let reasons = house.store.reasons(house.tenant_id(), campaign).await.unwrap();
        assert_eq!(reasons[0].reason, "unsubscribed", "{stage}");
        let asked: u64 = house.sandbox.audit().summary().lanes.iter().map(|lane| lane.requests).sum();
        assert_eq!(asked, requests, "{stage}");
    }
    let listed = house.store.suppressions(house.tenant_id(), None, 10).await.unwrap();
    let listed: Vec<_> =
        listed.iter().map(|row| (row.address.as_str(), row.scope, row.source.as_str())).collect();
    assert_eq!(listed, [("+23057999050", Scope::Marketing, "send")]);
    stop(running).await;
}
