//! Commands as a person or a script meets them: what they print, and how they end.

use clap::CommandFactory as _;
use fanfare::cli::Cli;

use crate::support::{House, furnished};

#[test]
fn the_commands_are_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn what_is_wrong_with_a_command_is_said() {
    let mut house = House::empty();
    house.set("DATABASE_URL", "postgres://fanfare@127.0.0.1:1/none");
    let list = house.file("list.pdf", "%PDF-1.7");
    let page = house.file("page.html", "<p>Hello {{name</p>");
    let folder = house.folder.path().to_str().unwrap();
    let commands = [
        &["frobnicate"][..],
        &["campaign", "launch", "msg_123"],
        &["campaign", "launch", "camp_123"],
        &["campaign", "create", "--name", "x", "--template", "t", "--channel", "fax", "--all-contacts"],
        &["send", "--template", "otp", "--to", "a@b.example", "--var", "code"],
        &["import", "nowhere.csv"],
        &["migrate"],
        &["tenant", "list"],
        &["import", &list],
        &["template", "publish", "--starter", "renewals"],
        &["template", "publish", &page, "--slug", "x", "--class", "marketing"],
        &["--config", "nowhere.toml", "config"],
    ];
    let mut all = String::new();
    for (arguments, ran) in commands.iter().zip(house.run_all(&commands)) {
        assert_ne!(ran.code, 0, "{arguments:?}: {}", ran.out);
        let said = format!("$ fanfare {}\n{}-> {}\n\n", arguments.join(" "), ran.err, ran.code);
        all += &said.replace(folder, ".");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn an_unset_schema_is_told_from_an_unreachable_database() {
    // No database of a test's own is needed: the one of the server is empty of schema in a fresh name.
    let mut house = House::empty();
    house.set("DATABASE_URL", "not a url");
    assert_eq!(house.run(&["tenant", "list"]).code, 2, "{}", house.run(&["tenant", "list"]).err);
}

#[sqlx::test(migrations = false)]
async fn a_database_without_a_schema(pool: sqlx::PgPool) {
    // A new database may be a copy of one that is migrated.
    sqlx::raw_sql("drop schema public cascade; create schema public").execute(&pool).await.unwrap();
    let house = House::on(&pool);
    let ran = house.run(&["tenant", "list"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (1, "fanfare: the database's schema is not that of this version: run `fanfare migrate`\n")
    );
    assert!(house.run(&["migrate", "--json"]).json()["applied"].as_i64() > Some(5));
    assert_eq!(house.run(&["migrate", "--json"]).json()["applied"], 0);
    assert_eq!(house.run(&["tenant", "list", "--json"]).json(), serde_json::json!([]));
}

const LIST: &str = "policy no,name,phone\nA/1,Ann Lee,57001001\nA/2,Bob Roy,57001002\nA/3,Cid Day,12\n";

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn from_a_file_to_a_checked_campaign(pool: sqlx::PgPool) {
    let mut house = furnished(&pool);
    for (name, value) in [("BREVO_API_KEY", "k"), ("BREVO_SENDER_NAME", "Acme")] {
        house.set(name, value);
    }
    let list = house.file("list.csv", LIST);
    let refused = house.folder.path().join("refused.csv");
    let report = house.run(&["import", &list, "--refused", refused.to_str().unwrap(), "--json"]).json();
    assert_eq!((&report["rowsTaken"], &report["rowsRefused"]), (&2.into(), &1.into()));
    assert!(std::fs::read_to_string(refused).unwrap().contains("not a phone number"));
    let again = house.run(&["import", &list]);
    assert_eq!(again.code, 1, "{}", again.err);

    let upload = report["upload"].as_str().unwrap();
    let create = [
        "campaign",
        "create",
        "--name",
        "Due",
        "--template",
        "hello",
        "--channel",
        "sms",
        "--upload",
        upload,
        "--json",
    ];
    let campaign = house.run(&create).json()["campaign"].as_str().unwrap().to_owned();
    let check = house.run(&["campaign", "check", &campaign, "--json"]).json();
    assert_eq!((&check["recipients"], &check["sendable"]), (&2.into(), &2.into()));
    let preview = house
        .run(&["template", "preview", "hello", "--channel", "sms", "--contact", "57001001", "--json"])
        .json();
    assert_eq!(preview["message"]["text"], "Dear Ann, policy A/1 is due.");

    let launched = house.run(&["campaign", "launch", &campaign, "--json"]).json();
    assert_eq!(launched["state"], "launching");
    let refused = house.run(&["campaign", "launch", &campaign]);
    assert_eq!(
        (refused.code, refused.err.as_str()),
        (1, "fanfare: a campaign that is launching cannot be launched\n")
    );
    assert_eq!(house.run(&["campaign", "pause", &campaign, "--json"]).json()["state"], "paused");
    assert_eq!(house.run(&["campaign", "cancel", &campaign, "--json"]).json()["state"], "cancelled");
    let listed = house.run(&["campaign", "list", "--json"]).json();
    assert_eq!((&listed[0]["name"], &listed[0]["state"]), (&"Due".into(), &"cancelled".into()));
    assert_eq!(house.run(&["unsent", &campaign, "--json"]).json()["unsent"], serde_json::json!([]));
    assert_eq!(
        deeds(&pool).await,
        [
            "tenant.create",
            "template.publish",
            "upload.create",
            "campaign.create",
            "campaign.preflight",
            "contact.read",
            "campaign.activate",
            "campaign.pause",
            "campaign.stop",
            "campaign.recipients_read"
        ]
        .map(|action| ("command:asha".to_owned(), action.to_owned()))
    );
}

/// What the audit log holds, as it came: who did what.
async fn deeds(pool: &sqlx::PgPool) -> Vec<(String, String)> {
    let store = fanfare_engine::store::Store::from_pool(pool.clone());
    store.chain_audit_logs().await.unwrap();
    sqlx::query_as("select actor, action from audit_log order by seq").fetch_all(pool).await.unwrap()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn one_message_is_sent_once(pool: sqlx::PgPool) {
    let mut house = furnished(&pool);
    let sandbox = fanfare_sandbox::Sandbox::start(fanfare_sandbox::SandboxConfig::default()).await.unwrap();
    for (name, value) in [
        ("BREVO_API_KEY", "xkeysib-sandbox"),
        ("BREVO_SENDER_NAME", "Acme"),
        ("BREVO_BASE_URL", &format!("{}/v3", sandbox.base_url())),
    ] {
        house.set(name, value);
    }
    let send = [
        "send",
        "--template",
        "hello",
        "--channel",
        "sms",
        "--to",
        "57001001",
        "--var",
        "first_name=Ann",
        "--var",
        "reference=A/1",
        "--business-key",
        "hello:1",
        "--json",
    ];
    let sent = house.run_beside(&send).await.json();
    assert_eq!(sent["state"], "accepted");
    let again = house.run_beside(&send).await;
    assert_eq!(again.code, 1, "{}", again.err);
    let arrived = sandbox.audit().messages(0, 10, 0).records;
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].message_id, sent["message"].as_str().unwrap());
    let record = house.run_beside(&["message", &arrived[0].message_id, "--json"]).await.json();
    assert_eq!((&record["address"], &record["facts"][0]["kind"]), (&"+23057001001".into(), &0.into()));

    let suppress = ["suppress", "57001002", "--channel", "sms", "--scope", "all", "--json"];
    let stopped = house.run_beside(&suppress).await.json();
    assert_eq!(stopped["address"], "+23057001002");
    let mut to_stopped = send;
    to_stopped[6] = "57001002";
    let refused = house.run_beside(&to_stopped[..send.len() - 3]).await;
    assert_eq!(
        (refused.code, refused.err.trim_end()),
        (1, "fanfare: the message was not sent: the recipient unsubscribed")
    );
    let noted = deeds(&pool).await;
    let actions: Vec<&str> = noted.iter().map(|(_, action)| action.as_str()).collect();
    let all = [
        "tenant.create",
        "template.publish",
        "message.send",
        "message.send",
        "message.read",
        "suppression.add",
        "message.send",
    ];
    assert_eq!(actions, all);
    let details: Vec<String> =
        sqlx::query_scalar("select detail::text from audit_log").fetch_all(&pool).await.unwrap();
    assert!(details.iter().all(|detail| !detail.contains("5700100")), "addresses are masked: {details:?}");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_doctor_says_what_is_missing(pool: sqlx::PgPool) {
    let mut house = House::on(&pool);
    let findings = house.run(&["doctor", "--json"]).json();
    let of = |findings: &serde_json::Value, what: &str| {
        let found = findings.as_array().unwrap().iter().find(|finding| finding["what"] == what).unwrap();
        found["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (of(&findings, "schema"), of(&findings, "redis"), of(&findings, "configuration")),
        ("good".into(), "good".into(), "warning".into())
    );
    assert_eq!(of(&findings, "public pages"), "warning");
    house.set("FANFARE__PUBLIC__BASE_URL", "https://mail.example.com");
    house.set("FANFARE_SIGNING_KEYS", &crate::public::stage::signing_key(7));
    assert_eq!(of(&house.run(&["doctor", "--json"]).json(), "public pages"), "good");
    house.set("REDIS_URL", "redis://127.0.0.1:1");
    let ran = house.run(&["doctor", "--json"]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert_eq!(of(&serde_json::from_str(&ran.out).unwrap(), "redis"), "unreachable");
}

#[test]
fn a_service_ends_in_order_when_it_is_told() {
    let house = House::empty();
    let mut sandbox = std::process::Command::new(env!("CARGO_BIN_EXE_fanfare"))
        .args(["sandbox", "--json"])
        .current_dir(house.folder.path())
        .env_clear()
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(sandbox.stdout.take().unwrap()));
    assert!(lines.by_ref().map(Result::unwrap).any(|line| line.contains("baseUrl")));
    let told =
        std::process::Command::new("kill").args(["-TERM", &sandbox.id().to_string()]).status().unwrap();
    assert!(told.success() && sandbox.wait().unwrap().success());
}
