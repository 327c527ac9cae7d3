//! A provider that takes every message at once and judges nothing: what is measured with it is the sender.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::mpsc,
    thread::JoinHandle,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, runtime::Builder, sync::oneshot, task::JoinSet};

const TAKEN: &[u8] = br#"{"messageId":"<202611210830.26224123456@smtp-relay.mailin.fr>"}"#;

/// Answers as Brevo does, on the loopback, from a thread of its own; until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub fn start() -> Self {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
                tell.send(listener.local_addr().expect("it is bound")).expect("somebody waits");
                tokio::select! {
                    never = serve(listener) => match never {},
                    _ = stopped => {}
                }
            });
        });
        let address = told.recv().expect("the receiver's address");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// What an account of Brevo is configured with.
    pub fn base_url(&self) -> String {
        format!("http://{}/v3", self.address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It stops as well when this end is gone.
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the receiver panicked");
        }
    }
}

async fn serve(listener: TcpListener) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a TCP socket");
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        while connections.try_join_next().is_some() {}
    }
}

/// Reads the whole request first, as any receiver must.
async fn answer(request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let mut response = Response::new(Full::new(Bytes::from_static(TAKEN)));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}
