//! The guest: a driver with two ports that sends what it receives on one out of the other, in buffers of its own pool.

use super::frame::{HEADER, Shape};
use dataplane::pmd::vhost::{Direction, GuestMemory, RegionSpec, RingSpec};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};
use vm_memory::mmap::MmapRegion;
use vm_memory::{AtomicAccess, Bytes, FileOffset, VolatileMemory, VolatileSlice};

/// Descriptors per ring.
const SIZE: u16 = 1024;
/// Where the rings begin, and what each takes: descriptors, avail, used.
const RING: usize = 0x8000;
const AVAIL: usize = 0x4000;
const USED: usize = 0x5000;
/// Where the buffers begin.
const BUFFERS: usize = 4 * RING;
/// Where front end and guest see the memory.
const BASE: u64 = 0x1_0000_0000;
/// In a buffer: the header, then the frame at a cache line.
const HEADROOM: u64 = 128;
/// Descriptor flag.
const WRITE: u64 = 2;

/// One ring, from the driver's side.
#[derive(Clone, Copy)]
struct Ring {
    at: usize,
    avail: u16,
    used: u16,
}

/// See the module.
pub struct Guest {
    shape: Shape,
    region: MmapRegion,
    memory: Arc<GuestMemory>,
    rings: [[Ring; 2]; 2],
    /// Free buffers, the latest on top.
    free: Vec<u64>,
    /// Buffer of each descriptor, by ring.
    held: [[Vec<u64>; 2]; 2],
}

fn put<T: AtomicAccess>(slice: &VolatileSlice<'_>, at: usize, value: T, order: Ordering) {
    slice.store(value, at, order).unwrap();
}

impl Guest {
    /// With all its frames made available.
    pub fn new(shape: Shape) -> Self {
        let count = 2 * (usize::from(shape.posted) + usize::from(SIZE).min(4 * usize::from(shape.in_flight)));
        let len = (BUFFERS + count * shape.stride()).next_multiple_of(4096);
        let file = File::from(memfd_create(c"guest", MFdFlags::MFD_CLOEXEC).unwrap());
        file.set_len(len as u64).unwrap();
        let region = MmapRegion::from_file(FileOffset::new(file.try_clone().unwrap(), 0), len).unwrap();
        let spec = RegionSpec { guest: BASE, user: BASE, len: len as u64, offset: 0, file: file.into() };
        let memory = Arc::new(GuestMemory::map(vec![spec]).unwrap());
        let ring = |n: usize| Ring { at: n * RING, avail: 0, used: 0 };
        let free = (0..count).map(|i| (BUFFERS + i * shape.stride()) as u64).collect();
        let held = [(); 2].map(|()| [(); 2].map(|()| vec![0; SIZE.into()]));
        let mut guest = Self { shape, region, memory, rings: [[ring(0), ring(1)], [ring(2), ring(3)]], free, held };
        for port in 0..2 {
            for id in 0..shape.posted {
                guest.post(port, id);
            }
            guest.publish(port, 0);
            for id in 0..shape.in_flight {
                let buffer = guest.free.pop().unwrap();
                guest.address(port, buffer);
                guest.send(port, id, buffer);
            }
            guest.publish(port, 1);
        }
        guest
    }

    /// A ring as control would hand it over.
    pub fn spec(&self, port: usize, direction: Direction) -> RingSpec {
        let at = BASE + (RING * (2 * port + direction.index())) as u64;
        RingSpec {
            memory: Arc::clone(&self.memory),
            size: SIZE,
            desc: at,
            avail: at + AVAIL as u64,
            used: at + USED as u64,
            base: 0,
            packed: false,
            event_idx: false,
            indirect: false,
        }
    }

    fn slice(&self) -> VolatileSlice<'_> {
        self.region.as_volatile_slice()
    }

    /// Addresses of a frame that goes from `port` to the other.
    fn address(&self, port: usize, buffer: u64) {
        let at = usize::try_from(buffer + HEADROOM).unwrap();
        self.slice().write_slice(&self.shape.start(u8::try_from(port).unwrap()), at).unwrap();
    }

    fn describe(&mut self, port: usize, ring: usize, id: u16, buffer: u64, rest: u64) {
        let at = self.rings[port][ring].at + 16 * usize::from(id);
        let slice = self.slice();
        put(&slice, at, BASE + buffer + HEADROOM - HEADER as u64, Relaxed);
        put(&slice, at + 8, rest, Relaxed);
        let Ring { at, avail, .. } = self.rings[port][ring];
        put(&slice, at + AVAIL + 4 + 2 * usize::from(avail % SIZE), id, Relaxed);
        self.rings[port][ring].avail = avail.wrapping_add(1);
        self.held[port][ring][usize::from(id)] = buffer;
    }

    /// A free buffer for a frame to come.
    fn post(&mut self, port: usize, id: u16) {
        let buffer = self.free.pop().unwrap();
        let room = (self.shape.stride() - 128) as u64;
        self.describe(port, 0, id, buffer, room | WRITE << 32);
    }

    fn send(&mut self, port: usize, id: u16, buffer: u64) {
        let at = usize::try_from(buffer + HEADROOM).unwrap() - HEADER;
        let (low, high) = self.shape.header();
        put(&self.slice(), at, low, Relaxed);
        put(&self.slice(), at + 4, high, Relaxed);
        self.describe(port, 1, id, buffer, (HEADER + self.shape.len) as u64);
    }

    fn publish(&self, port: usize, ring: usize) {
        let Ring { at, avail, .. } = self.rings[port][ring];
        put(&self.slice(), at + AVAIL + 2, avail, Release);
    }

    /// The used index of a ring.
    fn used(&self, port: usize, ring: usize) -> u16 {
        self.slice().load(self.rings[port][ring].at + USED + 2, Acquire).unwrap()
    }

    /// The next used descriptor; there must be one.
    fn take(&mut self, port: usize, ring: usize) -> u16 {
        let Ring { at, used, .. } = self.rings[port][ring];
        let id: u32 = self.slice().load(at + USED + 4 + 8 * usize::from(used % SIZE), Relaxed).unwrap();
        self.rings[port][ring].used = used.wrapping_add(1);
        u16::try_from(id).unwrap()
    }

    /// Passes on what came, at most 32 frames a port.
    pub fn turn(&mut self) {
        for port in 0..2 {
            let n = self.used(port, 0).wrapping_sub(self.rings[port][0].used).min(32);
            if n == 0 {
                continue;
            }
            let other = 1 - port;
            // first take back the buffers that the other port has sent
            while self.rings[other][1].used != self.used(other, 1) {
                let id = self.take(other, 1);
                let buffer = self.held[other][1][usize::from(id)];
                self.free.push(buffer);
            }
            for _ in 0..n {
                let id = self.take(port, 0);
                let buffer = self.held[port][0][usize::from(id)];
                self.post(port, id);
                // in order, as many in flight as there were: the descriptor is free
                let next = self.rings[other][1].avail % SIZE;
                self.send(other, next, buffer);
            }
            self.publish(port, 0);
            self.publish(other, 1);
        }
    }
}
