//! A `fanfare` to run, with nothing of this machine's environment in it.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use fanfare_engine::{
    clock::{Clock as _, SystemClock},
    domain::outcome::FactKind,
    id::MessageId,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
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
        house.set("USER", "asha");
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

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// Several side by side: some wait for a server until their patience is at an end.
    pub(crate) fn run_all(&self, commands: &[&[&str]]) -> Vec<Ran> {
        std::thread::scope(|scope| {
            let running: Vec<_> =
                commands.iter().map(|arguments| scope.spawn(|| self.run(arguments))).collect();
            running.into_iter().map(|running| running.join().unwrap()).collect()
        })
    }

    /// The same, while this thread's runtime goes on: a sandbox may live on it.
    pub(crate) async fn run_beside(&self, arguments: &[&str]) -> Ran {
        tokio::process::Command::from(self.command(arguments)).output().await.unwrap().into()
    }

    /// Asks for a campaign's state until `done` holds of the answer.
    pub(crate) async fn until(&self, status: &[&str], done: impl Fn(&Value) -> bool) -> Value {
        found("state of the campaign", async || {
            let found = self.run_beside(status).await.json();
            if done(&found) { Ok(found) } else { Err(move || found.to_string()) }
        })
        .await
    }
}

/// Looks until there is what is looked for, for two minutes; until then a look says what there is instead.
pub(crate) async fn found<T, I: FnOnce() -> String>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, I>,
) -> T {
    let give_up = Instant::now() + Duration::from_secs(120);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) => {
                assert!(Instant::now() < give_up, "not within two minutes: {what}; {}", instead())
            }
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Looks until `holds`, as [`found`] does.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    found(what, async || if holds().await { Ok(()) } else { Err(String::new) }).await;
}

/// Requests on the wire plus results not yet written, of one killed process: so many may be sent twice, or be unknown.
pub(crate) const MOST_PER_KILL: i64 = 356;

/// What holds of each message that has a fact, by its id: of its last attempt the most certain.
pub(crate) async fn facts(pool: &sqlx::PgPool) -> HashMap<String, i16> {
    let rows: Vec<(uuid::Uuid, i32, i16)> = sqlx::query_as(
        "select distinct on (campaign_id, n) campaign_id, n, kind
         from (select distinct campaign_id as id from recipients) known
         cross join lateral facts_between(known.id, 0, 2000000000)
         order by campaign_id, n, attempt desc, array_position($1, kind)",
    )
    .bind(FactKind::PRECEDENCE.map(|kind| kind as i16).to_vec())
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter()
        .map(|(campaign, n, kind)| (MessageId { campaign: campaign.into(), n }.to_string(), kind))
        .collect()
}

/// A tenant as the configuration's file declares it, its name with a capital.
pub(crate) fn tenant(slug: &str) -> String {
    let (first, rest) = slug.split_at(1);
    format!(
        r#"
[[tenants]]
slug = "{slug}"
name = "{}{rest}"
region = "MU"
locale = "en"
time_zone = "Indian/Mauritius"
currency = "MUR"
"#,
        first.to_uppercase()
    )
}

/// An account of `acme` for SMS, whose keys are the sandbox's.
pub(crate) const SMS: &str = r#"
[[accounts]]
tenant = "acme"
provider = "brevo_sms"
slug = "sms"
api_key = "xkeysib-sandbox"
sender = "Acme"
webhook_auth = { bearer = { token = "hook-token" } }
"#;

impl From<Output> for Ran {
    fn from(Output { status, stdout, stderr }: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
    }
}

/// `fanfare serve`, with everything that it logs; killed with the test.
pub(crate) struct Serving {
    child: Child,
    /// Where its HTTP service is; nowhere without that role.
    pub(crate) base: String,
    log: Option<JoinHandle<String>>,
}

impl Serving {
    /// In all roles but HTTP.
    pub(crate) fn start(house: &House) -> Self {
        Self::by(house.command(&["serve", "--roles", "worker,scheduler,upkeep"]))
    }

    /// In all roles; the house says `PORT=0`.
    pub(crate) fn all(house: &House) -> Self {
        let serving = Self::by(house.command(&["serve"]));
        assert!(!serving.base.is_empty(), "it does not say where it listens");
        serving
    }

    /// Returns once the process says that it serves.
    fn by(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut serving = Self { child, base: String::new(), log: None };
        let mut log = String::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended before it served:\n{log}"));
            log.extend([&line, "\n"]);
            if let Some((_, port)) =
                line.split_once("listening").and_then(|(_, rest)| rest.split_once("127.0.0.1:"))
            {
                let digits = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
                serving.base = format!("http://127.0.0.1:{}", &port[..digits]);
            }
            if line.contains("fanfare serves") {
                break;
            }
        }
        // The pipe must not fill.
        let rest = std::thread::spawn(move || {
            lines.for_each(|line| log.extend([&line, "\n"]));
            log
        });
        serving.log = Some(rest);
        serving
    }

    /// It drains and ends in order; all that it has logged.
    pub(crate) fn stop(mut self) -> String {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        let ended = self.child.wait().unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        assert!(told.success() && ended.success(), "{ended}:\n{log}");
        log
    }

    /// SIGKILL: nothing is flushed, nothing given back.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The most that was ever resident, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a test's database is, for other processes.
pub(crate) fn url_of(pool: &sqlx::PgPool) -> String {
    let given = std::env::var("DATABASE_URL").unwrap();
    let (server, _) = given.rsplit_once('/').unwrap();
    format!("{server}/{}", pool.connect_options().get_database().unwrap())
}

/// A moment to come that may be scheduled, whenever the tests are run.
pub(crate) fn in_two_days() -> String {
    let later = SystemClock.now() + SignedDuration::from_hours(48);
    Timestamp::from_second(later.as_second()).unwrap().to_string()
}

/// A house with a tenant, and a published template for SMS.
pub(crate) fn furnished(pool: &sqlx::PgPool) -> House {
    let house = House::on(pool);
    let tenant = [
        "tenant",
        "create",
        "acme",
        "--name",
        "Acme",
        "--region",
        "MU",
        "--time-zone",
        "Indian/Mauritius",
        "--currency",
        "MUR",
    ];
    assert_eq!(house.run(&tenant).code, 0);
    let sms = house.file("hello.txt", "Dear {{first_name}}, policy {{reference}} is due.");
    let publish = ["template", "publish", &sms, "--slug", "hello", "--class", "obligation"];
    assert_eq!(house.run(&publish).code, 0, "{}", house.run(&publish).err);
    house
}
