//! `fanfare doctor`: what is reachable, what is missing, and what to do. Changes nothing.

use std::time::Duration;

use fanfare_engine::{
    domain::channel::{Channel, Lane, MessageClass, Provider},
    link::RedisLink,
    queue::Queue,
    store::{Store, health::Schema},
};
use serde::Serialize;

use super::{
    context::Context,
    exit::{Exit, Failure},
    out,
};
use crate::assemble;

/// The oldest Postgres that the queries are tested on.
const OLDEST_POSTGRES: u32 = 15;
/// Leases and due times are the database's; logs and ids are ours. More than this confuses whoever compares them.
const SKEW: Duration = Duration::from_secs(2);
/// Less free space than this, and somebody should look.
const FREE_KB: u64 = 5 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    /// It works, but not as well as it should.
    Warning,
    Bad,
    Unreachable,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    what: String,
    verdict: Verdict,
    /// What was found, and what to do about it.
    note: String,
}

impl Finding {
    fn new(what: impl Into<String>, verdict: Verdict, note: impl Into<String>) -> Self {
        Self { what: what.into(), verdict, note: note.into() }
    }
}

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    context.start_log(true)?;
    let mut findings = vec![configuration(context)];
    // Side by side: each may wait until its patience is at an end.
    let (database, redis, accounts) = tokio::join!(database(context), redis(context), accounts(context));
    let reached = database.iter().all(|finding| finding.verdict != Verdict::Unreachable);
    findings.extend(database);
    findings.push(redis);
    findings.extend(accounts);
    if reached {
        findings.extend(webhooks(context).await);
    }
    findings.push(public_pages(context));
    findings.push(disk());
    context.out.show(&findings, |findings| {
        let row = |f: &Finding| vec![word(f.verdict).to_owned(), f.what.clone(), f.note.clone()];
        let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
        out::table(&["", "WHAT", "FOUND"], &rows)
    })?;
    let any = |verdict| findings.iter().any(|finding| finding.verdict == verdict);
    match (any(Verdict::Unreachable), any(Verdict::Bad)) {
        (true, _) => Err(Failure::say(Exit::Unreachable, "not everything can be reached: see above")),
        (_, true) => Err(Failure::say(Exit::Refused, "something has to be put right first: see above")),
        _ => Ok(()),
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "ok",
        Verdict::Warning => "look",
        Verdict::Bad => "BAD",
        Verdict::Unreachable => "AWAY",
    }
}

fn configuration(context: &Context) -> Finding {
    let from = context
        .loaded
        .file
        .as_ref()
        .map_or("no file, defaults".to_owned(), |file| file.display().to_string());
    let accounts = context.config().accounts.len();
    match accounts {
        0 => Finding::new(
            "configuration",
            Verdict::Warning,
            format!("{from}; no account, so nothing can be sent: add [[accounts]]"),
        ),
        _ => Finding::new("configuration", Verdict::Good, format!("{from}; {accounts} accounts")),
    }
}

async fn database(context: &Context) -> Vec<Finding> {
    let url = &context.config().database.url;
    let store = match assemble::store(context.config()) {
        Ok(store) => store,
        Err(error) => return vec![Finding::new("postgres", Verdict::Bad, format!("{url}: {error}"))],
    };
    if let Err(error) = store.ping().await {
        let note = format!("{url}: {error}; start it, or correct DATABASE_URL");
        return vec![Finding::new("postgres", Verdict::Unreachable, note)];
    }
    let mut findings = Vec::new();
    for look in [
        version(&store).await,
        schema(&store).await,
        settings(context, &store).await,
        clock(context, &store).await,
        partitions(&store).await,
    ] {
        match look {
            Ok(finding) => findings.push(finding),
            Err(error) => findings.push(Finding::new("postgres", Verdict::Bad, error.to_string())),
        }
    }
    findings
}

type Look = Result<Finding, fanfare_engine::store::StoreError>;

async fn version(store: &Store) -> Look {
    let version = store.server_version().await?;
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    Ok(if major >= OLDEST_POSTGRES {
        Finding::new("postgres", Verdict::Good, version)
    } else {
        Finding::new(
            "postgres",
            Verdict::Bad,
            format!("{version} is too old: use {OLDEST_POSTGRES} or later"),
        )
    })
}

async fn schema(store: &Store) -> Look {
    Ok(match store.schema().await? {
        Schema::Current => Finding::new("schema", Verdict::Good, "up to date"),
        Schema::Behind { missing } => {
            Finding::new("schema", Verdict::Bad, format!("lacks {missing} migrations: run `fanfare migrate`"))
        }
        Schema::Ahead { unknown } => Finding::new(
            "schema",
            Verdict::Bad,
            format!("{unknown} migrations of a newer version: run that version"),
        ),
    })
}

async fn settings(context: &Context, store: &Store) -> Look {
    let settings = store.durability().await?;
    let off: Vec<&str> = settings
        .iter()
        .filter(|setting| setting.value == "off")
        .map(|setting| setting.name.as_str())
        .collect();
    if !off.is_empty() {
        let note = format!(
            "{} is off: what was accepted can be lost with the machine; switch it on",
            off.join(", ")
        );
        return Ok(Finding::new("durability", Verdict::Bad, note));
    }
    let most = settings
        .iter()
        .find(|setting| setting.name == "max_connections")
        .and_then(|setting| setting.value.parse::<u32>().ok());
    let database = &context.config().database;
    let ours = database.connections
        + 2 * database.api_connections
        + database.urgent_connections
        + assemble::PACE_CONNECTIONS;
    Ok(match most {
        Some(most) if most < ours + 5 => {
            let note = format!(
                "max_connections is {most}, and one process may take {ours}: raise it, or lower database.connections"
            );
            Finding::new("durability", Verdict::Warning, note)
        }
        _ => {
            Finding::new("durability", Verdict::Good, "fsync, full_page_writes and synchronous_commit are on")
        }
    })
}

async fn clock(context: &Context, store: &Store) -> Look {
    let theirs = store.now().await?;
    let skew = context.sources.clock.now().duration_since(theirs).unsigned_abs();
    Ok(if skew > SKEW {
        let note = format!(
            "this machine and the database differ by {} s: run a time service on both",
            skew.as_secs()
        );
        Finding::new("clock", Verdict::Warning, note)
    } else {
        Finding::new("clock", Verdict::Good, "this machine agrees with the database")
    })
}

async fn partitions(store: &Store) -> Look {
    let next = store
        .now()
        .await?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date()
        .saturating_add(jiff::Span::new().months(1));
    let wanted = format!("{:04}_{:02}", next.year(), next.month());
    Ok(match store.last_partition().await? {
        Some(last) if last >= wanted => {
            Finding::new("partitions", Verdict::Good, format!("until {}", last.replace('_', "-")))
        }
        last => {
            let last = last.map_or("none".to_owned(), |last| last.replace('_', "-"));
            let note = format!("the last is {last}: the role `upkeep` makes them; does a process play it?");
            Finding::new("partitions", Verdict::Warning, note)
        }
    })
}

async fn redis(context: &Context) -> Finding {
    let redis = &context.config().redis;
    let link = match RedisLink::open(redis.url.expose()) {
        Ok(link) => link,
        Err(error) => return Finding::new("redis", Verdict::Bad, error.to_string()),
    };
    let lane = Lane { channel: Channel::Email, class: MessageClass::Transactional };
    let queue = Queue::new(link, &redis.prefix);
    match tokio::time::timeout(PATIENCE, queue.depth(lane, context.sources.clock.now())).await {
        Ok(Ok(_)) => Finding::new("redis", Verdict::Good, redis.url.to_string()),
        Ok(Err(error)) => Finding::new(
            "redis",
            Verdict::Unreachable,
            format!("{}: {error}; sending goes on, more slowly", redis.url),
        ),
        Err(_) => Finding::new(
            "redis",
            Verdict::Unreachable,
            format!("{} does not answer; sending goes on, more slowly", redis.url),
        ),
    }
}

async fn accounts(context: &Context) -> Vec<Finding> {
    let probes = context.config().accounts.iter().map(|account| async move {
        let what = format!("account {}", account.slug);
        if account.settings.provider() == Provider::InApp {
            return Finding::new(what, Verdict::Good, "needs nothing but the database");
        }
        let adapter = match assemble::adapter(context.config(), account) {
            Ok(adapter) => adapter,
            Err(error) => return Finding::new(what, Verdict::Bad, error.to_string()),
        };
        let provider = account.settings.provider();
        match tokio::time::timeout(PATIENCE, adapter.probe()).await {
            Ok(Ok(())) => Finding::new(what, Verdict::Good, format!("{provider} accepts it")),
            Ok(Err(sentence)) => Finding::new(what, Verdict::Unreachable, sentence),
            Err(_) => Finding::new(what, Verdict::Unreachable, format!("{provider} does not answer")),
        }
    });
    futures::future::join_all(probes).await
}

/// Where each provider is to send its webhooks. Accounts get their ids when a process first declares them.
async fn webhooks(context: &Context) -> Vec<Finding> {
    let Ok(store) = assemble::store(context.config()) else { return Vec::new() };
    let Ok(known) = store.accounts().await else { return Vec::new() };
    let base = context.config().api.public_url.trim_end_matches('/');
    let (base, verdict) = match base {
        "" => ("https://<api.public_url>", Verdict::Warning),
        url => (url, Verdict::Good),
    };
    let ours =
        known.iter().filter(|account| context.config().accounts.iter().any(|ours| ours.slug == account.slug));
    ours.map(|account| {
        Finding::new(format!("webhooks of {}", account.slug), verdict, format!("{base}/hooks/{}", account.id))
    })
    .collect()
}

/// Where recipients find their way out, and where tracked links lead.
fn public_pages(context: &Context) -> Finding {
    match context.config().public.base_url.as_str() {
        "" => Finding::new(
            "public pages",
            Verdict::Warning,
            "marketing mail bears no List-Unsubscribe, which large mailboxes ask for, and no link is tracked: set public.base_url \
             and public.signing_keys",
        ),
        url => Finding::new("public pages", Verdict::Good, url),
    }
}

/// Free space where this runs: a full disk stops the log, and Postgres if it lives here too.
fn disk() -> Finding {
    let free = std::process::Command::new("df").args(["-Pk", "."]).output().ok().and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()
    });
    match free {
        None => Finding::new("disk", Verdict::Warning, "the free space cannot be told here"),
        Some(kb) if kb < FREE_KB => {
            Finding::new("disk", Verdict::Warning, format!("{} MB free: make room", kb >> 10))
        }
        Some(kb) => Finding::new("disk", Verdict::Good, format!("{} GB free", kb >> 20)),
    }
}
