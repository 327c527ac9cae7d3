//! `fanfare serve`: the service, in any of its roles.

use std::io;

use fanfare_engine::{
    config::Config,
    engine::{Engine, Role, Running},
    lifecycle::{Ended, Lifecycle, Signals},
    store::{Store, health::Schema},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    exit::{Exit, Failure},
};
use crate::{
    assemble,
    service::{ApiSettings, Service},
    threads::Threads,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What this process does; any number of processes may do any of them
    #[arg(long, value_delimiter = ',', value_enum, default_value = "api,worker,scheduler,upkeep")]
    roles: Vec<RoleName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum RoleName {
    /// HTTP: health, metrics, webhooks
    Api,
    /// Sends what is due
    Worker,
    /// Launches, freezes audiences, fills the queue
    Scheduler,
    /// Puts right whatever was lost
    Upkeep,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Api => Self::Api,
            RoleName::Worker => Self::Worker,
            RoleName::Scheduler => Self::Scheduler,
            RoleName::Upkeep => Self::Upkeep,
        }
    }
}

pub(super) async fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    context.start_log(false)?;
    // Before anything is recorded, or the first samples are lost.
    crate::telemetry::metrics();
    let store = context.store().await?;
    prepare(context, &store).await?;
    let engine = assemble::engine(context.config(), store, &context.sources).await?;
    let roles: Vec<Role> = args.roles.iter().copied().map(Role::from).collect();
    let (life, mut signals) = (Lifecycle::new(), Signals::new()?);
    let running = engine.start(&roles);
    let listening = if roles.contains(&Role::Api) {
        match listen(context, &engine, &running, &life).await {
            Ok(listening) => Some(listening),
            Err(failure) => {
                running.shut_down().await;
                return Err(failure);
            }
        }
    } else {
        None
    };
    work(&engine, running, listening, &life);
    if roles.contains(&Role::Api) {
        hint_at_owners(&engine.store).await;
    }
    tracing::info!(process = %engine.process, roles = ?roles, accounts = engine.accounts.all().len(), "fanfare serves");
    match life.ended(&mut signals).await {
        Ended::Drained => Ok(()),
        Ended::Cut => Err(Failure::say(
            Exit::Interrupted,
            "cut off: what was at work is taken up again by the next process",
        )),
    }
}

/// Says how the first person of a tenant comes in.
async fn hint_at_owners(store: &Store) {
    match store.tenants_without_owner().await {
        Ok(slugs) => {
            for slug in slugs {
                tracing::warn!(
                    tenant = slug,
                    "nobody can sign in to this tenant yet: `fanfare user owner ADDRESS --name NAME --tenant {slug}` invites its first owner"
                );
            }
        }
        Err(error) => tracing::debug!(%error, "whether each tenant has an owner could not be looked at"),
    }
}

/// Migrates if that is wanted; refuses a database that this version does not fit.
async fn prepare(context: &Context, store: &Store) -> Result<(), Failure> {
    match store.schema().await? {
        Schema::Current => Ok(()),
        Schema::Behind { .. } if context.config().database.migrate => super::migrate::migrate(store).await,
        Schema::Behind { missing } => Err(Failure::say(
            Exit::Refused,
            format!(
                "the database lacks {missing} migrations: run `fanfare migrate`, or set database.migrate = true"
            ),
        )),
        Schema::Ahead { unknown } => Err(Failure::say(
            Exit::Refused,
            format!(
                "the database has {unknown} migrations that this version does not know: run the newer version"
            ),
        )),
    }
}

/// The HTTP service at work.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) port: u16,
    /// Cancelled when every request has been answered, and what came with them is stored.
    served: CancellationToken,
    _threads: Threads,
}

/// Starts the HTTP service.
pub(crate) async fn listen(
    context: &Context,
    engine: &Engine,
    running: &Running,
    life: &Lifecycle,
) -> Result<Listening, Failure> {
    let api = &context.config().api;
    let threads = Threads::new()?;
    let bound = threads.handle().spawn(TcpListener::bind((api.bind, api.port))).await;
    let listener = bound.map_err(io::Error::from).flatten().map_err(|error| {
        let sentence = format!(
            "port {} of {} cannot be had ({error}): choose another by PORT or `api.port`",
            api.port, api.bind
        );
        Failure::say(Exit::Refused, sentence)
    })?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "listening");
    let Config { auth, imports, public, database, .. } = context.config();
    let settings = ApiSettings { api, auth, imports, public };
    let store = Store::connect(database.url.expose(), database.api_connections).map_err(Failure::refused)?;
    let (service, writers) = Service::new(engine, store, running.direct.clone(), settings);
    let (served, stop) = (CancellationToken::new(), life.drain().clone());
    let ends = served.clone().drop_guard();
    life.spawn_on(threads.handle(), async move {
        service.serve(writers, listener, stop).await;
        drop(ends);
    });
    Ok(Listening { port: address.port(), served, _threads: threads })
}

/// Leaves an engine at work to the process, to be drained with it.
pub(crate) fn work(engine: &Engine, running: Running, listening: Option<Listening>, life: &Lifecycle) {
    let drain = life.drain().clone();
    let (store, process) = (engine.store.clone(), engine.process);
    life.spawn(async move {
        drain.cancelled().await;
        running.shut_down().await;
        if let Some(listening) = &listening {
            listening.served.cancelled().await;
        }
        // Another process takes the duties over at once, not when their leases end.
        if let Err(error) = store.drop_duties(process).await {
            tracing::debug!(%error, "the duties are left to their leases");
        }
        if let Err(error) = store.drop_claims(process).await {
            tracing::debug!(%error, "the files that were being taken are left to their leases");
        }
        // Only now: connections that were opened on its threads go with them.
        drop(listening);
    });
}
