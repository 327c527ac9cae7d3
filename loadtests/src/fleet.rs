//! The processes under test: real `fanfare serve`, as many as asked for.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use fanfare_engine::domain::channel::Channel;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::{
    process::{Child, Command},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    api,
    processes::{self, Pids},
    receiver, seed,
    services::{self, Services},
};

/// The account through which everything goes.
pub(crate) const ACCOUNT: &str = "account";

const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(40);

pub(crate) const SENDER_EMAIL: &str = "renewals@harmony.example";
pub(crate) const SENDER_NAME: &str = "Harmony Insurance";
pub(crate) const SMS_SENDER: &str = "Harmony";

/// What is changed from the defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    pub(crate) channel: Channel,
    pub(crate) workers: usize,
    pub(crate) chunk: Option<u32>,
    pub(crate) in_flight: Option<u32>,
    pub(crate) batch: bool,
    /// One-time passwords that the first process is asked for in a second.
    pub(crate) otp_per_second: Option<u32>,
    /// What the API is asked for.
    pub(crate) api: Option<api::Wanted>,
    /// Requests that the account takes in a second.
    pub(crate) quota: Option<u32>,
    /// Where Postgres is, if not where the services say.
    pub(crate) postgres: Option<SocketAddr>,
}

impl Tuning {
    /// One process, nothing changed.
    pub(crate) const fn plain(channel: Channel) -> Self {
        Self {
            channel,
            workers: 1,
            chunk: None,
            in_flight: None,
            batch: false,
            otp_per_second: None,
            api: None,
            quota: None,
            postgres: None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Fleet {
    processes: Vec<Child>,
    folder: PathBuf,
    port: u16,
}

/// Processes that are started together.
#[derive(Debug)]
pub(crate) struct Crew<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) services: &'a Services,
    pub(crate) pool: &'a PgPool,
    pub(crate) receiver_url: &'a str,
    pub(crate) tuning: Tuning,
    /// As the configuration states them.
    pub(crate) accounts: Vec<Value>,
    /// Which process finds Redis elsewhere, and where.
    pub(crate) redis: Option<(usize, SocketAddr)>,
}

/// The configuration of every process.
fn config(crew: &Crew<'_>, port: u16) -> anyhow::Result<String> {
    let Crew { services, tuning, .. } = crew;
    let database_url = match tuning.postgres {
        Some(address) => services::at(&services.database_url, address)?,
        None => services.database_url.clone(),
    };
    let mut config = json!({
        "database": {"url": database_url, "migrate": false},
        "redis": {"url": services.redis_url},
        "api": {"port": port},
        "accounts": crew.accounts,
    });
    if let Some(wanted) = tuning.api {
        let beyond = 10 * wanted.per_second;
        config["api"]["tenant_per_second"] = beyond.into();
        config["api"]["program_per_second"] = beyond.into();
        if let Some(send_wait_ms) = wanted.send_wait_ms {
            config["api"]["send_wait_ms"] = send_wait_ms.into();
        }
    }
    if let Some(chunk) = tuning.chunk {
        config["launch"] = json!({"chunk": chunk});
    }
    if let Some(in_flight) = tuning.in_flight {
        config["worker"] = json!({"in_flight": in_flight});
    }
    toml::to_string(&config).context("the configuration")
}

pub(crate) fn account(receiver_url: &str, tuning: Tuning) -> Value {
    let mut account = match tuning.channel {
        Channel::Email => json!({
            "provider": "brevo_email",
            "base_url": format!("{receiver_url}/v3"),
            "api_key": receiver::API_KEY,
            "sender_email": SENDER_EMAIL,
            "sender_name": SENDER_NAME,
            "batch": tuning.batch,
            "webhook_auth": {"bearer": {"token": receiver::HOOK_TOKEN}},
        }),
        Channel::Sms => json!({
            "provider": "brevo_sms",
            "base_url": format!("{receiver_url}/v3"),
            "api_key": receiver::API_KEY,
            "sender": SMS_SENDER,
        }),
        Channel::Whatsapp => json!({
            "provider": "whatsapp_cloud",
            "base_url": receiver_url,
            "phone_number_id": "106540352242922",
            "access_token": receiver::API_KEY,
            "app_secret": receiver::API_KEY,
            "verify_token": receiver::HOOK_TOKEN,
        }),
        Channel::InApp => json!({"provider": "in_app"}),
    };
    account["slug"] = ACCOUNT.into();
    account["limits"] = tuning
        .quota
        .map(|requests| json!({"window": "second", "requests": requests}))
        .into_iter()
        .collect::<Vec<_>>()
        .into();
    account
}

impl Crew<'_> {
    fn command(&self, config: &Path, number: usize) -> anyhow::Result<Command> {
        let mut command = Command::new(self.binary);
        // Nothing of this environment may change what is measured.
        command.env_clear().arg("serve").arg("--config").arg(config);
        if let Some(per_second) = self.tuning.otp_per_second.filter(|_| number == 0) {
            command = Command::new(std::env::current_exe()?);
            command.env_clear().arg("otp").arg("--config").arg(config);
            command.args(["--receiver", self.receiver_url, "--per-second", &per_second.to_string()]);
        }
        if number > 0 {
            command.args(["--roles", "worker"]).env("FANFARE__API__PORT", "0");
        }
        if let Some((_, address)) = self.redis.filter(|(whose, _)| *whose == number) {
            command.env("FANFARE__REDIS__URL", services::at(&self.services.redis_url, address)?);
        }
        Ok(command)
    }
}

impl Fleet {
    /// Starts the processes with one account.
    pub(crate) async fn start(
        &mut self,
        binary: &Path,
        folder: &Path,
        (services, pool): (&Services, &PgPool),
        receiver_url: &str,
        tuning: Tuning,
    ) -> anyhow::Result<()> {
        let mut account = account(receiver_url, tuning);
        // There may be other tenants, who send nothing.
        account["tenant"] = seed::TENANT.into();
        let accounts = vec![account];
        let crew = Crew { binary, folder, services, pool, receiver_url, tuning, accounts, redis: None };
        self.serve(&crew).await
    }

    /// Starts the processes: the first has every role, the others only deliver. Returns once the first one is at work.
    pub(crate) async fn serve(&mut self, crew: &Crew<'_>) -> anyhow::Result<()> {
        ensure!(self.processes.is_empty(), "the processes run already");
        let Crew { folder, pool, .. } = *crew;
        self.folder = folder.to_owned();
        let file = folder.join("fanfare.toml");
        // Whoever posts webhooks has to know the port.
        self.port = free_port()?;
        std::fs::write(&file, config(crew, self.port)?)?;
        let before = feeder(pool).await?;
        for number in 0..crew.tuning.workers {
            let mut command = crew.command(&file, number)?;
            let log = File::create(log(folder, number))?;
            let child = command
                .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
                .current_dir(folder)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
                .with_context(|| format!("{} cannot be started", crew.binary.display()))?;
            self.processes.push(child);
        }
        let patience = Instant::now() + READY_WITHIN;
        // A new holder of the feeder's lease: the process serves, with every role.
        while feeder(pool).await?.is_none_or(|holder| before == Some(holder)) {
            self.check()?;
            ensure!(Instant::now() < patience, "no `fanfare serve` is at work after {READY_WITHIN:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Where the first process listens.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn pids(&self) -> anyhow::Result<Vec<u32>> {
        self.processes.iter().map(|child| child.id().context("a `fanfare serve` has ended")).collect()
    }

    /// Fails when a process has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for child in &mut self.processes {
            if let Some(status) = child.try_wait()? {
                bail!("a `fanfare serve` ended by itself ({status})");
            }
        }
        Ok(())
    }

    /// What the first process has written.
    pub(crate) fn first_log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(log(&self.folder, 0))?)
    }

    /// The end of each log.
    pub(crate) fn last_words(&self) -> String {
        let mut words = String::new();
        for number in 0..self.processes.len() {
            let text = std::fs::read_to_string(log(&self.folder, number)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let end = lines[lines.len().saturating_sub(15)..].join("\n");
            words.push_str(&format!("--- the end of the log of process {number}:\n{end}\n"));
        }
        words
    }

    /// Lets the processes finish, then ends them.
    pub(crate) async fn stop(&mut self) {
        for child in &self.processes {
            if let Some(pid) = child.id() {
                // A process that is gone needs no signal; one that was stopped hears of it only when it goes on.
                let _ = processes::signal(pid, "TERM").await;
                let _ = processes::signal(pid, "CONT").await;
            }
        }
        let patience = Instant::now() + END_WITHIN;
        for child in &mut self.processes {
            if tokio::time::timeout_at(patience, child.wait()).await.is_err() {
                eprintln!("loadtests: a `fanfare serve` did not end within {END_WITHIN:?} and is killed");
                let _ = child.kill().await;
            }
        }
        self.processes.clear();
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Pids for Fleet {
    fn pids(&self) -> anyhow::Result<Vec<u32>> {
        self.pids()
    }

    fn metrics(&self) -> Option<SocketAddr> {
        // The others only deliver, and listen nowhere.
        (self.processes.len() == 1).then(|| self.address())
    }
}

fn log(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("fanfare-{number}.log"))
}

/// Who keeps the lanes of this tenant's account filled at the moment.
async fn feeder(pool: &PgPool) -> anyhow::Result<Option<Uuid>> {
    let sql = "select holder from duties
               where name = 'feed_bulk' and until > now()
                 and exists (select 1 from accounts a join tenants t on t.id = a.tenant_id where t.slug = $1)";
    Ok(sqlx::query_scalar(sql).bind(seed::TENANT).fetch_optional(pool).await?)
}
