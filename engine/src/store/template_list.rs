//! The templates of a tenant as people read them: each with the version that they mean when they speak of it.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::{
    StoreError, StoreResult,
    listing::{Order, Part, Way},
    template_versions::{Row as VersionRow, Version},
    templates::{Row, Template},
};
use crate::{
    domain::channel::{Channel, MessageClass},
    id::{TemplateId, TenantId},
};

/// A template with the version that people mean when they speak of it: the newest published one in the tenant's language,
/// else the newest draft.
#[derive(Debug, Clone)]
pub struct Shown {
    pub template: Template,
    pub newest: Option<Version>,
}

/// Which templates of a tenant.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub id: Option<TemplateId>,
    /// Of any of these channels.
    pub channels: Option<Vec<Channel>>,
    pub active: Option<bool>,
}

impl Filter {
    fn channels(&self) -> Option<Vec<String>> {
        self.channels.as_ref().map(|channels| channels.iter().map(ToString::to_string).collect())
    }
}

/// What a list of templates is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Name,
    CreatedAt,
}

/// The last template of a page, as far as any order goes by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    id: TemplateId,
    name: String,
    created_at: Timestamp,
}

impl Shown {
    pub fn place(&self) -> Place {
        let template = &self.template;
        Place { id: template.id, name: template.name.clone(), created_at: template.created_at }
    }
}

struct ShownRow {
    id: uuid::Uuid,
    slug: String,
    channel: Channel,
    class: MessageClass,
    name: String,
    active: bool,
    created_at: jiff_sqlx::Timestamp,
    updated_at: jiff_sqlx::Timestamp,
    locale: Option<String>,
    version: Option<i32>,
    source: Option<sqlx::types::Json<fanfare_templates::Source>>,
    notation: Option<String>,
    variables: Option<Vec<String>>,
    published_at: Option<jiff_sqlx::Timestamp>,
    changed_at: Option<jiff_sqlx::Timestamp>,
}

impl ShownRow {
    fn into_shown(self) -> StoreResult<Shown> {
        let version = (|| {
            Some(VersionRow {
                locale: self.locale?,
                version: self.version?,
                source: self.source?,
                notation: self.notation?,
                variables: self.variables?,
                published_at: self.published_at,
                updated_at: self.changed_at?,
            })
        })();
        let template = Row {
            id: self.id,
            slug: self.slug,
            channel: self.channel,
            class: self.class,
            name: self.name,
            active: self.active,
            created_at: self.created_at,
            updated_at: self.updated_at,
        };
        Ok(Shown { template: template.into(), newest: version.map(VersionRow::into_version).transpose()? })
    }
}

/// A part of the templates.
pub async fn list(
    tx: &mut PgConnection,
    tenant: TenantId,
    filter: &Filter,
    order: Order<By>,
    part: &Part<Place>,
) -> StoreResult<Vec<Shown>> {
    let channels = filter.channels();
    macro_rules! page {
        ($after:literal, $order:literal) => {
            sqlx::query_as!(
                ShownRow,
                r#"select t.id as "id!", t.slug as "slug!", t.channel as "channel!: _", t.class as "class!: _", t.name as "name!",
                  t.active as "active!", t.created_at as "created_at!: _", t.updated_at as "updated_at!: _",
                  v.locale as "locale?", v.version as "version?", v.source as "source?: _", v.notation as "notation?",
                  v.variables as "variables?", v.published_at as "published_at?: _", v.updated_at as "changed_at?: _"
           from (
               select * from templates t
               where tenant_id = $1 and not written and ($2::uuid is null or id = $2)
                 and ($3::text[] is null or channel = any ($3))
                 and ($4::boolean is null or active = $4)
                 and ($5::text is null or $6::uuid is null or $7::timestamptz is null or "#
                    + $after
                    + ") order by "
                    + $order
                    + r#" limit $8 offset $9
           ) t
           join tenants n on n.id = t.tenant_id
           -- First which, then what: the texts of the others are not even read.
           left join lateral (
               select h.locale, h.version from template_history h where h.template_id = t.id
               order by h.published_at is null, h.locale = n.locale desc, h.locale = split_part(n.locale, '-', 1) desc,
                        h.locale, h.version desc
               limit 1
           ) newest on true
           left join template_history v
               on v.template_id = t.id and v.locale = newest.locale and v.version = newest.version
           order by "#
                    + $order,
                tenant.uuid(),
                filter.id.map(|id| id.uuid()),
                channels.as_deref() as _,
                filter.active,
                part.after.as_ref().map(|place| place.name.as_str()),
                part.after.as_ref().map(|place| place.id.uuid()),
                part.after.as_ref().map(|place| place.created_at.to_sqlx()) as _,
                part.limit,
                part.offset,
            )
            .fetch_all(tx)
            .await?
        };
    }
    let rows = match order {
        (By::Name, Way::Up) => page!("(t.name, t.id) > ($5, $6)", "t.name, t.id"),
        (By::Name, Way::Down) => page!("(t.name, t.id) < ($5, $6)", "t.name desc, t.id desc"),
        (By::CreatedAt, Way::Up) => page!("(t.created_at, t.id) > ($7, $6)", "t.created_at, t.id"),
        (By::CreatedAt, Way::Down) => {
            page!("(t.created_at, t.id) < ($7, $6)", "t.created_at desc, t.id desc")
        }
    };
    rows.into_iter().map(ShownRow::into_shown).collect()
}

pub async fn count(tx: &mut PgConnection, tenant: TenantId, filter: &Filter) -> StoreResult<i64> {
    let channels = filter.channels();
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from templates
           where tenant_id = $1 and not written and ($2::uuid is null or id = $2)
             and ($3::text[] is null or channel = any ($3))
             and ($4::boolean is null or active = $4)"#,
        tenant.uuid(),
        filter.id.map(|id| id.uuid()),
        channels.as_deref() as _,
        filter.active,
    );
    Ok(count.fetch_one(tx).await?)
}

pub async fn get(tx: &mut PgConnection, tenant: TenantId, id: TemplateId) -> StoreResult<Shown> {
    let filter = Filter { id: Some(id), ..Filter::default() };
    let part = Part { after: None, offset: 0, limit: 1 };
    let found = list(tx, tenant, &filter, (By::Name, Way::Up), &part).await?;
    found.into_iter().next().ok_or_else(|| StoreError::not_found(id))
}
