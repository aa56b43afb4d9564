//! A guest whose memory is arbitrary bytes, served for a few turns: what the fuzzer and the property tests call.

use super::ring::RingSpec;
use super::{Complaints, GuestMemory, Line, Order, RegionSpec, RingFault, Terms, Vhost, Way};
use crate::mem::{Burst, MempoolCache};
use crate::offload::{Features, vnet};
use crate::stats::PortCounters;
use crossbeam::channel::bounded;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::pwrite;
use std::sync::Arc;

/// Bytes of guest memory, where the guest sees it, and where its front end does.
pub const MEMORY: usize = 0x8000;
/// See [`MEMORY`].
pub const GUEST: u64 = 0x10_0000;
/// See [`MEMORY`].
pub const USER: u64 = 0x7000_0000;
/// Descriptors per ring.
pub const SIZE: u16 = 16;
/// Where the guest's transmit ring and its receive ring begin; their parts follow at 0x100 (avail) and 0x180 (used).
pub const RINGS: [usize; 2] = [0, 0x200];
/// Turns that are taken.
const TURNS: usize = 4;

/// What came of it.
#[derive(Debug, Default)]
pub struct Served {
    /// Frames the guest sent.
    pub received: Vec<Vec<u8>>,
    /// Why its rings were left.
    pub faults: Vec<RingFault>,
    /// Its memory afterwards.
    pub memory: Vec<u8>,
}

/// Serves a guest. The bits of `how` choose packed rings, merging, indirect descriptors, event indexes, the short header;
/// `bytes` are its memory from the start; each of `frames` is sent to it in each turn.
///
/// # Panics
/// When there is no memory for a guest.
pub fn exercise(mem: &mut MempoolCache, how: u8, bytes: &[u8], frames: &[&[u8]]) -> Served {
    let file = memfd_create(c"guest", MFdFlags::MFD_CLOEXEC).expect("a memfd");
    nix::unistd::ftruncate(&file, MEMORY as i64).expect("memory");
    pwrite(&file, &bytes[..bytes.len().min(MEMORY)], 0).expect("guest memory");
    let ours = file.try_clone().expect("a descriptor");
    let table = vec![RegionSpec { guest: GUEST, user: USER, len: MEMORY as u64, offset: 0, file }];
    let memory = Arc::new(GuestMemory::map(table).expect("a mapping"));
    let complaints = Arc::new(Complaints::new().expect("an eventfd"));
    let mut queue = Vhost::new(0, &complaints);
    for (way, at) in [Way::FromGuest, Way::ToGuest].into_iter().zip(RINGS) {
        let (reply, _answer) = bounded(1);
        if let Some(line) = line(&memory, how, at) {
            queue.obey(Order::Start(way, Box::new(line)), &reply);
        }
    }
    let mut served = Served::default();
    let stats = PortCounters::default();
    for _ in 0..TURNS {
        turn(&mut queue, mem, &stats, frames, &mut served);
    }
    queue.close(mem);
    served.faults = complaints.take_all().into_iter().map(|complaint| complaint.fault).collect();
    served.memory = vec![0; MEMORY];
    nix::sys::uio::pread(&ours, &mut served.memory, 0).expect("guest memory");
    served
}

fn line(memory: &Arc<GuestMemory>, how: u8, at: usize) -> Option<Line> {
    let user = USER + at as u64;
    let spec = RingSpec {
        memory: Arc::clone(memory),
        size: SIZE,
        desc: user,
        avail: user + 0x100,
        used: user + 0x180,
        base: 0x8000,
        packed: how & 1 != 0,
        indirect: how & 4 != 0,
        event_idx: how & 8 != 0,
    };
    let header = if how & 16 == 0 { vnet::LEN } else { vnet::LEN - 2 };
    Line::new(&spec, Terms { header, mergeable: how & 2 != 0, features: Features::default() }, true).ok()
}

fn turn(queue: &mut Vhost, mem: &mut MempoolCache, stats: &PortCounters, frames: &[&[u8]], served: &mut Served) {
    let mut burst = Burst::new();
    queue.rx_burst(&mut burst, mem, stats);
    for mbuf in burst.drain(..) {
        served.received.push(mem.pool().segments(&mbuf).flatten().copied().collect());
        mem.free(mbuf);
    }
    burst.extend(frames.iter().filter_map(|frame| mem.alloc_from(frame)).take(crate::mem::BURST_SIZE));
    queue.tx_burst(&mut burst, mem, stats);
    mem.free_burst(&mut burst);
    queue.flush();
    let _may_sleep = queue.prepare_sleep();
    queue.finish_sleep();
}
