//! Uploads: files that were taken in whole, their rows, and what was wrong with them.
//!
//! An import holds a connection of its own, and on it one transaction. New people go straight to their tables
//! ([`straight`]); all other rows are copied into a temporary table, then merged set by set. Whatever ends it early (an
//! error, a dropped future, a dead process) closes the connection, and Postgres forgets everything. Imports of one tenant
//! write one after the other.

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::{
    Store, StoreError, StoreResult, audit,
    lines::Lines,
    merge,
    straight::{self, Home, Route, StagedRow},
};
use crate::{
    contacts::report::ReasonCount,
    id::{TenantId, UploadId},
};

/// What a tenant's settings say about values that a file leaves open.
#[derive(Debug, Clone)]
pub struct TenantDefaults {
    pub region: String,
    pub time_zone: String,
    pub currency: String,
}

/// A file that was taken.
#[derive(Debug, Clone)]
pub struct UploadRow {
    pub id: UploadId,
    pub file_name: String,
    pub format: String,
    pub bytes: i64,
    pub mapping: Value,
    pub rows_read: i64,
    pub rows_taken: i64,
    pub rows_refused: i64,
    pub contacts_created: i64,
    pub contacts_updated: i64,
    pub created_at: Timestamp,
}

/// A line of the list of what was not taken.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ProblemRow {
    pub row_no: i64,
    pub field: String,
    pub value: String,
    pub reason: String,
    pub refused: bool,
}

impl Store {
    pub async fn tenant_defaults(&self, tenant: TenantId) -> StoreResult<Option<TenantDefaults>> {
        let query = sqlx::query_as!(
            TenantDefaults,
            "select region, time_zone, currency from tenants where id = $1",
            tenant.uuid()
        );
        Ok(query.fetch_optional(self.pool()).await?)
    }

    /// The last upload of the same bytes that was taken.
    pub async fn upload_by_hash(
        &self,
        tenant: TenantId,
        sha256: &[u8; 32],
    ) -> StoreResult<Option<(UploadId, Timestamp)>> {
        let mut connection = self.pool().acquire().await?;
        upload_by_hash(&mut connection, tenant, sha256).await
    }

    pub async fn upload(&self, tenant: TenantId, upload: UploadId) -> StoreResult<UploadRow> {
        let found = sqlx::query!(
            r#"select file_name, format, bytes, mapping, rows_read, rows_taken, rows_refused, contacts_created,
                      contacts_updated, created_at as "created_at: jiff_sqlx::Timestamp"
               from uploads where tenant_id = $1 and id = $2"#,
            tenant.uuid(),
            upload.uuid()
        );
        let row = found.fetch_optional(self.pool()).await?.ok_or_else(|| StoreError::not_found(upload))?;
        Ok(UploadRow {
            id: upload,
            file_name: row.file_name,
            format: row.format,
            bytes: row.bytes,
            mapping: row.mapping,
            rows_read: row.rows_read,
            rows_taken: row.rows_taken,
            rows_refused: row.rows_refused,
            contacts_created: row.contacts_created,
            contacts_updated: row.contacts_updated,
            created_at: row.created_at.to_jiff(),
        })
    }

    pub(crate) async fn ensure_upload(&self, tenant: TenantId, upload: UploadId) -> StoreResult<()> {
        let there = sqlx::query_scalar!(
            r#"select exists (select from uploads where tenant_id = $1 and id = $2) as "there!""#,
            tenant.uuid(),
            upload.uuid()
        );
        let there = there.fetch_one(self.pool()).await?;
        if there { Ok(()) } else { Err(StoreError::not_found(upload)) }
    }

    /// In the order of rows. The upload came out of a query that took its tenant.
    pub fn upload_problems(
        &self,
        upload: UploadId,
    ) -> impl Stream<Item = StoreResult<ProblemRow>> + Send + '_ {
        sqlx::query_as(PROBLEMS).bind(upload.uuid()).fetch(self.pool()).map(|row| Ok(row?))
    }
}

const PROBLEMS: &str = "select row_no, field, value, reason, refused from upload_problems where upload_id = $1 order by row_no, field";

async fn upload_by_hash(
    connection: &mut PgConnection,
    tenant: TenantId,
    sha256: &[u8; 32],
) -> StoreResult<Option<(UploadId, Timestamp)>> {
    let found = sqlx::query!(
        r#"select id, created_at as "created_at: jiff_sqlx::Timestamp" from uploads
           where tenant_id = $1 and sha256 = $2 and state = 'completed' order by created_at desc limit 1"#,
        tenant.uuid(),
        sha256.as_slice()
    );
    let found = found.fetch_optional(connection).await?;
    Ok(found.map(|row| (row.id.into(), row.created_at.to_jiff())))
}

/// What is known of an upload before it is merged.
#[derive(Debug)]
pub(crate) struct UploadFacts<'a> {
    pub(crate) home: Home<'a>,
    /// Under which the upload's row was claimed; none where there is no row yet.
    pub(crate) claim: Option<i32>,
    pub(crate) file_name: &'a str,
    pub(crate) sha256: &'a [u8; 32],
    pub(crate) bytes: u64,
    pub(crate) format: &'a str,
    pub(crate) mapping: Value,
    pub(crate) rows_read: u64,
    /// By the parser; repeated rows come on top.
    pub(crate) rows_refused: u64,
    /// Attributes in which two rows of one reference should agree.
    pub(crate) facts: &'a [String],
    /// The header of the reference.
    pub(crate) reference: &'a str,
}

/// What merging did.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) rows_taken: u64,
    pub(crate) rows_refused: u64,
    pub(crate) contacts_created: u64,
    pub(crate) contacts_updated: u64,
    pub(crate) reasons: Vec<ReasonCount>,
}

/// A file on its way in: one transaction on a connection that nobody else will ever use.
#[derive(Debug)]
pub(crate) struct Staging {
    connection: PgConnection,
    /// Rows that went straight to their tables.
    rows_straight: u64,
}

impl Staging {
    pub(crate) async fn begin(store: &Store) -> StoreResult<Self> {
        // Not given back to the pool: a copy that is dropped half-way leaves a connection in no state to be reused.
        let mut connection = store.pool().acquire().await?.detach();
        for statement in SETTINGS.iter().chain(straight::TABLES).chain(TABLES) {
            sqlx::query(*statement).execute(&mut connection).await?;
        }
        Ok(Self { connection, rows_straight: 0 })
    }

    /// Takes rows in, in the order of the file, and what was wrong with them. [`Self::lock_tenant`] comes first.
    pub(crate) async fn take(
        &mut self,
        home: &Home<'_>,
        route: Route,
        rows: &[StagedRow],
        problems: &Lines,
    ) -> StoreResult<()> {
        self.rows_straight += straight::take(&mut self.connection, home, route, rows).await?;
        straight::copy_problems(&mut self.connection, problems).await
    }

    pub(crate) async fn route(&mut self, tenant: TenantId) -> StoreResult<Route> {
        straight::route(&mut self.connection, tenant).await
    }

    /// Waits until no other import of the tenant writes, and looks for the same bytes again: one may just have ended.
    pub(crate) async fn lock_tenant(
        &mut self,
        tenant: TenantId,
        sha256: &[u8; 32],
    ) -> StoreResult<Option<(UploadId, Timestamp)>> {
        // This strength lets everybody else insert rows that refer to the tenant.
        let lock = sqlx::query!("select id from tenants where id = $1 for no key update", tenant.uuid());
        lock.fetch_one(&mut self.connection).await?;
        upload_by_hash(&mut self.connection, tenant, sha256).await
    }

    pub(crate) async fn merge(&mut self, facts: &UploadFacts<'_>) -> StoreResult<Merged> {
        let connection = &mut self.connection;
        let straight = self.rows_straight - straight::take_back(connection, &facts.home).await?;
        sqlx::query("analyze import_rows").execute(&mut *connection).await?;
        sqlx::query(FIND_SEVERAL).execute(&mut *connection).await?;
        sqlx::query("analyze import_several").execute(&mut *connection).await?;
        let repeats =
            sqlx::query(FIND_REPEATS).bind(facts.facts).execute(&mut *connection).await?.rows_affected();
        sqlx::query("analyze import_repeats").execute(&mut *connection).await?;
        sqlx::query(FIND_PEOPLE).execute(&mut *connection).await?;
        sqlx::query("analyze import_people").execute(&mut *connection).await?;
        let merged = merge::merge_people(connection, &facts.home).await?;
        let rows_refused = facts.rows_refused + repeats;
        let mut merged = Merged {
            rows_taken: facts.rows_read - rows_refused,
            rows_refused,
            contacts_created: straight + merged.created,
            contacts_updated: merged.updated,
            reasons: Vec::new(),
        };
        insert_upload(connection, facts, &merged).await?;
        insert_rows(connection, facts, merged.rows_taken - straight).await?;
        merged.reasons = insert_problems(connection, facts).await?;
        Ok(merged)
    }

    /// What [`Self::merge`] found wrong, in the order of rows.
    pub(crate) fn problems(
        &mut self,
        upload: UploadId,
    ) -> impl Stream<Item = StoreResult<ProblemRow>> + Send + '_ {
        sqlx::query_as(PROBLEMS).bind(upload.uuid()).fetch(&mut self.connection).map(|row| Ok(row?))
    }

    /// Notes the deed in the transaction that does it.
    pub(crate) async fn note(&mut self, deed: &audit::Deed) -> StoreResult<()> {
        audit::append(&mut self.connection, deed).await
    }

    pub(crate) async fn commit(mut self) -> StoreResult<()> {
        sqlx::query("commit").execute(&mut self.connection).await?;
        // New words wait in a list that every search reads whole, until the index takes them in. It would by itself, in a minute.
        let taken_in = sqlx::query("select gin_clean_pending_list('contacts_by_words')");
        if let Err(error) = taken_in.execute(&mut self.connection).await {
            tracing::debug!(%error, "the index of words takes in what is new later");
        }
        // It is committed, whatever becomes of the connection.
        let _ = self.connection.close().await;
        Ok(())
    }
}

async fn insert_upload(
    connection: &mut PgConnection,
    facts: &UploadFacts<'_>,
    merged: &Merged,
) -> StoreResult<()> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let insert = sqlx::query!(
        "insert into uploads as known (id, tenant_id, file_name, sha256, bytes, format, mapping, rows_read, rows_taken,
                                       rows_refused, contacts_created, contacts_updated, started_at, finished_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now(), clock_timestamp())
         on conflict (id) do update
             set state = 'completed', format = excluded.format, mapping = excluded.mapping, rows_read = excluded.rows_read,
                 rows_taken = excluded.rows_taken, rows_refused = excluded.rows_refused,
                 contacts_created = excluded.contacts_created, contacts_updated = excluded.contacts_updated,
                 finished_at = excluded.finished_at, claimed_by = null, claimed_until = null
             where known.tenant_id = $2 and known.state = 'processing' and known.claim = $13",
        facts.home.upload.uuid(),
        facts.home.tenant.uuid(),
        facts.file_name,
        facts.sha256.as_slice(),
        count(facts.bytes),
        facts.format,
        facts.mapping,
        count(facts.rows_read),
        count(merged.rows_taken),
        count(merged.rows_refused),
        count(merged.contacts_created),
        count(merged.contacts_updated),
        facts.claim,
    );
    match insert.execute(connection).await?.rows_affected() {
        1 => Ok(()),
        // Somebody else has claimed the file meanwhile: this import is not committed.
        _ => Err(StoreError::Superseded("take_files")),
    }
}

/// Every row that was not refused must find its contact; if one does not, the import is not committed.
async fn insert_rows(
    connection: &mut PgConnection,
    facts: &UploadFacts<'_>,
    expected: u64,
) -> StoreResult<()> {
    let mut inserted = 0;
    for insert in [ROWS_BY_EMAIL, ROWS_BY_PHONE] {
        let query = sqlx::query(insert).bind(facts.home.upload.uuid()).bind(facts.home.tenant.uuid());
        inserted += query.execute(&mut *connection).await?.rows_affected();
    }
    if inserted == expected {
        return Ok(());
    }
    Err(StoreError::Conflict(format!(
        "{} of {expected} rows lost their contact while the file was taken: import it again",
        expected.abs_diff(inserted)
    )))
}

async fn insert_problems(
    connection: &mut PgConnection,
    facts: &UploadFacts<'_>,
) -> StoreResult<Vec<ReasonCount>> {
    sqlx::query(REFUSE_REPEATS).execute(&mut *connection).await?;
    sqlx::query(PROBLEMS_OF_REPEATS).bind(facts.reference).execute(&mut *connection).await?;
    sqlx::query(INSERT_PROBLEMS).bind(facts.home.upload.uuid()).execute(&mut *connection).await?;
    let reasons: Vec<(String, String, i64, i64)> =
        sqlx::query_as(COUNT_REASONS).fetch_all(connection).await?;
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(reasons
        .into_iter()
        .map(|(field, reason, refused, left_out)| ReasonCount {
            field,
            reason,
            refused: count(refused),
            left_out: count(left_out),
        })
        .collect())
}

const SETTINGS: &[&str] = &[
    "begin",
    // The joins of a million rows fit; the connection ends with the import.
    "set local work_mem = '64MB'",
    "set local temp_buffers = '64MB'",
];

const TABLES: &[&str] = &[
    "create temporary table import_several (person text not null) on commit drop",
    "create temporary table import_repeats (row_no bigint not null, first_row bigint not null, differs text) on commit drop",
    "create temporary table import_people (
        first_row bigint not null, candidate uuid not null, email text, phone text, name text, locale text,
        time_zone text, person jsonb not null
     ) on commit drop",
    "create temporary table import_problems (
        row_no bigint not null, field text not null, value text not null, reason text not null, rule text not null,
        refused boolean not null
     ) on commit drop",
];

/// Who has more than one row. Most have one, and need no grouping and no sorting.
const FIND_SEVERAL: &str = "
    insert into import_several (person)
    select coalesce(email, phone) from import_rows group by 1 having count(*) > 1";

/// Later rows with the reference of an earlier row of the same person, and the facts in which the two disagree.
const FIND_REPEATS: &str = "
    insert into import_repeats (row_no, first_row, differs)
    with repeated as (
        select several.person, reference, min(row_no) as first_row
        from import_rows r
        join import_several several on several.person = coalesce(r.email, r.phone)
        where reference is not null
        group by several.person, reference
        having count(*) > 1
    )
    select later.row_no, repeated.first_row, (
        select string_agg(fact, ', ' order by fact)
        from unnest($1::text[]) fact
        where later.attributes -> fact is distinct from first.attributes -> fact
    )
    from repeated
    join import_rows later on coalesce(later.email, later.phone) = repeated.person
         and later.reference = repeated.reference and later.row_no > repeated.first_row
    join import_rows first on first.row_no = repeated.first_row";

/// One line a person; of several rows the last that says something holds.
const FIND_PEOPLE: &str = "
    insert into import_people (first_row, candidate, email, phone, name, locale, time_zone, person)
    select row_no, candidate, email, phone, name, locale, time_zone, r.person
    from import_rows r
    where not exists (select from import_several several where several.person = coalesce(r.email, r.phone))
    union all
    select min(row_no), (array_agg(candidate order by row_no))[1], email,
           (array_agg(phone order by row_no desc) filter (where phone is not null))[1],
           (array_agg(name order by row_no desc) filter (where name is not null))[1],
           (array_agg(locale order by row_no desc) filter (where locale is not null))[1],
           (array_agg(time_zone order by row_no desc) filter (where time_zone is not null))[1],
           coalesce((array_agg(r.person order by row_no desc) filter (where r.person <> '{}'))[1], '{}')
    from import_rows r
    join import_several several on several.person = coalesce(r.email, r.phone)
    where not exists (select from import_repeats repeat where repeat.row_no = r.row_no)
    group by several.person, email";

const ROWS_BY_EMAIL: &str = "
    insert into upload_rows (upload_id, time_zone, contact_id, row_no, attributes)
    select $1, c.time_zone, c.id, r.row_no, r.attributes
    from import_rows r
    join contacts c on c.tenant_id = $2 and c.email = r.email
    where r.email is not null
      and not exists (select from import_repeats repeat where repeat.row_no = r.row_no)
    order by c.time_zone, c.id, r.row_no";

const ROWS_BY_PHONE: &str = "
    insert into upload_rows (upload_id, time_zone, contact_id, row_no, attributes)
    select $1, c.time_zone, c.id, r.row_no, r.attributes
    from import_rows r
    join contacts c on c.tenant_id = $2 and c.email is null and c.phone = r.phone
    where r.email is null
      and not exists (select from import_repeats repeat where repeat.row_no = r.row_no)
    order by c.time_zone, c.id, r.row_no";

const REFUSE_REPEATS: &str = "
    update import_problems p set refused = true
    from import_repeats repeat where repeat.row_no = p.row_no";

const PROBLEMS_OF_REPEATS: &str = "
    insert into import_problems (row_no, field, value, reason, rule, refused)
    select repeat.row_no, $1, r.attributes ->> 'reference',
           'the same reference for the same contact as in row ' || repeat.first_row
               || coalesce(', but with another ' || repeat.differs || ': check which is right', ''),
           'the same reference for the same contact as in an earlier row'
               || case when repeat.differs is null then '' else ', with other figures' end,
           true
    from import_repeats repeat
    join import_rows r on r.row_no = repeat.row_no";

const INSERT_PROBLEMS: &str = "
    insert into upload_problems (upload_id, row_no, field, value, reason, refused)
    select $1, row_no, field, value, reason, refused from import_problems";

const COUNT_REASONS: &str = "
    select field, rule, count(*) filter (where refused), count(*) filter (where not refused)
    from import_problems group by field, rule order by count(*) desc, field, rule";
