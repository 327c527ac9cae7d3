//! The short way of an upload: a row whose person is new to the tenant and comes for the first time is copied to where it
//! stays, while the file is still being read. No staging, no comparing, no sorting, and the database is at work while the
//! parser is. All other rows are copied into the staging table and merged at the end.
//!
//! A later row of the same person mostly says the same of it, and is merged as if the person had been known before. Where
//! one says something else, or repeats the reference, the first row is taken back into the staging table, and the rows are
//! merged as if none had gone straight.
//!
//! Nobody else writes contacts of the tenant by the rules of an import, but somebody may write one; a `COPY` that meets it
//! fails with [`StoreError::Raced`], and the import is done again with every row staged ([`Route::Staged`]).

use std::{borrow::Cow, collections::HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{StoreError, StoreResult, lines::Lines};
use crate::id::{TenantId, UploadId};

/// Lines leave for the server at this size, so that it works while the next are written.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where the rows of an upload belong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home<'a> {
    pub(crate) upload: UploadId,
    pub(crate) tenant: TenantId,
    /// Where contacts live of whom nobody says it.
    pub(crate) time_zone: &'a str,
}

/// Which rows may go straight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Those of people who come for the first time: the tenant has no contacts.
    New,
    /// The same, but it has some: who is among them has to be looked up.
    Unknown,
    /// None.
    Staged,
}

/// A row that was read and not refused; objects as JSON.
#[derive(Debug)]
pub(crate) struct StagedRow {
    pub(crate) row_no: i64,
    /// The id that its person gets if it is a new one.
    pub(crate) candidate: Uuid,
    /// Whether its person may have come in an earlier row.
    pub(crate) again: bool,
    /// Equal for equal references.
    pub(crate) reference: Option<i64>,
    /// Of the first row of the person, if that was an earlier one.
    pub(crate) first_reference: Option<i64>,
    pub(crate) email: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) locale: Option<Cow<'static, str>>,
    pub(crate) time_zone: Option<String>,
    pub(crate) person: String,
    pub(crate) attributes: String,
}

/// Writes rows where they stay, or into the staging table; returns how many stay.
pub(super) async fn take(
    connection: &mut PgConnection,
    home: &Home<'_>,
    route: Route,
    rows: &[StagedRow],
) -> StoreResult<u64> {
    let known = if route == Route::Unknown { known(connection, home, rows).await? } else { HashSet::new() };
    // Taken back, a time zone that was said could not be told from one that nobody said, which matters where somebody known
    // by phone may get an address.
    let says_the_usual = |row: &StagedRow| row.time_zone.as_deref() == Some(home.time_zone);
    let goes_straight = |row: &&StagedRow| {
        !row.again
            && match route {
                Route::New => true,
                Route::Unknown => !known.contains(&row.row_no) && !says_the_usual(row),
                Route::Staged => false,
            }
    };
    let (straight, staged): (Vec<&StagedRow>, Vec<&StagedRow>) = rows.iter().partition(goes_straight);
    let (tenant, upload) = (home.tenant.uuid(), home.upload.uuid());
    let contact = |row: &StagedRow, line: &mut Lines| {
        line.uuid(row.candidate);
        line.uuid(tenant);
        for text in [row.name.as_deref(), row.email.as_deref(), row.phone.as_deref(), row.locale.as_deref()] {
            line.text(text);
        }
        line.text(Some(row.time_zone.as_deref().unwrap_or(home.time_zone)));
        line.text(Some(&row.person));
    };
    copy(connection, COPY_CONTACTS, &straight, contact).await?;
    let said = |row: &StagedRow, line: &mut Lines| {
        line.uuid(upload);
        line.text(Some(row.time_zone.as_deref().unwrap_or(home.time_zone)));
        line.uuid(row.candidate);
        line.integer(row.row_no);
        line.text(Some(&row.attributes));
    };
    copy(connection, COPY_UPLOAD_ROWS, &straight, said).await?;
    copy(connection, COPY_STAGED, &staged, stage).await?;
    Ok(u64::try_from(straight.len()).unwrap_or(0))
}

fn stage(row: &StagedRow, line: &mut Lines) {
    line.integer(row.row_no);
    line.uuid(row.candidate);
    line.boolean(row.again);
    for reference in [row.reference, row.first_reference] {
        match reference {
            Some(hash) => line.integer(hash),
            None => line.text(None),
        }
    }
    for text in [row.email.as_deref(), row.phone.as_deref(), row.name.as_deref(), row.locale.as_deref()] {
        line.text(text);
    }
    line.text(row.time_zone.as_deref());
    line.text(Some(&row.person));
    line.text(Some(&row.attributes));
}

async fn copy(
    connection: &mut PgConnection,
    statement: &str,
    rows: &[&StagedRow],
    write: impl Fn(&StagedRow, &mut Lines),
) -> StoreResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut copy = connection.copy_in_raw(statement).await?;
    let mut lines = Lines::default();
    for row in rows {
        lines.line(|line| write(row, line));
        if lines.bytes().len() >= CHUNK_BYTES {
            copy.send(lines.bytes()).await?;
            lines.clear();
        }
    }
    copy.send(lines.bytes()).await?;
    match copy.finish().await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(StoreError::Raced),
        other => Ok(other.map(drop)?),
    }
}

/// Copies what was wrong with rows.
pub(super) async fn copy_problems(connection: &mut PgConnection, lines: &Lines) -> StoreResult<()> {
    if !lines.bytes().is_empty() {
        let mut copy = connection.copy_in_raw(COPY_PROBLEMS).await?;
        copy.send(lines.bytes()).await?;
        copy.finish().await?;
    }
    Ok(())
}

/// The rows whose people the tenant knows already, or may.
async fn known(
    connection: &mut PgConnection,
    home: &Home<'_>,
    rows: &[StagedRow],
) -> StoreResult<HashSet<i64>> {
    let first = || rows.iter().filter(|row| !row.again);
    let query = sqlx::query_scalar(KNOWN)
        .bind(home.tenant.uuid())
        .bind(first().map(|row| row.row_no).collect::<Vec<_>>())
        .bind(first().map(|row| row.email.as_deref()).collect::<Vec<_>>())
        .bind(first().map(|row| row.phone.as_deref()).collect::<Vec<_>>())
        // The plan for a small table would be used when it is large.
        .persistent(false);
    Ok(query.fetch_all(connection).await?.into_iter().collect())
}

/// Which rows may go straight into a tenant's contacts.
pub(super) async fn route(connection: &mut PgConnection, tenant: TenantId) -> StoreResult<Route> {
    let any = sqlx::query_scalar("select exists (select from contacts where tenant_id = $1)");
    let any: bool = any.bind(tenant.uuid()).fetch_one(connection).await?;
    Ok(if any { Route::Unknown } else { Route::New })
}

/// Takes back whoever went straight and came again with something else to say. Returns how many rows those were.
pub(super) async fn take_back(connection: &mut PgConnection, home: &Home<'_>) -> StoreResult<u64> {
    let find =
        sqlx::query(FIND_BACK).bind(home.upload.uuid()).bind(home.tenant.uuid()).execute(&mut *connection);
    if find.await?.rows_affected() == 0 {
        return Ok(0);
    }
    sqlx::query("analyze import_back").execute(&mut *connection).await?;
    let back = sqlx::query(TAKE_BACK).bind(home.upload.uuid()).bind(home.time_zone).execute(connection);
    Ok(back.await?.rows_affected())
}

pub(super) const TABLES: &[&str] = &[
    "create temporary table import_rows (
        row_no bigint not null, candidate uuid not null, again boolean not null, reference bigint,
        first_reference bigint, email text, phone text, name text, locale text, time_zone text,
        person jsonb not null, attributes jsonb not null
     ) on commit drop",
    "create temporary table import_back (
        contact_id uuid not null, time_zone text not null, reference bigint
     ) on commit drop",
];

const COPY_CONTACTS: &str =
    "copy contacts (id, tenant_id, name, email, phone, locale, time_zone, attributes) from stdin";

const COPY_UPLOAD_ROWS: &str =
    "copy upload_rows (upload_id, time_zone, contact_id, row_no, attributes) from stdin";

const COPY_STAGED: &str =
    "copy import_rows (row_no, candidate, again, reference, first_reference, email, phone, name,
                       locale, time_zone, person, attributes) from stdin";

const COPY_PROBLEMS: &str = "copy import_problems (row_no, field, value, reason, rule, refused) from stdin";

/// Known by the address, or by a phone alone that the file may give an address. `offset 0` keeps each look-up to itself, so
/// that it goes by the index.
const KNOWN: &str = "
    select r.row_no from unnest($2::bigint[], $3::text[], $4::text[]) as r (row_no, email, phone)
    where exists (select from contacts c where c.tenant_id = $1 and c.email = r.email offset 0)
       or exists (select from contacts c where c.tenant_id = $1 and c.email is null and c.phone = r.phone offset 0)";

/// Of the rows of this upload only those that went straight are in `upload_rows` yet.
const FIND_BACK: &str = "
    insert into import_back (contact_id, time_zone, reference)
    select c.id, c.time_zone, min(r.first_reference)
    from import_rows r
    cross join lateral (
        select * from contacts c where c.tenant_id = $2 and c.email = r.email
        union all
        select * from contacts c
        where c.tenant_id = $2 and c.email is null and r.email is null and c.phone = r.phone
    ) c
    where r.again
      and (r.reference = r.first_reference
           or (c.name, c.phone, c.locale, c.time_zone, c.attributes)
              is distinct from (coalesce(r.name, c.name), coalesce(r.phone, c.phone), coalesce(r.locale, c.locale),
                                coalesce(r.time_zone, c.time_zone),
                                case when r.person = '{}' then c.attributes else r.person end))
      and exists (select from upload_rows said
                  where said.upload_id = $1 and said.time_zone = c.time_zone and said.contact_id = c.id)
    group by c.id, c.time_zone";

/// A time zone that nobody named stays open.
const TAKE_BACK: &str = "
    with said as (
        delete from upload_rows r using import_back back
        where r.upload_id = $1 and r.time_zone = back.time_zone and r.contact_id = back.contact_id
        returning r.row_no, r.contact_id, r.attributes, back.reference
    ), people as (
        delete from contacts c using import_back back where c.id = back.contact_id returning c.*
    )
    insert into import_rows (row_no, candidate, again, reference, email, phone, name, locale, time_zone, person, attributes)
    select said.row_no, c.id, false, said.reference, c.email, c.phone, c.name, c.locale, nullif(c.time_zone, $2),
           c.attributes, said.attributes
    from said join people c on c.id = said.contact_id";
