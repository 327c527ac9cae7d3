//! `fanfare sandbox`: the providers, simulated.

use std::path::PathBuf;

use fanfare_engine::lifecycle::Signals;
use fanfare_sandbox::{RunningSandbox, Sandbox, SandboxConfig};
use serde_json::json;

use super::{
    context::Context,
    exit::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Settings of the sandbox: limits, scripted addresses, faults, webhooks
    #[arg(long, value_name = "FILE.toml")]
    settings: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    context.start_log(true)?;
    let mut config = match &args.settings {
        None => SandboxConfig::default(),
        Some(path) => {
            let bad =
                |problem: String| Failure::say(Exit::BadInput, format!("{}: {problem}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
            toml::from_str(&text).map_err(|error| bad(error.to_string()))?
        }
    };
    config.port = args.port;
    let shown = config.clone();
    let mut signals = Signals::new()?;
    let sandbox = Sandbox::start(config).await.map_err(Failure::refused)?;
    describe(context, &sandbox, &shown)?;
    signals.next().await;
    sandbox.shutdown().await;
    Ok(())
}

fn describe(context: &Context, sandbox: &RunningSandbox, config: &SandboxConfig) -> Result<(), Failure> {
    let base = sandbox.base_url();
    let brevo = config.brevo.accounts.first();
    let whatsapp = config.whatsapp.accounts.first();
    let mut variables = vec![("BREVO_BASE_URL", format!("{base}/v3")), ("WHATSAPP_BASE_URL", base.clone())];
    if let Some(account) = brevo {
        variables.push(("BREVO_API_KEY", account.api_key.clone()));
    }
    if let Some(account) = whatsapp {
        variables.push(("WHATSAPP_ACCESS_TOKEN", account.token.clone()));
        variables.push(("WHATSAPP_PHONE_NUMBER_ID", account.phone_number_id.clone()));
        variables.push(("WHATSAPP_APP_SECRET", account.app_secret.clone()));
        variables.push(("WHATSAPP_WEBHOOK_VERIFY_TOKEN", account.verify_token.clone()));
    }
    let answer = json!({
        "baseUrl": base,
        "variables": variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<std::collections::BTreeMap<_, _>>(),
    });
    context.out.show(&answer, |_| {
        let lines: Vec<String> = variables.iter().map(|(name, value)| format!("export {name}='{value}'")).collect();
        format!("The sandbox of the providers listens on {base}; Ctrl-C ends it. For a process that is to use it:\n\n{}\n\nWho got what: {base}/sandbox/audit", lines.join("\n"))
    })
}
