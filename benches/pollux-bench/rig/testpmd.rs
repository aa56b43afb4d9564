//! DPDK's testpmd, as generator and as switch.
//!
//! Without `--stats-period` it ends as soon as its standard input does.

use super::{DEV_A, LOAD_CORE, MAC_B, SWITCH_CORE};
use crate::failure::Result;
use crate::process::{Job, within};
use crate::world::{A, World};
use std::time::Duration;

const STARTING: Duration = Duration::from_secs(20);
/// testpmd says this when its ports are up and it begins to forward.
const READY: &str = "Port statistics";
const SETTINGS: [&str; 4] = ["--auto-start", "--stats-period", "1", "--total-num-mbufs=8192"];

/// Sends frames of `bytes` (without FCS) from station A to station B until it is dropped, as fast as it can.
pub fn generator(world: &World, bytes: u32) -> Result<Job> {
    let lcores = format!("0@{LOAD_CORE},1@{LOAD_CORE}");
    let (vdev, size, peer) =
        (format!("--vdev=net_af_xdp0,iface={DEV_A}"), format!("--txpkts={bytes}"), format!("--eth-peer=0,{MAC_B}"));
    let eal = eal(world, &lcores, "generator");
    let argv = [&eal[..], &[&vdev, "--", "--forward-mode=txonly", &size, &peer], &SETTINGS].concat();
    start(world, "generator", &within(A, &argv))
}

/// Forwards everything from one pair to the other.
pub fn switch(world: &World) -> Result<Job> {
    let lcores = format!("0@{LOAD_CORE},1@{SWITCH_CORE}");
    let eal = eal(world, &lcores, "switch");
    let ports = ["--vdev=net_af_xdp0,iface=v0", "--vdev=net_af_xdp1,iface=w0", "--", "--forward-mode=io"];
    start(world, "testpmd", &[&eal[..], &ports, &SETTINGS].concat())
}

pub(super) fn eal<'a>(world: &'a World, lcores: &'a str, prefix: &'a str) -> Vec<&'a str> {
    let memory = ["--no-pci", "--in-memory", "--huge-dir", &world.huge, "-m", "128", "--file-prefix", prefix];
    [&["dpdk-testpmd", "--lcores", lcores, "--main-lcore", "0"], &memory[..]].concat()
}

fn start(world: &World, what: &str, argv: &[&str]) -> Result<Job> {
    let mut job = Job::start(&world.directory, what, argv)?;
    job.wait_for_words(READY, STARTING)?;
    Ok(job)
}
