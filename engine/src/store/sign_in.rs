//! What proves who a user is: password, second factor, links that are good once, and the locks on wrong attempts. Only hashes
//! are kept; the second factor's secret is sealed.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgConnection;

use super::{Store, StoreError, StoreResult, sessions::TokenHash, users::UserStatus};
use crate::{
    domain::channel::text_enum,
    id::{TenantId, UserId},
};

text_enum! {
    /// What a link is good for, once.
    LinkPurpose {
        Invitation => "invitation",
        PasswordReset => "password_reset",
    }
}

/// What checking a sign-in needs.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub user: UserId,
    pub status: UserStatus,
    pub password_hash: Option<String>,
    /// Sealed.
    pub totp_secret: Option<Vec<u8>>,
}

/// A first password makes an invited user active; the second factor stays. Nobody gets one who was blocked meanwhile.
pub async fn set_password(tx: &mut PgConnection, user: UserId, hash: &str) -> StoreResult<()> {
    let set = sqlx::query!(
        "update users set password_hash = $2, updated_at = clock_timestamp(), status = 'active'
         where id = $1 and status <> 'blocked'",
        user.uuid(),
        hash,
    );
    if set.execute(tx).await?.rows_affected() == 0 { Err(StoreError::not_found(user)) } else { Ok(()) }
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
    (purpose, user): (LinkPurpose, UserId),
    token: &TokenHash,
    good_for: Duration,
) -> StoreResult<()> {
    sqlx::query!(
        "delete from one_time_links where tenant_id = $1 and purpose = $2 and user_id = $3",
        tenant.uuid(),
        purpose.as_str(),
        user.uuid(),
    )
    .execute(&mut *tx)
    .await?;
    add_link(tx, tenant, (purpose, user), token, good_for).await
}

/// A link beside those that are good already: of whoever asks nobody knows that they may make the others worthless.
pub async fn add_link(
    tx: &mut PgConnection,
    tenant: TenantId,
    (purpose, user): (LinkPurpose, UserId),
    token: &TokenHash,
    good_for: Duration,
) -> StoreResult<()> {
    sqlx::query!(
        "insert into one_time_links (tenant_id, purpose, user_id, token_hash, expires_at)
         values ($1, $2, $3, $4, now() + $5::float8 * interval '1 second')",
        tenant.uuid(),
        purpose.as_str(),
        user.uuid(),
        token.as_slice(),
        good_for.as_secs_f64(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whose a link is, if it is good.
pub async fn whose_link(
    tx: &mut PgConnection,
    purpose: LinkPurpose,
    token: &TokenHash,
) -> StoreResult<Option<(TenantId, UserId)>> {
    let row = sqlx::query!(
        "select l.tenant_id, l.user_id from one_time_links l join users u on u.id = l.user_id
         where l.token_hash = $1 and l.purpose = $2 and l.expires_at > now() and u.status <> 'blocked'",
        token.as_slice(),
        purpose.as_str(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| (row.tenant_id.into(), row.user_id.into())))
}

/// Takes a link; whose it was, if it was good. Others for the same purpose and person are good no more.
pub async fn take_link(
    tx: &mut PgConnection,
    purpose: LinkPurpose,
    token: &TokenHash,
) -> StoreResult<Option<(TenantId, UserId)>> {
    let row = sqlx::query!(
        r#"with taken as (
               delete from one_time_links l using users u
               where l.token_hash = $1 and l.purpose = $2 and l.expires_at > now()
                 and u.id = l.user_id and u.status <> 'blocked'
               returning l.tenant_id, l.user_id
           ), others as (
               delete from one_time_links l using taken t
               where l.tenant_id = t.tenant_id and l.user_id = t.user_id and l.purpose = $2 and l.token_hash <> $1
           )
           select tenant_id as "tenant_id!", user_id as "user_id!" from taken"#,
        token.as_slice(),
        purpose.as_str(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| (row.tenant_id.into(), row.user_id.into())))
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
    /// By the address that somebody signs in with, in lower case.
    pub async fn credentials(&self, email: &str) -> StoreResult<Option<(TenantId, Credentials)>> {
        let row = sqlx::query!(
            r#"select id, tenant_id, status as "status: UserStatus", password_hash, totp_secret
               from users where email = $1"#,
            email,
        );
        Ok(row.fetch_optional(self.pool()).await?.map(|row| {
            let credentials = Credentials {
                user: row.id.into(),
                status: row.status,
                password_hash: row.password_hash,
                totp_secret: row.totp_secret,
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
