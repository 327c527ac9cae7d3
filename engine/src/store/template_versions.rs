//! Versions of templates. A draft may change; a published version never does, and is what is sent. Both share their numbers,
//! which count within a template's language.
//!
//! Whoever writes here holds the template's lock ([`super::templates::lock`]), so numbers are given one after the other.

use fanfare_templates::{Notation, Published, Source};
use jiff::Timestamp;
use sqlx::{PgConnection, types::Json};

use super::{StoreError, StoreResult, listing::Way};
use crate::id::{TemplateId, TemplateVersionId};

#[derive(Debug, Clone)]
pub struct Version {
    pub locale: String,
    pub version: i32,
    /// Handlebars, whatever the notation is.
    pub source: Source,
    pub notation: Notation,
    /// As declared, else those that the texts use.
    pub variables: Vec<String>,
    /// Never, of a draft.
    pub published_at: Option<Timestamp>,
    pub updated_at: Timestamp,
}

/// A version without its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionLine {
    pub locale: String,
    pub version: i32,
    pub published_at: Option<Timestamp>,
    pub updated_at: Timestamp,
}

/// What is said of a version beside its texts.
#[derive(Debug, Clone)]
pub struct Manner<'a> {
    pub locale: &'a str,
    pub notation: Notation,
    /// Without them, those that the texts use are shown.
    pub variables: Option<&'a [String]>,
}

pub(super) struct Row {
    pub(super) locale: String,
    pub(super) version: i32,
    pub(super) source: Json<Source>,
    pub(super) notation: String,
    pub(super) variables: Vec<String>,
    pub(super) published_at: Option<jiff_sqlx::Timestamp>,
    pub(super) updated_at: jiff_sqlx::Timestamp,
}

impl Row {
    pub(super) fn into_version(self) -> StoreResult<Version> {
        Ok(Version {
            locale: self.locale,
            version: self.version,
            source: self.source.0,
            notation: self.notation.parse().map_err(StoreError::Corrupt)?,
            variables: self.variables,
            published_at: self.published_at.map(jiff_sqlx::Timestamp::to_jiff),
            updated_at: self.updated_at.to_jiff(),
        })
    }
}

/// The language that is meant where none is said: the tenant's, unless the template has others only.
pub async fn usual_locale(tx: &mut PgConnection, template: TemplateId) -> StoreResult<String> {
    let locale = sqlx::query_scalar!(
        r#"select coalesce(
               (select h.locale from template_history h where h.template_id = t.id
                order by h.locale = n.locale desc, h.locale = split_part(n.locale, '-', 1) desc, h.locale limit 1),
               n.locale) as "locale!"
           from templates t join tenants n on n.id = t.tenant_id where t.id = $1"#,
        template.uuid(),
    );
    locale.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(template))
}

/// A part of the versions by number; of one number each way, the locales go the other.
pub async fn list(
    tx: &mut PgConnection,
    template: TemplateId,
    way: Way,
    after: Option<(i32, &str)>,
    (offset, limit): (i64, i64),
) -> StoreResult<Vec<VersionLine>> {
    struct Line {
        locale: String,
        version: i32,
        published_at: Option<jiff_sqlx::Timestamp>,
        updated_at: jiff_sqlx::Timestamp,
    }
    macro_rules! page {
        ($after:literal, $order:literal) => {
            sqlx::query_as!(
                Line,
                r#"select locale as "locale!", version as "version!", published_at as "published_at: _",
                          updated_at as "updated_at!: _"
                   from template_history
                   where template_id = $1 and ($2::integer is null or "#
                    + $after
                    + ") order by "
                    + $order
                    + " limit $4 offset $5",
                template.uuid(),
                after.map(|(version, _)| version),
                after.map(|(_, locale)| locale),
                limit,
                offset,
            )
            .fetch_all(tx)
            .await?
        };
    }
    let lines = match way {
        Way::Up => page!("version > $2 or (version = $2 and locale < $3)", "version, locale desc"),
        Way::Down => page!("version < $2 or (version = $2 and locale > $3)", "version desc, locale"),
    };
    let line = |line: Line| VersionLine {
        locale: line.locale,
        version: line.version,
        published_at: line.published_at.map(jiff_sqlx::Timestamp::to_jiff),
        updated_at: line.updated_at.to_jiff(),
    };
    Ok(lines.into_iter().map(line).collect())
}

pub async fn count(tx: &mut PgConnection, template: TemplateId) -> StoreResult<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from template_history where template_id = $1"#,
        template.uuid()
    );
    Ok(count.fetch_one(tx).await?)
}

/// One version; without a number the newest published one, else the newest draft.
pub async fn get(
    tx: &mut PgConnection,
    template: TemplateId,
    locale: &str,
    number: Option<i32>,
) -> StoreResult<Version> {
    let row = sqlx::query_as!(
        Row,
        r#"select locale as "locale!", version as "version!", source as "source!: _", notation as "notation!",
                  variables as "variables!", published_at as "published_at: _", updated_at as "updated_at!: _"
           from template_history
           where template_id = $1 and locale = $2 and ($3::integer is null or version = $3)
           order by published_at is null, version desc limit 1"#,
        template.uuid(),
        locale,
        number,
    );
    row.fetch_optional(tx)
        .await?
        .ok_or_else(|| StoreError::not_found("this version of the template"))?
        .into_version()
}

/// What is sent of a version; `None` of a draft.
pub async fn published(
    tx: &mut PgConnection,
    template: TemplateId,
    locale: &str,
    number: i32,
) -> StoreResult<Option<Published>> {
    let published = sqlx::query_scalar!(
        r#"select published as "published: Json<Published>" from template_versions
           where template_id = $1 and locale = $2 and version = $3"#,
        template.uuid(),
        locale,
        number,
    );
    Ok(published.fetch_optional(tx).await?.map(|json| json.0))
}

/// Publishes the next version.
pub async fn publish_next(
    tx: &mut PgConnection,
    template: TemplateId,
    id: TemplateVersionId,
    manner: &Manner<'_>,
    published: &Published,
) -> StoreResult<i32> {
    let number = sqlx::query_scalar!(
        "insert into template_versions (id, template_id, locale, version, published, notation, variables)
         select $1, $2, $3, coalesce(max(version), 0) + 1, $4, $5, $6 from template_history
         where template_id = $2 and locale = $3
         returning version",
        id.uuid(),
        template.uuid(),
        manner.locale,
        Json(published) as _,
        manner.notation.as_str(),
        manner.variables as _,
    );
    Ok(number.fetch_one(tx).await?)
}

/// Keeps the next version as a draft.
pub async fn draft_next(
    tx: &mut PgConnection,
    template: TemplateId,
    manner: &Manner<'_>,
    source: &Source,
) -> StoreResult<i32> {
    let number = sqlx::query_scalar!(
        "insert into template_drafts (template_id, locale, version, source, notation, variables)
         select $1, $2, coalesce(max(version), 0) + 1, $3, $4, coalesce($5::text[], '{}') from template_history
         where template_id = $1 and locale = $2
         returning version",
        template.uuid(),
        manner.locale,
        Json(source) as _,
        manner.notation.as_str(),
        manner.variables as _,
    );
    Ok(number.fetch_one(tx).await?)
}

/// Changes a draft; what is published stays as it is.
pub async fn change_draft(
    tx: &mut PgConnection,
    template: TemplateId,
    number: i32,
    manner: &Manner<'_>,
    source: &Source,
) -> StoreResult<()> {
    let changed = sqlx::query!(
        "update template_drafts set source = $4, notation = $5, variables = coalesce($6::text[], '{}'), updated_at = clock_timestamp()
         where template_id = $1 and locale = $2 and version = $3",
        template.uuid(),
        manner.locale,
        number,
        Json(source) as _,
        manner.notation.as_str(),
        manner.variables as _,
    );
    was_draft(changed.execute(tx).await?.rows_affected(), number)
}

/// Makes a draft the version that is sent from now on.
pub async fn publish_draft(
    tx: &mut PgConnection,
    template: TemplateId,
    draft: &Version,
    id: TemplateVersionId,
    published: &Published,
) -> StoreResult<()> {
    let newer = sqlx::query_scalar!(
        "select max(version) from template_versions where template_id = $1 and locale = $2 and version > $3",
        template.uuid(),
        draft.locale,
        draft.version,
    );
    if let Some(newer) = newer.fetch_one(&mut *tx).await? {
        // Its number says which is newer, and what somebody published meanwhile must not go unnoticed.
        let sentence = format!(
            "version {newer} has been published since this draft was made: compare them, and send a new version"
        );
        return Err(StoreError::Conflict(sentence));
    }
    discard_draft(&mut *tx, template, &draft.locale, draft.version).await?;
    sqlx::query!(
        "insert into template_versions (id, template_id, locale, version, published, notation, variables)
         values ($1, $2, $3, $4, $5, $6, $7)",
        id.uuid(),
        template.uuid(),
        draft.locale,
        draft.version,
        Json(published) as _,
        draft.notation.as_str(),
        &draft.variables,
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn discard_draft(
    tx: &mut PgConnection,
    template: TemplateId,
    locale: &str,
    number: i32,
) -> StoreResult<()> {
    let gone = sqlx::query!(
        "delete from template_drafts where template_id = $1 and locale = $2 and version = $3",
        template.uuid(),
        locale,
        number,
    );
    was_draft(gone.execute(tx).await?.rows_affected(), number)
}

fn was_draft(rows: u64, number: i32) -> StoreResult<()> {
    if rows == 0 {
        return Err(StoreError::Conflict(format!(
            "version {number} is published, and stays as it is: send a new version"
        )));
    }
    Ok(())
}
