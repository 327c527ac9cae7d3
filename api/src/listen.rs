//! Connections: taken, served, and let go of.
//!
//! Whoever connects has a time to say what they want, the first byte and the whole head of each request included: after it the
//! connection is closed, so that those who only hold on to theirs do not use up the files of the process. One that waits for its
//! next request is given as long, so what stands in front of this service, with connections that it keeps, has to give up sooner.

use std::{io, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How each connection of HTTP/2 begins; RFC 9113, 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between one look at a preface that has not come whole and the next.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// The process has as many files open as it may.
const NO_MORE_FILES: Duration = Duration::from_secs(1);

/// Serves until `stop`, and then until every request that has come is answered.
pub(crate) async fn serve(listener: TcpListener, routes: Router, idle: Duration, stop: &CancellationToken) {
    let (graceful, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match taken {
            Ok(taken) => taken,
            Err(error) if is_of_the_peer(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "no connection can be taken");
                sleep(NO_MORE_FILES).await;
                continue;
            }
        };
        let routes = routes.clone().layer(Extension(ConnectInfo(peer)));
        let (watcher, stop) = (graceful.watcher(), stop.clone());
        connections.spawn(async move {
            let begun = tokio::select! {
                begun = begin(&stream, idle) => begun,
                () = stop.cancelled() => return,
            };
            let served = match begun {
                Ok(builder) => {
                    let service = TowerToHyperService::new(routes);
                    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                    watcher.watch(connection).await
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = served {
                tracing::debug!(%error, %peer, "a connection ended");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
    connections.join_all().await;
}

/// By what a connection is served, once that can be told.
async fn begin(stream: &TcpStream, idle: Duration) -> io::Result<Builder<TokioExecutor>> {
    stream.set_nodelay(true)?;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(idle);
    let speaks_h2 = timeout(idle, speaks_h2(stream)).await??;
    Ok(if speaks_h2 { builder.http2_only() } else { builder.http1_only() })
}

async fn speaks_h2(stream: &TcpStream) -> io::Result<bool> {
    let mut beginning = [0; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut beginning).await?;
        if seen == 0 || !PREFACE.starts_with(&beginning[..seen]) {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}
