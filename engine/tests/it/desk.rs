//! A tenant whose messages were sent: what feedback is about.

use fanfare_engine::{
    domain::{event::EventKind, outcome::FactKind},
    feedback::{HookAccount, HookAccounts, Pass, Worker},
    id::{AccountId, CampaignId, MessageId},
    providers::settings::{AccountSettings, HttpSettings, build},
    store::Store,
};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::house::tenant;

/// A tenant with an account and a campaign of three recipients per channel, all of them sent.
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) tenant: Uuid,
    pub(crate) accounts: HookAccounts,
    pub(crate) worker: Worker,
    /// Account and campaign of e-mail, SMS and WhatsApp.
    pub(crate) channels: [(AccountId, CampaignId); 3],
}

const SENT: [&str; 3] = ["email", "sms", "whatsapp"];

fn settings(channel: &str, base: &str) -> AccountSettings {
    serde_json::from_value(match channel {
        "email" => json!({"provider": "brevo_email", "base_url": format!("{base}/v3"), "api_key": "xkeysib-sandbox",
                          "sender_email": "a@acme.example", "sender_name": "Acme"}),
        "sms" => json!({"provider": "brevo_sms", "base_url": base, "api_key": "k", "sender": "Acme"}),
        _ => json!({"provider": "whatsapp_cloud", "base_url": base, "phone_number_id": "1", "access_token": "t",
                    "app_secret": "s", "verify_token": "v"}),
    })
    .unwrap()
}

impl Desk {
    pub(crate) async fn new(pool: PgPool) -> Self {
        Self::at(pool, "acme", "http://127.0.0.1:9").await
    }

    pub(crate) async fn at(pool: PgPool, slug: &str, base: &str) -> Self {
        let store = Store::from_pool(pool);
        let ids = fanfare_engine::id::Ids::from_entropy();
        let now = store.now().await.unwrap();
        let owner = tenant(&ids, now, slug);
        store.create_tenant(&owner).await.unwrap();
        let mut channels = Vec::new();
        let mut accounts = Vec::new();
        for channel in SENT {
            let settings = settings(channel, base);
            let (account, campaign, template) = (ids.next(now), ids.next(now), ids.random_uuid());
            sqlx::query(
                "insert into accounts (id, tenant_id, slug, provider, limits) values ($1, $2, $3, $4, '[]')",
            )
            .bind(Uuid::from(account))
            .bind(owner.id.uuid())
            .bind(channel)
            .bind(settings.provider().as_str())
            .execute(store.pool())
            .await
            .unwrap();
            sqlx::query(
                "with template as (
                     insert into templates (id, tenant_id, slug, channel, class, name) values ($1, $2, $3, $3, 'marketing', 'T')
                     returning id)
                 insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, state, launched_at, frozen)
                 select $4, $2, 'campaign', 'C', $3, 'marketing', id, 'sending', now(), 3 from template",
            )
            .bind(template)
            .bind(owner.id.uuid())
            .bind(channel)
            .bind(Uuid::from(campaign))
            .execute(store.pool())
            .await
            .unwrap();
            sqlx::query(
                "insert into recipients (campaign_id, n, variant, contact_id, address, variables)
                 select $1, n, 0, gen_random_uuid(),
                        case $2 when 'email' then 'person' || n || '@example.com' else '+2305234567' || n end, '[]'
                 from generate_series(1, 3) n",
            )
            .bind(Uuid::from(campaign))
            .bind(channel)
            .execute(store.pool())
            .await
            .unwrap();
            sqlx::query(
                "insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, first_n, last_n, size)
                 values ($1, 1, $2, $3, 1, 0, 1, 3, 3)",
            )
            .bind(Uuid::from(campaign))
            .bind(owner.id.uuid())
            .bind(Uuid::from(account))
            .execute(store.pool())
            .await
            .unwrap();
            let adapter = build(&settings, &HttpSettings::default()).unwrap();
            accounts.push((
                account,
                HookAccount { tenant: owner.id, channel: settings.provider().channel(), adapter },
            ));
            channels.push((account, campaign));
        }
        let worker = Worker::new(store.clone());
        let accounts = accounts.into_iter().collect();
        Self { store, tenant: owner.id.uuid(), accounts, worker, channels: channels.try_into().unwrap() }
    }

    pub(crate) fn email(&self, n: i32) -> MessageId {
        MessageId { campaign: self.channels[0].1, n }
    }

    pub(crate) async fn put(&self, channel: usize, body: &Value) {
        let body = body.to_string().into_bytes();
        self.store.add_to_inbox(&[self.channels[channel].0.uuid()], &[&body]).await.unwrap();
    }

    /// Applies everything and leaves nothing.
    pub(crate) async fn apply(&self) -> Pass {
        let pass = self.worker.pass(&self.accounts).await.unwrap();
        assert_eq!(self.store.inbox_backlog().await.unwrap().webhooks, 0);
        pass
    }

    pub(crate) async fn record(&self, n: i32, kind: FactKind) {
        sqlx::query(
            "insert into results (campaign_id, n, attempt, kind, account_no, reason, at)
             select $1, $2, 1, $3, no, 'timed_out', now() - interval '5 minutes' from accounts where id = $4",
        )
        .bind(self.channels[0].1.uuid())
        .bind(n)
        .bind(kind)
        .bind(self.channels[0].0.uuid())
        .execute(self.store.pool())
        .await
        .unwrap();
        sqlx::query("select recount_chunks(array[$1], array[1::bigint])")
            .bind(self.channels[0].1.uuid())
            .execute(self.store.pool())
            .await
            .unwrap();
    }

    /// Kinds of the facts about a message, and its chunk's counters: accepted, failed, unknown.
    pub(crate) async fn facts(&self, n: i32) -> (Vec<i16>, (i32, i32, i32)) {
        let campaign = self.channels[0].1.uuid();
        let kinds =
            sqlx::query_scalar("select kind from results where campaign_id = $1 and n = $2 order by kind")
                .bind(campaign)
                .bind(n)
                .fetch_all(self.store.pool())
                .await
                .unwrap();
        let counters = sqlx::query_as("select accepted, failed, unknown from chunks where campaign_id = $1")
            .bind(campaign)
            .fetch_one(self.store.pool())
            .await
            .unwrap();
        (kinds, counters)
    }

    pub(crate) async fn kinds(&self, n: i32) -> Vec<EventKind> {
        sqlx::query_scalar("select kind from events where campaign_id = $1 and n = $2 order by kind")
            .bind(self.channels[0].1.uuid())
            .bind(n)
            .fetch_all(self.store.pool())
            .await
            .unwrap()
    }

    /// Address, scope and reason of every suppression.
    pub(crate) async fn suppressed(&self) -> Vec<(String, String, String)> {
        sqlx::query_as("select address, scope, reason from suppressions where tenant_id = $1 order by channel, address, scope")
            .bind(self.tenant)
            .fetch_all(self.store.pool())
            .await
            .unwrap()
    }
}
