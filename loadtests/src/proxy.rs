//! A TCP proxy on loopback, between a process under test and a server: it may delay what passes, and it can be cut.
//!
//! **Delay.** Each chunk of bytes waits by itself, so that as many are on their way as come: the delay holds up, it does
//! not slow down. The order is kept. Both directions wait, so an answer comes two delays later, and up to a millisecond
//! each time on top, since timers count whole ones.
//!
//! **Cut.** Its connections are closed and new ones refused, as by a machine that answers and has no such server. The port
//! stays the proxy's meanwhile, held by a socket that does not listen, so that whoever knows the address finds it again
//! once it is mended.
//!
//! Connections live in the task that accepts them, which the proxy owns: a cut returns when all are closed, and none
//! outlives the proxy.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Memory that chunks are read into, until less than this is left of it: one a chunk would cost more than the chunk.
const BUFFER: usize = 64 * 1_024;
const LEAST_READ: usize = 4 * 1_024;
/// Chunks of a connection that may be on their way in one direction.
const ON_THE_WAY: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    target: SocketAddr,
    delay: Duration,
    state: State,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
enum State {
    /// Whoever accepts stops when the other end is dropped.
    Open { _stop: oneshot::Sender<()> },
    /// Keeps the port.
    Cut(TcpSocket),
}

impl Proxy {
    /// Passes on to `target` what it gets, so much later.
    pub(crate) fn start(target: SocketAddr, delay: Duration) -> anyhow::Result<Self> {
        let socket = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = socket.local_addr()?;
        let mut proxy = Self { address, target, delay, state: State::Cut(socket), tasks: JoinSet::new() };
        proxy.mend()?;
        Ok(proxy)
    }

    /// Where to connect to instead of the target.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections and refuses new ones.
    pub(crate) async fn cut(&mut self) -> anyhow::Result<()> {
        let State::Open { .. } = self.state else { return Ok(()) };
        // The port is free again only once nobody listens on it.
        let (stop, _) = oneshot::channel();
        drop(std::mem::replace(&mut self.state, State::Open { _stop: stop }));
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        self.state = State::Cut(bound(self.address)?);
        Ok(())
    }

    /// Accepts connections again.
    pub(crate) fn mend(&mut self) -> anyhow::Result<()> {
        ensure!(matches!(self.state, State::Cut(_)), "the proxy is not cut");
        let (stop, stopped) = oneshot::channel();
        if let State::Cut(socket) = std::mem::replace(&mut self.state, State::Open { _stop: stop }) {
            let listener = socket.listen(BACKLOG).context("the proxy cannot listen")?;
            self.tasks.spawn(accept(listener, self.target, self.delay, stopped));
        }
        Ok(())
    }
}

/// A socket that owns a port, and refuses connections until it listens.
fn bound(address: SocketAddr) -> anyhow::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Those just closed keep the port for a while.
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("the proxy cannot have {address}"))?;
    Ok(socket)
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    delay: Duration,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        if let Ok((client, _)) = accepted {
            // Whichever end fails, the connection is over for both.
            connections.spawn(async move { connection(client, target, delay).await.ok() });
        }
        while connections.try_join_next().is_some() {}
    }
    connections.shutdown().await;
}

async fn connection(client: TcpStream, target: SocketAddr, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(pass(from_client, to_server, delay), pass(from_server, to_client, delay))?;
    Ok(())
}

/// One direction, until it ends.
async fn pass(from: OwnedReadHalf, to: OwnedWriteHalf, delay: Duration) -> io::Result<()> {
    let (enter, leave) = mpsc::channel(ON_THE_WAY);
    tokio::try_join!(read(from, enter, delay), write(leave, to))?;
    Ok(())
}

async fn read(
    mut from: OwnedReadHalf,
    enter: mpsc::Sender<(Instant, Bytes)>,
    delay: Duration,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(BUFFER);
    while from.read_buf(&mut buffer).await? > 0 {
        let chunk = (Instant::now() + delay, buffer.split().freeze());
        if enter.send(chunk).await.is_err() {
            break;
        }
        if buffer.capacity() < LEAST_READ {
            buffer = BytesMut::with_capacity(BUFFER);
        }
    }
    Ok(())
}

async fn write(mut leave: mpsc::Receiver<(Instant, Bytes)>, mut to: OwnedWriteHalf) -> io::Result<()> {
    while let Some((due, chunk)) = leave.recv().await {
        // Even a timer that is due already waits for the next millisecond.
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        to.write_all(&chunk).await?;
    }
    to.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    async fn echo(tasks: &mut JoinSet<()>) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        address
    }

    async fn there_and_back(stream: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(text).await?;
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back).await?;
        Ok(back)
    }

    #[tokio::test]
    async fn what_is_cut_is_closed_and_refused_until_it_is_mended() {
        let mut tasks = JoinSet::new();
        let mut proxy = Proxy::start(echo(&mut tasks).await, Duration::ZERO).unwrap();
        let connect = || TcpStream::connect(proxy.address());
        let mut stream = connect().await.unwrap();
        assert_eq!(there_and_back(&mut stream, b"before").await.unwrap(), b"before");
        proxy.cut().await.unwrap();
        assert!(there_and_back(&mut stream, b"lost").await.is_err());
        let refused = TcpStream::connect(proxy.address()).await.map_err(|error| error.kind());
        assert_eq!(refused.err(), Some(io::ErrorKind::ConnectionRefused));
        proxy.cut().await.unwrap();
        proxy.mend().unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(there_and_back(&mut stream, b"after").await.unwrap(), b"after");
    }

    /// Were chunks held up one after the other, fifty of them would take fifty delays.
    #[tokio::test]
    async fn a_delay_holds_up_and_does_not_slow_down() {
        const DELAY: Duration = Duration::from_millis(40);
        let mut tasks = JoinSet::new();
        let proxy = Proxy::start(echo(&mut tasks).await, DELAY).unwrap();
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut from, mut to) = stream.into_split();
        let sent: Vec<u8> = (0..50).collect();
        let begun = Instant::now();
        let send = async {
            for &byte in &sent {
                to.write_all(&[byte]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            begun.elapsed()
        };
        let receive = async {
            let mut back = vec![0; sent.len()];
            from.read_exact(&mut back[..1]).await.unwrap();
            let first = begun.elapsed();
            from.read_exact(&mut back[1..]).await.unwrap();
            (first, begun.elapsed(), back)
        };
        let (sending, (first, last, back)) = tokio::join!(send, receive);
        assert_eq!(back, sent, "in order");
        assert!(first >= 2 * DELAY, "{first:?}");
        // Far below the 50 × 80 ms of chunks that wait for each other, however busy the machine is.
        assert!(last < sending + 10 * DELAY, "{last:?} after {sending:?}");
    }

    /// More than any buffer on the way holds.
    #[tokio::test]
    async fn much_passes_whole() {
        let mut tasks = JoinSet::new();
        let proxy = Proxy::start(echo(&mut tasks).await, Duration::from_millis(1)).unwrap();
        let (mut from, mut to) = TcpStream::connect(proxy.address()).await.unwrap().into_split();
        let sent: Vec<u8> = (0..16_000_000_u32).map(|i| (i % 251) as u8).collect();
        let send = async {
            to.write_all(&sent).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let mut back = Vec::new();
        let (_, read) = tokio::join!(send, from.read_to_end(&mut back));
        assert_eq!(read.unwrap(), sent.len());
        assert!(back == sent, "in order");
    }
}
