//! Transactional messages: durable, once per business key, and refused where they must be.

use fanfare_engine::{
    deliver::direct::{DirectContent, DirectError, DirectRequest, Taken},
    domain::{
        channel::{Channel, Lane, MessageClass},
        event::Scope,
        outcome::{Outcome, Reason},
        references::References,
    },
    engine::{Settings, WorkerSettings},
    id::MessageId,
    store::{
        direct::{self, Cancellation},
        message_search,
    },
};
use fanfare_sandbox::SandboxConfig;
use futures::future::join_all;
use sqlx::PgPool;

use crate::{
    house::{ALL, House, stop},
    support::until,
};

const MIGRATOR: &sqlx::migrate::Migrator = &fanfare_engine::store::MIGRATOR;

fn request<'a>(house: &'a House, to: &'a str, key: Option<&'a str>) -> DirectRequest<'a> {
    let variables = serde_json::json!({"name": "Ann", "policy": "P-1"});
    DirectRequest {
        variables: variables.as_object().cloned().unwrap(),
        business_key: key,
        ..DirectRequest::new(&house.tenant, Channel::Sms, DirectContent::Template("transactional"), to)
    }
}

/// Until something is known of the message.
async fn known(house: &House, message: MessageId) {
    until("a fact", async || {
        !house.store.message(house.tenant_id(), message).await.unwrap().unwrap().facts.is_empty()
    })
    .await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn one_is_sent_at_once_and_once_per_business_key(pool: PgPool) {
    let house = House::new(pool).await;
    house.template(Channel::Sms, MessageClass::Transactional).await;
    let running = house.engine(Settings::default()).await.start(ALL);
    let Taken::Accepted { message, outcome, .. } =
        running.direct.take(request(&house, "+23052345678", Some("otp:1"))).await.unwrap()
    else {
        panic!("taken")
    };
    assert!(matches!(outcome.await.unwrap(), Outcome::Accepted { provider_id: Some(_) }));
    let again = running.direct.take(request(&house, "+23052345678", Some("otp:1"))).await.unwrap();
    assert!(matches!(again, Taken::Duplicate { message: first } if first == message));
    let received = house.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[&message.to_string()].count, 1);
    let record = house.store.message(house.tenant_id(), message).await.unwrap().unwrap();
    assert_eq!((record.facts.len(), record.facts[0].kind), (1, 0));
    stop(running).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn whoever_must_not_be_written_to_is_not(pool: PgPool) {
    let house = House::new(pool).await;
    house.template(Channel::Sms, MessageClass::Transactional).await;
    let running = house.engine(Settings::default()).await.start(ALL);
    let to = "+23052345678";
    let suppress =
        |scope, reason| house.store.suppress(house.tenant_id(), Channel::Sms, to, scope, reason, "test");
    suppress(Scope::Marketing, Reason::Unsubscribed).await.unwrap();
    let taken = running.direct.take(request(&house, to, None)).await.unwrap();
    assert!(matches!(taken, Taken::Accepted { .. }), "an OTP is no marketing: {taken:?}");
    suppress(Scope::All, Reason::Bounced).await.unwrap();
    let taken = running.direct.take(request(&house, to, None)).await.unwrap();
    assert!(matches!(taken, Taken::Refused { reason: Reason::Bounced, .. }), "{taken:?}");
    stop(running).await;
}

/// WhatsApp's tier: whoever would be one person too many waits, in a campaign or alone.
#[sqlx::test(migrator = "MIGRATOR")]
async fn an_account_writes_to_no_more_people_than_its_tier(pool: PgPool) {
    let house = House::new(pool).await.with_tier(3);
    house.contacts(5).await;
    house.template(Channel::Whatsapp, MessageClass::Transactional).await;
    let running = house.engine(Settings::default()).await.start(ALL);
    let campaign = house.draft(Channel::Whatsapp, MessageClass::Obligation).await;
    house.launch(campaign).await;
    house.until(campaign, "three sent", |progress| progress.sent == 3).await;

    let request = DirectRequest { channel: Channel::Whatsapp, ..request(&house, "+23059999999", None) };
    let Taken::Accepted { message, outcome, .. } = running.direct.take(request).await.unwrap() else {
        panic!("taken")
    };
    assert!(outcome.await.is_err(), "left to the queue");
    known(&house, message).await;
    stop(running).await;

    let put_off: Vec<(uuid::Uuid, String)> =
        sqlx::query_as("select campaign_id, reason from results where kind = 1 order by n")
            .fetch_all(house.store.pool())
            .await
            .unwrap();
    let beyond = |campaign: fanfare_engine::id::CampaignId| {
        put_off.iter().filter(|row| **row == (campaign.uuid(), "people_limited".to_owned())).count()
    };
    assert_eq!((beyond(campaign), beyond(message.campaign)), (2, 1), "{put_off:?}");
    assert_eq!(house.received().len(), 3);
    // A slice in which everybody waits has none; one of nobody could not be read by the chunk's next owner.
    let of_nobody: i64 = sqlx::query_scalar(
        "select count(*) from chunks where jsonb_path_exists(intents, '$[*] ? (@.from == null)')",
    )
    .fetch_one(house.store.pool())
    .await
    .unwrap();
    assert_eq!(of_nobody, 0, "intents of nobody");
}

/// None of them is left to the queue, which would cost more than the wait.
#[sqlx::test(migrator = "MIGRATOR")]
async fn whoever_finds_every_place_taken_waits_for_one(pool: PgPool) {
    let faults = serde_json::from_value(serde_json::json!({"sms": {"latency_ms": 50}})).unwrap();
    let house = House::with(pool, SandboxConfig { faults, ..SandboxConfig::default() }).await;
    house.template(Channel::Sms, MessageClass::Transactional).await;
    let worker = WorkerSettings { urgent_in_flight: 1, ..WorkerSettings::default() };
    let running = house.engine(Settings { worker, ..Settings::default() }).await.start(ALL);
    let one_of_many = async || {
        let taken = running.direct.take(request(&house, "+23052345678", None)).await.unwrap();
        let Taken::Accepted { outcome, .. } = taken else { panic!("{taken:?}") };
        outcome.await.expect("this process sends it")
    };
    for outcome in join_all((0..5).map(|_| one_of_many())).await {
        assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    }
    stop(running).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_mistake_is_named(pool: PgPool) {
    let house = House::new(pool).await;
    let running = house.engine(Settings::default()).await.start(ALL);
    let error = running.direct.take(request(&house, "12", None)).await.expect_err("no number");
    assert!(matches!(error, DirectError::Address(_)), "{error}");
    let error = running.direct.take(request(&house, "+23052345678", None)).await.expect_err("no template");
    assert!(error.to_string().contains("`transactional`"), "{error}");
    stop(running).await;
}

/// The feeder takes it up when it is due, not before; a stop before that holds for ever.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_message_for_later_leaves_when_it_is_due_unless_it_was_stopped(pool: PgPool) {
    let house = House::new(pool).await;
    house.template(Channel::Sms, MessageClass::Transactional).await;
    let running = house.engine(Settings::default()).await.start(ALL);
    let later = house.store.now().await.unwrap() + jiff::SignedDuration::from_hours(3);
    let mut taken = Vec::new();
    for to in ["+23052345678", "+23052345679"] {
        let request = DirectRequest { not_before: Some(later), ..request(&house, to, None) };
        let Taken::Accepted { message, outcome, .. } = running.direct.take(request).await.unwrap() else {
            panic!("taken")
        };
        assert!(outcome.await.is_err(), "nobody sends it now");
        taken.push(message);
    }
    let lane = Lane { channel: Channel::Sms, class: MessageClass::Transactional };
    assert_eq!(house.store.due_chunks(lane, 10, 10).await.unwrap(), []);
    let cancel = async |message| {
        let mut tx = house.store.within(house.tenant_id()).await.unwrap();
        let verdict = direct::cancel(&mut tx, house.tenant_id(), message).await.unwrap();
        tx.commit().await.unwrap();
        verdict
    };
    assert_eq!(cancel(taken[0]).await, Some(Cancellation::Cancelled));
    // Its hour has come.
    sqlx::query("update chunks set not_before = now()").execute(house.store.pool()).await.unwrap();
    sqlx::query("update campaigns set scheduled_at = now()").execute(house.store.pool()).await.unwrap();
    known(&house, taken[1]).await;
    stop(running).await;
    let received = house.received();
    assert_eq!(received.keys().collect::<Vec<_>>(), [&taken[1].to_string()]);
    assert_eq!(cancel(taken[1]).await, Some(Cancellation::TooLate));
    assert_eq!(cancel(taken[0]).await, Some(Cancellation::Cancelled), "said again");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_a_caller_wrote_whole_is_sent_as_it_is(pool: PgPool) {
    let house = House::new(pool).await;
    let running = house.engine(Settings::default()).await.start(ALL);
    let text = "Dear {{name}}, 5 < 6 & \\{{x}}";
    let request = DirectRequest {
        content: DirectContent::Written(MessageClass::Obligation),
        variables: serde_json::json!({"text": text}).as_object().cloned().unwrap(),
        references: References::new([("policyId".to_owned(), "P:1".to_owned())].into()).unwrap(),
        ..request(&house, "+23052345678", None)
    };
    let Taken::Accepted { message, outcome, units, .. } = running.direct.take(request.clone()).await.unwrap()
    else {
        panic!("taken")
    };
    assert!(matches!(outcome.await.unwrap(), Outcome::Accepted { .. }));
    assert_eq!(units, 1);
    let mut tx = house.store.within(house.tenant_id()).await.unwrap();
    let found = message_search::read(&mut tx, house.tenant_id(), &[message]).await.unwrap().remove(0);
    tx.commit().await.unwrap();
    assert_eq!((found.class, found.single), (MessageClass::Obligation, true));
    assert_eq!(found.references, [("policyId".to_owned(), "P:1".to_owned())]);
    assert_eq!(running.direct.units(message, found.variant, &found.variables).await.unwrap(), Some(1));
    assert!(found.variables.contains("5 < 6"), "{}", found.variables);
    let free = DirectRequest { channel: Channel::Whatsapp, ..request };
    let error = running.direct.take(free).await.expect_err("a template is needed");
    assert!(matches!(error, DirectError::NeedsTemplate(Channel::Whatsapp)), "{error}");
    stop(running).await;
}
