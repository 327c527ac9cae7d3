//! The release binary `fanfare`, built when it is missing or older than its sources: Cargo decides.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

/// The root of the checkout.
pub(crate) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in a folder of the checkout")
}

/// Cargo's target folder that this program was built into.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("the path of this program")?;
    let target =
        program.parent().and_then(Path::parent).context("this program does not lie in a target folder")?;
    Ok(target.to_owned())
}

pub(crate) async fn fanfare() -> anyhow::Result<PathBuf> {
    let target = target()?;
    println!("building the release binary (Cargo shows its progress)");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "-p", "fanfare", "--bin", "fanfare", "--target-dir"])
        .arg(&target)
        .current_dir(checkout())
        .kill_on_drop(true)
        .status()
        .await
        .context("cargo cannot be started")?;
    ensure!(status.success(), "`cargo build --release -p fanfare` failed");
    Ok(target.join("release/fanfare"))
}
