//! Readiness of an idle queue, told by io_uring without a system call.
//!
//! A read that finds nothing costs 200 ns: a worker with 64 idle TAPs would spend 12.6 µs of every turn on them. So a
//! queue that was found empty [`PATIENCE`] times in a row is armed: a POLL_ADD waits in the kernel, and a look is a load
//! of two words that the kernel shares, 0.7 µs for all 64 (benches/README.md). While frames come nothing is armed, since a
//! waiter on the device would cost the sender a wakeup per frame.
//!
//! Frames themselves move by plain read and write, which measured faster than io_uring in every form.
//!
//! Threads: control makes the ring, disabled; the worker that arms it first becomes its only issuer, as
//! SINGLE_ISSUER wants, and [disarms](Watch::disarm) it before it gives the queue away: a request holds the TAP's file,
//! and the kernel lets go of it some time after the ring is closed, but at once when the request ends.
//!
//! Invariant W1: the only requests are POLL_ADD and POLL_REMOVE, which point to no memory of ours, and at most one of
//! each is under way, for which the ring has room.

#![allow(unsafe_code)]

use io_uring::{IoUring, opcode, squeue, types};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Empty reads in a row before the queue is armed: arming costs about as much as three of them, and a queue in use is
/// found empty some 70 times between two round trips 50 µs apart.
const PATIENCE: u32 = 128;
/// Entries of the ring: one to arm, one to disarm.
const ENTRIES: u32 = 2;
/// Names the POLL_ADD.
const POLL: u64 = 1;
/// IORING_ENTER_GETEVENTS (linux/io_uring.h): run what is deferred, and post its completions.
const GET_EVENTS: u32 = 1;
/// What is waited for; errors are always.
#[allow(clippy::cast_sign_loss, reason = "a bit mask")]
const READABLE: u32 = libc::POLLIN as u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not enabled yet, and nobody's.
    New,
    /// The queue is read every turn; it was empty this many times in a row.
    Reading(u32),
    /// The kernel will say when a frame comes.
    Armed,
    /// The kernel refused; the queue is read every turn from now on.
    Off,
}

/// The watch over one queue.
pub(super) struct Watch {
    ring: IoUring,
    state: State,
}

impl Watch {
    /// A watch that nobody has used yet.
    ///
    /// # Errors
    /// What io_uring_setup(2) says: EPERM where it is switched off (kernel.io_uring_disabled, seccomp), ENOSYS, EINVAL
    /// before Linux 6.1.
    pub(super) fn new() -> io::Result<Self> {
        let mut setup = IoUring::builder();
        setup.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_r_disabled();
        Ok(Self { ring: setup.build(ENTRIES)?, state: State::New })
    }

    /// Whether the queue is armed and no frame has come: there is nothing to read.
    #[inline]
    pub(super) fn is_quiet(&mut self) -> bool {
        if self.state != State::Armed {
            return false;
        }
        let untouched = !self.ring.submission().taskrun() && self.ring.completion().is_empty();
        untouched || !self.went_off()
    }

    /// A turn read `frames` frames from `fd`, the same at every call.
    #[inline]
    pub(super) fn saw(&mut self, frames: usize, fd: BorrowedFd<'_>) {
        self.state = match self.state {
            State::New => self.enable(),
            State::Reading(_) if frames > 0 => State::Reading(0),
            State::Reading(PATIENCE) => self.arm(fd),
            State::Reading(n) => State::Reading(n + 1),
            state @ (State::Armed | State::Off) => state,
        };
    }

    /// Takes the request back, so that the kernel lets go of the file: by the thread that armed it.
    pub(super) fn disarm(&mut self) {
        if self.state != State::Armed {
            return;
        }
        self.state = State::Off;
        if self.push(&opcode::PollRemove::new(POLL).build()) {
            // Its own completion and that of the request it ends. An error (another thread's ring) is no matter: the
            // ring goes with this value, and the request with it.
            let _ = self.ring.submit_and_wait(2);
        }
    }

    /// Something happened in the kernel; whether it was the end of the wait, which disarms.
    #[cold]
    fn went_off(&mut self) -> bool {
        // SAFETY: W1; nothing is submitted, no argument is passed.
        let entered = unsafe { self.ring.submitter().enter::<libc::sigset_t>(0, 0, GET_EVENTS, None) };
        let ended = self.ring.completion().map(|done| done.result()).last();
        self.state = match ended {
            Some(result) if result >= 0 => State::Reading(0),
            None if entered.is_ok() => return false,
            Some(_) | None => State::Off,
        };
        true
    }

    #[cold]
    fn enable(&self) -> State {
        if self.ring.submitter().register_enable_rings().is_ok() { State::Reading(0) } else { State::Off }
    }

    #[cold]
    fn arm(&mut self, fd: BorrowedFd<'_>) -> State {
        let wait = opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), READABLE).build().user_data(POLL);
        if self.push(&wait) && self.ring.submit().is_ok() { State::Armed } else { State::Off }
    }

    fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: W1.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }
}

impl Drop for Watch {
    /// For a queue that never had a worker: a test's, on its own thread.
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({:?})", self.state)
    }
}
