//! Lists: a part of any, and those for people who look for a name or an id.

use serde::Serialize;

use super::{Store, StoreResult};
use crate::{
    domain::channel::{Channel, MessageClass},
    id::TenantId,
};

/// Which way a list goes through its order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Way {
    #[default]
    Up,
    Down,
}

/// What a list is ordered by, and which way.
pub type Order<F> = (F, Way);

/// A part of a list that is ordered by `K`, down to something unique.
#[derive(Debug, Clone)]
pub struct Part<K> {
    /// The last one before.
    pub after: Option<K>,
    pub offset: i64,
    pub limit: i64,
}

/// A template with what is published of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateLine {
    pub slug: String,
    pub channel: Channel,
    pub class: MessageClass,
    pub name: String,
    /// Each locale with its newest version, as in `en:3`.
    pub versions: Vec<String>,
}

impl Store {
    pub async fn template_lines(&self, tenant: TenantId) -> StoreResult<Vec<TemplateLine>> {
        Ok(sqlx::query_as!(
            TemplateLine,
            r#"select t.slug, t.channel as "channel: _", t.class as "class: _", t.name,
                      coalesce(v.versions, '{}') as "versions!"
               from templates t
               left join lateral (
                   select array_agg(locale || ':' || version order by locale) as versions
                   from (select locale, max(version) as version from template_versions
                         where template_id = t.id group by locale) newest
               ) v on true
               where t.tenant_id = $1 and not t.written order by t.slug, t.channel"#,
            tenant.uuid(),
        )
        .fetch_all(self.pool())
        .await?)
    }
}
