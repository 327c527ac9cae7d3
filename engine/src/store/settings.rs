//! What a tenant decides for all of its people: columns of its own row.

use sqlx::PgConnection;

use super::{StoreError, StoreResult};
use crate::id::TenantId;

/// Settings are changed under the lock of the tenant's row, so that an edit is of what was read.
pub async fn lock(tx: &mut PgConnection, tenant: TenantId) -> StoreResult<()> {
    let row = sqlx::query!("select id from tenants where id = $1 for no key update", tenant.uuid());
    row.fetch_optional(tx).await?.map(drop).ok_or_else(|| StoreError::not_found(tenant))
}

/// Above how many recipients somebody else has to approve; `None`: never.
pub async fn review_above(tx: &mut PgConnection, tenant: TenantId) -> StoreResult<Option<i32>> {
    let above = sqlx::query_scalar!("select review_above from tenants where id = $1", tenant.uuid());
    Ok(above.fetch_one(tx).await?)
}

pub async fn set_review_above(
    tx: &mut PgConnection,
    tenant: TenantId,
    above: Option<i32>,
) -> StoreResult<()> {
    let set = sqlx::query!("update tenants set review_above = $2 where id = $1", tenant.uuid(), above);
    set.execute(tx).await?;
    Ok(())
}

/// The slug of the role that strangers get who make themselves a user; `None`: people come by invitation.
pub async fn registration_role(tx: &mut PgConnection, tenant: TenantId) -> StoreResult<Option<String>> {
    let role = sqlx::query_scalar!("select self_registration from tenants where id = $1", tenant.uuid());
    Ok(role.fetch_one(tx).await?)
}

/// The role must be there; while it stands here it is not deleted.
pub async fn set_registration_role(
    tx: &mut PgConnection,
    tenant: TenantId,
    role: Option<&str>,
) -> StoreResult<()> {
    let set = sqlx::query!("update tenants set self_registration = $2 where id = $1", tenant.uuid(), role);
    set.execute(tx).await?;
    Ok(())
}
