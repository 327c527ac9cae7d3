//! The pump: one task an account and process that asks for slots and hands them out when they are due.
//!
//! It asks for as many slots as requests wait, once at a time, and hands out all that are due at each tick of the
//! timer (a millisecond), so that its own cost does not grow with the pace. What it holds lies at most 20 ms ahead;
//! a slot that nobody takes within 10 ms is thrown away.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock};
use tokio::time::Instant;

use super::{
    NoCapacity,
    account::micros,
    desk::{LONGEST_WAIT, Slot, Waiting, Wake},
    pacer::Shared,
    redis::Why,
    source::{Grant, Run, Want},
    timeline::{AHEAD_BULK, AHEAD_URGENT, EXPIRY},
};

/// Where processes compete for an account, each asks no more often than this: grants stay worth their call.
const BETWEEN_ASKS: Duration = Duration::from_millis(5);
/// Never asks more often than this, whatever happens: a thousand calls a second and account.
const ASKS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");
const ASKS_AT_ONCE: NonZeroU32 = NonZeroU32::new(8).expect("not zero");
/// How quickly the estimate of this process' share follows.
const SHARE_FOLLOWS_IN: f64 = 0.5;

pub(super) struct Pump {
    shared: Arc<Shared>,
    hand: VecDeque<Run>,
    asking: Option<(Want, BoxFuture<'static, Grant>)>,
    calls: DefaultDirectRateLimiter,
    /// Not before then: what the last answers said.
    next_bulk: Instant,
    next_urgent: Instant,
    last_answer: Instant,
    refusal: NoCapacity,
}

impl Pump {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            shared,
            hand: VecDeque::new(),
            asking: None,
            calls: RateLimiter::direct(Quota::per_second(ASKS_PER_SECOND).allow_burst(ASKS_AT_ONCE)),
            next_bulk: now,
            next_urgent: now,
            last_answer: now,
            refusal: NoCapacity::busy(Duration::from_millis(100)),
        }
    }

    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let now = Instant::now();
            self.hand_out(now);
            let waiting = shared.desk.tidy(now, self.refusal);
            let until = self.plan(now, waiting);
            let wake = self.wake(waiting);
            if !shared.desk.listen(wake, waiting) {
                continue;
            }
            let asking = async {
                match &mut self.asking {
                    Some((want, answer)) => (*want, answer.await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shared.closed.cancelled() => return shared.desk.send_all_away(self.refusal),
                (want, grant) = asking => {
                    self.asking = None;
                    self.take(want, grant, Instant::now());
                }
                () = shared.desk.arrival.notified() => {}
                () = sleep_until(until), if until.is_some() => {}
            }
        }
    }

    /// Hands out what is due, and throws away what is late or no longer valid.
    fn hand_out(&mut self, now: Instant) {
        if self.hand.front().is_some_and(|run| !self.shared.speaks(run.by, now)) {
            self.shared.late.fetch_add(self.held() as u64, Ordering::Relaxed);
            self.hand.clear();
        }
        let stale = now.checked_sub(micros(EXPIRY));
        let mut due = Vec::new();
        for run in &self.hand {
            let slots =
                (0..run.count).map(|i| Slot { due: run.first + run.step * i, generation: run.generation });
            due.extend(slots.take_while(|slot| slot.due <= now));
        }
        if due.is_empty() {
            return;
        }
        let late = due.iter().filter(|slot| stale.is_some_and(|stale| slot.due < stale)).count();
        let taken = self.shared.desk.serve(due.drain(late..));
        self.drop_first(late + taken);
        self.shared.late.fetch_add(late as u64, Ordering::Relaxed);
    }

    fn drop_first(&mut self, mut slots: usize) {
        while let Some(run) = self.hand.front_mut().filter(|_| slots > 0) {
            let here = slots.min(run.count as usize);
            slots -= here;
            let here = u32::try_from(here).expect("at most the run's count");
            run.first += run.step * here;
            run.count -= here;
            if run.count == 0 {
                self.hand.pop_front();
            }
        }
    }

    /// Begins to ask if that is due; answers when to look again.
    fn plan(&mut self, now: Instant, waiting: Waiting) -> Option<Instant> {
        let held = self.held();
        let mut until = self.hand.front().map(|run| run.first.max(now + Duration::from_micros(1)));
        let mut sooner = |moment: Instant| until = Some(until.map_or(moment, |until| until.min(moment)));
        if let Some(first) = waiting.first {
            sooner(first + LONGEST_WAIT);
        }
        if self.asking.is_some() || waiting.all() <= held {
            return until;
        }
        // The urgent ask for themselves; whoever comes with slots in hand takes those.
        let urgent = waiting.urgent > held && now >= self.next_urgent;
        if !urgent && now < self.next_bulk {
            sooner(self.next_bulk);
            if waiting.urgent > held {
                sooner(self.next_urgent);
            }
            return until;
        }
        if let Err(not_yet) = self.calls.check() {
            sooner(now + not_yet.wait_time_from(governor::clock::DefaultClock::default().now()));
            return until;
        }
        let wanted = if urgent { waiting.urgent } else { waiting.all() } - held;
        let ahead = if urgent { AHEAD_URGENT } else { AHEAD_BULK };
        let want = Want { count: u32::try_from(wanted).unwrap_or(u32::MAX), ahead };
        let shared = Arc::clone(&self.shared);
        let answer = async move { shared.sources.ask(&shared.account, want).await };
        self.asking = Some((want, answer.boxed()));
        until
    }

    fn wake(&self, waiting: Waiting) -> Wake {
        if self.asking.is_some() || !self.hand.is_empty() {
            Wake::Nobody
        } else if waiting.all() > 0 {
            Wake::Urgent
        } else {
            Wake::Anybody
        }
    }

    fn take(&mut self, want: Want, grant: Grant, now: Instant) {
        let given = grant.run.map_or(0, |run| run.count);
        self.hand.extend(grant.run);
        self.shared.granted.fetch_add(u64::from(given), Ordering::Relaxed);
        self.shared.asked.fetch_add(1, Ordering::Relaxed);
        self.note_share(want, given, grant.pace, now);
        if given >= want.count {
            (self.next_bulk, self.next_urgent) = (now, now);
            return;
        }
        let again = now + grant.wait;
        if want.ahead == AHEAD_URGENT {
            self.next_urgent = again;
            self.next_bulk = self.next_bulk.max(again);
        } else {
            self.next_bulk = again.max(now + BETWEEN_ASKS);
            // The slots that only the urgent may take are nearer by the difference.
            let competed = grant.why == Why::Busy && grant.pace > 0.0;
            self.next_urgent = if competed { now } else { again };
        }
        self.refusal = match grant.why {
            Why::Busy => NoCapacity::busy(grant.wait.max(Duration::from_millis(100))),
            Why::Blocked => NoCapacity::Blocked { retry_after: grant.wait },
            Why::Exhausted => NoCapacity::Exhausted { retry_after: grant.wait },
        };
        // Before anybody is sent away, who might come back at once. Also when some were given: they go to whoever waits already.
        self.shared.note_exhausted((grant.why == Why::Exhausted).then_some(again));
        if grant.why == Why::Blocked {
            self.shared.account.hear_of_block(grant.wait, now);
        }
        if grant.why != Why::Busy && grant.wait > LONGEST_WAIT && given == 0 {
            self.shared.desk.send_all_away(self.refusal);
        }
    }

    /// Follows the pace at which this process is given slots: all of the account's while it gets whatever it asks for.
    fn note_share(&mut self, want: Want, given: u32, pace: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.last_answer).as_secs_f64().max(1e-4);
        self.last_answer = now;
        if pace > 0.0 {
            let seen = if given >= want.count { pace } else { (f64::from(given) / passed).min(pace) };
            let weight = 1.0 - (-passed / SHARE_FOLLOWS_IN).exp();
            self.shared.follow_share(seen, weight);
        }
    }

    fn held(&self) -> usize {
        self.hand.iter().map(|run| run.count as usize).sum()
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
