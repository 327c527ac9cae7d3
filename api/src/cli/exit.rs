//! How a command ends: an exit code that a script can decide by, and a sentence that says what to do.

use std::process::ExitCode;

use fanfare_engine::{
    config::ConfigErrors,
    contacts::ImportError,
    deliver::direct::DirectError,
    domain::campaign::TransitionError,
    launch::LaunchError,
    store::{StoreError, campaigns::ChangeError},
};

use crate::{assemble::AssembleError, telemetry::FilterError};

pub const CODES: &str = "\
Exit codes:
  0    done
  1    the work was refused, or failed
  2    the command or the configuration is wrong
  3    something is not reachable: the database, Redis, a provider
  4    the file or template given is not usable
  130  interrupted";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Refused = 1,
    Usage = 2,
    Unreachable = 3,
    BadInput = 4,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do its work.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    pub fn refused(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Refused, error)
    }

    pub(crate) fn say(exit: Exit, sentence: impl Into<String>) -> Self {
        Self::new(exit, anyhow::Error::msg(sentence.into()))
    }

    /// One sentence; with `chain`, also what led to it.
    pub fn print(&self, chain: bool) {
        eprintln!("fanfare: {}", self.error);
        let mut said = self.error.to_string();
        for cause in self.error.chain().skip(1).filter(|_| chain) {
            // Many errors say their cause themselves.
            let cause = cause.to_string();
            if !said.contains(&cause) {
                eprintln!("  because: {cause}");
            }
            said = cause;
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // 42P01, 42883: a table or function is missing.
        let old_schema = matches!(&error, StoreError::Query(sqlx::Error::Database(db))
            if matches!(db.code().as_deref(), Some("42P01" | "42883" | "42703")));
        if old_schema {
            let advice = "the database's schema is not that of this version: run `fanfare migrate`";
            return Self::new(Exit::Refused, anyhow::Error::new(error).context(advice));
        }
        match &error {
            StoreError::Unavailable(_) => {
                let advice = "the database cannot be reached: is Postgres running, and is DATABASE_URL (or `database.url`) right? \
                              `fanfare doctor` looks";
                Self::new(Exit::Unreachable, anyhow::Error::new(error).context(advice))
            }
            // Most of what the connection string can have wrong: user, password, name of the database.
            StoreError::Query(sqlx::Error::Database(db))
                if db.code().is_some_and(|c| c.starts_with("28") || c == "3D000") =>
            {
                let advice = format!(
                    "the database turns us away ({}): correct DATABASE_URL (or `database.url`)",
                    db.message()
                );
                Self::new(Exit::Unreachable, anyhow::Error::new(error).context(advice))
            }
            StoreError::Query(sqlx::Error::Configuration(problem)) => {
                let advice = format!(
                    "`database.url` is no address of a Postgres ({problem}): correct it, or DATABASE_URL"
                );
                Self::say(Exit::Usage, advice)
            }
            _ => Self::new(Exit::Refused, error),
        }
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => error.into(),
            refused @ ChangeError::Refused(TransitionError { .. }) => Self::new(Exit::Refused, refused),
        }
    }
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::Change(error) => error.into(),
            other => Self::new(Exit::Refused, other),
        }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Store(error) => error.into(),
            refused @ (ImportError::AlreadyImported { .. } | ImportError::UnknownTenant(_)) => {
                Self::new(Exit::Refused, refused)
            }
            other => Self::new(Exit::BadInput, other),
        }
    }
}

impl From<DirectError> for Failure {
    fn from(error: DirectError) -> Self {
        match error {
            DirectError::Store(error) => error.into(),
            usage @ DirectError::Address(_) => Self::new(Exit::Usage, usage),
            other => Self::new(Exit::Refused, other),
        }
    }
}

impl From<AssembleError> for Failure {
    fn from(error: AssembleError) -> Self {
        match error {
            AssembleError::Store(error) => error.into(),
            other => Self::new(Exit::Usage, other),
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(error: ConfigErrors) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<FilterError> for Failure {
    fn from(error: FilterError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Refused, error)
    }
}
