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

pub use open::{XdpConfig, XdpError, XdpPort, open};
pub use program::{ProgramError, XdpDrops, XdpProgram};

use super::Backlog;
use crate::eth::TAG_LEN;
use crate::mem::{BURST_SIZE, Burst, CHUNK_SIZE, Gso, Mbuf, Mempool, MempoolCache, Offload, Owner};
use crate::offload::{csum, detect, gso};
use crate::stats::{DropReason, PortCounters};
use af_xdp::{Desc, OPTION_CONTD, OPTION_TX_METADATA, Wakeup, tx_metadata};
use program::{VLAN_META_LEN, VlanTag, parse_vlan_meta};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Entries of a queue's RX and fill rings. 2048 showed `rx_ring_full` whenever the worker lost its core for a moment.
pub const RX_RING: u32 = 4096;
/// Entries of its TX and completion rings: the most frames a port that does not drain can hold.
pub const TX_RING: u32 = 2048;
/// Frames kept in the fill ring.
pub const FILL_FRAMES: u32 = 2048;
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
    /// Most bytes of a frame, or of a segment of a GSO frame.
    max_frame: usize,
    /// Frames the fill ring lacks.
    fill_deficit: u32,
    /// Frames lent for transmission and not completed.
    in_flight: u32,
    /// The first segments of a frame whose last has not come yet.
    partial: Option<Mbuf>,
    fault: Option<io::Error>,
}

impl AfXdp {
    /// See [`Pmd::rx_burst`](super::Pmd::rx_burst).
    pub fn rx_burst(&mut self, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        #[allow(clippy::cast_possible_truncation, reason = "32")]
        let n = self.queue.rx.peek(BURST_SIZE as u32);
        // The kernel wrote the frames on another core: all headers are asked for before the first is looked at.
        for i in 0..n {
            let addr = self.queue.rx.read(i).addr;
            self.owner.pool().prefetch_at(addr);
            if self.abilities.vlan_meta {
                self.owner.pool().prefetch_at(addr.wrapping_sub(VLAN_META_LEN as u64));
            }
        }
        for i in 0..n {
            let desc = self.queue.rx.read(i);
            self.receive(desc, burst, mem, stats);
        }
        if n > 0 {
            self.queue.rx.release(n);
            self.fill_deficit += n;
            stats.received(burst.len(), burst.iter().map(Mbuf::len).sum());
        }
        if self.fill_deficit >= REAP {
            self.refill(mem);
        }
        burst.len()
    }

    /// One descriptor: a frame, or a segment of one.
    fn receive(&mut self, desc: Desc, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) {
        let Some(segment) = self.owner.reclaim(desc.addr, desc.len) else {
            stats.received(1, 0);
            return stats.drop_n(DropReason::BadDescriptor, 1);
        };
        let more = desc.options & OPTION_CONTD != 0;
        let mbuf = match self.partial.take() {
            None if !more => segment,
            None => {
                self.partial = Some(segment);
                return;
            }
            Some(mut first) => {
                if let Err(segment) = mem.pool().append(&mut first, segment) {
                    // More segments than a chain may have: the frame is cut here.
                    mem.free(segment);
                }
                if more {
                    self.partial = Some(first);
                    return;
                }
                first
            }
        };
        burst.push(self.restore(mbuf, mem.pool()));
    }

    /// Puts back what the driver took off the frame on its way to XDP.
    fn restore(&self, mut mbuf: Mbuf, pool: &Mempool) -> Mbuf {
        if self.abilities.vlan_meta {
            #[allow(clippy::cast_possible_truncation, reason = "8")]
            let below = pool.below(&mut mbuf, VLAN_META_LEN as u16);
            if let Some(tag) = below.and_then(|below| parse_vlan_meta(below.first_chunk()?)) {
                insert_tag(pool, &mut mbuf, tag);
            }
        }
        if self.abilities.rx_partial
            && let Some(offload) = detect::detect_partial(pool.data(&mbuf), mbuf.len())
        {
            pool.set_offload(&mut mbuf, offload);
        }
        mbuf
    }

    /// Tops up the fill ring with one publication.
    fn refill(&mut self, mem: &mut MempoolCache) {
        let room = self.queue.fill.reserve(self.fill_deficit);
        let mut n = 0;
        while n < room
            && let Some(mbuf) = mem.alloc()
        {
            let (lent, _) = self.owner.lend(mbuf);
            self.queue.fill.write(n, lent.addr - lent.addr % CHUNK_SIZE as u64);
            n += 1;
        }
        self.queue.fill.submit(n);
        self.fill_deficit -= n;
        if self.queue.fill.needs_wakeup() {
            self.queue.socket.wakeup_rx();
        }
    }

    /// See [`Pmd::tx_burst`](super::Pmd::tx_burst).
    pub fn tx_burst(&mut self, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        if self.fault.is_some() {
            let n = burst.len();
            stats.drop_n(DropReason::LinkDown, n);
            mem.free_burst(burst);
            return n;
        }
        let room = self.queue.tx.reserve(TX_RING);
        let (mut at, mut taken) = (0, 0);
        for mbuf in burst.iter() {
            let needed = descriptors(mem.pool(), mbuf);
            if at + needed > room {
                break;
            }
            at += needed;
            taken += 1;
        }
        let mut slot = 0;
        for mbuf in burst.drain(..taken) {
            slot = self.transmit(mbuf, slot, mem, stats);
        }
        self.queue.tx.submit(slot);
        self.in_flight += slot;
        taken
    }

    /// Writes a frame's descriptors from `slot` on; the next free slot.
    fn transmit(&mut self, mbuf: Mbuf, slot: u32, mem: &mut MempoolCache, stats: &PortCounters) -> u32 {
        let bytes = mbuf.len();
        let offload = mem.pool().offload(&mbuf);
        let longest =
            if offload.gso == Gso::None { bytes } else { usize::from(offload.hdr_len) + usize::from(offload.gso_size) };
        if longest > self.max_frame {
            stats.drop_n(DropReason::Oversize, 1);
            mem.free(mbuf);
            return slot;
        }
        if offload.gso == Gso::None {
            return match self.push(mbuf, offload, slot, mem.pool(), stats) {
                Ok(next) => {
                    stats.sent(1, bytes);
                    next
                }
                Err(mbuf) => {
                    stats.drop_n(DropReason::BadOffload, 1);
                    mem.free(mbuf);
                    slot
                }
            };
        }
        self.transmit_segments(mbuf, slot, mem, stats)
    }

    fn transmit_segments(&mut self, mbuf: Mbuf, slot: u32, mem: &mut MempoolCache, stats: &PortCounters) -> u32 {
        let mut segments = arrayvec::ArrayVec::<Mbuf, { gso::MAX_SEGMENTS }>::new();
        let made = gso::segment(mem, &mbuf, &mut |segment| segments.push(segment));
        let mut next = slot;
        for segment in segments {
            let offload = mem.pool().offload(&segment);
            match self.push(segment, offload, next, mem.pool(), stats) {
                Ok(after) => next = after,
                Err(segment) => mem.free(segment),
            }
        }
        match made {
            Ok(n) => {
                stats.sent(1, mbuf.len());
                stats.tx_segments.add(n as u64);
            }
            Err(error) => stats.drop_n(error.reason(), 1),
        }
        mem.free(mbuf);
        next
    }

    /// Lends a frame's segments to the kernel, one descriptor each. Gives the frame back if its offload state is
    /// nonsense.
    fn push(
        &mut self,
        mut mbuf: Mbuf,
        offload: Offload,
        slot: u32,
        pool: &Mempool,
        stats: &PortCounters,
    ) -> Result<u32, Mbuf> {
        let mut options = 0;
        if offload.needs_csum {
            if self.abilities.tx_checksum && request_checksum(pool, &mut mbuf, offload) {
                options = OPTION_TX_METADATA;
            } else if csum::complete(pool, &mut mbuf).is_ok() {
                stats.tx_checksums.add(1);
            } else {
                return Err(mbuf);
            }
        }
        let (mut slot, mut next) = (slot, Some(mbuf));
        while let Some(mbuf) = next {
            let (lent, rest) = self.owner.lend(mbuf);
            let more = if rest.is_some() { OPTION_CONTD } else { 0 };
            self.queue.tx.write(slot, Desc { addr: lent.addr, len: lent.len, options: options | more });
            (slot, next, options) = (slot + 1, rest, 0);
        }
        Ok(slot)
    }

    /// See [`Pmd::flush`](super::Pmd::flush).
    pub fn flush(&mut self, mem: &mut MempoolCache) -> Backlog {
        if self.fill_deficit > 0 {
            self.refill(mem);
        }
        if self.in_flight == 0 {
            return Backlog::None;
        }
        let kicked = self.kick();
        self.reap(mem);
        match (kicked, self.in_flight) {
            (_, 0) => Backlog::None,
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

    pub(super) fn wait_fd(&self) -> BorrowedFd<'_> {
        self.queue.socket.as_fd()
    }

    pub(super) fn fault(&self) -> Option<&io::Error> {
        self.fault.as_ref()
    }

    /// The kernel's own counters of this socket.
    ///
    /// # Errors
    /// When the kernel refuses getsockopt.
    pub fn statistics(&self) -> io::Result<af_xdp::Statistics> {
        self.queue.socket.statistics()
    }

    /// Closes the socket and brings home every frame the kernel held. The kernel does not touch the arena any more
    /// once the descriptor is closed (xsk_release waits for receivers).
    pub fn close(self, mem: &mut MempoolCache) {
        let Self { queue, owner, partial, .. } = self;
        if let Some(mbuf) = partial {
            mem.free(mbuf);
        }
        drop(queue);
        mem.pool().sweep(owner);
    }
}

/// TX descriptors a frame takes.
fn descriptors(pool: &Mempool, mbuf: &Mbuf) -> u32 {
    let n = if pool.is_gso(mbuf) { gso::segments_needed(&pool.offload(mbuf), mbuf.len()) } else { mbuf.segments() };
    u32::try_from(n).unwrap_or(u32::MAX / 2)
}

/// Asks the kernel, by metadata right below the frame, to complete the checksum; false if it must be done here.
///
/// A checksum beyond the first descriptor would be refused with EINVAL, and the frame would then block the ring's head
/// for ever (xsk_skb_metadata in net/xdp/xsk.c).
fn request_checksum(pool: &Mempool, mbuf: &mut Mbuf, offload: Offload) -> bool {
    let end = usize::from(offload.csum_start) + usize::from(offload.csum_offset) + 2;
    if end > pool.data(mbuf).len() {
        return false;
    }
    #[allow(clippy::cast_possible_truncation, reason = "24")]
    let Some(below) = pool.below(mbuf, tx_metadata::LEN as u16).and_then(|b| b.first_chunk_mut()) else { return false };
    tx_metadata::write_checksum_request(below, offload.csum_start, offload.csum_offset);
    true
}

/// Puts a VLAN tag behind the addresses, as it was on the wire.
fn insert_tag(pool: &Mempool, mbuf: &mut Mbuf, tag: VlanTag) {
    #[allow(clippy::cast_possible_truncation, reason = "4")]
    let Some(frame) = pool.prepend(mbuf, TAG_LEN as u16) else { return };
    if frame.len() < 16 {
        // A runt: the switch drops it by its length, tag or no tag.
        return;
    }
    frame.copy_within(TAG_LEN..TAG_LEN + 12, 0);
    frame[12..14].copy_from_slice(&tag.tpid.to_be_bytes());
    frame[14..16].copy_from_slice(&tag.tci.to_be_bytes());
}
