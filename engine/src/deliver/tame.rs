//! Bulk steps aside: fewer chunks are worked on at once while transactional messages of this process take long from
//! acceptance to the wire, while several requests to its API wait for the database at once, and while it freezes an audience.
//!
//! On a small machine commits and rendering of campaigns compete with all of them for the same cores; the number of chunks at
//! work is the lever. It is halved a step at a time while the latency is too high, or while this process takes more than its
//! share of the processors beside a freeze (chunks leave meanwhile, but what is yet to be frozen comes first), and is given
//! back one by one. Chunks that wait, for a distant database or a slow provider, cost the freeze nothing.
//!
//! Where many requests come in while nothing of bulk is at work, it begins with a single chunk and gets the others one by one: they
//! would wait before anything told that they do.
//!
//! A single chunk still takes what processors there are. Where that is too much for people who wait, it rests before the next
//! one, a little longer each time, and never for as long as a second: bulk is slow then, and does not stand still. A freeze
//! rests between its steps in the same way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::launch::freeze::Freezing;

/// From acceptance to the wire; above it bulk steps aside.
const TOO_LONG: Duration = Duration::from_millis(50);
/// Requests to the API that may wait at the same time for the database to say who calls, or for a connection. Whoever watches a campaign is one now
/// and then, however long they wait; a thousand requests a second are that many once each of them waits a millisecond.
const CALLERS: f64 = 1.0;
/// Requests to the API in a second beside which bulk begins with one chunk.
const MANY: f64 = 100.0;
const STEP: Duration = Duration::from_millis(100);
/// Of a latency that nobody has met again, after a step.
const KEPT: f64 = 15.0 / 16.0;
/// Steps that bulk rests between one chunk and the next, at most.
const LONGEST_REST: u32 = 8;
/// One of the chunks at work ends within this, as a rule.
const A_CHUNK: Duration = Duration::from_millis(300);
/// The part of all processors that this process may take while an audience is frozen, before bulk steps aside.
const BESIDE_A_FREEZE: f64 = 0.125;
/// Below this part of that share there is room for another chunk.
const ROOM_FOR_MORE: f64 = 0.8;

/// The recent latency of the direct path; shared by those who measure and those who heed it.
#[derive(Debug, Clone, Default)]
pub struct UrgentLatency {
    micros: Arc<AtomicU64>,
}

impl UrgentLatency {
    /// Follows upward at once and downward slowly, so that a single slow message counts.
    pub fn observe(&self, latency: Duration) {
        let seen = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let follow = |known: u64| Some(seen.max(known - known / 8));
        let _ = self.micros.fetch_update(Ordering::Relaxed, Ordering::Relaxed, follow);
    }

    /// Forgets a little for each step that has passed: without urgent messages there is nothing to step aside for.
    fn fade(&self, passed: Duration) -> Duration {
        let steps = passed.div_duration_f64(STEP).max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "microseconds of a latency"
        )]
        let fade = |known: u64| Some((known as f64 * KEPT.powf(steps)) as u64);
        Duration::from_micros(
            self.micros.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fade).unwrap_or(0),
        )
    }
}

/// How long requests to the API have waited for the database to say who calls, and for a connection, all together, since bulk last
/// looked. Neither is work of their own.
#[derive(Debug, Clone, Default)]
pub struct CallersWait {
    micros: Arc<AtomicU64>,
    requests: Arc<AtomicU32>,
}

/// Of the requests since bulk last looked, on average.
#[derive(Debug, Clone, Copy)]
struct Callers {
    /// How many waited at the same time.
    at_once: f64,
    per_second: f64,
}

impl CallersWait {
    /// A request, and how long it waited until it was known who calls.
    pub fn add(&self, waited: Duration) {
        self.longer(waited);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// What a request waited besides.
    pub fn longer(&self, waited: Duration) {
        self.micros.fetch_add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn look(&self, passed: Duration) -> Callers {
        let waited = Duration::from_micros(self.micros.swap(0, Ordering::Relaxed));
        let requests = f64::from(self.requests.swap(0, Ordering::Relaxed));
        let passed = passed.max(STEP).as_secs_f64();
        Callers { at_once: waited.as_secs_f64() / passed, per_second: requests / passed }
    }
}

/// What bulk steps aside for.
#[derive(Debug, Clone, Default)]
pub struct Pressure {
    pub latency: UrgentLatency,
    pub callers: CallersWait,
    pub freezing: Freezing,
}

impl Pressure {
    /// How far bulk should step aside, from how far it has, after a time in which this process took `used` of all processors.
    fn aside(&self, aside: Aside, bulk: Bulk, (passed, used): (Duration, f64)) -> Aside {
        let (freezing, callers, total) =
            (self.freezing.is_under_way(), self.callers.look(passed), bulk.total);
        if self.latency.fade(passed) > TOO_LONG || callers.at_once > CALLERS {
            if aside.is_alone(total) { aside.longer() } else { aside.further(total) }
        } else if bulk.is_idle && callers.per_second > MANY {
            Aside { chunks: total - 1, rest: 1 }
        } else if freezing && used > BESIDE_A_FREEZE {
            aside.further(total).shorter()
        } else if freezing && used > BESIDE_A_FREEZE * ROOM_FOR_MORE {
            aside.shorter()
        } else {
            aside.back()
        }
    }
}

/// Chunks that may be at work, and whether none is.
#[derive(Debug, Clone, Copy)]
struct Bulk {
    total: usize,
    is_idle: bool,
}

/// How far bulk steps aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Aside {
    /// Chunks that are not at work; one always is.
    chunks: usize,
    /// Steps for which the one that is left rests before the next.
    rest: u32,
}

impl Aside {
    fn is_alone(self, total: usize) -> bool {
        total - self.chunks <= 1
    }

    fn further(self, total: usize) -> Self {
        Self { chunks: self.chunks + (total - self.chunks) / 2, ..self }
    }

    fn longer(self) -> Self {
        Self { rest: (self.rest + 1).min(LONGEST_REST), ..self }
    }

    fn shorter(self) -> Self {
        Self { rest: self.rest.saturating_sub(1), ..self }
    }

    fn back(self) -> Self {
        match self.rest {
            0 => Self { chunks: self.chunks.saturating_sub(1), ..self },
            _ => self.shorter(),
        }
    }
}

/// What this process has used of its processors, all threads together, since it was started.
pub fn processor_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

/// How busy this process is, from one look to the next.
struct Meter {
    spent: fn() -> Duration,
    processors: usize,
    last: (Instant, Duration),
}

impl Meter {
    fn new(spent: fn() -> Duration, processors: usize) -> Self {
        Self { spent, processors, last: (Instant::now(), spent()) }
    }

    /// The time since the last look, and the part of all processors that was used in it.
    fn used(&mut self) -> (Duration, f64) {
        let (before, now) = (self.last, (Instant::now(), (self.spent)()));
        self.last = now;
        let passed = now.0 - before.0;
        let all = passed.as_secs_f64() * self.processors as f64;
        (passed, now.1.saturating_sub(before.1).as_secs_f64() / all.max(f64::EPSILON))
    }
}

/// Shrinks and widens `room` until `stop`; at least one chunk is at work, or rests before the next. `spent` tells the processor
/// time of this process.
pub async fn tame(
    room: Arc<Semaphore>,
    total: usize,
    pressure: Pressure,
    spent: fn() -> Duration,
    stop: CancellationToken,
) {
    let mut meter = Meter::new(spent, std::thread::available_parallelism().map_or(1, usize::from));
    let (mut aside, mut held) = (Aside::default(), Vec::<OwnedSemaphorePermit>::new());
    loop {
        tokio::select! {
            () = tokio::time::sleep(STEP) => {}
            () = stop.cancelled() => return,
        }
        let is_idle = room.available_permits() + held.len() == total;
        aside = pressure.aside(aside, Bulk { total, is_idle }, meter.used());
        pressure.freezing.rest(STEP * aside.rest);
        held.truncate(aside.chunks);
        while held.len() < aside.chunks {
            // In turn with the chunks that wait for room, of which there are always some when it counts; those at work
            // are finished.
            match timeout(A_CHUNK, Arc::clone(&room).acquire_owned()).await {
                Ok(Ok(permit)) => held.push(permit),
                _ => break,
            }
        }
        aside.chunks = held.len();
        if aside.rest > 0
            && let Ok(Ok(_last)) = timeout(A_CHUNK, Arc::clone(&room).acquire_owned()).await
        {
            tokio::select! {
                () = tokio::time::sleep(STEP * aside.rest) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bulk_shrinks_while_the_urgent_are_slow_and_comes_back() {
        let (room, latency, stop) =
            (Arc::new(Semaphore::new(8)), UrgentLatency::default(), CancellationToken::new());
        let mut tasks = tokio::task::JoinSet::new();
        let pressure = Pressure { latency: latency.clone(), ..Pressure::default() };
        tasks.spawn(tame(Arc::clone(&room), 8, pressure, Duration::default, stop.clone()));
        for _ in 0..10 {
            latency.observe(Duration::from_millis(200));
            tokio::time::sleep(STEP).await;
        }
        assert!(room.available_permits() <= 1, "one chunk goes on, or rests");
        tokio::time::sleep(STEP * 120).await;
        assert_eq!(room.available_permits(), 8);
        stop.cancel();
        while tasks.join_next().await.is_some() {}
    }

    #[tokio::test(start_paused = true)]
    async fn bulk_shrinks_for_many_callers_and_not_for_one_who_watches() {
        for (callers, left) in [(100, 0..=1), (1, 8..=8)] {
            let (room, pressure, stop) =
                (Arc::new(Semaphore::new(8)), Pressure::default(), CancellationToken::new());
            let mut tasks = tokio::task::JoinSet::new();
            tasks.spawn(tame(Arc::clone(&room), 8, pressure.clone(), Duration::default, stop.clone()));
            for _ in 0..10 {
                for _ in 0..callers {
                    pressure.callers.add(Duration::from_millis(50));
                }
                tokio::time::sleep(STEP).await;
            }
            assert!(left.contains(&room.available_permits()), "{callers} in each step");
            tokio::time::sleep(STEP * 60).await;
            assert_eq!(room.available_permits(), 8, "they have their answers");
            tasks.shutdown().await;
        }
    }

    #[test]
    fn what_a_request_waits_besides_is_no_other_request() {
        let callers = CallersWait::default();
        callers.add(Duration::from_millis(40));
        callers.longer(Duration::from_millis(160));
        let Callers { at_once, per_second } = callers.look(Duration::from_millis(100));
        assert!((at_once - 2.0).abs() < 1e-9 && (per_second - 10.0).abs() < 1e-9, "{at_once} {per_second}");
        assert!(callers.look(Duration::from_millis(100)).at_once.abs() < 1e-9, "each is counted once");
    }

    #[tokio::test(start_paused = true)]
    async fn bulk_begins_slowly_beside_many_requests() {
        let (room, pressure, stop) =
            (Arc::new(Semaphore::new(8)), Pressure::default(), CancellationToken::new());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(tame(Arc::clone(&room), 8, pressure.clone(), Duration::default, stop.clone()));
        let step = async || {
            (0..50).for_each(|_| pressure.callers.add(Duration::from_millis(1)));
            tokio::time::sleep(STEP).await;
        };
        for _ in 0..10 {
            step().await;
        }
        assert!(room.available_permits() <= 1);
        // Whoever begins stays at work, and nobody waits for it.
        let mut at_work = Vec::new();
        for steps in 1..=20 {
            while let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
                at_work.push(permit);
            }
            assert!(at_work.len() <= steps, "{} after {steps} steps", at_work.len());
            step().await;
        }
        assert_eq!(at_work.len(), 8);
        tasks.shutdown().await;
    }

    #[tokio::test(start_paused = true)]
    async fn bulk_rests_between_chunks_and_does_not_stand_still() {
        let (room, pressure, stop) =
            (Arc::new(Semaphore::new(8)), Pressure::default(), CancellationToken::new());
        let mut tasks = tokio::task::JoinSet::new();
        let begun = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for _ in 0..16 {
            let (room, begun) = (Arc::clone(&room), Arc::clone(&begun));
            tasks.spawn(async move {
                loop {
                    let _room = room.acquire().await.expect("open");
                    begun.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(7)).await;
                }
            });
        }
        tasks.spawn(tame(Arc::clone(&room), 8, pressure.clone(), Duration::default, stop.clone()));
        let mut last = 0;
        for second in 0..20 {
            for _ in 0..10 {
                (0..100).for_each(|_| pressure.callers.add(Duration::from_millis(50)));
                tokio::time::sleep(STEP).await;
            }
            let now = begun.load(Ordering::Relaxed);
            let chunks = now - last;
            last = now;
            assert!(chunks > 0, "second {second}");
            assert!(
                second < 4 || chunks < 50,
                "{chunks} in second {second}, of 140 for one chunk after the other"
            );
        }
        tasks.shutdown().await;
    }

    #[tokio::test(start_paused = true)]
    async fn bulk_shrinks_although_every_chunk_that_ends_is_followed_by_another() {
        let (room, pressure, stop) =
            (Arc::new(Semaphore::new(8)), Pressure::default(), CancellationToken::new());
        let mut tasks = tokio::task::JoinSet::new();
        let at_work = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for _ in 0..16 {
            let (room, at_work) = (Arc::clone(&room), Arc::clone(&at_work));
            tasks.spawn(async move {
                loop {
                    let _room = room.acquire().await.expect("open");
                    at_work.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(7)).await;
                    at_work.fetch_sub(1, Ordering::Relaxed);
                }
            });
        }
        tokio::time::sleep(STEP).await;
        assert_eq!(at_work.load(Ordering::Relaxed), 8);
        tasks.spawn(tame(Arc::clone(&room), 8, pressure.clone(), always_busy, stop.clone()));
        for _ in 0..5 {
            pressure.freezing.note();
            tokio::time::sleep(STEP).await;
        }
        assert_eq!(at_work.load(Ordering::Relaxed), 1);
        tokio::time::sleep(STEP * 30).await;
        assert_eq!(at_work.load(Ordering::Relaxed), 8, "the audience is frozen");
        tasks.shutdown().await;
    }

    /// Every processor, all the time: of as many as a machine can have.
    fn always_busy() -> Duration {
        static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
        STARTED.elapsed() * 4_096
    }

    #[tokio::test(start_paused = true)]
    async fn bulk_that_takes_little_does_not_step_aside_for_a_freeze() {
        let (room, pressure, stop) =
            (Arc::new(Semaphore::new(8)), Pressure::default(), CancellationToken::new());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(tame(Arc::clone(&room), 8, pressure.clone(), Duration::default, stop.clone()));
        for _ in 0..5 {
            pressure.freezing.note();
            tokio::time::sleep(STEP).await;
        }
        assert_eq!(room.available_permits(), 8);
        tasks.shutdown().await;
    }
}
