//! Ways to send.

use crate::rig::{Frame, HEADER, Memory, Station, World, frame_for_nobody};
use crate::uring::{self, DEPTH};
use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::Fixed;
use std::os::fd::RawFd;

/// One way, with its TAP.
pub struct Way {
    pub name: &'static str,
    _station: Station,
    give: Box<dyn FnMut(usize)>,
}

impl Way {
    /// Sends `n` frames.
    pub fn send(&mut self, n: usize) {
        (self.give)(n);
    }
}

pub fn ways(world: &World, frame: Frame) -> Vec<Way> {
    type Make = fn(RawFd, Frame) -> Box<dyn FnMut(usize)>;
    let makes: [(&'static str, Make); 5] = [
        ("write, one buffer", |fd, frame| Box::new(write(fd, frame))),
        ("writev, pieces of 2 KiB", |fd, frame| Box::new(writev(fd, frame))),
        ("io_uring WRITE × 32", |fd, frame| Box::new(batch(fd, frame, false))),
        ("io_uring WRITE_FIXED × 32", |fd, frame| Box::new(batch(fd, frame, true))),
        ("io_uring WRITEV × 32, pieces of 2 KiB", |fd, frame| Box::new(batch_vectored(fd, frame))),
    ];
    let way = |(name, make): (&'static str, Make)| {
        let station = world.station();
        let give = make(station.fd(), frame);
        Way { name, _station: station, give }
    };
    makes.into_iter().map(way).collect()
}

fn write(fd: RawFd, frame: Frame) -> impl FnMut(usize) {
    let (memory, len) = (Memory::new(), HEADER + frame.len());
    (0..DEPTH).for_each(|i| memory.fill(i, &frame_for_nobody(frame)));
    move |n| {
        for i in 0..n {
            // SAFETY: a slot that is ours, and longer than the frame.
            let put = unsafe { libc::write(fd, memory.slot(i % DEPTH).cast(), len) };
            assert_eq!(usize::try_from(put), Ok(len));
        }
    }
}

fn writev(fd: RawFd, frame: Frame) -> impl FnMut(usize) {
    let (memory, pieces) = scattered(frame);
    move |n| {
        let _alive = &memory;
        for i in 0..n {
            let pieces = &pieces[i % DEPTH];
            let count = libc::c_int::try_from(pieces.len()).expect("34 at most");
            // SAFETY: pieces of a slot that is ours.
            let put = unsafe { libc::writev(fd, pieces.as_ptr(), count) };
            assert!(put > 0, "refused");
        }
    }
}

fn scattered(frame: Frame) -> (Memory, Vec<Vec<libc::iovec>>) {
    let (memory, bytes) = (Memory::new(), frame_for_nobody(frame));
    let piece = |i| {
        memory.fill_scattered(i, &bytes);
        memory.scattered(i, bytes.len())
    };
    let pieces = (0..DEPTH).map(piece).collect();
    (memory, pieces)
}

fn batch(fd: RawFd, frame: Frame, registered: bool) -> impl FnMut(usize) {
    let (memory, len) = (Memory::new(), (HEADER + frame.len()) as u32);
    (0..DEPTH).for_each(|i| memory.fill(i, &frame_for_nobody(frame)));
    let mut ring = uring::ring(&[fd], DEPTH as u32);
    // SAFETY: the memory lives as long as the ring.
    unsafe { ring.submitter().register_buffers(&[memory.all()]).expect("registered memory") };
    let entry = |i: usize| {
        if registered {
            opcode::WriteFixed::new(Fixed(0), memory.slot(i), len, 0).build()
        } else {
            opcode::Write::new(Fixed(0), memory.slot(i), len).build()
        }
    };
    let entries: Vec<Entry> = (0..DEPTH).map(entry).collect();
    move |n| {
        let _alive = &memory;
        for _ in 0..n / DEPTH {
            uring::submit(&mut ring, &entries, |done| assert!(done.result() > 0, "refused: {}", done.result()));
        }
    }
}

fn batch_vectored(fd: RawFd, frame: Frame) -> impl FnMut(usize) {
    let (memory, pieces) = scattered(frame);
    let mut ring = uring::ring(&[fd], DEPTH as u32);
    let entry = |p: &Vec<libc::iovec>| opcode::Writev::new(Fixed(0), p.as_ptr(), p.len() as u32).build();
    let entries: Vec<Entry> = pieces.iter().map(entry).collect();
    move |n| {
        let _alive = (&memory, &pieces);
        for _ in 0..n / DEPTH {
            uring::submit(&mut ring, &entries, |done| assert!(done.result() > 0, "refused: {}", done.result()));
        }
    }
}
