//! Over TLS; everything else about connections is in `http_tests`.

use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::*;

const ENOUGH: Duration = Duration::from_secs(20);

/// A server for `localhost`, and connections that trust it alone.
fn secured() -> (TlsAcceptor, Wires) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let mut trusted = RootCertStore::empty();
    trusted.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_tls_config(client).https_only().enable_http1();
    let wires = Wires {
        https: https.wrap_connector(http),
        connect_timeout: ENOUGH,
        idle_timeout: ENOUGH,
        most_idle: 1,
        idle: Mutex::default(),
    };
    (TlsAcceptor::from(Arc::new(server)), wires)
}

#[tokio::test]
async fn over_tls_too_one_connection_carries_one_request_after_the_other() {
    // Some need more than a record, and more than sockets hold.
    const SIZES: [usize; 4] = [2, 20_000, 5_000_000, 2];
    let (acceptor, wires) = secured();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Uri =
        format!("https://localhost:{}/send", listener.local_addr().unwrap().port()).parse().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(listener);
        let mut stream = acceptor.accept(stream).await.unwrap();
        for size in SIZES {
            let mut request = vec![0; "POST\r\n\r\n".len() + size];
            stream.read_exact(&mut request).await.unwrap();
            let answer =
                format!("HTTP/1.1 201 Created\r\ncontent-length: {size}\r\n\r\n{}", "x".repeat(size));
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
    });
    for size in SIZES {
        let request = Request { head: b"POST\r\n\r\n".to_vec(), body: vec![b'y'; size] };
        let bounds = Bounds { until: Instant::now() + ENOUGH, bytes: 8 << 20 };
        let reply = wires.exchange(&url, request, bounds).await.unwrap();
        assert_eq!((reply.status, reply.body.unwrap().len()), (201, size));
    }
    server.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn whom_nobody_vouches_for_is_sent_nothing() {
    let ((acceptor, _), (_, wires)) = (secured(), secured());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Uri = format!("https://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        assert!(acceptor.accept(stream).await.is_err());
    });
    let request = Request { head: b"POST\r\n\r\n".to_vec(), body: Vec::new() };
    let bounds = Bounds { until: Instant::now() + ENOUGH, bytes: 8 << 20 };
    assert!(matches!(wires.exchange(&url, request, bounds).await, Err(Failure::NotSent(_))));
    server.join_next().await.unwrap().unwrap();
}
