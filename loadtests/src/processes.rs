//! What the kernel knows about processes: their CPU time and memory, from /proc. And signals.

use std::{fmt::Debug, fs, net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

/// Ticks of `/proc/PID/stat` in a second: fixed by Linux for programs, whatever the kernel's own rate.
const TICKS_PER_SECOND: u64 = 100;

/// Processes whose cost is measured.
pub(crate) trait Pids: Debug {
    fn pids(&self) -> anyhow::Result<Vec<u32>>;

    /// Where all of them tell their metrics.
    fn metrics(&self) -> Option<SocketAddr> {
        None
    }
}

/// CPU time of a process and of the children that it has collected.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = Stat::read(pid)?;
    Ok(stat.own + stat.collected)
}

/// CPU time of the children that a process has collected.
pub(crate) fn collected(pid: u32) -> anyhow::Result<Duration> {
    Ok(Stat::read(pid)?.collected)
}

/// CPU time of a process and all its children, those at work and those that have ended.
pub(crate) fn cpu_with_children(pid: u32) -> anyhow::Result<Duration> {
    let mut total = cpu(pid)?;
    for (_, stat) in children(pid)? {
        total += stat.own + stat.collected;
    }
    Ok(total)
}

/// The most memory that a process and its living children have had resident, each at its own peak.
pub(crate) fn peak_rss_with_children(pid: u32) -> anyhow::Result<u64> {
    let mut total = peak_rss(pid)?;
    for (child, _) in children(pid)? {
        // One that has ended meanwhile has given its memory back.
        total += peak_rss(child).unwrap_or(0);
    }
    Ok(total)
}

fn children(pid: u32) -> anyhow::Result<Vec<(u32, Stat)>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(other) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that ends meanwhile is in its parent's count from then on: at worst it is missed in this reading.
        if let Ok(stat) = Stat::read(other)
            && stat.parent == pid
        {
            children.push((other, stat));
        }
    }
    Ok(children)
}

/// The most memory that a process has had resident.
pub(crate) fn peak_rss(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmHWM:")
}

/// The memory that a process has resident now.
pub(crate) fn rss(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, which: &str) -> anyhow::Result<u64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(which));
    let line = line.with_context(|| format!("no {which} in /proc"))?;
    let kilobytes: u64 =
        line.trim().trim_end_matches("kB").trim().parse().context("memory is a number of kB")?;
    Ok(kilobytes * 1_024)
}

pub(crate) async fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().await.context("kill")?;
    ensure!(status.success(), "process {pid} could not be sent SIG{name}");
    Ok(())
}

struct Stat {
    parent: u32,
    own: Duration,
    collected: Duration,
}

impl Stat {
    fn read(pid: u32) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
        Self::parse(&text).with_context(|| format!("/proc/{pid}/stat"))
    }

    /// The name, in parentheses, may hold anything: the fields are counted from its end.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let ticks = |ticks: u64| Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND);
        Some(Self {
            parent: u32::try_from(number(1)?).ok()?,
            own: ticks(number(11)? + number(12)?),
            collected: ticks(number(13)? + number(14)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 0 0 0 150 25 300 4 20 0 1 0 9 9 9";
        let stat = Stat::parse(text).expect("well-formed");
        assert_eq!(stat.parent, 7);
        assert_eq!((stat.own, stat.collected), (Duration::from_millis(1_750), Duration::from_millis(3_040)));
    }

    #[test]
    fn this_process_has_memory() {
        let (now, peak) = (rss(std::process::id()), peak_rss(std::process::id()));
        assert!(now.expect("it runs") > 100_000);
        assert!(peak.expect("it runs") > 100_000);
    }
}
