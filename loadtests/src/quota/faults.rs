//! What is done to processes and servers while a campaign runs, and how long each of it is felt.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::arrivals::Span;
use crate::{processes, proxy::Proxy, receiver::Receiver, services::Services};

const STOPPED_FOR: Duration = Duration::from_secs(3);
const CUT_FOR: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// A process gets SIGSTOP, and three seconds later SIGCONT.
    ProcessStopped,
    /// FLUSHALL.
    RedisEmptied,
    /// For five seconds one process has no way to Redis: its connections are closed, new ones refused.
    RedisCutOff,
}

/// When each comes, in hundredths of the time that the campaign takes at full quota.
const SCHEDULE: [(Kind, u32); 3] =
    [(Kind::ProcessStopped, 17), (Kind::RedisEmptied, 33), (Kind::RedisCutOff, 45)];

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ProcessStopped => "process stopped for 3 s",
            Self::RedisEmptied => "Redis emptied",
            Self::RedisCutOff => "one cut off from Redis for 5 s",
        }
    }

    /// How long after its end it may still be felt. Whoever was cut off has been with Postgres, and for five seconds nobody
    /// may report a cut before all return to Redis; each change of source costs a second and a half of silence.
    const fn felt_for(self) -> Duration {
        match self {
            Self::ProcessStopped | Self::RedisEmptied => Duration::from_secs(2),
            Self::RedisCutOff => Duration::from_secs(9),
        }
    }
}

/// A fault that has come. Times are microseconds after the launch, by the receiver's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Struck {
    pub(super) kind: Kind,
    /// Whom it struck, if one.
    pub(super) process: Option<usize>,
    pub(super) from_us: u64,
    pub(super) to_us: u64,
}

impl Struck {
    pub(super) fn disturbed(self) -> Span {
        let felt = u64::try_from(self.kind.felt_for().as_micros()).unwrap_or(u64::MAX);
        Span { from_us: self.from_us, to_us: self.to_us.saturating_add(felt) }
    }
}

/// What it takes to strike.
#[derive(Debug)]
pub(super) struct Faults<'a> {
    pub(super) receiver: &'a Receiver,
    pub(super) services: &'a Services,
    /// On the way of one process to Redis.
    pub(super) proxy: &'a mut Proxy,
    /// Number and id of the process that is stopped.
    pub(super) stopped: (usize, u32),
    pub(super) cut_off: usize,
}

impl Faults<'_> {
    /// All of them, one after the other, in a campaign that takes so long.
    pub(super) async fn strike(&mut self, launched: Instant, whole: Duration) -> anyhow::Result<Vec<Struck>> {
        let zero = self.receiver.clock_us().await?.saturating_sub(micros(launched.elapsed()));
        let mut struck = Vec::new();
        for (kind, hundredths) in SCHEDULE {
            tokio::time::sleep_until(launched + whole * hundredths / 100).await;
            let from = self.receiver.clock_us().await?;
            let process = self.one(kind).await?;
            let to = self.receiver.clock_us().await?;
            struck.push(Struck { kind, process, from_us: from.saturating_sub(zero), to_us: to - zero });
            println!("  {:.1} s after the launch: {}", launched.elapsed().as_secs_f64(), kind.name());
        }
        Ok(struck)
    }

    /// Returns when it is over, and whom it struck.
    async fn one(&mut self, kind: Kind) -> anyhow::Result<Option<usize>> {
        match kind {
            Kind::ProcessStopped => {
                let (number, pid) = self.stopped;
                processes::signal(pid, "STOP").await?;
                tokio::time::sleep(STOPPED_FOR).await;
                processes::signal(pid, "CONT").await?;
                Ok(Some(number))
            }
            Kind::RedisEmptied => {
                redis::cmd("FLUSHALL").query_async::<()>(&mut self.services.redis().await?).await?;
                Ok(None)
            }
            Kind::RedisCutOff => {
                self.proxy.cut().await?;
                tokio::time::sleep(CUT_FOR).await;
                self.proxy.mend()?;
                Ok(Some(self.cut_off))
            }
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
