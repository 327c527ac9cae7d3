//! Processes that stop, Redis that forgets, Redis that one process can't reach: the limit holds throughout.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare_engine::{limit::Span, link::RedisLink, store::pace::Source};
use futures::future::join_all;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{
    World,
    sink::{Sink, flood},
    window,
};
use crate::support::{self, until};

const LIMIT: u64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stops_and_a_redis_that_forgets_exceed_nothing() {
    let world = Arc::new(World::new("stop", &[window(Span::Second, LIMIT)]).await);
    let sink = Sink::default();
    let lasting = Duration::from_secs(5);
    // Nothing of this one is polled while its only thread sleeps: what SIGSTOP does to a process.
    let stopped = {
        let world = Arc::clone(&world);
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                // Database connections of its own too.
                let world = World { store: support::store().await, ..world.twin() };
                let process = world.process();
                let sink = Sink::default();
                let stop = async {
                    tokio::time::sleep(Duration::from_millis(1_000)).await;
                    // It has to hold permits when it stops: what becomes of them is the point.
                    while process.pacer.counts().granted <= sink.arrivals().len() as u64 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    std::thread::sleep(Duration::from_millis(1_500));
                };
                tokio::join!(flood(&process.pacer, 50, lasting, &sink), stop);
                (process.pacer.counts(), sink)
            })
        })
    };
    let processes = [world.process(), world.process()];
    let forget = async {
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        world.lose_keys().await;
    };
    tokio::join!(join_all(processes.iter().map(|one| flood(&one.pacer, 50, lasting, &sink))), forget);
    let (counts, of_the_stopped) =
        tokio::task::spawn_blocking(move || stopped.join()).await.expect("joined").expect("no panic");
    sink.take_in(&of_the_stopped);

    println!("worst second {}, pace {:.0}/s, stopped one {counts:?}", sink.worst_second(), sink.pace());
    assert!(sink.worst_second() as u64 <= LIMIT, "{} in a second", sink.worst_second());
    assert!(sink.pace() >= 0.85 * LIMIT as f64, "only {}/s", sink.pace());
    assert!(counts.late > 0, "what it held when it stopped was thrown away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permits_come_from_postgres_while_one_process_is_cut_from_redis() {
    let world = World::new("cut", &[window(Span::Second, LIMIT), window(Span::Day, 1_000_000)]).await;
    let proxy = Proxy::start().await;
    let processes = [world.process(), world.process_over(proxy.link())];
    let sink = Sink::default();
    let sources = || processes.iter().map(|one| one.pacer.source()).collect::<Vec<_>>();
    let story = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(sources(), [Some(Source::Redis); 2]);
        proxy.cut.send_replace(true);
        let cut = Instant::now();
        until("both use Postgres", async || sources() == [Some(Source::Postgres); 2]).await;
        assert!(cut.elapsed() < Duration::from_secs(2), "{:?}", cut.elapsed());
        // 1.5 s of silence, and then a second at least of permits from Postgres.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let last_second = sink.within(Instant::now() - Duration::from_secs(1), Instant::now());
        println!("from Postgres: {last_second} in a second");
        assert!(last_second as f64 >= 0.7 * LIMIT as f64, "{last_second} in a second from Postgres");
        proxy.cut.send_replace(false);
        until("both use Redis", async || sources() == [Some(Source::Redis); 2]).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let last_second = sink.within(Instant::now() - Duration::from_secs(1), Instant::now());
        println!("from Redis again: {last_second} in a second");
        assert!(last_second as f64 >= 0.85 * LIMIT as f64, "{last_second} in a second from Redis");
    };
    let floods = join_all(processes.iter().map(|one| flood(&one.pacer, 100, Duration::from_secs(60), &sink)));
    tokio::select! {
        _ = floods => panic!("the floods outlast the story"),
        () = story => {}
    }
    println!("worst second {}", sink.worst_second());
    assert!(sink.worst_second() as u64 <= LIMIT, "{} in a second", sink.worst_second());
}

impl World {
    /// The same corner, for another thread.
    fn twin(&self) -> Self {
        Self {
            store: self.store.clone(),
            prefix: self.prefix.clone(),
            account: self.account,
            windows: self.windows.clone(),
        }
    }
}

/// A way to Redis that can be cut.
struct Proxy {
    port: u16,
    cut: watch::Sender<bool>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let (cut, seen) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut seen = seen.clone();
                tokio::spawn(async move {
                    if *seen.borrow() {
                        return;
                    }
                    tokio::select! {
                        () = pass(client) => {}
                        _ = seen.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Self { port, cut }
    }

    fn link(&self) -> RedisLink {
        let (server, url) = (server(), support::redis_url());
        RedisLink::open(&url.replace(&server, &format!("127.0.0.1:{}", self.port))).expect("URL")
    }
}

async fn pass(mut client: TcpStream) {
    let mut server = TcpStream::connect(server()).await.expect("Redis");
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

/// Redis' host and port.
fn server() -> String {
    let url = support::redis_url();
    let rest = url.rsplit_once('@').map_or(url.trim_start_matches("redis://"), |(_, rest)| rest);
    rest.split('/').next().expect("a host").to_owned()
}
