//! A caller's connection to the API: kept alive, one request at a time.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{Method, Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet};

pub(crate) type Body = BoxBody<Bytes, Infallible>;

pub(crate) const JSON: &str = "application/json";

/// What is asked.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Its content type goes with a body.
    pub(crate) body: Option<(&'static str, Body)>,
}

impl Ask {
    pub(crate) const fn get(path: String) -> Self {
        Self { method: Method::GET, path, body: None }
    }

    pub(crate) fn post(path: impl Into<String>, body: &Value) -> Self {
        let body = Full::from(body.to_string()).boxed();
        Self { method: Method::POST, path: path.into(), body: Some((JSON, body)) }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("an answer {} that is no JSON", self.status))
    }

    /// What stands under `data`; anything but a success is an error.
    pub(crate) fn data(&self) -> anyhow::Result<Value> {
        ensure!((200..300).contains(&self.status), "the API answered {}: {}", self.status, self.said());
        Ok(self.json()?["data"].take())
    }

    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(400).collect()
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    sender: http1::SendRequest<Body>,
    /// Moves the bytes; ends with this.
    _driver: JoinSet<()>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("the API does not listen")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        // How it ended is told by the request that it broke.
        driver.spawn(async move { drop(connection.await) });
        Ok(Self { address, sender, _driver: driver })
    }

    pub(crate) async fn ask(&mut self, token: Option<&str>, ask: Ask) -> anyhow::Result<Answer> {
        if self.sender.ready().await.is_err() {
            bail!("the API has closed the connection");
        }
        let mut request = Request::builder()
            .method(ask.method)
            .uri(ask.path)
            .header(header::HOST, self.address.to_string());
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match ask.body {
            Some((kind, body)) => {
                request = request.header(header::CONTENT_TYPE, kind);
                body
            }
            None => Full::default().boxed(),
        };
        let response = self.sender.send_request(request.body(body)?).await?;
        let status = response.status().as_u16();
        Ok(Answer { status, body: response.into_body().collect().await?.to_bytes() })
    }
}
