//! Ways to find out that nothing waits in any of several TAPs.

use crate::rig::{Memory, SLOT, Station};
use crate::uring;
use io_uring::types::Fixed;
use io_uring::{IoUring, opcode};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::{BorrowedFd, RawFd};

/// One way.
pub struct Way {
    pub name: &'static str,
    look: Box<dyn FnMut()>,
}

impl Way {
    /// One look at all TAPs.
    pub fn look(&mut self) {
        (self.look)();
    }
}

/// They may share the TAPs, since no frame comes.
pub fn ways(stations: &[Station]) -> Vec<Way> {
    type Make = fn(Vec<RawFd>) -> Box<dyn FnMut()>;
    let makes: [(&'static str, Make); 5] = [
        ("read each", |fds| Box::new(read(fds))),
        ("poll(2), no wait", |fds| Box::new(poll_all(fds))),
        ("epoll_wait, no wait", |fds| Box::new(epoll(&fds))),
        ("io_uring POLL_ADD armed, a ring each", |fds| Box::new(rings(fds))),
        ("io_uring POLL_ADD armed, one ring", |fds| Box::new(one_ring(&fds))),
    ];
    let fds: Vec<RawFd> = stations.iter().map(Station::fd).collect();
    let way = |(name, make): (&'static str, Make)| Way { name, look: make(fds.clone()) };
    makes.into_iter().map(way).collect()
}

fn read(fds: Vec<RawFd>) -> impl FnMut() + use<> {
    let memory = Memory::new();
    move || {
        for fd in &fds {
            // SAFETY: a slot of SLOT bytes that is ours.
            assert_eq!(unsafe { libc::read(*fd, memory.slot(0).cast(), SLOT) }, -1, "a frame");
        }
    }
}

fn poll_all(fds: Vec<RawFd>) -> impl FnMut() + use<> {
    // SAFETY: the stations own the descriptors and outlive the ways (`idle` in main.rs).
    let borrow = |fd: RawFd| PollFd::new(unsafe { BorrowedFd::borrow_raw(fd) }, PollFlags::POLLIN);
    let mut fds: Vec<PollFd<'static>> = fds.into_iter().map(borrow).collect();
    move || assert_eq!(poll(&mut fds, PollTimeout::ZERO), Ok(0), "a frame")
}

fn epoll(fds: &[RawFd]) -> impl FnMut() + use<> {
    let epoll = Epoll::new(EpollCreateFlags::empty()).expect("epoll");
    for fd in fds {
        // SAFETY: as in `poll_all`.
        epoll.add(unsafe { BorrowedFd::borrow_raw(*fd) }, EpollEvent::new(EpollFlags::EPOLLIN, 0)).expect("epoll_ctl");
    }
    let mut events = [EpollEvent::empty(); 64];
    move || assert_eq!(epoll.wait(&mut events, EpollTimeout::ZERO), Ok(0), "a frame")
}

fn rings(fds: Vec<RawFd>) -> impl FnMut() + use<> {
    let mut rings: Vec<IoUring> = fds.into_iter().map(|fd| armed(&[fd])).collect();
    move || rings.iter_mut().for_each(look_at)
}

fn one_ring(fds: &[RawFd]) -> impl FnMut() + use<> {
    let mut ring = armed(fds);
    move || look_at(&mut ring)
}

fn armed(fds: &[RawFd]) -> IoUring {
    let mut ring = uring::ring(fds, 64);
    for i in 0..fds.len() {
        let entry = opcode::PollAdd::new(Fixed(u32::try_from(i).expect("64 at most")), libc::POLLIN as u32).build();
        // SAFETY: it points to no memory.
        unsafe { ring.submission().push(&entry).expect("room in the ring") };
    }
    ring.submit().expect("io_uring_enter");
    ring
}

fn look_at(ring: &mut IoUring) {
    assert!(!ring.submission().taskrun() && ring.completion().is_empty(), "a frame");
}
