//! The vhost-user port: virtqueues of a guest, or of a DPDK process, in memory that it shares.
//!
//! A [`Vhost`] is one queue pair. It exists as long as its port, with or without a guest: the control side speaks the
//! protocol ([`VringCommand`]) and hands rings over and takes them back by message; here they are polled. Guest memory is not
//! the arena, so every frame is copied once, into an mbuf or out of one, and nothing is ever lent to a guest.
//!
//! - The guest is told not to kick while the worker is awake, and asked to before it sleeps (`Vhost::prepare_sleep`).
//! - One publication per burst and ring; one call at most per turn and ring ([`Vhost::flush`]).
//! - What a guest may cost is bounded, whatever it offers: a budget per burst ([`ring::MAX_COST`]).
//! - A guest that breaks the rules ([`RingFault`]) loses its rings at once; the session hears of it by a
//!   [`RingFaultEvent`], once. The other ports notice nothing.
//! - While a guest is copied elsewhere, what is written to it is logged ([`dirty`](DirtyLog)); a burst asks once.
//!
//! [`memory`] has all the unsafe code but the signal handler ([`sigbus`]) and the calls (`call`); [`ring`] has the formats.

mod call;
mod command;
mod dirty;
pub mod exercise;
mod frames;
pub mod memory;
pub mod ring;
pub mod sigbus;
mod vring;

pub use call::Call;
pub use command::{Direction, Reply, ReplySender, RingFaultEvent, VringCommand};
pub use dirty::{DirtyLog, Log};
pub use memory::{GuestMemory, MemoryError, RegionSpec};
pub use ring::{RingError, RingFault, RingSpec};
pub use vring::{Kick, RingFeatures, Vring};

use crate::mem::{Burst, Mbuf, MempoolCache};
use crate::stats::{DropReason, PortCounters};
use crossbeam::queue::SegQueue;
use nix::sys::eventfd::{EfdFlags, EventFd};
use ring::Budget;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use vring::with_ring;

/// Most queue pairs of a port.
pub const MAX_PAIRS: u16 = 16;

/// Where the session of a port hears from its queue pairs; `bell` is readable while it should look.
#[derive(Debug)]
pub struct RingFaultEvents {
    queue: SegQueue<RingFaultEvent>,
    bell: EventFd,
}

impl RingFaultEvents {
    /// Nothing to complain about.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { queue: SegQueue::new(), bell })
    }

    /// What has been reported since the last call.
    pub fn take_all(&self) -> Vec<RingFaultEvent> {
        // Emptied first: what is posted from here on rings again.
        let _ = self.bell.read();
        std::iter::from_fn(|| self.queue.pop()).collect()
    }

    fn post(&self, event: RingFaultEvent) {
        self.queue.push(event);
        // A full counter is readable too.
        let _ = self.bell.write(1);
    }
}

impl AsFd for RingFaultEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// One queue pair.
#[derive(Debug)]
pub struct Vhost {
    // hot
    from_guest: Option<Box<Vring>>,
    to_guest: Option<Box<Vring>>,
    // cold
    pair: u16,
    /// Pairs of the port, which share what its guest may cost.
    pairs: u16,
    fault_events: Arc<RingFaultEvents>,
    /// Frames the session wants received.
    announced: Vec<Mbuf>,
    calls: u64,
    kicks: u64,
}

impl Vhost {
    /// Pair number `pair` of a port with `pairs`, without a guest.
    #[must_use]
    pub fn new(pair: u16, pairs: u16, fault_events: &Arc<RingFaultEvents>) -> Self {
        let fault_events = Arc::clone(fault_events);
        Self { from_guest: None, to_guest: None, pair, pairs, fault_events, announced: Vec::new(), calls: 0, kicks: 0 }
    }

    /// Which pair of its port this is.
    #[must_use]
    pub fn pair(&self) -> u16 {
        self.pair
    }

    /// Whether frames can go to the guest here.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.to_guest.as_ref().is_some_and(|vring| vring.enabled)
    }

    fn vring(&mut self, direction: Direction) -> &mut Option<Box<Vring>> {
        match direction {
            Direction::ToGuest => &mut self.to_guest,
            Direction::FromGuest => &mut self.from_guest,
        }
    }

    /// Applies a command of the session; the reply says that it was.
    pub fn apply(&mut self, command: VringCommand, reply: &ReplySender) {
        let mut said = Reply::default();
        match command {
            VringCommand::Start(direction, vring) => self.start(direction, vring),
            VringCommand::Stop(direction) => said.base = self.vring(direction).take().map(|vring| vring.base()),
            VringCommand::Finish(direction) => said.base = self.vring(direction).take().map(|vring| vring.finish()),
            VringCommand::Enable(direction, on) => {
                self.vring(direction).iter_mut().for_each(|vring| vring.enabled = on)
            }
            VringCommand::Log(direction, log) => {
                if let Some(vring) = self.vring(direction) {
                    vring.log = log;
                }
            }
            VringCommand::Call(direction, call) => {
                if let Some(vring) = self.vring(direction) {
                    vring.set_call(call);
                }
            }
            VringCommand::Announce(mbuf) => self.announced.push(mbuf),
            VringCommand::Report => {
                said.waiting =
                    [&self.to_guest, &self.from_guest].map(|vring| vring.as_ref().map(|vring| vring.pending()));
            }
        }
        (said.calls, said.kicks) = (self.calls, self.kicks);
        // Whoever asked may have gone.
        let _ = reply.send(said);
    }

    /// Bursts from the guest are as many as it has pairs, and share a budget; those to it are as many as others send.
    fn start(&mut self, direction: Direction, mut vring: Box<Vring>) {
        let rings = if direction == Direction::FromGuest { self.pairs } else { 1 };
        vring.chain.budget = Budget::shared_by(rings);
        *self.vring(direction) = Some(vring);
    }

    /// What the last burst of a ring cost, in descriptors.
    pub(super) fn cost(&mut self, direction: Direction) -> Option<u32> {
        self.vring(direction).as_ref().map(|vring| vring.chain.budget.cost())
    }

    /// See [`Pmd::rx_burst`](super::Pmd::rx_burst).
    pub fn rx_burst(&mut self, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        let before = burst.len();
        while let Some(mbuf) = self.announced.pop() {
            stats.received(1, mbuf.len());
            burst.push(mbuf);
            if burst.is_full() {
                return burst.len() - before;
            }
        }
        let Some(vring) = &mut self.from_guest else { return burst.len() - before };
        let Vring { format, chain, features, enabled, log, .. } = &mut **vring;
        let parts = frames::Parts { chain, features: *features, mem, stats };
        let received = match log {
            None => with_ring!(format, ring => frames::receive(ring, parts, burst, *enabled)),
            Some(log) => with_ring!(format, ring => frames::receive(&mut log.over(ring), parts, burst, *enabled)),
        };
        match received.and_then(|any| vring.check().map(|()| any)) {
            Ok(any) => vring.notify_pending |= any,
            Err(fault) => self.fail(Direction::FromGuest, fault),
        }
        burst.len() - before
    }

    /// See [`Pmd::tx_burst`](super::Pmd::tx_burst).
    pub fn tx_burst(&mut self, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        let total = burst.len();
        let sent = match self.to_guest.as_deref_mut().filter(|vring| vring.enabled) {
            None => None,
            Some(Vring { format, chain, features, log, .. }) => {
                let parts = frames::Parts { chain, features: *features, mem, stats };
                Some(match log {
                    None => with_ring!(format, ring => frames::send(ring, parts, burst)),
                    Some(log) => with_ring!(format, ring => frames::send(&mut log.over(ring), parts, burst)),
                })
            }
        };
        let sent = sent.map(|sent| self.to_guest.as_ref().map_or(Ok(()), |vring| vring.check()).and(sent));
        match (sent, &mut self.to_guest) {
            (Some(Ok(any)), Some(vring)) => vring.notify_pending |= any,
            (Some(Err(fault)), _) => {
                self.fail(Direction::ToGuest, fault);
                down(burst, mem, stats);
            }
            _ => down(burst, mem, stats),
        }
        total - burst.len()
    }

    /// Both rings are left alone from now on: the guest is not to be believed in anything.
    #[cold]
    fn fail(&mut self, direction: Direction, fault: RingFault) {
        (self.from_guest, self.to_guest) = (None, None);
        self.fault_events.post(RingFaultEvent { pair: self.pair, direction, fault });
    }

    /// Calls the guest where it wants that.
    #[inline]
    pub fn flush(&mut self) {
        for vring in [&mut self.from_guest, &mut self.to_guest].into_iter().flatten() {
            if vring.notify_pending {
                self.calls += u64::from(vring.notify());
            }
        }
    }

    pub(super) fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.from_guest.as_ref()?.wait_fd()
    }

    pub(super) fn prepare_sleep(&mut self) -> bool {
        self.announced.is_empty() && self.from_guest.as_mut().is_none_or(|vring| vring.prepare_sleep())
    }

    pub(super) fn finish_sleep(&mut self) {
        self.kicks += self.from_guest.as_mut().map_or(0, |vring| vring.finish_sleep());
    }

    /// Closes the pair. Guest memory is unmapped with the last ring.
    pub fn close(self, mem: &mut MempoolCache) {
        self.announced.into_iter().for_each(|mbuf| mem.free(mbuf));
    }
}

/// Nobody is there to take these.
fn down(burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) {
    stats.drop_n(DropReason::LinkDown, burst.len());
    mem.free_burst(burst);
}

#[cfg(test)]
mod budget_tests;
#[cfg(test)]
mod tests;
