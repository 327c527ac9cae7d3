//! What a campaign needs: a tenant, its people, the published letter; then, for each round, the campaign itself.

use std::ops::Range;

use anyhow::{Context as _, ensure};
use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    id::{AccountId, CampaignId, ContactId, Ids, TemplateId, TenantId, UploadId},
    launch,
    store::{
        Store,
        campaigns::{AllContacts, Audience, NewCampaign},
        messages::Unsent,
        templates::TemplateHead,
        tenants::Tenant,
    },
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use jiff::SignedDuration;
use sqlx::PgPool;

use crate::{letter, people::Person};

pub(crate) const TENANT: &str = "harmony";
pub(crate) const OTP_TEMPLATE: &str = "one-time-password";
pub(crate) const ZONE: &str = "Indian/Mauritius";
/// Drafts that are made, and launches that are asked for, at once.
const PARALLEL: usize = 4;
/// Rows in one message of the COPY.
const ROWS: u64 = 2_000;
/// Contacts that an import would make in a millisecond: their ids sort as theirs would.
const PER_MILLISECOND: u64 = 20;

#[derive(Debug)]
pub(crate) struct Seeded {
    channel: Channel,
    people: u64,
    store: Store,
    ids: Ids,
    tenant: TenantId,
    template: TemplateId,
}

impl Seeded {
    /// Brings the schema up to date and fills an empty database.
    pub(crate) async fn make(
        pool: &PgPool,
        channel: Channel,
        (people, fail_percent): (u64, u64),
        bar: &ProgressBar,
    ) -> anyhow::Result<Self> {
        let store = Store::from_pool(pool.clone());
        store.migrate().await.context("the schema")?;
        let seeded = Self::tenant(store, TENANT, channel, people).await?;
        seeded.copy_contacts(pool, 0..people, fail_percent, bar).await?;
        settle(pool).await?;
        Ok(seeded)
    }

    /// The same for tenants of these names, each with so many people: the numbers of one's go on where those of the one
    /// before end.
    pub(crate) async fn several(
        pool: &PgPool,
        channel: Channel,
        slugs: &[String],
        each: u64,
        bar: &ProgressBar,
    ) -> anyhow::Result<Vec<Self>> {
        let store = Store::from_pool(pool.clone());
        store.migrate().await.context("the schema")?;
        let mut all = Vec::with_capacity(slugs.len());
        for (first, slug) in (0..).step_by(usize::try_from(each)?).zip(slugs) {
            let seeded = Self::tenant(store.clone(), slug, channel, each).await?;
            seeded.copy_contacts(pool, first..first + each, 0, bar).await?;
            all.push(seeded);
        }
        settle(pool).await?;
        Ok(all)
    }

    /// A tenant with a published letter and nobody to write to.
    async fn tenant(store: Store, slug: &str, channel: Channel, people: u64) -> anyhow::Result<Self> {
        let ids = Ids::from_entropy();
        let now = store.now().await?;
        let tenant = Tenant {
            id: ids.next(now),
            slug: slug.to_owned(),
            name: "Harmony Insurance".to_owned(),
            region: "MU".to_owned(),
            locale: "en".to_owned(),
            time_zone: ZONE.to_owned(),
            currency: "MUR".to_owned(),
        };
        store.create_tenant(&tenant).await?;
        let head = TemplateHead {
            slug: "renewal",
            channel,
            class: MessageClass::Obligation,
            name: "Policy renewal",
        };
        let (template, _) =
            store.publish_template(&ids, tenant.id, &head, "en", &letter::published(channel)?).await?;
        let head = TemplateHead {
            slug: OTP_TEMPLATE,
            channel: Channel::Email,
            class: MessageClass::Transactional,
            name: "One-time password",
        };
        store.publish_template(&ids, tenant.id, &head, "en", &letter::one_time_password()?).await?;
        Ok(Self { channel, people, store, ids, tenant: tenant.id, template })
    }

    async fn copy_contacts(
        &self,
        pool: &PgPool,
        people: Range<u64>,
        fail_percent: u64,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let now = self.store.now().await?;
        let mut connection = pool.acquire().await?;
        let mut copy = connection
            .copy_in_raw(
                "copy contacts (id, tenant_id, name, email, phone, locale, time_zone, attributes) from stdin",
            )
            .await?;
        let mut rows = String::new();
        for index in people.clone() {
            let age = SignedDuration::from_millis(((people.end - index) / PER_MILLISECOND).try_into()?);
            let id: ContactId = self.ids.next(now - age);
            self.row(id, Person::number(index, fail_percent), &mut rows);
            if index % ROWS == ROWS - 1 || index == people.end - 1 {
                copy.send(std::mem::take(&mut rows).into_bytes()).await?;
                bar.set_position(index + 1);
            }
        }
        let (written, people) = (copy.finish().await?, people.end - people.start);
        ensure!(written == people, "{written} of {people} contacts were written");
        Ok(())
    }

    /// A row in the text format of COPY.
    fn row(&self, id: ContactId, person: Person, rows: &mut String) {
        let escaped = |text: String| text.replace('\\', "\\\\");
        let fields = [
            id.uuid().to_string(),
            self.tenant.uuid().to_string(),
            escaped(person.name()),
            person.address(),
            person.phone(),
            "en".to_owned(),
            ZONE.to_owned(),
            escaped(person.attributes().to_string()),
        ];
        rows.push_str(&fields.join("\t"));
        rows.push('\n');
    }

    /// The account through which everything goes.
    pub(crate) async fn account(&self) -> anyhow::Result<AccountId> {
        let accounts = self.store.accounts().await?;
        let ours = accounts.iter().find(|account| account.tenant == self.tenant);
        Ok(ours.context("no account was made from the configuration")?.id)
    }

    /// A new id that nothing else bears.
    pub(crate) async fn campaign_id(&self) -> anyhow::Result<CampaignId> {
        Ok(self.ids.next(self.store.now().await?))
    }

    /// Drafts to everybody: one, or one for every `each` people.
    pub(crate) async fn campaigns(&self, each: Option<u64>) -> anyhow::Result<Vec<CampaignId>> {
        let Some(each) = each else {
            return Ok(vec![self.draft(Audience::Contacts(AllContacts::All)).await?]);
        };
        stream::iter(0..self.people.div_ceil(each))
            .map(async |part| self.draft(Audience::Upload(self.upload(part, each).await?)).await)
            .buffered(PARALLEL)
            .try_collect()
            .await
    }

    /// A file that holds these people and nothing else.
    async fn upload(&self, part: u64, each: u64) -> anyhow::Result<UploadId> {
        let id: UploadId = self.ids.next(self.store.now().await?);
        sqlx::query(
            "with rows as (
                 insert into upload_rows (upload_id, time_zone, contact_id, row_no, attributes)
                 select $1, time_zone, id, row_number() over (order by id), '{}' from contacts
                 where tenant_id = $2 and email >= $3 and email < $4
                 returning row_no
             )
             insert into uploads (id, tenant_id, file_name, sha256, bytes, format, mapping, rows_read, rows_taken,
                                  rows_refused, contacts_created, contacts_updated)
             select $1, $2, 'part.csv', uuid_send($1), 0, 'csv', '{}', count(*), count(*), 0, 0, count(*) from rows",
        )
        .bind(id.uuid())
        .bind(self.tenant.uuid())
        .bind(Person::number(part * each, 0).prefix())
        .bind(Person::number((part + 1) * each, 0).prefix())
        .execute(self.store.pool())
        .await?;
        Ok(id)
    }

    async fn draft(&self, audience: Audience) -> anyhow::Result<CampaignId> {
        let id = self.campaign_id().await?;
        let campaign = NewCampaign {
            id,
            tenant: self.tenant,
            name: "Renewals".to_owned(),
            channel: self.channel,
            class: MessageClass::Obligation,
            template: self.template,
            audience,
            business_key: None,
            window: None,
        };
        self.store.create_campaign(&campaign).await?;
        Ok(id)
    }

    /// As whoever presses the buttons: when it returns, every launch is acknowledged.
    pub(crate) async fn launch(&self, campaigns: &[CampaignId]) -> anyhow::Result<()> {
        stream::iter(campaigns)
            .map(async |&campaign| launch::launch(&self.store, self.tenant, campaign).await.map(drop))
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
            .context("the launch")
    }

    /// Whoever was not sent to is not sent to any more.
    pub(crate) async fn cancel(&self, campaign: CampaignId) -> anyhow::Result<()> {
        launch::control::cancel(&self.store, self.tenant, campaign).await.context("the end of a campaign")?;
        Ok(())
    }

    /// The first page of "who was not sent, and why", as the engine reads it.
    pub(crate) async fn not_sent(&self, campaign: CampaignId, limit: i64) -> anyhow::Result<Vec<Unsent>> {
        Ok(self.store.unsent(self.tenant, campaign, 0, limit).await?)
    }
}

/// What an import's own aftermath would cost does not belong to the campaign.
async fn settle(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::query("vacuum analyze contacts").execute(pool).await?;
    sqlx::query("checkpoint").execute(pool).await?;
    Ok(())
}

/// As before the first contact. The users of a load test are bound to none.
pub(crate) async fn no_contacts(pool: &PgPool) -> anyhow::Result<()> {
    let mut tx = pool.begin().await?;
    for statement in [
        "alter table users drop constraint users_contact_id_fkey",
        "truncate contacts, consents, contact_preferences, uploads, upload_rows, upload_problems",
        "alter table users add constraint users_contact_id_fkey
             foreign key (contact_id) references contacts (id) on delete set null",
    ] {
        sqlx::query(statement).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    sqlx::query("checkpoint").execute(pool).await?;
    Ok(())
}
