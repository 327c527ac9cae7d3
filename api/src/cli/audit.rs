//! `fanfare audit`: whether the audit log is as it was written.

use fanfare_engine::store::audit::Verified;
use serde_json::json;

use super::{
    context::Context,
    exit::{Exit, Failure},
};

#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Make every hash again, and compare; prints the last one, to be noted elsewhere
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
pub struct Verify {
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
}

pub(super) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    context.start_log(true)?;
    let Args::Verify(Verify { tenant }) = args;
    let store = context.store().await?;
    let tenant = context.tenant(&store, tenant.as_deref()).await?;
    match store.verify_audit_log(tenant.id).await? {
        Verified::Whole { rows, hash } => {
            let whole = json!({"rows": rows, "hash": hex::encode(hash)});
            context.out.show(&whole, |whole| {
                format!("The log of {} is whole: {} rows, the last with the hash {}.", tenant.slug, whole["rows"], whole["hash"].as_str().unwrap_or_default())
            })
        }
        Verified::Broken { seq } => Err(Failure::say(
            Exit::Refused,
            format!("the log of {} was changed: row {seq} is missing, was put in, or is not what was written", tenant.slug),
        )),
    }
}
