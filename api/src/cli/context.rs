//! What every command begins with: the configuration, a log, a way to print, and the database when it is asked for.

use fanfare_engine::{
    config::{self, Config, Loaded},
    id::TenantId,
    store::{
        Store,
        audit::{self, Deed},
        tenants::Tenant,
    },
};
use serde_json::Value;

use super::{
    Global,
    exit::{Exit, Failure},
    out::Out,
};
use crate::{
    assemble::{self, Sources},
    telemetry,
};

#[derive(Debug)]
pub struct Context {
    pub loaded: Loaded,
    pub out: Out,
    pub sources: Sources,
    /// Whoever runs it, as the system names them: who may run commands may also say that they are somebody else.
    pub operator: String,
}

/// Of these the first that is set.
const OPERATOR: [&str; 3] = ["SUDO_USER", "USER", "LOGNAME"];
const LONGEST_OPERATOR: usize = 64;

impl Context {
    pub(crate) fn load(global: &Global) -> Result<Self, Failure> {
        let folder = std::env::current_dir()?;
        // A name or value that is no text cannot be a setting of ours.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let variables: Vec<_> = std::env::vars_os().filter_map(text).collect();
        let operator = operator(&variables);
        let mut loaded = config::load(&config::Sources { file: global.config.clone(), variables, folder })?;
        match global.verbose {
            0 => {}
            1 => loaded.config.log.filter = "info,fanfare=debug,fanfare_engine=debug".to_owned(),
            _ => loaded.config.log.filter = "debug,fanfare=trace,fanfare_engine=trace".to_owned(),
        }
        Ok(Self { loaded, out: Out { json: global.json }, sources: Sources::default(), operator })
    }

    pub fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// The log of a service. A command that a person waits for shows warnings only, unless it is asked for more.
    pub(crate) fn start_log(&self, quiet: bool) -> Result<(), Failure> {
        let mut log = self.config().log.clone();
        if quiet && log.filter == config::sections::LogConfig::default().filter {
            // An import of millions has statements of a minute; it shows its progress itself.
            "warn,sqlx::query=error".clone_into(&mut log.filter);
        }
        Ok(telemetry::start_log(&log)?)
    }

    /// The database, known to answer.
    pub async fn store(&self) -> Result<Store, Failure> {
        let store = assemble::store(self.config())?;
        store.ping().await?;
        Ok(store)
    }

    /// The database with the configured tenants and accounts in it.
    pub async fn declared_store(&self) -> Result<Store, Failure> {
        let store = self.store().await?;
        assemble::declare(&store, self.config(), &self.sources).await?;
        Ok(store)
    }

    /// As the audit log names whoever runs the command.
    pub(super) fn actor(&self) -> String {
        format!("command:{}", self.operator)
    }

    pub(super) fn deed(
        &self,
        tenant: TenantId,
        action: &'static str,
        subject: impl ToString,
        detail: Value,
    ) -> Deed {
        Deed {
            at: self.sources.clock.now(),
            tenant,
            actor: self.actor(),
            action,
            subject: subject.to_string(),
            detail,
            request_id: None,
        }
    }

    /// Notes in the audit log what was done, or before it is printed whose addresses are.
    pub(super) async fn note(&self, store: &Store, deed: Deed) -> Result<(), Failure> {
        Ok(audit::append_all(store.pool(), &[deed]).await?)
    }

    /// The tenant of this slug; without one, the only tenant.
    pub async fn tenant(&self, store: &Store, slug: Option<&str>) -> Result<Tenant, Failure> {
        if let Some(slug) = slug {
            return Ok(store.tenant(slug).await?);
        }
        let mut tenants = store.tenants().await?;
        match tenants.len() {
            1 => Ok(tenants.remove(0)),
            0 => Err(Failure::say(
                Exit::Refused,
                "there is no tenant yet: make one with `fanfare tenant create`",
            )),
            _ => {
                let slugs: Vec<&str> = tenants.iter().map(|tenant| tenant.slug.as_str()).collect();
                let sentence =
                    format!("there are several tenants: say which by --tenant ({})", slugs.join(", "));
                Err(Failure::say(Exit::Usage, sentence))
            }
        }
    }
}

fn operator(variables: &[(String, String)]) -> String {
    let said =
        |wanted: &&str| variables.iter().find(|(name, value)| name == wanted && !value.trim().is_empty());
    let known = OPERATOR.iter().find_map(said).map_or("operator", |(_, value)| value);
    let plain = known.chars().filter(|c| !c.is_control());
    plain.take(LONGEST_OPERATOR).collect()
}
