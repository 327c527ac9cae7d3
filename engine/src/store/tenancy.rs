//! The second wall between tenants. The first is the tenant in every query; this one is row-level security in Postgres:
//! requests of the API run as the role `fanfare_api`, which sees only the rows of the tenant that the transaction names.
//! Workers and upkeep serve all tenants and run as the owner of the tables, whom no policy holds.

use sqlx::AssertSqlSafe;

use super::{Store, StoreResult};
use crate::id::TenantId;

impl Store {
    /// A transaction in which nothing but this tenant's rows can be read or written, in one round trip.
    pub async fn within(&self, tenant: TenantId) -> StoreResult<sqlx::PgTransaction<'static>> {
        // A UUID has neither quotes nor anything else that a statement could be made of.
        let begin =
            format!("begin; set local role fanfare_api; set local fanfare.tenant = '{}'", tenant.uuid());
        Ok(self.pool().begin_with(AssertSqlSafe(begin)).await?)
    }
}
