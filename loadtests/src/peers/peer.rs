//! Which peers there are, and how each is brought into `target/peers` from its registry: pinned, and only when it is
//! not there already. It stays there, like everything that Cargo builds.

use std::{
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use serde::Serialize;
use tokio::process::Command;

use crate::binary::{checkout, target};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Peer {
    /// Node.js, Redis.
    Bullmq,
    /// Python, Redis.
    Celery,
    /// Rust, Redis or Postgres.
    Apalis,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A peer that can be started.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) peer: Peer,
    /// Where its programs run.
    pub(crate) folder: PathBuf,
    pub(crate) worker: Vec<OsString>,
    pub(crate) producer: Vec<OsString>,
}

impl Peer {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bullmq => "bullmq",
            Self::Celery => "celery",
            Self::Apalis => "apalis",
        }
    }

    /// Its sources.
    pub(crate) fn folder(self) -> PathBuf {
        checkout().join("loadtests/peers").join(self.name())
    }

    pub(crate) async fn install(self) -> anyhow::Result<Installed> {
        println!("installing {self}");
        let folder = target()?.join("peers").join(self.name());
        fs::create_dir_all(&folder)?;
        let program = |program: PathBuf, last: &str| vec![program.into_os_string(), last.into()];
        let (worker, producer) = match self {
            Self::Bullmq => {
                copy_files(&self.folder(), &folder)?;
                let ci = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"];
                once(&folder, "package-lock.json", &[&ci]).await?;
                (program("node".into(), "worker.js"), program("node".into(), "producer.js"))
            }
            Self::Celery => {
                copy_files(&self.folder(), &folder)?;
                let pip = ["venv/bin/pip", "install", "-q", "--no-deps", "-r", "requirements.txt"];
                let venv = ["python3", "-m", "venv", "--clear", "venv"];
                once(&folder, "requirements.txt", &[&venv, &pip]).await?;
                let python = folder.join("venv/bin/python");
                (program(python.clone(), "worker.py"), program(python, "producer.py"))
            }
            Self::Apalis => {
                let manifest = self.folder().join("Cargo.toml");
                let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
                let mut build = Command::new(cargo);
                build.args(["build", "--release", "--locked", "--manifest-path"]).arg(manifest);
                succeed(build.arg("--target-dir").arg(&folder).current_dir(self.folder())).await?;
                let binary = folder.join("release/apalis-peer");
                (program(binary.clone(), "worker"), program(binary, "producer"))
            }
        };
        Ok(Installed { peer: self, folder, worker, producer })
    }
}

/// The plain files of a folder.
fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Runs these commands in the folder unless they have succeeded there for the same content of the file `pins`.
async fn once(folder: &Path, pins: &str, commands: &[&[&str]]) -> anyhow::Result<()> {
    let (pins, done) = (fs::read(folder.join(pins))?, folder.join("installed"));
    if fs::read(&done).is_ok_and(|installed| installed == pins) {
        return Ok(());
    }
    for command in commands {
        succeed(Command::new(command[0]).args(&command[1..]).current_dir(folder)).await?;
    }
    fs::write(done, pins)?;
    Ok(())
}

async fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let name = command.as_std().get_program().to_owned();
    let status = command.kill_on_drop(true).status().await;
    let status = status.with_context(|| format!("{} cannot be started", name.display()))?;
    ensure!(status.success(), "{} failed: {status}", name.display());
    Ok(())
}
