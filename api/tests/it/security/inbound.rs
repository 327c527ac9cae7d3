//! A4 tables, A5 workbooks, A6 and A7 webhooks: what comes in from outside, and is not what it says.

use std::{
    io::{Cursor, Write as _},
    time::{Duration, Instant},
};

use fanfare_sandbox::signature;
use reqwest::Method;
use rust_xlsxwriter::Workbook;
use serde_json::{Value, json};
use sqlx::PgPool;
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::{
    open::{Client, Open},
    support::{in_two_days, until},
    uploads::{drain, send},
};

/// How soon a workbook that goes off is refused.
const SOON: Duration = Duration::from_secs(1);
/// Of a process, whatever it is sent.
const MOST_RESIDENT: u64 = 256 << 20;

async fn sent(client: &Client, name: &str, bytes: &[u8]) -> (u16, Value) {
    let begun = Instant::now();
    let answer = send(client, &[("file", Some(name), bytes)]).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{name}: {:?}", begun.elapsed());
    answer
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

/// A table that has no end, or too many columns, or several encodings, is refused or read, and holds nothing up.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a04_a_table_that_is_none_is_refused(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__IMPORTS__MAX_UPLOAD_BYTES", "30000000")]).await;
    let owner = open.owner().await;
    let line = |bytes: usize| [b"email,name\na@acme.example,".as_slice(), &vec![b'x'; bytes]].concat();
    let columns = "c,".repeat(100_000) + "email\n" + &"v,".repeat(100_000) + "a@acme.example\n";
    let quoted = [b"email,name\na@acme.example,\"".as_slice(), "x\n".repeat(2 << 20).as_bytes()].concat();
    let refused: [(&str, Vec<u8>, &[u16]); 8] = [
        ("line.csv", line(29_000_000), &[422]),
        ("larger.csv", line(31_000_000), &[413]),
        ("columns.csv", columns.into_bytes(), &[422]),
        ("quote.csv", quoted, &[422]),
        ("nul.csv", b"email,name\na@acme.example,a\0b\n".to_vec(), &[201, 422]),
        ("utf16.csv", b"\xfe\xff\x00e\x00m".to_vec(), &[422]),
        (
            "mixed.csv",
            b"email,name\na1@acme.example,\xe9t\xe9\nb1@acme.example,\xc3\xa9t\xc3\xa9\n".to_vec(),
            &[201, 422],
        ),
        ("lines.csv", "\n".repeat(1 << 20).into_bytes(), &[422]),
    ];
    for (name, bytes, expected) in refused {
        let (status, answer) = sent(&owner, name, &bytes).await;
        assert!(expected.contains(&status), "{name}: {status} {answer}");
    }
    // A mark at the beginning is none of the text, whatever it is written in.
    let text = "email,name\nbom@acme.example,\u{e9}t\u{e9}\n";
    let utf16: Vec<u8> = "\u{feff}email,name\nwide@acme.example,\u{e9}t\u{e9}\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (name, bytes) in [("bom.csv", [b"\xef\xbb\xbf", text.as_bytes()].concat()), ("wide.csv", utf16)] {
        let (status, answer) = sent(&owner, name, &bytes).await;
        assert_eq!(status, 201, "{name}: {answer}");
    }
    drain(&open).await;
    assert_eq!(count(&pool, "select count(*) from contacts where name = 'été' and email in ('bom@acme.example', 'wide@acme.example')").await, 2);
    assert_eq!(
        count(&pool, "select count(*) from uploads where state in ('receiving', 'processing')").await,
        0
    );
}

/// What would be a formula in a spreadsheet is a text in every table that goes out.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a04_a_formula_that_came_in_goes_out_as_text(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let formulas = [
        "=1+1",
        "+1",
        "-1+cmd|' /C calc'!A0",
        "@SUM(1)",
        "\t=1",
        "=HYPERLINK(\"\"http://evil.example\"\")",
        "|calc",
        "%0A=1",
    ];
    let list =
        formulas.iter().fold("email,name\n".to_owned(), |list, formula| format!("{list}\"{formula}\",x\n"));
    let (status, answer) = sent(&owner, "formulas.csv", list.as_bytes()).await;
    assert_eq!(status, 201, "{answer}");
    drain(&open).await;
    let id = answer["data"]["uploadId"].as_str().unwrap();
    let request = owner.request(Method::GET, &format!("/api/upload/errors/{id}?format=csv"));
    let answer = request.send().await.unwrap();
    let disposition = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(disposition.starts_with("attachment") && answer.headers()["x-content-type-options"] == "nosniff");
    let text = answer.text().await.unwrap();
    let mut table = csv::Reader::from_reader(text.as_bytes());
    let mut cells = 0;
    for record in table.records() {
        for cell in &record.unwrap() {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\0']), "{cell:?} in {text}");
            cells += 1;
        }
    }
    assert!(cells >= formulas.len(), "{text}");
}

/// A workbook with one person, and a cell far away from them.
fn sparse(row: u32, column: u16) -> Vec<u8> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write_row(0, 0, ["Email", "Name"]).unwrap();
    sheet.write_row(1, 0, ["a@acme.example", "Ann"]).unwrap();
    sheet.write(row, column, "far").unwrap();
    book.save_to_buffer().unwrap()
}

/// A workbook that inflates without end, or that has one cell at the far corner, is refused or costs no more than it holds.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a05_a_workbook_does_not_go_off(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let (status, answer) = sent(&owner, "bomb.xlsx", &crate::refusals::bomb()).await;
    assert!(status == 422 && answer.to_string().contains("inflates"), "{status} {answer}");
    for (name, row, column) in
        [("corner.xlsx", 1_048_575, 16_383), ("deep.xlsx", 1_048_575, 1), ("wide.xlsx", 1, 16_383)]
    {
        let (status, answer) = sent(&owner, name, &sparse(row, column)).await;
        assert!([201, 422].contains(&status), "{name}: {status} {answer}");
    }
    let begun = Instant::now();
    drain(&open).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(count(&pool, "select count(*) from contacts").await <= 2);
}

/// A workbook whose texts inflate to 128 MB, or whose one text does, from a file of a few hundred kilobytes.
fn texts(piece: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut book = ZipArchive::new(Cursor::new(sparse(1, 1))).unwrap();
    let names: Vec<String> = book.file_names().map(str::to_owned).collect();
    for name in names.iter().filter(|name| *name != "xl/sharedStrings.xml") {
        zip.raw_copy_file(book.by_name(name).unwrap()).unwrap();
    }
    zip.start_file("xl/sharedStrings.xml", SimpleFileOptions::default()).unwrap();
    zip.write_all(b"<sst><si><t>").unwrap();
    let piece = piece.repeat((1 << 20) / piece.len());
    (0..128).for_each(|_| zip.write_all(piece.as_bytes()).unwrap());
    zip.write_all(b"</t></si></sst>").unwrap();
    zip.finish().unwrap().into_inner()
}

/// A process that reads such files, also several at once, answers each within a second, and has never more
/// than 256 MB resident.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a05_a_process_that_reads_bombs_stays_small(pool: PgPool) {
    let open = Open::with(&pool, &[("PORT", "0")]).await;
    let serving = open.beside();
    let client = open.key(&["*"]).await.at(&serving.base);
    let bombs = [
        ("sheet.xlsx", crate::refusals::bomb()),
        ("texts.xlsx", texts("</t></si><si><t>")),
        ("text.xlsx", texts("a")),
    ];
    for (name, bomb) in &bombs {
        assert!(bomb.len() < 1 << 20, "{name}");
        let begun = Instant::now();
        let (status, answer) = send(&client, &[("file", Some(name), bomb.as_slice())]).await;
        assert!(status == 422 && begun.elapsed() < SOON, "{name}: {:?}, {status} {answer}", begun.elapsed());
    }
    let at_once = (0..8).map(|n| {
        let (name, bomb) = &bombs[n % bombs.len()];
        let client = client.clone();
        async move { send(&client, &[("file", Some(name), bomb.as_slice())]).await.0 }
    });
    assert_eq!(futures::future::join_all(at_once).await, [422; 8]);
    let far = sparse(1_048_575, 16_383);
    let (status, answer) = send(&client, &[("file", Some("corner.xlsx"), far.as_slice())]).await;
    assert!([201, 422].contains(&status), "{answer}");
    assert!(serving.peak_memory() <= MOST_RESIDENT, "{} bytes", serving.peak_memory());
}

/// Only the body that was signed, byte for byte, with the secret of this account.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a06_a_webhook_that_nobody_signed_is_refused(pool: PgPool) {
    let open = Open::new(&pool).await;
    let body = r#"{"entry": [{"id": "1", "changes": []}]}"#;
    let right = signature("app_secret", body.as_bytes());
    let hex = right.strip_prefix("sha256=").unwrap();
    let post = |slug: &str, body: &str, headers: Vec<(&'static str, String)>| {
        let request = open.client.post(open.hook(slug)).body(body.to_owned());
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        async move { request.send().await.unwrap().status().as_u16() }
    };
    let signed = |value: &str| vec![("x-hub-signature-256", value.to_owned())];
    let reserialised = serde_json::from_str::<Value>(body).unwrap().to_string();
    let forged = [
        (body, vec![]),
        (body, signed("")),
        (body, signed("sha256=")),
        (body, signed(hex)),
        (body, signed(&format!("sha1={hex}"))),
        (body, signed(&format!("none={hex}"))),
        (body, signed(&right[..right.len() - 2])),
        (body, signed(&format!("{right}00"))),
        (body, signed(&signature("", body.as_bytes()))),
        (body, signed(&signature("hook-token", body.as_bytes()))),
        (body, signed(&signature("verify", body.as_bytes()))),
        (body, vec![("x-hub-signature", right.clone())]),
        (body, vec![("authorization", "Bearer hook-token".to_owned())]),
        // The first one counts, and there is no second try.
        (body, vec![("x-hub-signature-256", "sha256=00".to_owned()), ("x-hub-signature-256", right.clone())]),
        (&reserialised, signed(&right)),
        (r#"{"entry": [{"id": "1", "changes": []}]} "#, signed(&right)),
        ("", signed(&right)),
    ];
    for (body, headers) in forged {
        let told = format!("{body} {headers:?}");
        assert_eq!(post("whatsapp", body, headers).await, 401, "{told}");
    }
    let proof = |value: &str| vec![("authorization", value.to_owned())];
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer hook-toke",
        "Bearer hook-tokens",
        "bearer HOOK-TOKEN",
        "Basic hook-token",
        "hook-token",
        "Bearer hook-token, Bearer x",
        "Basic Omhvb2stdG9rZW4=",
    ] {
        assert_eq!(post("sms", "{}", proof(value)).await, 401, "{value}");
    }
    let in_query = open
        .client
        .post(format!("{}?token=hook-token&authorization=Bearer%20hook-token", open.hook("sms")))
        .body("{}");
    assert_eq!(in_query.send().await.unwrap().status(), 401);
    assert_eq!(count(&pool, "select count(*) from inbox").await, 0);
    // A key or a token of the API proves nothing here.
    let owner = open.owner().await;
    assert_eq!(post("sms", "{}", proof(&format!("Bearer {}", owner.token.clone().unwrap()))).await, 401);
    assert_eq!(post("whatsapp", body, signed(&right)).await, 200);
    assert_eq!(count(&pool, "select coalesce(sum(webhooks), 0)::bigint from inbox").await, 1);
}

/// Meta's webhooks bear no time, so a body that was seen is known by what it tells. What is told again, a hundred times and
/// in any order, is one event.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a07_a_webhook_that_comes_again_changes_nothing(pool: PgPool) {
    let open = Open::new(&pool).await;
    let owner = open.owner().await;
    let later = json!({"to": "+23052345678", "message": "m", "scheduledAt": in_two_days()});
    let (status, taken) = owner.post("/api/communication/sms/send", &later).await;
    assert_eq!(status, 201, "{taken}");
    let message = taken["data"]["messageId"].clone();
    let event = |status: &str| json!({"msg_status": status, "messageId": 7, "ts_event": 1_800_000_000, "tag": [message], "to": "23052345678"});
    let hook = async |body: &Value| {
        let request = open.client.post(open.hook("sms")).header("authorization", "Bearer hook-token");
        assert_eq!(request.json(body).send().await.unwrap().status(), 200);
    };
    for n in 0..100 {
        hook(&event(if n % 2 == 0 { "delivered" } else { "sent" })).await;
    }
    // And a text that no database keeps.
    let mut broken = event("softBounce");
    broken["description"] = json!("a\u{0}b");
    hook(&broken).await;
    apply(&open, &pool).await;
    let kinds: Vec<String> =
        sqlx::query_scalar("select kind from events order by kind").fetch_all(&pool).await.unwrap();
    assert_eq!(kinds, ["delivered", "sent", "soft_bounced"]);
}

/// Until no webhook waits.
async fn apply(open: &Open, pool: &PgPool) {
    let running = open.engine.start(&[fanfare_engine::engine::Role::Worker]);
    until("no webhook waits", async || count(pool, "select count(*) from inbox").await == 0).await;
    running.shut_down().await;
}
