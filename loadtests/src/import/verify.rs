//! Whether the rows are those of the file: everybody, field by field.

use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;

use super::file;
use crate::{people::Person, site};

/// All of it must be zero.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    /// People of the file who are no contact with a row of the upload.
    pub(super) missing: u64,
    /// Contacts with a field that is not that person's, or met before, or of nobody in the file.
    pub(super) wrong: u64,
    /// Contacts, and rows of uploads, beyond one for each person.
    pub(super) beyond: u64,
    /// Rows that were refused, and fields that were left out.
    pub(super) problems: u64,
}

impl Verdict {
    pub(super) fn is_clean(self) -> bool {
        self == Self::default()
    }
}

const FOUND: &str = "
    select jsonb_build_object('name', c.name, 'email', c.email, 'phone', c.phone, 'locale', c.locale,
                              'time_zone', c.time_zone, 'attributes', c.attributes,
                              'row_no', r.row_no, 'row_zone', r.time_zone, 'said', r.attributes)
    from contacts c
    join upload_rows r on r.contact_id = c.id
    join uploads u on u.id = r.upload_id and u.tenant_id = c.tenant_id";

const COUNTS: &str = "select (select count(*) from contacts), (select count(*) from upload_rows),
                             (select count(*) from upload_problems)";

pub(super) async fn verify(pool: &PgPool, rows: u64) -> anyhow::Result<Verdict> {
    let (contacts, taken, problems): (i64, i64, i64) = sqlx::query_as(COUNTS).fetch_one(pool).await?;
    let beyond = |count: i64| count.unsigned_abs().saturating_sub(rows);
    let mut verdict = Verdict {
        beyond: beyond(contacts) + beyond(taken),
        problems: problems.unsigned_abs(),
        ..Verdict::default()
    };
    let mut seen = vec![false; usize::try_from(rows)?];
    let bar = site::bar("checking contacts", rows);
    // What was just written is in no statistics: the plan of one round looked through all contacts for each row.
    sqlx::query("analyze contacts, upload_rows, uploads").execute(pool).await?;
    let mut found = sqlx::query_scalar::<_, Value>(FOUND).fetch(pool);
    while let Some(row) = found.try_next().await? {
        let person = row["email"].as_str().and_then(Person::of_address);
        let place = person.and_then(|person| seen.get_mut(usize::try_from(person.index()).ok()?));
        let right = match (person, place) {
            (Some(person), Some(seen)) => !std::mem::replace(seen, true) && file::expected(person) == row,
            _ => false,
        };
        if !right && verdict.wrong == 0 {
            eprintln!("  a contact that is not as in the file: {row}");
        }
        verdict.wrong += u64::from(!right);
        bar.inc(1);
    }
    bar.finish();
    verdict.missing = seen.iter().filter(|&&seen| !seen).count() as u64;
    Ok(verdict)
}
