//! Tenants: every other row belongs to one.

use super::{Store, StoreError, StoreResult, roles};
use crate::id::TenantId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub id: TenantId,
    pub slug: String,
    pub name: String,
    /// ISO 3166 country of phone numbers without a country code.
    pub region: String,
    pub locale: String,
    /// IANA name.
    pub time_zone: String,
    /// ISO 4217.
    pub currency: String,
}

/// Of a row that is joined with its tenant's, whose id is `tenant_id` there.
macro_rules! tenant_of {
    ($row:expr) => {
        Tenant {
            id: $row.tenant_id.into(),
            slug: $row.slug,
            name: $row.tenant_name,
            region: $row.region,
            locale: $row.locale,
            time_zone: $row.time_zone,
            currency: $row.currency,
        }
    };
}
pub(super) use tenant_of;

impl Store {
    /// Creates a tenant with the usual roles; one with the same slug is a conflict.
    pub async fn create_tenant(&self, tenant: &Tenant) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let made = sqlx::query!(
            "insert into tenants (id, slug, name, region, locale, time_zone, currency)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict (slug) do nothing",
            tenant.id.uuid(),
            tenant.slug,
            tenant.name,
            tenant.region,
            tenant.locale,
            tenant.time_zone,
            tenant.currency,
        )
        .execute(&mut *tx)
        .await?;
        if made.rows_affected() == 0 {
            return Err(StoreError::Conflict(format!("a tenant `{}` exists already", tenant.slug)));
        }
        roles::make_usual(&mut tx, tenant.id).await?;
        Ok(tx.commit().await?)
    }

    pub async fn tenants(&self) -> StoreResult<Vec<Tenant>> {
        Ok(sqlx::query_as!(
            Tenant,
            "select id, slug, name, region, locale, time_zone, currency from tenants order by slug"
        )
        .fetch_all(self.pool())
        .await?)
    }

    pub async fn tenant(&self, slug: &str) -> StoreResult<Tenant> {
        sqlx::query_as!(
            Tenant,
            "select id, slug, name, region, locale, time_zone, currency from tenants where slug = $1",
            slug
        )
        .fetch_optional(self.pool())
        .await?
        .ok_or_else(|| StoreError::not_found(format!("tenant `{slug}`")))
    }

    pub async fn tenant_by_id(&self, id: TenantId) -> StoreResult<Tenant> {
        sqlx::query_as!(
            Tenant,
            "select id, slug, name, region, locale, time_zone, currency from tenants where id = $1",
            id.uuid()
        )
        .fetch_optional(self.pool())
        .await?
        .ok_or_else(|| StoreError::not_found(id))
    }

    /// The tenant that lets strangers make themselves a user, and the role that they get; by its name where several do.
    pub async fn open_to_strangers(&self, slug: Option<&str>) -> StoreResult<Option<(TenantId, String)>> {
        let open = sqlx::query!(
            r#"select id, self_registration as "role!" from tenants
               where self_registration is not null and ($1::text is null or slug = $1) limit 2"#,
            slug,
        );
        let open = open.fetch_all(self.pool()).await?;
        Ok(match open.as_slice() {
            [only] => Some((only.id.into(), only.role.clone())),
            _ => None,
        })
    }
}
