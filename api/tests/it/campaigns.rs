//! Campaigns over HTTP: written, reviewed, launched, stopped, counted.

mod departures;
mod numbers;
mod preflight;

use std::collections::BTreeMap;

use fanfare_engine::{
    domain::{
        channel::{Channel, MessageClass},
        event::{Event, EventKind},
    },
    id::{CampaignId, MessageId, TenantId},
    store::{
        Store,
        events::{self, TenantEvent},
        recipients::SliceSizes,
        templates::TemplateHead,
    },
};
use fanfare_templates::{EmailBody, Source, publish};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::open::{Client, Open};

/// An insurer with an account and a template for each channel, and an upload of 142 people.
pub(crate) struct Insurer {
    pub(crate) open: Open,
    pub(crate) owner: Client,
    tenant: TenantId,
    pub(crate) upload: String,
}

const PEOPLE: i32 = 142;

impl Insurer {
    pub(crate) async fn new(pool: &PgPool) -> Self {
        let open = Open::new(pool).await;
        let (store, owner) = (open.engine.store.clone(), open.owner().await);
        let tenant = store.tenant("acme").await.unwrap().id;
        sqlx::query("insert into accounts (id, tenant_id, slug, provider, limits) values (gen_random_uuid(), $1, 'mail', 'brevo_email', '[]')")
            .bind(tenant.uuid())
            .execute(pool)
            .await
            .unwrap();
        let text = "Dear {{name}}, policy {{reference}} is due.".to_owned();
        let email = Source::Email {
            subject: text.clone(),
            preheader: None,
            body: EmailBody::Html(text.clone()),
            text: None,
        };
        let whatsapp = json!({"channel": "whatsapp", "kind": "text", "body": text});
        for (slug, channel, source) in [
            ("template-1", Channel::Email, email),
            ("template-2", Channel::Whatsapp, serde_json::from_value(whatsapp).unwrap()),
            ("template-3", Channel::Sms, Source::Sms { text }),
        ] {
            let head = TemplateHead { slug, channel, class: MessageClass::Obligation, name: slug };
            let ids = &open.engine.ids;
            store.publish_template(ids, tenant, &head, "en", &publish(&source).unwrap()).await.unwrap();
        }
        let upload: fanfare_engine::id::UploadId = open.engine.ids.next(store.now().await.unwrap());
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "insert into contacts (id, tenant_id, name, email, phone, locale, time_zone, created_at)
             select gen_random_uuid(), '{tenant}', 'Person ' || i, 'person' || i || '@example.com', '+2305' || lpad(i::text, 7, '0'),
                    'en', case when i % 2 = 0 then 'Indian/Mauritius' else 'America/New_York' end, now() - interval '1 second'
             from generate_series(1, {PEOPLE}) i;
             insert into uploads (id, tenant_id, file_name, sha256, bytes, format, mapping, rows_read, rows_taken, rows_refused,
                                  contacts_created, contacts_updated)
             values ('{upload}', '{tenant}', 'may.csv', '', 1, 'csv', '{{}}', {PEOPLE}, {PEOPLE}, 0, {PEOPLE}, 0);
             insert into upload_rows (upload_id, time_zone, contact_id, row_no, attributes)
             select '{upload}', time_zone, id, row_number() over (), jsonb_build_object('reference', 'POL-' || split_part(name, ' ', 2))
             from contacts where tenant_id = '{tenant}'",
            tenant = tenant.uuid(),
            upload = upload.uuid(),
        )))
        .execute(pool)
        .await
        .unwrap();
        Self { open, owner, tenant, upload: upload.to_string() }
    }

    fn store(&self) -> &Store {
        &self.open.engine.store
    }

    fn sample(&self) -> Value {
        json!({
            "name": "May Renewals Campaign", "type": ["email", "whatsapp"], "uploadId": self.upload,
            "templates": {"email": "template-1", "whatsapp": "template-2"},
            "scheduleType": "scheduled", "scheduledAt": "2099-05-15T14:00:00Z", "targetAudience": "all"
        })
    }

    /// The rows of a list that is answered as CSV, by column.
    pub(crate) async fn csv(&self, path: &str) -> Vec<BTreeMap<String, String>> {
        let answer = self.owner.request(Method::GET, path).send().await.unwrap();
        let name = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
        assert!(answer.status() == 200 && name.contains(".csv"), "{answer:?}");
        let text = answer.text().await.unwrap();
        let text = text.strip_prefix('\u{feff}').expect("a mark for spreadsheet programs");
        csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
    }

    /// A draft of an e-mail campaign to the upload.
    async fn draft(&self) -> String {
        let body = json!({"name": "Draft", "type": "email", "uploadId": self.upload, "templates": {"email": "template-1"}});
        let (status, made) = self.owner.post("/api/campaigns", &body).await;
        assert_eq!(status, 201, "{made}");
        assert_eq!(made["data"]["campaigns"][0]["status"], "draft");
        made["data"]["campaigns"][0]["id"].as_str().unwrap().to_owned()
    }

    async fn put(&self, id: &str, status: &str) -> (u16, Value) {
        self.owner.put(&format!("/api/campaigns/{id}/status"), &json!({"status": status})).await
    }

    /// Launches a draft, freezes it, and has every message accepted.
    pub(crate) async fn sent(&self) -> String {
        let id = self.draft().await;
        self.send(&id).await;
        id
    }

    async fn send(&self, id: &str) {
        assert_eq!(self.put(id, "active").await.0, 200);
        let campaign: CampaignId = id.parse().unwrap();
        self.store()
            .freeze_slice(campaign, SliceSizes { first: 1_000, slice: 1_000, chunk: 50 })
            .await
            .unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "insert into results (campaign_id, n, attempt, kind) select campaign_id, n, 1, 0 from recipients where campaign_id = '{id}' and excluded is null;
             update chunks set epoch = 1, watermark = size, accepted = size, done_at = now() where campaign_id = '{id}'",
            id = campaign.uuid()
        )))
        .execute(self.store().pool())
        .await
        .unwrap();
    }

    /// Applies an event of each of the recipients `from..=to`.
    async fn tell(&self, id: &str, kind: EventKind, from: i32, to: i32) {
        let campaign: CampaignId = id.parse().unwrap();
        let event = |n| TenantEvent {
            tenant: self.tenant,
            channel: None,
            event: Event {
                message: MessageId { campaign, n },
                kind,
                at: Timestamp::now_for_tests(),
                provider_id: None,
                dedup: self.open.engine.ids.random_uuid(),
                reason: None,
                detail: None,
            },
        };
        let told: Vec<TenantEvent> = (from..=to).map(event).collect();
        let mut tx = self.store().begin().await.unwrap();
        events::apply(&mut tx, &told, &[], "test").await.unwrap();
        tx.commit().await.unwrap();
    }

    /// What the sample of the analytics counts, in another order than it happens.
    pub(crate) async fn sample_numbers(&self, id: &str) {
        self.tell(id, EventKind::Clicked, 1, 34).await;
        self.tell(id, EventKind::Opened, 1, 89).await;
        self.folded().await;
        self.tell(id, EventKind::Delivered, 1, 138).await;
        self.tell(id, EventKind::Clicked, 1, 34).await;
        for n in 1..=12 {
            let message = MessageId { campaign: id.parse().unwrap(), n };
            let paid = json!({"kind": "payment", "message": message.to_string()});
            let (status, counted) = self.owner.post(&format!("/api/campaigns/{id}/conversions"), &paid).await;
            assert_eq!(
                (status, counted["data"]["conversions"].as_array().unwrap().len()),
                (200, 1),
                "{counted}"
            );
            let (_, again) = self.owner.post("/api/conversions", &paid).await;
            assert_eq!(again["data"]["conversions"], json!([]), "once a recipient");
        }
        self.folded().await;
    }

    async fn folded(&self) {
        while self.store().fold_notes().await.unwrap() > 0 {}
    }

    async fn metrics(&self, id: &str) -> Value {
        let (status, answer) = self.owner.get(&format!("/api/campaigns/{id}/analytics")).await;
        assert_eq!(status, 200, "{answer}");
        answer["data"]["metrics"].clone()
    }
}

/// The system's clock is banned elsewhere; a test may be told by the engine's.
trait Moment {
    fn now_for_tests() -> Self;
}

impl Moment for Timestamp {
    fn now_for_tests() -> Self {
        use fanfare_engine::clock::{Clock as _, SystemClock};
        SystemClock.now()
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_sample_works_as_written(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let (status, made) = house.owner.post("/api/campaigns", &house.sample()).await;
    assert_eq!((status, &made["success"]), (201, &json!(true)), "{made}");
    let campaigns = made["data"]["campaigns"].as_array().unwrap();
    assert_eq!(campaigns.len(), 2);
    for (campaign, (name, channel)) in campaigns
        .iter()
        .zip([("May Renewals Campaign (Email)", "email"), ("May Renewals Campaign (WhatsApp)", "whatsapp")])
    {
        let sample = json!({"name": name, "type": channel, "status": "scheduled", "targetCount": 142, "scheduledAt": "2099-05-15T14:00:00Z"});
        for (field, value) in sample.as_object().unwrap() {
            assert_eq!(&campaign[field], value, "{field} of {campaign}");
        }
    }
    let (_, list) =
        house.owner.get("/api/campaigns?status=scheduled,paused&type=email&page=1&limit=20").await;
    assert_eq!(list["data"]["campaigns"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["data"]["pagination"], json!({"page": 1, "limit": 20, "total": 1, "totalPages": 1}));

    let id = campaigns[0]["id"].as_str().unwrap();
    let (status, paused) = house.put(id, "paused").await;
    assert_eq!(
        (status, &paused["data"]["status"], &paused["data"]["campaignId"]),
        (200, &json!("paused"), &json!(id))
    );
    assert!(paused["data"]["updatedAt"].is_string());
    assert_eq!(house.put(id, "active").await.1["data"]["status"], "scheduled", "it goes on where it stopped");
    assert_eq!(house.put(id, "active").await.1["data"]["status"], "active", "and leaves at once");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_makes_no_sense_says_what_would(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let id = house.draft().await;
    let (status, answer) = house.put(&id, "paused").await;
    assert_eq!(status, 409);
    assert!(answer["detail"].as_str().unwrap().contains("active, stopped"), "{answer}");
    assert_eq!(house.put(&id, "completed").await.0, 409);
    assert_eq!(house.put(&id, "flying").await.0, 422);
    assert_eq!(house.put(&id, "stopped").await.0, 200);
    assert_eq!(house.put(&id, "stopped").await.0, 200, "it is already");
    let (status, answer) = house.put(&id, "active").await;
    assert_eq!(status, 409);
    assert!(answer["detail"].as_str().unwrap().contains("nothing"), "{answer}");
    let stranger = house.open.stranger().await;
    assert_eq!(
        stranger.put(&format!("/api/campaigns/{id}/status"), &json!({"status": "stopped"})).await.0,
        404
    );
    assert_eq!(stranger.get(&format!("/api/campaigns/{id}/analytics")).await.0, 404);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn every_field_that_is_wrong_is_named(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let nobodys: fanfare_engine::id::UploadId = house.open.engine.ids.next(Timestamp::now_for_tests());
    for (field, value, named) in [
        ("name", json!("a\u{0}b"), "name"),
        ("name", json!("n".repeat(100_000)), "name"),
        ("scheduledAt", json!("2024-05-15T14:00:00Z"), "scheduledAt"),
        ("uploadId", json!("upload-123"), "uploadId"),
        ("uploadId", json!(nobodys.to_string()), "uploadId"),
        ("templates", json!({"email": "template-2", "whatsapp": "template-2"}), "templates.email"),
        ("templates", json!({"email": "template-1"}), "templates.whatsapp"),
        ("type", json!(["email", "pigeon"]), "type[1]"),
        ("throttlePerMinute", json!(0), "throttlePerMinute"),
        ("throttlePerMinute", json!(6_000_001), "throttlePerMinute"),
        ("colour", json!("red"), "colour"),
    ] {
        let mut body = house.sample();
        body[field] = value;
        let (status, answer) = house.owner.post("/api/campaigns", &body).await;
        assert_eq!(status, 422, "{field}: {answer}");
        let fields: Vec<_> =
            answer["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
        assert!(fields.contains(&json!(named)), "{named}: {answer}");
    }
    let (status, _) = house.owner.get("/api/campaigns?status=flying").await;
    assert_eq!(status, 422);
    let (status, _) = house.owner.get("/api/campaigns?name=%00").await;
    assert_eq!(status, 422);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_draft_is_edited_by_who_has_read_it(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let path = format!("/api/campaigns/{}", house.draft().await);
    let read = house.owner.request(Method::GET, &path).send().await.unwrap();
    let tag = read.headers()["etag"].to_str().unwrap().to_owned();
    let edit = |tag: &str, body: Value| {
        house.owner.send(house.owner.request(Method::PATCH, &path).header("if-match", tag).json(&body))
    };
    let (status, edited) = edit(
        &tag,
        json!({"name": "Edited", "uploadId": null, "sendingHours": {"from": "08:00", "to": "19:00"}, "throttlePerMinute": 600}),
    )
    .await;
    assert_eq!(status, 200, "{edited}");
    assert_eq!((&edited["data"]["name"], edited["data"].get("uploadId")), (&json!("Edited"), None));
    assert_eq!(edited["data"]["sendingHours"], json!({"from": "08:00", "to": "19:00"}));
    assert_eq!(edit(&tag, json!({"name": "Late"})).await.0, 412);
    let (status, copy) = house.owner.post(&format!("{path}/clone"), &json!({})).await;
    assert_eq!((status, &copy["data"]["name"]), (201, &json!("Edited (copy)")), "{copy}");
    assert_eq!(copy["data"]["throttlePerMinute"], 600, "{copy}");
    let read = house.owner.request(Method::GET, &path).send().await.unwrap();
    let tag = read.headers()["etag"].to_str().unwrap().to_owned();
    let (_, free) = edit(&tag, json!({"throttlePerMinute": null})).await;
    assert_eq!(free["data"].get("throttlePerMinute"), None, "{free}");
    assert_eq!(house.owner.delete(&path).await.0, 204);
    assert_eq!(house.owner.get(&path).await.0, 404);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn four_eyes_see_what_many_people_get(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let rule = json!({"reviewAbove": 100});
    assert_eq!(
        house.owner.put("/api/settings/campaigns", &rule).await,
        (200, json!({"success": true, "data": rule}))
    );
    let (_, made) = house.owner.post("/api/campaigns", &house.sample()).await;
    assert_eq!(made["data"]["campaigns"][0]["status"], "in_review", "{made}");
    let id = made["data"]["campaigns"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/campaigns/{id}");
    assert_eq!(house.put(&id, "active").await.0, 409);
    let approve = format!("{path}/approve");
    assert_eq!(house.owner.post(&approve, &json!({})).await.0, 403, "whoever wrote it");
    let other = house.open.owner().await;
    let (status, _) = other.post(&format!("{path}/reject"), &json!({})).await;
    assert_eq!(status, 422, "a rejection says why");
    let (status, approved) = other.post(&approve, &json!({"comment": "Good"})).await;
    assert_eq!((status, &approved["data"]["status"]), (200, &json!("scheduled")), "{approved}");
    let (_, reviews) = other.get(&format!("{path}/reviews")).await;
    assert_eq!(reviews["data"]["reviews"][0]["comment"], "Good");

    let draft = house.draft().await;
    let (status, answer) = house.put(&draft, "active").await;
    assert_eq!(status, 409);
    assert!(answer["detail"].as_str().unwrap().contains("142 recipients are more than 100"), "{answer}");
    assert_eq!(
        house
            .owner
            .send(house.owner.request(Method::POST, &format!("/api/campaigns/{draft}/submit")))
            .await
            .0,
        200
    );
    let (_, rejected) =
        other.post(&format!("/api/campaigns/{draft}/reject"), &json!({"comment": "Wrong upload"})).await;
    assert_eq!(rejected["data"]["status"], "draft");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_local_time_comes_zone_by_zone(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let mut body = house.sample();
    (body["scheduleType"], body["scheduledAt"]) = (json!("local"), json!("2099-05-15T09:00:00"));
    let (status, made) = house.owner.post("/api/campaigns", &body).await;
    assert_eq!(
        (status, &made["data"]["campaigns"][0]["scheduledAt"]),
        (201, &json!("2099-05-15T09:00:00")),
        "{made}"
    );
    let campaign: CampaignId = made["data"]["campaigns"][0]["id"].as_str().unwrap().parse().unwrap();
    sqlx::query("update campaigns set scheduled_at = now() where id = $1")
        .bind(campaign.uuid())
        .execute(&pool)
        .await
        .unwrap();
    fanfare_engine::launch::launch(house.store(), house.tenant, campaign).await.unwrap();
    house
        .store()
        .freeze_slice(campaign, SliceSizes { first: 1_000, slice: 1_000, chunk: 500 })
        .await
        .unwrap();
    let due: Vec<String> = sqlx::query_scalar(
        "select (not_before at time zone 'UTC')::text from chunks where campaign_id = $1 order by 1",
    )
    .bind(campaign.uuid())
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(due, ["2099-05-15 05:00:00", "2099-05-15 13:00:00"]);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_launch_that_is_refused_says_why_and_is_tried_again(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let (_, made) = house.owner.post("/api/campaigns", &house.sample()).await;
    let ids: Vec<&str> = made["data"]["campaigns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|made| made["id"].as_str().unwrap())
        .collect();
    let shown = async |id: &str| house.owner.get(&format!("/api/campaigns/{id}")).await.1["data"].clone();
    let do_now = async |statement: &'static str| {
        sqlx::query(statement).execute(&pool).await.unwrap();
        house.open.engine.upkeep().once().await.unwrap();
    };
    sqlx::query("update templates set active = false where slug = 'template-1'")
        .execute(&pool)
        .await
        .unwrap();
    do_now("update campaigns set scheduled_at = now() where state = 'scheduled'").await;
    let refused = shown(ids[0]).await;
    assert_eq!(refused["status"], "scheduled", "{refused}");
    assert!(refused["launchRefused"].as_str().unwrap().contains("not in use"), "{refused}");
    assert_eq!(shown(ids[1]).await["status"], "active", "the other one is not held up");

    do_now("update templates set active = true").await;
    assert_eq!(shown(ids[0]).await["status"], "scheduled", "not before a minute has passed");
    do_now("update campaigns set launch_refused_at = now() - interval '2 minutes' where launch_refused is not null").await;
    let launched = shown(ids[0]).await;
    assert_eq!(
        (&launched["status"], &launched["launchRefused"]),
        (&json!("active"), &Value::Null),
        "{launched}"
    );
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_text_without_variables_goes_to_everybody(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let text =
        json!({"name": "Plain", "type": "sms", "content": "We are closed on Monday.", "class": "obligation"});
    assert_eq!(house.owner.post("/api/templates", &text).await.0, 201);
    let body =
        json!({"name": "Plain", "type": "sms", "uploadId": house.upload, "templates": {"sms": "plain"}});
    let (_, made) = house.owner.post("/api/campaigns", &body).await;
    let id = made["data"]["campaigns"][0]["id"].as_str().unwrap();
    let (status, preflight) = house.owner.get(&format!("/api/campaigns/{id}/preflight")).await;
    assert_eq!((status, &preflight["data"]["sendable"]), (200, &json!(PEOPLE)), "{preflight}");
}
