//! Every file of the tests' data, from the command line to the providers: what was taken and what was not stands in a
//! snapshot per file; then everybody who was taken gets one message on each channel, their own, by the providers' ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use fanfare_engine::{domain::channel::Channel, id::MessageId};
use fanfare_sandbox::{Limit, MessageRecord, RunningSandbox, Sandbox, SandboxConfig};
use sqlx::PgPool;

use crate::support::{House, Serving};

/// Two insurers, whose numbers without a country code are of their own country.
const TENANTS: [(&str, &str, &str, &str); 2] =
    [("island", "MU", "Indian/Mauritius", "MUR"), ("gau", "IN", "Asia/Kolkata", "INR")];

const TEXT: &str =
    r#"Dear {{default name "customer"}} ({{default email "-"}}, {{default phone "-"}}): it is due."#;

fn configuration(sandbox: &str) -> String {
    let mut text = String::new();
    for (slug, region, zone, currency) in TENANTS {
        let _ = write!(
            text,
            r#"
[[tenants]]
slug = "{slug}"
name = "{slug}"
region = "{region}"
locale = "en"
time_zone = "{zone}"
currency = "{currency}"
[[accounts]]
tenant = "{slug}"
slug = "email"
provider = "brevo_email"
base_url = "{sandbox}/v3"
api_key = "xkeysib-sandbox"
sender_email = "bills@insurer.example"
sender_name = "Insurer"
limits = []
[[accounts]]
tenant = "{slug}"
slug = "sms"
provider = "brevo_sms"
base_url = "{sandbox}/v3"
api_key = "xkeysib-sandbox"
sender = "Insurer"
limits = []
[[accounts]]
tenant = "{slug}"
slug = "whatsapp"
provider = "whatsapp_cloud"
base_url = "{sandbox}"
phone_number_id = "106540352242922"
access_token = "sandbox-token"
app_secret = "app_secret"
verify_token = "verify-token"
limits = []
"#
        );
    }
    text
}

async fn sandbox() -> RunningSandbox {
    let mut config = SandboxConfig::default();
    config.brevo.accounts[0].email_per_second = Limit::Unlimited;
    config.brevo.accounts[0].sms_per_second = Limit::Unlimited;
    config.whatsapp.accounts[0].messages_per_second = Limit::Unlimited;
    config.rules.clear();
    Sandbox::start(config).await.unwrap()
}

/// The files in order of their names, so that each finds the same contacts in every run.
fn files() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/data");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension != "md")).collect();
    files.sort();
    files
}

/// Imports a file; gives all that a person is told: the report, and each refused row with field, value and reason.
async fn imported(house: &House, tenant: &str, file: &Path) -> String {
    let list = house.folder.path().join("refused.csv");
    let (path, refused) = (file.to_str().unwrap(), list.to_str().unwrap());
    let ran = house.run_beside(&["import", path, "--tenant", tenant, "--refused", refused, "--json"]).await;
    if ran.code != 0 {
        return format!("{}-> {}\n", ran.err, ran.code);
    }
    let mut report = ran.json();
    assert!(report["upload"].as_str().unwrap().starts_with("upl_"));
    report["upload"] = "by chance".into();
    let mut told = serde_json::to_string_pretty(&report).unwrap() + "\n\n";
    let list = std::fs::read_to_string(list).unwrap();
    let mut rows = BTreeSet::new();
    let mut lines = csv::Reader::from_reader(list.trim_start_matches('\u{feff}').as_bytes());
    for line in lines.records().map(Result::unwrap).filter(|line| &line[4] == "yes") {
        let _ = writeln!(told, "row {}, {}: {:?}: {}", &line[0], &line[1], &line[2], &line[3]);
        rows.insert(line[0].to_owned());
    }
    assert_eq!(report["rowsRefused"], rows.len(), "every refused row is explained");
    told
}

/// Publishes the template of each channel, and launches a campaign over it to all contacts.
async fn launched(house: &House, tenant: &str) -> Vec<String> {
    let body = house.file("due.html", &format!("<p>{TEXT}</p>"));
    let sms = house.file("due.txt", TEXT);
    let whatsapp = serde_json::json!({"channel": "whatsapp", "kind": "text", "body": TEXT});
    let whatsapp = house.file("due.json", &whatsapp.to_string());
    let mut campaigns = Vec::new();
    for (channel, file) in [("email", &body), ("sms", &sms), ("whatsapp", &whatsapp)] {
        let mut publish =
            vec!["template", "publish", file, "--slug", "due", "--class", "obligation", "--tenant", tenant];
        if channel == "email" {
            publish.extend(["--subject", "It is due"]);
        }
        let published = house.run_beside(&publish).await;
        assert_eq!(published.code, 0, "{}", published.err);
        let create = [
            "campaign",
            "create",
            "--name",
            "Due",
            "--template",
            "due",
            "--channel",
            channel,
            "--all-contacts",
            "--tenant",
            tenant,
            "--json",
        ];
        let campaign = house.run_beside(&create).await.json()["campaign"].as_str().unwrap().to_owned();
        let launch = house.run_beside(&["campaign", "launch", &campaign, "--tenant", tenant]).await;
        assert_eq!(launch.code, 0, "{}", launch.err);
        campaigns.push(campaign);
    }
    campaigns
}

fn received(sandbox: &RunningSandbox) -> BTreeMap<MessageId, MessageRecord> {
    let mut received = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = sandbox.audit().messages(after, 50_000, 0);
        received.extend(page.records.into_iter().map(|record| (record.message_id.parse().unwrap(), record)));
        match page.next {
            Some(next) => after = next,
            None => return received,
        }
    }
}

/// As a browser has to be given a text.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#x27;".to_owned(),
        '`' => "&#x60;".to_owned(),
        '=' => "&#x3D;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

#[derive(sqlx::FromRow)]
struct Person {
    campaign_id: uuid::Uuid,
    n: i32,
    channel: Channel,
    name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
}

impl Person {
    /// What this person must have got, by no way that the engine goes.
    fn content(&self) -> Vec<String> {
        let or = |value: &Option<String>, other: &str| value.clone().unwrap_or_else(|| other.to_owned());
        let [name, email, phone] = [or(&self.name, "customer"), or(&self.email, "-"), or(&self.phone, "-")];
        let text = |[name, email, phone]: [String; 3]| format!("Dear {name} ({email}, {phone}): it is due.");
        match self.channel {
            Channel::Email => {
                let values = [name, email, phone].map(|value| escaped(&value));
                vec!["It is due".to_owned(), format!("<p>{}</p>", text(values))]
            }
            Channel::Sms => vec![text([name, email, phone])],
            Channel::Whatsapp => {
                let body = serde_json::json!({"body": text([name, email, phone]), "preview_url": false});
                vec![body.to_string()]
            }
            Channel::InApp => panic!("no provider has it"),
        }
    }

    fn address(&self) -> &str {
        let address = if self.channel == Channel::Email { &self.email } else { &self.phone };
        address.as_deref().unwrap_or_default()
    }
}

/// Nothing missing, nothing twice, nobody got another's: by the providers' ledger against the contacts.
async fn check_ledger(pool: &PgPool, sandbox: &RunningSandbox) {
    let received = received(sandbox);
    let expected: i64 = sqlx::query_scalar(
        "select sum(e.n + 2 * p.n)::bigint
         from (select tenant_id, count(distinct email) n from contacts group by 1) e
         join (select tenant_id, count(distinct phone) n from contacts group by 1) p using (tenant_id)",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(received.len() as i64, expected, "one message for each address, and no more");
    let people: Vec<Person> = sqlx::query_as(
        "select r.campaign_id, r.n, k.channel, c.name, c.email, c.phone
         from recipients r join contacts c on c.id = r.contact_id join campaigns k on k.id = r.campaign_id
         where r.excluded is null",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert_eq!(people.len(), received.len());
    let mut addresses = BTreeSet::new();
    for person in &people {
        let message = MessageId { campaign: person.campaign_id.into(), n: person.n };
        let record = received.get(&message).unwrap_or_else(|| panic!("{message} never arrived"));
        // The sandbox knows numbers without their plus sign.
        let address = person.address().trim_start_matches('+');
        assert_eq!((record.address.as_str(), record.count), (address, 1), "{message}");
        let content = person.content();
        let parts: Vec<&str> = content.iter().map(String::as_str).collect();
        let digest = fanfare_sandbox::digest(address, &message.to_string(), &parts);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(record.digest, hex, "{message}: {content:?}");
        assert!(addresses.insert((person.campaign_id, address)), "{address} twice");
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn every_file_from_the_command_line_to_the_providers(pool: PgPool) {
    let sandbox = sandbox().await;
    let house = House::on(&pool);
    house.file("fanfare.toml", &configuration(&sandbox.base_url()));
    // Whoever serves declares the tenants of the configuration.
    let serving = Serving::start(&house);
    for file in files() {
        let name = file.file_name().unwrap().to_str().unwrap();
        let tenant = if name.starts_with("cattle") { "gau" } else { "island" };
        insta::assert_snapshot!(name, imported(&house, tenant, &file).await);
    }
    let mut campaigns = Vec::new();
    for (tenant, ..) in TENANTS {
        campaigns.extend(launched(&house, tenant).await.into_iter().map(|campaign| (tenant, campaign)));
    }
    for (tenant, campaign) in &campaigns {
        let status = ["campaign", "status", campaign, "--tenant", tenant, "--json"];
        let ended = house.until(&status, |found| found["state"] == "finished").await;
        let number = |name: &str| ended[name].as_i64().unwrap();
        assert_eq!(number("recipients"), number("sent") + number("excluded"), "{ended}");
        assert!(number("sent") > 0, "{ended}");
    }
    serving.stop();
    check_ledger(&pool, &sandbox).await;
}
