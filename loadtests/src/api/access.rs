//! How callers get in: an owner is invited by the command line, sets a password over HTTP, and makes a key for a program.

use std::{net::SocketAddr, path::Path, process::Stdio};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use super::connection::{Ask, Connection};
use crate::seed;

const PASSWORD: &str = "a long sentence that nobody guesses";

/// What the two kinds of callers show.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// Of a person, for minutes.
    pub(crate) token: String,
    /// Of a program.
    pub(crate) key: String,
}

impl Access {
    /// An owner called `name`, who must be new.
    pub(crate) async fn make(
        binary: &Path,
        folder: &Path,
        address: SocketAddr,
        name: &str,
    ) -> anyhow::Result<Self> {
        let link = invite(binary, folder, name).await?;
        let mut connection = Connection::open(address).await?;
        let accepted = connection.ask(None, Ask::post(link, &json!({"password": PASSWORD}))).await?;
        let token = text(&accepted.data().context("the invitation")?["token"])?;
        let wanted = json!({"name": "load test", "scopes": ["*"]});
        let made = connection.ask(Some(&token), Ask::post("/api/keys", &wanted)).await?;
        let key = text(&made.data().context("the key")?["key"])?;
        Ok(Self { token, key })
    }
}

/// The path of the link that sets the password.
async fn invite(binary: &Path, folder: &Path, name: &str) -> anyhow::Result<String> {
    let told = Command::new(binary)
        .args(["--json", "user", "owner", &format!("{name}@harmony.example"), "--name", "Load"])
        .args(["--tenant", seed::TENANT, "--config"])
        .arg(folder.join("fanfare.toml"))
        // Nothing of this environment may change what is measured.
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{} cannot be started", binary.display()))?;
    ensure!(told.status.success(), "`fanfare user owner` failed: {}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_slice(&told.stdout).context("`fanfare user owner --json`")?;
    let url = text(&told["url"])?;
    let (_, link) = url.split_once('#').context("the link names the route that takes it")?;
    Ok(format!("/api/auth/{link}"))
}

fn text(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).context("the API did not tell what it should")
}
