//! What a campaign needs: a tenant, its people, the published letter; then, for each round, the campaign itself.

use anyhow::{Context as _, ensure};
use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    id::{CampaignId, ContactId, Ids, TemplateId, TenantId},
    launch,
    store::{
        Store,
        campaigns::{AllContacts, Audience, NewCampaign},
        messages::Unsent,
        templates::TemplateHead,
        tenants::Tenant,
    },
};
use indicatif::ProgressBar;
use jiff::{SignedDuration, Timestamp};
use sqlx::PgPool;

use crate::{letter, people::Person};

pub(crate) const TENANT: &str = "harmony";
const ZONE: &str = "Indian/Mauritius";
/// Rows in one message of the COPY.
const ROWS: u64 = 2_000;
/// Contacts that an import would make in a millisecond: their ids sort as theirs would.
const PER_MILLISECOND: u64 = 20;

#[derive(Debug)]
pub(crate) struct Seeded {
    store: Store,
    ids: Ids,
    tenant: TenantId,
    template: TemplateId,
}

impl Seeded {
    /// Brings the schema up to date and fills an empty database.
    pub(crate) async fn make(
        pool: &PgPool,
        people: u64,
        fail_percent: u64,
        bar: &ProgressBar,
    ) -> anyhow::Result<Self> {
        let store = Store::from_pool(pool.clone());
        store.migrate().await.context("the schema")?;
        let ids = Ids::from_entropy();
        let now = store.now().await?;
        let tenant = Tenant {
            id: ids.next(now),
            slug: TENANT.to_owned(),
            name: "Harmony Insurance".to_owned(),
            region: "MU".to_owned(),
            locale: "en".to_owned(),
            time_zone: ZONE.to_owned(),
            currency: "MUR".to_owned(),
        };
        store.create_tenant(&tenant).await?;
        let head = TemplateHead {
            slug: "renewal",
            channel: Channel::Email,
            class: MessageClass::Obligation,
            name: "Policy renewal",
        };
        let (template, _) =
            store.publish_template(&ids, tenant.id, &head, "en", &letter::published()?).await?;
        let seeded = Self { store, ids, tenant: tenant.id, template };
        seeded.copy_contacts(pool, people, fail_percent, now, bar).await?;
        // What an import's own aftermath would cost does not belong to the campaign.
        sqlx::query("vacuum analyze contacts").execute(pool).await?;
        sqlx::query("checkpoint").execute(pool).await?;
        Ok(seeded)
    }

    async fn copy_contacts(
        &self,
        pool: &PgPool,
        people: u64,
        fail_percent: u64,
        now: Timestamp,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let mut connection = pool.acquire().await?;
        let mut copy = connection
            .copy_in_raw(
                "copy contacts (id, tenant_id, name, email, locale, time_zone, attributes) from stdin",
            )
            .await?;
        let mut rows = String::new();
        for index in 0..people {
            let age = SignedDuration::from_millis(((people - index) / PER_MILLISECOND).try_into()?);
            let id: ContactId = self.ids.next(now - age);
            self.row(id, Person::number(index, fail_percent), &mut rows);
            if index % ROWS == ROWS - 1 || index == people - 1 {
                copy.send(std::mem::take(&mut rows).into_bytes()).await?;
                bar.set_position(index + 1);
            }
        }
        let written = copy.finish().await?;
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
            "en".to_owned(),
            ZONE.to_owned(),
            escaped(person.attributes().to_string()),
        ];
        rows.push_str(&fields.join("\t"));
        rows.push('\n');
    }

    /// A new id that nothing else bears.
    pub(crate) async fn campaign_id(&self) -> anyhow::Result<CampaignId> {
        Ok(self.ids.next(self.store.now().await?))
    }

    /// A draft to everybody.
    pub(crate) async fn campaign(&self) -> anyhow::Result<CampaignId> {
        let id = self.campaign_id().await?;
        let campaign = NewCampaign {
            id,
            tenant: self.tenant,
            name: "Renewals".to_owned(),
            channel: Channel::Email,
            class: MessageClass::Obligation,
            template: self.template,
            audience: Audience::Contacts(AllContacts::All),
            business_key: None,
            window: None,
        };
        self.store.create_campaign(&campaign).await?;
        Ok(id)
    }

    /// As whoever presses the button: when it returns, the launch is acknowledged.
    pub(crate) async fn launch(&self, campaign: CampaignId) -> anyhow::Result<()> {
        launch::launch(&self.store, self.tenant, campaign).await.context("the launch")?;
        Ok(())
    }

    /// The first page of "who was not sent, and why", as the engine reads it.
    pub(crate) async fn not_sent(&self, campaign: CampaignId, limit: i64) -> anyhow::Result<Vec<Unsent>> {
        Ok(self.store.unsent(self.tenant, campaign, 0, limit).await?)
    }
}
