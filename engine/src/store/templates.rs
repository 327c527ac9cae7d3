//! Templates and their immutable published versions.

use std::collections::BTreeSet;

use fanfare_templates::Published;

use super::{Store, StoreError, StoreResult, tenants::Tenant};
use crate::{
    domain::channel::{Channel, MessageClass},
    id::{Ids, TemplateId, TemplateVersionId, TenantId},
};

#[derive(Debug, Clone)]
pub struct Template {
    pub id: TemplateId,
    pub slug: String,
    pub channel: Channel,
    pub class: MessageClass,
    pub name: String,
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
               on conflict (tenant_id, slug, channel) do update set name = excluded.name
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
        let version: TemplateVersionId = ids.next(now);
        let number = sqlx::query_scalar!(
            r#"insert into template_versions (id, template_id, locale, version, published)
               select $1, $2, $3, coalesce(max(version), 0) + 1, $4 from template_versions
               where template_id = $2 and locale = $3
               returning version"#,
            version.uuid(),
            row.id,
            locale,
            sqlx::types::Json(published) as _,
        )
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok((row.id.into(), number))
    }

    /// By its id, or by its slug, in which `_` counts as `-`.
    pub async fn template(&self, tenant: TenantId, name: &str, channel: Channel) -> StoreResult<Template> {
        let id = name.parse::<TemplateId>().ok();
        sqlx::query_as!(
            Template,
            r#"select id, slug, channel as "channel: _", class as "class: _", name from templates
               where tenant_id = $1 and (slug = $2 or id = $4) and channel = $3 and not written"#,
            tenant.uuid(),
            name.replace('_', "-"),
            channel.as_str(),
            id.map(|id| id.uuid()) as _,
        )
        .fetch_optional(self.pool())
        .await?
        .ok_or_else(|| {
            StoreError::not_found(format!(
                "template `{name}` for {channel}; `fanfare template publish` makes it, and"
            ))
        })
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
        let template = sqlx::query_as!(
            Template,
            r#"select id, slug, channel as "channel: _", class as "class: _", name from templates
               where tenant_id = $1 and slug = $2 and channel = $3 and written"#,
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
