//! Sessions: one sign-in on one device. An access token names its session; a refresh token is good for once, and one that
//! comes a second time ends the session: it was stolen, and nobody can tell by whom it was used first.

use std::net::IpAddr;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::{StoreError, StoreResult};
use crate::{
    domain::environment::Environment,
    id::{SessionId, TenantId, UserId},
};

/// SHA-256 of a token; the token itself is nowhere.
pub type TokenHash = [u8; 32];

/// A sign-in.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    pub id: SessionId,
    pub tenant: TenantId,
    pub user: UserId,
    pub environment: Environment,
    pub user_agent: &'a str,
    pub peer: Option<IpAddr>,
    pub refresh: TokenHash,
    pub expires: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    pub id: SessionId,
    pub user_agent: String,
    pub peer: Option<String>,
    pub created_at: Timestamp,
    pub refreshed_at: Timestamp,
}

/// What became of a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    Go { session: SessionId, tenant: TenantId, user: UserId, environment: Environment },
    /// Used before: the session has been ended.
    Stolen { session: SessionId, tenant: TenantId, user: UserId },
    /// Unknown, expired, or of a session that has ended.
    Unknown,
}

pub async fn begin(tx: &mut PgConnection, session: &NewSession<'_>) -> StoreResult<()> {
    sqlx::query!(
        "with made as (
             insert into sessions (id, tenant_id, user_id, environment, user_agent, peer, expires_at)
             values ($1, $2, $3, $4, $5, $6::text::inet, $7)
         )
         insert into refresh_tokens (token_hash, session_id, expires_at) values ($8, $1, $7)",
        session.id.uuid(),
        session.tenant.uuid(),
        session.user.uuid(),
        session.environment.as_str(),
        session.user_agent,
        session.peer.map(|peer| peer.to_string()),
        session.expires.to_sqlx() as _,
        session.refresh.as_slice(),
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("update users set signed_in_at = now() where id = $1", session.user.uuid()).execute(tx).await?;
    Ok(())
}

/// Takes a refresh token and puts `next` in its place. Of two that come with one token at the same moment, the row's lock
/// lets one be first.
pub async fn refresh(
    tx: &mut PgConnection,
    token: &TokenHash,
    next: &TokenHash,
    expires: Timestamp,
) -> StoreResult<Refreshed> {
    let row = sqlx::query!(
        r#"select t.used_at is not null as "used!", s.id, s.tenant_id, s.user_id, s.environment as "environment: Environment"
           from refresh_tokens t join sessions s on s.id = t.session_id join users u on u.id = s.user_id
           where t.token_hash = $1 and s.revoked_at is null and t.expires_at > now() and u.status = 'active'
           for update of t, s"#,
        token.as_slice(),
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(Refreshed::Unknown) };
    let (session, tenant, user) = (row.id.into(), row.tenant_id.into(), row.user_id.into());
    if row.used {
        revoke(tx, user, session, "a refresh token came twice").await?;
        return Ok(Refreshed::Stolen { session, tenant, user });
    }
    sqlx::query!(
        "with used as (
             update refresh_tokens set used_at = now() where token_hash = $1
         ), kept as (
             update sessions set refreshed_at = now(), expires_at = $4 where id = $3
         )
         insert into refresh_tokens (token_hash, session_id, expires_at) values ($2, $3, $4)",
        token.as_slice(),
        next.as_slice(),
        row.id,
        expires.to_sqlx() as _,
    )
    .execute(tx)
    .await?;
    Ok(Refreshed::Go { session, tenant, user, environment: row.environment })
}

/// Ends a session of this user; one that is not theirs does not exist.
pub async fn revoke(
    tx: &mut PgConnection,
    user: UserId,
    session: SessionId,
    because: &str,
) -> StoreResult<()> {
    let ended = sqlx::query!(
        "update sessions set revoked_at = coalesce(revoked_at, now()), revoked_because = coalesce(revoked_because, $3)
         where id = $1 and user_id = $2",
        session.uuid(),
        user.uuid(),
        because,
    );
    if ended.execute(tx).await?.rows_affected() == 0 { Err(StoreError::not_found(session)) } else { Ok(()) }
}

/// Ends all sessions of a user but one: after a new password, say.
pub async fn revoke_others(
    tx: &mut PgConnection,
    user: UserId,
    but: Option<SessionId>,
    because: &str,
) -> StoreResult<u64> {
    let ended = sqlx::query!(
        "update sessions set revoked_at = now(), revoked_because = $3
         where user_id = $1 and id is distinct from $2 and revoked_at is null",
        user.uuid(),
        but.map(SessionId::uuid),
        because,
    );
    Ok(ended.execute(tx).await?.rows_affected())
}

/// The open sessions of a user, the latest first.
pub async fn list(tx: &mut PgConnection, tenant: TenantId, user: UserId) -> StoreResult<Vec<SessionRow>> {
    let rows = sqlx::query!(
        r#"select id, user_agent, host(peer) as peer, created_at as "created_at: jiff_sqlx::Timestamp",
                  refreshed_at as "refreshed_at: jiff_sqlx::Timestamp"
           from sessions where tenant_id = $1 and user_id = $2 and revoked_at is null and expires_at > now()
           order by refreshed_at desc"#,
        tenant.uuid(),
        user.uuid(),
    )
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| SessionRow {
            id: row.id.into(),
            user_agent: row.user_agent,
            peer: row.peer,
            created_at: row.created_at.to_jiff(),
            refreshed_at: row.refreshed_at.to_jiff(),
        })
        .collect())
}
