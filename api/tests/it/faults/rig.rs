//! Servers, providers and worker processes of a fault test's own: each may be killed without hurting anybody else.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use fanfare_engine::{
    domain::channel::{Channel, MessageClass},
    id::{CampaignId, Ids},
    launch,
    store::{
        Store,
        campaigns::{AllContacts, Audience, NewCampaign, Progress},
        templates::TemplateHead,
        tenants::Tenant,
    },
};
use fanfare_sandbox::{Limit, RunningSandbox, Sandbox, SandboxConfig};
use fanfare_templates::{EmailBody, Source, publish};

use crate::support::{found, tenant};

/// Fault tests take turns: each wants both cores, and measures time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What a rig is set up with; the rest is as small as makes a fault test quick.
pub(crate) struct Setup {
    pub(crate) people: i32,
    /// Between acceptance and answer.
    pub(crate) latency_ms: u64,
    /// Requests per second and account.
    pub(crate) quota: Option<u32>,
    /// Requests on the wire at once, of each process.
    pub(crate) in_flight: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self { people: 4_000, latency_ms: 100, quota: None, in_flight: 64 }
    }
}

pub(crate) struct Rig {
    pub(crate) store: Store,
    pub(crate) sandbox: RunningSandbox,
    pub(crate) tenant: Tenant,
    ids: Ids,
    services: Services,
    config: PathBuf,
    workers: Vec<Child>,
    _folder: tempfile::TempDir,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

impl Rig {
    pub(crate) async fn up(setup: Setup) -> Self {
        let turn = TURN.lock().await;
        let folder = tempfile::tempdir().unwrap();
        let services = Services::up(folder.path());
        let sandbox = Sandbox::start(sandbox_config(&setup)).await.unwrap();
        let config = folder.path().join("fanfare.toml");
        std::fs::write(&config, config_text(&setup, &services, &sandbox.base_url())).unwrap();
        let store = Store::connect(&services.database_url, 5).unwrap();
        store.migrate().await.unwrap();
        let ids = Ids::from_entropy();
        // The processes declare the tenant and the accounts of the configuration.
        let mut rig = Self {
            tenant: Tenant {
                id: ids.next(store.now().await.unwrap()),
                slug: "acme".to_owned(),
                name: "Acme".to_owned(),
                region: "MU".to_owned(),
                locale: "en".to_owned(),
                time_zone: "Indian/Mauritius".to_owned(),
                currency: "MUR".to_owned(),
            },
            store,
            sandbox,
            ids,
            services,
            config,
            workers: Vec::new(),
            _folder: folder,
            _turn: turn,
        };
        rig.store.create_tenant(&rig.tenant).await.unwrap();
        rig.contacts(setup.people).await;
        rig.start_worker().await;
        rig
    }

    /// Starts one more process with all roles but HTTP, and waits until it has declared the accounts.
    pub(crate) async fn start_worker(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.config.with_extension("log"))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_fanfare"))
            .args(["serve", "--roles", "worker,scheduler,upkeep", "--config"])
            .arg(&self.config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        self.workers.push(child);
        found("its accounts", async || {
            let known = self.store.accounts().await.unwrap().len();
            if known < 3 { Err(|| self.log()) } else { Ok(()) }
        })
        .await;
    }

    /// SIGKILL: nothing is flushed, nothing given back.
    pub(crate) fn kill_worker(&mut self) {
        let mut child = self.workers.remove(0);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn signal_worker(&self, which: usize, signal: &str) {
        let sent =
            Command::new("kill").args([signal, &self.workers[which].id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn services(&self, verb: &str) {
        self.services.run(verb);
    }

    pub(crate) async fn flush_redis(&self) {
        let client = redis::Client::open(self.services.redis_url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    }

    pub(crate) async fn campaign(&self, channel: Channel, class: MessageClass) -> CampaignId {
        let source = match channel {
            Channel::Email => Source::Email {
                subject: "Policy {{policy}}".to_owned(),
                preheader: None,
                body: EmailBody::Html("<p>Dear {{name}}, policy {{policy}} is due.</p>".to_owned()),
                text: None,
            },
            _ => Source::Sms { text: "Dear {{name}}, policy {{policy}} is due.".to_owned() },
        };
        let head = TemplateHead { slug: class.as_str(), channel, class, name: "Fault test" };
        let published = publish(&source).unwrap();
        let (template, _) =
            self.store.publish_template(&self.ids, self.tenant.id, &head, "en", &published).await.unwrap();
        let campaign = NewCampaign {
            id: self.ids.next(self.store.now().await.unwrap()),
            tenant: self.tenant.id,
            name: "Fault test".to_owned(),
            channel,
            class,
            template,
            audience: Audience::Contacts(AllContacts::All),
            business_key: None,
            window: None,
        };
        self.store.create_campaign(&campaign).await.unwrap();
        launch::launch(&self.store, self.tenant.id, campaign.id).await.unwrap();
        campaign.id
    }

    async fn contacts(&self, people: i32) {
        sqlx::query(
            "insert into contacts (id, tenant_id, name, email, phone, locale, time_zone, attributes, created_at)
             select gen_random_uuid(), $1, 'Person ' || i, 'person' || i || '@example.com',
                    '+2305' || lpad(i::text, 7, '0'), 'en', 'Indian/Mauritius',
                    jsonb_build_object('policy', 'P-' || i), now() - interval '1 second'
             from generate_series(1, $2) i",
        )
        .bind(self.tenant.id.uuid())
        .bind(people)
        .execute(self.store.pool())
        .await
        .unwrap();
    }

    pub(crate) async fn progress(&self, campaign: CampaignId) -> Option<Progress> {
        self.store.progress(self.tenant.id, campaign).await.ok()
    }

    /// Waits until `done` holds; the database may be away in between.
    pub(crate) async fn until(
        &self,
        campaign: CampaignId,
        what: &str,
        done: impl Fn(&Progress) -> bool,
    ) -> Progress {
        found(what, async || {
            let progress = self.progress(campaign).await;
            let instead = move || format!("{progress:?}\n{}", self.log());
            progress.filter(|progress| done(progress)).ok_or(instead)
        })
        .await
    }

    /// Waits until nobody waits any more.
    pub(crate) async fn end(&self, campaign: CampaignId) -> Progress {
        self.until(campaign, "end", |progress| progress.recipients > 0 && progress.waiting == 0).await
    }

    /// The last lines that the processes logged.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.config.with_extension("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for child in &mut self.workers {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn sandbox_config(setup: &Setup) -> SandboxConfig {
    let mut config = SandboxConfig::default();
    // The quota is the engine's to keep: the sandbox only watches.
    config.brevo.accounts[0].email_per_second = Limit::Unlimited;
    config.brevo.accounts[0].sms_per_second = Limit::Unlimited;
    config.brevo.accounts[0].events_per_hour = Limit::Unlimited;
    config.rules.clear();
    let latency = serde_json::json!({"latency_ms": setup.latency_ms});
    config.faults = serde_json::from_value(serde_json::json!({"email": latency, "sms": latency})).unwrap();
    config
}

fn config_text(setup: &Setup, services: &Services, sandbox: &str) -> String {
    let limits =
        setup.quota.map_or(String::new(), |quota| format!("{{ window = \"second\", requests = {quota} }}"));
    format!(
        r#"
        [database]
        url = "{}"
        [redis]
        url = "{}"
        [worker]
        in_flight = {in_flight}
        in_flight_keyless = {in_flight}
        lease_s = 5
        [http]
        timeout_ms = 2000
        connect_timeout_ms = 500
        [unknown]
        look_up_s = 1
        {tenant}
        [[accounts]]
        tenant = "acme"
        slug = "email"
        provider = "brevo_email"
        base_url = "{sandbox}/v3"
        api_key = "xkeysib-sandbox"
        sender_email = "bills@acme.example"
        sender_name = "Acme"
        batch = false
        limits = [{limits}]
        [[accounts]]
        tenant = "acme"
        slug = "sms"
        provider = "brevo_sms"
        base_url = "{sandbox}/v3"
        api_key = "xkeysib-sandbox"
        sender = "Acme"
        limits = [{limits}]
        [[accounts]]
        tenant = "acme"
        slug = "whatsapp"
        provider = "whatsapp_cloud"
        base_url = "{sandbox}"
        phone_number_id = "106540352242922"
        access_token = "sandbox-token"
        app_secret = "app_secret"
        verify_token = "verify-token"
        "#,
        services.database_url,
        services.redis_url,
        in_flight = setup.in_flight,
        tenant = tenant("acme"),
    )
}

/// A Postgres and a Redis in a folder of their own, by the script that demo and tests use.
struct Services {
    dir: PathBuf,
    database_url: String,
    redis_url: String,
}

impl Services {
    fn up(folder: &Path) -> Self {
        let dir = folder.join("services");
        let mut services = Self { dir, database_url: String::new(), redis_url: String::new() };
        services.run("up");
        let env = services.run("env");
        let value = |name: &str| {
            let at = env.find(&format!("{name}=")).map(|at| at + name.len() + 1).unwrap();
            env[at..].split_whitespace().next().unwrap().trim_matches('\'').to_owned()
        };
        (services.database_url, services.redis_url) = (value("DATABASE_URL"), value("REDIS_URL"));
        services
    }

    fn run(&self, verb: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/services.sh");
        let mut command = Command::new("bash");
        command.arg(script).arg(verb).arg("--dir").arg(&self.dir).stdin(Stdio::null());
        if verb == "down" {
            command.arg("--wipe");
        }
        // What the servers inherit would keep a pipe open: their output goes to files.
        let out = tempfile::NamedTempFile::new().unwrap();
        let status = command.stdout(out.reopen().unwrap()).stderr(Stdio::null()).status().unwrap();
        let text = std::fs::read_to_string(out.path()).unwrap();
        assert!(status.success(), "services.sh {verb}: {text}");
        text
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if !std::thread::panicking() || self.dir.exists() {
            self.run("down");
        }
    }
}

/// Microseconds of the sandbox's clock, by which it tells arrivals.
pub(crate) fn sandbox_now(rig: &Rig) -> u64 {
    rig.sandbox.clock().monotonic_us
}
