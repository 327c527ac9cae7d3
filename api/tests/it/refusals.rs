//! What cannot be done is refused with a sentence that says what to do, with the documented exit code, and without a
//! trace in the database.

use std::io::Write as _;

use fanfare_sandbox::{Sandbox, SandboxConfig};
use sqlx::PgPool;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::support::{House, Ran, Serving, furnished};

/// Rows of every table that a command may write to; accounts and tenants are declared by whoever comes first.
async fn rows(pool: &PgPool) -> Vec<(&'static str, i64)> {
    let mut counts = Vec::new();
    for (table, count) in [
        ("contacts", "select count(*) from contacts"),
        ("uploads", "select count(*) from uploads"),
        ("upload_rows", "select count(*) from upload_rows"),
        ("upload_problems", "select count(*) from upload_problems"),
        ("template_versions", "select count(*) from template_versions"),
        ("campaigns", "select count(*) from campaigns"),
        ("recipients", "select count(*) from recipients"),
        ("chunks", "select count(*) from chunks"),
        ("results", "select count(*) from results"),
        ("acceptances", "select count(*) from acceptances"),
    ] {
        counts.push((table, sqlx::query_scalar(count).fetch_one(pool).await.unwrap()));
    }
    counts
}

fn check_failed(ran: &Ran, code: i32, says: &[&str]) {
    assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
    for words in says {
        assert!(ran.err.contains(words) || ran.out.contains(words), "{words}: {}{}", ran.out, ran.err);
    }
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}

/// A workbook whose sheet inflates to 128 MB from a hundred kilobytes.
pub(crate) fn bomb() -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let sheets = r#"<workbook xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>"#;
    let relations = r#"<Relationships><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#;
    for (name, text, times) in [
        ("xl/workbook.xml", sheets.to_owned(), 1),
        ("xl/_rels/workbook.xml.rels", relations.to_owned(), 1),
        ("xl/worksheets/sheet1.xml", " ".repeat(1 << 20), 128),
    ] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        for _ in 0..times {
            zip.write_all(text.as_bytes()).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

fn data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../engine/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_file_that_is_no_list_leaves_nothing(pool: PgPool) {
    let house = furnished(&pool);
    let before = rows(&pool).await;
    let workbook = data("arrears.xlsx");
    let png = data("not-a-table.csv");
    let pdf = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n".to_vec();
    for (name, bytes, says) in [
        ("bomb.xlsx", bomb(), "a part inflates to more than"),
        ("cut.xlsx", workbook[..workbook.len() / 2].to_vec(), "it is damaged or was cut off"),
        ("cut.csv", data("truncated.csv"), "it was cut off; export it again"),
        ("pdf.csv", pdf.clone(), "not a table but a PDF"),
        ("pdf.xlsx", pdf, "not a table but a PDF"),
        ("png.csv", png.clone(), "not a table but a picture (PNG)"),
        ("png.xlsx", png, "not a table but a picture (PNG)"),
        ("empty.csv", Vec::new(), "empty"),
    ] {
        let path = house.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let refused = house.folder.path().join("refused.csv");
        let arguments = ["import", path.to_str().unwrap(), "--refused", refused.to_str().unwrap()];
        check_failed(&house.run(&arguments), 4, &[says]);
        assert!(!refused.exists(), "{name}: no list of a file that was not taken");
        assert_eq!(rows(&pool).await, before, "{name}");
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_template_that_nobody_could_fill_is_found_before_the_launch(pool: PgPool) {
    let mut house = furnished(&pool);
    with_sms(&mut house, "http://127.0.0.1:1", "k");
    let before = rows(&pool).await;
    for (text, says) in [
        ("Dear {{first_name}, your policy is due.", "line 1, column 18: `}` cannot stand inside"),
        ("Dear {{name}}, {{rupees premium}} are due.", "rupees"),
        ("Dear {{#if name}}you", "close every {{#block}}"),
    ] {
        let file = house.file("bad.txt", text);
        let publish = ["template", "publish", &file, "--slug", "bad", "--class", "obligation"];
        check_failed(&house.run(&publish), 4, &["bad cannot be published: sms, line", says]);
        assert_eq!(rows(&pool).await, before, "{text}");
    }
    // A name that no list has is no fault of the template: the check says who would lack it, and how many.
    let file = house.file("polcy.txt", "Dear {{name}}, policy {{polcy_number}} is due.");
    let publish = ["template", "publish", &file, "--slug", "polcy", "--class", "obligation", "--json"];
    assert_eq!(house.run(&publish).json()[0]["variables"], serde_json::json!(["name", "polcy_number"]));
    let campaign = draft(&house, "polcy");
    let check = house.run(&["campaign", "check", &campaign]);
    assert!(check.out.contains("0 would be sent to"), "{}", check.out);
    assert!(check.out.contains("3  lack a value for `polcy_number`"), "{}", check.out);
}

/// Imports three people, and makes a draft to them.
fn draft(house: &House, template: &str) -> String {
    let list = "policy no,name,phone\nA/1,Ann Lee,57001001\nA/2,Bob Roy,57001002\nA/3,Cid Day,57001003\n";
    let list = house.file("list.csv", list);
    let upload = house.run(&["import", &list, "--json"]).json()["upload"].as_str().unwrap().to_owned();
    let create = [
        "campaign",
        "create",
        "--name",
        "Due",
        "--channel",
        "sms",
        "--template",
        template,
        "--upload",
        &upload,
        "--json",
    ];
    house.run(&create).json()["campaign"].as_str().unwrap().to_owned()
}

fn with_sms(house: &mut House, sandbox: &str, key: &str) {
    for (name, value) in
        [("BREVO_API_KEY", key), ("BREVO_SENDER_NAME", "Acme"), ("BREVO_BASE_URL", &format!("{sandbox}/v3"))]
    {
        house.set(name, value);
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_wrong_key_is_said_and_nobody_is_lost(pool: PgPool) {
    let mut house = furnished(&pool);
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    with_sms(&mut house, &sandbox.base_url(), "xkeysib-mistyped");
    let campaign = draft(&house, "hello");
    assert_eq!(house.run(&["campaign", "launch", &campaign]).code, 0);
    let serving = Serving::start(&house);
    let status = ["campaign", "status", &campaign, "--json"];
    let found = house.until(&status, |found| !found["refusedAccounts"].is_null()).await;
    assert_eq!((&found["failed"], &found["sent"], &found["waiting"]), (&0.into(), &0.into(), &3.into()));
    let said = house.run(&status[..3]);
    assert!(said.out.contains("check its key, credit and permissions"), "{}", said.out);
    check_failed(&house.run_beside(&["doctor"]).await, 3, &["Brevo answers 401", "Key not found"]);
    serving.stop();
    assert_eq!(sandbox.audit().messages(0, 10, 0).records.len(), 0);

    // With the right key, once the account is asked again, everybody gets their one message.
    house.set("BREVO_API_KEY", "xkeysib-sandbox");
    sqlx::query("update accounts set blocked_until = now()").execute(&pool).await.unwrap();
    sqlx::query("update chunks set not_before = null").execute(&pool).await.unwrap();
    let serving = Serving::start(&house);
    assert_eq!(house.until(&status, |found| found["state"] == "finished").await["sent"], 3);
    serving.stop();
    let received = sandbox.audit().messages(0, 10, 0).records;
    assert_eq!(received.iter().map(|record| record.count).collect::<Vec<_>>(), [1, 1, 1]);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn without_redis_everything_goes_on(pool: PgPool) {
    let mut house = furnished(&pool);
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    with_sms(&mut house, &sandbox.base_url(), "xkeysib-sandbox");
    house.set("REDIS_URL", "redis://127.0.0.1:1");
    let campaign = draft(&house, "hello");
    assert_eq!(house.run(&["campaign", "launch", &campaign]).code, 0);
    check_failed(&house.run_beside(&["doctor"]).await, 3, &["127.0.0.1:1", "sending goes on, more slowly"]);
    let serving = Serving::start(&house);
    let status = ["campaign", "status", &campaign, "--json"];
    assert_eq!(house.until(&status, |found| found["state"] == "finished").await["sent"], 3);
    serving.stop();
    assert_eq!(sandbox.audit().messages(0, 10, 0).records.len(), 3);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn without_postgres_nothing_begins(pool: PgPool) {
    let mut house = furnished(&pool);
    let campaign = draft(&house, "hello");
    let before = rows(&pool).await;
    let list = house.file("more.csv", "name,phone\nDee Fox,57001004\n");
    house.set("BREVO_API_KEY", "k");
    house.set("BREVO_SENDER_NAME", "Acme");
    house.set("BREVO_BASE_URL", "http://127.0.0.1:1/v3");
    house.set("DATABASE_URL", "postgres://fanfare:secret-word@127.0.0.1:1/fanfare");
    let refused = house.folder.path().join("refused.csv");
    let ran = house.run_all(&[
        &["import", &list, "--refused", refused.to_str().unwrap()],
        &["campaign", "launch", &campaign],
        &["serve"],
        &["doctor"],
    ]);
    let [import, launch, serve, doctor] = &ran[..] else { panic!("four commands, four answers") };
    for ran in [import, launch, serve] {
        check_failed(
            ran,
            3,
            &["the database cannot be reached: is Postgres running", "`fanfare doctor` looks"],
        );
    }
    check_failed(doctor, 3, &["127.0.0.1:1", "start it, or correct DATABASE_URL"]);
    assert!(
        ran.iter().all(|ran| !format!("{}{}", ran.out, ran.err).contains("secret-word")),
        "no password is shown"
    );
    assert!(!refused.exists());
    assert_eq!(rows(&pool).await, before);
    let state: String = sqlx::query_scalar("select state from campaigns").fetch_one(&pool).await.unwrap();
    assert_eq!(state, "draft");
}
