//! To whom a single message goes: a person by id, or whoever has an address; and on whom things may be tried out.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::{
    StoreResult,
    listing::{Order, Part, Way},
};
use crate::{
    domain::channel::Channel,
    id::{ContactId, TenantId},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressee {
    pub contact: ContactId,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub locale: Option<String>,
}

impl Addressee {
    pub fn address(&self, channel: Channel) -> Option<String> {
        match channel {
            Channel::Email => self.email.clone(),
            Channel::Sms | Channel::Whatsapp => self.phone.clone(),
            Channel::InApp => Some(self.contact.uuid().to_string()),
        }
    }
}

/// `None` also for a person who was erased.
pub async fn by_id(
    tx: &mut PgConnection,
    tenant: TenantId,
    contact: ContactId,
) -> StoreResult<Option<Addressee>> {
    Ok(sqlx::query_as!(
        Addressee,
        r#"select id as "contact: ContactId", email, phone, locale from contacts
           where tenant_id = $1 and id = $2 and erased_at is null"#,
        tenant.uuid(),
        contact.uuid(),
    )
    .fetch_optional(tx)
    .await?)
}

/// Who has this address. Of several who share a number, somebody who wants no marketing over it: their no holds for it.
pub async fn at(
    tx: &mut PgConnection,
    tenant: TenantId,
    channel: Channel,
    address: &str,
) -> StoreResult<Option<Addressee>> {
    Ok(sqlx::query_as!(
        Addressee,
        r#"select who.id as "contact!: ContactId", who.email, who.phone, who.locale
           from (
               select id, email, phone, locale from contacts
               where $2 = 'email' and tenant_id = $1 and email = $3 and email is not null and erased_at is null
               union all
               select id, email, phone, locale from contacts
               where $2 <> 'email' and tenant_id = $1 and phone = $3 and phone is not null
                 and email is not null and erased_at is null
               union all
               select id, email, phone, locale from contacts
               where $2 <> 'email' and tenant_id = $1 and phone = $3 and phone is not null
                 and email is null and erased_at is null
           ) who
           left join consents c on c.contact_id = who.id and c.channel = $2
           order by c.granted is false desc, who.id
           limit 1"#,
        tenant.uuid(),
        channel.as_str(),
        address,
    )
    .fetch_optional(tx)
    .await?)
}

/// Whether somebody who tries things out may write to this address: it is on the tenant's list, or its domain is, or every
/// account that could be used reaches nobody.
pub async fn may_be_tried(
    tx: &mut PgConnection,
    tenant: TenantId,
    channel: Channel,
    address: &str,
) -> StoreResult<bool> {
    let domain = address.rsplit_once('@').map(|(_, domain)| format!("@{domain}"));
    let providers: Vec<&str> = crate::domain::channel::Provider::ALL
        .iter()
        .filter(|provider| provider.channel() == channel)
        .map(|provider| provider.as_str())
        .collect();
    Ok(sqlx::query_scalar!(
        r#"select exists (select from allowed_addresses
                          where tenant_id = $1 and channel = $2 and (address = $3 or address = $4))
               or coalesce((select bool_and(sandbox) from accounts
                            where tenant_id = $1 and provider = any ($5)
                              -- One that was deleted a moment ago may still have been chosen.
                              and (deleted_at is null or secrets <> '\x')), false)
               as "allowed!""#,
        tenant.uuid(),
        channel.as_str(),
        address,
        domain as _,
        &providers as _,
    )
    .fetch_one(tx)
    .await?)
}

/// An address, or `@` and a domain, that whoever tries things out may write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    pub channel: Channel,
    pub address: String,
    pub since: Timestamp,
}

/// What a list of allowed addresses is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedBy {
    /// And before that by channel.
    Address,
    Since,
}

/// The last one of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedPlace {
    channel: Channel,
    address: String,
    since: Timestamp,
}

impl Allowed {
    pub fn place(&self) -> AllowedPlace {
        AllowedPlace { channel: self.channel, address: self.address.clone(), since: self.since }
    }
}

struct AllowedRow {
    channel: Channel,
    address: String,
    since: jiff_sqlx::Timestamp,
}

/// The allowed addresses of a tenant, and how many there are.
pub async fn allowed(
    tx: &mut PgConnection,
    tenant: TenantId,
    order: Order<AllowedBy>,
    part: &Part<AllowedPlace>,
) -> StoreResult<(Vec<Allowed>, u64)> {
    let total = sqlx::query_scalar!(
        r#"select count(*) as "total!" from allowed_addresses where tenant_id = $1"#,
        tenant.uuid()
    );
    let total = total.fetch_one(&mut *tx).await?.unsigned_abs();
    macro_rules! page {
        ($after:literal, $order:literal) => {
            sqlx::query_as!(
                AllowedRow,
                r#"select channel as "channel: Channel", address, created_at as "since: _"
                   from allowed_addresses
                   where tenant_id = $1
                     and ($2::text is null or $3::text is null or $4::timestamptz is null or "#
                    + $after
                    + ") order by "
                    + $order
                    + " offset $5 limit $6",
                tenant.uuid(),
                part.after.as_ref().map(|place| place.channel.as_str()),
                part.after.as_ref().map(|place| place.address.as_str()),
                part.after.as_ref().map(|place| place.since.to_sqlx()) as _,
                part.offset,
                part.limit,
            )
            .fetch_all(tx)
            .await?
        };
    }
    let rows = match order {
        (AllowedBy::Address, Way::Up) => page!("(channel, address) > ($2, $3)", "channel, address"),
        (AllowedBy::Address, Way::Down) => {
            page!("(channel, address) < ($2, $3)", "channel desc, address desc")
        }
        (AllowedBy::Since, Way::Up) => {
            page!("(created_at, channel, address) > ($4, $2, $3)", "created_at, channel, address")
        }
        (AllowedBy::Since, Way::Down) => page!(
            "(created_at, channel, address) < ($4, $2, $3)",
            "created_at desc, channel desc, address desc"
        ),
    };
    let allowed = rows
        .into_iter()
        .map(|row| Allowed { channel: row.channel, address: row.address, since: row.since.to_jiff() })
        .collect();
    Ok((allowed, total))
}

/// Adds an address; when it was first added.
pub async fn allow(
    tx: &mut PgConnection,
    tenant: TenantId,
    channel: Channel,
    address: &str,
) -> StoreResult<Timestamp> {
    let since = sqlx::query_scalar!(
        r#"insert into allowed_addresses (tenant_id, channel, address) values ($1, $2, $3)
           on conflict (tenant_id, channel, address) do update set address = excluded.address
           returning created_at as "since: jiff_sqlx::Timestamp""#,
        tenant.uuid(),
        channel.as_str(),
        address,
    );
    Ok(since.fetch_one(tx).await?.to_jiff())
}

/// False when it was not on the list.
pub async fn disallow(
    tx: &mut PgConnection,
    tenant: TenantId,
    channel: Channel,
    address: &str,
) -> StoreResult<bool> {
    let gone = sqlx::query!(
        "delete from allowed_addresses where tenant_id = $1 and channel = $2 and address = $3",
        tenant.uuid(),
        channel.as_str(),
        address,
    );
    Ok(gone.execute(tx).await?.rows_affected() == 1)
}
