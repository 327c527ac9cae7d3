//! Users: people who sign in. Of what proves who they are only hashes are kept; the second factor's secret is sealed.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::{Store, StoreError, StoreResult, roles::OWNER, sessions::TokenHash};
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

text_enum! {
    /// What a link is good for, once.
    LinkPurpose {
        Invitation => "invitation",
        PasswordReset => "password_reset",
        FirstOwner => "first_owner",
    }
}

/// Which rows a user sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowScope {
    All,
    Branch(String),
    Assigned,
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

/// What checking a sign-in needs.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub user: UserId,
    pub status: UserStatus,
    pub password_hash: Option<String>,
    /// Sealed.
    pub totp_secret: Option<Vec<u8>>,
    pub totp_step: Option<i64>,
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
        let scope = match (row.scope.as_deref(), row.branch) {
            (Some("branch"), Some(branch)) => RowScope::Branch(branch),
            (None, _) => RowScope::All,
            // Whatever this version does not know shows less, not more.
            _ => RowScope::Assigned,
        };
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

/// A first password makes an invited user active; the second factor stays.
pub async fn set_password(tx: &mut PgConnection, user: UserId, hash: &str) -> StoreResult<()> {
    sqlx::query!(
        "update users set password_hash = $2, updated_at = clock_timestamp(),
             status = case status when 'invited' then 'active' else status end
         where id = $1",
        user.uuid(),
        hash,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A sealed secret switches the second factor on, `None` off; recovery codes belong to it.
pub async fn set_second_factor(
    tx: &mut PgConnection,
    user: UserId,
    sealed: Option<&[u8]>,
    recovery: &[TokenHash],
) -> StoreResult<()> {
    let codes: Vec<&[u8]> = recovery.iter().map(<[u8; 32]>::as_slice).collect();
    sqlx::query!("delete from recovery_codes where user_id = $1", user.uuid()).execute(&mut *tx).await?;
    sqlx::query!(
        "with changed as (
             update users set totp_secret = $2, totp_step = null, totp_pending = null, updated_at = clock_timestamp() where id = $1
         )
         insert into recovery_codes (user_id, code_hash) select $1, code from unnest($3::bytea[]) code",
        user.uuid(),
        sealed,
        &codes as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Notes that a code of this step was used; false when it, or a later one, was used before.
pub async fn use_totp_step(tx: &mut PgConnection, user: UserId, step: i64) -> StoreResult<bool> {
    let used = sqlx::query!(
        "update users set totp_step = $2 where id = $1 and (totp_step is null or totp_step < $2)",
        user.uuid(),
        step,
    );
    Ok(used.execute(tx).await?.rows_affected() == 1)
}

/// Whether it was one of the user's recovery codes; it is no more.
pub async fn use_recovery_code(tx: &mut PgConnection, user: UserId, code: &TokenHash) -> StoreResult<bool> {
    let used = sqlx::query!(
        "delete from recovery_codes where user_id = $1 and code_hash = $2",
        user.uuid(),
        code.as_slice(),
    );
    Ok(used.execute(tx).await?.rows_affected() == 1)
}

/// A link takes the place of older ones for the same purpose and person.
pub async fn make_link(
    tx: &mut PgConnection,
    tenant: TenantId,
    (purpose, user): (LinkPurpose, Option<UserId>),
    token: &TokenHash,
    good_for: Duration,
) -> StoreResult<()> {
    sqlx::query!(
        "with gone as (
             delete from one_time_links
             where tenant_id = $1 and purpose = $2 and user_id is not distinct from $3
         )
         insert into one_time_links (tenant_id, purpose, user_id, token_hash, expires_at)
         values ($1, $2, $3, $4, now() + $5::float8 * interval '1 second')",
        tenant.uuid(),
        purpose.as_str(),
        user.map(UserId::uuid),
        token.as_slice(),
        good_for.as_secs_f64(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes a link; whose it was, if it was good.
pub async fn take_link(
    tx: &mut PgConnection,
    purpose: LinkPurpose,
    token: &TokenHash,
) -> StoreResult<Option<(TenantId, Option<UserId>)>> {
    let row = sqlx::query!(
        "delete from one_time_links where token_hash = $1 and purpose = $2 and expires_at > now()
         returning tenant_id, user_id",
        token.as_slice(),
        purpose.as_str(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| (row.tenant_id.into(), row.user_id.map(Into::into))))
}

/// One user; an edit reads them under their lock.
pub async fn get(tx: &mut PgConnection, tenant: TenantId, id: UserId) -> StoreResult<User> {
    let row = sqlx::query_as!(
        Row,
        r#"select u.id, u.tenant_id, u.email, u.first_name, u.last_name, u.phone, u.role_id, r.slug as role_slug,
                  r.permissions, u.status as "status: _", u.scope, u.branch, u.contact_id,
                  u.totp_secret is not null as "second_factor!", u.created_at as "created_at: _",
                  u.updated_at as "updated_at: _", u.signed_in_at as "signed_in_at: _"
           from users u join roles r on r.id = u.role_id where u.tenant_id = $1 and u.id = $2 for no key update of u"#,
        tenant.uuid(),
        id.uuid(),
    );
    Ok(row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?.into())
}

/// Which users of a tenant.
#[derive(Debug, Clone, Default)]
pub struct UserFilter<'a> {
    pub status: Option<UserStatus>,
    /// A role's slug.
    pub role: Option<&'a str>,
    /// The last user of the page before.
    pub after: Option<(Timestamp, UserId)>,
    pub offset: i64,
    pub limit: i64,
}

/// Users in the order in which they came, and how many there are in all.
pub async fn list(
    tx: &mut PgConnection,
    tenant: TenantId,
    filter: &UserFilter<'_>,
) -> StoreResult<(Vec<User>, u64)> {
    let (status, role) = (filter.status.map(UserStatus::as_str), filter.role);
    let rows = sqlx::query_as!(
        Row,
        r#"select u.id, u.tenant_id, u.email, u.first_name, u.last_name, u.phone, u.role_id, r.slug as role_slug,
                  r.permissions, u.status as "status: _", u.scope, u.branch, u.contact_id,
                  u.totp_secret is not null as "second_factor!", u.created_at as "created_at: _",
                  u.updated_at as "updated_at: _", u.signed_in_at as "signed_in_at: _"
           from users u join roles r on r.id = u.role_id
           where u.tenant_id = $1 and ($2::text is null or u.status = $2) and ($3::text is null or r.slug = $3)
             and ($4::timestamptz is null or (u.created_at, u.id) > ($4, $5))
           order by u.created_at, u.id offset $6 limit $7"#,
        tenant.uuid(),
        status,
        role,
        filter.after.map(|(at, _)| at.to_sqlx()) as _,
        filter.after.map(|(_, id)| id.uuid()),
        filter.offset,
        filter.limit,
    )
    .fetch_all(&mut *tx)
    .await?;
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
pub async fn change(tx: &mut PgConnection, tenant: TenantId, id: UserId, facts: &UserFacts<'_>) -> StoreResult<()> {
    let (scope, branch) = match facts.scope {
        RowScope::All => (None, None),
        RowScope::Branch(branch) => (Some("branch"), Some(branch.as_str())),
        RowScope::Assigned => (Some("assigned"), None),
    };
    // Two who demote each other at the same moment wait for one another here.
    sqlx::query!("select id from roles where tenant_id = $1 and slug = $2 for update", tenant.uuid(), OWNER)
        .execute(&mut *tx)
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

/// A second factor that waits for its first code.
pub async fn begin_second_factor(tx: &mut PgConnection, user: UserId, sealed: &[u8]) -> StoreResult<()> {
    sqlx::query!("update users set totp_pending = $2 where id = $1", user.uuid(), sealed).execute(tx).await?;
    Ok(())
}

pub async fn pending_second_factor(tx: &mut PgConnection, user: UserId) -> StoreResult<Option<Vec<u8>>> {
    let pending = sqlx::query_scalar!("select totp_pending from users where id = $1 for update", user.uuid());
    Ok(pending.fetch_optional(tx).await?.flatten())
}

/// What checking a person's own password takes.
pub async fn password_hash(tx: &mut PgConnection, user: UserId) -> StoreResult<Option<String>> {
    let hash = sqlx::query_scalar!("select password_hash from users where id = $1", user.uuid());
    Ok(hash.fetch_optional(tx).await?.flatten())
}

impl Store {
    /// The user of an open session.
    pub async fn session_user(&self, session: SessionId) -> StoreResult<Option<User>> {
        let row = sqlx::query_as!(
            Row,
            r#"select u.id, u.tenant_id, u.email, u.first_name, u.last_name, u.phone, u.role_id, r.slug as role_slug,
                      r.permissions, u.status as "status: _", u.scope, u.branch, u.contact_id,
                      u.totp_secret is not null as "second_factor!", u.created_at as "created_at: _",
                      u.updated_at as "updated_at: _", u.signed_in_at as "signed_in_at: _"
               from sessions s join users u on u.id = s.user_id join roles r on r.id = u.role_id
               where s.id = $1 and s.revoked_at is null and s.expires_at > now() and u.status = 'active'"#,
            session.uuid(),
        );
        Ok(row.fetch_optional(self.pool()).await?.map(User::from))
    }

    /// By the address that somebody signs in with, in lower case.
    pub async fn credentials(&self, email: &str) -> StoreResult<Option<(TenantId, Credentials)>> {
        let row = sqlx::query!(
            r#"select id, tenant_id, status as "status: UserStatus", password_hash, totp_secret, totp_step
               from users where email = $1"#,
            email,
        );
        Ok(row.fetch_optional(self.pool()).await?.map(|row| {
            let credentials = Credentials {
                user: row.id.into(),
                status: row.status,
                password_hash: row.password_hash,
                totp_secret: row.totp_secret,
                totp_step: row.totp_step,
            };
            (row.tenant_id.into(), credentials)
        }))
    }

    /// Until when sign-ins with this subject are refused.
    pub async fn locked_until(&self, subject: &TokenHash) -> StoreResult<Option<Timestamp>> {
        let until = sqlx::query_scalar!(
            r#"select locked_until as "until: jiff_sqlx::Timestamp" from sign_in_failures
               where subject_hash = $1 and locked_until > now()"#,
            subject.as_slice(),
        );
        Ok(until.fetch_optional(self.pool()).await?.flatten().map(jiff_sqlx::Timestamp::to_jiff))
    }

    /// Notes a failure. From the fifth on the subject is locked: 30 s, doubled with each, an hour at most. Forgotten a day
    /// after the last.
    pub async fn note_failure(&self, subject: &TokenHash) -> StoreResult<()> {
        sqlx::query!(
            "insert into sign_in_failures as known (subject_hash, failures, last_at) values ($1, 1, now())
             on conflict (subject_hash) do update set
                 failures = case when known.last_at < now() - interval '1 day' then 1 else known.failures + 1 end,
                 last_at = now(),
                 locked_until = case when known.last_at >= now() - interval '1 day' and known.failures >= 4
                     then now() + least(interval '1 hour', interval '30 seconds' * (2 ^ least(known.failures - 4, 7))) end",
            subject.as_slice(),
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    pub async fn forget_failures(&self, subject: &TokenHash) -> StoreResult<()> {
        sqlx::query!("delete from sign_in_failures where subject_hash = $1", subject.as_slice())
            .execute(self.pool())
            .await?;
        Ok(())
    }
}
