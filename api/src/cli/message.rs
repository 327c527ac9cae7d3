//! `fanfare message`: all that is known of one message.

use fanfare_engine::{
    domain::outcome::{FactKind, Reason},
    id::MessageId,
    store::messages::MessageRecord,
};
use serde_json::json;

use super::{
    context::Context,
    exit::{Exit, Failure},
    out,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Message, as in msg_01…
    message: MessageId,
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
}

pub(super) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    context.start_log(true)?;
    let store = context.store().await?;
    let tenant = context.tenant(&store, args.tenant.as_deref()).await?;
    let found = store.message(tenant.id, args.message).await?;
    let record = found.ok_or_else(|| {
        Failure::say(
            Exit::Refused,
            format!("tenant `{}` has no message {}: is it another tenant's?", tenant.slug, args.message),
        )
    })?;
    context.note(&store, context.deed(tenant.id, "message.read", args.message, json!({}))).await?;
    context.out.show(&record, text)
}

fn text(record: &MessageRecord) -> String {
    let because = |reason: &str| {
        reason.parse::<Reason>().map_or(reason.to_owned(), |reason| reason.sentence().to_owned())
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    if let Some(reason) = &record.excluded {
        rows.push(vec![String::new(), "not sent".to_owned(), because(reason)]);
    }
    for fact in &record.facts {
        let kind = FactKind::PRECEDENCE
            .iter()
            .find(|kind| **kind as i16 == fact.kind)
            .map_or("?", |kind| kind.as_str());
        let reason = fact.reason.as_deref().map(because);
        let details =
            [reason, fact.detail.clone(), fact.provider_id.clone()].into_iter().flatten().collect::<Vec<_>>();
        rows.push(vec![
            fact.at.to_jiff().to_string(),
            format!("{kind} (attempt {})", fact.attempt),
            details.join("; "),
        ]);
    }
    for event in &record.events {
        rows.push(vec![
            event.at.to_jiff().to_string(),
            event.kind.clone(),
            event.detail.clone().unwrap_or_default(),
        ]);
    }
    if rows.is_empty() {
        rows.push(vec![String::new(), "waits".to_owned(), "it has not been tried yet".to_owned()]);
    }
    format!("{} to {}\n\n{}", record.message, record.address, out::table(&["WHEN", "WHAT", "DETAIL"], &rows))
}
