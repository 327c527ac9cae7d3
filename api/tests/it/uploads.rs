//! Uploads over HTTP: from the form to people in the database, and everything that is refused on the way.

mod claims;
mod pieces;

use std::{io::Read as _, time::Duration};

use fanfare_engine::id::{ProcessId, UploadId};
use reqwest::Method;
use rust_xlsxwriter::Workbook;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;

use crate::open::{Client, Open};

pub(crate) const BOUNDARY: &str = "----fanfare-boundary-of-a-test";

/// A part of a form: its name, the name of a file, and what is in it.
pub(crate) type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

pub(crate) fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        body.extend_from_slice(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n")
                .as_bytes(),
        );
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

pub(crate) async fn send(client: &Client, parts: &[Part<'_>]) -> (u16, Value) {
    let request = client
        .request(Method::POST, "/api/upload/file")
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(form(parts));
    client.send(request).await
}

pub(crate) async fn upload(client: &Client, name: &str, text: &str, metadata: &Value) -> (u16, Value) {
    let metadata = metadata.to_string();
    send(client, &[("file", Some(name), text.as_bytes()), ("metadata", None, metadata.as_bytes())]).await
}

pub(crate) async fn drain(open: &Open) {
    open.engine.upkeep().intake.drain().await.unwrap();
}

fn text<'a>(answer: &'a Value, pointer: &str) -> &'a str {
    answer.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} of {answer}"))
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

/// 150 policies, of which the last eight can't be reached.
pub(crate) fn policies() -> Vec<u8> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write_row(0, 0, ["Customer Name", "Email", "Policy No"]).unwrap();
    for n in 1..=150_u32 {
        let email = if n > 142 { "=nobody".to_owned() } else { format!("p{n}@example.com") };
        sheet.write_row(n, 0, [format!("Person {n}"), email, format!("P-{n}")]).unwrap();
    }
    book.save_to_buffer().unwrap()
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_sample_works_as_written(pool: PgPool) {
    let open = Open::new(&pool).await;
    let (owner, file) = (open.owner().await, policies());
    let metadata = json!({"description": "Upload description"}).to_string();
    let parts = [("file", Some("policies.xlsx"), file.as_slice()), ("metadata", None, metadata.as_bytes())];
    let (status, answer) = send(&owner, &parts).await;
    let id = text(&answer, "/data/uploadId").to_owned();
    let expected = json!({"success": true, "data": {
        "uploadId": id, "filename": "policies.xlsx", "status": "processing", "totalRecords": 150,
        "estimatedProcessingTime": "0-1 minutes",
    }});
    assert_eq!((status, answer), (201, expected));

    let (status, answer) = owner.get(&format!("/api/upload/status/{id}")).await;
    assert_eq!(
        (status, &answer["data"]["status"], &answer["data"]["totalRecords"]),
        (200, &json!("processing"), &json!(150))
    );
    drain(&open).await;
    let (_, answer) = owner.get(&format!("/api/upload/status/{id}")).await;
    let data = &answer["data"];
    for (key, expected) in [
        ("uploadId", json!(id)),
        ("status", json!("completed")),
        ("totalRecords", json!(150)),
        ("successfulRecords", json!(142)),
        ("failedRecords", json!(8)),
        ("downloadUrl", json!(format!("/api/upload/download/{id}"))),
        ("description", json!("Upload description")),
    ] {
        assert_eq!(data[key], expected, "{key} of {answer}");
    }
    assert!(text(data, "/processingTime").ends_with('s'), "{answer}");

    let answer = owner.request(Method::GET, text(data, "/downloadUrl")).send().await.unwrap();
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename=\"policies.xlsx\"");
    assert!(answer.bytes().await.unwrap() == file, "the file is what was sent");
    open.engine.store.chain_audit_logs().await.unwrap();
    let deeds =
        count(&pool, "select count(*) from audit_log where action in ('upload.create', 'upload.download')");
    assert_eq!(deeds.await, 2);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_was_not_taken_can_be_corrected(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let (_, answer) = send(&owner, &[("file", Some("policies.xlsx"), &policies())]).await;
    let id = text(&answer, "/data/uploadId").to_owned();
    drain(&open).await;
    let path = format!("/api/upload/errors/{id}");
    // Of each row: what is wrong with its address, and that it can't be reached without one.
    let (status, first) = owner.get(&format!("{path}?limit=10")).await;
    assert_eq!((status, &first["data"]["pagination"]["total"]), (200, &json!(16)), "{first}");
    assert_eq!(first["data"]["errors"][0]["row"], 144);
    assert_eq!(first["data"]["errors"][0]["value"], "=nobody");
    let cursor = text(&first, "/data/pagination/nextCursor");
    let (_, rest) = owner.get(&format!("{path}?limit=10&cursor={cursor}")).await;
    let rows: Vec<i64> = rest["data"]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["row"].as_i64().unwrap())
        .collect();
    assert_eq!(rows, [149, 149, 150, 150, 151, 151]);
    assert!(rest["data"]["pagination"].get("nextCursor").is_none(), "{rest}");

    let (status, list) = owner.get(&format!("{path}?format=csv")).await;
    let list = list.as_str().unwrap();
    assert_eq!((status, list.lines().count()), (200, 17), "{list}");
    assert!(list.contains(",'=nobody,") && !list.contains(",=nobody,"), "no formula: {list}");
    let (status, _) = owner.get(&format!("{path}?format=pdf")).await;
    assert_eq!(status, 422);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn what_is_refused_was_never_there(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__IMPORTS__MAX_UPLOAD_BYTES", "2000")]).await;
    let owner = open.owner().await;
    let good: &[u8] = b"email,name\nann@example.com,Ann\n";
    let large = [b'x'; 2_001];
    let refused: [(&[Part<'_>], u16, &str); 14] = [
        (&[], 422, "file"),
        (&[("file", Some("a.pdf"), b"%PDF-1.7 x")], 422, "PDF"),
        (&[("file", Some("a.csv"), b"")], 422, "empty"),
        (&[("file", Some("a.csv"), b"policy,amount\n1,2\n")], 422, "e-mail address or a phone number"),
        (&[("file", Some("a.xlsx"), b"PK\x03\x04 and nothing")], 422, "damaged"),
        (&[("file", None, good)], 422, "file name"),
        (&[("file", Some("a.csv"), &large)], 413, "MiB"),
        (&[("file", Some("a.csv"), good), ("notes", None, b"x")], 422, "notes"),
        (
            &[("file", Some("a.csv"), good), ("metadata", None, b"{\"descripton\": \"x\"}")],
            422,
            "metadata.descripton",
        ),
        (
            &[("file", Some("a.csv"), good), ("metadata", None, b"{\"mapping\": [\"Mail=email\"]}")],
            422,
            "metadata.mapping",
        ),
        (
            &[("file", Some("a.csv"), good), ("metadata", None, b"{\"region\": \"\\u0000\"}")],
            422,
            "metadata.region",
        ),
        (&[("file", Some("a.csv"), good), ("metadata", None, b"nonsense")], 400, "no JSON"),
        (&[("file", Some("a.csv"), good), ("file", Some("b.pdf"), b"%PDF-1.7 x")], 422, "file[1]"),
        (&[("file", Some("a.csv"), good), ("file", Some("b.csv"), good)], 409, "upl_"),
    ];
    for (parts, expected, word) in refused {
        let (status, answer) = send(&owner, parts).await;
        assert_eq!(status, expected, "{answer}");
        assert!(answer.to_string().contains(word), "`{word}` in {answer}");
    }
    let no_form = owner.request(Method::POST, "/api/upload/file").json(&json!({}));
    assert_eq!(owner.send(no_form).await.0, 415);
    assert_eq!(count(&pool, "select count(*) from uploads").await, 0);

    // Their bytes go with the next tidying.
    assert_eq!(count(&pool, "select count(*) from blobs where condemned_at is null").await, 0);
    assert!(count(&pool, "select count(*) from blob_parts").await > 0);
    sqlx::query("update blobs set condemned_at = condemned_at - interval '1 hour'")
        .execute(&pool)
        .await
        .unwrap();
    open.engine.upkeep().once().await.unwrap();
    assert_eq!(
        count(&pool, "select count(*) from blob_parts").await
            + count(&pool, "select count(*) from blobs").await,
        0
    );
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_same_file_is_taken_once(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let file = "email,name\nann@example.com,Ann\n";
    let (_, first) = upload(&owner, "a.csv", file, &json!({})).await;
    for _ in 0..2 {
        let (status, answer) = upload(&owner, "b.csv", file, &json!({})).await;
        assert_eq!((status, text(&answer, "/code")), (409, "conflict"));
        assert!(text(&answer, "/detail").contains(text(&first, "/data/uploadId")), "{answer}");
        // Neither while it waits nor when it was taken.
        drain(&open).await;
    }
    let (status, forced) = upload(&owner, "b.csv", file, &json!({"force": true})).await;
    assert_eq!(status, 201, "{forced}");
    let (status, theirs) = upload(&open.stranger().await, "a.csv", file, &json!({})).await;
    assert_eq!(status, 201, "what one tenant uploads is no other's business: {theirs}");
    drain(&open).await;
    assert_eq!(count(&pool, "select count(*) from uploads where state = 'completed'").await, 3);
    assert_eq!(count(&pool, "select count(*) from contacts").await, 2);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn several_files_come_in_one_form(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let parts: [Part<'_>; 3] = [
        ("metadata", None, br#"{"region": "FR", "timeZone": "Europe/Paris"}"#),
        ("file", Some("one.csv"), b"mobile;nom\n06 12 34 56 78;Luc\n"),
        ("file", Some("C:\\lists\\two.tsv"), b"mobile\tnom\n07 12 34 56 78\tZo\xc3\xa9\n"),
    ];
    let (status, answer) = send(&owner, &parts).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(answer["data"]["filename"], "one.csv");
    assert_eq!(answer["data"]["uploads"][0]["uploadId"], answer["data"]["uploadId"]);
    assert_eq!(answer["data"]["uploads"][1]["filename"], "two.tsv");
    drain(&open).await;
    let people: Vec<(String, String)> =
        sqlx::query_as("select phone, time_zone from contacts order by phone")
            .fetch_all(&pool)
            .await
            .unwrap();
    let paris = "Europe/Paris".to_owned();
    assert_eq!(people, [("+33612345678".to_owned(), paris.clone()), ("+33712345678".to_owned(), paris)]);
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_history_is_paged(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    for n in 0..5 {
        let (status, _) =
            upload(&owner, &format!("{n}.csv"), &format!("email\np{n}@example.com\n"), &json!({})).await;
        assert_eq!(status, 201);
    }
    let (_, page) = owner.get("/api/upload/history?page=2&limit=2").await;
    let expected = json!({"page": 2, "limit": 2, "total": 5, "totalPages": 3});
    for (key, expected) in expected.as_object().unwrap() {
        assert_eq!(page["data"]["pagination"][key], *expected, "{page}");
    }
    let mut names = Vec::new();
    let mut query = "limit=2".to_owned();
    loop {
        let (_, page) = owner.get(&format!("/api/upload/history?{query}")).await;
        let uploads = page["data"]["uploads"].as_array().unwrap().clone();
        names.extend(uploads.iter().map(|one| text(one, "/filename").to_owned()));
        match page["data"]["pagination"]["nextCursor"].as_str() {
            Some(cursor) => query = format!("limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(names, ["4.csv", "3.csv", "2.csv", "1.csv", "0.csv"]);
    let (_, done) = owner.get("/api/upload/history?status=completed").await;
    assert_eq!(done["data"]["pagination"]["total"], 0);
    for refused in ["status=done", "limit=0", "page=0", "sort=x", "cursor=x"] {
        assert_eq!(owner.get(&format!("/api/upload/history?{refused}")).await.0, 422, "{refused}");
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn an_upload_that_nobody_needs_can_be_deleted(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let (_, answer) = upload(&owner, "a.csv", "email,age\nann@example.com,x\nnobody,3\n", &json!({})).await;
    let id = text(&answer, "/data/uploadId").to_owned();
    let path = format!("/api/upload/{id}");
    assert_eq!(owner.delete(&path).await.0, 409, "it is being taken");
    drain(&open).await;

    let (tenant, upload) =
        (open.engine.store.tenant("acme").await.unwrap().id, id.parse::<UploadId>().unwrap());
    sqlx::query("insert into templates (id, tenant_id, slug, channel, class, name) values ($1, $2, 'x', 'email', 'obligation', 'X')")
        .bind(upload.uuid())
        .bind(tenant.uuid())
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query(
        "insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, audience, state)
         values ($1, $2, 'campaign', 'May', 'email', 'obligation', $1, $3, 'draft')",
    )
    .bind(upload.uuid())
    .bind(tenant.uuid())
    .bind(json!({"upload": upload.uuid().to_string()}))
    .execute(&pool)
    .await
    .unwrap();
    let (status, answer) = owner.delete(&path).await;
    assert!(status == 409 && text(&answer, "/detail").contains("1 campaign"), "{answer}");
    sqlx::query("delete from campaigns").execute(&pool).await.unwrap();

    assert_eq!(owner.delete(&path).await.0, 204);
    assert_eq!(owner.delete(&path).await.0, 404);
    for table in [
        "select count(*) from uploads",
        "select count(*) from upload_rows",
        "select count(*) from upload_problems",
    ] {
        assert_eq!(count(&pool, table).await, 0, "{table}");
    }
    assert_eq!(count(&pool, "select count(*) from contacts").await, 1, "people stay");
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn the_template_can_be_filled_in(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let answer = owner.request(Method::GET, "/api/upload/template").send().await.unwrap();
    let kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (200, &kind.parse().unwrap()));
    assert_eq!(
        answer.headers()["content-disposition"],
        "attachment; filename=\"policy_upload_template.xlsx\""
    );
    let file = answer.bytes().await.unwrap();
    let mut book = zip::ZipArchive::new(std::io::Cursor::new(file.clone())).unwrap();
    let mut sheets = String::new();
    book.by_name("xl/workbook.xml").unwrap().read_to_string(&mut sheets).unwrap();
    assert!(sheets.contains("\"Policies\"") && sheets.contains("\"Examples\""), "{sheets}");

    let (status, answer) = send(&owner, &[("file", Some("t.xlsx"), &file)]).await;
    assert!(status == 422 && answer.to_string().contains("no row below it"), "not filled in: {answer}");
    let parts: [Part<'_>; 2] =
        [("file", Some("t.xlsx"), &file), ("metadata", None, br#"{"sheet": "Examples"}"#)];
    let (status, answer) = send(&owner, &parts).await;
    assert_eq!((status, &answer["data"]["totalRecords"]), (201, &json!(3)), "{answer}");
    drain(&open).await;
    let (_, answer) = owner.get(&format!("/api/upload/status/{}", text(&answer, "/data/uploadId"))).await;
    assert_eq!(answer["data"]["successfulRecords"], 3, "{answer}");
    let (_, errors) = owner.get(&format!("/api/upload/errors/{}", text(&answer, "/data/uploadId"))).await;
    assert_eq!(errors["data"]["errors"], json!([]), "every example is understood as it stands");
    let kinds: Vec<&str> =
        answer["data"]["columns"].as_array().unwrap().iter().map(|column| text(column, "/type")).collect();
    let expected =
        ["name", "email", "phone", "language", "reference", "amount", "amount", "date", "date", "text"];
    assert_eq!(kinds, expected);
}
