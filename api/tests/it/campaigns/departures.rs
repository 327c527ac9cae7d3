//! Who may let a campaign leave, and what keeps it.

use std::time::Duration;

use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    id::{CampaignId, TemplateId, UploadId},
    store::templates::TemplateHead,
};
use fanfare_templates::{EmailBody, Source, publish};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Insurer, Moment as _, PEOPLE};
use crate::{open::Client, support::until};

/// More than are counted of an audience.
const CROWD: i32 = 20_000;

impl Insurer {
    /// An upload of which one person without an e-mail address has the first rows, and everybody else the rest.
    async fn crowded_upload(&self) -> String {
        let upload: UploadId = self.open.engine.ids.next(jiff::Timestamp::now_for_tests());
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "insert into contacts (id, tenant_id, name, phone, locale, time_zone, created_at)
             values (gen_random_uuid(), '{tenant}', 'Fleet', '+23059999999', 'en', 'Africa/Abidjan', now());
             insert into uploads (id, tenant_id, file_name, sha256, bytes, format, mapping, rows_read, rows_taken, rows_refused,
                                  contacts_created, contacts_updated)
             values ('{upload}', '{tenant}', 'fleet.csv', '', 1, 'csv', '{{}}', {all}, {all}, 0, {all}, 0);
             insert into upload_rows (upload_id, time_zone, contact_id, row_no, attributes)
             select '{upload}'::uuid, time_zone, id, i, '{{}}'::jsonb from contacts, generate_series(1, {CROWD}) i where name = 'Fleet'
             union all
             select '{upload}', time_zone, id, {CROWD} + row_number() over (), '{{}}' from contacts where email is not null",
            tenant = self.tenant.uuid(),
            upload = upload.uuid(),
            all = CROWD + PEOPLE,
        )))
        .execute(self.store().pool())
        .await
        .unwrap();
        upload.to_string()
    }

    async fn review_above(&self, recipients: i32) {
        let rule = json!({"reviewAbove": recipients});
        assert_eq!(self.owner.put("/api/settings/campaigns", &rule).await.0, 200);
    }

    /// Somebody who may do everything, to the contacts that they see.
    async fn narrow(&self, scope: &str) -> Client {
        let client = self.open.owner().await;
        let (_, me) = client.get("/api/auth/me").await;
        sqlx::query("update users set scope = $2, branch = case $2 when 'branch' then 'Port Louis' end where email = $1")
            .bind(me["data"]["email"].as_str().unwrap())
            .bind(scope)
            .execute(self.store().pool())
            .await
            .unwrap();
        client
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn four_eyes_look_at_as_many_as_there_may_be(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    house.review_above(PEOPLE - 1).await;
    let upload = house.crowded_upload().await;
    let body = json!({"name": "Fleet", "type": "email", "uploadId": upload, "templates": {"email": "template-1"},
                      "scheduleType": "immediate"});
    let (status, made) = house.owner.post("/api/campaigns", &body).await;
    let campaign = &made["data"]["campaigns"][0];
    assert_eq!(
        (status, &campaign["status"], &campaign["review"]["required"], &campaign["targetCountEstimated"]),
        (201, &json!("in_review"), &json!(true), &json!(true)),
        "{made}"
    );
    let path = format!("/api/campaigns/{}", campaign["id"].as_str().unwrap());
    assert_eq!(house.owner.post(&format!("{path}/approve"), &json!({})).await.0, 403, "whoever wrote it");

    let draft = house.draft().await;
    let change = json!({"uploadId": upload});
    let (status, changed) = house.owner.patch(&format!("/api/campaigns/{draft}"), &change).await;
    assert_eq!((status, &changed["data"]["review"]["required"]), (200, &json!(true)), "{changed}");
    let (status, refused) = house.put(&draft, "active").await;
    assert!(status == 409 && refused["detail"].as_str().unwrap().contains("20142 recipients"), "{refused}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn who_sees_some_contacts_writes_to_none_by_campaign(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let sent = house.sent().await;
    for scope in ["branch", "assigned"] {
        let narrow = house.narrow(scope).await;
        let draft = house.draft().await;
        let path = format!("/api/campaigns/{draft}");
        let writes = [
            (Method::POST, "/api/campaigns".to_owned(), house.sample()),
            (Method::PATCH, path.clone(), json!({"uploadId": null})),
            (Method::PUT, format!("{path}/status"), json!({"status": "active"})),
            (Method::POST, format!("{path}/clone"), json!({})),
            (Method::POST, format!("{path}/submit"), json!({})),
            (Method::POST, format!("{path}/approve"), json!({})),
            (Method::POST, format!("{path}/reject"), json!({"comment": "no"})),
            (Method::POST, format!("/api/campaigns/{sent}/retry-failed"), json!({})),
            (Method::DELETE, path.clone(), Value::Null),
        ];
        for (method, path, body) in writes {
            let (status, refused) = narrow.send(narrow.request(method.clone(), &path).json(&body)).await;
            let why = refused["detail"].as_str().unwrap_or_default();
            assert!(status == 403 && why.contains("everybody"), "{scope}: {method} {path}: {refused}");
        }
        assert_eq!(narrow.get(&path).await.1["data"]["status"], "draft", "and its numbers are read");
        assert_eq!(narrow.get(&format!("/api/campaigns/{sent}/analytics")).await.0, 200);
    }
}

/// A pre-flight, say, holds the row for as long as it looks at everybody.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_campaign_that_somebody_holds_keeps_no_other_waiting(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let (_, made) = house.owner.post("/api/campaigns", &house.sample()).await;
    let ids = [0, 1].map(|at| made["data"]["campaigns"][at]["id"].as_str().unwrap().to_owned());
    let shown = async |id: &str| house.owner.get(&format!("/api/campaigns/{id}")).await.1["data"].clone();
    let upkeep = async || {
        let once = house.open.engine.upkeep();
        tokio::time::timeout(Duration::from_secs(20), once.once()).await.expect("nobody waits").unwrap();
    };
    let mut holder = pool.begin().await.unwrap();
    let held: CampaignId = ids[0].parse().unwrap();
    sqlx::query("update campaigns set scheduled_at = now() where state = 'scheduled'")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("select from campaigns where id = $1 for update")
        .bind(held.uuid())
        .execute(&mut *holder)
        .await
        .unwrap();
    upkeep().await;
    assert_eq!(
        (&shown(&ids[0]).await["status"], &shown(&ids[1]).await["status"]),
        (&json!("scheduled"), &json!("active"))
    );

    // Neither where there is a reason to be noted.
    sqlx::query("update templates set active = false").execute(&pool).await.unwrap();
    upkeep().await;
    assert_eq!(shown(&ids[0]).await.get("launchRefused"), None);
    holder.rollback().await.unwrap();
    upkeep().await;
    assert!(shown(&ids[0]).await["launchRefused"].is_string());
    sqlx::raw_sql("update templates set active = true; update campaigns set launch_refused_at = now() - interval '2 minutes'")
        .execute(&pool)
        .await
        .unwrap();
    upkeep().await;
    assert_eq!(shown(&ids[0]).await["status"], "active");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_upload_that_is_being_deleted_is_no_audience(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let mut deleting = pool.begin().await.unwrap();
    let upload: UploadId = house.upload.parse().unwrap();
    for statement in ["delete from upload_rows where upload_id = $1", "delete from uploads where id = $1"] {
        sqlx::query(statement).bind(upload.uuid()).execute(&mut *deleting).await.unwrap();
    }
    let body = house.sample();
    let mut answer = Box::pin(house.owner.post("/api/campaigns", &body));
    let waits = until("a campaign that waits", async || {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        sqlx::query_scalar::<_, i64>(waiting).fetch_one(&pool).await.unwrap() > 0
    });
    let early = tokio::select! {
        answered = &mut answer => Some(answered),
        () = waits => None,
    };
    deleting.commit().await.unwrap();
    let (status, refused) = match early {
        Some(answered) => answered,
        None => answer.await,
    };
    assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("uploadId")), "{refused}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_command_launches_nothing_that_has_to_be_approved(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    house.review_above(PEOPLE - 1).await;
    let id = house.draft().await;
    let launch = |more: &[&str]| {
        house.open.run(&[&["campaign", "launch", &id, "--tenant", "acme"][..], more].concat())
    };
    for at in [&[][..], &["--at", "2099-05-15T14:00:00Z"]] {
        let refused = launch(at);
        let named =
            refused.err.contains("142 recipients are more than 141") && refused.err.contains("/submit");
        assert!(refused.code == 1 && named, "{}", refused.err);
    }
    let path = format!("/api/campaigns/{id}");
    assert_eq!(house.owner.post(&format!("{path}/submit"), &json!({})).await.0, 200);
    let refused = launch(&[]);
    assert!(refused.code == 1 && refused.err.contains("in review"), "{}", refused.err);
    let other = house.open.owner().await;
    assert_eq!(other.post(&format!("{path}/approve"), &json!({})).await.0, 200);
    let launched = launch(&[]);
    assert_eq!(launched.code, 0, "{}", launched.err);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_id_names_its_template_whatever_others_are_called(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let store = house.store();
    let published = async |slug: &str| {
        let text = "Dear {{name}}".to_owned();
        let body = EmailBody::Html(text.clone());
        let email = publish(&Source::Email { subject: text, preheader: None, body, text: None }).unwrap();
        let head = TemplateHead { slug, channel: Channel::Email, class: MessageClass::Obligation, name: "T" };
        store.publish_template(&house.open.engine.ids, house.tenant, &head, "en", &email).await.unwrap();
        store.template(house.tenant, slug, Channel::Email).await.unwrap().id
    };
    let one = published("one").await;
    let other = published(&slug_like(one)).await;
    sqlx::query("update templates set slug = $2 where id = $1")
        .bind(one.uuid())
        .bind(slug_like(other))
        .execute(&pool)
        .await
        .unwrap();
    for meant in [one, other] {
        let body = json!({"name": "One", "type": "email", "templates": {"email": meant.to_string()}});
        let (status, made) = house.owner.post("/api/campaigns", &body).await;
        assert_eq!((status, &made["data"]["campaigns"][0]["template"]["id"]), (201, &json!(meant)), "{made}");
    }
}

fn slug_like(id: TemplateId) -> String {
    id.to_string().replace('_', "-")
}

/// A pre-flight of a million, say: whoever waits for it would keep a connection from everybody else.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_request_does_not_wait_long_for_what_somebody_holds(pool: PgPool) {
    let house = Insurer::new(&pool).await;
    let draft = house.draft().await;
    let path = format!("/api/campaigns/{draft}");
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("select from campaigns where id = $1 for update")
        .bind(draft.parse::<CampaignId>().unwrap().uuid())
        .execute(&mut *holder)
        .await
        .unwrap();
    let change = json!({"name": "Renamed"});
    let answer = house.owner.patch(&path, &change);
    let (status, busy) = tokio::time::timeout(Duration::from_secs(60), answer).await.expect("an answer");
    assert!(status == 503 && busy["detail"].as_str().unwrap().contains("Somebody else"), "{busy}");
    holder.rollback().await.unwrap();
    assert_eq!(house.owner.patch(&path, &change).await.0, 200);
}
