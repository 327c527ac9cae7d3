//! API keys: how programs prove who they are. Only a hash is kept; the key is shown once, when it is made.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::{
    StoreError, StoreResult, in_their_places,
    sessions::TokenHash,
    tenants::{Tenant, tenant_of},
};
use crate::{
    domain::{environment::Environment, permission::Permissions},
    id::{ApiKeyId, TenantId, UserId},
};

#[derive(Debug, Clone)]
pub struct NewApiKey<'a> {
    pub id: ApiKeyId,
    pub tenant: TenantId,
    pub name: &'a str,
    /// The beginning of the key, to tell keys apart.
    pub prefix: &'a str,
    pub hash: TokenHash,
    pub scopes: &'a Permissions,
    pub environment: Environment,
    pub created_by: Option<UserId>,
    pub expires: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    pub id: ApiKeyId,
    pub name: String,
    pub prefix: String,
    pub scopes: Permissions,
    pub environment: Environment,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// Who a key speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolder {
    pub id: ApiKeyId,
    pub tenant: Tenant,
    pub scopes: Permissions,
    pub environment: Environment,
}

pub async fn create(tx: &mut PgConnection, key: &NewApiKey<'_>) -> StoreResult<()> {
    sqlx::query!(
        "insert into api_keys (id, tenant_id, name, prefix, key_hash, scopes, environment, created_by, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        key.id.uuid(),
        key.tenant.uuid(),
        key.name,
        key.prefix,
        key.hash.as_slice(),
        &key.scopes.texts(),
        key.environment.as_str(),
        key.created_by.map(UserId::uuid),
        key.expires.map(|at| at.to_sqlx()) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A key that is revoked already stays as it is.
pub async fn revoke(tx: &mut PgConnection, tenant: TenantId, id: ApiKeyId) -> StoreResult<()> {
    let revoked = sqlx::query!(
        "update api_keys set revoked_at = coalesce(revoked_at, now()) where tenant_id = $1 and id = $2",
        tenant.uuid(),
        id.uuid(),
    );
    if revoked.execute(tx).await?.rows_affected() == 0 { Err(StoreError::not_found(id)) } else { Ok(()) }
}

pub async fn list(tx: &mut PgConnection, tenant: TenantId) -> StoreResult<Vec<ApiKeyRow>> {
    let rows = sqlx::query!(
            r#"select id, name, prefix, scopes, environment as "environment: Environment", created_at as "created_at: jiff_sqlx::Timestamp",
                      expires_at as "expires_at: jiff_sqlx::Timestamp", used_at as "used_at: jiff_sqlx::Timestamp",
                      revoked_at as "revoked_at: jiff_sqlx::Timestamp"
               from api_keys where tenant_id = $1 order by created_at desc"#,
            tenant.uuid(),
        )
        .fetch_all(tx)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| ApiKeyRow {
            id: row.id.into(),
            name: row.name,
            prefix: row.prefix,
            scopes: Permissions::stored(row.scopes),
            environment: row.environment,
            created_at: row.created_at.to_jiff(),
            expires_at: row.expires_at.map(jiff_sqlx::Timestamp::to_jiff),
            used_at: row.used_at.map(jiff_sqlx::Timestamp::to_jiff),
            revoked_at: row.revoked_at.map(jiff_sqlx::Timestamp::to_jiff),
        })
        .collect())
}

/// Who the keys with these hashes speak for, if they are good. Notes that they were used, at most once a minute: a busy key
/// must not write a row for every request.
pub async fn holders(
    connection: &mut PgConnection,
    hashes: &[TokenHash],
) -> StoreResult<Vec<Option<KeyHolder>>> {
    let wanted: Vec<&[u8]> = hashes.iter().map(TokenHash::as_slice).collect();
    let rows = sqlx::query!(
        r#"select wanted.at as "place!", k.id, k.scopes, k.environment as "environment: Environment",
                  k.used_at is null or k.used_at < now() - interval '1 minute' as "rested!",
                  t.id as tenant_id, t.slug, t.name as tenant_name, t.region, t.locale, t.time_zone, t.currency
           from unnest($1::bytea[]) with ordinality as wanted (hash, at)
           join api_keys k on k.key_hash = wanted.hash
             and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
           join tenants t on t.id = k.tenant_id"#,
        &wanted as _,
    )
    .fetch_all(&mut *connection)
    .await?;
    let rested: Vec<uuid::Uuid> = rows.iter().filter(|row| row.rested).map(|row| row.id).collect();
    if !rested.is_empty() {
        // Whoever holds one of them holds nobody up.
        sqlx::query!(
            "update api_keys set used_at = now()
             where id in (select id from api_keys where id = any($1) for no key update skip locked)",
            &rested
        )
        .execute(connection)
        .await?;
    }
    let found = rows.into_iter().map(|row| {
        let holder = KeyHolder {
            id: row.id.into(),
            scopes: Permissions::stored(row.scopes),
            environment: row.environment,
            tenant: tenant_of!(row),
        };
        (row.place, holder)
    });
    Ok(in_their_places(found, hashes.len()))
}
