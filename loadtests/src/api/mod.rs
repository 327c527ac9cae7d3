//! The API beside a campaign: requests that begin at fixed moments, whatever became of those before them, and what each took
//! from the moment when it should have begun. A caller who finds every connection busy waits, and the time runs.
//!
//! The process under test is `fanfare serve`, which sends the campaign meanwhile; the callers are this process. What single
//! sends took from their intended beginning to the receiver, the receiver's own list of arrivals tells.

mod access;
mod calls;
pub(crate) mod connection;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until},
};

pub(crate) use self::{access::Access, calls::Calls};
use self::{
    calls::{Kind, SENDS},
    connection::Connection,
};
use crate::{
    bare::micros_each,
    otp::{self, Arrival, Latency, Timetable},
    processes,
    timing::Timing,
};

/// Before the first request, so that every connection is there.
const WARM_UP: Duration = Duration::from_secs(1);
/// Connections of all callers together.
const CONNECTIONS: usize = 64;
/// Requests that wait for a connection; a service that is so far behind has failed.
const WAITING: usize = 100_000;
/// How long what was asked last may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What was taken in last leaves within.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);
/// Wrong answers that are shown.
const SHOWN: u32 = 5;

/// What is asked of the API while a campaign is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) per_second: u32,
    /// `api.send_wait_ms`; its default if absent.
    pub(crate) send_wait_ms: Option<u64>,
}

/// Callers at work.
#[derive(Debug)]
pub(crate) struct Load {
    timetable: Timetable,
    cpu_before: Duration,
    stop: Arc<AtomicBool>,
    pacer: JoinSet<anyhow::Result<()>>,
    callers: JoinSet<anyhow::Result<Vec<Done>>>,
}

/// A request that was answered; status 0: it was not.
#[derive(Debug, Clone, Copy)]
struct Done {
    k: u64,
    took_us: u64,
    status: u16,
}

/// All requests of a run.
#[derive(Debug)]
pub(crate) struct Asked {
    timetable: Timetable,
    done: Vec<Done>,
    client_cpu: Duration,
}

/// From the intended beginning of a request to the end of its answer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) requests_per_second: u64,
    pub(crate) connections: usize,
    pub(crate) reads: Timing,
    pub(crate) sends: Timing,
    pub(crate) by_kind: BTreeMap<Kind, Timing>,
    /// From the intended beginning of a send to the receiver.
    pub(crate) arrivals: Latency,
    /// Answers that should not have been, but for the following.
    pub(crate) errors: u64,
    /// Answers 429.
    pub(crate) limited: u64,
    pub(crate) client_cpu_micros_per_request: f64,
}

impl Figures {
    pub(crate) fn is_clean(&self) -> bool {
        (self.errors, self.limited, self.arrivals.lost, self.arrivals.repeated) == (0, 0, 0, 0)
    }
}

impl Load {
    /// Begins to ask; goes on until [`Self::end`].
    pub(crate) async fn begin(
        address: SocketAddr,
        receiver_url: &str,
        wanted: Wanted,
        calls: Calls,
    ) -> anyhow::Result<Self> {
        let (now, clock_us) = otp::sender::clock(receiver_url).await?;
        let begin = now + WARM_UP;
        let timetable = Timetable {
            start_us: clock_us + u64::try_from(WARM_UP.as_micros())?,
            per_second: wanted.per_second.into(),
        };
        let (queue, waiting) = mpsc::channel(WAITING);
        let (calls, waiting) = (Arc::new(calls), Arc::new(Mutex::new(waiting)));
        let (stop, shown) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let mut callers = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let caller = Caller {
                address,
                connection: Connection::open(address).await?,
                calls: Arc::clone(&calls),
                shown: Arc::clone(&shown),
            };
            callers.spawn(caller.work(Arc::clone(&waiting)));
        }
        let cpu_before = processes::cpu(std::process::id())?;
        let (mut pacer, until) = (JoinSet::new(), Arc::clone(&stop));
        pacer.spawn(async move {
            for k in 0_u32.. {
                let due = begin + Duration::from_secs(1) * k / wanted.per_second;
                sleep_until(due).await;
                if until.load(Relaxed) {
                    break;
                }
                queue.try_send((u64::from(k), due)).context("the API does not keep up at all")?;
            }
            Ok(())
        });
        Ok(Self { timetable, cpu_before, stop, pacer, callers })
    }

    /// Ends when everything that was asked has been answered, and what was taken in has had its time to leave.
    pub(crate) async fn end(mut self) -> anyhow::Result<Asked> {
        self.stop.store(true, Relaxed);
        while let Some(ended) = self.pacer.join_next().await {
            ended??;
        }
        let mut done = Vec::new();
        let rest = async {
            while let Some(ended) = self.callers.join_next().await {
                done.extend(ended??);
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, rest).await.context("the API does not answer")??;
        let client_cpu = processes::cpu(std::process::id())?.saturating_sub(self.cpu_before);
        tokio::time::sleep(LEAVES_WITHIN).await;
        Ok(Asked { timetable: self.timetable, done, client_cpu })
    }
}

struct Caller {
    address: SocketAddr,
    connection: Connection,
    calls: Arc<Calls>,
    shown: Arc<AtomicU32>,
}

impl Caller {
    async fn work(
        mut self,
        waiting: Arc<Mutex<mpsc::Receiver<(u64, Instant)>>>,
    ) -> anyhow::Result<Vec<Done>> {
        let mut done = Vec::new();
        loop {
            let next = waiting.lock().await.recv().await;
            let Some((k, due)) = next else { return Ok(done) };
            let status = self.one(k).await?;
            let took_us = u64::try_from(due.elapsed().as_micros())?;
            done.push(Done { k, took_us, status });
        }
    }

    async fn one(&mut self, k: u64) -> anyhow::Result<u16> {
        let calls = Arc::clone(&self.calls);
        let (token, ask) = calls.ask(k);
        let wrong = match self.connection.ask(Some(token), ask).await {
            Ok(answer) if answer.status == right(k) => {
                if Calls::kind(k) == Kind::Send {
                    let message = answer.data()?["messageId"].take();
                    calls.taken(message.as_str().context("a message has an id")?.to_owned());
                }
                return Ok(answer.status);
            }
            Ok(answer) => (answer.status, answer.said()),
            Err(error) => {
                self.connection = Connection::open(self.address).await?;
                (0, format!("{error:#}"))
            }
        };
        if self.shown.fetch_add(1, Relaxed) < SHOWN {
            eprintln!("  {:?} was answered {}: {}", Calls::kind(k), wrong.0, wrong.1);
        }
        Ok(wrong.0)
    }
}

/// The status of an answer as it should be.
fn right(k: u64) -> u16 {
    if Calls::kind(k) == Kind::Send { 201 } else { 200 }
}

impl Asked {
    /// Of the requests that should have begun in a time, by the receiver's clock.
    pub(crate) fn figures(
        &self,
        arrivals: &[Arrival],
        (from_us, to_us): (u64, u64),
    ) -> anyhow::Result<Figures> {
        let within: Vec<&Done> = self
            .done
            .iter()
            .filter(|done| (from_us..to_us).contains(&self.timetable.begins_us(done.k)))
            .collect();
        let timing = |of: &dyn Fn(Kind) -> bool| {
            let times = within.iter().filter(|done| of(Calls::kind(done.k)));
            Timing::of(times.map(|done| done.took_us).collect())
                .context("nothing was asked beside the campaign")
        };
        let mut by_kind = BTreeMap::new();
        for done in &within {
            let kind = Calls::kind(done.k);
            if let Entry::Vacant(new) = by_kind.entry(kind) {
                new.insert(timing(&|other| other == kind)?);
            }
        }
        let wrong = |limited: bool| {
            let wrong = self.done.iter().filter(|done| done.status != right(done.k));
            wrong.filter(|done| (done.status == 429) == limited).count() as u64
        };
        Ok(Figures {
            requests_per_second: self.timetable.per_second,
            connections: CONNECTIONS,
            reads: timing(&|kind| kind != Kind::Send)?,
            sends: timing(&|kind| kind == Kind::Send)?,
            by_kind,
            arrivals: Latency::of(arrivals, self.sends(), from_us, to_us)?,
            errors: wrong(false),
            limited: wrong(true),
            client_cpu_micros_per_request: micros_each(self.client_cpu, self.done.len() as u64),
        })
    }

    /// Send number `j` is the last of its five requests.
    fn sends(&self) -> Timetable {
        Timetable {
            start_us: self.timetable.begins_us(SENDS - 1),
            per_second: self.timetable.per_second / SENDS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_have_a_timetable_of_their_own() {
        let timetable = Timetable { start_us: 5_000, per_second: 1_000 };
        let asked = Asked { timetable, done: Vec::new(), client_cpu: Duration::ZERO };
        for j in [0, 1, 77] {
            assert_eq!(asked.sends().begins_us(j), timetable.begins_us(j * SENDS + SENDS - 1));
        }
    }
}
