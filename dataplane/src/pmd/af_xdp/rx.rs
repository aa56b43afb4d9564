//! The receiving half of a queue: descriptors become frames, and what the driver took off them is put back.

use super::program::{VLAN_META_LEN, VlanTag, parse_vlan_meta};
use super::{AfXdp, REAP};
use crate::eth::TAG_LEN;
use crate::mem::{BURST_SIZE, Burst, CHUNK_SIZE, Mbuf, Mempool, MempoolCache};
use crate::offload::detect;
use crate::stats::{DropReason, PortCounters};
use af_xdp::{Desc, OPTION_CONTD};

/// A frame of which more is to come.
#[derive(Debug)]
pub(super) enum Partial {
    /// The segments so far.
    Chain(Mbuf),
    /// It has more segments than a chain may have: the rest is thrown away, and then it counts as dropped.
    Refused,
}

impl AfXdp {
    /// See [`Pmd::rx_burst`](crate::pmd::Pmd::rx_burst).
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
        if n == 0 {
            self.kick_rx();
        }
        burst.len()
    }

    /// One system call if the driver has run out of empty frames and waits to be told of new ones. It may say so at any
    /// moment after the ring was filled, so it is looked at whenever nothing has come.
    fn kick_rx(&self) {
        if self.queue.fill.needs_wakeup() {
            self.queue.socket.wakeup_rx();
        }
    }

    /// One descriptor: a frame, or a segment of one.
    fn receive(&mut self, desc: Desc, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) {
        let Some(segment) = self.owner.reclaim(desc.addr, desc.len) else {
            stats.received(1, 0);
            return stats.drop_n(DropReason::BadDescriptor, 1);
        };
        let more = desc.options & OPTION_CONTD != 0;
        let so_far = match self.partial.take() {
            None => Partial::Chain(segment),
            Some(Partial::Chain(first)) => chain(first, segment, mem),
            Some(Partial::Refused) => {
                mem.free(segment);
                Partial::Refused
            }
        };
        match so_far {
            so_far if more => self.partial = Some(so_far),
            Partial::Chain(mbuf) => {
                let mbuf = self.restore(mbuf, mem.pool());
                burst.push(mbuf);
            }
            Partial::Refused => {
                stats.received(1, 0);
                stats.drop_n(DropReason::Truncated, 1);
            }
        }
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
    pub(super) fn refill(&mut self, mem: &mut MempoolCache) {
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
        self.kick_rx();
    }
}

/// Adds a segment to a frame.
fn chain(mut first: Mbuf, segment: Mbuf, mem: &mut MempoolCache) -> Partial {
    match mem.pool().append(&mut first, segment) {
        Ok(()) => Partial::Chain(first),
        Err(segment) => {
            mem.free(segment);
            mem.free(first);
            Partial::Refused
        }
    }
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
