//! Notifications inside the application: who sees what, and the channel that leads there.

use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    engine::Settings,
    id::{ContactId, NotificationId, UserId},
    providers::{Adapter as _, Envelope, in_app::InApp},
    store::{
        listing::{Part, Way},
        notifications::{self, Filter, Hearers, Marked, News, Notification, Preference, Reader},
        roles,
    },
};
use fanfare_templates::{Priority, Rendered};
use sqlx::PgPool;

use crate::house::{ALL, House, stop};

const MIGRATOR: &sqlx::migrate::Migrator = &fanfare_engine::store::MIGRATOR;
const EVERYTHING: Part<(jiff::Timestamp, NotificationId)> = Part { after: None, offset: 0, limit: 100 };

/// Users of the house, and what they see.
struct Readers(House);

impl Readers {
    async fn user(&self, role: &str, branch: Option<&str>, contact: Option<ContactId>) -> Reader {
        let now = self.0.store.now().await.unwrap();
        let id: UserId = self.0.ids.next(now);
        sqlx::query(
            "insert into roles (id, tenant_id, slug, name, permissions) values (gen_random_uuid(), $1, $2, $2, '{}')
             on conflict (tenant_id, slug) do nothing",
        )
        .bind(self.0.tenant_id().uuid())
        .bind(role)
        .execute(self.0.store.pool())
        .await
        .unwrap();
        sqlx::query(
            "insert into users (id, tenant_id, email, first_name, role_id, status, password_hash, branch, contact_id)
             select $1, $2, $1::text || '@acme.example', 'U', id, 'active', 'x', $4, $5 from roles
             where tenant_id = $2 and slug = $3",
        )
        .bind(id.uuid())
        .bind(self.0.tenant_id().uuid())
        .bind(role)
        .bind(branch)
        .bind(contact.map(ContactId::uuid))
        .execute(self.0.store.pool())
        .await
        .unwrap();
        Reader { tenant: self.0.tenant_id(), user: id }
    }

    /// As the API would: in the role of the API, within the tenant.
    async fn sees(&self, reader: Reader, filter: Filter<'_>) -> Vec<Notification> {
        let mut tx = self.0.store.within(reader.tenant).await.unwrap();
        notifications::list(&mut tx, reader, filter, Way::Down, EVERYTHING).await.unwrap()
    }

    async fn titles(&self, reader: Reader) -> Vec<String> {
        self.sees(reader, Filter::default()).await.into_iter().map(|known| known.title).collect()
    }

    async fn say(&self, title: &str, hearers: &Hearers) -> (NotificationId, u64) {
        let mut tx = self.0.store.within(self.0.tenant_id()).await.unwrap();
        let id = self.0.ids.next(self.0.store.now().await.unwrap());
        let data = serde_json::json!({"a": 1});
        let readers =
            notifications::broadcast(&mut tx, self.0.tenant_id(), id, &news(title, "policy", &data), hearers)
                .await
                .unwrap();
        tx.commit().await.unwrap();
        (id, readers)
    }

    async fn mark(&self, reader: Reader, what: Marked) -> u64 {
        let mut tx = self.0.store.within(reader.tenant).await.unwrap();
        let marked = notifications::mark_read(&mut tx, reader, what).await.unwrap();
        tx.commit().await.unwrap();
        marked
    }

    async fn any_contact(&self) -> ContactId {
        self.0.contacts(1).await;
        let id: uuid::Uuid =
            sqlx::query_scalar("select id from contacts").fetch_one(self.0.store.pool()).await.unwrap();
        id.into()
    }
}

fn news<'a>(title: &'a str, kind: &'a str, data: &'a serde_json::Value) -> News<'a> {
    News { kind, title, message: "m", data, priority: Priority::High, expires_at: None }
}

fn staff() -> Hearers {
    Hearers { staff: true, ..Hearers::default() }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_broadcast_is_heard_by_whom_it_is_meant_for(pool: PgPool) {
    let readers = Readers(House::new(pool).await);
    let owner = readers.user("owner", None, None).await;
    let north = readers.user("call_centre_agent", Some("North"), None).await;
    let south = readers.user("call_centre_agent", Some("South"), None).await;
    let customer = readers.user("customer", None, None).await;
    let mut tx = readers.0.store.within(readers.0.tenant_id()).await.unwrap();
    let agents = roles::list(&mut tx, readers.0.tenant_id()).await.unwrap();
    drop(tx);
    let agents = agents.into_iter().find(|role| role.slug == "call_centre_agent").unwrap().id;
    let branch = |name: &str| vec![name.to_owned()];
    let said = [
        ("staff", staff(), 3),
        ("everybody", Hearers { customers: true, ..staff() }, 4),
        ("customers", Hearers { customers: true, ..Hearers::default() }, 1),
        ("agents", Hearers { roles: vec![agents], ..staff() }, 2),
        ("north", Hearers { roles: vec![agents], branches: branch("North"), ..staff() }, 1),
        ("nowhere", Hearers { branches: branch("West"), ..staff() }, 0),
    ];
    for (title, hearers, expected) in said {
        assert_eq!(readers.say(title, &hearers).await.1, expected, "{title}");
    }
    assert_eq!(readers.titles(owner).await, ["everybody", "staff"]);
    assert_eq!(readers.titles(north).await, ["north", "agents", "everybody", "staff"]);
    assert_eq!(readers.titles(south).await, ["agents", "everybody", "staff"]);
    assert_eq!(readers.titles(customer).await, ["customers", "everybody"]);
    let newcomer = readers.user("owner", None, None).await;
    assert!(readers.titles(newcomer).await.is_empty(), "old news");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_one_reader_does_is_nothing_to_another(pool: PgPool) {
    let readers = Readers(House::new(pool).await);
    let (ann, bob) = (readers.user("owner", None, None).await, readers.user("owner", None, None).await);
    let (first, _) = readers.say("first", &staff()).await;
    let (second, _) = readers.say("second", &staff()).await;
    assert_eq!(readers.mark(ann, Marked::One(first)).await, 1);
    assert_eq!(readers.mark(ann, Marked::One(first)).await, 0, "it is read already");
    let mut tx = readers.0.store.within(ann.tenant).await.unwrap();
    assert!(notifications::remove(&mut tx, ann, second).await.unwrap());
    assert!(!notifications::remove(&mut tx, ann, second).await.unwrap(), "it is gone already");
    let counts = notifications::counts(&mut tx, ann, Filter::default()).await.unwrap();
    assert_eq!((counts.total, counts.unread), (1, 0));
    tx.commit().await.unwrap();
    assert_eq!(readers.titles(ann).await, ["first"]);
    assert!(readers.sees(ann, Filter { unread: Some(true), kind: None }).await.is_empty());
    assert_eq!(readers.sees(bob, Filter { unread: Some(true), kind: Some("policy") }).await.len(), 2);
    assert!(readers.sees(bob, Filter { unread: None, kind: Some("claim") }).await.is_empty());
    let oldest = readers.sees(bob, Filter::default()).await.pop().unwrap();
    assert_eq!(
        readers.mark(bob, Marked::UpTo(oldest.created_at, oldest.id)).await,
        1,
        "what came later stays unread"
    );
    assert_eq!(readers.mark(bob, Marked::All).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn single_users_are_told_and_strangers_are_not(pool: PgPool) {
    let readers = Readers(House::new(pool).await);
    let (ann, bob) = (readers.user("owner", None, None).await, readers.user("owner", None, None).await);
    let stranger = UserId::from_uuid(uuid::Uuid::nil());
    let now = readers.0.store.now().await.unwrap();
    let told = [(readers.0.ids.next(now), ann.user), (readers.0.ids.next(now), stranger)];
    let mut tx = readers.0.store.within(ann.tenant).await.unwrap();
    let data = serde_json::json!({});
    let reached =
        notifications::tell(&mut tx, ann.tenant, &told, &news("yours", "payment", &data)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(reached, [ann.user]);
    assert_eq!(readers.titles(ann).await, ["yours"]);
    assert!(readers.titles(bob).await.is_empty());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_is_not_wanted_is_not_shown_and_what_has_ended_is_deleted(pool: PgPool) {
    let readers = Readers(House::new(pool.clone()).await);
    let ann = readers.user("owner", None, None).await;
    readers.say("policy news", &staff()).await;
    let mut tx = readers.0.store.within(ann.tenant).await.unwrap();
    let only_mail = Preference { kind: "policy".to_owned(), channels: vec![Channel::Email] };
    notifications::set_preferences(&mut tx, ann, std::slice::from_ref(&only_mail)).await.unwrap();
    assert_eq!(notifications::preferences(&mut tx, ann).await.unwrap(), [only_mail]);
    tx.commit().await.unwrap();
    assert!(readers.titles(ann).await.is_empty());
    let mut tx = readers.0.store.within(ann.tenant).await.unwrap();
    notifications::set_preferences(&mut tx, ann, &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(readers.titles(ann).await, ["policy news"]);

    sqlx::query("update notifications set expires_at = now()").execute(&pool).await.unwrap();
    assert!(readers.titles(ann).await.is_empty(), "it has ended");
    assert_eq!(readers.0.store.delete_ended_notifications(10).await.unwrap(), 1);
    assert_eq!(readers.0.store.delete_ended_notifications(10).await.unwrap(), 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_campaign_over_in_app_reaches_its_contacts_and_is_read_with_its_notification(pool: PgPool) {
    let readers = Readers(House::new(pool.clone()).await);
    readers.0.contacts(1_500).await;
    let campaign = readers.0.draft(Channel::InApp, MessageClass::Obligation).await;
    let running = readers.0.engine(Settings::default()).await.start(ALL);
    readers.0.launch(campaign).await;
    let progress = readers.0.finished(campaign).await;
    assert_eq!((progress.recipients, progress.sent, progress.unknown), (1_500, 1_500, 0));
    stop(running).await;
    let (rows, theirs): (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where n.title = 'Policy ' || (c.attributes ->> 'policy')
                                             and n.message = 'Dear ' || c.name || ', policy ' || (c.attributes ->> 'policy') || ' is due.'
                                             and n.data = jsonb_build_object('policy', c.attributes -> 'policy'))
         from notifications n join contacts c on c.id = n.contact_id",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((rows, theirs), (1_500, 1_500));

    let contact: uuid::Uuid =
        sqlx::query_scalar("select id from contacts where name = 'Person 7'").fetch_one(&pool).await.unwrap();
    let customer = readers.user("customer", None, Some(contact.into())).await;
    assert_eq!(readers.titles(customer).await, ["Policy P-7"]);
    assert_eq!(readers.mark(customer, Marked::All).await, 1);
    let events: Vec<(String, uuid::Uuid)> =
        sqlx::query_as("select e.kind, r.contact_id from events e join recipients r using (campaign_id, n)")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(events, [("read".to_owned(), contact)]);

    sqlx::query("update contacts set erased_at = now() where id = $1")
        .bind(contact)
        .execute(&pool)
        .await
        .unwrap();
    assert!(readers.titles(customer).await.is_empty(), "an erased contact leaves no texts behind");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_message_is_put_there_once_and_never_for_another_tenants_contact(pool: PgPool) {
    use fanfare_engine::{
        domain::outcome::{Outcome, Reason},
        id::MessageId,
    };

    let readers = Readers(House::new(pool.clone()).await);
    let contact = readers.any_contact().await;
    let content = serde_json::json!({"title": "T", "message": "m", "type": "policy"});
    let content = Rendered::InApp(serde_json::from_value(content).unwrap());
    let message = MessageId { campaign: readers.0.ids.next(readers.0.store.now().await.unwrap()), n: 1 };
    let to = contact.uuid().to_string();
    let envelope = Envelope {
        message,
        to: &to,
        class: MessageClass::Obligation,
        content: &content,
        key: message.idempotency_key(1),
        unsubscribe: None,
    };
    let adapter = InApp::new(readers.0.store.clone(), readers.0.tenant_id());
    for attempt in 1..=3 {
        let key = message.idempotency_key(attempt);
        let answer = adapter.send(Envelope { key, ..envelope }).await;
        assert_eq!(answer.outcome, Outcome::Accepted { provider_id: None }, "{attempt}");
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from notifications").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 1);

    let other = InApp::new(readers.0.store.clone(), readers.0.ids.next(readers.0.store.now().await.unwrap()));
    for (adapter, to) in
        [(&other, to.as_str()), (&adapter, "00000000-0000-0000-0000-000000000000"), (&adapter, "nobody")]
    {
        let answer = adapter.send(Envelope { to, ..envelope }).await;
        let failed = matches!(answer.outcome, Outcome::Failed { reason: Reason::RecipientRejected, .. });
        assert!(failed, "{to}: {answer:?}");
    }
}
