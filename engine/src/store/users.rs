//! Users: people who sign in, what they may do and which rows they see.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::{
    Store, StoreError, StoreResult, in_their_places,
    listing::{Order, Part, Way},
    roles::{BOUND, OWNER},
    tenants::{Tenant, tenant_of},
};
use crate::{
    domain::{channel::text_enum, permission::Permissions},
    id::{ContactId, RoleId, SessionId, TenantId, UserId},
};

text_enum! {
    UserStatus {
        /// Has no password yet.
        Invited => "invited",
        Active => "active",
        /// May not sign in, until somebody says otherwise.
        Blocked => "blocked",
    }
}

/// Which rows a user sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowScope {
    All,
    Branch(String),
    Assigned,
}

impl RowScope {
    fn stored(scope: Option<&str>, branch: Option<String>) -> Self {
        match (scope, branch) {
            (Some("branch"), Some(branch)) => Self::Branch(branch),
            (None, _) => Self::All,
            // Whatever this version does not know shows less, not more.
            _ => Self::Assigned,
        }
    }
}

/// What of a user decides what they see and may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionUser {
    pub id: UserId,
    pub tenant: Tenant,
    pub permissions: Permissions,
    pub scope: RowScope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub tenant: TenantId,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub phone: Option<String>,
    pub role: RoleId,
    pub role_slug: String,
    pub permissions: Permissions,
    pub status: UserStatus,
    pub scope: RowScope,
    pub contact: Option<ContactId>,
    pub second_factor: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub signed_in_at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct NewUser<'a> {
    pub id: UserId,
    pub tenant: TenantId,
    /// Lower case.
    pub email: &'a str,
    pub first_name: &'a str,
    pub last_name: &'a str,
    pub phone: Option<&'a str>,
    pub role: RoleId,
    /// Without one the user is invited.
    pub password_hash: Option<&'a str>,
    pub contact: Option<ContactId>,
}

struct Row {
    id: uuid::Uuid,
    tenant_id: uuid::Uuid,
    email: String,
    first_name: String,
    last_name: String,
    phone: Option<String>,
    role_id: uuid::Uuid,
    role_slug: String,
    permissions: Vec<String>,
    status: UserStatus,
    scope: Option<String>,
    branch: Option<String>,
    contact_id: Option<uuid::Uuid>,
    second_factor: bool,
    created_at: jiff_sqlx::Timestamp,
    updated_at: jiff_sqlx::Timestamp,
    signed_in_at: Option<jiff_sqlx::Timestamp>,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        let scope = RowScope::stored(row.scope.as_deref(), row.branch);
        Self {
            id: row.id.into(),
            tenant: row.tenant_id.into(),
            email: row.email,
            first_name: row.first_name,
            last_name: row.last_name,
            phone: row.phone,
            role: row.role_id.into(),
            role_slug: row.role_slug,
            permissions: Permissions::stored(row.permissions),
            status: row.status,
            scope,
            contact: row.contact_id.map(Into::into),
            second_factor: row.second_factor,
            created_at: row.created_at.to_jiff(),
            updated_at: row.updated_at.to_jiff(),
            signed_in_at: row.signed_in_at.map(jiff_sqlx::Timestamp::to_jiff),
        }
    }
}

/// Makes a user; one with the same address, of whatever tenant, is a conflict that does not say whose.
pub async fn create(tx: &mut PgConnection, user: &NewUser<'_>) -> StoreResult<()> {
    let status = if user.password_hash.is_some() { UserStatus::Active } else { UserStatus::Invited };
    let made = sqlx::query!(
        "insert into users (id, tenant_id, email, first_name, last_name, phone, role_id, status, password_hash, contact_id)
         select $1, $2, $3, $4, $5, $6, roles.id, $8, $9, $10 from roles where roles.id = $7 and roles.tenant_id = $2
         on conflict (email) do nothing",
        user.id.uuid(),
        user.tenant.uuid(),
        user.email,
        user.first_name,
        user.last_name,
        user.phone,
        user.role.uuid(),
        status.as_str(),
        user.password_hash,
        user.contact.map(ContactId::uuid),
    )
    .execute(tx)
    .await?;
    if made.rows_affected() == 0 {
        return Err(StoreError::Conflict("this address can't be used, or there is no such role".to_owned()));
    }
    Ok(())
}

/// One user.
pub async fn get(tx: &mut PgConnection, tenant: TenantId, id: UserId) -> StoreResult<User> {
    let row = sqlx::query_as!(
        Row,
        r#"select u.id, u.tenant_id, u.email, u.first_name, u.last_name, u.phone, u.role_id, r.slug as role_slug,
                  r.permissions, u.status as "status: _", u.scope, u.branch, u.contact_id,
                  u.totp_secret is not null as "second_factor!", u.created_at as "created_at: _",
                  u.updated_at as "updated_at: _", u.signed_in_at as "signed_in_at: _"
           from users u join roles r on r.id = u.role_id where u.tenant_id = $1 and u.id = $2"#,
        tenant.uuid(),
        id.uuid(),
    );
    Ok(row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?.into())
}

/// The same, under the lock of an edit.
pub async fn lock(tx: &mut PgConnection, tenant: TenantId, id: UserId) -> StoreResult<User> {
    let locked = sqlx::query!(
        "select 1 as one from users where tenant_id = $1 and id = $2 for no key update",
        tenant.uuid(),
        id.uuid(),
    );
    locked.fetch_optional(&mut *tx).await?.ok_or_else(|| StoreError::not_found(id))?;
    get(tx, tenant, id).await
}

/// Which users of a tenant.
#[derive(Debug, Clone, Default)]
pub struct UserFilter<'a> {
    pub status: Option<UserStatus>,
    /// A role's slug.
    pub role: Option<&'a str>,
}

/// What a list of users is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    CreatedAt,
    Email,
}

/// The last user of a page, as far as any order goes by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    id: UserId,
    email: String,
    created_at: Timestamp,
}

impl User {
    pub fn place(&self) -> Place {
        Place { id: self.id, email: self.email.clone(), created_at: self.created_at }
    }
}

/// A part of the users, and how many there are in all.
pub async fn list(
    tx: &mut PgConnection,
    tenant: TenantId,
    filter: &UserFilter<'_>,
    order: Order<By>,
    part: &Part<Place>,
) -> StoreResult<(Vec<User>, u64)> {
    let (status, role) = (filter.status.map(UserStatus::as_str), filter.role);
    macro_rules! page {
        ($after:literal, $order:literal) => {
            sqlx::query_as!(
                Row,
                r#"select u.id, u.tenant_id, u.email, u.first_name, u.last_name, u.phone, u.role_id, r.slug as role_slug,
                          r.permissions, u.status as "status: _", u.scope, u.branch, u.contact_id,
                          u.totp_secret is not null as "second_factor!", u.created_at as "created_at: _",
                          u.updated_at as "updated_at: _", u.signed_in_at as "signed_in_at: _"
                   from users u join roles r on r.id = u.role_id
                   where u.tenant_id = $1 and ($2::text is null or u.status = $2)
                     and ($3::text is null or r.slug = $3)
                     and ($4::timestamptz is null or $5::uuid is null or $6::text is null or "#
                    + $after
                    + ") order by "
                    + $order
                    + " offset $7 limit $8",
                tenant.uuid(),
                status,
                role,
                part.after.as_ref().map(|place| place.created_at.to_sqlx()) as _,
                part.after.as_ref().map(|place| place.id.uuid()),
                part.after.as_ref().map(|place| place.email.as_str()),
                part.offset,
                part.limit,
            )
            .fetch_all(&mut *tx)
            .await?
        };
    }
    let rows = match order {
        (By::CreatedAt, Way::Up) => page!("(u.created_at, u.id) > ($4, $5)", "u.created_at, u.id"),
        (By::CreatedAt, Way::Down) => {
            page!("(u.created_at, u.id) < ($4, $5)", "u.created_at desc, u.id desc")
        }
        (By::Email, Way::Up) => page!("(u.email, u.id) > ($6, $5)", "u.email, u.id"),
        (By::Email, Way::Down) => page!("(u.email, u.id) < ($6, $5)", "u.email desc, u.id desc"),
    };
    let total = sqlx::query_scalar!(
        r#"select count(*) as "total!" from users u join roles r on r.id = u.role_id
           where u.tenant_id = $1 and ($2::text is null or u.status = $2) and ($3::text is null or r.slug = $3)"#,
        tenant.uuid(),
        status,
        role,
    );
    Ok((rows.into_iter().map(User::from).collect(), total.fetch_one(tx).await?.unsigned_abs()))
}

/// What may be changed of a user.
#[derive(Debug, Clone)]
pub struct UserFacts<'a> {
    pub first_name: &'a str,
    pub last_name: &'a str,
    pub phone: Option<&'a str>,
    pub role: RoleId,
    pub blocked: bool,
    pub scope: &'a RowScope,
    pub contact: Option<ContactId>,
}

/// Changes a user. The last owner who can sign in stays one: a tenant always has somebody who may do everything.
pub async fn change(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: UserId,
    facts: &UserFacts<'_>,
) -> StoreResult<()> {
    let (scope, branch) = match facts.scope {
        RowScope::All => (None, None),
        RowScope::Branch(branch) => (Some("branch"), Some(branch.as_str())),
        RowScope::Assigned => (Some("assigned"), None),
    };
    // Two who demote each other at the same moment wait for one another here.
    sqlx::query_scalar!(
        "select id from roles where tenant_id = $1 and slug = $2 for update",
        tenant.uuid(),
        OWNER
    )
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query!(
        "update users set first_name = $3, last_name = $4, phone = $5, role_id = roles.id, scope = $8, branch = $9, contact_id = $10,
             status = case when $7 then 'blocked' when password_hash is null then 'invited' else 'active' end,
             updated_at = clock_timestamp()
         from roles where users.tenant_id = $1 and users.id = $2 and roles.id = $6 and roles.tenant_id = $1",
        tenant.uuid(),
        id.uuid(),
        facts.first_name,
        facts.last_name,
        facts.phone,
        facts.role.uuid(),
        facts.blocked,
        scope,
        branch,
        facts.contact.map(ContactId::uuid),
    )
    .execute(&mut *tx)
    .await?;
    let owners = sqlx::query_scalar!(
        r#"select count(*) as "owners!" from users u join roles r on r.id = u.role_id
           where u.tenant_id = $1 and r.slug = $2 and u.status = 'active'"#,
        tenant.uuid(),
        OWNER,
    );
    if owners.fetch_one(tx).await? == 0 {
        return Err(StoreError::Conflict("somebody who can sign in must stay the owner".to_owned()));
    }
    Ok(())
}

/// The tenant's contact that has this address.
pub async fn contact_of(
    tx: &mut PgConnection,
    tenant: TenantId,
    email: &str,
) -> StoreResult<Option<ContactId>> {
    let contact = sqlx::query_scalar!(
        r#"select id as "id: ContactId" from contacts where tenant_id = $1 and email = $2 and erased_at is null"#,
        tenant.uuid(),
        email,
    );
    Ok(contact.fetch_optional(tx).await?)
}

/// Binds a user who has shown that their address is theirs to the contact that has it, where their role asks for one and
/// they are bound to none.
pub async fn bind(tx: &mut PgConnection, tenant: TenantId, id: UserId) -> StoreResult<()> {
    let bound = sqlx::query!(
        "update users u set contact_id = c.id, updated_at = clock_timestamp()
         from contacts c, roles r
         where u.tenant_id = $1 and u.id = $2 and u.contact_id is null and r.id = u.role_id and r.slug = any($3)
           and c.tenant_id = $1 and c.email = u.email and c.erased_at is null",
        tenant.uuid(),
        id.uuid(),
        &BOUND.map(str::to_owned) as &[String],
    );
    bound.execute(tx).await?;
    Ok(())
}

impl Store {
    /// The slugs of tenants in which nobody has the owner's role, so that nobody can invite anybody.
    pub async fn tenants_without_owner(&self) -> StoreResult<Vec<String>> {
        let slugs = sqlx::query_scalar!(
            "select slug from tenants t where not exists (
                 select from users u join roles r on r.id = u.role_id where u.tenant_id = t.id and r.slug = $1)
             order by slug limit 20",
            OWNER,
        );
        Ok(slugs.fetch_all(self.pool()).await?)
    }
}

/// The users of these sessions, as far as they are open.
pub async fn of_sessions(
    connection: &mut PgConnection,
    sessions: &[SessionId],
) -> StoreResult<Vec<Option<SessionUser>>> {
    let wanted: Vec<uuid::Uuid> = sessions.iter().map(|session| session.uuid()).collect();
    let rows = sqlx::query!(
        r#"select wanted.at as "place!", u.id, r.permissions, u.scope, u.branch,
                  t.id as tenant_id, t.slug, t.name as tenant_name, t.region, t.locale, t.time_zone, t.currency
           from unnest($1::uuid[]) with ordinality as wanted (session, at)
           join sessions s on s.id = wanted.session and s.revoked_at is null and s.expires_at > now()
           join users u on u.id = s.user_id and u.status = 'active'
           join roles r on r.id = u.role_id
           join tenants t on t.id = u.tenant_id"#,
        &wanted,
    )
    .fetch_all(connection)
    .await?;
    let found = rows.into_iter().map(|row| {
        let user = SessionUser {
            id: row.id.into(),
            permissions: Permissions::stored(row.permissions),
            scope: RowScope::stored(row.scope.as_deref(), row.branch),
            tenant: tenant_of!(row),
        };
        (row.place, user)
    });
    Ok(in_their_places(found, sessions.len()))
}
