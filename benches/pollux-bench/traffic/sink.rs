//! The receiving end for raw frames: an XDP program in station B that drops everything, and its count.

use crate::bpf;
use crate::failure::{Failure, Result};
use crate::process::{ip, run, within};
use crate::rig::crowd::Crowd;
use crate::rig::{DEV_A, DEV_B, Subject};
use crate::world::{A, B, World};
use serde_json::Value;

const SOURCE: &str = include_str!("sink.bpf.c");

/// Station B as a sink.
#[derive(Debug)]
pub struct Sink {
    native: bool,
    crowd: Crowd,
}

impl Sink {
    /// Attaches the program to station B's interface.
    pub fn attach(world: &World, subject: Subject) -> Result<Self> {
        let object = bpf::compile(world, "sink", SOURCE, &[])?;
        // macvlan and TAP have no usable native XDP: there the interface's own count is taken
        let native = subject != Subject::Macvlan;
        let how = if native { "xdpdrv" } else { "xdpgeneric" };
        bpf::attach(&format!("-n {B}"), DEV_B, how, &object)?;
        Ok(Self { native, crowd: Crowd::default() })
    }

    /// Attaches it also to the far ends of a crowd.
    pub fn attach_all(world: &World, subject: Subject, crowd: Crowd) -> Result<Self> {
        let sink = Self::attach(world, subject)?;
        crowd.attach(world, &world.directory.join("sink.o").display().to_string())?;
        Ok(Self { crowd, ..sink })
    }

    /// Frames that arrived so far.
    pub fn count(&self) -> Result<u64> {
        if self.crowd.ports > 0 {
            return all_received(B);
        }
        if !self.native {
            return interface(B, DEV_B, "rx", "packets");
        }
        let text = run(&within(B, &["ethtool", "-S", DEV_B]))?;
        let drops = text.lines().filter(|line| line.contains("xdp_drops"));
        Ok(drops.filter_map(|line| line.rsplit(':').next()?.trim().parse::<u64>().ok()).sum())
    }
}

/// What all interfaces of a namespace have received, by one request.
fn all_received(netns: &str) -> Result<u64> {
    let text = ip(&format!("-n {netns} -j -s link show"))?;
    let answer: Value = serde_json::from_str(&text).map_err(|error| Failure(format!("ip -j: {error}")))?;
    let links = answer.as_array().into_iter().flatten();
    Ok(links.filter_map(|link| link["stats64"]["rx"]["packets"].as_u64()).sum())
}

/// Frames station A tried to send so far.
pub fn offered() -> Result<u64> {
    Ok(interface(A, DEV_A, "tx", "packets")? + interface(A, DEV_A, "tx", "dropped")?)
}

fn interface(netns: &str, dev: &str, direction: &str, what: &str) -> Result<u64> {
    let text = ip(&format!("-n {netns} -j -s link show dev {dev}"))?;
    let answer: Value = serde_json::from_str(&text).map_err(|error| Failure(format!("ip -j: {error}")))?;
    let count = answer[0]["stats64"][direction][what].as_u64();
    count.ok_or_else(|| Failure(format!("ip -j says nothing of {direction} {what} of {dev}")))
}
