//! A sandbox on its own: `serve [PORT] [CONFIG.toml]`. Prints its address and runs until it is interrupted.

use fanfare_sandbox::{Sandbox, SandboxConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next();
    let mut config: SandboxConfig = match arguments.next() {
        Some(path) => toml::from_str(&std::fs::read_to_string(path)?)?,
        None => SandboxConfig::default(),
    };
    if let Some(port) = port {
        config.port = port.parse()?;
    }
    let sandbox = Sandbox::start(config).await?;
    println!("{}", sandbox.base_url());
    tokio::signal::ctrl_c().await?;
    sandbox.shutdown().await;
    Ok(())
}
