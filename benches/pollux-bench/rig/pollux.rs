//! The switch under test.

use super::extent::Extent;
use super::{DEV_A, DEV_B, MAC_A, MAC_B, MAC_FLOWS, Poll, Ports};
use crate::failure::{During, Result, fail};
use crate::process::{Job, run, wait_for};
use crate::rounds::Findings;
use crate::world::{A, B, World};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::{Duration, Instant};

const STARTING: Duration = Duration::from_secs(60);
const STOPPING: Duration = Duration::from_secs(20);
/// If the counters do not move for so long, the switch has forwarded what was in its rings when the generator stopped.
const SETTLING: Duration = Duration::from_millis(200);
/// Rings full of broadcasts to many ports.
const SETTLED: Duration = Duration::from_secs(10);

/// A configuration with a port to each station. B's address is known, as it is to every peer.
pub fn between_stations(ports: Ports, poll: Poll, extent: Extent<'_>) -> String {
    let Extent { among: crowd, cores } = extent;
    let queues = cores.len();
    let port = |ours: &str, netns: &str, theirs: &str, mac: &str| match ports {
        Ports::AfXdp => format!("{{ kind: af_xdp, dev: {ours}, domain: lan }}"),
        Ports::Veth | Ports::Tap => {
            let kind = if ports == Ports::Tap { "tap" } else { "veth" };
            let netdev = format!("netns: {netns}, ifname: {theirs}, mac: \"{mac}\"");
            format!("{{ kind: {kind}, {netdev}, queues: {queues}, domain: lan }}")
        }
    };
    // an arena that grows with the ports takes huge pages up to some point, and those of others before it: on none it is
    // the same all along the axis
    let memory = crowd.map_or(String::new(), |crowd| {
        // a table is not filled to the last place
        let entries = (2 * crowd.addresses).max(65_536);
        format!("memory: {{ hugepages: off, fdb_entries: {entries} }}\n")
    });
    format!(
        "name: bench\nworkers: {cores:?}\npoll: {}\n\
         {memory}domains:\n  lan: {{ static: [{{ mac: \"{MAC_B}\", port: b }}, {{ mac: \"{MAC_FLOWS}\", port: b }}] }}\n\
         {}ports:\n  a: {}\n  b: {}\n{}",
        poll.name(),
        extent.crowd().domains(),
        port("v0", A, DEV_A, MAC_A),
        port("w0", B, DEV_B, MAC_B),
        crowd.map_or(String::new(), |crowd| crowd.configuration(ports))
    )
}

/// `pollux run` in the background.
#[derive(Debug)]
pub struct Daemon {
    job: Job,
    pollux: String,
    socket: String,
}

impl Daemon {
    /// Starts it and waits until every port is up.
    pub fn start(world: &World, configuration: &str) -> Result<Self> {
        let file = world.write("pollux.yaml", configuration)?;
        let pollux = world.pollux.display().to_string();
        let socket = world.directory.join("pollux.sock").display().to_string();
        let job = Job::start(&world.directory, "pollux", &[&pollux, "run", "-c", &file, "--socket", &socket])?;
        let mut daemon = Self { job, pollux, socket };
        let up = wait_for(STARTING, || {
            daemon.job.must_live()?;
            Ok(daemon.ask("status").ok())
        });
        match up? {
            Some(_) => Ok(daemon),
            None => fail(format!("pollux does not answer at {}", daemon.socket)),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.job.pid()
    }

    /// Has it do something.
    pub fn tell(&self, words: &[&str]) -> Result<()> {
        run(&[&[self.pollux.as_str(), "--socket", &self.socket], words].concat()).map(drop)
    }

    /// An answer of its API.
    pub fn ask(&self, question: &str) -> Result<Value> {
        ask(&self.pollux, &self.socket, question)
    }

    /// Has it do something.
    pub fn order(&self, words: &[&str]) -> Result<()> {
        run(&[&[self.pollux.as_str(), "--socket", &self.socket], words].concat()).map(drop)
    }

    /// Its counters.
    pub fn ledger(&self) -> Result<Ledger> {
        Ok(Ledger::of(&self.ask("stats")?))
    }

    /// Stops it. Returns unaccounted frames, the warnings in its log, and what its ports obtained.
    pub fn close(self) -> Result<Findings> {
        self.close_timed().map(|(findings, _)| findings)
    }

    /// The same, and how long it took to end.
    pub fn close_timed(mut self) -> Result<(Findings, Duration)> {
        let mut faults: Vec<String> = self.settled()?.imbalance().into_iter().collect();
        let remarks = vec![self.obtained()?];
        let asked = Instant::now();
        self.job.stop(Signal::SIGTERM, STOPPING)?;
        let ending = asked.elapsed();
        faults.extend(warnings(&self.job.said()));
        Ok((Findings { faults, remarks }, ending))
    }

    /// The counters once they do not move any more; traffic must have ended.
    fn settled(&self) -> Result<Ledger> {
        let mut last = self.ledger()?;
        let still = wait_for(SETTLED, || {
            sleep(SETTLING);
            let before = std::mem::replace(&mut last, self.ledger()?);
            let same = (before.received, before.sent) == (last.received, last.sent);
            Ok(same.then(|| last.clone()))
        })?;
        still.map_or_else(|| fail("frames are still coming although nobody sends"), Ok)
    }

    /// What its ports and its memory obtained from the system.
    fn obtained(&self) -> Result<String> {
        let (ports, status) = (self.ask("ports")?, self.ask("status")?);
        let ports = ports["ports"].as_array().into_iter().flatten();
        let modes: BTreeSet<&str> = ports.filter_map(|port| port["mode"].as_str()).collect();
        let (modes, memory) = (modes.into_iter().collect::<Vec<_>>().join(" | "), &status["memory"]);
        Ok(format!("{modes}; {} frames in {}", memory["frames"], memory["backing"].as_str().unwrap_or("?")))
    }
}

impl Drop for Daemon {
    /// After a measurement that failed: killed, it would leave things for the next one to find and warn about.
    fn drop(&mut self) {
        if self.job.must_live().is_ok() {
            let _already_a_fault = self.job.stop(Signal::SIGTERM, STOPPING);
        }
    }
}

/// An answer of the daemon at `socket`.
pub fn ask(pollux: &str, socket: &str, question: &str) -> Result<Value> {
    let text = run(&[pollux, "--socket", socket, question, "-j"])?;
    serde_json::from_str(&text).during(format!("the answer to `{question}`"))
}

/// Lines of a log that say that something is wrong.
pub fn warnings(log: &str) -> Vec<String> {
    let wrong = |line: &&str| ["WARN", "ERROR", "panicked"].iter().any(|word| line.contains(word));
    log.lines().filter(wrong).map(|line| format!("pollux: {}", line.trim())).collect()
}

/// The frames of the switch: received, lost and copied ones must have been sent, or dropped for a reason.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Received, on all ports there ever were.
    pub received: u64,
    /// Lost in front of the switch, for a reason that is among the drops. The interfaces there count them too.
    pub lost: u64,
    /// Copies made by flooding.
    pub copies: u64,
    /// Sent.
    pub sent: u64,
    /// Dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Nanoseconds the workers spent on turns that moved frames; time others had the core is in it.
    pub work_ns: f64,
    /// Bursts they received.
    pub bursts: f64,
    /// Times the workers slept.
    pub sleeps: u64,
    /// Frames that each worker received.
    pub by_worker: Vec<u64>,
}

impl Ledger {
    /// Of an answer to `stats -j`.
    pub fn of(stats: &Value) -> Self {
        let worked = |worker: &Value| Some(worker["frames"].as_f64()? * worker["ns_per_frame"].as_f64()?);
        let bursts = |worker: &Value| Some(worker["frames"].as_f64()? / worker["frames_per_burst"].as_f64()?);
        let workers = || stats["workers"].as_array().into_iter().flatten();
        let mut ledger = Self {
            work_ns: workers().filter_map(worked).sum(),
            bursts: workers().filter_map(bursts).filter(|bursts| bursts.is_finite()).sum(),
            sleeps: workers().filter_map(|worker| worker["sleeps"].as_u64()).sum(),
            by_worker: workers().filter_map(|worker| worker["frames"].as_u64()).collect(),
            ..Self::default()
        };
        let live = stats["ports"].as_object().into_iter().flat_map(|ports| ports.values());
        for port in live.chain([&stats["removed"]]) {
            let count = |name: &str| port[name].as_u64().unwrap_or(0);
            ledger.received += count("rx_frames");
            ledger.lost += count("rx_lost");
            ledger.copies += count("flood_copies");
            ledger.sent += count("tx_frames");
            for (reason, n) in port["drops"].as_object().into_iter().flatten() {
                *ledger.drops.entry(reason.clone()).or_default() += n.as_u64().unwrap_or(0);
            }
        }
        ledger.drops.retain(|_, n| *n > 0);
        ledger
    }

    /// Dropped for any reason.
    pub fn dropped(&self) -> u64 {
        self.drops.values().sum()
    }

    /// What does not add up.
    pub fn imbalance(&self) -> Option<String> {
        let (came, went) = (self.received + self.lost + self.copies, self.sent + self.dropped());
        (came != went).then(|| {
            format!(
                "frames are unaccounted for: {} received + {} lost + {} copies ≠ {} sent + {} dropped {:?}",
                self.received,
                self.lost,
                self.copies,
                self.sent,
                self.dropped(),
                self.drops
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::crowd::Crowd;
    use serde_json::json;

    #[test]
    fn a_port_has_a_queue_for_each_worker() {
        let extent = Extent { cores: &[3, 2], ..Extent::default() };
        let yaml = between_stations(Ports::Tap, Poll::Busy, extent);
        assert!(yaml.contains("workers: [3, 2]\n") && yaml.matches("queues: 2").count() == 2, "{yaml}");
    }

    #[test]
    fn the_address_of_station_b_is_known_in_every_domain() {
        let crowd = Crowd { domains: 3, ..Crowd::default() };
        let yaml = between_stations(Ports::AfXdp, Poll::Busy, Extent { among: Some(crowd), ..Extent::default() });
        assert!(yaml.contains("\n  d3: { static: [{ mac:") && yaml.matches(MAC_B).count() == 4, "{yaml}");
    }

    #[test]
    fn removed_ports_are_in_the_ledger() {
        let port = |rx: u64, tx: u64, full: u64| {
            let drops = json!({"tx_full": full, "rx_ring_full": 5});
            json!({"rx_frames": rx, "rx_lost": 5, "tx_frames": tx, "flood_copies": 1, "drops": drops})
        };
        let stats = json!({"ports": {"a": port(10, 0, 0), "b": port(0, 8, 1)}, "removed": port(0, 3, 1)});
        let ledger = Ledger::of(&stats);
        assert_eq!((ledger.received, ledger.lost, ledger.copies), (10, 15, 3));
        assert_eq!((ledger.sent, ledger.dropped()), (11, 17));
        assert_eq!(ledger.imbalance(), None);
        assert_eq!(ledger.drops.keys().collect::<Vec<_>>(), ["rx_ring_full", "tx_full"]);
    }

    #[test]
    fn a_missing_frame_is_noticed() {
        let stats = json!({"ports": {"a": {"rx_frames": 2, "tx_frames": 1}}});
        assert!(Ledger::of(&stats).imbalance().is_some());
    }

    #[test]
    fn warnings_are_found_in_a_log() {
        let log = "INFO every port is up\n WARN port h1 failed\n";
        assert_eq!(warnings(log), ["pollux: WARN port h1 failed"]);
    }
}
