//! Calling a guest: its eventfd is counted up, by the worker, which must not wait for anything.
//!
//! A write would do, were the descriptor's O_NONBLOCK not the front end's to clear: with a counter that it has filled, the
//! write would wait for ever, and all ports of the worker with it. The kernel itself counts an eventfd up without waiting
//! (eventfd_signal_mask in fs/eventfd.c) for whoever completes a request: io_uring, where each call is a NOP on a ring of
//! our own, or else Linux AIO ([`aio`]), which containers and kernels that refuse io_uring have. Where neither is allowed
//! there is no call: a guest that wants one is refused.
//!
//! Invariant N1: only NOPs are ever submitted to io_uring, which point to no memory.

#![allow(unsafe_code)]

mod aio;

use aio::Aio;
use io_uring::{IoUring, opcode};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// NOPs under way: one.
const ENTRIES: u32 = 2;

/// What completes requests.
enum By {
    /// Boxed: the hot part of a ring in service is small.
    IoUring(Box<IoUring>),
    Aio(Aio),
}

/// Whom to call.
pub struct Call {
    // Dropped first: it holds on to the eventfd's number.
    by: By,
    eventfd: OwnedFd,
}

impl Call {
    /// Not on a worker: this makes a ring, or a context.
    ///
    /// # Errors
    /// Where neither io_uring nor AIO is to be had.
    pub fn new(eventfd: OwnedFd) -> io::Result<Self> {
        let by = io_uring(&eventfd).map(|ring| By::IoUring(Box::new(ring)));
        let by =
            by.or_else(|io_uring| Aio::new(eventfd.as_fd()).map(By::Aio).map_err(|aio| neither(&io_uring, &aio)))?;
        Ok(Self { by, eventfd })
    }

    /// One more on the counter; false if that could not be.
    pub(super) fn signal(&mut self) -> bool {
        let ring = match &mut self.by {
            By::IoUring(ring) => ring,
            By::Aio(aio) => return aio.signal().is_ok(),
        };
        // SAFETY: N1.
        let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
        let submitted = pushed.is_ok() && ring.submit().is_ok();
        // A NOP completes while it is submitted.
        ring.completion().for_each(drop);
        submitted
    }
}

fn io_uring(eventfd: &OwnedFd) -> io::Result<IoUring> {
    let ring = IoUring::new(ENTRIES)?;
    ring.submitter().register_eventfd(eventfd.as_raw_fd())?;
    Ok(ring)
}

fn neither(io_uring: &io::Error, aio: &io::Error) -> io::Error {
    io::Error::new(
        aio.kind(),
        format!(
            "a guest cannot be called without waiting for it: io_uring: {io_uring}; AIO: {aio}; allow io_uring_setup or \
             io_setup to this process (seccomp), or raise the sysctl fs.aio-max-nr"
        ),
    )
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if matches!(self.by, By::IoUring(_)) { "io_uring" } else { "AIO" };
        write!(f, "Call({} by {by})", self.eventfd.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::{EfdFlags, EventFd};

    /// Calls by each way there is here, and the guest's end, which blocks.
    fn calls() -> Vec<(Call, EventFd)> {
        let pair = |by: fn(&OwnedFd) -> io::Result<By>| {
            let guest = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC).unwrap();
            let eventfd = guest.as_fd().try_clone_to_owned().unwrap();
            by(&eventfd).map(|by| (Call { by, eventfd }, guest))
        };
        let ways: [fn(&OwnedFd) -> io::Result<By>; 2] = [
            |eventfd| io_uring(eventfd).map(|ring| By::IoUring(Box::new(ring))),
            |eventfd| Aio::new(eventfd.as_fd()).map(By::Aio),
        ];
        let calls: Vec<_> = ways.into_iter().filter_map(|by| pair(by).ok()).collect();
        assert!(!calls.is_empty(), "one of them must be allowed");
        calls
    }

    #[test]
    fn each_call_counts_one() {
        for (mut call, guest) in calls() {
            // more than the kernel has room for, if what is done were not taken
            for _ in 0..1000 {
                assert!(call.signal(), "{call:?}");
            }
            assert_eq!(guest.read(), Ok(1000), "{call:?}");
            assert!(call.signal());
            assert_eq!(guest.read(), Ok(1));
        }
    }

    /// Would hang if it waited for room.
    #[test]
    fn a_full_counter_that_blocks_holds_nobody_up() {
        for (mut call, guest) in calls() {
            guest.write(u64::MAX - 1).unwrap();
            for _ in 0..3 {
                call.signal();
            }
            assert_eq!(guest.read(), Ok(u64::MAX), "{call:?}");
        }
    }
}
