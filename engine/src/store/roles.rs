//! Roles: sets of permissions under a name. A tenant is made with the usual ones and may change them.

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{StoreError, StoreResult};
use crate::{
    domain::permission::Permissions,
    id::{RoleId, TenantId},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub id: RoleId,
    pub slug: String,
    pub name: String,
    pub description: String,
    pub permissions: Permissions,
    pub updated_at: Timestamp,
}

/// What a role is made of.
#[derive(Debug, Clone)]
pub struct RoleFacts<'a> {
    pub slug: &'a str,
    pub name: &'a str,
    pub description: &'a str,
    pub permissions: &'a Permissions,
}

/// Whoever has this role may do everything; a tenant always has somebody who does.
pub const OWNER: &str = "owner";

/// The roles that a tenant is made with: slug, name, what it is for, permissions.
const USUAL: &[(&str, &str, &str, &[&str])] = &[
    (OWNER, "Owner", "Everything, also users and settings", &["*"]),
    (
        "marketing_manager",
        "Marketing manager",
        "Makes, approves and launches campaigns",
        &[
            "contacts:*",
            "suppressions:*",
            "uploads:*",
            "templates:*",
            "campaigns:*",
            "messages:*",
            "notifications:*",
            "accounts:read",
            "reports:read",
        ],
    ),
    (
        "marketer",
        "Marketer",
        "Prepares campaigns; somebody else approves and launches them",
        &[
            "contacts:read",
            "contacts:create",
            "contacts:update",
            "suppressions:read",
            "uploads:*",
            "templates:read",
            "templates:create",
            "campaigns:read",
            "campaigns:create",
            "campaigns:update",
            "messages:read",
            "notifications:read",
            "reports:read",
        ],
    ),
    (
        "billing_agent",
        "Billing agent",
        "Reminds of what is due",
        &[
            "contacts:read",
            "contacts:update",
            "uploads:*",
            "messages:*",
            "notifications:read",
            "payment_plans:*",
            "qr_codes:generate",
            "aod:create",
        ],
    ),
    (
        "call_centre_agent",
        "Call-centre agent",
        "Speaks with customers and sends them what they ask for",
        &[
            "contacts:read",
            "contacts:update",
            "messages:read",
            "messages:send",
            "notifications:read",
            "payment_plans:create",
            "payment_plans:read",
            "qr_codes:generate",
            "aod:create",
        ],
    ),
    (
        "auditor",
        "Auditor",
        "Reads everything, changes nothing",
        &[
            "contacts:read",
            "suppressions:read",
            "uploads:read",
            "templates:read",
            "campaigns:read",
            "messages:read",
            "accounts:read",
            "reports:read",
            "users:read",
            "audit:read",
        ],
    ),
    (
        "sre",
        "SRE",
        "Keeps it running",
        &["campaigns:read", "messages:read", "accounts:*", "reports:read", "notifications:read"],
    ),
    ("agent", "Agent", "Reads their own notifications", &["notifications:read"]),
    ("customer", "Customer", "Reads their own notifications", &["notifications:read"]),
];

/// Of these the users are people whom messages are sent to: each is bound to a contact.
pub const BOUND: [&str; 2] = ["agent", "customer"];

/// Gives a tenant those of the usual roles that it lacks. Their ids follow from the tenant's, so that two processes that do
/// this at the same moment make the same rows.
pub(super) async fn make_usual(tx: &mut PgConnection, tenant: TenantId) -> StoreResult<()> {
    for (slug, name, description, permissions) in USUAL {
        let permissions: Vec<String> = permissions.iter().map(|&text| text.to_owned()).collect();
        sqlx::query!(
            "insert into roles (id, tenant_id, slug, name, description, permissions) values ($1, $2, $3, $4, $5, $6)
             on conflict do nothing",
            Uuid::new_v5(&tenant.uuid(), slug.as_bytes()),
            tenant.uuid(),
            slug,
            name,
            description,
            &permissions,
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// The role that a tenant was made with under this name, if it has it still.
pub async fn by_slug(tx: &mut PgConnection, tenant: TenantId, slug: &str) -> StoreResult<Role> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, slug, name, description, permissions, updated_at as "updated_at: _"
           from roles where tenant_id = $1 and slug = $2"#,
        tenant.uuid(),
        slug,
    );
    Ok(row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(format!("role `{slug}`")))?.into())
}

struct Row {
    id: Uuid,
    slug: String,
    name: String,
    description: String,
    permissions: Vec<String>,
    updated_at: jiff_sqlx::Timestamp,
}

impl From<Row> for Role {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            slug: row.slug,
            name: row.name,
            description: row.description,
            permissions: Permissions::stored(row.permissions),
            updated_at: row.updated_at.to_jiff(),
        }
    }
}

pub async fn list(tx: &mut PgConnection, tenant: TenantId) -> StoreResult<Vec<Role>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, slug, name, description, permissions, updated_at as "updated_at: _"
           from roles where tenant_id = $1 order by slug"#,
        tenant.uuid(),
    );
    Ok(rows.fetch_all(tx).await?.into_iter().map(Role::from).collect())
}

/// One role.
pub async fn get(tx: &mut PgConnection, tenant: TenantId, id: RoleId) -> StoreResult<Role> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, slug, name, description, permissions, updated_at as "updated_at: _"
           from roles where tenant_id = $1 and id = $2"#,
        tenant.uuid(),
        id.uuid(),
    );
    Ok(row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?.into())
}

/// The same, under the lock of an edit.
pub async fn lock(tx: &mut PgConnection, tenant: TenantId, id: RoleId) -> StoreResult<Role> {
    let locked = sqlx::query!(
        "select 1 as one from roles where tenant_id = $1 and id = $2 for no key update",
        tenant.uuid(),
        id.uuid(),
    );
    locked.fetch_optional(&mut *tx).await?.ok_or_else(|| StoreError::not_found(id))?;
    get(tx, tenant, id).await
}

/// Makes a role; another of the same slug is a conflict.
pub async fn create(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: RoleId,
    facts: &RoleFacts<'_>,
) -> StoreResult<()> {
    let made = sqlx::query!(
        "insert into roles (id, tenant_id, slug, name, description, permissions) values ($1, $2, $3, $4, $5, $6)
         on conflict (tenant_id, slug) do nothing",
        id.uuid(),
        tenant.uuid(),
        facts.slug,
        facts.name,
        facts.description,
        &facts.permissions.texts(),
    )
    .execute(tx)
    .await?;
    if made.rows_affected() == 0 {
        return Err(StoreError::Conflict(format!("a role `{}` exists already", facts.slug)));
    }
    Ok(())
}

/// Changes a role. The owner's stays what it is: somebody must be able to do everything.
pub async fn change(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: RoleId,
    facts: &RoleFacts<'_>,
) -> StoreResult<()> {
    sqlx::query!(
        "update roles set name = $3, description = $4, permissions = $5, updated_at = clock_timestamp()
         where tenant_id = $1 and id = $2",
        tenant.uuid(),
        id.uuid(),
        facts.name,
        facts.description,
        &facts.permissions.texts(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes a role that nobody has.
pub async fn delete(tx: &mut PgConnection, tenant: TenantId, id: RoleId) -> StoreResult<()> {
    let users = sqlx::query_scalar!(
        r#"select count(*) as "users!" from users where tenant_id = $1 and role_id = $2"#,
        tenant.uuid(),
        id.uuid(),
    );
    let users = users.fetch_one(&mut *tx).await?;
    if users > 0 {
        return Err(StoreError::Conflict(format!("{users} users have this role: give them another first")));
    }
    let gone = sqlx::query!("delete from roles where tenant_id = $1 and id = $2", tenant.uuid(), id.uuid());
    match gone.execute(tx).await {
        Err(sqlx::Error::Database(error)) if error.constraint() == Some("tenants_self_registration_fkey") => {
            let why = "strangers who register get this role: name another in the settings first";
            Err(StoreError::Conflict(why.to_owned()))
        }
        other => Ok(other.map(drop)?),
    }
}
