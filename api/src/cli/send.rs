//! `fanfare send`: one message to one person, now.

use std::{collections::BTreeMap, time::Duration};

use fanfare_engine::{
    deliver::direct::{DirectContent, DirectRequest, Taken, variables},
    domain::{address::masked, channel::Channel, outcome::Outcome},
    id::MessageId,
};
use serde_json::json;

use super::{
    context::Context,
    exit::{Exit, Failure},
    suppress,
};
use crate::assemble;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Slug of the template
    #[arg(long)]
    template: String,
    /// E-mail address or phone number
    #[arg(long)]
    to: String,
    /// A value of the template, as NAME=VALUE; may be repeated. JSON is taken as JSON
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pair)]
    vars: Vec<(String, String)>,
    /// email, sms, whatsapp or in_app [default: email for an e-mail address]
    #[arg(long)]
    channel: Option<Channel>,
    /// Language of the message [default: the tenant's]
    #[arg(long)]
    locale: Option<String>,
    /// At most one message ever bears this key
    #[arg(long)]
    business_key: Option<String>,
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, as in first_name=Anita")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    context.start_log(true)?;
    let store = context.store().await?;
    let engine = assemble::engine(context.config(), store.clone(), &context.sources).await?;
    let tenant = context.tenant(&store, args.tenant.as_deref()).await?;
    let (channel, to) = suppress::parsed(&args.to, args.channel, &tenant)?;
    let pairs: BTreeMap<String, String> = args.vars.into_iter().collect();
    // No role: only what is taken in here is sent.
    let running = engine.start(&[]);
    let taken = running
        .direct
        .take(DirectRequest {
            locale: args.locale.as_deref(),
            variables: variables(&pairs),
            business_key: args.business_key.as_deref(),
            ..DirectRequest::new(&tenant, channel, DirectContent::Template(&args.template), &to)
        })
        .await;
    let patience = Duration::from_millis(context.config().http.timeout_ms) + Duration::from_secs(2);
    let ended = match taken {
        Ok(taken) => ended(taken, patience).await,
        Err(error) => {
            running.shut_down().await;
            return Err(error.into());
        }
    };
    running.shut_down().await;
    let detail =
        json!({"channel": channel, "to": masked(&to), "content": args.template, "state": ended.state});
    context.note(&store, context.deed(tenant.id, "message.send", ended.message, detail)).await?;
    report(context, ended)
}

/// How it ended, as far as this process saw it.
struct Ended {
    message: MessageId,
    state: &'static str,
    sentence: String,
    exit: Exit,
}

async fn ended(taken: Taken, patience: Duration) -> Ended {
    match taken {
        Taken::Refused { message, reason } => Ended {
            message,
            state: "suppressed",
            sentence: format!("not sent: {}", reason.sentence()),
            exit: Exit::Refused,
        },
        Taken::Duplicate { message } => {
            let sentence =
                "not sent again: this message was accepted before with the same business key".to_owned();
            Ended { message, state: "duplicate", sentence, exit: Exit::Refused }
        }
        Taken::Accepted { message, outcome, .. } => match tokio::time::timeout(patience, outcome).await {
            Ok(Ok(outcome)) => told(message, &outcome),
            _ => {
                let sentence =
                    "accepted; it leaves as soon as a worker has room (`fanfare serve`)".to_owned();
                Ended { message, state: "waiting", sentence, exit: Exit::Done }
            }
        },
    }
}

fn told(message: MessageId, outcome: &Outcome) -> Ended {
    let because = outcome.reason().map_or("", |reason| reason.sentence());
    let (sentence, exit) = match outcome {
        Outcome::Accepted { .. } => ("sent".to_owned(), Exit::Done),
        Outcome::Retry { .. } => (format!("accepted; it will be tried again ({because})"), Exit::Done),
        Outcome::Unknown { .. } => (format!("perhaps sent: {because}"), Exit::Refused),
        Outcome::Failed { .. } | Outcome::Suppressed { .. } | Outcome::Abandoned { .. } => {
            (format!("not sent: {because}"), Exit::Refused)
        }
    };
    Ended { message, state: outcome.kind().as_str(), sentence, exit }
}

fn report(context: &Context, ended: Ended) -> Result<(), Failure> {
    let Ended { message, state, sentence, exit } = ended;
    let answer = json!({"message": message, "state": state, "because": sentence});
    context.out.show(&answer, |_| format!("{message}: {sentence}"))?;
    match exit {
        Exit::Done => Ok(()),
        _ => Err(Failure::say(exit, format!("the message was {sentence}"))),
    }
}
