//! The connections of requests: each is left as the next caller has to find it, whoever that is.

use std::time::Duration;

use fanfare_engine::{
    id::TenantId,
    store::{Connections, Store, tenancy::Within},
};
use sqlx::{PgPool, postgres::PgPoolOptions};

/// A store with one connection for requests.
fn of_one(pool: &PgPool) -> Store {
    let options = PgPool::connect_options(pool).as_ref().clone();
    Store::from_pool(PgPoolOptions::new().max_connections(1).connect_lazy_with(options))
}

fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(uuid::Uuid::from_u128(number))
}

/// The process that serves a connection, and the role and the tenant that it has there.
async fn known(within: &mut Within) -> (i32, String, String) {
    sqlx::query_as("select pg_backend_pid(), current_user::text, current_setting('fanfare.tenant', true)")
        .fetch_one(&mut **within)
        .await
        .unwrap()
}

/// Transactions that wait for somebody who has gone.
async fn left_open(pool: &PgPool) -> i64 {
    let mut open = i64::MAX;
    for _ in 0..400 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        open = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and state like 'idle in transaction%'",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        if open == 0 {
            break;
        }
    }
    open
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_connection_comes_back_without_a_transaction_whenever_its_caller_goes(pool: PgPool) {
    let store = of_one(&pool);
    for polls in 1..=6 {
        for reads in [false, true, false, true] {
            let mut begin = Box::pin(async {
                if reads { store.reading(tenant(7)).await } else { store.within(tenant(7)).await }
            });
            for _ in 0..polls {
                if futures::poll!(&mut begin).is_ready() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(begin);
            assert_eq!(left_open(&pool).await, 0, "let go after {polls} polls");
            let mut next = store.reading(tenant(8)).await.unwrap();
            let (_, role, whose) = known(&mut next).await;
            assert_eq!((role.as_str(), whose), ("fanfare_api", tenant(8).uuid().to_string()));
            next.end();
        }
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn one_connection_serves_one_tenant_after_the_other(pool: PgPool) {
    let store = of_one(&pool);
    let (mut connection, mut way) = (None, 0_u8);
    for (number, transaction) in
        [(1, false), (2, true), (1, true), (1, false), (2, false), (2, true), (3, true)]
    {
        for _ in 0..3 {
            let whose = tenant(number);
            let mut within = match transaction {
                true => store.within(whose).await.unwrap(),
                false => store.reading(whose).await.unwrap(),
            };
            let (process, role, named) = known(&mut within).await;
            assert_eq!((role.as_str(), named), ("fanfare_api", whose.uuid().to_string()));
            assert_eq!(*connection.get_or_insert(process), process, "the connection is kept");
            way = (way + 1) % 3;
            match way {
                0 => within.end(),
                1 => drop(within),
                _ => within.commit().await.unwrap(),
            }
        }
    }
    assert_eq!(left_open(&pool).await, 0);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_connections_of_requests_are_counted(pool: PgPool) {
    let store = of_one(&pool);
    let before = store.connections();
    let reading = store.reading(tenant(1)).await.unwrap();
    assert_eq!(store.connections(), Connections { used: before.used + 1, ..before });
    reading.end();
    assert_eq!(store.connections(), Connections { idle: before.idle + 1, ..before });
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_only_reads_changes_nothing(pool: PgPool) {
    let store = of_one(&pool);
    let note = "insert into audit_pending (tenant_id, at, actor, action, subject, detail) \
                values ($1, now(), 'key:1', 'test', '', '{}')";
    let mut reading = store.reading(tenant(1)).await.unwrap();
    let refused = sqlx::query(note).bind(tenant(1).uuid()).execute(&mut *reading).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "25006", "{refused}");
    drop(reading);
    for commit in [false, true] {
        sqlx::query("insert into tenants (id, slug, name, region, locale, time_zone, currency) values ($1, 'one', 'One', 'GH', 'en', 'UTC', 'GHS') on conflict do nothing")
            .bind(tenant(1).uuid())
            .execute(&pool)
            .await
            .unwrap();
        let mut within = store.within(tenant(1)).await.unwrap();
        sqlx::query(note).bind(tenant(1).uuid()).execute(&mut *within).await.unwrap();
        if commit {
            within.commit().await.unwrap()
        } else {
            within.end()
        }
        assert_eq!(left_open(&pool).await, 0);
        let noted: i64 =
            sqlx::query_scalar("select count(*) from audit_pending").fetch_one(&pool).await.unwrap();
        assert_eq!(noted, i64::from(commit), "what is ended without a commit is rolled back");
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_connection_that_the_server_ended_is_not_given_to_anybody_again(pool: PgPool) {
    let store = of_one(&pool);
    let mut reading = store.reading(tenant(1)).await.unwrap();
    let (process, ..) = known(&mut reading).await;
    sqlx::query("select pg_terminate_backend($1)").bind(process).execute(&pool).await.unwrap();
    sqlx::query("select 1").execute(&mut *reading).await.unwrap_err();
    drop(reading);
    let (other, ..) = known(&mut store.reading(tenant(1)).await.unwrap()).await;
    assert_ne!(other, process);
}
