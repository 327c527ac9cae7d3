//! The engine of one process: its parts, built once, and the roles that it plays.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    blobs::Blobs,
    clock::Clock,
    contacts::{Limits, intake::Intake},
    deliver::{
        accounts::Accounts,
        chunk::ChunkDesk,
        direct::DirectPath,
        places::Places,
        plans::Plans,
        recorder::{Recorder, RecorderSettings},
        slice::Deliverer,
        tally::Tally,
        tame::{self, Pressure},
        worker::Worker,
    },
    domain::{
        channel::{Lane, MessageClass},
        token::PublicLinks,
    },
    feedback,
    gauges::Gauges,
    id::{Ids, ProcessId},
    launch::freeze::{Freezing, LaunchSettings},
    limit::Priority,
    queue::Queue,
    roster::Roster,
    store::Store,
    upkeep::{self, FeedSettings, Upkeep, UpkeepSettings},
};

/// What a process does. Any number of processes may play any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// HTTP: webhooks in, health, metrics.
    Api,
    /// Sends what is due, and applies what webhooks told.
    Worker,
    /// Launches what is scheduled, freezes audiences, fills the lanes.
    Scheduler,
    /// Puts right whatever was lost.
    Upkeep,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Api, Self::Worker, Self::Scheduler, Self::Upkeep];
}

#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Chunks at work at once.
    pub chunks: usize,
    /// Requests of campaigns on the wire at once, to providers that honour idempotency keys.
    pub in_flight: usize,
    /// The same to those that do not: as many may be in doubt after a process was killed.
    pub in_flight_keyless: usize,
    /// Members that get one intent, at most.
    pub slice: usize,
    /// How long a chunk stays with a process that does not renew its claim.
    pub lease: Duration,
    /// Transactional messages on the wire at once.
    pub urgent_in_flight: usize,
    /// How long a provider's answer may take.
    pub request_timeout: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            chunks: 8,
            in_flight: 2_048,
            in_flight_keyless: 256,
            slice: 500,
            lease: Duration::from_secs(30),
            urgent_in_flight: 64,
            request_timeout: Duration::from_secs(10),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub worker: WorkerSettings,
    pub recorder: RecorderSettings,
    pub launch: LaunchSettings,
    pub feed: FeedSettings,
    pub upkeep: UpkeepSettings,
    /// Of the files that are taken.
    pub imports: Limits,
    /// What recipients can do without signing in.
    pub links: PublicLinks,
}

/// What a process is built of. The urgent have connections of their own, to the database and to the providers.
#[derive(Debug, Clone)]
pub struct Engine {
    pub process: ProcessId,
    pub store: Store,
    pub urgent_store: Store,
    pub queue: Queue,
    pub accounts: Accounts,
    pub urgent_accounts: Accounts,
    /// Where files lie.
    pub blobs: Arc<dyn Blobs>,
    /// Keeps both in step with the database.
    pub roster: Arc<Roster>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    pub settings: Settings,
}

/// An engine at work. Dropped without [`Running::shut_down`], it stops without being waited for.
#[derive(Debug)]
pub struct Running {
    /// Takes direct messages in.
    pub direct: DirectPath,
    stop: DropGuard,
    tasks: TaskTracker,
    recorders: JoinSet<()>,
    tally: (Tally, Store),
}

impl Engine {
    /// Starts the tasks of these roles; what is HTTP is the caller's.
    pub fn start(&self, roles: &[Role]) -> Running {
        let (stop, tasks, mut recorders) = (CancellationToken::new(), TaskTracker::new(), JoinSet::new());
        let plans = Arc::new(Plans::new(self.settings.links.clone()));
        let (freezing, tally) = (Freezing::default(), Tally::default());
        let urgent = self.desk(&mut recorders, (&plans, &tally), Priority::Urgent, &stop);
        let direct = DirectPath::new(
            self.process,
            urgent.deliverer.clone(),
            self.urgent_accounts.clone(),
            Arc::clone(&plans),
            self.queue.clone(),
            tasks.clone(),
        )
        .keeping(self.settings.upkeep.retention_months);
        let mut places = urgent.deliverer.places.clone();
        if roles.contains(&Role::Worker) {
            let bulk = self.desk(&mut recorders, (&plans, &tally), Priority::Bulk, &stop);
            places = bulk.deliverer.places.clone();
            let is_urgent = |lane: &Lane| lane.class == MessageClass::Transactional;
            let chunks = self.settings.worker.chunks;
            let bulk = self.worker(bulk, chunks, &tasks);
            bulk.start(Lane::all().filter(|lane| !is_urgent(lane)), &stop);
            let pressure = Pressure {
                latency: direct.latency.clone(),
                callers: direct.callers.clone(),
                freezing: freezing.clone(),
            };
            tasks.spawn(tame::tame(
                Arc::clone(&bulk.room),
                chunks,
                pressure,
                tame::processor_time,
                stop.clone(),
            ));
            let room = self.settings.worker.urgent_in_flight;
            self.worker(urgent, room, &tasks).start(Lane::all().filter(is_urgent), &stop);
            feedback::start(&self.store, &self.accounts, &tasks, &stop);
        }
        let gauges = Gauges {
            store: self.store.clone(),
            queue: self.queue.clone(),
            accounts: self.accounts.clone(),
            clock: Arc::clone(&self.clock),
            places,
        };
        tasks.spawn(gauges.report(stop.clone()));
        tasks.spawn(Arc::clone(&self.roster).follow(stop.clone()));
        tasks.spawn(tally.clone().keep(self.store.clone(), stop.clone()));
        let upkeep = Arc::new(Upkeep { freezing, ..self.upkeep() });
        if roles.contains(&Role::Scheduler) {
            upkeep.start(upkeep::Role::Scheduler, &tasks, &stop);
        }
        if roles.contains(&Role::Upkeep) {
            upkeep.start(upkeep::Role::Upkeep, &tasks, &stop);
        }
        Running { direct, stop: stop.drop_guard(), tasks, recorders, tally: (tally, self.store.clone()) }
    }

    pub fn upkeep(&self) -> Upkeep {
        Upkeep {
            process: self.process,
            store: self.store.clone(),
            queue: self.queue.clone(),
            accounts: self.accounts.clone(),
            launch: self.settings.launch.clone(),
            freezing: Freezing::default(),
            feed: self.settings.feed.clone(),
            lease: self.settings.worker.lease,
            settings: self.settings.upkeep.clone(),
            intake: Intake {
                process: self.process,
                store: self.store.clone(),
                blobs: Arc::clone(&self.blobs),
                clock: Arc::clone(&self.clock),
                ids: Arc::clone(&self.ids),
                limits: self.settings.imports,
            },
        }
    }

    fn desk(
        &self,
        recorders: &mut JoinSet<()>,
        (plans, tally): (&Arc<Plans>, &Tally),
        priority: Priority,
        stop: &CancellationToken,
    ) -> ChunkDesk {
        let worker = &self.settings.worker;
        let (store, accounts, places) = match priority {
            Priority::Bulk => {
                let places = Places::new(worker.in_flight, worker.in_flight_keyless);
                (&self.store, &self.accounts, places)
            }
            Priority::Urgent => {
                (&self.urgent_store, &self.urgent_accounts, Places::shared(worker.urgent_in_flight))
            }
        };
        let (recorder, run) = Recorder::new(store.clone(), self.settings.recorder.clone());
        recorders.spawn(run);
        ChunkDesk {
            deliverer: Deliverer {
                store: store.clone(),
                recorder,
                tally: tally.clone(),
                clock: Arc::clone(&self.clock),
                ids: Arc::clone(&self.ids),
                places,
                lease: worker.lease,
                priority,
                links: self.settings.links.clone(),
            },
            accounts: accounts.clone(),
            plans: Arc::clone(plans),
            slice: worker.slice,
            request_timeout: worker.request_timeout,
            stop: stop.clone(),
        }
    }

    fn worker(&self, desk: ChunkDesk, room: usize, tasks: &TaskTracker) -> Worker {
        Worker {
            process: self.process,
            store: desk.deliverer.store.clone(),
            queue: self.queue.clone(),
            desk,
            room: Arc::new(Semaphore::new(room)),
            lease: self.settings.worker.lease,
            tasks: tasks.clone(),
        }
    }
}

impl Running {
    /// Begins nothing more, lets what is on the wire come back, records it, and returns. Whoever does not want to wait so
    /// long drops the future: whatever is cut off is recovered by the next owner.
    pub async fn shut_down(mut self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
        // The recorders end when the last handle is gone.
        drop(self.direct);
        while self.recorders.join_next().await.is_some() {}
        let (tally, store) = self.tally;
        tally.flush(&store).await;
    }
}
