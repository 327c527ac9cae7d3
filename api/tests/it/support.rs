//! A `fanfare` to run, with nothing of this machine's environment in it.

use std::process::{Command, Output};

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

/// A folder without a configuration, and the variables of every command that is run in it.
pub(crate) struct House {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) variables: Vec<(String, String)>,
}

impl House {
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// On the database that a test was given.
    pub(crate) fn on(pool: &sqlx::PgPool) -> Self {
        let mut house = Self::empty();
        house.set("DATABASE_URL", &url_of(pool));
        house.set("REDIS_URL", &std::env::var("REDIS_URL").unwrap());
        house.set(
            "FANFARE__REDIS__PREFIX",
            &format!("test-{}", pool.connect_options().get_database().unwrap()),
        );
        house
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_fanfare"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.variables.iter().cloned())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
    }
}

/// Where a test's database is, for other processes.
pub(crate) fn url_of(pool: &sqlx::PgPool) -> String {
    let given = std::env::var("DATABASE_URL").unwrap();
    let (server, _) = given.rsplit_once('/').unwrap();
    format!("{server}/{}", pool.connect_options().get_database().unwrap())
}
