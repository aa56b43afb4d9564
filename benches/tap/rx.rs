//! Ways to receive.

use crate::rig::{Memory, SLOT, SLOTS, Station, World};
use crate::uring::{self, DEPTH};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{BufRingEntry, Fixed};
use io_uring::{IoUring, cqueue, opcode};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU16, Ordering};

/// One way, with its TAP.
pub struct Way {
    pub name: &'static str,
    pub station: Station,
    take: Box<dyn FnMut(usize)>,
}

impl Way {
    /// Takes `n` frames, which are there.
    pub fn drain(&mut self, n: usize) {
        (self.take)(n);
    }
}

pub fn ways(world: &World) -> Vec<Way> {
    type Make = fn(RawFd) -> Box<dyn FnMut(usize)>;
    let makes: [(&'static str, Make); 6] = [
        ("read, one buffer", |fd| Box::new(read(fd))),
        ("readv, 34 pieces", |fd| Box::new(readv(fd))),
        ("io_uring READ × 32, NOWAIT", |fd| Box::new(batch(fd, false))),
        ("io_uring READ_FIXED × 32, NOWAIT", |fd| Box::new(batch(fd, true))),
        ("io_uring READV × 32 of 34 pieces, NOWAIT", |fd| Box::new(batch_vectored(fd))),
        ("io_uring multishot READ, provided buffers", |fd| Box::new(multishot(fd))),
    ];
    makes.into_iter().map(|(name, make)| way(world, name, make)).collect()
}

fn way(world: &World, name: &'static str, make: fn(RawFd) -> Box<dyn FnMut(usize)>) -> Way {
    let station = world.station();
    let take = make(station.fd());
    Way { name, station, take }
}

fn read(fd: RawFd) -> impl FnMut(usize) {
    let memory = Memory::new();
    move |n| {
        for _ in 0..n {
            // SAFETY: a slot of SLOT bytes that is ours.
            let got = unsafe { libc::read(fd, memory.slot(0).cast(), SLOT) };
            assert!(got > 0, "no frame");
        }
    }
}

fn readv(fd: RawFd) -> impl FnMut(usize) {
    let memory = Memory::new();
    let pieces = memory.scattered(0, SLOT);
    let count = libc::c_int::try_from(pieces.len()).expect("34");
    move |n| {
        for _ in 0..n {
            // SAFETY: pieces of a slot that is ours.
            let got = unsafe { libc::readv(fd, pieces.as_ptr(), count) };
            assert!(got > 0, "no frame in {memory:p}", memory = &raw const memory);
        }
    }
}

fn batch(fd: RawFd, registered: bool) -> impl FnMut(usize) {
    let memory = Memory::new();
    let mut ring = uring::ring(&[fd], DEPTH as u32);
    // SAFETY: the memory lives as long as the ring.
    unsafe { ring.submitter().register_buffers(&[memory.all()]).expect("registered memory") };
    let entry = |i: usize| {
        let (fd, len) = (Fixed(0), SLOT as u32);
        if registered {
            opcode::ReadFixed::new(fd, memory.slot(i), len, 0).rw_flags(libc::RWF_NOWAIT).build()
        } else {
            opcode::Read::new(fd, memory.slot(i), len).rw_flags(libc::RWF_NOWAIT).build()
        }
    };
    let entries: Vec<Entry> = (0..DEPTH).map(entry).collect();
    move |n| {
        let _alive = &memory;
        in_batches(&mut ring, &entries, n);
    }
}

fn batch_vectored(fd: RawFd) -> impl FnMut(usize) {
    let memory = Memory::new();
    let mut ring = uring::ring(&[fd], DEPTH as u32);
    let pieces: Vec<_> = (0..DEPTH).map(|i| memory.scattered(i, SLOT)).collect();
    let entry = |p: &Vec<libc::iovec>| {
        opcode::Readv::new(Fixed(0), p.as_ptr(), p.len() as u32).rw_flags(libc::RWF_NOWAIT).build()
    };
    let entries: Vec<Entry> = pieces.iter().map(entry).collect();
    move |n| {
        let _alive = (&memory, &pieces);
        in_batches(&mut ring, &entries, n);
    }
}

fn in_batches(ring: &mut IoUring, entries: &[Entry], n: usize) {
    for _ in 0..n / DEPTH {
        uring::submit(ring, entries, |done| assert!(done.result() > 0, "no frame: {}", done.result()));
    }
}

/// A ring of buffers that the kernel takes from by itself.
struct Provided {
    memory: Memory,
    ring: Memory,
    tail: u16,
}

impl Provided {
    fn entry(&self, i: u16) -> *mut BufRingEntry {
        self.ring.slot(0).cast::<BufRingEntry>().wrapping_add(usize::from(i) % SLOTS)
    }

    /// Offers slot `bid` again; seen by the kernel after `publish`.
    fn offer(&mut self, bid: u16) {
        // SAFETY: entry `tail` is ours until the tail moves.
        let entry = unsafe { &mut *self.entry(self.tail) };
        entry.set_addr(self.memory.slot(bid.into()).addr() as u64);
        entry.set_len(SLOT as u32);
        entry.set_bid(bid);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: the tail lies in the first entry of the ring, which is page-aligned and lives as long as this.
        let tail = unsafe { &*BufRingEntry::tail(self.entry(0)).cast::<AtomicU16>() };
        // Release: pairs with the kernel's read of the tail; the entries come before.
        tail.store(self.tail, Ordering::Release);
    }
}

fn multishot(fd: RawFd) -> impl FnMut(usize) {
    let mut ring = uring::ring(&[fd], 256);
    let mut buffers = Provided { memory: Memory::new(), ring: Memory::new(), tail: 0 };
    // SAFETY: the ring of buffers is page-aligned and lives as long as the io_uring.
    unsafe { ring.submitter().register_buf_ring_with_flags(buffers.entry(0).addr() as u64, SLOTS as u16, 0, 0) }
        .expect("a ring of buffers");
    (0..SLOTS as u16).for_each(|bid| buffers.offer(bid));
    buffers.publish();
    let mut armed = false;
    move |n| {
        let mut left = n;
        while left > 0 {
            if !armed {
                arm(&mut ring);
                armed = true;
            }
            ring.submit_and_wait(1).expect("io_uring_enter");
            for done in ring.completion() {
                armed &= cqueue::more(done.flags());
                if let Some(bid) = cqueue::buffer_select(done.flags()) {
                    buffers.offer(bid);
                    left -= 1;
                }
            }
            buffers.publish();
        }
    }
}

fn arm(ring: &mut IoUring) {
    // FIXED_FILE is lost in `ReadMulti::build`, which sets the flags anew (io-uring 0.7.15).
    let entry = opcode::ReadMulti::new(Fixed(0), 0, 0).build().flags(Flags::FIXED_FILE);
    // SAFETY: the buffers are provided, and live as long as the ring.
    unsafe { ring.submission().push(&entry).expect("room in the ring") };
}
