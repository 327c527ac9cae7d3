//! Templates: what they are called and whether they are in use, and what of them workers send. Their versions as people edit
//! them are in [`super::template_versions`], the list that people read in [`super::template_list`].

use std::collections::BTreeSet;

use fanfare_templates::{Notation, Published};
use jiff::Timestamp;
use sqlx::PgConnection;

use super::{
    Store, StoreError, StoreResult,
    template_versions::{self, Manner},
    tenants::Tenant,
};
use crate::{
    domain::{
        channel::{Channel, MessageClass},
        slug::is_slug,
    },
    id::{Ids, TemplateId, TemplateVersionId, TenantId},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub id: TemplateId,
    pub slug: String,
    pub channel: Channel,
    pub class: MessageClass,
    pub name: String,
    /// Otherwise nothing new is sent with it.
    pub active: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

pub(super) struct Row {
    pub(super) id: uuid::Uuid,
    pub(super) slug: String,
    pub(super) channel: Channel,
    pub(super) class: MessageClass,
    pub(super) name: String,
    pub(super) active: bool,
    pub(super) created_at: jiff_sqlx::Timestamp,
    pub(super) updated_at: jiff_sqlx::Timestamp,
}

impl From<Row> for Template {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            slug: row.slug,
            channel: row.channel,
            class: row.class,
            name: row.name,
            active: row.active,
            created_at: row.created_at.to_jiff(),
            updated_at: row.updated_at.to_jiff(),
        }
    }
}

/// What a publish states about the template beside the content.
#[derive(Debug, Clone)]
pub struct TemplateHead<'a> {
    pub slug: &'a str,
    pub channel: Channel,
    pub class: MessageClass,
    pub name: &'a str,
}

/// What messages that are written whole bear, as it is made where it is missing.
#[derive(Debug, Clone, Copy)]
pub struct WrittenTemplate {
    pub template: TemplateId,
    pub version: TemplateVersionId,
    pub channel: Channel,
    pub class: MessageClass,
}

/// The newest published version of a locale.
#[derive(Debug, Clone)]
pub struct Variant {
    pub id: TemplateVersionId,
    pub locale: String,
    pub version: i32,
    pub published: Published,
}

struct VariantRow {
    id: uuid::Uuid,
    locale: String,
    version: i32,
    published: sqlx::types::Json<Published>,
}

impl From<VariantRow> for Variant {
    fn from(row: VariantRow) -> Self {
        Self { id: row.id.into(), locale: row.locale, version: row.version, published: row.published.0 }
    }
}

/// The variables that any of these variants uses.
pub fn variables(variants: &[Variant]) -> BTreeSet<String> {
    variants.iter().flat_map(|variant| variant.published.variables().all().map(str::to_owned)).collect()
}

impl Store {
    /// Publishes the next version of a template's locale; makes the template when there is none of that name.
    pub async fn publish_template(
        &self,
        ids: &Ids,
        tenant: TenantId,
        head: &TemplateHead<'_>,
        locale: &str,
        published: &Published,
    ) -> StoreResult<(TemplateId, i32)> {
        let now = self.now().await?;
        let mut tx = self.begin().await?;
        let new: TemplateId = ids.next(now);
        // The update locks the row, so that two publishers of one template take turns.
        let row = sqlx::query!(
            r#"insert into templates (id, tenant_id, slug, channel, class, name) values ($1, $2, $3, $4, $5, $6)
               on conflict (tenant_id, slug, channel) do update set name = excluded.name, updated_at = clock_timestamp()
               returning id, class as "class: MessageClass""#,
            new.uuid(),
            tenant.uuid(),
            head.slug,
            head.channel.as_str(),
            head.class.as_str(),
            head.name,
        )
        .fetch_one(&mut *tx)
        .await?;
        if row.class != head.class {
            return Err(StoreError::Conflict(format!(
                "template `{}` is of class {}; publish {} content under another name",
                head.slug, row.class, head.class
            )));
        }
        let manner = Manner { locale, notation: Notation::Handlebars, variables: None };
        let number =
            template_versions::publish_next(&mut tx, row.id.into(), ids.next(now), &manner, published)
                .await?;
        tx.commit().await?;
        Ok((row.id.into(), number))
    }

    pub async fn template(&self, tenant: TenantId, name: &str, channel: Channel) -> StoreResult<Template> {
        let mut connection = self.pool().acquire().await?;
        named(&mut connection, tenant, name, channel).await?.ok_or_else(|| {
            StoreError::not_found(format!(
                "template `{name}` for {channel}; `fanfare template publish` makes it, and"
            ))
        })
    }

    /// Whether anything new may be sent with a template.
    pub async fn template_is_active(&self, template: TemplateId) -> StoreResult<bool> {
        let active = sqlx::query_scalar!("select active from templates where id = $1", template.uuid());
        active.fetch_optional(self.pool()).await?.ok_or_else(|| StoreError::not_found(template))
    }

    /// The template that messages of a channel and class bear which their senders wrote whole, made when it is missing.
    /// Whatever else is published under its name, it is its first version that counts.
    pub async fn written_template(
        &self,
        tenant: &Tenant,
        new: WrittenTemplate,
        published: &Published,
    ) -> StoreResult<(Template, Variant)> {
        let slug = format!("as-written-{}", new.class);
        let mut tx = self.begin().await?;
        sqlx::query!(
            "insert into templates (id, tenant_id, slug, channel, class, name, written) values ($1, $2, $3, $4, $5, $6, true)
             on conflict (tenant_id, slug, channel) do nothing",
            new.template.uuid(),
            tenant.id.uuid(),
            slug,
            new.channel.as_str(),
            new.class.as_str(),
            "As their senders wrote them",
        )
        .execute(&mut *tx)
        .await?;
        let row = sqlx::query_as!(
            Row,
            r#"select id, slug, channel as "channel: _", class as "class: _", name, active,
                      created_at as "created_at: _", updated_at as "updated_at: _"
               from templates where tenant_id = $1 and slug = $2 and channel = $3 and written"#,
            tenant.id.uuid(),
            slug,
            new.channel.as_str(),
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| {
            StoreError::Conflict(format!(
                "template `{slug}` bears a name that is needed here: give it another"
            ))
        })?;
        let template = Template::from(row);
        sqlx::query!(
            "insert into template_versions (id, template_id, locale, version, published)
             select $1, $2, $3, 1, $4 where not exists (select from template_versions where template_id = $2 and version = 1)
             on conflict (template_id, locale, version) do nothing",
            new.version.uuid(),
            template.id.uuid(),
            tenant.locale,
            sqlx::types::Json(published) as _,
        )
        .execute(&mut *tx)
        .await?;
        let variant = sqlx::query_as!(
            VariantRow,
            r#"select id, locale, version, published as "published: _" from template_versions
               where template_id = $1 and version = 1 order by published_at limit 1"#,
            template.id.uuid(),
        )
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok((template, variant.into()))
    }

    /// The newest version of every locale, `first` and its language before the others: who has no variant gets the first.
    pub async fn variants(&self, template: TemplateId, first: &str) -> StoreResult<Vec<Variant>> {
        let language = first.split('-').next().unwrap_or(first);
        let rows = sqlx::query_as!(
            VariantRow,
            r#"select distinct on (locale = $2, locale = $3, locale) id, locale, version, published as "published: _"
               from template_versions where template_id = $1
               order by locale = $2 desc, locale = $3 desc, locale, version desc"#,
            template.uuid(),
            first,
            language,
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(Variant::from).collect())
    }

    pub async fn published(&self, versions: &[TemplateVersionId]) -> StoreResult<Vec<Variant>> {
        let ids: Vec<uuid::Uuid> = versions.iter().map(|id| id.uuid()).collect();
        let rows = sqlx::query_as!(
            VariantRow,
            r#"select v.id, v.locale, v.version, v.published as "published: _"
               from unnest($1::uuid[]) with ordinality as wanted (id, at)
               join template_versions v using (id) order by wanted.at"#,
            &ids,
        )
        .fetch_all(self.pool())
        .await?;
        if rows.len() != versions.len() {
            return Err(StoreError::Corrupt("a pinned template version is gone".to_owned()));
        }
        Ok(rows.into_iter().map(Variant::from).collect())
    }
}

/// The template under its lock: of two who edit it or its versions, one sees what the other did.
pub async fn lock(tx: &mut PgConnection, tenant: TenantId, id: TemplateId) -> StoreResult<Template> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, slug, channel as "channel: _", class as "class: _", name, active,
                  created_at as "created_at: _", updated_at as "updated_at: _"
           from templates where tenant_id = $1 and id = $2 and not written for no key update"#,
        tenant.uuid(),
        id.uuid(),
    );
    Ok(row.fetch_optional(tx).await?.ok_or_else(|| StoreError::not_found(id))?.into())
}

/// The tenant's template for a channel: by its id, or by its slug, in which `_` counts as `-`. Whoever can choose a slug can make
/// it look like another's id, so a text that is an id is no slug.
pub async fn named(
    tx: &mut PgConnection,
    tenant: TenantId,
    name: &str,
    channel: Channel,
) -> StoreResult<Option<Template>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, slug, channel as "channel: _", class as "class: _", name, active,
                  created_at as "created_at: _", updated_at as "updated_at: _"
           from templates where tenant_id = $1 and (id = $4 or ($4::uuid is null and slug = $2)) and channel = $3 and not written"#,
        tenant.uuid(),
        name.replace('_', "-"),
        channel.as_str(),
        name.parse::<TemplateId>().ok().map(|id| id.uuid()) as _,
    );
    Ok(row.fetch_optional(tx).await?.map(Template::from))
}

/// The template that somebody means: by its id, or by its slug, in which `_` counts as `-`. A slug is unique within a channel
/// only; where no channel is known and several have it, the answer says so.
pub async fn resolve(
    tx: &mut PgConnection,
    tenant: TenantId,
    text: &str,
    channel: Option<Channel>,
) -> StoreResult<TemplateId> {
    let missing =
        || StoreError::not_found(format!("template `{}`", text.chars().take(64).collect::<String>()));
    let id = text.parse::<TemplateId>().ok();
    let slug = text.replace('_', "-");
    if id.is_none() && !is_slug(&slug) {
        return Err(missing());
    }
    let found = sqlx::query_scalar!(
        "select id from templates
         where tenant_id = $1 and not written and (id = $2 or ($2::uuid is null and slug = $3))
           and ($4::text is null or channel = $4)
         order by id limit 2",
        tenant.uuid(),
        id.map(|id| id.uuid()),
        slug,
        channel.map(Channel::as_str),
    )
    .fetch_all(tx)
    .await?;
    match found.as_slice() {
        [] => Err(missing()),
        [one] => Ok((*one).into()),
        _ => Err(StoreError::Conflict(format!("several channels have a template `{slug}`: give its id"))),
    }
}

/// Makes a template without any version; another of the same slug and channel is a conflict.
pub async fn create(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: TemplateId,
    head: &TemplateHead<'_>,
) -> StoreResult<()> {
    let made = sqlx::query!(
        "insert into templates (id, tenant_id, slug, channel, class, name) values ($1, $2, $3, $4, $5, $6)
         on conflict (tenant_id, slug, channel) do nothing",
        id.uuid(),
        tenant.uuid(),
        head.slug,
        head.channel.as_str(),
        head.class.as_str(),
        head.name,
    )
    .execute(tx)
    .await?;
    if made.rows_affected() == 0 {
        return Err(StoreError::Conflict(format!(
            "a template `{}` for {} exists already",
            head.slug, head.channel
        )));
    }
    Ok(())
}

/// This slug, or the first of `wanted-2`, `wanted-3`, … that nobody has.
pub async fn free_slug(
    tx: &mut PgConnection,
    tenant: TenantId,
    channel: Channel,
    wanted: &str,
) -> StoreResult<String> {
    let taken: BTreeSet<String> = sqlx::query_scalar!(
        "select slug from templates
         where tenant_id = $1 and channel = $2 and (slug = $3 or starts_with(slug, $3 || '-'))",
        tenant.uuid(),
        channel.as_str(),
        wanted,
    )
    .fetch_all(tx)
    .await?
    .into_iter()
    .collect();
    let numbered = (2_u32..).map(|n| format!("{wanted}-{n}"));
    let free = std::iter::once(wanted.to_owned()).chain(numbered).find(|slug| !taken.contains(slug));
    Ok(free.expect("there are more numbers than templates"))
}

pub async fn change(
    tx: &mut PgConnection,
    tenant: TenantId,
    id: TemplateId,
    name: &str,
    active: bool,
) -> StoreResult<()> {
    sqlx::query!(
        "update templates set name = $3, active = $4, updated_at = clock_timestamp() where tenant_id = $1 and id = $2",
        tenant.uuid(),
        id.uuid(),
        name,
        active,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Notes that a version was made or changed.
pub async fn touch(tx: &mut PgConnection, tenant: TenantId, id: TemplateId) -> StoreResult<()> {
    sqlx::query!(
        "update templates set updated_at = clock_timestamp() where tenant_id = $1 and id = $2",
        tenant.uuid(),
        id.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes a template that nothing was ever sent with, nor is about to be.
pub async fn delete(tx: &mut PgConnection, tenant: TenantId, id: TemplateId) -> StoreResult<()> {
    let used = sqlx::query_scalar!(
        r#"select exists (select from campaigns where tenant_id = $1 and template_id = $2) as "used!""#,
        tenant.uuid(),
        id.uuid(),
    );
    if used.fetch_one(&mut *tx).await? {
        return Err(in_use());
    }
    sqlx::query!("delete from template_versions where template_id = $1", id.uuid()).execute(&mut *tx).await?;
    let deleted =
        sqlx::query!("delete from templates where tenant_id = $1 and id = $2", tenant.uuid(), id.uuid());
    match deleted.execute(tx).await {
        Ok(_) => Ok(()),
        // Somebody has made a campaign of it since.
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => Err(in_use()),
        Err(error) => Err(error.into()),
    }
}

fn in_use() -> StoreError {
    let sentence = "campaigns were made with this template: set `active` to false, so that no new ones are";
    StoreError::Conflict(sentence.to_owned())
}
