//! The processes under test: real `fanfare serve`, as many as asked for.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use sqlx::PgPool;
use tokio::{
    process::{Child, Command},
    time::Instant,
};
use uuid::Uuid;

use crate::{bare, processes::Pids, receiver, seed, services::Services};

const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(40);

/// What is changed from the defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    pub(crate) workers: usize,
    pub(crate) chunk: Option<u32>,
    pub(crate) in_flight: Option<u32>,
    pub(crate) batch: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Fleet {
    processes: Vec<Child>,
    folder: PathBuf,
}

/// The configuration of every process. No limit: the quota of a provider is not what is measured.
fn config(services: &Services, receiver_url: &str, tuning: Tuning) -> anyhow::Result<String> {
    let mut config = json!({
        "database": {"url": services.database_url, "migrate": false},
        "redis": {"url": services.redis_url},
        "api": {"port": 0},
        "accounts": [{
            "slug": "brevo",
            "provider": "brevo_email",
            "base_url": format!("{receiver_url}/v3"),
            "api_key": receiver::API_KEY,
            "sender_email": bare::SENDER_EMAIL,
            "sender_name": bare::SENDER_NAME,
            "batch": tuning.batch,
            "limits": [],
        }],
    });
    if let Some(chunk) = tuning.chunk {
        config["launch"] = json!({"chunk": chunk});
    }
    if let Some(in_flight) = tuning.in_flight {
        config["worker"] = json!({"in_flight": in_flight});
    }
    toml::to_string(&config).context("the configuration")
}

impl Fleet {
    /// Starts the processes: the first has every role, the others only deliver. Returns once the first one is at work.
    pub(crate) async fn start(
        &mut self,
        binary: &Path,
        folder: &Path,
        (services, pool): (&Services, &PgPool),
        receiver_url: &str,
        tuning: Tuning,
    ) -> anyhow::Result<()> {
        ensure!(self.processes.is_empty(), "the processes run already");
        self.folder = folder.to_owned();
        let file = folder.join("fanfare.toml");
        std::fs::write(&file, config(services, receiver_url, tuning)?)?;
        let before = feeder(pool).await?;
        for number in 0..tuning.workers {
            let mut command = Command::new(binary);
            command.arg("serve").arg("--config").arg(&file);
            if number > 0 {
                command.args(["--roles", "worker"]);
            }
            let log = File::create(log(folder, number))?;
            let child = command
                // Nothing of this environment may change what is measured.
                .env_clear()
                .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
                .current_dir(folder)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
                .with_context(|| format!("{} cannot be started", binary.display()))?;
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
                // A process that is gone needs no signal.
                let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await;
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

impl Pids for Fleet {
    fn pids(&self) -> anyhow::Result<Vec<u32>> {
        self.pids()
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
