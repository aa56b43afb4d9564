//! The idle policy of a worker: spin while frames may come soon, then sleep until something wakes it.
//!
//! `poll: busy` never sleeps. `poll: adaptive` spins for [`SPIN`] after the last frame, then waits in one poll(2) that
//! covers every queue's file descriptor and the worker's own [`Wakeup`](crate::wake::Wakeup) (commands, other workers).
//! Kernel queues need no hand-over: poll looks at the ring after it has queued the waiter.
//!
//! Not epoll: its entries stay on the sockets' wait queues while the worker is awake, and the kernel would then run the
//! wakeup path, with its locks, for every frame received and for every frame sent (sock_def_readable,
//! sock_def_write_space): 6 % of a forwarding core.

use crate::lcore;
use crate::pmd::Backlog;
use nix::poll::{PollFd, PollTimeout, poll};
use std::time::Duration;

/// How long a worker spins after its last frame before it sleeps. About the price of one wake-up on the machines
/// this was measured on (35 µs), so that at worst the wait doubles.
pub const SPIN: Duration = Duration::from_micros(50);

/// How long a worker leaves the rings alone after it found them all empty. A poll of an AF_XDP ring takes the cache line
/// of the producer's index away from the core that is filling it, usually the bottleneck: polling without pause made
/// the sender 14 % slower at 64 bytes than this. Adds half of itself, on average, to the latency of a lone frame.
const PAUSE: Duration = Duration::from_micros(1);

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
    spin: u64,
    pause: u64,
    last_frame: u64,
}

impl Idle {
    pub(crate) fn new(poll: Poll) -> Self {
        Self { poll, spin: in_cycles(SPIN), pause: in_cycles(PAUSE), last_frame: lcore::cycles() }
    }

    /// A frame was moved at `now`.
    pub(crate) fn busy(&mut self, now: u64) {
        self.last_frame = now;
    }

    /// Nothing was moved at `now`: lets the senders work for a moment.
    pub(crate) fn pause(&self, now: u64) {
        while lcore::cycles().wrapping_sub(now) < self.pause {
            std::hint::spin_loop();
        }
    }

    /// Nothing was moved: true if it is time to sleep.
    pub(crate) fn is_tired(&self, now: u64, backlog: Backlog) -> bool {
        self.poll == Poll::Adaptive && backlog < Backlog::Kick && now.wrapping_sub(self.last_frame) > self.spin
    }

    /// Sleeps until one of `fds` is ready, or until it is time to look for completions.
    pub(crate) fn sleep(fds: &mut [PollFd<'_>], backlog: Backlog) {
        let timeout = match backlog {
            Backlog::None => PollTimeout::NONE,
            Backlog::Completing | Backlog::Kick => PollTimeout::from(COMPLETION_WAIT),
        };
        // EINTR: the loop looks for work either way.
        let _ = poll(fds, timeout);
    }
}

fn in_cycles(time: Duration) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(lcore::hz()) / 1_000_000_000).unwrap_or(u64::MAX)
}
