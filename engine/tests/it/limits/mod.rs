//! The limiter: several instances with connections of their own stand for several processes.

mod faults;
mod pace;
mod people;
mod sink;

use std::{num::NonZeroU64, sync::Arc};

use fanfare_engine::{
    id::AccountId,
    limit::{AccountPacer, Limiter, Span, Window},
    link::RedisLink,
    store::Store,
};

use crate::support;

fn window(window: Span, requests: u64) -> Window {
    Window { window, requests: NonZeroU64::new(requests).expect("not zero") }
}

/// An account in a corner of its own of Postgres and Redis.
struct World {
    store: Store,
    prefix: String,
    account: AccountId,
    windows: Vec<Window>,
}

/// What stands for a process.
struct Process {
    limiter: Limiter,
    pacer: Arc<AccountPacer>,
}

impl World {
    async fn new(test: &str, windows: &[Window]) -> Self {
        let store = support::store().await;
        let (tenant, account) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        sqlx::query(
            "insert into tenants (id, slug, name, region, locale, time_zone, currency)
             values ($1, $1::text, 'Test', 'MU', 'en', 'Indian/Mauritius', 'MUR')",
        )
        .bind(tenant)
        .execute(store.pool())
        .await
        .expect("tenant");
        sqlx::query(
            "insert into accounts (id, tenant_id, slug, provider, limits) values ($1, $2, 'a', 'whatsapp_cloud', '[]')",
        )
        .bind(account)
        .bind(tenant)
        .execute(store.pool())
        .await
        .expect("account");
        Self { store, prefix: support::prefix(test), account: account.into(), windows: windows.to_vec() }
    }

    fn process(&self) -> Process {
        self.process_over(support::redis())
    }

    fn process_over(&self, link: RedisLink) -> Process {
        let limiter = Limiter::new(link, self.store.clone(), &self.prefix);
        let pacer = limiter.account(self.account, &self.windows);
        Process { limiter, pacer }
    }

    /// What FLUSHALL does to this account, without touching those of the other tests.
    async fn lose_keys(&self) {
        let mut connection = support::redis().short().await.expect("Redis");
        let keys = self.keys().await;
        redis::cmd("DEL").arg(&keys).arg("none").exec_async(&mut connection).await.expect("DEL");
        redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut connection).await.expect("SCRIPT FLUSH");
    }

    async fn keys(&self) -> Vec<String> {
        let mut connection = support::redis().short().await.expect("Redis");
        redis::cmd("KEYS").arg(format!("{}:*", self.prefix)).query_async(&mut connection).await.expect("KEYS")
    }
}
