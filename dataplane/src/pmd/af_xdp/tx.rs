//! The sending half of a queue: frames become descriptors, one per segment; what the kernel would not take is cut,
//! completed or copied first.

use super::{AfXdp, MAX_DEPTH};
use crate::mem::{Burst, Gso, Mbuf, Mempool, MempoolCache, Offload, chunks_for};
use crate::offload::{csum, gso};
use crate::stats::{DropReason, PortCounters};
use af_xdp::{Desc, OPTION_CONTD, OPTION_TX_METADATA, tx_metadata};

impl AfXdp {
    /// See [`Pmd::tx_burst`](crate::pmd::Pmd::tx_burst).
    pub fn tx_burst(&mut self, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        if self.fault.is_some() {
            let n = burst.len();
            stats.drop_n(DropReason::LinkDown, n);
            mem.free_burst(burst);
            return n;
        }
        let room = self.queue.tx.reserve(MAX_DEPTH);
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
        let offload = mem.pool().offload(&mbuf);
        if longest(&mbuf, &offload) > self.max_frame {
            return refuse(mbuf, DropReason::Oversize, slot, (mem, stats));
        }
        if offload.gso != Gso::None {
            return self.transmit_segments(mbuf, slot, mem, stats);
        }
        let bytes = mbuf.len();
        let mbuf = match sendable(mbuf, self.max_descriptors, mem) {
            Ok(mbuf) => mbuf,
            Err(mbuf) => return refuse(mbuf, DropReason::NoMbuf, slot, (mem, stats)),
        };
        match self.push(mbuf, offload, slot, mem.pool(), stats) {
            Ok(next) => {
                stats.sent(1, bytes);
                next
            }
            Err(mbuf) => refuse(mbuf, DropReason::BadOffload, slot, (mem, stats)),
        }
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
}

/// Bytes of the longest frame that becomes of this one.
fn longest(mbuf: &Mbuf, offload: &Offload) -> usize {
    if offload.gso == Gso::None { mbuf.len() } else { usize::from(offload.hdr_len) + usize::from(offload.gso_size) }
}

/// Drops a frame; no descriptor was used.
fn refuse(mbuf: Mbuf, reason: DropReason, slot: u32, (mem, stats): (&mut MempoolCache, &PortCounters)) -> u32 {
    stats.drop_n(reason, 1);
    mem.free(mbuf);
    slot
}

/// TX descriptors a frame takes at most.
fn descriptors(pool: &Mempool, mbuf: &Mbuf) -> u32 {
    let n = match mbuf.segments() {
        1 if !mbuf.is_offloaded() => 1,
        segments => {
            let offload = pool.offload(mbuf);
            let frames = gso::segments_needed(&offload, mbuf.len());
            // A chain that is copied may take one chunk more.
            if frames > 1 { frames * chunks_for(longest(mbuf, &offload)) } else { segments.max(chunks_for(mbuf.len())) }
        }
    };
    u32::try_from(n).unwrap_or(u32::MAX / 2)
}

/// The frame in chunks that the kernel takes: room for metadata below each, at most `most`. What came
/// from elsewhere, such as the neighbouring chunks that a TAP reads into, is copied.
///
/// # Errors
/// The frame, when the pool is exhausted.
fn sendable(mbuf: Mbuf, most: usize, mem: &mut MempoolCache) -> Result<Mbuf, Mbuf> {
    if mbuf.segments() == 1 || (mbuf.segments() <= most && mem.pool().tails_have_room(&mbuf, tx_metadata::LEN)) {
        return Ok(mbuf);
    }
    let Some(copy) = mem.copy(&mbuf) else { return Err(mbuf) };
    mem.free(mbuf);
    Ok(copy)
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
