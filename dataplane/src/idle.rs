//! The idle policy of a worker: spin while frames may come soon, then sleep until something wakes it.
//!
//! A sleeping worker waits in one poll(2) that covers every queue's file descriptor and the worker's own
//! [`Wakeup`](crate::wake::Wakeup) (commands, other workers). Kernel queues need no hand-over: poll looks at the ring
//! after it has queued the waiter.
//!
//! When to sleep trades latency for processor time: a wake-up delays a frame by some 20 µs, a spin costs a core
//! (figures in benches/README.md). [`Poll`] is what the user chose:
//! - `busy` never sleeps.
//! - `adaptive` spins for [`SPIN`] after the last frame, so that at 20 000 frames per second and more it is as quick as
//!   `busy`. It remembers how the last eight pauses ended: if every one outlasted the spin, spinning is of no use,
//!   and it sleeps at once until frames come closer together again. On a core that other threads want (`contention`) it
//!   sleeps at once too: spinning there holds up the very threads whose frames it waits for.
//! - `economy` sleeps whenever there is nothing to do.
//!
//! Not epoll: its entries stay on the sockets' wait queues while the worker is awake, and the kernel would then run the
//! wakeup path, with its locks, for every frame received and for every frame sent (sock_def_readable,
//! sock_def_write_space): 6 % of a forwarding core.

mod contention;

use crate::lcore::{self, in_cycles};
use crate::pmd::Backlog;
use contention::CpuContention;
use nix::poll::{PollFd, PollTimeout, poll};
use std::time::Duration;

/// How long an adaptive worker spins after its last frame before it sleeps: the price of one wake-up (20 to 35 µs on the
/// machines this was measured on), rounded up to the pause between frames at 20 000 per second.
pub const SPIN: Duration = Duration::from_micros(50);

/// How long a worker leaves the rings alone after it found them all empty in the middle of a stream. A poll of an AF_XDP
/// ring takes the cache line of the producer's index away from the core that is filling it, usually the bottleneck:
/// polling without pause made the sender 14 % slower at 64 bytes than this.
const PAUSE: Duration = Duration::from_micros(1);

/// The same once nothing has come for [`STREAM`]: half of it, on average, is added to the latency of a lone frame.
const GLANCE: Duration = Duration::from_nanos(200);

/// Frames further apart than this are no stream whose sender a poll could hold up.
const STREAM: Duration = Duration::from_micros(3);

/// Looks again after this many milliseconds if frames are still with the kernel, or a queue needs some of the pool.
const BACKLOG_WAIT: u16 = 10;

/// How a worker waits for frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Poll {
    /// Spin, then sleep.
    #[default]
    Adaptive,
    /// Sleep at once.
    Economy,
    /// Spin for ever.
    Busy,
}

/// One worker's waiting.
#[derive(Debug)]
pub(crate) struct Idle {
    poll: Poll,
    spin: u64,
    pause: u64,
    glance: u64,
    stream: u64,
    last_frame: u64,
    /// Nothing was moved since `last_frame`.
    pausing: bool,
    /// How the last eight pauses ended, the latest in the lowest bit: 1 if a frame came within the spin.
    spin_hits: u8,
    contention: CpuContention,
}

impl Idle {
    pub(crate) fn new(poll: Poll) -> Self {
        Self {
            poll,
            spin: in_cycles(SPIN),
            pause: in_cycles(PAUSE),
            glance: in_cycles(GLANCE),
            stream: in_cycles(STREAM),
            last_frame: lcore::cycles(),
            pausing: false,
            spin_hits: u8::MAX,
            contention: CpuContention::new(),
        }
    }

    /// A frame was moved at `now`.
    pub(crate) fn busy(&mut self, now: u64) {
        if self.pausing {
            let within = now.wrapping_sub(self.last_frame) <= self.spin;
            self.spin_hits = self.spin_hits << 1 | u8::from(within);
            self.pausing = false;
        }
        self.last_frame = now;
    }

    /// Nothing was moved at `now`: lets the senders work for a moment.
    pub(crate) fn pause(&self, now: u64) {
        let in_stream = now.wrapping_sub(self.last_frame) < self.stream;
        let pause = if in_stream { self.pause } else { self.glance };
        while lcore::cycles().wrapping_sub(now) < pause {
            std::hint::spin_loop();
        }
    }

    /// Nothing was moved: whether to sleep.
    pub(crate) fn should_sleep(&mut self, now: u64, backlog: Backlog) -> bool {
        self.pausing = true;
        let enough = match self.poll {
            Poll::Busy => false,
            Poll::Adaptive => {
                let in_vain = self.spin_hits == 0 || now.wrapping_sub(self.last_frame) > self.spin;
                self.contention.is_present(now) || in_vain
            }
            Poll::Economy => true,
        };
        enough && backlog < Backlog::Kick
    }

    /// Sleeps until one of `fds` is ready, or until it is time to look after the backlog; true if something was ready.
    pub(crate) fn sleep(fds: &mut [PollFd<'_>], backlog: Backlog) -> bool {
        let timeout = match backlog {
            Backlog::None => PollTimeout::NONE,
            Backlog::Starved | Backlog::Completing | Backlog::Kick => PollTimeout::from(BACKLOG_WAIT),
        };
        // EINTR: the loop looks for work either way.
        poll(fds, timeout).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that gets frames at these moments, in units of the spin's hundredth; how often it slept at once.
    fn eager_sleeps(poll: Poll, gaps: &[u64]) -> usize {
        let mut idle = Idle::new(poll);
        let (unit, mut now) = (idle.spin / 100, idle.last_frame);
        let slept = gaps.iter().filter(|gap| {
            let at_once = idle.should_sleep(now + 1, Backlog::None);
            now += **gap * unit;
            idle.busy(now);
            at_once
        });
        slept.count()
    }

    #[test]
    fn frames_that_come_soon_are_waited_for() {
        assert_eq!(eager_sleeps(Poll::Adaptive, &[99; 100]), 0);
        assert_eq!(eager_sleeps(Poll::Economy, &[99; 100]), 100);
        assert_eq!(eager_sleeps(Poll::Busy, &[1000; 100]), 0);
    }

    #[test]
    fn frames_far_apart_are_not_waited_for_in_vain() {
        assert_eq!(eager_sleeps(Poll::Adaptive, &[200; 100]), 100 - 8, "after eight in vain");
        let request_and_answer: Vec<u64> = [200, 10].repeat(50);
        assert_eq!(eager_sleeps(Poll::Adaptive, &request_and_answer), 0, "every second spin pays");
    }

    #[test]
    fn the_first_frames_of_a_burst_bring_the_spin_back() {
        let gaps = [vec![200; 20], vec![10; 20]].concat();
        assert_eq!(eager_sleeps(Poll::Adaptive, &gaps), 20 - 8 + 1);
    }

    #[test]
    fn frames_that_wait_for_a_kick_keep_it_awake() {
        let mut idle = Idle::new(Poll::Economy);
        assert!(!idle.should_sleep(idle.last_frame, Backlog::Kick));
        assert!(idle.should_sleep(idle.last_frame, Backlog::Completing));
    }

    #[test]
    fn a_queue_that_needs_frames_of_the_pool_is_looked_after_though_no_descriptor_is_ready() {
        // would sleep for ever
        assert!(!Idle::sleep(&mut [], Backlog::Starved));
    }
}
