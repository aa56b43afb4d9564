//! A guest with two vhost-user ports and the subject between them: DPDK's testpmd with virtio-user forwards everything from
//! one port to the other, so that frames circulate through the subject.

use super::{Middle, RINGS, STARTING, Server};
use crate::failure::{Result, fail};
use crate::process::{Job, wait_for};
use crate::rig::{LOAD_CORE, MAC_A, MAC_B};
use crate::rounds::{Facts, Findings};
use crate::world::World;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// testpmd's prompt follows what it was told.
const ANSWERING: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_millis(500);
/// Bursts of 32 per port that circulate.
const BURSTS: u32 = 8;
const MTU: u32 = 1500;

/// The guest and the subject.
pub struct Loop {
    guest: Job,
    server: Server,
}

impl Loop {
    /// Starts the subject, then the guest; frames of `bytes` circulate from then on.
    pub fn start(world: &World, middle: Middle, bytes: u32) -> Result<Self> {
        let server = Server::start(world, middle, MTU)?;
        Ok(Self { guest: guest(world, server.sockets(), bytes)?, server })
    }

    /// Millions of frames per second that the guest got, over both ports.
    pub fn rate(&mut self, seconds: u32) -> Result<(f64, Facts)> {
        sleep(WARM_UP);
        let before = self.server.ledger()?;
        let (first, at) = (self.received()?, Instant::now());
        sleep(Duration::from_secs(seconds.into()));
        let (last, time) = (self.received()?, at.elapsed().as_secs_f64());
        let mut facts = Facts::new();
        if let (Some(then), Some(now)) = (before, self.server.ledger()?) {
            let frames = (now.received - then.received).max(1) as f64;
            facts.push(("work ns/frame".to_owned(), (now.work_ns - then.work_ns) / frames));
            facts.push(("drops".to_owned(), (now.dropped() - then.dropped()) as f64));
        }
        if last == first {
            return fail("nothing goes round: the frames that were sent are lost");
        }
        Ok(((last - first) as f64 / time / 1e6, facts))
    }

    /// Frames the guest has received so far, as it says.
    fn received(&mut self) -> Result<u64> {
        let counts = |said: &str| {
            let words = said.lines().filter_map(|line| line.trim().strip_prefix("RX-packets:"));
            words.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).collect::<Vec<_>>()
        };
        let before = counts(&self.guest.said()).len();
        self.guest.tell("show port stats all")?;
        let guest = &mut self.guest;
        let found = wait_for(ANSWERING, || {
            guest.must_live()?;
            let all = counts(&guest.said());
            Ok((all.len() >= before + 2).then(|| all[before] + all[before + 1]))
        })?;
        found.map_or_else(|| fail("the guest does not say what it received".to_owned()), Ok)
    }

    /// Stops the guest, then the subject; returns what was found.
    pub fn end(self) -> Result<Findings> {
        drop(self.guest);
        self.server.inspect()
    }
}

fn guest(world: &World, sockets: &[PathBuf; 2], bytes: u32) -> Result<Job> {
    let lcores = format!("0@{LOAD_CORE},1@{LOAD_CORE}");
    let device = |n: usize, socket: &Path, mac: &str| {
        format!("--vdev=net_virtio_user{n},path={},queue_size=1024,mac={mac}", socket.display())
    };
    let devices = [device(0, &sockets[0], MAC_A), device(1, &sockets[1], MAC_B)];
    let peers = [format!("--eth-peer=0,{MAC_B}"), format!("--eth-peer=1,{MAC_A}")];
    let size = format!("--txpkts={bytes}");
    let eal = crate::rig::testpmd::eal(world, &lcores, "guest");
    let more = ["--", "-i", "--forward-mode=io", "--no-lsc-interrupt", "--total-num-mbufs=8192"];
    let argv = [
        // what it says is wanted at once, although it goes to a file
        &["stdbuf", "-oL"],
        &eal[..],
        // virtio-user shares at most eight files with the switch
        &["--single-file-segments", &devices[0], &devices[1]],
        &more,
        &RINGS,
        &[&peers[0], &peers[1], &size],
    ];
    let mut job = Job::start_told(&world.directory, "guest", &argv.concat())?;
    job.wait_for_words("testpmd>", STARTING)?;
    both_ports(&job.said())?;
    job.tell(&format!("start tx_first {BURSTS}"))?;
    Ok(job)
}

/// testpmd goes on with one port, or with a port whose link is down, when the switch hangs up on it.
fn both_ports(said: &str) -> Result<()> {
    match (0..2).find(|port| !said.contains(&format!("Port {port} Link up"))) {
        None => Ok(()),
        Some(port) => fail(format!("the switch did not take the guest's port {port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::both_ports;

    #[test]
    fn a_guest_with_one_link_is_no_guest() {
        assert!(both_ports("Port 0 Link up at Unknown FDX\nPort 1 Link up at Unknown FDX").is_ok());
        assert!(both_ports("Port 0 Link up at Unknown FDX\nPort 1 Link down").is_err());
        assert!(both_ports("Port 0 Link up at Unknown FDX").is_err());
    }
}
