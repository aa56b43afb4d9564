//! How many frames a switch needs.
//!
//! Frames rest in the rings of the kernel even when nothing flows: an AF_XDP queue holds a full fill ring and may hold
//! a full TX ring, a TAP queue the buffers of its reads, a ring port a full cable. Everybody's part is bounded, and the
//! arena has room for all of them together: so no port, whatever it sends or does not take, leaves the others without
//! frames to receive into. The sum is checked before anything is made.

use super::{Check, Driver, Plan, PortPlan, XdpDevice};
use crate::config::{Config, Hugepages};
use crate::kernel::machine::Machine;
use crate::net::Netns;
use dataplane::engine::chunks_of_workers;
use dataplane::mem::mempool::CACHE_SIZE;
use dataplane::pmd::af_xdp::{MAX_DEPTH, MIN_DEPTH};
use dataplane::pmd::ring;

/// Frames of an arena unless the file says otherwise (and the ports need no more).
pub const DEFAULT_FRAMES: u32 = 16384;
/// Addresses of the forwarding table unless the file says otherwise.
pub const DEFAULT_FDB_ENTRIES: u32 = 65536;

/// An arena beyond this (32 GiB) is a typo.
const MOST_FRAMES: u64 = 1 << 24;
const MOST_FDB_ENTRIES: u64 = 1 << 24;
/// Bytes of a frame's chunk.
const CHUNK: u64 = 2048;
const HUGE_PAGE: u64 = 2 << 20;

/// Frames that AF_XDP queues may have together before each gets fewer. The kernel keeps 128 bytes for every chunk of the
/// arena and queue, and pins the arena for each: with a fixed number per queue both grow by the square of the ports.
const XDP_FRAMES: u64 = 1 << 17;
/// Frames per TAP queue: read buffers, and one GSO frame of 64 KiB being written.
const PER_TAP_QUEUE: u64 = 64;
/// Frames per ring port: a full cable in the direction of its peer.
const PER_RING: u64 = ring::CAPACITY as u64;
/// Frames in the caches of the control thread and of threads that open ports.
const CONTROL: u64 = CACHE_SIZE as u64;

/// Who needs how many frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// AF_XDP queues.
    pub xdp_queues: u64,
    /// TAP queues.
    pub tap_queues: u64,
    /// Ring ports.
    pub rings: u64,
    /// Workers.
    pub workers: u64,
    /// Frames in the fill ring of each AF_XDP queue, and entries of its TX ring.
    pub depth: u32,
}

impl Demand {
    /// What `ports` need on `workers` of `machine`.
    #[must_use]
    pub fn of<'a>(ports: impl IntoIterator<Item = &'a PortPlan>, workers: usize, machine: &Machine) -> Self {
        let mut demand = Self { workers: workers as u64, ..Self::default() };
        for port in ports {
            match &port.shape {
                Driver::AfXdp(device) => demand.xdp_queues += queues(device, machine),
                Driver::Veth(netdev) => demand.xdp_queues += u64::from(netdev.queues),
                Driver::Tap(netdev) => demand.tap_queues += u64::from(netdev.queues),
                Driver::Ring { .. } => demand.rings += 1,
                // a null port frees what it gets, a guest gets a copy
                Driver::Null | Driver::VhostUser(_) => {}
            }
        }
        Self { depth: depth(demand.xdp_queues), ..demand }
    }

    /// Frames per AF_XDP queue: those in its fill ring, and a full TX ring.
    fn per_xdp_queue(&self) -> u64 {
        2 * u64::from(self.depth)
    }

    /// The sum.
    #[must_use]
    pub fn frames(&self) -> u64 {
        let ports = self.xdp_queues * self.per_xdp_queue() + self.tap_queues * PER_TAP_QUEUE + self.rings * PER_RING;
        ports + self.held_by_workers() + CONTROL
    }

    fn held_by_workers(&self) -> u64 {
        chunks_of_workers(usize::try_from(self.workers).unwrap_or(usize::MAX)) as u64
    }

    /// The sum, taken apart for a message.
    fn explain(&self) -> String {
        format!(
            "{} AF_XDP queues × {} + {} TAP queues × {PER_TAP_QUEUE} + {} ring ports × {PER_RING} + {} for the workers + {CONTROL}",
            self.xdp_queues,
            self.per_xdp_queue(),
            self.tap_queues,
            self.rings,
            self.held_by_workers()
        )
    }
}

/// Queues of an existing device. Of one in another namespace it is known only once it is opened that it has one at least.
fn queues(device: &XdpDevice, machine: &Machine) -> u64 {
    let here = device.place == Netns::Host;
    machine.queues.get(&device.dev).filter(|_| here).map_or(1, |queues| (*queues).max(1))
}

/// Depth of each of so many AF_XDP queues.
fn depth(queues: u64) -> u32 {
    let share = u32::try_from(XDP_FRAMES / 2 / queues.max(1)).unwrap_or(MAX_DEPTH).clamp(MIN_DEPTH, MAX_DEPTH);
    1 << share.ilog2()
}

/// Frames of the arena, as asked if that is enough, else as needed; and the depth of AF_XDP queues.
pub(super) fn frames(config: &Config, plan: &Plan, machine: &Machine, check: &mut Check<'_>) -> (u32, u32) {
    let demand = Demand::of(&plan.ports, plan.workers.len(), machine);
    let need = demand.frames();
    let asked = config.memory.frames.map(|size| size.0);
    if let Some(frames) = asked.filter(|frames| *frames < need) {
        let remedy = format!("write {need} or more, or leave it out ({})", demand.explain());
        check.bad("memory.frames", format!("{frames} frames are too few for these ports: {need} are needed"), remedy);
    }
    let frames = asked.unwrap_or_else(|| need.next_multiple_of(1024).max(u64::from(DEFAULT_FRAMES)));
    if frames > MOST_FRAMES {
        check.bad(
            "memory.frames",
            format!("{frames} frames are too many"),
            format!("at most {MOST_FRAMES} are possible"),
        );
    }
    huge_pages(config, frames, machine, check);
    fits(frames, machine, check);
    locked(&demand, frames, machine, check);
    (u32::try_from(frames).unwrap_or(u32::MAX), demand.depth)
}

fn huge_pages(config: &Config, frames: u64, machine: &Machine, check: &mut Check<'_>) {
    let pages = (frames.saturating_mul(CHUNK)).div_ceil(HUGE_PAGE);
    if config.memory.hugepages == Hugepages::Required && machine.free_hugepages < pages {
        let what = format!("{pages} huge pages of 2 MiB are needed, {} are free", machine.free_hugepages);
        check.bad(
            "memory.hugepages",
            what,
            format!("`sysctl vm.nr_hugepages={pages}` or more, or write `hugepages: auto`"),
        );
    }
    let group = machine.group_hugepages.filter(|group| *group < pages);
    if let (Hugepages::Required, Some(group)) = (config.memory.hugepages, group) {
        let what = format!("{pages} huge pages of 2 MiB are needed, the control group may take {group}");
        check.bad("memory.hugepages", what, "raise the group's hugetlb.2MB.max, or write `hugepages: auto`");
    }
}

/// AF_XDP pins the arena once for every socket (xdp_umem_pin_pages), and each counts against the limit.
fn locked(demand: &Demand, frames: u64, machine: &Machine, check: &mut Check<'_>) {
    let need = frames.saturating_mul(CHUNK).saturating_mul(demand.xdp_queues);
    if let Some(limit) = machine.locked_memory.filter(|limit| need > *limit) {
        let what = format!(
            "{} AF_XDP queues lock {} MiB of memory, this process may lock {} KiB",
            demand.xdp_queues,
            need >> 20,
            limit >> 10
        );
        check.warn("ports", what, "raise RLIMIT_MEMLOCK (`ulimit -l unlimited`), or grant CAP_IPC_LOCK");
    }
}

/// All of the arena is populated at the start: more than there is would call the OOM killer, not return an error.
fn fits(frames: u64, machine: &Machine, check: &mut Check<'_>) {
    let bytes = frames.saturating_mul(CHUNK);
    let reserved = machine.free_hugepages.saturating_mul(HUGE_PAGE);
    if bytes > machine.memory && bytes > reserved {
        let what =
            format!("{frames} frames take {} MiB, {} MiB of memory are available", bytes >> 20, machine.memory >> 20);
        check.bad("memory.frames", what, "write fewer");
    }
    if let Some(group) = machine.group_memory.filter(|group| bytes > *group && bytes > reserved) {
        let what =
            format!("{frames} frames take {} MiB, the control group may take {} MiB more", bytes >> 20, group >> 20);
        check.bad("memory.frames", what, "write fewer, or raise the group's memory.max");
    }
}

/// Whether the arena of a running plan has room for one more port.
pub(super) fn one_more(plan: &Plan, port: Option<&PortPlan>, machine: &Machine, check: &mut Check<'_>) {
    let demand = Demand::of(plan.ports.iter().chain(port), plan.workers.len(), machine);
    // that of the queues that are open
    let demand = Demand { depth: plan.xdp_depth, ..demand };
    if demand.frames() > u64::from(plan.frames) {
        let what = format!(
            "the arena of {} frames is too small for one more port: {} would be needed",
            plan.frames,
            demand.frames()
        );
        check.bad("memory.frames", what, "raise memory.frames in the file and restart, or remove a port");
    }
}

/// Size of the forwarding table.
pub(super) fn fdb_entries(config: &Config, check: &mut Check<'_>) -> u32 {
    let asked = config.memory.fdb_entries.map_or(u64::from(DEFAULT_FDB_ENTRIES), |size| size.0);
    if asked == 0 || asked > MOST_FDB_ENTRIES {
        check.bad(
            "memory.fdb_entries",
            format!("{asked} entries are out of range"),
            format!("write 1 to {MOST_FDB_ENTRIES}"),
        );
    }
    u32::try_from(asked).unwrap_or(u32::MAX)
}
