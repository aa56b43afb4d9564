//! The idle policy of a worker: spin while frames may come soon, then sleep until something wakes it.
//!
//! `poll: busy` never sleeps. `poll: adaptive` spins for [`SPIN`] after the last frame, then waits in one epoll that
//! covers every queue's file descriptor and the worker's own [`Wakeup`](crate::wake::Wakeup) (commands, other
//! workers). Kernel queues need no hand-over: epoll looks at the ring after it has queued the waiter.

use crate::lcore;
use crate::pmd::Backlog;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// How long a worker spins after its last frame before it sleeps. About the price of one wake-up on the machines
/// this was measured on (35 µs), so that at worst the wait doubles.
pub const SPIN: Duration = Duration::from_micros(50);

/// Looks for completions again after this long if frames are still with the kernel.
const COMPLETION_WAIT: u16 = 10;

/// How a worker waits for frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Poll {
    /// Spin, then sleep.
    #[default]
    Adaptive,
    /// Spin for ever.
    Busy,
}

/// One worker's waiting.
#[derive(Debug)]
pub(crate) struct Idle {
    poll: Poll,
    epoll: Epoll,
    spin: u64,
    last_frame: u64,
}

impl Idle {
    pub(crate) fn new(poll: Poll) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let spin = u64::try_from(SPIN.as_nanos() * u128::from(lcore::hz()) / 1_000_000_000).unwrap_or(u64::MAX);
        Ok(Self { poll, epoll, spin, last_frame: lcore::cycles() })
    }

    /// Sleeps also end when `fd` is readable.
    pub(crate) fn watch(&self, fd: impl AsFd) -> io::Result<()> {
        match self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0)) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Undoes [`Idle::watch`].
    pub(crate) fn unwatch(&self, fd: impl AsFd) {
        // ENOENT: never watched.
        let _ = self.epoll.delete(fd);
    }

    /// A frame was moved at `now`.
    pub(crate) fn busy(&mut self, now: u64) {
        self.last_frame = now;
    }

    /// Nothing was moved: true if it is time to sleep.
    pub(crate) fn is_tired(&self, now: u64, backlog: Backlog) -> bool {
        std::hint::spin_loop();
        self.poll == Poll::Adaptive && backlog < Backlog::Kick && now.wrapping_sub(self.last_frame) > self.spin
    }

    /// Sleeps until a watched descriptor is readable, or until it is time to look for completions.
    pub(crate) fn sleep(&self, backlog: Backlog) {
        let timeout = match backlog {
            Backlog::None => EpollTimeout::NONE,
            Backlog::Completing | Backlog::Kick => EpollTimeout::from(COMPLETION_WAIT),
        };
        let mut ready = [EpollEvent::empty(); 8];
        // EINTR: the loop looks for work either way.
        let _ = self.epoll.wait(&mut ready, timeout);
    }
}
