//! Answers to requests that bore an `Idempotency-Key`, kept for a day. A row without an answer is a request under way, or one
//! whose process died: after a minute the same request may try again.

use sqlx::PgConnection;

use super::StoreResult;
use crate::id::TenantId;

/// SHA-256 of what was asked and by whom.
pub type RequestHash = [u8; 32];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: Vec<u8>,
    /// SHA-256 of what a file said that came with the request, as far as it was read to its end.
    pub contents: Option<RequestHash>,
}

/// What a key means for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nobody has used it: go on, and then [`finish`] or [`forget`].
    First,
    Answered(Answer),
    UnderWay,
    /// It came with another request.
    Reused,
}

pub async fn begin(
    tx: &mut PgConnection,
    tenant: TenantId,
    key: &str,
    request: &RequestHash,
) -> StoreResult<Begun> {
    let begun = sqlx::query!(
        "insert into idempotency_keys as known (tenant_id, key, request_hash) values ($1, $2, $3)
         on conflict (tenant_id, key) do update
             set request_hash = excluded.request_hash, started_at = now(), status = null, content_type = null, body = null, contents = null
             where known.started_at < now() - interval '24 hours'
                or (known.status is null and known.request_hash = excluded.request_hash
                    and known.started_at < now() - interval '1 minute')",
        tenant.uuid(),
        key,
        request.as_slice(),
    )
    .execute(&mut *tx)
    .await?;
    if begun.rows_affected() == 1 {
        return Ok(Begun::First);
    }
    let known = sqlx::query!(
        "select request_hash, status, content_type, body, contents from idempotency_keys where tenant_id = $1 and key = $2",
        tenant.uuid(),
        key,
    )
    .fetch_optional(tx)
    .await?;
    Ok(match known {
        // Given up by its request at this moment.
        None => Begun::UnderWay,
        Some(known) if known.request_hash != request => Begun::Reused,
        Some(known) => match (known.status, known.content_type, known.body) {
            (Some(status), Some(content_type), Some(body)) => {
                let contents = known.contents.and_then(|hash| hash.try_into().ok());
                Begun::Answered(Answer { status: status.unsigned_abs(), content_type, body, contents })
            }
            _ => Begun::UnderWay,
        },
    })
}

pub async fn finish(tx: &mut PgConnection, tenant: TenantId, key: &str, answer: &Answer) -> StoreResult<()> {
    sqlx::query!(
        "update idempotency_keys set status = $3, content_type = $4, body = $5, contents = $6 where tenant_id = $1 and key = $2",
        tenant.uuid(),
        key,
        i16::try_from(answer.status).unwrap_or(i16::MAX),
        answer.content_type,
        answer.body,
        answer.contents.as_ref().map(<[u8; 32]>::as_slice),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// For a request that changed nothing and may be tried again.
pub async fn forget(tx: &mut PgConnection, tenant: TenantId, key: &str) -> StoreResult<()> {
    sqlx::query!(
        "delete from idempotency_keys where tenant_id = $1 and key = $2 and status is null",
        tenant.uuid(),
        key
    )
    .execute(tx)
    .await?;
    Ok(())
}
