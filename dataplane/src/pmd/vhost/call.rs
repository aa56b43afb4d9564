//! Calling a guest: its eventfd is counted up, by the worker, which must not wait for anything.
//!
//! A write would do, were the descriptor's O_NONBLOCK not the front end's to clear: with a counter that it has filled, the
//! write would wait for ever, and all ports of the worker with it. io_uring signals its registered eventfd from within the
//! kernel, which never waits (eventfd_signal_mask in fs/eventfd.c): so each call is a NOP on a ring of our own. Where
//! io_uring is not allowed it is a write.
//!
//! Invariant N1: only NOPs are ever submitted, which point to no memory.

#![allow(unsafe_code)]

use io_uring::{IoUring, opcode};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// NOPs under way: one.
const ENTRIES: u32 = 2;

/// Whom to call.
pub struct Call {
    eventfd: OwnedFd,
    /// Boxed: the hot part of a line is small.
    ring: Option<Box<IoUring>>,
}

impl Call {
    /// By io_uring where it is allowed. Not on a worker: this makes a ring.
    #[must_use]
    pub fn new(eventfd: OwnedFd) -> Self {
        let ring = ring(&eventfd).ok().map(Box::new);
        Self { eventfd, ring }
    }

    /// One more on the counter; false if that could not be.
    pub(super) fn signal(&mut self) -> bool {
        let Some(ring) = &mut self.ring else {
            // EAGAIN: the counter is full, so nobody listens.
            return nix::unistd::write(&self.eventfd, &1u64.to_ne_bytes()).is_ok();
        };
        // SAFETY: N1.
        let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
        let submitted = pushed.is_ok() && ring.submit().is_ok();
        // A NOP completes while it is submitted.
        ring.completion().for_each(drop);
        submitted
    }
}

fn ring(eventfd: &OwnedFd) -> io::Result<IoUring> {
    let ring = IoUring::new(ENTRIES)?;
    ring.submitter().register_eventfd(eventfd.as_raw_fd())?;
    Ok(ring)
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.ring.is_some() { "io_uring" } else { "write" };
        write!(f, "Call({} by {way})", self.eventfd.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::{EfdFlags, EventFd};

    /// A call, and the guest's end of it, which blocks.
    fn call() -> (Call, EventFd) {
        let guest = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC).unwrap();
        let ours = std::os::fd::AsFd::as_fd(&guest).try_clone_to_owned().unwrap();
        (Call::new(ours), guest)
    }

    #[test]
    fn each_call_counts_one() {
        let (mut call, guest) = call();
        for _ in 0..3 {
            assert!(call.signal());
        }
        assert_eq!(guest.read(), Ok(3));
        assert!(call.signal());
        assert_eq!(guest.read(), Ok(1));
    }

    /// Would hang if it waited for room.
    #[test]
    fn a_full_counter_that_blocks_holds_nobody_up() {
        let (mut call, guest) = call();
        if call.ring.is_none() {
            eprintln!("skipped: io_uring is not allowed here");
            return;
        }
        guest.write(u64::MAX - 1).unwrap();
        for _ in 0..3 {
            call.signal();
        }
        assert_eq!(guest.read(), Ok(u64::MAX));
    }
}
