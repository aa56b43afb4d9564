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

/// The load of a generator, sent as fast as it can.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// Length of the frames without FCS.
    pub bytes: u32,
    /// Where.
    pub to: &'a str,
    /// IP flows; `to` is then [`MAC_FLOWS`](super::MAC_FLOWS).
    pub flows: Option<u32>,
}

impl Load<'_> {
    /// To station B.
    pub fn of(bytes: u32) -> Self {
        Self { bytes, to: MAC_B, flows: None }
    }
}

/// Sends from station A until it is dropped.
pub fn generator(world: &World, load: &Load<'_>) -> Result<Job> {
    let lcores = format!("0@{LOAD_CORE},1@{LOAD_CORE}");
    let (vdev, size, peer) = (
        format!("--vdev=net_af_xdp0,iface={DEV_A}"),
        format!("--txpkts={}", load.bytes),
        format!("--eth-peer=0,{}", load.to),
    );
    let mode = match load.flows {
        None => vec!["--forward-mode=txonly".to_owned()],
        Some(flows) => vec!["--forward-mode=flowgen".to_owned(), format!("--flowgen-flows={flows}")],
    };
    let mode: Vec<&str> = mode.iter().map(String::as_str).collect();
    let eal = eal(world, &lcores, "generator");
    let argv = [&eal[..], &[&vdev, "--"], &mode, &[&size, &peer], &SETTINGS].concat();
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
