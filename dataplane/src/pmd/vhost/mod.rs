//! The vhost-user port: virtqueues of a guest, or of a DPDK process, in memory that it shares.
//!
//! A [`Vhost`] is one queue pair. It exists as long as its port, with or without a guest: the control side speaks the
//! protocol ([`Order`]) and hands rings over and takes them back by message; here they are polled. Guest memory is not
//! the arena, so every frame is copied once, into an mbuf or out of one, and nothing is ever lent to a guest.
//!
//! - The guest is told not to kick while the worker is awake, and asked to before it sleeps (`Vhost::prepare_sleep`).
//! - One publication per burst and ring; one call at most per turn and ring ([`Vhost::flush`]).
//! - What a guest may cost is bounded, whatever it offers: a budget per burst ([`ring::MAX_COST`]).
//! - A guest that breaks the rules ([`RingFault`]) loses its rings at once; the session hears of it by a
//!   [`Complaint`], once. The other ports notice nothing.
//! - While a guest is copied elsewhere, what is written to it is logged ([`dirty`](DirtyLog)); a burst asks once.
//!
//! [`memory`] has all the unsafe code but the signal handler ([`sigbus`]) and the calls (`call`); [`ring`] has the formats.

mod call;
mod dirty;
pub mod exercise;
mod frames;
mod line;
pub mod memory;
mod order;
pub mod ring;
pub mod sigbus;

pub use call::Call;
pub use dirty::{DirtyLog, Log};
pub use line::{Kick, Line, Terms};
pub use memory::{GuestMemory, MemoryError, RegionSpec};
pub use order::{Answer, Complaint, Order, Reply, Way};
pub use ring::{RingError, RingFault, RingSpec};

use crate::mem::{Burst, Mbuf, MempoolCache};
use crate::stats::{DropReason, PortCounters};
use crossbeam::queue::SegQueue;
use line::with_ring;
use nix::sys::eventfd::{EfdFlags, EventFd};
use ring::Budget;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// Most queue pairs of a port.
pub const MAX_PAIRS: u16 = 16;

/// Where the session of a port hears from its queue pairs; `bell` is readable while it should look.
#[derive(Debug)]
pub struct Complaints {
    queue: SegQueue<Complaint>,
    bell: EventFd,
}

impl Complaints {
    /// Nothing to complain about.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { queue: SegQueue::new(), bell })
    }

    /// What has been reported since the last call.
    pub fn take_all(&self) -> Vec<Complaint> {
        // Emptied first: what is posted from here on rings again.
        let _ = self.bell.read();
        std::iter::from_fn(|| self.queue.pop()).collect()
    }

    fn post(&self, complaint: Complaint) {
        self.queue.push(complaint);
        // A full counter is readable too.
        let _ = self.bell.write(1);
    }
}

impl AsFd for Complaints {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// One queue pair.
#[derive(Debug)]
pub struct Vhost {
    // hot
    from_guest: Option<Box<Line>>,
    to_guest: Option<Box<Line>>,
    // cold
    pair: u16,
    /// Pairs of the port, which share what its guest may cost.
    pairs: u16,
    complaints: Arc<Complaints>,
    /// Frames the session wants received.
    announced: Vec<Mbuf>,
    calls: u64,
    kicks: u64,
}

impl Vhost {
    /// Pair number `pair` of a port with `pairs`, without a guest.
    #[must_use]
    pub fn new(pair: u16, pairs: u16, complaints: &Arc<Complaints>) -> Self {
        let complaints = Arc::clone(complaints);
        Self { from_guest: None, to_guest: None, pair, pairs, complaints, announced: Vec::new(), calls: 0, kicks: 0 }
    }

    /// Which pair of its port this is.
    #[must_use]
    pub fn pair(&self) -> u16 {
        self.pair
    }

    /// Whether frames can go to the guest here.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.to_guest.as_ref().is_some_and(|line| line.enabled)
    }

    fn line(&mut self, way: Way) -> &mut Option<Box<Line>> {
        match way {
            Way::ToGuest => &mut self.to_guest,
            Way::FromGuest => &mut self.from_guest,
        }
    }

    /// Obeys an order of the session; the answer says that it was.
    pub fn obey(&mut self, order: Order, reply: &Reply) {
        let mut answer = Answer::default();
        match order {
            Order::Start(way, line) => self.start(way, line),
            Order::Stop(way) => answer.base = self.line(way).take().map(|line| line.base()),
            Order::Finish(way) => answer.base = self.line(way).take().map(|line| line.finish()),
            Order::Enable(way, on) => self.line(way).iter_mut().for_each(|line| line.enabled = on),
            Order::Log(way, log) => {
                if let Some(line) = self.line(way) {
                    line.log = log;
                }
            }
            Order::Call(way, call) => {
                if let Some(line) = self.line(way) {
                    line.set_call(call);
                }
            }
            Order::Announce(mbuf) => self.announced.push(mbuf),
            Order::Report => {
                answer.waiting = [&self.to_guest, &self.from_guest].map(|line| line.as_ref().map(|l| l.pending()));
            }
        }
        (answer.calls, answer.kicks) = (self.calls, self.kicks);
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    /// Bursts from the guest are as many as it has pairs, and share a budget; those to it are as many as others send.
    fn start(&mut self, way: Way, mut line: Box<Line>) {
        let rings = if way == Way::FromGuest { self.pairs } else { 1 };
        line.chain.budget = Budget::shared_by(rings);
        *self.line(way) = Some(line);
    }

    /// What the last burst of a ring cost, in descriptors.
    pub(super) fn cost(&mut self, way: Way) -> Option<u32> {
        self.line(way).as_ref().map(|line| line.chain.budget.cost())
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
        let Some(line) = &mut self.from_guest else { return burst.len() - before };
        let Line { format, chain, terms, enabled, log, .. } = &mut **line;
        let parts = frames::Parts { chain, terms: *terms, mem, stats };
        let received = match log {
            None => with_ring!(format, ring => frames::receive(ring, parts, burst, *enabled)),
            Some(log) => with_ring!(format, ring => frames::receive(&mut log.over(ring), parts, burst, *enabled)),
        };
        match received.and_then(|any| line.check().map(|()| any)) {
            Ok(any) => line.untold |= any,
            Err(fault) => self.fail(Way::FromGuest, fault),
        }
        burst.len() - before
    }

    /// See [`Pmd::tx_burst`](super::Pmd::tx_burst).
    pub fn tx_burst(&mut self, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        let total = burst.len();
        let sent = match self.to_guest.as_deref_mut().filter(|line| line.enabled) {
            None => None,
            Some(Line { format, chain, terms, log, .. }) => {
                let parts = frames::Parts { chain, terms: *terms, mem, stats };
                Some(match log {
                    None => with_ring!(format, ring => frames::send(ring, parts, burst)),
                    Some(log) => with_ring!(format, ring => frames::send(&mut log.over(ring), parts, burst)),
                })
            }
        };
        let sent = sent.map(|sent| self.to_guest.as_ref().map_or(Ok(()), |line| line.check()).and(sent));
        match (sent, &mut self.to_guest) {
            (Some(Ok(any)), Some(line)) => line.untold |= any,
            (Some(Err(fault)), _) => {
                self.fail(Way::ToGuest, fault);
                down(burst, mem, stats);
            }
            _ => down(burst, mem, stats),
        }
        total - burst.len()
    }

    /// Both rings are left alone from now on: the guest is not to be believed in anything.
    #[cold]
    fn fail(&mut self, way: Way, fault: RingFault) {
        (self.from_guest, self.to_guest) = (None, None);
        self.complaints.post(Complaint { pair: self.pair, way, fault });
    }

    /// Calls the guest where it wants that.
    #[inline]
    pub fn flush(&mut self) {
        for line in [&mut self.from_guest, &mut self.to_guest].into_iter().flatten() {
            if line.untold {
                self.calls += u64::from(line.tell());
            }
        }
    }

    pub(super) fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.from_guest.as_ref()?.wait_fd()
    }

    pub(super) fn prepare_sleep(&mut self) -> bool {
        self.announced.is_empty() && self.from_guest.as_mut().is_none_or(|line| line.prepare_sleep())
    }

    pub(super) fn finish_sleep(&mut self) {
        self.kicks += self.from_guest.as_mut().map_or(0, |line| line.finish_sleep());
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
