//! Templates that a provider has to approve: which were submitted over which account, and where they stand there.

use fanfare_templates::Published;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::{Store, StoreError, StoreResult};
use crate::{
    domain::approval::{ApprovalStatus, Category},
    id::{AccountId, TemplateId, TenantId},
    providers::{Submitted, TemplateNews},
};

/// A template at the provider: by its name there, over an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    pub account: AccountId,
    pub name: &'a str,
    pub language: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    pub account: AccountId,
    pub name: String,
    pub language: String,
    pub template: TemplateId,
    pub locale: String,
    /// Which was submitted last.
    pub version: i32,
    pub category: Category,
    /// The provider's.
    pub provider_id: Option<String>,
    pub status: ApprovalStatus,
    pub reason: Option<String>,
    pub submitted_at: Timestamp,
    pub status_at: Timestamp,
}

/// The version that was submitted of a template that is approved.
#[derive(Debug, Clone)]
pub struct ApprovedAs {
    pub name: String,
    pub language: String,
    pub published: Published,
}

/// Which version is submitted, and as what.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'a> {
    pub template: TemplateId,
    pub locale: &'a str,
    pub version: i32,
    pub category: Category,
}

struct Row {
    account_id: uuid::Uuid,
    name: String,
    language: String,
    template_id: uuid::Uuid,
    locale: String,
    version: i32,
    category: Category,
    provider_id: Option<String>,
    status: ApprovalStatus,
    reason: Option<String>,
    submitted_at: jiff_sqlx::Timestamp,
    status_at: jiff_sqlx::Timestamp,
}

impl From<Row> for Approval {
    fn from(row: Row) -> Self {
        Self {
            account: row.account_id.into(),
            name: row.name,
            language: row.language,
            template: row.template_id.into(),
            locale: row.locale,
            version: row.version,
            category: row.category,
            provider_id: row.provider_id,
            status: row.status,
            reason: row.reason,
            submitted_at: row.submitted_at.to_jiff(),
            status_at: row.status_at.to_jiff(),
        }
    }
}

/// One, under its lock.
pub async fn get(tx: &mut PgConnection, tenant: TenantId, named: Named<'_>) -> StoreResult<Option<Approval>> {
    let row = sqlx::query_as!(
        Row,
        r#"select account_id, name, language, template_id, locale, version, category as "category: _", provider_id,
                  status as "status: _", reason, submitted_at as "submitted_at: _", status_at as "status_at: _"
           from template_approvals where tenant_id = $1 and account_id = $2 and name = $3 and language = $4 for update"#,
        tenant.uuid(),
        named.account.uuid(),
        named.name,
        named.language,
    );
    Ok(row.fetch_optional(tx).await?.map(Approval::from))
}

/// Those whose last submission was this version.
pub async fn of_version(
    tx: &mut PgConnection,
    tenant: TenantId,
    (template, locale, version): (TemplateId, &str, i32),
) -> StoreResult<Vec<Approval>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select account_id, name, language, template_id, locale, version, category as "category: _", provider_id,
                  status as "status: _", reason, submitted_at as "submitted_at: _", status_at as "status_at: _"
           from template_approvals
           where tenant_id = $1 and template_id = $2 and locale = $3 and version = $4 order by account_id"#,
        tenant.uuid(),
        template.uuid(),
        locale,
        version,
    );
    Ok(rows.fetch_all(tx).await?.into_iter().map(Approval::from).collect())
}

/// Notes that a version is being submitted, before the provider hears of it: if nobody learns of its answer, the provider is
/// asked.
pub async fn offer(
    tx: &mut PgConnection,
    tenant: TenantId,
    named: Named<'_>,
    offered: Offered<'_>,
) -> StoreResult<()> {
    sqlx::query!(
        "insert into template_approvals as known (account_id, name, language, tenant_id, template_id, locale, version, category, status)
         values ($1, $2, $3, $4, $5, $6, $7, $8, 'pending')
         on conflict (account_id, name, language) do update set
             template_id = excluded.template_id, locale = excluded.locale, version = excluded.version,
             category = excluded.category, status = 'pending', reason = null, submitted_at = clock_timestamp(),
             status_at = clock_timestamp(), asked_at = clock_timestamp()",
        named.account.uuid(),
        named.name,
        named.language,
        tenant.uuid(),
        offered.template.uuid(),
        offered.locale,
        offered.version,
        offered.category.as_str(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Notes the provider's answer to an offer, unless a webhook was quicker.
pub async fn answered(
    tx: &mut PgConnection,
    tenant: TenantId,
    named: Named<'_>,
    submitted: &Submitted,
) -> StoreResult<()> {
    sqlx::query!(
        "update template_approvals set provider_id = $5,
             status = case when status = 'pending' then $6 else status end, status_at = clock_timestamp()
         where tenant_id = $1 and account_id = $2 and name = $3 and language = $4",
        tenant.uuid(),
        named.account.uuid(),
        named.name,
        named.language,
        submitted.id,
        submitted.status.as_str(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes an offer back that the provider has certainly not taken: it stands as it stood before.
pub async fn withdraw(
    tx: &mut PgConnection,
    tenant: TenantId,
    named: Named<'_>,
    before: Option<&Approval>,
) -> StoreResult<()> {
    match before {
        None => {
            sqlx::query!(
                "delete from template_approvals where tenant_id = $1 and account_id = $2 and name = $3 and language = $4",
                tenant.uuid(),
                named.account.uuid(),
                named.name,
                named.language,
            )
            .execute(tx)
            .await?;
        }
        Some(before) => {
            sqlx::query!(
                "update template_approvals set template_id = $5, locale = $6, version = $7, category = $8, status = $9,
                     reason = $10, submitted_at = $11, status_at = $12
                 where tenant_id = $1 and account_id = $2 and name = $3 and language = $4",
                tenant.uuid(),
                named.account.uuid(),
                named.name,
                named.language,
                before.template.uuid(),
                before.locale,
                before.version,
                before.category.as_str(),
                before.status.as_str(),
                before.reason,
                before.submitted_at.to_sqlx() as _,
                before.status_at.to_sqlx() as _,
            )
            .execute(tx)
            .await?;
        }
    }
    Ok(())
}

/// Notes what the provider tells of a template; nothing of one that was never submitted here. The words of a webhook of one
/// account hold for all accounts that share its templates.
pub async fn note(tx: &mut PgConnection, account: AccountId, news: &TemplateNews) -> StoreResult<()> {
    sqlx::query!(
        "update template_approvals t set status = $5, reason = $6, status_at = $7, provider_id = coalesce($4, provider_id)
         where t.tenant_id = (select tenant_id from accounts where id = $1) and t.status_at <= $7
           and ((t.account_id = $1 and t.name = $2 and t.language = $3) or t.provider_id = $4)
           and (t.provider_id is null or $4::text is null or t.provider_id = $4)",
        account.uuid(),
        news.name,
        news.language,
        news.id,
        news.status.as_str(),
        news.reason.as_deref().map(|reason| reason.replace('\0', "")),
        news.at.to_sqlx() as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

impl Store {
    /// Those of an account's templates that must not be sent now, of these names and languages.
    pub async fn not_approved(
        &self,
        accounts: &[AccountId],
        templates: &[(&str, &str)],
    ) -> StoreResult<Option<Approval>> {
        let names: Vec<String> = templates.iter().map(|(name, _)| (*name).to_owned()).collect();
        let languages: Vec<String> = templates.iter().map(|(_, language)| (*language).to_owned()).collect();
        let accounts: Vec<uuid::Uuid> = accounts.iter().map(|account| account.uuid()).collect();
        let row = sqlx::query_as!(
            Row,
            r#"select account_id, name, language, template_id, locale, version, category as "category: _", provider_id,
                      status as "status: _", reason, submitted_at as "submitted_at: _", status_at as "status_at: _"
               from template_approvals
               where account_id = any ($1) and status <> 'approved'
                 and (name, language) in (select * from unnest($2::text[], $3::text[]))
               order by array_position($1, account_id), name, language limit 1"#,
            &accounts,
            &names,
            &languages,
        );
        Ok(row.fetch_optional(self.pool()).await?.map(Approval::from))
    }

    /// What was approved over these accounts of templates of these names and languages.
    pub async fn approved_as(
        &self,
        accounts: &[AccountId],
        templates: &[(&str, &str)],
    ) -> StoreResult<Vec<ApprovedAs>> {
        let names: Vec<String> = templates.iter().map(|(name, _)| (*name).to_owned()).collect();
        let languages: Vec<String> = templates.iter().map(|(_, language)| (*language).to_owned()).collect();
        let accounts: Vec<uuid::Uuid> = accounts.iter().map(|account| account.uuid()).collect();
        let rows = sqlx::query!(
            r#"select a.name, a.language, v.published as "published!: sqlx::types::Json<Published>"
               from template_approvals a
               join template_versions v
                    on v.template_id = a.template_id and v.locale = a.locale and v.version = a.version
               where a.account_id = any ($1) and a.status = 'approved' and v.published is not null
                 and (a.name, a.language) in (select * from unnest($2::text[], $3::text[]))
               order by array_position($1, a.account_id), a.name, a.language"#,
            &accounts,
            &names,
            &languages,
        );
        let rows = rows.fetch_all(self.pool()).await?.into_iter();
        Ok(rows
            .map(|row| ApprovedAs { name: row.name, language: row.language, published: row.published.0 })
            .collect())
    }

    /// Accounts of which a template waits for its approval and was not asked for in five minutes, or any in six hours.
    pub async fn accounts_to_ask(&self) -> StoreResult<Vec<AccountId>> {
        let ids = sqlx::query_scalar!(
            "select distinct t.account_id from template_approvals t
             join accounts a on a.id = t.account_id and a.deleted_at is null
             where t.asked_at < now() - case t.status when 'pending' then interval '5 minutes' else interval '6 hours' end
             order by 1 limit 100"
        );
        Ok(ids.fetch_all(self.pool()).await?.into_iter().map(AccountId::from).collect())
    }

    /// Notes what an account's provider listed. A submission that is not on the list, and whose answer nobody heard, was never
    /// taken: it is as if it had not been made.
    pub async fn note_listed(&self, account: AccountId, listed: &[TemplateNews]) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        for news in listed {
            note(&mut tx, account, news).await?;
        }
        sqlx::query!(
            "delete from template_approvals
             where account_id = $1 and provider_id is null and submitted_at < now() - interval '10 minutes'",
            account.uuid(),
        )
        .execute(&mut *tx)
        .await?;
        self.asked(&mut tx, account).await?;
        tx.commit().await.map_err(StoreError::from)
    }

    /// Notes that an account's provider was asked, whatever it said: it is left alone for a while.
    pub async fn note_asked(&self, account: AccountId) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        self.asked(&mut tx, account).await?;
        Ok(tx.commit().await?)
    }

    async fn asked(&self, tx: &mut PgConnection, account: AccountId) -> StoreResult<()> {
        sqlx::query!("update template_approvals set asked_at = now() where account_id = $1", account.uuid())
            .execute(tx)
            .await?;
        Ok(())
    }
}
