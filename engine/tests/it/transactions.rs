//! Transactions whose callers are let go: a client that hangs up, a wait that ends.

use std::time::Duration;

use fanfare_engine::{id::TenantId, store::Store};
use sqlx::PgPool;

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_connection_comes_back_without_a_transaction_whenever_its_caller_goes(pool: PgPool) {
    let store = Store::from_pool(pool.clone());
    let tenant = TenantId::from_uuid(uuid::Uuid::from_u128(7));
    for polls in 1..=6 {
        for _ in 0..3 {
            let mut begin = Box::pin(store.within(tenant));
            for _ in 0..polls {
                if futures::poll!(&mut begin).is_ready() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(begin);
            // What was under way ends; what was left behind would stay.
            let mut open = i64::MAX;
            for _ in 0..400 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if pool.num_idle() < usize::try_from(pool.size()).unwrap() {
                    continue;
                }
                open = sqlx::query_scalar(
                    "select count(*) from pg_stat_activity
                     where datname = current_database() and state like 'idle in transaction%'",
                )
                .fetch_one(&pool)
                .await
                .unwrap();
                if open == 0 {
                    break;
                }
            }
            assert_eq!(open, 0, "let go after {polls} polls");
            let role: String =
                sqlx::query_scalar("select current_user::text").fetch_one(&pool).await.unwrap();
            assert_ne!(role, "fanfare_api", "let go after {polls} polls");
        }
    }
}
