//! Finding a person, and what a message to that person could say.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::{Store, StoreError, StoreResult};
use crate::{
    domain::{
        address::{EmailAddress, PhoneNumber, Region},
        channel::Channel,
    },
    id::{ContactId, TenantId, UploadId},
};

/// How somebody names a contact.
#[derive(Debug, Clone)]
pub enum ContactKey {
    Id(ContactId),
    Email(String),
    Phone(String),
}

impl ContactKey {
    /// An id, an e-mail address, or a phone number as written in this region.
    pub fn parse(text: &str, region: &Region) -> Option<Self> {
        if let Ok(id) = text.parse() {
            return Some(Self::Id(id));
        }
        if let Ok(email) = EmailAddress::parse(text) {
            return Some(Self::Email(email.as_str().to_owned()));
        }
        PhoneNumber::parse(text, region).ok().map(|phone| Self::Phone(phone.as_str().to_owned()))
    }
}

/// What templates see of a contact.
#[derive(Debug, Clone)]
pub struct ContactFacts {
    pub id: ContactId,
    pub locale: Option<String>,
    /// A JSON object: attributes, and name, e-mail and phone.
    pub facts: serde_json::Value,
}

/// The contact with the newest values of its latest upload, as a campaign over that upload would see it.
pub async fn find(tx: &mut PgConnection, tenant: TenantId, key: &ContactKey) -> StoreResult<ContactFacts> {
    let (id, email, phone) = match key {
        ContactKey::Id(id) => (Some(id.uuid()), None, None),
        ContactKey::Email(email) => (None, Some(email.as_str()), None),
        ContactKey::Phone(phone) => (None, None, Some(phone.as_str())),
    };
    let row = sqlx::query!(
        r#"select c.id, c.locale,
                  jsonb_build_object('name', c.name, 'email', c.email, 'phone', c.phone) || c.attributes
                      || coalesce(row.attributes, '{}') as "facts!"
           from contacts c
           left join lateral (
               select r.attributes from uploads u
               join upload_rows r on r.upload_id = u.id and r.time_zone = c.time_zone and r.contact_id = c.id
               where u.tenant_id = c.tenant_id
               order by u.created_at desc, r.row_no limit 1
           ) row on true
           where c.tenant_id = $1 and c.erased_at is null and (c.id = $2 or c.email = $3 or c.phone = $4)
           order by c.updated_at desc limit 1"#,
        tenant.uuid(),
        id,
        email,
        phone,
    )
    .fetch_optional(tx)
    .await?
    .ok_or_else(|| StoreError::not_found("a contact with this address or id"))?;
    Ok(ContactFacts { id: row.id.into(), locale: row.locale, facts: row.facts })
}

/// Those of these addresses that belong to users of the tenant who may sign in.
pub async fn users_among(
    tx: &mut PgConnection,
    tenant: TenantId,
    channel: Channel,
    addresses: &[String],
) -> StoreResult<BTreeSet<String>> {
    let found = sqlx::query_scalar!(
        r#"select a.address as "address!" from unnest($3::text[]) as a (address)
           where exists (select from users u where u.tenant_id = $1 and u.status = 'active'
                         and a.address = case $2 when 'email' then u.email else u.phone end)"#,
        tenant.uuid(),
        channel.as_str(),
        addresses,
    );
    Ok(found.fetch_all(tx).await?.into_iter().collect())
}

impl Store {
    pub async fn find_contact(&self, tenant: TenantId, key: &ContactKey) -> StoreResult<ContactFacts> {
        let mut connection = self.pool().acquire().await?;
        find(&mut connection, tenant, key).await
    }
}

/// A row of an upload with the contact it belongs to.
#[derive(Debug, Clone)]
pub struct UploadFacts {
    pub email: Option<String>,
    pub phone: Option<String>,
    pub locale: Option<String>,
    /// What a template of a campaign over this upload sees.
    pub facts: serde_json::Value,
}

impl Store {
    /// The rows of an upload in the order in which a launch walks them, from the sources and not from any campaign: what
    /// a checker compares messages with.
    pub async fn upload_facts(&self, tenant: TenantId, upload: UploadId) -> StoreResult<Vec<UploadFacts>> {
        Ok(sqlx::query_as!(
            UploadFacts,
            r#"select c.email, c.phone, c.locale,
                      jsonb_build_object('name', c.name, 'email', c.email, 'phone', c.phone) || c.attributes || r.attributes
                          as "facts!"
               from upload_rows r join contacts c on c.id = r.contact_id
               where r.upload_id = $2 and c.tenant_id = $1 and c.erased_at is null
               order by r.time_zone, r.contact_id, r.row_no"#,
            tenant.uuid(),
            upload.uuid(),
        )
        .fetch_all(self.pool())
        .await?)
    }
}
