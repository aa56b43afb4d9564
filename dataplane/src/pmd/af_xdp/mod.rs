//! AF_XDP ports: one socket per queue of a netdev, straight into the arena.
//!
//! The arena is the UMEM, so a received descriptor becomes an mbuf token and a sent token a descriptor; between two
//! AF_XDP ports no byte is copied by us. Frames in the fill and TX rings are lent to the kernel under the queue's
//! [`Owner`], which refuses a descriptor that was not lent and finds what the kernel still held at close.
//!
//! What veth takes away is put back on the way in: the VLAN tag it moved aside (by the XDP program's metadata) and
//! the knowledge that the checksum is partial (by looking). On the way out a partial checksum is passed on as TX
//! metadata where the kernel takes it, and completed in software where not; GSO frames are segmented in software.

mod open;
mod program;
mod rx;
mod tx;

pub use open::{XdpConfig, XdpError, XdpPort, open};
pub use program::{DropCounters, ProgramError, XdpDrops, XdpProgram};

use super::{Backlog, QueueReport};
use crate::eth::{HEADER_LEN, TAG_LEN};
use crate::mem::{FIRST_SEGMENT, MempoolCache, NEXT_SEGMENT, Owner};
use crate::stats::{Held, Loss, Losses};
use af_xdp::Wakeup;
use rx::Partial;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Most frames kept in a queue's fill ring ([`XdpConfig::depth`]), and most entries of its TX and completion rings: what a
/// port that does not drain can hold. RX and fill rings have twice the entries: as many showed `rx_ring_full` whenever the
/// worker lost its core for a moment.
pub const MAX_DEPTH: u32 = 2048;
/// Fewest of them: bursts that arrive while the worker is at other ports' still fit.
pub const MIN_DEPTH: u32 = 256;
/// Descriptors of one frame that the kernel makes an skb of: the linear part and one page each for the others, of which
/// it keeps one in reserve (MAX_SKB_FRAGS, xsk_build_skb in net/xdp/xsk.c).
pub const MAX_DESCRIPTORS: usize = 17;
/// Longest frame that passes.
pub const MAX_FRAME: usize = FIRST_SEGMENT + (MAX_DESCRIPTORS - 1) * NEXT_SEGMENT;
/// Largest MTU: that, less the Ethernet header and two tags.
#[allow(clippy::cast_possible_truncation, reason = "33 514")]
pub const MAX_MTU: u32 = (MAX_FRAME - HEADER_LEN - 2 * TAG_LEN) as u32;
/// Completions taken at a time.
const REAP: u32 = 64;

/// What a queue can leave to others or must do itself.
#[derive(Debug, Clone, Copy)]
struct Abilities {
    /// The XDP program writes a VLAN tag below each frame.
    vlan_meta: bool,
    /// Frames may come in with partial checksums.
    rx_partial: bool,
    /// The kernel completes checksums asked for by TX metadata.
    tx_checksum: bool,
}

/// One queue.
#[derive(Debug)]
pub struct AfXdp {
    // `queue` before `owner`: rings and socket are closed before the arena can go.
    queue: af_xdp::Queue,
    owner: Owner,
    abilities: Abilities,
    /// Most bytes of a frame, or of a segment of a GSO frame: the MTU and `overhead`.
    max_frame: usize,
    /// Bytes that the device passes above its MTU.
    overhead: usize,
    /// Descriptors a frame may take: 1 or [`MAX_DESCRIPTORS`].
    max_descriptors: usize,
    /// Frames the fill ring is kept filled with.
    depth: u32,
    /// Frames it lacks.
    fill_deficit: u32,
    /// Frames lent for transmission and not completed.
    in_flight: u32,
    /// The first segments of a frame whose last has not come yet.
    partial: Option<Partial>,
    fault: Option<io::Error>,
}

impl AfXdp {
    /// See [`Pmd::flush`](super::Pmd::flush).
    pub fn flush(&mut self, mem: &mut MempoolCache) -> Backlog {
        if self.fill_deficit > 0 {
            self.refill(mem);
        }
        let starved = if self.fill_deficit > 0 { Backlog::Starved } else { Backlog::None };
        if self.in_flight == 0 {
            return starved;
        }
        let kicked = self.kick();
        self.reap(mem);
        match (kicked, self.in_flight) {
            (_, 0) => starved,
            (true, _) => Backlog::Completing,
            (false, _) => Backlog::Kick,
        }
    }

    /// One system call if the kernel has to be told about frames in the TX ring; false if it wants another.
    fn kick(&mut self) -> bool {
        if self.queue.tx.backlog() == 0 || !self.queue.tx.needs_wakeup() {
            return true;
        }
        match self.queue.socket.wakeup_tx() {
            Wakeup::Done | Wakeup::Down => true,
            Wakeup::Again => false,
            // What the kernel refuses stays at the head of the ring: the queue is as dead as if the netdev were gone.
            Wakeup::Refused(errno) => self.fail(errno),
            Wakeup::Gone => self.fail(libc::ENXIO),
        }
    }

    fn fail(&mut self, errno: i32) -> bool {
        self.fault = Some(io::Error::from_raw_os_error(errno));
        true
    }

    /// Takes completed frames home.
    fn reap(&mut self, mem: &mut MempoolCache) {
        loop {
            let n = self.queue.completion.peek(REAP);
            for i in 0..n {
                if let Some(mbuf) = self.owner.reclaim(self.queue.completion.read(i), 0) {
                    self.in_flight -= 1;
                    mem.free(mbuf);
                }
            }
            self.queue.completion.release(n);
            if n < REAP {
                return;
            }
        }
    }

    /// See [`Pmd::set_mtu`](super::Pmd::set_mtu).
    pub(super) fn set_mtu(&mut self, mtu: u32) {
        let room = if self.max_descriptors == 1 { FIRST_SEGMENT } else { MAX_FRAME };
        self.max_frame = (mtu as usize + self.overhead).min(room);
    }

    pub(super) fn wait_fd(&self) -> BorrowedFd<'_> {
        self.queue.socket.as_fd()
    }

    pub(super) fn fault(&self) -> Option<&io::Error> {
        self.fault.as_ref()
    }

    /// See [`Pmd::report`](super::Pmd::report).
    pub(super) fn report(&self) -> QueueReport {
        let begun = match &self.partial {
            Some(Partial::Chain(mbuf)) => mbuf.segments() as u64,
            _ => 0,
        };
        let fill_ring = u64::from(self.depth - self.fill_deficit) + begun;
        let held = Held { fill_ring, tx_ring: self.in_flight.into(), ..Held::default() };
        QueueReport { held, losses: self.queue.socket.statistics().map(|s| losses(&s)).unwrap_or_default() }
    }

    /// Closes the socket and brings home every frame the kernel held. The kernel does not touch the arena any more
    /// once the descriptor is closed (xsk_release waits for receivers).
    pub fn close(self, mem: &mut MempoolCache) {
        let Self { queue, owner, partial, .. } = self;
        if let Some(Partial::Chain(mbuf)) = partial {
            mem.free(mbuf);
        }
        drop(queue);
        mem.pool().sweep(owner);
    }
}

/// Frames that the kernel lost. How often it found the fill ring empty is not among them: in copy mode each such frame is
/// one of `rx_dropped` as well, in zero-copy mode no number of frames is known.
fn losses(statistics: &af_xdp::Statistics) -> Losses {
    let mut losses = Losses::default();
    losses.add(Loss::RxRingFull, statistics.rx_ring_full);
    losses.add(Loss::RxNoBuffer, statistics.rx_dropped);
    losses.add(Loss::TxInvalid, statistics.tx_invalid_descs);
    losses
}

#[cfg(test)]
mod tests;
