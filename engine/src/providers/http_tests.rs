use std::{future::Future, net::SocketAddr};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

use super::*;
use crate::providers::Quota;

const TIMEOUT: Duration = Duration::from_secs(1);

fn http() -> Http {
    let settings = HttpSettings {
        connect_timeout: TIMEOUT,
        request_timeout: TIMEOUT,
        batch_timeout: TIMEOUT,
        ..HttpSettings::default()
    };
    Http::new(&settings, ("api-key", "k")).unwrap()
}

fn url(address: SocketAddr) -> Uri {
    format!("http://{address}/send").parse().unwrap()
}

/// Reads a request's head and body, as far as `content-length` says.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"{}") && !request.ends_with(b"\r\n\r\n{}") {
        let mut buffer = [0_u8; 1024];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&request).into_owned()
}

/// What a server does that answers each connection with `script`.
async fn against<S, F>(script: S) -> Result<Reply, SendError>
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read_request(&mut stream).await;
            assert!(
                request.starts_with("POST /send HTTP/1.1\r\n") && request.contains("api-key: k\r\n"),
                "{request}"
            );
            script(stream).await;
        }
    });
    http().post(&url(address), b"{}".to_vec(), Size::One).await
}

async fn answer(bytes: impl Into<Vec<u8>>) -> Result<Reply, SendError> {
    let bytes = bytes.into();
    against(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            let _ = stream.write_all(&bytes).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_is_read_with_what_its_headers_say() {
    let reply = answer(
        "HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\nRetry-After: 7\r\nx-sib-ratelimit-limit: 1000\r\n\
         x-sib-ratelimit-remaining: 0\r\nx-sib-ratelimit-reset: 3\r\n\r\n{}",
    )
    .await
    .unwrap();
    assert_eq!((reply.status, reply.body), (429, Ok(Bytes::from_static(b"{}"))));
    assert_eq!(reply.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(reply.quota, Some(Quota { limit: 1000, remaining: 0, reset: Duration::from_secs(3) }));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let reply = answer("HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(reply.status, 307);
}

#[tokio::test]
async fn after_the_request_was_written_nobody_can_tell() {
    assert_eq!(answer("").await.unwrap_err(), SendError::Ambiguous(Reason::ConnectionLost), "closed");
    assert_eq!(answer("Hello").await.unwrap_err(), SendError::Ambiguous(Reason::ConnectionLost), "no HTTP");
    let silent = against(|stream| async move {
        sleep(TIMEOUT * 3).await;
        drop(stream);
    });
    assert_eq!(silent.await.unwrap_err(), SendError::Ambiguous(Reason::TimedOut), "silent");
}

#[tokio::test]
async fn a_body_that_does_not_come_whole_is_told_apart_from_its_status() {
    let truncated = answer("HTTP/1.1 201 Created\r\nContent-Length: 50\r\n\r\n{\"messageId\"").await.unwrap();
    assert_eq!((truncated.status, truncated.body), (201, Err(Reason::UnreadableAnswer)));
    let mut huge = b"HTTP/1.1 201 Created\r\nContent-Length: 2000000\r\n\r\n".to_vec();
    huge.resize(huge.len() + 2_000_000, b' ');
    assert_eq!(answer(huge).await.unwrap().body, Err(Reason::UnreadableAnswer));
    let slow = against(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 50\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            sleep(TIMEOUT / 2).await;
        }
    });
    assert_eq!(slow.await.unwrap().body, Err(Reason::TimedOut));
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let refused = http().post(&url(address), b"{}".to_vec(), Size::One).await;
    assert_eq!(refused.unwrap_err(), SendError::NotSent);
    let unknown: Uri = "http://no-such-host.invalid/".parse().unwrap();
    assert_eq!(http().post(&unknown, b"{}".to_vec(), Size::One).await.unwrap_err(), SendError::NotSent);
}

#[tokio::test]
async fn a_failed_handshake_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let https: Uri = format!("https://{}/send", listener.local_addr().unwrap()).parse().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Plain\r\n\r\n").await;
        }
    });
    assert_eq!(http().post(&https, b"{}".to_vec(), Size::One).await.unwrap_err(), SendError::NotSent);
}

#[tokio::test]
async fn a_connection_that_fails_to_come_about_is_tried_again_shortly() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let mut server = JoinSet::new();
    let sent = http();
    let late = async {
        // The first try finds nobody; the listener is there before the last one.
        sleep(CONNECT_WAIT / 2).await;
        let listener = TcpListener::bind(address).await.unwrap();
        server.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                read_request(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}").await;
            }
        });
    };
    let target = url(address);
    let (reply, ()) = tokio::join!(sent.post(&target, b"{}".to_vec(), Size::One), late);
    assert_eq!(reply.unwrap().status, 201);
}

/// A server that answers `each` requests on a connection and then closes it without a word; it tells how many requests
/// each connection carried, once it is closed.
async fn closing_after(each: usize) -> (SocketAddr, mpsc::UnboundedReceiver<usize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (closed, closings) = mpsc::unbounded_channel();
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut carried = 0;
            while carried < each && !read_request(&mut stream).await.is_empty() {
                carried += 1;
                stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
            }
            drop(stream);
            closed.send(carried).unwrap();
        }
    });
    (address, closings, server)
}

#[tokio::test]
async fn one_connection_carries_one_request_after_the_other() {
    let (address, mut closings, _server) = closing_after(3).await;
    let http = http();
    for _ in 0..3 {
        let reply = http.post(&url(address), b"{}".to_vec(), Size::One).await.unwrap();
        assert_eq!((reply.status, reply.body), (201, Ok(Bytes::from_static(b"{}"))));
    }
    assert_eq!(closings.recv().await, Some(3));
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_carries_no_request() {
    let (address, mut closings, _server) = closing_after(1).await;
    let http = http();
    for _ in 0..3 {
        assert_eq!(http.post(&url(address), b"{}".to_vec(), Size::One).await.unwrap().status, 201);
        assert_eq!(closings.recv().await, Some(1));
    }
}

#[tokio::test]
async fn a_connection_on_which_something_came_unasked_carries_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (read, mut answered) = mpsc::unbounded_channel();
    let (told, mut tellings) = mpsc::unbounded_channel();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
            // When the answer has been read to its end.
            answered.recv().await.unwrap();
            stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 2\r\n\r\n[]").await.unwrap();
            open.push(stream);
            told.send(()).unwrap();
        }
    });
    let http = http();
    for _ in 0..2 {
        let reply = http.post(&url(address), b"{}".to_vec(), Size::One).await.unwrap();
        assert_eq!((reply.status, reply.body), (201, Ok(Bytes::from_static(b"{}"))));
        read.send(()).unwrap();
        tellings.recv().await.unwrap();
    }
}

#[test]
fn nothing_that_is_secret_is_shown() {
    let http = Http::new(&HttpSettings::default(), ("api-key", "xkeysib-secret")).unwrap();
    let request = http.request(&Method::POST, &Uri::from_static("http://localhost/"), b"letter".to_vec());
    let hidden = |shown: String| {
        !shown.contains("xkeysib") && !shown.contains("letter") && !shown.contains("120, 107")
    };
    assert!(String::from_utf8_lossy(&request.head).contains("api-key: xkeysib-secret\r\n"));
    assert!(
        hidden(format!("{http:?}"))
            && hidden(format!("{request:?}"))
            && hidden(format!("{:?}", Failure::NotSent(request)))
    );
}

#[tokio::test]
async fn an_answer_is_heard_before_its_request_is_written_to_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        sleep(TIMEOUT * 3).await;
        drop(stream);
    });
    // More than sockets hold.
    let body = vec![b' '; 64 << 20];
    let reply = http().post(&url(address), body, Size::One).await.unwrap();
    assert_eq!((reply.status, reply.body), (413, Ok(Bytes::from_static(b"{}"))));
}
