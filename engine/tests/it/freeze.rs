//! An audience becomes numbered recipients and chunks, once, whatever happens on the way.

use std::time::Duration;

use fanfare_engine::{
    domain::{
        channel::{Channel, MessageClass},
        token::PublicLinks,
    },
    id::UploadId,
    launch::{
        self, LaunchError, check,
        freeze::{Freezing, LaunchSettings, Launcher},
    },
    store::{
        campaigns::{Audience, NewCampaign},
        recipients::{Slice, SliceSizes},
    },
};
use sqlx::PgPool;

use crate::house::House;

const MIGRATOR: &sqlx::migrate::Migrator = &fanfare_engine::store::MIGRATOR;

async fn freeze_all(house: &House, campaign: fanfare_engine::id::CampaignId, slice: i32, chunk: i32) {
    while let Slice::Frozen { complete: false, .. } =
        house.store.freeze_slice(campaign, SliceSizes { first: slice, slice, chunk }).await.unwrap()
    {}
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn everybody_is_numbered_once_and_is_in_one_chunk(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(1_234).await;
    let campaign = house.draft(Channel::Email, MessageClass::Obligation).await;
    launch_only(&house, campaign).await;
    freeze_all(&house, campaign, 100, 30).await;
    assert_whole(&house, campaign, 1_234).await;
    assert_eq!(house.state(campaign).await, "sending");
}

async fn launch_only(house: &House, campaign: fanfare_engine::id::CampaignId) {
    // An engine declares the accounts that a launch pins.
    let _ = house.engine(fanfare_engine::engine::Settings::default()).await;
    house.launch(campaign).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn steps_are_small_while_people_wait(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(300).await;
    let campaign = house.draft(Channel::Email, MessageClass::Obligation).await;
    launch_only(&house, campaign).await;
    let launcher = launcher(&house, LaunchSettings { first_slice: 10, slice: 100, chunk: 10 });
    let mut frozen = Vec::new();
    for rest in [0, 1, 0, 0] {
        launcher.freezing.rest(Duration::from_millis(rest));
        launcher.step().await.unwrap();
        frozen.push(house.store.progress(house.tenant_id(), campaign).await.unwrap().recipients);
    }
    assert_eq!(frozen, [10, 30, 230, 300]);
}

fn launcher(house: &House, settings: LaunchSettings) -> Launcher {
    Launcher { store: house.store.clone(), settings, freezing: Freezing::default() }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn slices_beside_each_other_are_one_audience(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(1_050).await;
    sqlx::query("update contacts set time_zone = case when name like '%7%' then 'Europe/Zurich' else 'Asia/Tokyo' end")
        .execute(house.store.pool())
        .await
        .unwrap();
    // The last slice is a whole one, then none of its rows is left, then there is not even a second.
    for first_slice in [50, 150, 1_000] {
        let campaign = house.draft(Channel::Email, MessageClass::Obligation).await;
        launch_only(&house, campaign).await;
        let launcher = launcher(&house, LaunchSettings { first_slice, slice: 100, chunk: 30 });
        let mut steps = 1;
        while launcher.step().await.unwrap() {
            steps += 1;
        }
        assert!(steps <= 2 + (1_050 - first_slice) / 200, "two slices a step, not {steps}");
        assert_eq!(house.state(campaign).await, "sending");
        assert_whole(&house, campaign, 1_050).await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_slice_that_does_not_follow_the_one_before_it_was_never_written(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(100).await;
    let campaign = house.draft(Channel::Email, MessageClass::Obligation).await;
    launch_only(&house, campaign).await;
    let sizes = SliceSizes { first: 10, slice: 20, chunk: 10 };
    let ahead = async |after| house.store.write_slice_ahead(campaign, after, sizes).await.unwrap();
    let next = async || house.store.freeze_slice(campaign, sizes).await.unwrap();
    assert!(ahead(10).await.is_none(), "who is in it twice is not known yet");
    next().await;

    // Nobody commits before the one before.
    assert_eq!(ahead(30).await.unwrap().commit().await.unwrap(), Slice::Stopped);
    let written = ahead(30).await.unwrap();
    next().await;
    assert_eq!(written.commit().await.unwrap(), Slice::Frozen { recipients: 20, complete: false });
    assert!(ahead(40).await.is_none(), "it is frozen");

    // Somebody is erased of whom the one slice knows, and the other does not.
    let written = ahead(70).await.unwrap();
    sqlx::query(
        "update contacts set erased_at = now(), email = null where id = (
             select id from contacts where (time_zone, id) > (select cursor_zone, cursor_contact from campaigns where id = $1)
             order by time_zone, id limit 1)",
    )
    .bind(campaign.uuid())
    .execute(house.store.pool())
    .await
    .unwrap();
    next().await;
    assert_eq!(written.commit().await.unwrap(), Slice::Stopped);

    let written = ahead(90).await.unwrap();
    next().await;
    launch::control::pause(&house.store, house.tenant_id(), campaign).await.unwrap();
    assert_eq!(written.commit().await.unwrap(), Slice::Stopped);
    launch::control::resume(&house.store, house.tenant_id(), campaign).await.unwrap();
    freeze_all(&house, campaign, 20, 10).await;
    assert_whole(&house, campaign, 99).await;
}

/// Of several rows with one key the first holds, so they are written one after the other.
#[sqlx::test(migrator = "MIGRATOR")]
async fn nothing_is_written_ahead_where_messages_have_keys(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(50).await;
    let keyed = |campaign: &mut NewCampaign| campaign.business_key = Some("renewal:{name}".to_owned());
    let campaign = house.draft_with(Channel::Email, MessageClass::Obligation, keyed).await;
    launch_only(&house, campaign).await;
    let sizes = SliceSizes { first: 10, slice: 10, chunk: 10 };
    house.store.freeze_slice(campaign, sizes).await.unwrap();
    assert!(house.store.write_slice_ahead(campaign, 20, sizes).await.unwrap().is_none());
}

/// Numbered from 1 without a gap, everybody once, and each in one chunk.
async fn assert_whole(house: &House, campaign: fanfare_engine::id::CampaignId, people: i64) {
    let counted: (i64, i32, i32, i64) = sqlx::query_as(
        "select count(*), min(n), max(n), count(distinct contact_id) from recipients where campaign_id = $1",
    )
    .bind(campaign.uuid())
    .fetch_one(house.store.pool())
    .await
    .unwrap();
    assert_eq!((counted.0, counted.1, i64::from(counted.2), counted.3), (people, 1, people, people));
    let uncovered: i64 = sqlx::query_scalar(
        "select count(*) from recipients r where campaign_id = $1 and 1 <> (
             select count(*) from chunks c where c.campaign_id = $1 and r.n between c.first_n and c.last_n)",
    )
    .bind(campaign.uuid())
    .fetch_one(house.store.pool())
    .await
    .unwrap();
    assert_eq!(uncovered, 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn one_address_gets_one_message_and_the_rest_is_explained(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(20).await;
    sqlx::query(
        "update contacts set phone = '+23052345678' where name in ('Person 3', 'Person 4', 'Person 5')",
    )
    .execute(house.store.pool())
    .await
    .unwrap();
    sqlx::query("update contacts set phone = null where name = 'Person 9'")
        .execute(house.store.pool())
        .await
        .unwrap();
    let campaign = house.draft(Channel::Sms, MessageClass::Obligation).await;
    launch_only(&house, campaign).await;
    freeze_all(&house, campaign, 4, 3).await;
    let reasons = house.store.reasons(house.tenant_id(), campaign).await.unwrap();
    let counted: Vec<_> = reasons.iter().map(|count| (count.reason.as_str(), count.recipients)).collect();
    assert_eq!(counted, [("duplicate_address", 2), ("no_address", 1)]);
    let progress = house.progress(campaign).await;
    assert_eq!((progress.recipients, progress.excluded, progress.waiting), (20, 3, 17));
}

/// Of a file the first row holds for whoever stands in it several times, and the first of those who share a number.
#[sqlx::test(migrator = "MIGRATOR")]
async fn of_a_file_too_one_address_gets_one_message(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(6).await;
    let upload: UploadId = house.ids.next(house.store.now().await.unwrap());
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "update contacts set phone = '+23052345678' where name in ('Person 2', 'Person 3');
         insert into uploads (id, tenant_id, file_name, sha256, bytes, format, mapping, rows_read, rows_taken, rows_refused,
                              contacts_created, contacts_updated)
         values ('{upload}', '{tenant}', 'due.csv', '', 1, 'csv', '{{}}', 9, 9, 0, 6, 0);
         insert into upload_rows (upload_id, time_zone, contact_id, row_no, attributes)
         select '{upload}', time_zone, id, split_part(name, ' ', 2)::bigint, '{{}}' from contacts;
         insert into upload_rows (upload_id, time_zone, contact_id, row_no, attributes)
         select '{upload}', time_zone, id, row_no, '{{}}' from contacts cross join generate_series(7, 8) row_no
         where name = 'Person 1';
         insert into upload_rows (upload_id, time_zone, contact_id, row_no, attributes)
         select '{upload}', 'Zulu', id, 9, '{{}}' from contacts where name = 'Person 4'",
        upload = upload.uuid(),
        tenant = house.tenant_id().uuid(),
    )))
    .execute(house.store.pool())
    .await
    .unwrap();
    for (channel, addresses) in [(Channel::Email, 6), (Channel::Sms, 5)] {
        let of_the_file = |campaign: &mut NewCampaign| campaign.audience = Audience::Upload(upload);
        let campaign = house.draft_with(channel, MessageClass::Obligation, of_the_file).await;
        launch_only(&house, campaign).await;
        freeze_all(&house, campaign, 4, 3).await;
        let rows: Vec<(String, Option<String>)> =
            sqlx::query_as("select address, excluded from recipients where campaign_id = $1 order by n")
                .bind(campaign.uuid())
                .fetch_all(house.store.pool())
                .await
                .unwrap();
        let sent = rows.iter().filter(|(_, excluded)| excluded.is_none()).count();
        assert_eq!((rows.len(), sent), (9, addresses), "{rows:?}");
        for (at, (address, excluded)) in rows.iter().enumerate() {
            let first = rows.iter().position(|(other, _)| other == address).unwrap();
            let expected = (at > first).then_some("duplicate_address");
            assert_eq!(excluded.as_deref(), expected, "the first row holds: {rows:?}");
        }
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_business_key_is_used_once_over_campaigns(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(10).await;
    let keyed = |campaign: &mut NewCampaign| {
        campaign.business_key = Some("policy:{policy}:renewal-2026".to_owned());
    };
    for expected in [0, 10] {
        let campaign = house.draft_with(Channel::Email, MessageClass::Obligation, keyed).await;
        launch_only(&house, campaign).await;
        freeze_all(&house, campaign, 4, 3).await;
        let reasons = house.store.reasons(house.tenant_id(), campaign).await.unwrap();
        let duplicates: i64 =
            reasons.iter().filter(|c| c.reason == "duplicate_business_key").map(|c| c.recipients).sum();
        assert_eq!(duplicates, expected);
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_paused_launch_goes_on_where_it_was(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(50).await;
    let campaign = house.draft(Channel::Email, MessageClass::Obligation).await;
    launch_only(&house, campaign).await;
    house.store.freeze_slice(campaign, SliceSizes { first: 20, slice: 20, chunk: 10 }).await.unwrap();
    launch::control::pause(&house.store, house.tenant_id(), campaign).await.unwrap();
    assert_eq!(
        house.store.freeze_slice(campaign, SliceSizes { first: 20, slice: 20, chunk: 10 }).await.unwrap(),
        Slice::Stopped
    );
    launch::control::resume(&house.store, house.tenant_id(), campaign).await.unwrap();
    freeze_all(&house, campaign, 20, 10).await;
    assert_eq!(house.progress(campaign).await.waiting, 50);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_check_tells_all_and_changes_nothing(pool: PgPool) {
    let house = House::new(pool).await;
    house.contacts(30).await;
    sqlx::query("update contacts set attributes = '{}' where name in ('Person 1', 'Person 2')")
        .execute(house.store.pool())
        .await
        .unwrap();
    sqlx::query(
        "insert into suppressions (tenant_id, channel, address, scope, reason, source)
         values ($1, 'email', 'person7@example.com', 'all', 'bounced', 'test')",
    )
    .bind(house.tenant_id().uuid())
    .execute(house.store.pool())
    .await
    .unwrap();
    let campaign = house.draft(Channel::Email, MessageClass::Obligation).await;
    let _ = house.engine(fanfare_engine::engine::Settings::default()).await;
    let mut problems = Vec::new();
    let report =
        check::check(&house.store, &PublicLinks::default(), house.tenant_id(), campaign, |problem| {
            problems.push(problem)
        })
        .await
        .unwrap();
    assert_eq!((report.recipients, report.sendable), (30, 27));
    assert_eq!(report.missing_variables.get("policy"), Some(&2));
    assert_eq!(report.not_sent.get("bounced"), Some(&1));
    assert_eq!(problems.len(), 3);
    assert_eq!(house.state(campaign).await, "draft");
    assert_eq!(house.progress(campaign).await.recipients, 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_cannot_be_launched_says_what_to_do(pool: PgPool) {
    let house = House::new(pool).await;
    let campaign = house.draft(Channel::Email, MessageClass::Obligation).await;
    let error = launch::launch(&house.store, house.tenant_id(), campaign).await.expect_err("no account");
    assert!(matches!(error, LaunchError::NoAccount(Channel::Email)), "{error}");
    launch_only(&house, campaign).await;
    let error =
        launch::launch(&house.store, house.tenant_id(), campaign).await.expect_err("launched already");
    assert_eq!(error.to_string(), "a campaign that is launching cannot be launched");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn local_hours_are_kept(pool: PgPool) {
    // The window of somebody for whom it is now 03:00 opens at 09:00 there; the database says when that is.
    let opens: Option<bool> = sqlx::query_scalar(
        "select next_window(zone, '09:00', '20:00') > now() from (
             select name as zone from pg_timezone_names
             where name like 'Etc/GMT%' and extract(hour from now() at time zone name) = 3 limit 1) z",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(opens, Some(true));
    let open: Option<bool> = sqlx::query_scalar(
        "select next_window(zone, '09:00', '20:00') is null from (
             select name as zone from pg_timezone_names
             where name like 'Etc/GMT%' and extract(hour from now() at time zone name) = 12 limit 1) z",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(open, Some(true));
    let night: Option<bool> = sqlx::query_scalar(
        "select next_window('UTC', now()::time - interval '1 hour', now()::time + interval '1 hour') is null",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(night, Some(true), "also across midnight");
}
