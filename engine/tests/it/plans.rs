//! What statements that are run over and over read: their keys, whatever the statistics say.

use std::time::Duration;

use fanfare_engine::{
    domain::{
        channel::{Channel, MessageClass},
        chunk::{ChunkRef, Members},
    },
    id::{CampaignId, ProcessId},
    store::{
        Store, analytics,
        audit::{self, AuditFilter},
        campaigns,
        chunks::{IntentRequest, IntentVerdict},
        listing::{Part, Way},
        message_search::{self, By, Search},
        messages,
    },
};
use sqlx::{PgConnection, PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

use crate::{house::House, messages::claimed};

const MIGRATOR: &sqlx::migrate::Migrator = &fanfare_engine::store::MIGRATOR;

/// Of thousands that wait, also by a plan that was made when there were none.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_chunk_is_claimed_by_its_key(pool: PgPool) {
    let house = House::new(pool).await;
    let claim = claimed(&house, 5).await;
    let one = one_connection(&house).await;
    let (process, lease) = (ProcessId::from_uuid(Uuid::from_u128(7)), Duration::from_secs(30));
    let wanted = |no| [ChunkRef { campaign: claim.chunk.campaign, no }];
    for _ in 0..6 {
        assert!(one.claim_chunks(process, &wanted(2), lease).await.unwrap().is_empty());
    }
    sqlx::query(
        "insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, first_n, last_n, size)
         select campaign_id, i, tenant_id, account_id, 1, 0, 1, 1, 1 from chunks cross join generate_series(2, 3000) i
         where campaign_id = $1 and no = 1",
    )
    .bind(claim.chunk.campaign.uuid())
    .execute(house.store.pool())
    .await
    .unwrap();
    let before = read_over(&one, "chunks").await;
    let claims = one.claim_chunks(process, &wanted(2_000), lease).await.unwrap();
    let request = IntentRequest {
        claim: &claims[0],
        lease,
        positions: &[0],
        key: None,
        contacts: &[None],
        addresses: &["+23057000001"],
    };
    let verdict = one.commit_intent(&request).await.unwrap();
    assert_eq!(verdict, IntentVerdict::Go { excluded: Vec::new() });
    one.release_chunk(&claims[0], Duration::ZERO).await.unwrap();
    let read = read_over(&one, "chunks").await - before;
    assert!((1..20).contains(&read), "{read} chunks were read for one");
}

/// Beside a month of single sends, whatever the statistics say of it.
#[sqlx::test(migrator = "MIGRATOR")]
async fn how_far_a_campaign_is_is_read_by_its_key(pool: PgPool) {
    let house = House::new(pool).await;
    let claim = claimed(&house, 5).await;
    let (tenant, campaign) = (house.tenant_id(), claim.chunk.campaign);
    // A campaign of the same month, as statistics see it: one of two.
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, first_n, last_n, size, done_at, accepted)
         select overlay(campaign_id::text placing '000000000000' from 25)::uuid, i, tenant_id, account_id, 1, 0, i, i, 1, now(), 1
         from chunks cross join generate_series(1, 20000) i where campaign_id = '{}';
         analyze chunks",
        campaign.uuid(),
    )))
    .execute(house.store.pool())
    .await
    .unwrap();
    let mut tx = house.store.begin().await.unwrap();
    // As after some times.
    sqlx::query("set local plan_cache_mode = force_generic_plan").execute(&mut *tx).await.unwrap();
    let progress = campaigns::progress(&mut tx, tenant, campaign).await.unwrap();
    analytics::numbers(&mut tx, tenant, campaign).await.unwrap();
    let walked: Option<i64> = sqlx::query_scalar(
        "select sum(seq_tup_read)::bigint from pg_stat_xact_user_tables where relname like 'chunks%'",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!((progress.waiting, walked), (5, Some(0)));
}

/// Rows of a table that this transaction has read.
async fn read_of(tx: &mut PgConnection, table: &str) -> i64 {
    let read =
        "select sum(seq_tup_read + idx_tup_fetch)::bigint from pg_stat_xact_user_tables where relname = $1";
    sqlx::query_scalar(read).bind(table).fetch_one(tx).await.unwrap()
}

/// Beside thousands of other campaigns.
#[sqlx::test(migrator = "MIGRATOR")]
async fn the_messages_of_a_campaign_are_listed_by_its_key(pool: PgPool) {
    let house = House::new(pool).await;
    let campaign = claimed(&house, 5).await.chunk.campaign;
    sqlx::raw_sql(
        "insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, audience, state)
         select gen_random_uuid(), tenant_id, kind, name, channel, class, template_id, audience, 'in_review'
         from campaigns cross join generate_series(1, 3000);
         analyze campaigns",
    )
    .execute(house.store.pool())
    .await
    .unwrap();
    let mut tx = house.store.begin().await.unwrap();
    sqlx::query("set local plan_cache_mode = force_generic_plan").execute(&mut *tx).await.unwrap();
    for way in [Way::Up, Way::Down] {
        let search = Search {
            by: By::Campaign(campaign),
            channel: None,
            made_before: None,
            way,
            after: None,
            offset: 0,
            limit: 10,
        };
        let found = message_search::ids(&mut tx, house.tenant_id(), &search).await.unwrap();
        let total = message_search::count(&mut tx, house.tenant_id(), &search).await.unwrap();
        assert_eq!((found.len(), total), (5, 5));
    }
    let read = read_of(&mut tx, "campaigns").await;
    assert!((1..20).contains(&read), "{read} campaigns were read for one");
}

/// In the log of a tenant that has done much else.
#[sqlx::test(migrator = "MIGRATOR")]
async fn the_deeds_of_somebody_and_to_something_are_found_by_them(pool: PgPool) {
    let house = House::new(pool).await;
    let tenant = house.tenant_id();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "insert into audit_log (tenant_id, seq, at, actor, action, subject, detail, hash)
         select '{}', i, now(), 'user:' || i / 2, 'contact.read', 'cont_' || i / 2, '{{}}', '' from generate_series(1, 6000) i;
         analyze audit_log",
        tenant.uuid(),
    )))
    .execute(house.store.pool())
    .await
    .unwrap();
    let mut tx = house.store.begin().await.unwrap();
    sqlx::query("set local plan_cache_mode = force_generic_plan").execute(&mut *tx).await.unwrap();
    let (someone, something) = (Some("user:700"), Some("cont_700"));
    for (actor, subject, expected) in
        [(someone, None, 2), (None, something, 2), (someone, something, 2), (someone, Some("cont_701"), 0)]
    {
        for way in [Way::Up, Way::Down] {
            let filter = AuditFilter { actor, subject, way, limit: 10, ..AuditFilter::default() };
            let rows = audit::list(&mut tx, tenant, &filter).await.unwrap();
            let mut places: Vec<i64> = rows.iter().map(|row| row.seq).collect();
            if way == Way::Down {
                places.reverse();
            }
            assert_eq!(places, [1_400, 1_401][..expected]);
            let total = audit::count(&mut tx, tenant, &filter).await.unwrap();
            assert_eq!(total, expected as u64);
        }
    }
    let read = read_of(&mut tx, "audit_log").await;
    assert!((1..100).contains(&read), "{read} deeds were read for some");
}

/// A campaign that no statistics know yet, beside two that they do: 101 to 20,000 were written to.
async fn unknown_to_statistics(house: &House) -> CampaignId {
    let campaign = house.draft(Channel::Email, MessageClass::Obligation).await;
    let insert = |others: &str| {
        format!(
            "insert into recipients (campaign_id, n, variant, address, variables)
             select overlay('{id}' placing other from 25)::uuid, i, 0, '', '[]'
             from unnest(array[{others}]) other cross join generate_series(101, 20000) i;
             insert into results (campaign_id, n, attempt, kind, account_no)
             select overlay('{id}' placing other from 25)::uuid, i, 1, 0, 1
             from unnest(array[{others}]) other cross join generate_series(101, 20000) i",
            id = campaign.uuid(),
        )
    };
    let known = insert("'000000000000', '000000000001'");
    let itself = insert(&format!("'{}'", &campaign.uuid().to_string()[24..]));
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("{known}; analyze recipients, results; {itself}")))
        .execute(house.store.pool())
        .await
        .unwrap();
    campaign
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn who_was_not_sent_is_found_among_the_exceptions(pool: PgPool) {
    let house = House::new(pool).await;
    let campaign = unknown_to_statistics(&house).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "insert into recipients (campaign_id, n, variant, excluded, address, variables)
         values ('{id}', 50, 0, 'no_address', '', '[]'), ('{id}', 60, 0, null, '', '[]');
         insert into results (campaign_id, n, attempt, kind, account_no, reason)
         values ('{id}', 60, 1, 2, 1, 'invalid_address')",
        id = campaign.uuid(),
    )))
    .execute(house.store.pool())
    .await
    .unwrap();
    for plans in ["force_custom_plan", "force_generic_plan"] {
        let mut tx = house.store.begin().await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("set local plan_cache_mode = {plans}")))
            .execute(&mut *tx)
            .await
            .unwrap();
        for (way, expected) in [(Way::Up, [50, 60]), (Way::Down, [60, 50])] {
            let part = Part { after: None, offset: 0, limit: 10 };
            let rows = messages::unsent(&mut tx, house.tenant_id(), campaign, way, &part).await.unwrap();
            assert_eq!(rows.into_iter().map(|row| row.message.n).collect::<Vec<_>>(), expected);
        }
        assert_eq!(messages::count_unsent(&mut tx, house.tenant_id(), campaign).await.unwrap(), 2);
        let read = "select sum(seq_tup_read + idx_tup_fetch)::bigint from pg_stat_xact_user_tables
                    where relname ~ '^(recipients|results)_'";
        let read: i64 = sqlx::query_scalar(read).fetch_one(&mut *tx).await.unwrap();
        assert!((1..100).contains(&read), "{read} rows were read for two, {plans}");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn who_is_tried_again_is_read_by_their_numbers(pool: PgPool) {
    let house = House::new(pool).await;
    let campaign = unknown_to_statistics(&house).await;
    let one = one_connection(&house).await;
    let before = read_over(&one, "recipients").await;
    let recipients = one.chunk_recipients(campaign, &Members::List(vec![4_000, 170, 12_345])).await.unwrap();
    assert_eq!(recipients.into_iter().map(|recipient| recipient.n).collect::<Vec<_>>(), [4_000, 170, 12_345]);
    let read = read_over(&one, "recipients").await - before;
    assert!((1..20).contains(&read), "{read} recipients were read for three");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_chunk_is_recounted_by_the_numbers_of_its_members(pool: PgPool) {
    let house = House::new(pool).await;
    let campaign = unknown_to_statistics(&house).await;
    sqlx::query(
        "insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, members, size)
         select $1, nextval('chunk_no'), $2, gen_random_uuid(), 1, 0, array[4000, 170, 12345], 3 from generate_series(1, 8)",
    )
    .bind(campaign.uuid())
    .bind(house.tenant_id().uuid())
    .execute(house.store.pool())
    .await
    .unwrap();
    let one = one_connection(&house).await;
    let before = read_over(&one, "results").await;
    sqlx::query(
        "select recount_chunks(array_agg(campaign_id), array_agg(no)) from chunks where campaign_id = $1",
    )
    .bind(campaign.uuid())
    .execute(one.pool())
    .await
    .unwrap();
    let read = read_over(&one, "results").await - before;
    assert!((1..100).contains(&read), "{read} results were read for eight times three");
    let accepted: i64 = sqlx::query_scalar("select sum(accepted) from chunks where campaign_id = $1")
        .bind(campaign.uuid())
        .fetch_one(one.pool())
        .await
        .unwrap();
    assert_eq!(accepted, 24);
}

/// It tells what was read over it.
async fn one_connection(house: &House) -> Store {
    let options = house.store.pool().connect_options().as_ref().clone();
    Store::from_pool(PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap())
}

/// Rows of all partitions of a table that were read by now.
async fn read_over(one: &Store, table: &str) -> i64 {
    sqlx::query("select pg_stat_force_next_flush()").execute(one.pool()).await.unwrap();
    let read = "select sum(seq_tup_read + idx_tup_fetch)::bigint from pg_stat_user_tables where starts_with(relname, $1)";
    sqlx::query_scalar(read).bind(table).fetch_one(one.pool()).await.unwrap()
}
