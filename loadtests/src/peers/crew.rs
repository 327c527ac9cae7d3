//! The processes of a peer. Each is told by `PEER_CONFIG` where its configuration lies, says `ready` on a line of its own
//! when it is at work, and ends at SIGTERM. The producer begins when a line comes on its standard input, and says `done`.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
    time::Instant,
};

use super::{audience::CONFIG, peer::Installed};
use crate::processes::{self, Pids};

const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(20);
/// How often a log is looked at.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Process {
    child: Child,
    log: PathBuf,
}

/// All processes of a session.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    workers: Vec<Process>,
    producer: Option<Process>,
}

impl Process {
    /// In a group of its own, so that its children end with it.
    fn start(command: &[OsString], cwd: &Path, folder: &Path, name: &str) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let child = Command::new(&command[0])
            .args(&command[1..])
            // Nothing of this environment may change what is measured.
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("PEER_CONFIG", folder.join(CONFIG))
            .env("NODE_ENV", "production")
            .current_dir(cwd)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", command[0].display()))?;
        Ok(Self { child, log })
    }

    fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("a process of the peer ended by itself ({status})"),
            None => Ok(()),
        }
    }

    /// Waits until it has said a word on a line of its own.
    async fn said(&mut self, word: &str, within: Duration) -> anyhow::Result<()> {
        let patience = Instant::now() + within;
        while !fs::read_to_string(&self.log)?.lines().any(|line| line == word) {
            self.check()?;
            ensure!(Instant::now() < patience, "a process of the peer has not said `{word}` in {within:?}");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn signal(&self, name: &str) {
        if let Some(pid) = self.child.id() {
            // A group that is gone needs no signal.
            let _ = Command::new("kill")
                .args([name, "--", &format!("-{pid}")])
                .stderr(Stdio::null())
                .status()
                .await;
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n");
        format!("--- the end of {}:\n{end}\n", self.log.display())
    }
}

impl Crew {
    pub(crate) async fn start_workers(
        &mut self,
        peer: &Installed,
        folder: &Path,
        count: u64,
    ) -> anyhow::Result<()> {
        for number in 0..count {
            let name = format!("worker-{number}");
            self.workers.push(Process::start(&peer.worker, &peer.folder, folder, &name)?);
        }
        for worker in &mut self.workers {
            worker.said("ready", READY_WITHIN).await?;
        }
        Ok(())
    }

    pub(crate) async fn start_producer(&mut self, peer: &Installed, folder: &Path) -> anyhow::Result<()> {
        let producer =
            self.producer.insert(Process::start(&peer.producer, &peer.folder, folder, "producer")?);
        producer.said("ready", READY_WITHIN).await
    }

    /// Lets the producer begin.
    pub(crate) async fn enqueue(&mut self) -> anyhow::Result<()> {
        let producer = self.producer.as_mut().context("there is a producer")?;
        let input = producer.child.stdin.as_mut().context("the producer has an input")?;
        input.write_all(b"go\n").await.context("the producer")?;
        Ok(input.flush().await?)
    }

    /// Waits until everything is enqueued.
    pub(crate) async fn enqueued(&mut self, within: Duration) -> anyhow::Result<()> {
        self.producer.as_mut().context("there is a producer")?.said("done", within).await
    }

    pub(crate) fn has_enqueued(&self) -> bool {
        let said = |producer: &Process| fs::read_to_string(&producer.log).ok();
        self.producer.as_ref().and_then(said).is_some_and(|text| text.lines().any(|line| line == "done"))
    }

    /// Fails when a process has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.workers.iter_mut().chain(&mut self.producer).try_for_each(Process::check)
    }

    fn all(&self) -> impl Iterator<Item = &Process> {
        self.workers.iter().chain(&self.producer)
    }

    pub(crate) fn peak_rss(&self) -> anyhow::Result<u64> {
        self.pids()?.into_iter().map(processes::peak_rss_with_children).sum()
    }

    pub(crate) fn last_words(&self) -> String {
        self.all().map(Process::last_words).collect()
    }

    /// Lets the processes finish, then ends them with all their children.
    pub(crate) async fn stop(&mut self) {
        for process in self.all() {
            process.signal("-TERM").await;
        }
        let patience = Instant::now() + END_WITHIN;
        for process in self.workers.iter_mut().chain(&mut self.producer) {
            // Its id is the group's, and is known only until it has been waited for.
            let group = process.child.id();
            if tokio::time::timeout_at(patience, process.child.wait()).await.is_err() {
                eprintln!("loadtests: a process of the peer did not end within {END_WITHIN:?} and is killed");
                process.signal("-KILL").await;
                let _ = process.child.wait().await;
            } else if let Some(group) = group {
                // Children that outlived it.
                let _ = Command::new("kill")
                    .args(["-KILL", "--", &format!("-{group}")])
                    .stderr(Stdio::null())
                    .status()
                    .await;
            }
        }
        self.workers.clear();
        self.producer = None;
    }
}

impl Pids for Crew {
    fn pids(&self) -> anyhow::Result<Vec<u32>> {
        self.all().map(|process| process.child.id().context("a process of the peer has ended")).collect()
    }
}
