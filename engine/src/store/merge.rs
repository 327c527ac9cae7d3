//! How people of a staged file become contacts.
//!
//! A person is known by the e-mail address; without one, by the phone number among contacts without an address. What a
//! file says replaces what was known, what it leaves empty does not.

use sqlx::PgConnection;

use super::{StoreResult, straight::Home};

/// Contacts that were made and contacts that were changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MergedContacts {
    pub(crate) created: u64,
    pub(crate) updated: u64,
}

/// Merges the temporary table `import_people` into the tenant's contacts. The caller holds the tenant's row, so that no
/// two imports of a tenant do this at a time.
pub(crate) async fn merge_people(
    connection: &mut PgConnection,
    home: &Home<'_>,
) -> StoreResult<MergedContacts> {
    let mut merged = MergedContacts::default();
    let (tenant, upload) = (home.tenant.uuid(), home.upload.uuid());
    let updates = [
        sqlx::query(UPDATE_BY_EMAIL).bind(tenant),
        sqlx::query(GIVE_EMAIL).bind(tenant).bind(upload),
        sqlx::query(UPDATE_BY_PHONE).bind(tenant),
    ];
    for update in updates {
        merged.updated += update.execute(&mut *connection).await?.rows_affected();
    }
    for insert in [INSERT_BY_EMAIL, INSERT_BY_PHONE] {
        let done = sqlx::query(insert).bind(tenant).bind(home.time_zone).execute(&mut *connection).await?;
        merged.created += done.rows_affected();
    }
    Ok(merged)
}

const UPDATE_BY_EMAIL: &str = "
    update contacts c
    set name = coalesce(p.name, c.name), phone = coalesce(p.phone, c.phone), locale = coalesce(p.locale, c.locale),
        time_zone = coalesce(p.time_zone, c.time_zone), attributes = c.attributes || p.person, updated_at = now()
    from import_people p
    where c.tenant_id = $1 and p.email is not null and c.email = p.email
      -- A file that comes every month mostly says what is known: no row is written for that.
      and (c.name, c.phone, c.locale, c.time_zone, c.attributes)
          is distinct from (coalesce(p.name, c.name), coalesce(p.phone, c.phone), coalesce(p.locale, c.locale),
                            coalesce(p.time_zone, c.time_zone), c.attributes || p.person)";

/// A row that brings an address for somebody known by phone alone. Not when the file itself also has that phone without
/// an address: then they are two, in every later import too. Who went straight is new, and has their rows in the upload.
const GIVE_EMAIL: &str = "
    update contacts c
    set email = p.email, name = coalesce(p.name, c.name), locale = coalesce(p.locale, c.locale),
        time_zone = coalesce(p.time_zone, c.time_zone), attributes = c.attributes || p.person, updated_at = now()
    from (
        select distinct on (p.phone) p.*
        from import_people p
        where p.email is not null and p.phone is not null
          and not exists (select from contacts known where known.tenant_id = $1 and known.email = p.email)
          and not exists (select from import_people alone where alone.email is null and alone.phone = p.phone)
        order by p.phone, p.first_row
    ) p
    where c.tenant_id = $1 and c.email is null and c.phone = p.phone
      and not exists (select from upload_rows r
                      where r.upload_id = $2 and r.time_zone = c.time_zone and r.contact_id = c.id)";

const UPDATE_BY_PHONE: &str = "
    update contacts c
    set name = coalesce(p.name, c.name), locale = coalesce(p.locale, c.locale),
        time_zone = coalesce(p.time_zone, c.time_zone), attributes = c.attributes || p.person, updated_at = now()
    from import_people p
    where c.tenant_id = $1 and p.email is null and c.email is null and c.phone = p.phone
      and (c.name, c.locale, c.time_zone, c.attributes)
          is distinct from (coalesce(p.name, c.name), coalesce(p.locale, c.locale),
                            coalesce(p.time_zone, c.time_zone), c.attributes || p.person)";

/// In the order of rows, which is that of ids; one that somebody else makes at this moment is left as it is.
const INSERT_BY_EMAIL: &str = "
    insert into contacts (id, tenant_id, name, email, phone, locale, time_zone, attributes)
    select p.candidate, $1, p.name, p.email, p.phone, p.locale, coalesce(p.time_zone, $2), p.person
    from import_people p
    where p.email is not null
      and not exists (select from contacts c where c.tenant_id = $1 and c.email = p.email)
    order by p.first_row
    on conflict do nothing";

const INSERT_BY_PHONE: &str = "
    insert into contacts (id, tenant_id, name, phone, locale, time_zone, attributes)
    select p.candidate, $1, p.name, p.phone, p.locale, coalesce(p.time_zone, $2), p.person
    from import_people p
    where p.email is null
      and not exists (select from contacts c where c.tenant_id = $1 and c.email is null and c.phone = p.phone)
    order by p.first_row
    on conflict do nothing";
