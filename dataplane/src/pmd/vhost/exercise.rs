//! A guest whose memory is arbitrary bytes, served for a few turns: what the fuzzer and the property tests call.

use super::ring::{self, MAX_COST, RingSpec};
use super::{
    Direction, DirtyLog, GuestMemory, Log, RegionSpec, RingFault, RingFaultEvents, RingFeatures, Vhost, Vring,
    VringCommand,
};
use crate::mem::{Burst, MempoolCache};
use crate::offload::{Features, vnet};
use crate::stats::{DropReason, PortCounters, PortStats};
use crossbeam::channel::bounded;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::pwrite;
use std::os::fd::OwnedFd;
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
const PARTS: [usize; 4] = [0, 0x100, 0x180, 0x200];

/// A guest's memory and where its rings are in it: transmit ring, then receive ring, of each descriptors, avail, used.
#[derive(Debug)]
pub struct Layout {
    /// Bytes.
    pub memory: usize,
    /// Descriptors per ring.
    pub size: u16,
    /// See the type.
    pub rings: [[usize; 3]; 2],
}

/// Short rings, which a fuzzer's bytes fill.
pub const SMALL: Layout = Layout { memory: MEMORY, size: SIZE, rings: [[0, 0x100, 0x180], [0x200, 0x300, 0x380]] };
/// Rings as long as can be; behind them 3 MiB for buffers.
pub const LARGE: Layout = Layout {
    memory: 6 << 20,
    size: ring::MAX_SIZE,
    rings: [[0x10_0000, 0x18_0000, 0x1a_0000], [0x20_0000, 0x28_0000, 0x2a_0000]],
};
/// Where the buffers of [`LARGE`] begin.
pub const BUFFERS: usize = 0x30_0000;

/// The features of a guest.
pub mod how {
    /// Packed rings.
    pub const PACKED: u8 = 1;
    /// Frames are spread over chains.
    pub const MERGE: u8 = 2;
    /// Indirect descriptors.
    pub const INDIRECT: u8 = 4;
    /// Event indexes.
    pub const EVENT_IDX: u8 = 8;
    /// The header of 10 bytes.
    pub const SHORT: u8 = 16;
    /// [`LARGE`](super::LARGE) rings.
    pub const LONG_RINGS: u8 = 32;
    /// What is written is logged.
    pub const LOGGED: u8 = 64;
}

/// Bytes of a dirty log for all of the first 4 GiB.
const LOG: usize = 4 << 30 >> 12 >> 3;
/// Turns that are taken.
const TURNS: usize = 4;

/// What came of it.
#[derive(Debug, Default)]
pub struct Served {
    /// Frames the guest sent.
    pub received: Vec<Vec<u8>>,
    /// Why its rings were left.
    pub faults: Vec<RingFault>,
    /// Frames dropped, by reason.
    pub drops: Vec<(DropReason, u64)>,
    /// What each burst cost, in descriptors.
    pub costs: Vec<u32>,
    /// Its memory afterwards.
    pub memory: Vec<u8>,
    /// Pages that the dirty log says were written.
    pub marked: Vec<usize>,
}

impl Served {
    /// A burst is over; none costs more than [`MAX_COST`].
    fn note(&mut self, cost: Option<u32>) {
        assert!(cost.is_none_or(|cost| cost <= MAX_COST), "a burst of {cost:?} descriptors");
        self.costs.extend(cost);
    }
}

/// Serves a guest. The bits of `how` are [features](how); `bytes` are its memory from the start, as [`SMALL`] has it: what
/// is in its rings is put into long ones if they are wanted. Each of `frames` is sent to it in each turn.
///
/// # Panics
/// When there is no memory for a guest, or a burst cost more than it may.
pub fn exercise(mem: &mut MempoolCache, how: u8, bytes: &[u8], frames: &[&[u8]]) -> Served {
    let bytes = &bytes[..bytes.len().min(MEMORY)];
    if how & how::LONG_RINGS == 0 {
        return serve(mem, how, (&SMALL, &[(0, bytes)]), frames);
    }
    let part = |ring: usize, part: usize| {
        let [from, to] = [part, part + 1].map(|part| (RINGS[ring] + PARTS[part]).min(bytes.len()));
        (LARGE.rings[ring][part], &bytes[from..to])
    };
    let parts = (0..2).flat_map(|ring| (0..3).map(move |at| (ring, at))).map(|(ring, at)| part(ring, at));
    serve(mem, how, (&LARGE, &[(0, bytes)].into_iter().chain(parts).collect::<Vec<_>>()), frames)
}

/// Serves a guest whose memory has these `pieces` at these places.
///
/// # Panics
/// As [`exercise`].
pub fn serve(
    mem: &mut MempoolCache,
    how: u8,
    (layout, pieces): (&Layout, &[(usize, &[u8])]),
    frames: &[&[u8]],
) -> Served {
    let file = memfd_create(c"guest", MFdFlags::MFD_CLOEXEC).expect("a memfd");
    let len = |at: usize| i64::try_from(at).expect("a small memory");
    nix::unistd::ftruncate(&file, len(layout.memory)).expect("memory");
    for (at, bytes) in pieces {
        pwrite(&file, bytes, len(*at)).expect("guest memory");
    }
    let ours = file.try_clone().expect("a descriptor");
    let table = vec![RegionSpec { guest: GUEST, user: USER, len: layout.memory as u64, offset: 0, file }];
    let memory = Arc::new(GuestMemory::map(table).expect("a mapping"));
    let log = memfd_create(c"log", MFdFlags::MFD_CLOEXEC).expect("a memfd");
    nix::unistd::ftruncate(&log, len(LOG)).expect("a log");
    let dirty = DirtyLog::map(log.try_clone().expect("a descriptor"), LOG as u64, 0).map(Arc::new).expect("a log");
    let fault_events = Arc::new(RingFaultEvents::new().expect("an eventfd"));
    let mut queue = Vhost::new(0, 1, &fault_events);
    for (direction, at) in [Direction::FromGuest, Direction::ToGuest].into_iter().zip(layout.rings) {
        let (reply, _answer) = bounded(1);
        if let Some(vring) = vring(&memory, how, layout.size, at) {
            let log = || Box::new(Log::new(&dirty, written_in(how, layout.size, at)));
            let vring = vring.with_log((how & how::LOGGED != 0).then(log));
            queue.apply(VringCommand::Start(direction, Box::new(vring)), &reply);
        }
    }
    let mut served = Served::default();
    let stats = PortCounters::default();
    for _ in 0..TURNS {
        turn(&mut queue, mem, &stats, frames, &mut served);
    }
    queue.close(mem);
    served.faults = fault_events.take_all().into_iter().map(|event| event.fault).collect();
    let mut sums = PortStats::default();
    sums.add(&stats);
    served.drops = sums.dropped().filter(|(_, n)| *n > 0).collect();
    served.memory = read(&ours, layout.memory);
    let pages = read(&log, LOG);
    served.marked = (0..8 * LOG).filter(|page| pages[page / 8] >> (page % 8) & 1 == 1).collect();
    served
}

fn read(file: &OwnedFd, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    nix::sys::uio::pread(file, &mut bytes, 0).expect("memory");
    bytes
}

/// What the device writes in a ring of the guest's.
fn written_in(how: u8, size: u16, [desc, _, used]: [usize; 3]) -> Vec<(u64, u64)> {
    let at = |at: usize| GUEST + at as u64;
    let size = u64::from(size);
    if how & how::PACKED != 0 { vec![(at(desc), 16 * size), (at(used), 4)] } else { vec![(at(used), 6 + 8 * size)] }
}

fn vring(memory: &Arc<GuestMemory>, how: u8, size: u16, at: [usize; 3]) -> Option<Vring> {
    let [desc, avail, used] = at.map(|at| USER + at as u64);
    let has = |bit: u8| how & bit != 0;
    let spec = RingSpec {
        memory: Arc::clone(memory),
        size,
        desc,
        avail,
        used,
        base: 0x8000,
        packed: has(how::PACKED),
        indirect: has(how::INDIRECT),
        event_idx: has(how::EVENT_IDX),
    };
    let header = if has(how::SHORT) { vnet::LEN - 2 } else { vnet::LEN };
    Vring::new(&spec, RingFeatures { header, mergeable: has(how::MERGE), offload: Features::default() }, true).ok()
}

fn turn(queue: &mut Vhost, mem: &mut MempoolCache, stats: &PortCounters, frames: &[&[u8]], served: &mut Served) {
    let mut burst = Burst::new();
    queue.rx_burst(&mut burst, mem, stats);
    served.note(queue.cost(Direction::FromGuest));
    for mbuf in burst.drain(..) {
        served.received.push(mem.pool().segments(&mbuf).flatten().copied().collect());
        mem.free(mbuf);
    }
    burst.extend(frames.iter().filter_map(|frame| mem.alloc_from(frame)).take(crate::mem::BURST_SIZE));
    queue.tx_burst(&mut burst, mem, stats);
    served.note(queue.cost(Direction::ToGuest));
    mem.free_burst(&mut burst);
    queue.flush();
    let _may_sleep = queue.prepare_sleep();
    queue.finish_sleep();
}
