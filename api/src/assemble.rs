//! An engine from a configuration: the same way for `serve`, `send`, `demo` and the tests.
//!
//! Tenants and accounts of the configuration are declared in the database first: a tenant is made when it is missing, an
//! account is made or brought up to date. Secrets stay in the process.

use std::{sync::Arc, time::Duration};

use fanfare_engine::{
    blobs::postgres::PostgresBlobs,
    clock::{Clock, SystemClock},
    config::{AccountConfig, Config},
    contacts::Limits,
    deliver::{
        accounts::{AccountHandle, Accounts},
        answers::AnswerTimes,
    },
    domain::token::PublicLinks,
    engine::{Engine, Settings, WorkerSettings},
    id::{AccountId, Ids},
    launch::freeze::LaunchSettings,
    limit::{Limiter, breaker::Breaker},
    link::{LinkError, RedisLink},
    providers::{
        Adapter,
        in_app::InApp,
        settings::{AccountSettings, ConfigError, HttpSettings, build},
    },
    queue::Queue,
    roster::Roster,
    seal::Seal,
    store::{
        Store, StoreError,
        accounts::{Account, AccountDeclaration},
        tenants::Tenant,
    },
    upkeep::{FeedSettings, UpkeepSettings},
};

/// Why no engine could be made; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Redis(#[from] LinkError),
    #[error("{place}: account `{slug}`: {error}")]
    Account { place: String, slug: String, error: ConfigError },
    #[error(
        "{place}: account `{slug}` belongs to tenant `{tenant}`, which does not exist: add it under [[tenants]], or run `fanfare tenant create`"
    )]
    NoSuchTenant { place: String, slug: String, tenant: String },
    #[error(
        "{place}: account `{slug}` does not say whose it is, and there are {tenants} tenants: add `tenant = \"…\"` to it"
    )]
    WhichTenant { place: String, slug: String, tenants: usize },
}

/// A configured account with the id that the database knows it by.
#[derive(Debug, Clone)]
pub struct Declared {
    pub id: AccountId,
    pub config: AccountConfig,
}

/// Ids and time of a process.
#[derive(Debug, Clone)]
pub struct Sources {
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
}

impl Default for Sources {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), ids: Arc::new(Ids::from_entropy()) }
    }
}

/// The database of campaigns, webhooks and upkeep. Connects when it is first used.
pub fn store(config: &Config) -> Result<Store, StoreError> {
    Store::connect(config.database.url.expose(), config.database.connections)
}

/// Makes the rows of the configured tenants and accounts.
pub async fn declare(
    store: &Store,
    config: &Config,
    sources: &Sources,
) -> Result<Vec<Declared>, AssembleError> {
    let known = store.tenants().await?;
    for tenant in config.tenants.iter().filter(|tenant| known.iter().all(|known| known.slug != tenant.slug)) {
        let made = store
            .create_tenant(&Tenant {
                id: sources.ids.next(sources.clock.now()),
                slug: tenant.slug.clone(),
                name: tenant.name.clone(),
                region: tenant.region.clone(),
                locale: tenant.locale.clone(),
                time_zone: tenant.time_zone.clone(),
                currency: tenant.currency.clone(),
            })
            .await;
        // Another process that starts at the same moment was quicker.
        if !matches!(made, Ok(()) | Err(StoreError::Conflict(_))) {
            made?;
        }
    }
    let tenants = store.tenants().await?;
    let mut declared = Vec::with_capacity(config.accounts.len());
    for account in &config.accounts {
        let Some(tenant) = owner(account, &tenants)? else {
            tracing::warn!(account = account.slug, "nobody can use this account yet: there is no tenant");
            continue;
        };
        let declaration = AccountDeclaration {
            id: sources.ids.next(sources.clock.now()),
            tenant: tenant.id,
            slug: &account.slug,
            provider: account.settings.provider(),
            priority: account.priority,
            limits: &account.limits,
            people_per_day: account.people_per_day,
            sandbox: account.settings.is_sandbox(),
        };
        let id = store.declare_account(&declaration).await?;
        declared.push(Declared { id, config: account.clone() });
    }
    Ok(declared)
}

fn owner<'t>(account: &AccountConfig, tenants: &'t [Tenant]) -> Result<Option<&'t Tenant>, AssembleError> {
    let (place, slug) = (account.origin.to_string(), account.slug.clone());
    match (&account.tenant, tenants) {
        (Some(wanted), _) => tenants
            .iter()
            .find(|tenant| tenant.slug == *wanted)
            .map(Some)
            .ok_or_else(|| AssembleError::NoSuchTenant { place, slug, tenant: wanted.clone() }),
        (None, [only]) => Ok(Some(only)),
        (None, []) => Ok(None),
        (None, several) => Err(AssembleError::WhichTenant { place, slug, tenants: several.len() }),
    }
}

/// Connections for the pace while Redis is away: a permit must not wait behind the statements of bulk.
pub const PACE_CONNECTIONS: u32 = 2;

/// Everything that a process works with. The database must be reachable; Redis and the providers need not be.
pub async fn engine(config: &Config, store: Store, sources: &Sources) -> Result<Engine, AssembleError> {
    let declared = declare(&store, config, sources).await?;
    let urgent_store = Store::connect(config.database.url.expose(), config.database.urgent_connections)?;
    let link = RedisLink::open(config.redis.url.expose())?;
    let pace = Store::connect(config.database.url.expose(), PACE_CONNECTIONS)?;
    let limiter = Arc::new(Limiter::new(link.clone(), pace, &config.redis.prefix));
    let rows = store.accounts().await?;
    let accounts = handles(config, &declared, &rows, (&limiter, &store))?;
    // The urgent have connections of their own; quota is one.
    let urgent_accounts = handles(config, &declared, &rows, (&limiter, &urgent_store))?;
    let (accounts, urgent_accounts) = (Accounts::new(accounts), Accounts::new(urgent_accounts));
    let roster = Roster {
        desks: [(accounts.clone(), store.clone()), (urgent_accounts.clone(), urgent_store.clone())],
        limiter,
        // Checked when the configuration was read.
        seal: Seal::parse(config.auth.sealing_keys.expose()).unwrap_or_default(),
        http: http(config),
        seen: std::sync::Mutex::default(),
    };
    roster.refresh().await?;
    Ok(Engine {
        process: sources.ids.next(sources.clock.now()),
        blobs: Arc::new(PostgresBlobs::new(store.clone())),
        store,
        urgent_store,
        queue: Queue::new(link, &config.redis.prefix),
        accounts,
        urgent_accounts,
        roster: Arc::new(roster),
        clock: Arc::clone(&sources.clock),
        ids: Arc::clone(&sources.ids),
        settings: settings(config),
    })
}

/// The adapter of an account at a provider that is reached over HTTP.
pub fn adapter(config: &Config, account: &AccountConfig) -> Result<Arc<dyn Adapter>, AssembleError> {
    build(&account.settings, &http(config)).map_err(|error| AssembleError::Account {
        place: account.origin.to_string(),
        slug: account.slug.clone(),
        error,
    })
}

fn http(config: &Config) -> HttpSettings {
    HttpSettings {
        connect_timeout: Duration::from_millis(config.http.connect_timeout_ms),
        request_timeout: Duration::from_millis(config.http.timeout_ms),
        // One bound for both: whoever recovers a dead worker's chunk waits no longer than this.
        batch_timeout: Duration::from_millis(config.http.timeout_ms),
        pool_max_idle: config.worker.in_flight,
        ..HttpSettings::default()
    }
}

fn handles(
    config: &Config,
    declared: &[Declared],
    rows: &[Account],
    (limiter, store): (&Arc<Limiter>, &Store),
) -> Result<Vec<AccountHandle>, AssembleError> {
    let mut handles = Vec::with_capacity(declared.len());
    for declared in declared {
        let Some(row) = rows.iter().find(|row| row.id == declared.id) else { continue };
        let adapter: Arc<dyn Adapter> = match &declared.config.settings {
            AccountSettings::InApp(_) => Arc::new(InApp::new(store.clone(), row.tenant)),
            _ => adapter(config, &declared.config)?,
        };
        handles.push(AccountHandle {
            account: row.clone(),
            adapter,
            pacer: limiter.account(row.id, &row.limits),
            breaker: Breaker::default(),
            answers: AnswerTimes::default(),
            limiter: Arc::clone(limiter),
            people_per_day: declared.config.people_per_day,
        });
    }
    Ok(handles)
}

fn settings(config: &Config) -> Settings {
    let worker = &config.worker;
    Settings {
        worker: WorkerSettings {
            chunks: worker.chunks,
            in_flight: worker.in_flight,
            in_flight_keyless: worker.in_flight_keyless,
            slice: worker.slice,
            lease: Duration::from_secs(worker.lease_s),
            urgent_in_flight: worker.urgent_in_flight,
            request_timeout: Duration::from_millis(config.http.timeout_ms),
        },
        recorder: config.recorder.clone(),
        launch: LaunchSettings {
            slice: config.launch.slice,
            first_slice: config.launch.first_slice,
            chunk: config.launch.chunk,
        },
        feed: FeedSettings { high_water: config.queue.high_water },
        upkeep: UpkeepSettings {
            unknown_deadline_s: config.unknown.deadline_s,
            look_up_s: config.unknown.look_up_s,
            retention_months: config.retention.months,
        },
        imports: import_limits(config),
        links: links(config),
    }
}

/// What recipients can do without signing in.
pub(crate) fn links(config: &Config) -> PublicLinks {
    // Checked when the configuration was read.
    PublicLinks::new(&config.public.base_url, config.public.signing_keys.expose()).unwrap_or_default()
}

/// What bounds a file, by whichever way it comes.
pub(crate) fn import_limits(config: &Config) -> Limits {
    let import = &config.imports;
    Limits {
        max_bytes: import.max_bytes,
        max_inflated_bytes: import.max_inflated_bytes,
        max_row_bytes: import.max_row_bytes,
        max_columns: import.max_columns,
    }
}
