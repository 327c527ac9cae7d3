//! An insurer with its people and campaigns, made as production makes them; only the contacts are written directly.

use std::time::Duration;

use fanfare_engine::{
    domain::{
        channel::{Channel, Lane, MessageClass, Provider},
        chunk::ChunkRef,
    },
    id::{AccountId, CampaignId, Ids, ProcessId, TenantId},
    launch::{
        freeze::{Freezing, LaunchSettings, Launcher},
        launch,
    },
    store::{
        Store,
        accounts::{Account, AccountDeclaration},
        campaigns::{AllContacts, Audience, NewCampaign},
        chunks::Claim,
        templates::TemplateHead,
        tenants::Tenant,
    },
};
use fanfare_templates::publish;
use jiff::Timestamp;

use crate::{bed::unique, renewal_letter};

/// Longer than any bench.
const LEASE: Duration = Duration::from_secs(3_600);

/// A tenant with one account for e-mail.
#[derive(Debug)]
pub struct Insurer {
    pub store: Store,
    pub ids: Ids,
    pub tenant: TenantId,
    pub account: Account,
    /// Who claims.
    pub process: ProcessId,
}

/// A campaign that sends, and its chunks in the order in which they are due.
#[derive(Debug)]
pub struct Launched {
    pub campaign: CampaignId,
    pub chunks: Vec<ChunkRef>,
}

impl Insurer {
    pub async fn make(store: &Store) -> Self {
        let ids = Ids::from_entropy();
        let now = store.now().await.expect("the database's time");
        let tenant = Tenant {
            id: ids.next(now),
            slug: format!("bench-{}", unique()),
            name: "Harmony Insurance".to_owned(),
            region: "MU".to_owned(),
            locale: "en".to_owned(),
            time_zone: "Indian/Mauritius".to_owned(),
            currency: "MUR".to_owned(),
        };
        store.create_tenant(&tenant).await.expect("a tenant");
        let id: AccountId = store
            .declare_account(&AccountDeclaration {
                id: ids.next(now),
                tenant: tenant.id,
                slug: "bench",
                provider: Provider::BrevoEmail,
                priority: 0,
                limits: &[],
                people_per_day: None,
                sandbox: true,
            })
            .await
            .expect("an account");
        let accounts = store.accounts().await.expect("accounts");
        let account = accounts.into_iter().find(|account| account.id == id).expect("it was declared");
        Self { store: store.clone(), process: ids.next(now), ids, tenant: tenant.id, account }
    }

    pub async fn now(&self) -> Timestamp {
        self.store.now().await.expect("the database's time")
    }

    /// People with all that the letter for renewals needs, each with values of their own. Ids ascend with time.
    pub async fn people(&self, count: i32) {
        sqlx::query(
            "insert into contacts (id, tenant_id, name, email, locale, time_zone, attributes, created_at)
             select uuid_floor(now() - interval '7 days' + i * interval '1 millisecond'), $1, 'Person ' || i,
                    'p' || lpad(i::text, 9, '0') || '@mail' || i % 7 || '.example', 'en', 'Indian/Mauritius',
                    $3 || jsonb_build_object('policy_number', 'MTR-' || lpad((i * 7)::text, 8, '0')),
                    now() - interval '1 second'
             from generate_series(1, $2) i",
        )
        .bind(self.tenant.uuid())
        .bind(count)
        .bind(&renewal_letter().sample)
        .execute(self.store.pool())
        .await
        .expect("contacts");
    }

    /// Launches a campaign to everybody and freezes all of it into chunks of `chunk`.
    pub async fn launch(&self, class: MessageClass, chunk: i32) -> Launched {
        let published = publish(&renewal_letter().source).expect("starters are sound");
        let head = TemplateHead { slug: class.as_str(), channel: Channel::Email, class, name: "Renewal" };
        let (template, _) = self
            .store
            .publish_template(&self.ids, self.tenant, &head, "en", &published)
            .await
            .expect("a template");
        let campaign = NewCampaign {
            id: self.ids.next(self.now().await),
            tenant: self.tenant,
            name: "Renewals".to_owned(),
            channel: Channel::Email,
            class,
            template,
            audience: Audience::Contacts(AllContacts::All),
            business_key: None,
            window: None,
        };
        self.store.create_campaign(&campaign).await.expect("a draft");
        launch(&self.store, self.tenant, campaign.id).await.expect("a launch");
        let settings = LaunchSettings { chunk, ..LaunchSettings::default() };
        let launcher = Launcher { store: self.store.clone(), settings, freezing: Freezing::default() };
        while launcher.step().await.expect("a slice") {}
        self.settled().await;
        let lane = Lane { channel: Channel::Email, class };
        let due = self.store.due_chunks(lane, i64::MAX, i64::MAX).await.expect("chunks");
        let chunks: Vec<ChunkRef> = due.into_iter().map(|due| due.chunk).collect();
        assert!(chunks.iter().all(|chunk| chunk.campaign == campaign.id), "one campaign a class");
        Launched { campaign: campaign.id, chunks }
    }

    /// What the seeding left for later is done now, not while something is measured.
    async fn settled(&self) {
        for statement in ["vacuum analyze", "checkpoint"] {
            sqlx::query(statement).execute(self.store.pool()).await.expect(statement);
        }
    }

    /// Claims those of `chunks` that nobody has.
    pub async fn claim(&self, chunks: &[ChunkRef]) -> Vec<Claim> {
        let claims = self.store.claim_chunks(self.process, chunks, LEASE).await.expect("claims");
        assert_eq!(claims.len(), chunks.len(), "chunks that nobody else has");
        claims
    }
}
