//! A15 what a browser might take for a page, A17 request smuggling and floods, A21 forgotten endpoints.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    contract::{document, operations},
    open::{Client, Open},
    uploads::send,
};

/// Every answer of the API and to webhooks says that it is no page, and none is one.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a15_no_answer_is_a_page(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__API__STRANGER_PER_SECOND", "100000")]).await;
    let owner = open.owner().await;
    const PAGE: &str = "<script>alert(1)</script><img src=x onerror=alert(1)>";
    let template = json!({"name": PAGE, "type": "email", "subject": "{{name}}", "content": "{{name}}"});
    let (status, made) = owner.post("/api/templates", &template).await;
    assert_eq!(status, 201, "{made}");
    let preview = format!("/api/templates/{}/preview", made["data"]["templateId"].as_str().unwrap());
    let (status, shown) = owner.post(&preview, &json!({"values": {"name": PAGE}})).await;
    assert_eq!(status, 200, "{shown}");
    let html = shown["data"]["html"].as_str().unwrap();
    assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
    let list = format!("email,name\nann@acme.example,{PAGE}\n=nobody,x\n");
    let (status, uploaded) = send(&owner, &[("file", Some("page.html"), list.as_bytes())]).await;
    assert_eq!(status, 201, "{uploaded}");
    let upload = uploaded["data"]["uploadId"].as_str().unwrap().to_owned();
    owner.post("/api/contacts", &json!({"email": "x@acme.example", "name": PAGE})).await;

    let mut requests = vec![
        owner.request(Method::GET, &format!("/api/upload/download/{upload}")),
        owner.request(Method::GET, &format!("/api/upload/errors/{upload}?format=csv")),
        owner.request(Method::GET, "/api/upload/template"),
        owner.request(Method::GET, &format!("/api/contacts?q={}", "%3Cscript%3E")),
        owner.request(Method::GET, "/api/%3Cscript%3Ealert(1)%3C/script%3E"),
        owner.request(Method::POST, &preview).json(&json!({"values": {"name": PAGE}})),
        open.client.post(open.hook("sms")).body(PAGE),
        open.client.get(format!(
            "{}?hub.challenge={PAGE}&hub.mode=subscribe&hub.verify_token=verify",
            open.hook("whatsapp")
        )),
        open.nobody().request(Method::GET, "/livez"),
        open.nobody().request(Method::GET, "/readyz"),
        open.nobody().request(Method::GET, "/metrics"),
    ];
    for operation in operations(&document(&open).await) {
        requests.push(owner.request(operation.method.clone(), &operation.path));
        requests.push(open.nobody().request(operation.method, &operation.path));
    }
    for request in requests {
        let answer = request.send().await.unwrap();
        let place = answer.url().to_string();
        let header = |name: &str| {
            let value = answer.headers().get(name).unwrap_or_else(|| panic!("{name} of {place}"));
            value.to_str().unwrap().to_owned()
        };
        assert_eq!(header("x-content-type-options"), "nosniff", "{place}");
        assert_eq!(header("x-frame-options"), "DENY", "{place}");
        assert!(header("content-security-policy").contains("default-src 'none'"), "{place}");
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{place}");
        assert_eq!(header("cache-control"), "no-store", "{place}");
        assert!(header("x-request-id").len() <= 64, "{place}");
        for name in ["server", "x-powered-by", "set-cookie"] {
            assert!(!answer.headers().contains_key(name), "{name} of {place}");
        }
        if let Some(kind) = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned())
        {
            let file = answer.headers().get("content-disposition").is_some();
            assert!(!kind.contains("html") && !kind.contains("svg"), "{kind} of {place}");
            assert!(file || !answer.status().is_success() || !place.contains("/download/"), "{place}");
        }
    }
}

/// Another page's script gets no answer, and no preflight says yes.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a15_pages_of_others_do_not_call(pool: PgPool) {
    let open =
        Open::with(&pool, &[("FANFARE__API__CORS_ORIGINS", r#"["https://console.example.com"]"#)]).await;
    let ask = async |origin: &str, method: Method| {
        let request = open.nobody().request(method, "/api/contacts").header("origin", origin);
        let answer = request.header("access-control-request-method", "POST").send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (header("access-control-allow-origin"), header("access-control-allow-credentials"))
    };
    for origin in [
        "https://evil.example",
        "null",
        "https://console.example.com.evil.example",
        "http://console.example.com",
        "https://console.example.com:8443",
    ] {
        for method in [Method::OPTIONS, Method::GET] {
            let (allowed, credentials) = ask(origin, method).await;
            assert!(
                allowed.is_none_or(|allowed| allowed != origin && allowed != "*") && credentials.is_none(),
                "{origin}"
            );
        }
    }
    let (allowed, credentials) = ask("https://console.example.com", Method::OPTIONS).await;
    assert_eq!((allowed.as_deref(), credentials), (Some("https://console.example.com"), None));
}

fn address(open: &Open) -> &str {
    open.base.strip_prefix("http://").unwrap()
}

/// What is answered to these bytes until the connection is closed, or nothing more comes; and whether it was closed.
async fn raw(open: &Open, bytes: &[u8]) -> (String, bool) {
    let mut stream = TcpStream::connect(address(open)).await.unwrap();
    // The other side may have closed before it has read all.
    let _ = stream.write_all(bytes).await;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    let closed = loop {
        match timeout(Duration::from_millis(700), stream.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(read)) => answer.extend_from_slice(&piece[..read]),
            Err(_) => break false,
        }
    };
    (String::from_utf8_lossy(&answer).into_owned(), closed)
}

/// Where a request ends is told in one way, or the connection ends with it: what follows is never a second request.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a17_where_a_request_ends_is_not_argued_about(pool: PgPool) {
    let open = Open::new(&pool).await;
    let smuggled = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let post = |headers: &str, body: &str| {
        format!(
            "POST /api/auth/refresh HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\r\n{body}"
        )
    };
    let length = smuggled.len();
    let chunks = format!("0\r\n\r\n{smuggled}");
    let pairs = [
        post(&format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", chunks.len()), &chunks),
        post(&format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", chunks.len()), &chunks),
        post("content-length: 4\r\ntransfer-encoding: chunked\r\n", &chunks),
        post("transfer-encoding: chunked\r\n", &chunks),
        post("transfer-encoding: xchunked\r\n", &chunks),
        post("transfer-encoding: chunked, identity\r\n", &chunks),
        post("transfer-encoding : chunked\r\ncontent-length: 5\r\n", &chunks),
        post(" transfer-encoding: chunked\r\n", &chunks),
        post("transfer-encoding:\tchunked\r\ntransfer-encoding: identity\r\n", &chunks),
        post(&format!("content-length: 0\r\ncontent-length: {length}\r\n"), smuggled),
        post("content-length: +0\r\n", smuggled),
        post("content-length: -1\r\n", smuggled),
        post("content-length: 0x0\r\n", smuggled),
        post("content-length: 0, 0\r\n", smuggled),
        post("content-length: 18446744073709551616\r\n", smuggled),
        post("transfer-encoding: chunked\r\n", &format!("-0\r\n\r\n{smuggled}")),
        post("transfer-encoding: chunked\r\n", &format!("fffffffffffffffff\r\n{smuggled}")),
        format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: a\rb\r\n\r\n{smuggled}"),
        format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: a\0b\r\n\r\n{smuggled}"),
        format!("GET /livez\rx HTTP/1.1\r\nhost: x\r\n\r\n{smuggled}"),
        format!("GET /livez HTTP/1.1\r\nhost: x\r\n{}\r\n{smuggled}", "x: y\r\n".repeat(1_000)),
        format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n{smuggled}", "x".repeat(1 << 20)),
        post(&format!("transfer-encoding: chunked\r\nx: {}\r\n", "y".repeat(1 << 20)), &chunks),
    ];
    for bytes in pairs {
        let shown: String = bytes.chars().take(200).collect();
        let (answer, closed) = raw(&open, bytes.as_bytes()).await;
        assert!(closed, "{shown:?}: {answer}");
        assert!(
            !answer.contains(" 200 OK") && answer.matches("HTTP/1.1 ").count() <= 1,
            "{shown:?}: {answer}"
        );
    }
    // One after the other, each with its end, is what a connection is for.
    let (answer, _) = raw(&open, format!("{smuggled}{smuggled}").as_bytes()).await;
    assert_eq!(answer.matches(" 200 OK").count(), 2, "{answer}");
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Whoever floods a connection loses it, and nobody else waits.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a17_a_flood_ends_its_connection_only(pool: PgPool) {
    let open = Open::new(&pool).await;
    let beginning = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat();
    // :method GET, :scheme http, :path /, :authority x; by the table that everybody has.
    let get = [0x82, 0x86, 0x84, 0x41, 1, b'x'];
    let post = [0x83, 0x86, 0x84, 0x41, 1, b'x'];
    let resets = (0..20_000_u32).flat_map(|n| {
        let stream = 2 * n + 1;
        [frame(1, 0x5, stream, &get), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    let continuations = (0..20_000).flat_map(|_| frame(9, 0, 1, &[0, 1, b'a', 1, b'b']));
    let floods: [(&str, Vec<u8>); 5] = [
        ("rapid resets", resets.collect()),
        ("endless headers", [frame(1, 0x1, 1, &get), continuations.collect()].concat()),
        ("empty data", [frame(1, 0x4, 1, &post), frame(0, 0, 1, &[]).repeat(200_000)].concat()),
        ("pings", frame(6, 0, 0, &[0; 8]).repeat(100_000)),
        ("settings", frame(4, 0, 0, &[0, 3, 0, 0, 0, 1]).repeat(100_000)),
    ];
    for (name, flood) in floods {
        let mut stream = TcpStream::connect(address(&open)).await.unwrap();
        let bytes = [beginning.clone(), flood].concat();
        let (mut reading, mut writing) = stream.split();
        let write = async {
            let _ = timeout(Duration::from_secs(3), writing.write_all(&bytes)).await;
            // Others are served all the while.
            timeout(Duration::from_secs(2), open.text("/livez")).await.unwrap_or_else(|_| panic!("{name}"))
        };
        let read = async {
            let mut piece = vec![0; 1 << 16];
            loop {
                match timeout(Duration::from_millis(1_000), reading.read(&mut piece)).await {
                    Ok(Ok(0) | Err(_)) => break true,
                    Ok(Ok(_)) => {}
                    Err(_) => break false,
                }
            }
        };
        let ((status, _), closed) = tokio::join!(write, read);
        assert_eq!(status, 200, "{name}");
        assert!(closed, "{name}: the connection goes on");
    }
}

/// Whoever holds a connection and does not say what they want loses it; a request that takes its time is answered.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a17_whoever_says_nothing_is_let_go_of(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__API__IDLE_S", "1")]).await;
    for begun in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "GET /livez HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = TcpStream::connect(address(&open)).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "{begun:?}: the connection goes on");
    }
}

/// The head of a request whose body is to come.
fn head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// A body may come slower than a head, as long as it comes; one that stops lets go of its connection and of what it held.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a17_a_body_that_stops_is_let_go_of(pool: PgPool) {
    let open = Open::with(&pool, &[("FANFARE__API__IDLE_S", "3")]).await;
    let hook = open.hook("sms");
    let hook = hook.strip_prefix(&open.base).unwrap();
    for path in ["/api/auth/login", "/api/auth/forgot-password", hook] {
        let mut stream = TcpStream::connect(address(&open)).await.unwrap();
        stream.write_all(format!("{}{{", head(path, 2)).as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await.expect(path).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"stalled\""), "{path}: {answer}");
    }
    let mut stream = TcpStream::connect(address(&open)).await.unwrap();
    let body = br#"{"a":1}"#;
    stream.write_all(head("/api/auth/login", body.len()).as_bytes()).await.unwrap();
    for piece in body.chunks(1) {
        tokio::time::sleep(Duration::from_millis(600)).await;
        stream.write_all(piece).await.unwrap();
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 422");
}

/// Of large bodies so many come to the disk at once, of one tenant half of these.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a17_slow_bodies_do_not_fill_the_disk(pool: PgPool) {
    const LINE: &str = "{\"email\": \"ann@acme.example\"}\n";
    let open = Open::new(&pool).await;
    let (owner, stranger) = (open.owner().await, open.stranger().await);
    let bulk = async |client: &Client| {
        let request = client.request(Method::POST, "/api/contacts/bulk").body(LINE);
        let answer = request.header("content-type", "application/x-ndjson").send().await.unwrap();
        (answer.status().as_u16(), answer.headers().get("retry-after").is_some())
    };
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(address(&open)).await.unwrap();
        let head = format!(
            "POST /api/contacts/bulk HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\
             Expect: 100-continue\r\nAuthorization: Bearer {}\r\n\r\n",
            2 * LINE.len(),
            owner.token.as_ref().unwrap()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // It is told to go on once there is room for it.
        let mut told = [0; 12];
        timeout(Duration::from_secs(20), stream.read_exact(&mut told)).await.unwrap().unwrap();
        assert_eq!(&told, b"HTTP/1.1 100");
        stream.write_all(LINE.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let (more, others) = tokio::join!(bulk(&owner), bulk(&stranger));
    assert_eq!((more, others), ((429, true), (200, false)));
    drop(slow.pop());
    assert_eq!(bulk(&owner).await, (200, false));
}

/// Nobody has to be let in to be told that they send too much.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a17_strangers_send_little(pool: PgPool) {
    let open = Open::new(&pool).await;
    let login = |bytes: usize| json!({"email": "ann@acme.example", "password": "x".repeat(bytes)});
    for (bytes, expected) in [(100 << 10, 413), (60 << 10, 401)] {
        let (status, answer) = open.nobody().post("/api/auth/login", &login(bytes)).await;
        assert_eq!(status, expected, "{bytes}: {answer}");
    }
}

/// What the document does not name is not there, and neither is anything that others leave lying about.
#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn a21_nothing_is_served_that_is_not_described(pool: PgPool) {
    let open = Open::with(
        &pool,
        &[("FANFARE__API__STRANGER_PER_SECOND", "100000"), ("FANFARE__API__TENANT_PER_SECOND", "100000")],
    )
    .await;
    let owner = open.owner().await;
    let operations = operations(&document(&open).await);
    let paths: std::collections::BTreeSet<&str> =
        operations.iter().map(|operation| operation.path.as_str()).collect();
    for path in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND"] {
            let method: Method = method.parse().unwrap();
            let described =
                operations.iter().any(|operation| operation.path == path && operation.method == method);
            if method == Method::CONNECT {
                continue;
            }
            let (status, answer) = owner.send(owner.request(method.clone(), path)).await;
            let there = status != 405 && answer["code"] != "no_such_route";
            assert_eq!(there, described, "{method} {path}: {status} {answer}");
        }
    }
    for path in [
        "/",
        "/admin",
        "/debug",
        "/debug/pprof",
        "/debug/vars",
        "/console",
        "/api",
        "/api/",
        "/api/v1",
        "/api/v1/users",
        "/v1/users",
        "/v2",
        "/api/debug",
        "/api/internal",
        "/api/admin",
        "/api/test",
        "/api/health",
        "/actuator",
        "/actuator/env",
        "/env",
        "/.env",
        "/.git/HEAD",
        "/.git/config",
        "/config",
        "/config.json",
        "/fanfare.toml",
        "/swagger.json",
        "/openapi.json",
        "/graphql",
        "/api/graphql",
        "/server-status",
        "/phpinfo.php",
        "/wp-login.php",
        "/status",
        "/stats",
        "/trace",
        "/heapdump",
        "/dump",
        "/backup.sql",
        "/_sandbox",
        "/demo",
        "/hooks",
        "/hooks/",
        "/api/docs/../../etc/passwd",
        "/api/docs/%2e%2e/%2e%2e/etc/passwd",
        "/api/docs/..%2f..%2fCargo.toml",
        "/metrics/",
        "/livez/x",
        "/cgi-bin/",
    ] {
        for client in [open.nobody(), owner.clone()] {
            let (status, answer) = client.get(path).await;
            assert_eq!(status, 404, "{path}: {answer}");
        }
    }
    // What is open without proof beside the API: no more than these, and nothing in them about anybody.
    let (status, metrics) = open.text("/metrics").await;
    assert!(status == 200 && !metrics.contains('@') && !metrics.contains("acme"), "{metrics}");
}
