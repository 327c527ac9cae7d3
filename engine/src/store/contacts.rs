//! Contacts, as staff and programs find and change them, one at a time. How the people of a file become contacts is in
//! [`super::merge`]; both know a person by the e-mail address, and by the phone number among contacts without an address.
//!
//! A caller may see only some of a tenant's contacts ([`Sight`]); the others do not exist for them.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    StoreError, StoreResult,
    listing::{Order, Way},
};
use crate::{
    contacts::person::Person,
    domain::address::{EmailAddress, PhoneNumber},
    id::{ContactId, TenantId, UserId},
};

/// Which contacts a caller sees: those of a branch, those of an agent, or all of the tenant's.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    pub tenant: TenantId,
    pub branch: Option<&'a str>,
    pub agent: Option<UserId>,
}

impl Sight<'_> {
    fn agent(&self) -> Option<Uuid> {
        self.agent.map(UserId::uuid)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Contact {
    pub id: ContactId,
    pub name: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub locale: Option<String>,
    pub time_zone: String,
    /// A flat object.
    pub attributes: Map<String, Value>,
    pub branch: Option<String>,
    pub assigned_to: Option<UserId>,
    pub updated_at: Timestamp,
}

/// Whose a contact is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keeper<'a> {
    pub branch: Option<&'a str>,
    pub agent: Option<UserId>,
}

/// Which contacts a list shows; what is not said does not matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// In the form of [`crate::domain::search`].
    pub found_by: Option<&'a str>,
    /// In its normal form.
    pub email: Option<&'a str>,
    pub locale: Option<&'a str>,
    pub time_zone: Option<&'a str>,
    pub branch: Option<&'a str>,
    pub assigned_to: Option<UserId>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    pub updated_after: Option<Timestamp>,
}

/// What a list of contacts is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    CreatedAt,
    /// Without a name first.
    Name,
}

/// The last contact of a page, as far as any order goes by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub id: ContactId,
    pub name: String,
}

/// Which part of a list.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    pub order: Order<By>,
    pub after: Option<&'a Place>,
    pub offset: i64,
    pub limit: i64,
}

struct Row {
    id: Uuid,
    name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    locale: Option<String>,
    time_zone: String,
    attributes: Value,
    branch: Option<String>,
    assigned_to: Option<Uuid>,
    updated_at: jiff_sqlx::Timestamp,
}

impl From<Row> for Contact {
    fn from(row: Row) -> Self {
        let attributes = match row.attributes {
            Value::Object(attributes) => attributes,
            _ => Map::new(),
        };
        Self {
            id: row.id.into(),
            name: row.name,
            email: row.email,
            phone: row.phone,
            locale: row.locale,
            time_zone: row.time_zone,
            attributes,
            branch: row.branch,
            assigned_to: row.assigned_to.map(Into::into),
            updated_at: row.updated_at.to_jiff(),
        }
    }
}

/// One contact.
pub async fn get(tx: &mut PgConnection, sight: Sight<'_>, id: ContactId) -> StoreResult<Contact> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, name, email, phone, locale, time_zone, attributes, branch, assigned_to,
                  updated_at as "updated_at: _"
           from contacts
           where tenant_id = $1 and id = $2 and erased_at is null
             and ($3::text is null or branch = $3) and ($4::uuid is null or assigned_to = $4)"#,
        sight.tenant.uuid(),
        id.uuid(),
        sight.branch,
        sight.agent(),
    );
    Ok(row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?.into())
}

/// One contact, which nobody else changes until the transaction ends.
pub async fn lock(tx: &mut PgConnection, sight: Sight<'_>, id: ContactId) -> StoreResult<Contact> {
    sqlx::query!(
        "select id from contacts where tenant_id = $1 and id = $2 for no key update",
        sight.tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(&mut *tx)
    .await?;
    get(tx, sight, id).await
}

/// Every statement of a list bears the same parameters: the rows to choose from and their order are what differs. An order
/// that was chosen by an expression would be sorted, and not read from an index.
macro_rules! page {
    ($tx:ident, $from:tt, $after:tt, $order:tt, $sight:ident, $filter:ident, $part:ident) => {
        sqlx::query_as!(
            Row,
            r#"select c.id as "id!", c.name, c.email, c.phone, c.locale, c.time_zone as "time_zone!",
                      c.attributes as "attributes!", c.branch, c.assigned_to,
                      c.updated_at as "updated_at!: _" from "#
                + $from
                + " where c.tenant_id = $1 and c.erased_at is null
                      and ($2::text is null or c.branch = $2) and ($3::uuid is null or c.assigned_to = $3)
                      and ($4::text is null or c.email = $4) and ($5::text is null or c.locale = $5)
                      and ($6::text is null or c.time_zone = $6) and ($7::text is null or c.branch = $7)
                      and ($8::uuid is null or c.assigned_to = $8)
                      and ($9::uuid is null or c.id >= $9)
                      and ($10::uuid is null or c.id < $10)
                      and ($11::timestamptz is null or c.updated_at >= $11)
                      and ($13::uuid is null or "
                + $after
                + ") order by "
                + $order
                + " limit $15 offset $16",
            $sight.tenant.uuid(),
            $sight.branch,
            $sight.agent(),
            $filter.email,
            $filter.locale,
            $filter.time_zone,
            $filter.branch,
            $filter.assigned_to.map(UserId::uuid),
            $filter.created_after.map(|at| ContactId::first_at(at).uuid()),
            $filter.created_before.map(|at| ContactId::first_at(at).uuid()),
            $filter.updated_after.map(|at| at.to_sqlx()) as _,
            $filter.found_by,
            $part.after.map(|place| place.id.uuid()),
            $part.after.map(|place| place.name.as_str()),
            $part.limit,
            $part.offset,
        )
        .fetch_all($tx)
        .await?
    };
}

macro_rules! in_order {
    ($tx:ident, $from:tt, $sight:ident, $filter:ident, $part:ident) => {
        match $part.order {
            (By::CreatedAt, Way::Down) => {
                page!($tx, $from, "c.id < $13 or $14::text is null", "c.id desc", $sight, $filter, $part)
            }
            (By::CreatedAt, Way::Up) => {
                page!($tx, $from, "c.id > $13 or $14::text is null", "c.id", $sight, $filter, $part)
            }
            (By::Name, Way::Up) => page!(
                $tx,
                $from,
                "(coalesce(c.name, ''), c.id) > ($14::text, $13)",
                "coalesce(c.name, ''), c.id",
                $sight,
                $filter,
                $part
            ),
            (By::Name, Way::Down) => page!(
                $tx,
                $from,
                "(coalesce(c.name, ''), c.id) < ($14::text, $13)",
                "coalesce(c.name, '') desc, c.id desc",
                $sight,
                $filter,
                $part
            ),
        }
    };
}

/// Which filters are there decides on the plan: one for all of them would read every contact.
async fn plan_anew(tx: &mut PgConnection) -> StoreResult<()> {
    sqlx::query("set local plan_cache_mode = force_custom_plan").execute(tx).await?;
    Ok(())
}

/// A part of the contacts that the caller sees.
pub async fn list(
    tx: &mut PgConnection,
    sight: Sight<'_>,
    filter: Filter<'_>,
    part: Part<'_>,
) -> StoreResult<Vec<Contact>> {
    let rows = if filter.found_by.is_some() {
        in_order!(
            tx,
            "contacts_found($12) as found (id) join contacts c on c.id = found.id",
            sight,
            filter,
            part
        )
    } else if filter.email.is_some() {
        in_order!(
            tx,
            "(select * from contacts where tenant_id = $1 and email = $4 and $12::text is null offset 0) c",
            sight,
            filter,
            part
        )
    } else {
        plan_anew(tx).await?;
        in_order!(tx, "(select * from contacts where $12::text is null) c", sight, filter, part)
    };
    Ok(rows.into_iter().map(Contact::from).collect())
}

macro_rules! counted {
    ($tx:ident, $from:tt, $sight:ident, $filter:ident) => {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from "#
                + $from
                + " where c.tenant_id = $1 and c.erased_at is null
                      and ($2::text is null or c.branch = $2) and ($3::uuid is null or c.assigned_to = $3)
                      and ($4::text is null or c.email = $4) and ($5::text is null or c.locale = $5)
                      and ($6::text is null or c.time_zone = $6) and ($7::text is null or c.branch = $7)
                      and ($8::uuid is null or c.assigned_to = $8)
                      and ($9::uuid is null or c.id >= $9)
                      and ($10::uuid is null or c.id < $10)
                      and ($11::timestamptz is null or c.updated_at >= $11)",
            $sight.tenant.uuid(),
            $sight.branch,
            $sight.agent(),
            $filter.email,
            $filter.locale,
            $filter.time_zone,
            $filter.branch,
            $filter.assigned_to.map(UserId::uuid),
            $filter.created_after.map(|at| ContactId::first_at(at).uuid()),
            $filter.created_before.map(|at| ContactId::first_at(at).uuid()),
            $filter.updated_after.map(|at| at.to_sqlx()) as _,
            $filter.found_by,
        )
        .fetch_one($tx)
        .await?
    };
}

/// How many there are in all.
pub async fn count(tx: &mut PgConnection, sight: Sight<'_>, filter: Filter<'_>) -> StoreResult<u64> {
    let count = if filter.found_by.is_some() {
        counted!(tx, "contacts_found($12) as found (id) join contacts c on c.id = found.id", sight, filter)
    } else if filter.email.is_some() {
        counted!(
            tx,
            "(select * from contacts where tenant_id = $1 and email = $4 and $12::text is null offset 0) c",
            sight,
            filter
        )
    } else {
        plan_anew(tx).await?;
        counted!(tx, "(select * from contacts where $12::text is null) c", sight, filter)
    };
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The contact that this person is, locked until the transaction ends; somebody known by phone alone may get an address.
pub async fn known(
    tx: &mut PgConnection,
    tenant: TenantId,
    person: &Person,
) -> StoreResult<Option<ContactId>> {
    if let Some(email) = &person.email {
        let known = sqlx::query_scalar!(
            "select id from contacts where tenant_id = $1 and email = $2 for no key update",
            tenant.uuid(),
            email.as_str(),
        );
        if let Some(id) = known.fetch_optional(&mut *tx).await? {
            return Ok(Some(id.into()));
        }
    }
    let Some(phone) = &person.phone else { return Ok(None) };
    let known = sqlx::query_scalar!(
        "select id from contacts where tenant_id = $1 and email is null and phone = $2 for no key update",
        tenant.uuid(),
        phone.as_str(),
    );
    Ok(known.fetch_optional(tx).await?.map(Into::into))
}

/// Makes a contact; false when somebody has just made one with these addresses.
pub async fn create(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: ContactId,
    person: &Person,
    keeper: Keeper<'_>,
) -> StoreResult<bool> {
    let made = sqlx::query!(
        "insert into contacts (id, tenant_id, name, email, phone, locale, time_zone, attributes, branch, assigned_to)
         select $2, t.id, $3, $4, $5, $6, coalesce($7, t.time_zone), $8, $9, $10 from tenants t where t.id = $1
         on conflict do nothing",
        tenant.uuid(),
        id.uuid(),
        person.name,
        person.email.as_ref().map(EmailAddress::as_str),
        person.phone.as_ref().map(PhoneNumber::as_str),
        person.locale,
        person.time_zone,
        Value::Object(person.attributes.clone()),
        keeper.branch,
        keeper.agent.map(UserId::uuid),
    )
    .execute(tx)
    .await?;
    Ok(made.rows_affected() == 1)
}

/// What is said replaces what was known, what is left out does not; attributes are added to those that are known. A row that
/// says nothing new is not written.
pub async fn tell(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: ContactId,
    person: &Person,
    keeper: Keeper<'_>,
) -> StoreResult<()> {
    let told = sqlx::query!(
        "update contacts c
         set name = said.name, email = said.email, phone = said.phone, locale = said.locale, time_zone = said.time_zone,
             attributes = said.attributes, branch = said.branch, assigned_to = said.agent, updated_at = clock_timestamp()
         from (select coalesce($3, name) as name, coalesce($4, email) as email, coalesce($5, phone) as phone,
                      coalesce($6, locale) as locale, coalesce($7, time_zone) as time_zone,
                      attributes || $8::jsonb as attributes, coalesce($9, branch) as branch,
                      coalesce($10, assigned_to) as agent
               from contacts where tenant_id = $1 and id = $2) said
         where c.tenant_id = $1 and c.id = $2
           and (c.name, c.email, c.phone, c.locale, c.time_zone, c.attributes, c.branch, c.assigned_to)
               is distinct from (said.name, said.email, said.phone, said.locale, said.time_zone, said.attributes,
                                 said.branch, said.agent)",
        tenant.uuid(),
        id.uuid(),
        person.name,
        person.email.as_ref().map(EmailAddress::as_str),
        person.phone.as_ref().map(PhoneNumber::as_str),
        person.locale,
        person.time_zone,
        Value::Object(person.attributes.clone()),
        keeper.branch,
        keeper.agent.map(UserId::uuid),
    );
    told.execute(tx).await.map_err(taken)?;
    Ok(())
}

/// Writes a contact as it is given; addresses that somebody else has are a conflict.
pub async fn change(tx: &mut PgConnection, tenant: TenantId, contact: &Contact) -> StoreResult<()> {
    let changed = sqlx::query!(
        "update contacts
         set name = $3, email = $4, phone = $5, locale = $6, time_zone = $7, attributes = $8, branch = $9, assigned_to = $10,
             updated_at = clock_timestamp()
         where tenant_id = $1 and id = $2",
        tenant.uuid(),
        contact.id.uuid(),
        contact.name,
        contact.email,
        contact.phone,
        contact.locale,
        contact.time_zone,
        Value::Object(contact.attributes.clone()),
        contact.branch,
        contact.assigned_to.map(UserId::uuid),
    );
    changed.execute(tx).await.map_err(taken)?;
    Ok(())
}

/// Addresses that somebody else has, or has got at this moment, are a conflict.
fn taken(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(error) if error.is_unique_violation() => StoreError::Conflict(
            "another contact has this e-mail address, or this phone number and no address".to_owned(),
        ),
        other => other.into(),
    }
}

/// Takes from a contact whatever tells who it is, its consents and its wishes; the row stays for those that name it. So does a
/// no: messages that were frozen before ask for it, and where consent is not asked for its absence would be a yes.
pub async fn erase(tx: &mut PgConnection, tenant: TenantId, id: ContactId) -> StoreResult<()> {
    sqlx::query!(
        "delete from consents where contact_id = $1 and granted is distinct from false and wanted is distinct from false",
        id.uuid(),
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("delete from contact_preferences where contact_id = $1", id.uuid())
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "update contacts
         set name = null, email = null, phone = null, locale = null, attributes = '{}', branch = null, assigned_to = null,
             erased_at = clock_timestamp(), updated_at = clock_timestamp()
         where tenant_id = $1 and id = $2",
        tenant.uuid(),
        id.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether a user is one of the tenant's, so that contacts may be theirs.
pub async fn is_agent(tx: &mut PgConnection, tenant: TenantId, user: UserId) -> StoreResult<bool> {
    let there = sqlx::query_scalar!(
        r#"select exists (select from users where tenant_id = $1 and id = $2) as "there!""#,
        tenant.uuid(),
        user.uuid(),
    );
    Ok(there.fetch_one(tx).await?)
}
