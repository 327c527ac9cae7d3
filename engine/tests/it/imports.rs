//! Files as back offices export them, taken into a real database.

use std::path::{Path, PathBuf};

use fanfare_engine::{
    clock::TestClock,
    contacts::{ImportError, ImportOptions, ImportReport, ImportRequest, import, refused},
    id::{Ids, TenantId},
    store::Store,
};
use jiff::Timestamp;
use sqlx::PgPool;

use crate::support::until;

pub(crate) struct Bench {
    store: Store,
    ids: Ids,
    clock: TestClock,
    tenant: TenantId,
}

impl Bench {
    pub(crate) async fn new(pool: PgPool, region: &str, currency: &str) -> Self {
        let now = "2026-11-30T08:00:00Z".parse::<Timestamp>().expect("a timestamp");
        let ids = Ids::from_seed(7);
        let tenant: TenantId = ids.next(now);
        sqlx::query("insert into tenants (id, slug, name, region, locale, time_zone, currency) values ($1, 'nic', 'NIC', $2, 'en', 'Indian/Mauritius', $3)")
            .bind(tenant.uuid()).bind(region).bind(currency).execute(&pool).await.expect("a tenant");
        Self { store: Store::from_pool(pool), ids, clock: TestClock::at(now), tenant }
    }

    /// The tenant of the other benches on the same database, or a new one.
    pub(crate) async fn named(pool: PgPool, region: &str, currency: &str) -> Self {
        let known: Option<uuid::Uuid> =
            sqlx::query_scalar("select id from tenants").fetch_optional(&pool).await.expect("tenants");
        let Some(tenant) = known else { return Self::new(pool, region, currency).await };
        let now = "2026-11-30T08:00:00Z".parse::<Timestamp>().expect("a timestamp");
        Self {
            store: Store::from_pool(pool),
            ids: Ids::from_seed(8),
            clock: TestClock::at(now),
            tenant: tenant.into(),
        }
    }

    pub(crate) async fn import(
        &self,
        path: &Path,
        options: ImportOptions,
    ) -> Result<ImportReport, ImportError> {
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let request =
            ImportRequest { tenant: self.tenant, path: path.to_owned(), file_name, options, author: None };
        import(&self.store, &self.ids, &self.clock, request, &|_| ()).await
    }

    async fn text(&self, text: &str) -> ImportReport {
        let report = self.import(file(text).path(), ImportOptions::default()).await.expect("taken");
        self.check(&report).await;
        report
    }

    /// What must hold of every import.
    pub(crate) async fn check(&self, report: &ImportReport) {
        let upload = report.upload.uuid();
        let one =
            |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).bind(upload).fetch_one(self.store.pool());
        let taken = one("select count(*) from upload_rows where upload_id = $1").await.expect("rows");
        let refused =
            one("select count(distinct row_no) from upload_problems where upload_id = $1 and refused");
        let refused = refused.await.expect("refused rows");
        let unexplained = one("select count(*) from upload_problems where upload_id = $1 and reason = ''");
        let both = one(
            "select count(*) from upload_rows r join upload_problems p using (upload_id, row_no) where upload_id = $1 and p.refused",
        );
        assert_eq!((taken, refused), (report.rows_taken as i64, report.rows_refused as i64));
        assert_eq!(report.rows_read, report.rows_taken + report.rows_refused);
        assert_eq!((unexplained.await.expect("reasons"), both.await.expect("rows")), (0, 0));
        let stored = self.store.upload(self.tenant, report.upload).await.expect("the upload");
        assert_eq!((stored.rows_taken, stored.contacts_created), (taken, report.contacts_created as i64));
    }

    /// The first taken rows of a file, with their contacts.
    pub(crate) async fn rows(&self, report: &ImportReport, limit: i64) -> Vec<serde_json::Value> {
        sqlx::query_scalar(
            "select jsonb_build_object('row', r.row_no, 'name', c.name, 'email', c.email, 'phone', c.phone, 'locale',
                                       c.locale, 'zone', c.time_zone, 'person', c.attributes, 'row_says', r.attributes)
             from upload_rows r join contacts c on c.id = r.contact_id
             where r.upload_id = $1 order by r.row_no limit $2",
        )
        .bind(report.upload.uuid())
        .bind(limit)
        .fetch_all(self.store.pool())
        .await
        .expect("rows")
    }

    /// The list of what was not taken, as a back office gets it.
    pub(crate) async fn list(&self, report: &ImportReport) -> String {
        let mut list = Vec::new();
        refused::write_csv(&self.store, self.tenant, report.upload, &mut list).await.expect("a list");
        String::from_utf8(list).expect("UTF-8")
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.store.pool()).await.expect("a count")
    }
}

pub(crate) fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    file
}

pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Takes a file, snapshots the report and checks what must hold of any file: rows add up, every refused row says why.
async fn taken(pool: PgPool, region: &str, currency: &str, name: &str) -> (Bench, ImportReport) {
    let bench = Bench::new(pool, region, currency).await;
    let report = bench.import(&data(name), ImportOptions::default()).await.expect("the file is taken");
    insta::assert_json_snapshot!(name, report);
    bench.check(&report).await;
    (bench, report)
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn renewals_with_every_form_of_value(pool: PgPool) {
    let (bench, report) = taken(pool, "MU", "MUR", "renewals-2026-12.csv").await;
    insta::assert_json_snapshot!("first rows of renewals", bench.rows(&report, 8).await);
    let formulas = bench
        .count("select count(*) from upload_rows where attributes ->> 'notes' like '=HYPERLINK(%'")
        .await;
    assert!(formulas > 1_000, "a text that begins like a formula is kept as it is: {formulas}");
    let lines = bench
        .count("select count(*) from upload_rows where attributes ->> 'notes' = E'moved to\\nVacoas'")
        .await;
    assert!(lines > 1_000, "a line end inside quotes is part of the value: {lines}");
    let chinese = bench
        .count("select count(*) from contacts where name ~ '[一-龥]' and attributes ->> 'first_name' = name")
        .await;
    assert!(chinese > 0, "a name without spaces is a first name");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn arrears_in_windows_1252(pool: PgPool) {
    let (bench, report) = taken(pool, "MU", "MUR", "arrieres-cp1252.csv").await;
    insta::assert_json_snapshot!("first rows of arrieres", bench.rows(&report, 4).await);
    assert!(bench.count("select count(*) from contacts where name like '%é%'").await > 10);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn invoices_in_three_currencies(pool: PgPool) {
    let (bench, report) = taken(pool, "MU", "MUR", "fleet-invoices.tsv").await;
    insta::assert_json_snapshot!("first rows of invoices", bench.rows(&report, 4).await);
    let disagreeing = bench
        .count(
            "select count(*) from upload_problems where refused and reason like '%but with another amount%'",
        )
        .await;
    assert!(disagreeing > 0, "a repeated invoice with another currency says so");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_workbook_with_a_title_and_formulas(pool: PgPool) {
    let (bench, report) = taken(pool, "MU", "MUR", "arrears.xlsx").await;
    insta::assert_json_snapshot!("first rows of arrears", bench.rows(&report, 14).await);
    let rows = bench
        .count("select count(*) from upload_problems where reason = 'formula without a stored value'")
        .await;
    assert_eq!(rows, 5_000, "no total of this file was ever calculated");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_workbook_in_hindi(pool: PgPool) {
    let (bench, report) = taken(pool, "IN", "INR", "cattle-policies.xlsx").await;
    insta::assert_json_snapshot!("first rows of cattle", bench.rows(&report, 4).await);
    assert_eq!(bench.count("select count(*) from contacts where phone !~ '^\\+91[0-9]{10}$'").await, 0);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn ragged_rows(pool: PgPool) {
    let (bench, report) = taken(pool, "MU", "MUR", "ragged.csv").await;
    insta::assert_snapshot!("list of ragged", bench.list(&report).await);
}

async fn check_refused(bench: &Bench, name: &str, expected: &str) {
    let error = bench.import(&data(name), ImportOptions::default()).await.expect_err(name);
    assert_eq!(error.to_string(), expected, "{name}");
    assert_eq!(bench.count("select count(*) from contacts").await, 0);
    assert_eq!(bench.count("select count(*) from uploads").await, 0);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn files_that_are_refused_whole(pool: PgPool) {
    let bench = Bench::new(pool, "MU", "MUR").await;
    for (name, expected) in [
        (
            "truncated.csv",
            "the file ends inside a quoted field that starts at row 6: it was cut off; export it again",
        ),
        ("header-only.csv", "there is a header in row 1 but no row below it: export the list with its rows"),
        ("not-a-table.csv", "this is not a table but a picture (PNG): export the list as CSV or XLSX"),
        (
            "duplicate-headers.csv",
            "the header `Email` stands above columns B and C: rename one in the file, or say what each is, such as \
             `#2=email` (`#3=ignore` leaves a column out)",
        ),
    ] {
        check_refused(&bench, name, expected).await;
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn repeated_headers_can_be_told_apart(pool: PgPool) {
    let bench = Bench::new(pool, "MU", "MUR").await;
    let mapping = vec!["#2=email".to_owned(), "#3=other_email".to_owned()];
    let options = ImportOptions { mapping, ..ImportOptions::default() };
    let report = bench.import(&data("duplicate-headers.csv"), options).await.expect("taken");
    assert_eq!(report.rows_taken, 1);
    assert_eq!(
        bench
            .count("select count(*) from upload_rows where attributes ->> 'other_email' = 'b@example.com'")
            .await,
        1
    );
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_same_file_again_is_refused_unless_forced(pool: PgPool) {
    let bench = Bench::new(pool, "MU", "MUR").await;
    let first = bench.import(&data("fleet-invoices.tsv"), ImportOptions::default()).await.expect("taken");
    let error = bench.import(&data("fleet-invoices.tsv"), ImportOptions::default()).await.expect_err("known");
    assert!(
        matches!(error, ImportError::AlreadyImported { upload, .. } if upload == first.upload),
        "{error}"
    );
    let forced = ImportOptions { force: true, ..ImportOptions::default() };
    let second = bench.import(&data("fleet-invoices.tsv"), forced).await.expect("forced");
    // Everybody is known and nothing is new: the import can be repeated without a trace but its rows.
    assert_eq!((second.contacts_created, second.contacts_updated), (0, 0));
    assert_eq!(second.rows_taken, first.rows_taken);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn contacts_are_matched_and_kept(pool: PgPool) {
    let bench = Bench::new(pool, "MU", "MUR").await;
    let report = bench
        .text("name,email,phone,language\nAnn,ann@example.com,,fr\nBob,,57001001,\nCid,,57001002,en\n")
        .await;
    assert_eq!((report.contacts_created, report.contacts_updated), (3, 0));
    // Ann moves and keeps her language; Bob gets an address; Cid, alone by phone again, is not Di with his phone.
    let report = bench
        .text("name,email,phone,language\nAnn,ANN@example.com,57001009,\nBob,bob@example.com,57001001,\nCid,,57001002,\nDi,di@example.com,57001002,\n")
        .await;
    assert_eq!((report.contacts_created, report.contacts_updated), (1, 2));
    let shown: Vec<String> =
        sqlx::query_scalar("select concat_ws(' ', name, email, phone, locale) from contacts order by name")
            .fetch_all(bench.store.pool())
            .await
            .expect("contacts");
    insta::assert_snapshot!("contacts after two files", shown.join("\n"));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn one_person_with_several_policies_is_one_contact(pool: PgPool) {
    let bench = Bench::new(pool, "MU", "MUR").await;
    let report = bench
        .text("policy no,name,email,due date,premium\nA/1,Ann,ann@example.com,1/2/27,\"1,250.00\"\nA/2,Ann,ann@example.com,1/2/27,5\na-1,Ann,ann@example.com,01 Feb 2027,Rs 1250\nA/1,Ann,ann@example.com,01 Feb 2027,Rs 1251\nA/1,Bob,bob@example.com,1/2/27,1250\n")
        .await;
    assert_eq!((report.rows_taken, report.rows_refused, report.contacts_created), (3, 2, 2));
    insta::assert_snapshot!("list of repeats", bench.list(&report).await);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_list_of_problems_is_safe_to_open(pool: PgPool) {
    let bench = Bench::new(pool, "MU", "MUR").await;
    let report = bench.text("email,phone\n=1+1,57001001\n@SUM(A1),\n\"-2, \"\"3\"\"\",57001002\n").await;
    insta::assert_snapshot!("list of formulas", bench.list(&report).await);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_file_over_the_limit_is_not_read(pool: PgPool) {
    let bench = Bench::new(pool, "MU", "MUR").await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(2 << 30).expect("a sparse file");
    let error = bench.import(file.path(), ImportOptions::default()).await.expect_err("too large");
    assert_eq!(
        error.to_string(),
        "the file has 2147483648 bytes, more than the 1073741824 allowed: split it, or raise `imports.max_bytes`"
    );
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_import_that_is_dropped_leaves_nothing(pool: PgPool) {
    let bench = Bench::new(pool, "MU", "MUR").await;
    let reading = std::sync::Arc::new(tokio::sync::Notify::new());
    let file = data("renewals-2026-12.csv");
    {
        let seen = reading.clone();
        let request = ImportRequest {
            tenant: bench.tenant,
            path: file.clone(),
            file_name: "renewals".to_owned(),
            options: ImportOptions::default(),
            author: None,
        };
        let progress = move |_| seen.notify_one();
        let running = import(&bench.store, &bench.ids, &bench.clock, request, &progress);
        tokio::select! {
            () = reading.notified() => {}
            _ = running => panic!("the import ended before its first batch was seen"),
        }
    }
    assert_eq!(bench.count("select count(*) from contacts").await, 0);
    assert_eq!(bench.count("select count(*) from uploads").await, 0);
    // And it can simply be done again.
    let report = bench.import(&file, ImportOptions::default()).await.expect("taken");
    bench.check(&report).await;
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn imports_at_the_same_time_make_nobody_twice(pool: PgPool) {
    let bench = Bench::new(pool, "MU", "MUR").await;
    let rows = |from: usize, to: usize| {
        let lines = (from..to).map(|n| format!("P{n},Person {n},person{n}@example.com\n"));
        format!("policy,name,email\n{}", lines.collect::<String>())
    };
    let (first, second) = (file(&rows(0, 3_000)), file(&rows(1_500, 4_500)));
    let (a, b, again) = tokio::join!(
        bench.import(first.path(), ImportOptions::default()),
        bench.import(second.path(), ImportOptions::default()),
        bench.import(first.path(), ImportOptions::default()),
    );
    // The same file twice at once: one of the two finds the other when its turn comes.
    let known = [&a, &again]
        .into_iter()
        .filter(|one| matches!(one, Err(ImportError::AlreadyImported { .. })))
        .count();
    assert_eq!(known, 1);
    let taken: u64 = [a, b, again].into_iter().flatten().map(|report| report.contacts_created).sum();
    assert_eq!(taken, 4_500);
    assert_eq!(bench.count("select count(*) from contacts").await, 4_500);
}

/// More rows than a batch holds lie between the first of these people and their next.
fn who_comes_again() -> String {
    let mut text = "policy,name,email,phone,language,due date,premium,notes\n".to_owned();
    let notes = "n".repeat(400);
    for n in 0..9_000 {
        text += &format!("P{n},Person {n},p{n}@example.com,,en,1/2/27,100,{notes}\n");
        if n == 5 {
            text += "P-alone,Alone,,57001001,,1/2/27,1,\nQ-alone,Other,,57001002,en,1/2/27,1,\n";
        }
    }
    // Another policy and a new name; the same policy with another premium; another policy and nothing new; a language; the
    // phone of somebody else.
    text += "P-10b,Person Ten,p10@example.com,,,1/2/27,7,\n";
    text += "p11,Person 11,P11@example.com,,fr,1/2/27,101,\n";
    text += "P-12b,,P12@example.com,,,1/2/27,7,\n";
    text += "P-alone-2,,,57001001,fr,1/2/27,2,\n";
    text + "Q-shared,Sharing,q@example.com,57001002,,no date,3,\n"
}

const SHOW: &str =
    "select concat_ws(' ', r.row_no, c.name, c.email, c.phone, c.locale, r.attributes ->> 'reference')
    from contacts c join upload_rows r on r.contact_id = c.id and r.time_zone = c.time_zone
    where c.email in ('p10@example.com', 'p11@example.com', 'p12@example.com', 'q@example.com')
       or c.phone is not null order by r.upload_id, r.row_no";

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn who_comes_again_much_later_is_one_contact(pool: PgPool) {
    let bench = Bench::new(pool, "MU", "MUR").await;
    let text = who_comes_again();
    let report = bench.text(&text).await;
    assert_eq!((report.rows_read, report.rows_taken, report.rows_refused), (9_007, 9_006, 1));
    assert_eq!((report.contacts_created, report.contacts_updated), (9_003, 0));
    assert_eq!(bench.count("select count(*) from contacts").await, 9_003);
    let shown: Vec<String> = sqlx::query_scalar(SHOW).fetch_all(bench.store.pool()).await.expect("contacts");
    assert_eq!(
        shown,
        [
            "8 Alone +23057001001 fr P-alone",
            "9 Other +23057001002 en Q-alone",
            "14 Person Ten p10@example.com en P10",
            "15 Person 11 p11@example.com en P11",
            "16 Person 12 p12@example.com en P12",
            "9004 Person Ten p10@example.com en P-10b",
            "9006 Person 12 p12@example.com en P-12b",
            "9007 Alone +23057001001 fr P-alone-2",
            "9008 Sharing q@example.com +23057001002 Q-shared",
        ]
    );
    let list = bench.list(&report).await;
    assert!(list.contains("in row 15, but with another premium: check which is right\""), "{list}");
    // And a month later everybody is known.
    let forced = ImportOptions { force: true, ..ImportOptions::default() };
    let again = bench.import(file(&text).path(), forced).await.expect("taken");
    assert_eq!((again.rows_taken, again.rows_refused), (9_006, 1));
    assert_eq!((again.contacts_created, again.contacts_updated), (0, 0));
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn known_people_among_new_ones_are_merged(pool: PgPool) {
    let bench = Bench::new(pool, "MU", "MUR").await;
    bench
        .text("name,email,phone,language\nAnn,ann@example.com,,fr\nBob,,57001001,\nCid,,57001002,en\n")
        .await;
    // Dan comes without the phone that makes him Bob, and then with it.
    let report = bench
        .text(
            "name,email,phone,language\nNew,new@example.com,,\nAnne,ann@example.com,57001009,\nDan,dan@example.com,,\n\
             Cid,,57001002,\nAlso,also@example.com,57001002,\n,dan@example.com,57001001,hi\n",
        )
        .await;
    assert_eq!((report.contacts_created, report.contacts_updated), (2, 2));
    let shown: Vec<String> =
        sqlx::query_scalar("select concat_ws(' ', name, email, phone, locale) from contacts order by name")
            .fetch_all(bench.store.pool())
            .await
            .expect("contacts");
    assert_eq!(
        shown,
        [
            "Also also@example.com +23057001002",
            "Anne ann@example.com +23057001009 fr",
            "Cid +23057001002 en",
            "Dan dan@example.com +23057001001 hi",
            "New new@example.com",
        ]
    );
}

/// Somebody else writes a contact of the file and commits only when the import has come upon it.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a_contact_made_at_the_same_moment_is_not_made_twice(pool: PgPool) {
    let bench = Bench::new(pool.clone(), "MU", "MUR").await;
    let mut other = pool.begin().await.expect("a transaction");
    sqlx::query(
        "insert into contacts (id, tenant_id, name, email, time_zone)
         values (gen_random_uuid(), $1, 'Other', 'p7@example.com', 'Indian/Mauritius')",
    )
    .bind(bench.tenant.uuid())
    .execute(&mut *other)
    .await
    .expect("a contact");
    let lines = (0..100).map(|n| format!("P{n},Person {n},p{n}@example.com\n"));
    let file = file(&format!("policy,name,email\n{}", lines.collect::<String>()));
    let commit = async {
        let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock' and query like 'copy contacts%'";
        until("the import waits", async || {
            sqlx::query_scalar::<_, i64>(waiting).fetch_one(&pool).await.expect("a count") > 0
        })
        .await;
        other.commit().await.expect("committed");
    };
    let (report, ()) = tokio::join!(bench.import(file.path(), ImportOptions::default()), commit);
    let report = report.expect("taken");
    bench.check(&report).await;
    assert_eq!((report.rows_taken, report.contacts_created, report.contacts_updated), (100, 99, 1));
    assert_eq!(bench.count("select count(*) from contacts").await, 100);
}
