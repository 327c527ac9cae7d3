//! An engine on a database, a Redis prefix and a sandbox of its own.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use fanfare_engine::{
    blobs::postgres::PostgresBlobs,
    clock::SystemClock,
    deliver::accounts::{AccountHandle, Accounts},
    domain::channel::{Channel, MessageClass},
    engine::{Engine, Role, Running, Settings},
    id::{CampaignId, Ids, TenantId},
    launch,
    limit::{Limiter, breaker::Breaker},
    link::RedisLink,
    providers::{
        Adapter,
        in_app::InApp,
        settings::{AccountSettings, HttpSettings, InAppSettings, build},
    },
    queue::Queue,
    roster::Roster,
    seal::Seal,
    store::{
        Store,
        accounts::AccountDeclaration,
        campaigns::{AllContacts, Audience, NewCampaign, Progress},
        templates::TemplateHead,
        tenants::Tenant,
    },
};
use fanfare_sandbox::{RunningSandbox, Sandbox, SandboxConfig};
use fanfare_templates::{EmailBody, Source, publish};
use sqlx::PgPool;

use crate::support::found;

/// A tenant, its accounts and its simulated providers; engines are started on it.
pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) ids: Arc<Ids>,
    pub(crate) tenant: Tenant,
    pub(crate) sandbox: RunningSandbox,
    /// Of the keys in Redis.
    pub(crate) prefix: String,
    batch: bool,
    people_per_day: Option<NonZeroU64>,
}

impl House {
    pub(crate) async fn new(pool: PgPool) -> Self {
        Self::with(pool, SandboxConfig::default()).await
    }

    pub(crate) async fn with(pool: PgPool, mut config: SandboxConfig) -> Self {
        let store = Store::from_pool(pool);
        let ids = Arc::new(Ids::from_entropy());
        let now = store.now().await.unwrap();
        let tenant = tenant(&ids, now, "acme");
        store.create_tenant(&tenant).await.unwrap();
        // The quotas of the real providers are small; a test that is about quotas sets them.
        config.brevo.accounts[0].email_per_second = fanfare_sandbox::Limit::Unlimited;
        config.brevo.accounts[0].sms_per_second = fanfare_sandbox::Limit::Unlimited;
        config.whatsapp.accounts[0].messages_per_second = fanfare_sandbox::Limit::Unlimited;
        let sandbox = Sandbox::start(config).await.unwrap();
        let prefix = format!("test-{}", ids.random_uuid());
        Self { store, ids, tenant, sandbox, prefix, batch: false, people_per_day: None }
    }

    pub(crate) fn batching(mut self) -> Self {
        self.batch = true;
        self
    }

    /// Every account may write to so many people in a day.
    pub(crate) fn with_tier(mut self, people: u64) -> Self {
        self.people_per_day = NonZeroU64::new(people);
        self
    }

    pub(crate) fn tenant_id(&self) -> TenantId {
        self.tenant.id
    }

    fn account_settings(&self) -> Vec<AccountSettings> {
        let base = self.sandbox.base_url();
        let toml = [
            format!(
                "provider = 'brevo_email'\nbase_url = '{base}/v3'\napi_key = 'xkeysib-sandbox'\nsender_email = 'bills@acme.example'\n\
                 sender_name = 'Acme'\nbatch = {}",
                self.batch
            ),
            format!(
                "provider = 'brevo_sms'\nbase_url = '{base}/v3'\napi_key = 'xkeysib-sandbox'\nsender = 'Acme'"
            ),
            format!(
                "provider = 'whatsapp_cloud'\nbase_url = '{base}'\nphone_number_id = '106540352242922'\n\
                 access_token = 'sandbox-token'\napp_secret = 'app_secret'\nverify_token = 'verify-token'"
            ),
        ];
        let over_http = toml.map(|text| toml::from_str(&text).unwrap());
        over_http.into_iter().chain([AccountSettings::InApp(InAppSettings {})]).collect()
    }

    /// An engine as another process would be one: with accounts, queue and process id of its own.
    pub(crate) async fn engine(&self, settings: Settings) -> Engine {
        let redis = std::env::var("REDIS_URL").expect("REDIS_URL names the Redis of the tests");
        let queue = Queue::new(RedisLink::open(&redis).unwrap(), &self.prefix);
        let http =
            HttpSettings { request_timeout: settings.worker.request_timeout, ..HttpSettings::default() };
        let mut handles = Vec::new();
        for settings in self.account_settings() {
            let provider = settings.provider();
            let id = self
                .store
                .declare_account(&AccountDeclaration {
                    id: self.ids.next(self.store.now().await.unwrap()),
                    tenant: self.tenant.id,
                    slug: provider.as_str(),
                    provider,
                    priority: 0,
                    limits: &[],
                    people_per_day: None,
                    sandbox: false,
                })
                .await
                .unwrap();
            let adapter: Arc<dyn Adapter> = match &settings {
                AccountSettings::InApp(_) => Arc::new(InApp::new(self.store.clone(), self.tenant.id)),
                settings => build(settings, &http).unwrap(),
            };
            handles.push((id, adapter));
        }
        let accounts = self.store.accounts().await.unwrap();
        let limiter =
            Arc::new(Limiter::new(RedisLink::open(&redis).unwrap(), self.store.clone(), &self.prefix));
        let handle = |account: &fanfare_engine::store::accounts::Account| AccountHandle {
            account: account.clone(),
            adapter: Arc::clone(&handles.iter().find(|(id, _)| *id == account.id).unwrap().1),
            pacer: limiter.account(account.id, &account.limits),
            breaker: Breaker::default(),
            answers: fanfare_engine::deliver::answers::AnswerTimes::default(),
            limiter: Arc::clone(&limiter),
            people_per_day: self.people_per_day,
        };
        let accounts = Accounts::new(accounts.iter().map(handle));
        let roster = Roster {
            desks: [(accounts.clone(), self.store.clone()), (accounts.clone(), self.store.clone())],
            limiter,
            seal: Seal::default(),
            http,
            seen: std::sync::Mutex::default(),
        };
        Engine {
            process: self.ids.next(self.store.now().await.unwrap()),
            store: self.store.clone(),
            urgent_store: self.store.clone(),
            queue,
            urgent_accounts: accounts.clone(),
            accounts,
            blobs: Arc::new(PostgresBlobs::new(self.store.clone())),
            roster: Arc::new(roster),
            clock: Arc::new(SystemClock),
            ids: Arc::clone(&self.ids),
            settings,
        }
    }

    /// Publishes a template with one variable, `name`, and its policy.
    pub(crate) async fn template(&self, channel: Channel, class: MessageClass) {
        let body = "Dear {{name}}, policy {{policy}} is due.".to_owned();
        let source = match channel {
            Channel::Email => Source::Email {
                subject: "Policy {{policy}}".to_owned(),
                preheader: None,
                body: EmailBody::Html(format!("<p>{body}</p>")),
                text: None,
            },
            Channel::Sms => Source::Sms { text: body },
            Channel::Whatsapp => serde_json::from_value(serde_json::json!({
                "channel": "whatsapp", "kind": "text", "body": body
            }))
            .unwrap(),
            Channel::InApp => serde_json::from_value(serde_json::json!({
                "channel": "in_app", "type": "policy", "title": "Policy {{policy}}", "message": body,
                "data": {"policy": "{{policy}}"}
            }))
            .unwrap(),
        };
        let head = TemplateHead { slug: class.as_str(), channel, class, name: "Test" };
        let published = publish(&source).unwrap();
        self.store.publish_template(&self.ids, self.tenant.id, &head, "en", &published).await.unwrap();
    }

    /// `count` contacts with distinct addresses and values.
    pub(crate) async fn contacts(&self, count: i32) {
        sqlx::query(
            "insert into contacts (id, tenant_id, name, email, phone, locale, time_zone, attributes, created_at)
             select gen_random_uuid(), $1, 'Person ' || i, 'person' || i || '@example.com',
                    '+2305' || lpad(i::text, 7, '0'), 'en', 'Indian/Mauritius',
                    jsonb_build_object('policy', 'P-' || i), now() - interval '1 second'
             from generate_series(1, $2) i",
        )
        .bind(self.tenant.id.uuid())
        .bind(count)
        .execute(self.store.pool())
        .await
        .unwrap();
    }

    /// A draft to all contacts over a channel.
    pub(crate) async fn draft(&self, channel: Channel, class: MessageClass) -> CampaignId {
        self.draft_with(channel, class, |_| {}).await
    }

    pub(crate) async fn draft_with(
        &self,
        channel: Channel,
        class: MessageClass,
        change: impl FnOnce(&mut NewCampaign),
    ) -> CampaignId {
        let template = match self.store.template(self.tenant.id, class.as_str(), channel).await {
            Ok(template) => template,
            Err(_) => {
                self.template(channel, class).await;
                self.store.template(self.tenant.id, class.as_str(), channel).await.unwrap()
            }
        };
        let mut campaign = NewCampaign {
            id: self.ids.next(self.store.now().await.unwrap()),
            tenant: self.tenant.id,
            name: format!("{channel} {class}"),
            channel,
            class,
            template: template.id,
            audience: Audience::Contacts(AllContacts::All),
            business_key: None,
            window: None,
        };
        change(&mut campaign);
        self.store.create_campaign(&campaign).await.unwrap();
        campaign.id
    }

    pub(crate) async fn launch(&self, campaign: CampaignId) {
        launch::launch(&self.store, self.tenant.id, campaign).await.unwrap();
    }

    pub(crate) async fn progress(&self, campaign: CampaignId) -> Progress {
        self.store.progress(self.tenant.id, campaign).await.unwrap()
    }

    pub(crate) async fn state(&self, campaign: CampaignId) -> &'static str {
        self.store.campaign(self.tenant.id, campaign).await.unwrap().state.as_str()
    }

    /// Waits until `done` holds of a campaign's progress.
    pub(crate) async fn until(
        &self,
        campaign: CampaignId,
        what: &str,
        done: impl Fn(&Progress) -> bool,
    ) -> Progress {
        found(what, async || {
            let progress = self.progress(campaign).await;
            if done(&progress) { Ok(progress) } else { Err(progress) }
        })
        .await
    }

    pub(crate) async fn finished(&self, campaign: CampaignId) -> Progress {
        found("finished", async || {
            let finished = self.state(campaign).await == "finished";
            let progress = self.progress(campaign).await;
            if finished { Ok(progress) } else { Err(progress) }
        })
        .await
    }

    /// What the sandbox took, by our message id: address, times received, digest.
    pub(crate) fn received(&self) -> std::collections::BTreeMap<String, fanfare_sandbox::MessageRecord> {
        let mut received = std::collections::BTreeMap::new();
        let mut after = 0;
        loop {
            let page = self.sandbox.audit().messages(after, 10_000, 0);
            for record in page.records {
                received.insert(record.message_id.clone(), record);
            }
            match page.next {
                Some(next) => after = next,
                None => return received,
            }
        }
    }
}

pub(crate) fn tenant(ids: &Ids, now: jiff::Timestamp, slug: &str) -> Tenant {
    Tenant {
        id: ids.next(now),
        slug: slug.to_owned(),
        name: "Acme Insurance".to_owned(),
        region: "MU".to_owned(),
        locale: "en".to_owned(),
        time_zone: "Indian/Mauritius".to_owned(),
        currency: "MUR".to_owned(),
    }
}

/// All roles but HTTP.
pub(crate) const ALL: &[Role] = &[Role::Worker, Role::Scheduler, Role::Upkeep];

pub(crate) async fn stop(running: Running) {
    tokio::time::timeout(Duration::from_secs(20), running.shut_down())
        .await
        .expect("drains within 20 seconds");
}
