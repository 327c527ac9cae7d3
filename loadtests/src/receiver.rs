//! Who receives, the sandbox or the sink, in a process of its own, so that its CPU time can be told from the sender's: both
//! ends of that process.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use fanfare_sandbox::{
    BrevoAccount, BrevoConfig, ChannelFaults, Faults, Latency, Limit, MessageRecord, Sandbox, SandboxConfig,
    Summary,
};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::sink::{self, Hooked, Wanted};

pub(crate) const API_KEY: &str = "xkeysib-loadtest";
/// What a webhook has to show.
pub(crate) const HOOK_TOKEN: &str = "loadtest-hooks";
const PAGE: usize = 20_000;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// The provider, simulated: it judges every request.
    Sandbox,
    /// It answers and counts.
    Sink,
}

impl Kind {
    /// What it says of a message whose content is known, part by part.
    pub(crate) fn digest(self, address: &str, message_id: &str, parts: &[String]) -> String {
        match self {
            Self::Sandbox => {
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                hex::encode(fanfare_sandbox::digest(address, message_id, &parts))
            }
            Self::Sink => sink::digest(address, message_id, parts),
        }
    }
}

#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Options {
    #[arg(long, value_enum)]
    pub(crate) receiver: Kind,
    /// Time between acceptance and answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub(crate) latency_ms: u64,
}

/// Everything that judges a sender is on; what would hold one up on purpose, quotas and webhooks, is off.
fn config(options: Options) -> SandboxConfig {
    let account = BrevoAccount {
        api_key: API_KEY.to_owned(),
        email_per_second: Limit::Unlimited,
        batches_per_minute: Limit::Unlimited,
        ..BrevoAccount::default()
    };
    let email = ChannelFaults { latency_ms: Latency::Fixed(options.latency_ms), ..ChannelFaults::default() };
    SandboxConfig {
        brevo: BrevoConfig { accounts: vec![account], ..BrevoConfig::default() },
        faults: Faults { email, ..Faults::default() },
        ..SandboxConfig::default()
    }
}

/// Serves until standard input ends: whoever started it may die in any way.
pub(crate) async fn serve(options: Options) -> anyhow::Result<()> {
    if options.receiver == Kind::Sink {
        return sink::serve(Duration::from_millis(options.latency_ms)).await;
    }
    let sandbox = Sandbox::start(config(options)).await?;
    println!("{}", sandbox.base_url());
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    sandbox.shutdown().await;
    Ok(())
}

/// A running sandbox, seen from outside.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) receiver: Kind,
    child: Child,
    url: String,
    client: reqwest::Client,
}

/// A page of what was received, in no particular order.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) records: Vec<MessageRecord>,
    pub(crate) next: Option<u64>,
}

impl Receiver {
    pub(crate) async fn start(options: Options) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["receive", "--latency-ms", &options.latency_ms.to_string(), "--receiver"])
            .arg(match options.receiver {
                Kind::Sandbox => "sandbox",
                Kind::Sink => "sink",
            })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the parent, which ends its children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("the sandbox cannot be started")?;
        let output = child.stdout.take().context("the sandbox has an output")?;
        let url = BufReader::new(output).lines().next_line().await?.context("the sandbox did not start")?;
        Ok(Self { receiver: options.receiver, child, url, client: crate::bare::client()? })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the sandbox has ended")
    }

    /// Forgets everything received, and posts no more webhooks.
    pub(crate) async fn reset(&self) -> anyhow::Result<()> {
        let status = self.client.delete(format!("{}/sandbox/audit", self.url)).send().await?.status();
        ensure!(status.is_success(), "the sandbox refused to forget: {status}");
        Ok(())
    }

    /// Its clock, in microseconds since its start.
    pub(crate) async fn clock_us(&self) -> anyhow::Result<u64> {
        #[derive(Deserialize)]
        struct Clock {
            monotonic_us: u64,
        }
        let text = self.get("/sandbox/clock").await?;
        Ok(serde_json::from_str::<Clock>(&text)?.monotonic_us)
    }

    pub(crate) async fn summary(&self) -> anyhow::Result<Summary> {
        Ok(serde_json::from_str(&self.get("/sandbox/audit").await?)?)
    }

    /// From now on, until it forgets, the sink posts a webhook for every message.
    pub(crate) async fn hook(&self, wanted: &Wanted) -> anyhow::Result<()> {
        self.post("/sandbox/hooks", serde_json::to_vec(wanted)?).await
    }

    /// Ends its webhooks: nobody posts to a process that is gone.
    pub(crate) async fn unhook(&self) -> anyhow::Result<()> {
        let status = self.client.delete(format!("{}/sandbox/hooks", self.url)).send().await?.status();
        ensure!(status.is_success(), "the sink goes on posting webhooks: {status}");
        Ok(())
    }

    /// Makes the sink post the webhooks of everything that it has received.
    pub(crate) async fn tell(&self) -> anyhow::Result<()> {
        self.post("/sandbox/hooks/ledger", Vec::new()).await
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> anyhow::Result<()> {
        let response = self.client.post(format!("{}{path}", self.url)).body(body).send().await?;
        ensure!(response.status().is_success(), "the sink refused to post webhooks: {}", response.status());
        Ok(())
    }

    /// How far its webhooks have come.
    pub(crate) async fn hooked(&self) -> anyhow::Result<Hooked> {
        Ok(serde_json::from_str(&self.get("/sandbox/hooks").await?)?)
    }

    /// What was received, from the cursor `after` on (0: from the start).
    pub(crate) async fn received(&self, after: u64) -> anyhow::Result<Received> {
        #[derive(Deserialize)]
        struct Next {
            next: u64,
        }
        let text = self.get(&format!("/sandbox/audit/messages?after={after}&limit={PAGE}")).await?;
        let mut page = Received { records: Vec::with_capacity(PAGE), next: None };
        for line in text.lines() {
            if line.starts_with("{\"next\"") {
                page.next = Some(serde_json::from_str::<Next>(line)?.next);
            } else {
                page.records.push(serde_json::from_str(line)?);
            }
        }
        Ok(page)
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let response = self.client.get(format!("{}{path}", self.url)).send().await?;
        Ok(response.error_for_status()?.text().await?)
    }

    /// Lets it end by itself, then ends it.
    pub(crate) async fn stop(mut self) {
        drop(self.child.stdin.take());
        if tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await.is_err() {
            // It is gone either way once this handle is dropped.
            let _ = self.child.kill().await;
        }
    }
}
