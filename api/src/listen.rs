//! Connections: taken, served, and let go of.
//!
//! Whoever connects has a time to say what they want, the first byte and the whole head of each request included: after it the
//! connection is closed, so that those who only hold on to theirs do not use up the files of the process. One that waits for the
//! next piece of a body (the router sees to that) or for its next request is given as long, so what stands in front of this
//! service, with connections that it keeps, has to give up sooner.
//!
//! HTTP/1.1 only: what speaks HTTP/2 to people speaks this to us, and most of what floods a service is made of the other.

use std::{convert::Infallible, io, time::Duration};

use futures::FutureExt as _;
use hyper::{server::conn::http1::Builder, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::router::Routes;

/// The process has as many files open as it may.
const NO_MORE_FILES: Duration = Duration::from_secs(1);

/// Serves until `stop`, and then until every request that has come is answered.
pub(crate) async fn serve(listener: TcpListener, routes: Routes, idle: Duration, stop: &CancellationToken) {
    let (graceful, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(idle);
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
        // An answer is one write; what cannot be set is slower.
        let _ = stream.set_nodelay(true);
        let routes = routes.clone();
        let service =
            service_fn(move |request| routes.clone().answer(request, peer).map(Ok::<_, Infallible>));
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "a connection ended");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
    // One that panicked has said so, and others have yet to be answered.
    while connections.join_next().await.is_some() {}
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}
