//! Caps on single messages: so many in a day to numbers that begin with a prefix. Counting is done where a message is accepted,
//! in its transaction (`within_caps`); campaigns have a review and an audience instead.

use sqlx::PgConnection;

use super::{
    StoreResult,
    listing::{Part, Way},
};
use crate::{domain::channel::Channel, id::TenantId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendCap {
    pub channel: Channel,
    /// Digits of E.164, without the plus sign; empty: every number.
    pub prefix: String,
    /// Of the tenant's days.
    pub per_day: i32,
    pub used_today: i32,
}

/// The caps of a tenant by channel and prefix, and how many there are.
pub async fn list(
    tx: &mut PgConnection,
    tenant: TenantId,
    way: Way,
    part: &Part<(Channel, String)>,
) -> StoreResult<(Vec<SendCap>, u64)> {
    let total = sqlx::query_scalar!(
        r#"select count(*) as "total!" from send_caps where tenant_id = $1"#,
        tenant.uuid()
    );
    let total = total.fetch_one(&mut *tx).await?.unsigned_abs();
    let (channel, prefix) =
        part.after.as_ref().map(|(channel, prefix)| (channel.as_str(), prefix.as_str())).unzip();
    macro_rules! page {
        ($after:literal, $order:literal) => {
            sqlx::query_as!(
                SendCap,
                r#"select c.channel as "channel: Channel", c.prefix, c.per_day,
                          case when c.day = (now() at time zone t.time_zone)::date then c.used else 0 end as "used_today!"
                   from send_caps c join tenants t on t.id = c.tenant_id
                   where c.tenant_id = $1 and ($2::text is null or (c.channel, c.prefix) "#
                    + $after
                    + " ($2, $3)) order by "
                    + $order
                    + " offset $4 limit $5",
                tenant.uuid(),
                channel,
                prefix,
                part.offset,
                part.limit,
            )
            .fetch_all(tx)
            .await?
        };
    }
    let rows = match way {
        Way::Up => page!(">", "c.channel, c.prefix"),
        Way::Down => page!("<", "c.channel desc, c.prefix desc"),
    };
    Ok((rows, total))
}

/// From now on this holds. What an earlier one has counted today stays.
pub async fn set(
    tx: &mut PgConnection,
    tenant: TenantId,
    (channel, prefix): (Channel, &str),
    per_day: i32,
) -> StoreResult<SendCap> {
    Ok(sqlx::query_as!(
        SendCap,
        r#"insert into send_caps as c (tenant_id, channel, prefix, per_day) values ($1, $2, $3, $4)
           on conflict (tenant_id, channel, prefix) do update set per_day = excluded.per_day
           returning channel as "channel: Channel", prefix, per_day,
                     case when day = (select (now() at time zone time_zone)::date from tenants where id = $1)
                          then used else 0 end as "used_today!""#,
        tenant.uuid(),
        channel.as_str(),
        prefix,
        per_day,
    )
    .fetch_one(tx)
    .await?)
}

/// False when there was none.
pub async fn remove(
    tx: &mut PgConnection,
    tenant: TenantId,
    (channel, prefix): (Channel, &str),
) -> StoreResult<bool> {
    let gone = sqlx::query!(
        "delete from send_caps where tenant_id = $1 and channel = $2 and prefix = $3",
        tenant.uuid(),
        channel.as_str(),
        prefix,
    );
    Ok(gone.execute(tx).await?.rows_affected() == 1)
}
