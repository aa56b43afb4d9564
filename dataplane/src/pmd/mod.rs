//! Port drivers. A [`Pmd`] is one queue of one port, owned by one worker.
//!
//! The burst contract, the same for every kind (DPDK's, rte_ethdev.h):
//! - [`rx_burst`](Pmd::rx_burst) appends frames to an empty burst until it is full or there are none: the caller owns
//!   them. It counts them, and what the driver had to refuse, by reason.
//! - [`tx_burst`](Pmd::tx_burst) takes the first n frames off the burst and counts them; the rest stays, in order, and
//!   still belongs to the caller, who frees it. A frame that the port refuses for itself (not for lack of room) is
//!   taken, freed and counted by reason.
//! - [`flush`](Pmd::flush), once per turn, pushes what was taken towards the kernel and brings completed frames home.
//! - [`close`](Pmd::close) gives every frame the queue holds back to the pool.
//!
//! None of them blocks, allocates or waits. `tests/` runs one conformance test against every kind.

pub mod af_xdp;
pub mod null;
pub mod ring;
pub mod tap;
pub mod vhost;

use crate::mem::{Burst, MempoolCache};
use crate::stats::{Held, Losses, PortCounters};
use af_xdp::AfXdp;
use null::Null;
use ring::RingPmd;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use tap::Tap;
use vhost::Vhost;

/// What a queue still has to do when nothing arrives, the least urgent first: no descriptor wakes the worker for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backlog {
    /// Nothing.
    None,
    /// Its fill ring lacks frames, as the pool was empty: with none at all nothing is ever received. Other workers free
    /// some sooner or later, and that wakes nobody.
    Starved,
    /// The kernel has frames to transmit and will complete them.
    Completing,
    /// The kernel has to be kicked again to transmit.
    Kick,
}

/// What a queue answers when it is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueReport {
    /// Chunks it holds.
    pub held: Held,
    /// Frames that the kernel lost on their way to it, or from it.
    pub losses: Losses,
}

/// One queue of a port. A closed set, matched once per burst.
#[derive(Debug)]
pub enum Pmd {
    /// An AF_XDP socket on one queue of a netdev.
    AfXdp(Box<AfXdp>),
    /// One queue of a TAP.
    Tap(Box<Tap>),
    /// One end of a patch cable in memory.
    Ring(RingPmd),
    /// Swallows everything, sends nothing.
    Null(Null),
    /// A queue pair of a guest.
    Vhost(Box<Vhost>),
}

impl Pmd {
    /// Appends received frames to `burst`, which is empty; returns how many.
    pub fn rx_burst(&mut self, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        match self {
            Self::AfXdp(q) => q.rx_burst(burst, mem, stats),
            Self::Tap(q) => q.rx_burst(burst, mem, stats),
            Self::Ring(q) => q.rx_burst(burst, mem, stats),
            Self::Null(_) => 0,
            Self::Vhost(q) => q.rx_burst(burst, mem, stats),
        }
    }

    /// Takes the first n frames of `burst` and returns n; the rest stays in it.
    pub fn tx_burst(&mut self, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        match self {
            Self::AfXdp(q) => q.tx_burst(burst, mem, stats),
            Self::Tap(q) => q.tx_burst(burst, mem, stats),
            Self::Ring(q) => q.tx_burst(burst, mem, stats),
            Self::Null(q) => q.tx_burst(burst, mem, stats),
            Self::Vhost(q) => q.tx_burst(burst, mem, stats),
        }
    }

    /// Kicks the kernel where needed and takes completed frames back; what remains to be done.
    pub fn flush(&mut self, mem: &mut MempoolCache) -> Backlog {
        match self {
            Self::AfXdp(q) => q.flush(mem),
            Self::Vhost(q) => {
                q.flush();
                Backlog::None
            }
            Self::Tap(_) | Self::Ring(_) | Self::Null(_) => Backlog::None,
        }
    }

    /// What a sleeping worker waits on for frames of this queue.
    #[must_use]
    pub fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::AfXdp(q) => Some(q.wait_fd()),
            Self::Tap(q) => Some(q.as_fd()),
            Self::Ring(q) => Some(q.wait_fd()),
            Self::Null(_) => None,
            Self::Vhost(q) => q.wait_fd(),
        }
    }

    /// Called before the worker sleeps: false if there are frames already. Kernel-backed queues need nothing: their
    /// file descriptor is ready while frames wait.
    #[must_use]
    pub fn prepare_sleep(&mut self) -> bool {
        match self {
            Self::Ring(q) => q.prepare_sleep(),
            Self::Vhost(q) => q.prepare_sleep(),
            Self::AfXdp(_) | Self::Tap(_) | Self::Null(_) => true,
        }
    }

    /// Called after the worker slept.
    pub fn finish_sleep(&mut self) {
        match self {
            Self::Ring(q) => q.finish_sleep(),
            Self::Vhost(q) => q.finish_sleep(),
            Self::AfXdp(_) | Self::Tap(_) | Self::Null(_) => {}
        }
    }

    /// Called by the worker before it gives the queue away, to let go of what belongs to its thread.
    pub fn leave(&mut self) {
        if let Self::Tap(q) = self {
            q.leave();
        }
    }

    /// The device's MTU is another now: longer frames would be lost on the way without a word, so they are refused by
    /// name.
    pub fn set_mtu(&mut self, mtu: u32) {
        if let Self::AfXdp(q) = self {
            q.set_mtu(mtu);
        }
    }

    /// What it holds and what was lost; may ask the kernel, without waiting.
    #[must_use]
    pub fn report(&mut self) -> QueueReport {
        match self {
            Self::AfXdp(q) => q.report(),
            Self::Tap(q) => QueueReport { held: q.held(), ..QueueReport::default() },
            Self::Ring(q) => QueueReport { held: q.held(), ..QueueReport::default() },
            Self::Null(_) | Self::Vhost(_) => QueueReport::default(),
        }
    }

    /// The error that made this queue useless, if one has: the netdev is gone.
    #[must_use]
    pub fn fault(&self) -> Option<&io::Error> {
        match self {
            Self::AfXdp(q) => q.fault(),
            Self::Tap(q) => q.fault(),
            Self::Ring(_) | Self::Null(_) | Self::Vhost(_) => None,
        }
    }

    /// Closes the queue; every frame it held goes back to the pool. On the control thread: this may wait for the
    /// kernel.
    pub fn close(self, mem: &mut MempoolCache) {
        match self {
            Self::AfXdp(q) => q.close(mem),
            Self::Tap(q) => q.close(mem),
            Self::Ring(q) => q.close(mem),
            Self::Null(_) => {}
            Self::Vhost(q) => q.close(mem),
        }
    }

    /// Whether frames to the port can leave here: false for a queue pair that its guest does not use.
    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        !matches!(self, Self::Vhost(q) if !q.is_up())
    }
}

impl From<AfXdp> for Pmd {
    fn from(queue: AfXdp) -> Self {
        Self::AfXdp(Box::new(queue))
    }
}

impl From<Tap> for Pmd {
    fn from(queue: Tap) -> Self {
        Self::Tap(Box::new(queue))
    }
}

impl From<RingPmd> for Pmd {
    fn from(queue: RingPmd) -> Self {
        Self::Ring(queue)
    }
}

impl From<Null> for Pmd {
    fn from(queue: Null) -> Self {
        Self::Null(queue)
    }
}

impl From<Vhost> for Pmd {
    fn from(queue: Vhost) -> Self {
        Self::Vhost(Box::new(queue))
    }
}
