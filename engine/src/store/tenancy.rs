//! The second wall between tenants. The first is the tenant in every query; this one is row-level security in Postgres:
//! requests of the API run as the role `fanfare_api`, which sees only the rows of the tenant that the transaction names.
//! Workers and upkeep serve all tenants and run as the owner of the tables, whom no policy holds.

use super::{LOCK_TIMEOUT, Store, StoreResult};
use crate::id::TenantId;

impl Store {
    /// A transaction in which nothing but this tenant's rows can be read or written, in one round trip. Its statements keep
    /// one plan: to plan them anew, with policies and partitions, took Postgres longer than to run them.
    pub async fn within(&self, tenant: TenantId) -> StoreResult<sqlx::PgTransaction<'static>> {
        // A UUID has neither quotes nor anything else that a statement could be made of.
        self.begun(format!(
            "begin; set local role fanfare_api; set local fanfare.tenant = '{}'; set local plan_cache_mode = force_generic_plan; \
             set local lock_timeout = '{LOCK_TIMEOUT}'",
            tenant.uuid()
        ))
        .await
    }
}
