//! `fanfare demo`: a sample insurer, its real files and its campaigns, against simulated providers, in one process.
//!
//! Everything is what production runs: the files are imported, the audiences frozen, the queue is Redis, the messages
//! go out over HTTP and the webhooks come back over HTTP, signed. Some addresses are made to fail. At the end every
//! recipient must be accounted for as `api/demo/expected.toml` says, and the providers' own ledger must agree: nobody
//! twice, nobody with another's content. Each run has a tenant of its own, so that it can be repeated on one database.

mod house;
mod plan;
mod verify;

use std::time::Duration;

use fanfare_engine::{
    domain::address::EmailAddress,
    engine::{Engine, Role},
    launch,
    lifecycle::{Lifecycle, Signals},
    store::{Store, sign_in::LinkPurpose, tenants::Tenant},
};
use fanfare_sandbox::RunningSandbox;
use indicatif::MultiProgress;
use tokio::time::Instant;

use self::{
    house::Draft,
    plan::{Plan, Planned},
    verify::Ended,
};
use crate::{
    assemble,
    cli::{
        Global,
        context::Context,
        exit::{Exit, Failure},
        follow::{Meter, done, note},
        migrate, out, serve, user,
    },
    pages,
};

const LOOK: Duration = Duration::from_millis(250);
/// Beyond this the demo has failed, plus a second for every hundred generated messages.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long no webhook at all may come before those that are missing are given up.
const WEBHOOKS: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// End when the campaigns have; the exit code says whether everybody is accounted for
    #[arg(long)]
    once: bool,
    /// Send a generated campaign of so many messages, too
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=10_000_000))]
    messages: i64,
}

fn say(text: impl std::fmt::Display) {
    eprintln!("==> {text}");
}

pub(crate) async fn run(global: &Global, caller: &Context, args: &Args) -> Result<(), Failure> {
    caller.start_log(global.verbose == 0)?;
    crate::telemetry::metrics();
    let store = caller.store().await?;
    migrate::migrate(&store).await?;
    let mut plan = Plan::read()?;
    if args.messages > 0 {
        plan.add_generated(args.messages);
    }
    let sandbox = house::sandbox(&plan).await?;
    let (life, mut signals) = (Lifecycle::new(), Signals::new()?);
    let outcome = tokio::select! {
        outcome = show(caller, args, &plan, &sandbox, &life) => outcome,
        _ = signals.next() => Err(Failure::say(Exit::Interrupted, "interrupted")),
    };
    if outcome.is_ok() && !args.once {
        say("everything keeps running; Ctrl-C ends it");
    } else {
        life.stop();
    }
    life.ended(&mut signals).await;
    sandbox.shutdown().await;
    outcome
}

/// Sets everything up, sends, and compares.
async fn show(
    caller: &Context,
    args: &Args,
    plan: &Plan,
    sandbox: &RunningSandbox,
    life: &Lifecycle,
) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let slug = format!("island-mutual-{}", &caller.sources.ids.random_uuid().simple().to_string()[..8]);
    let loaded = house::configuration(caller, folder.path(), &slug, &sandbox.base_url())?;
    let context = Context {
        loaded,
        out: caller.out,
        sources: caller.sources.clone(),
        operator: caller.operator.clone(),
    };
    let engine = assemble::engine(context.config(), context.store().await?, &context.sources).await?;
    let running = engine.start(&Role::ALL);
    let listening = serve::listen(&context, &engine, &running, life).await?;
    let port = listening.port;
    house::hook_up(sandbox, &engine.accounts, port);
    serve::work(&engine, running, Some(listening), life);
    say(format!(
        "the service: http://127.0.0.1:{port}/readyz and /metrics; the providers' ledger: {}/sandbox/audit",
        sandbox.base_url()
    ));
    let tenant = engine.store.tenant(&slug).await?;
    if !args.once {
        say(door(&context, &engine.store, &tenant, port).await?);
    }
    let mut drafts = Vec::new();
    for planned in &plan.campaigns {
        drafts.push(set_up(&context, &engine, &tenant, planned, (folder.path(), args.messages)).await?);
    }
    for draft in &drafts {
        launch::launch(&engine.store, tenant.id, draft.campaign).await?;
    }
    let patience = PATIENCE + Duration::from_secs(u64::try_from(args.messages).unwrap_or(0) / 100);
    watch(&engine.store, &tenant, &drafts, patience).await?;
    webhooks(sandbox, &engine.store, &tenant).await?;
    let suppressions = verify::suppressions(&engine.store, &tenant, &plan.suppressions).await?;
    compare(&context, &engine.store, &tenant, &drafts, (sandbox, suppressions)).await
}

/// Where to look around, and as whom: the link is good once, and stands nowhere else.
async fn door(context: &Context, store: &Store, tenant: &Tenant, port: u16) -> Result<String, Failure> {
    let email = EmailAddress::parse(&format!("owner@{}.example", tenant.slug)).map_err(Failure::refused)?;
    let (_, token) = user::invite(context, store, tenant, (&email, "Demo")).await?;
    let base = format!("http://127.0.0.1:{port}");
    Ok(format!(
        "the API: {base}/api/docs/; you are {email} once you have set your password, here and within four hours:\n    {link}",
        email = email.as_str(),
        link = pages::link(&base, LinkPurpose::Invitation, &token),
    ))
}

async fn set_up(
    context: &Context,
    engine: &Engine,
    tenant: &Tenant,
    planned: &Planned,
    (folder, messages): (&std::path::Path, i64),
) -> Result<Draft, Failure> {
    let bytes = plan::file(&planned.file, messages).ok_or_else(|| {
        Failure::say(Exit::BadInput, format!("{} does not come with the demo", planned.file))
    })?;
    let path = folder.join(&planned.file);
    std::fs::write(&path, bytes)?;
    say(format!("importing {}", planned.file));
    let draft = house::draft(context, &engine.store, tenant, planned, &path).await?;
    let report = &draft.report;
    say(format!(
        "{} rows read: {} taken, {} refused; {} contacts made; campaign {}",
        report.rows_read, report.rows_taken, report.rows_refused, report.contacts_created, draft.campaign
    ));
    Ok(draft)
}

/// Waits until every campaign has finished.
async fn watch(store: &Store, tenant: &Tenant, drafts: &[Draft], patience: Duration) -> Result<(), Failure> {
    let all = MultiProgress::new();
    let mut meters: Vec<Meter> = drafts.iter().map(|draft| Meter::among(&all, &draft.planned.name)).collect();
    let give_up = Instant::now() + patience;
    loop {
        let mut open = 0;
        for (draft, meter) in drafts.iter().zip(&mut meters) {
            let state = store.campaign(tenant.id, draft.campaign).await?.state;
            let progress = store.progress(tenant.id, draft.campaign).await?;
            meter.set(done(&progress), draft.report.rows_taken, note(state, &progress));
            open += usize::from(state.as_str() != "finished");
        }
        if open == 0 {
            meters.into_iter().for_each(Meter::end);
            return Ok(());
        }
        if Instant::now() > give_up {
            return Err(Failure::say(
                Exit::Refused,
                format!("{open} campaigns have not finished in {} s", patience.as_secs()),
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until every webhook has been sent, taken in and applied.
async fn webhooks(sandbox: &RunningSandbox, store: &Store, tenant: &Tenant) -> Result<(), Failure> {
    let mut meter = Meter::new("webhooks");
    let (mut least, mut moved) = (u64::MAX, Instant::now());
    loop {
        let (counts, backlog) = (sandbox.webhook_counts(), store.webhooks_waiting(tenant.id).await?);
        let waiting = u64::try_from(counts.outstanding).unwrap_or(0) + u64::try_from(backlog).unwrap_or(0);
        meter.set(counts.delivered, counts.delivered + waiting, "");
        if waiting == 0 {
            meter.end();
            say(format!(
                "{} webhooks came back, were stored and applied; {} came more than once",
                counts.delivered, counts.retried
            ));
            return Ok(());
        }
        if waiting < least {
            (least, moved) = (waiting, Instant::now());
        }
        if moved.elapsed() > WEBHOOKS {
            return Err(Failure::say(
                Exit::Refused,
                format!(
                    "{waiting} webhooks are not applied, and nothing has moved for {} s",
                    WEBHOOKS.as_secs()
                ),
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn compare(
    context: &Context,
    store: &Store,
    tenant: &Tenant,
    drafts: &[Draft],
    (sandbox, suppressions): (&RunningSandbox, Option<String>),
) -> Result<(), Failure> {
    let (ledger, mut wrong) = verify::ledger(sandbox);
    wrong.extend(suppressions);
    let (mut rows, mut lines, mut answer) = (Vec::new(), Vec::new(), Vec::new());
    for draft in drafts {
        let ended = verify::ended(store, tenant, draft).await?;
        let arrived = ledger.get(&draft.campaign).map_or(&[][..], Vec::as_slice);
        let mut of_this = verify::counts(draft, &ended);
        of_this.extend(verify::messages(store, tenant, draft, arrived, ended.ends.sent).await?);
        wrong.extend(of_this.iter().map(|problem| format!("{}: {problem}", draft.planned.name)));
        rows.push(row(draft, &ended));
        lines.extend(
            ended
                .ends
                .reasons
                .iter()
                .map(|(reason, count)| format!("{count:>9}  {}: {reason}", draft.planned.name)),
        );
        answer.push(json(draft, &ended, &of_this));
    }
    let heading = ["CAMPAIGN", "CHANNEL", "RECIPIENTS", "SENT", "FAILED", "SUPPRESSED", "UNKNOWN"];
    let answer = serde_json::json!({"tenant": tenant.slug, "campaigns": answer, "wrong": wrong});
    context.out.show(&answer, |_| {
        let verdict = if wrong.is_empty() {
            "Everybody is accounted for; nobody was written to twice, and every message says what its row says.".to_owned()
        } else {
            format!("NOT as expected:\n  {}", wrong.join("\n  "))
        };
        format!("\n{}\n\n{}\n\n{verdict}", out::table(&heading, &rows), lines.join("\n"))
    })?;
    match wrong.len() {
        0 => Ok(()),
        count => {
            Err(Failure::say(Exit::Refused, format!("{count} things are not as api/demo/expected.toml says")))
        }
    }
}

fn row(draft: &Draft, ended: &Ended) -> Vec<String> {
    let (planned, ends) = (&draft.planned, &ended.ends);
    let numbers = [ends.recipients, ends.sent, ends.failed, ends.suppressed, ends.unknown];
    let mut cells = vec![planned.name.clone(), planned.channel.to_string()];
    cells.extend(numbers.iter().map(ToString::to_string));
    cells
}

fn json(draft: &Draft, ended: &Ended, wrong: &[String]) -> serde_json::Value {
    let ends = &ended.ends;
    serde_json::json!({
        "campaign": draft.campaign, "name": draft.planned.name, "channel": draft.planned.channel,
        "recipients": ends.recipients, "sent": ends.sent, "failed": ends.failed, "suppressed": ends.suppressed,
        "unknown": ends.unknown, "reasons": ends.reasons, "wrong": wrong,
    })
}
