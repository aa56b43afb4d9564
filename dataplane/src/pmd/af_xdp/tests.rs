//! A queue on rings without a kernel: the test plays the kernel.

use super::*;
use crate::mem::{Arena, ArenaConfig, Burst, CHUNK_SIZE, Gso, Hugepages, Mbuf, Mempool, Offload, TAILROOM, chunks_for};
use crate::stats::{DropReason, PortCounters, PortStats};
use ::af_xdp::testing::{Kernel, queue};
use ::af_xdp::{Desc, OPTION_CONTD, OPTION_TX_METADATA};
use std::sync::Arc;

struct Rig {
    queue: AfXdp,
    kernel: Kernel,
    pool: Arc<Mempool>,
    mem: MempoolCache,
    stats: PortCounters,
}

impl Rig {
    fn new(mtu: u32) -> Self {
        let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 2048, hugepages: Hugepages::Off }).unwrap());
        let (rings, kernel) = queue(256).unwrap();
        let mut queue = AfXdp {
            queue: rings,
            owner: pool.new_owner(),
            abilities: Abilities { vlan_meta: false, rx_partial: false, tx_checksum: true },
            max_frame: 0,
            overhead: HEADER_LEN + TAG_LEN,
            max_descriptors: if mtu > 1500 { MAX_DESCRIPTORS } else { 1 },
            depth: 200,
            fill_deficit: 200,
            in_flight: 0,
            partial: None,
            fault: None,
        };
        queue.set_mtu(mtu);
        let mut rig = Self { queue, kernel, mem: MempoolCache::new(&pool), pool, stats: PortCounters::default() };
        rig.queue.refill(&mut rig.mem);
        rig
    }

    /// The kernel receives a frame in segments of these lengths.
    fn arrive(&mut self, segments: &[u32]) {
        for (i, len) in segments.iter().enumerate() {
            assert_eq!((self.kernel.fill.peek(1), self.kernel.rx.reserve(1)), (1, 1));
            let (addr, more) = (self.kernel.fill.read(0) + 256, i + 1 < segments.len());
            self.kernel.fill.release(1);
            self.kernel.rx.write(0, Desc { addr, len: *len, options: if more { OPTION_CONTD } else { 0 } });
            self.kernel.rx.submit(1);
        }
    }

    /// Lengths and segments of the frames of one burst, which are freed.
    fn receive(&mut self) -> Vec<(usize, usize)> {
        let mut burst = Burst::new();
        self.queue.rx_burst(&mut burst, &mut self.mem, &self.stats);
        let seen = burst.iter().map(|mbuf| (mbuf.len(), mbuf.segments())).collect();
        self.mem.free_burst(&mut burst);
        seen
    }

    /// Sends one frame; the descriptors that the kernel finds, and completes.
    fn send(&mut self, mbuf: Mbuf) -> Vec<Desc> {
        let mut burst: Burst = [mbuf].into_iter().collect();
        self.queue.tx_burst(&mut burst, &mut self.mem, &self.stats);
        assert!(burst.is_empty(), "there was room");
        let n = self.kernel.tx.peek(256);
        let found: Vec<Desc> = (0..n).map(|i| self.kernel.tx.read(i)).collect();
        self.kernel.tx.release(n);
        assert_eq!(self.kernel.completion.reserve(n), n);
        found.iter().zip(0..).for_each(|(desc, i)| self.kernel.completion.write(i, desc.addr));
        self.kernel.completion.submit(n);
        self.queue.flush(&mut self.mem);
        found
    }

    fn drops(&self, reason: DropReason) -> u64 {
        let mut sum = PortStats::default();
        sum.add(&self.stats);
        sum.drops[reason as usize]
    }

    /// Every frame comes home.
    fn close(self) {
        let Self { queue, mut mem, pool, .. } = self;
        queue.close(&mut mem);
        drop(mem);
        assert_eq!(pool.free(), pool.total());
    }
}

#[test]
fn segments_become_one_frame_also_over_bursts() {
    let mut rig = Rig::new(9000);
    rig.arrive(&[60]);
    rig.arrive(&[1792, 1792, 1792, 1792, 1792, 54]);
    rig.arrive(&[1792; 30]);
    rig.arrive(&[1000]);
    assert_eq!(rig.receive(), [(60, 1), (9014, 6)]);
    assert_eq!(rig.receive(), [(30 * 1792, 30), (1000, 1)]);
    rig.close();
}

#[test]
fn a_frame_of_too_many_segments_is_dropped_whole() {
    let mut rig = Rig::new(9000);
    rig.arrive(&[100; 70]);
    rig.arrive(&[60]);
    let seen: Vec<_> = (0..4).flat_map(|_| rig.receive()).collect();
    assert_eq!((seen, rig.drops(DropReason::Truncated)), (vec![(60, 1)], 1));
    rig.close();
}

#[test]
fn a_frame_that_was_not_finished_comes_home_at_the_end() {
    let mut rig = Rig::new(9000);
    assert_eq!((rig.kernel.fill.peek(1), rig.kernel.rx.reserve(1)), (1, 1));
    let addr = rig.kernel.fill.read(0) + 256;
    rig.kernel.fill.release(1);
    rig.kernel.rx.write(0, Desc { addr, len: 1792, options: OPTION_CONTD });
    rig.kernel.rx.submit(1);
    assert_eq!(rig.receive(), []);
    rig.close();
}

/// Descriptors as the kernel wants them (xp_aligned_validate_desc): room for metadata below, data within the chunk.
fn assert_valid(found: &[Desc], bytes: usize) {
    assert_eq!(found.iter().map(|desc| desc.len as usize).sum::<usize>(), bytes);
    let more: Vec<bool> = found.iter().map(|desc| desc.options & OPTION_CONTD != 0).collect();
    assert_eq!(more, [vec![true; found.len() - 1], vec![false]].concat());
    for desc in found {
        let offset = usize::try_from(desc.addr).unwrap() % CHUNK_SIZE;
        assert!(offset >= ::af_xdp::tx_metadata::LEN && offset + desc.len as usize <= CHUNK_SIZE, "{desc:?}");
    }
}

#[test]
fn a_jumbo_frame_is_a_chain_of_descriptors() {
    let mut rig = Rig::new(9000);
    for len in [1, 1792, 1793, 9018] {
        let mbuf = rig.mem.alloc_len(len).unwrap();
        let found = rig.send(mbuf);
        assert_eq!(found.len(), chunks_for(len));
        assert_valid(&found, len);
    }
    assert_eq!(rig.stats.tx_frames.get(), 4);
    rig.close();
}

#[test]
fn chunks_without_room_below_are_copied() {
    let mut rig = Rig::new(9000);
    // As a TAP reads: the tail fills its chunk from the first byte on.
    let mut mbuf = rig.mem.alloc_len(100).unwrap();
    let mut tail = rig.mem.alloc().unwrap();
    while rig.pool.prepend(&mut tail, 32).is_some() {}
    rig.pool.append(&mut mbuf, tail).unwrap();
    let len = mbuf.len();
    assert!(!rig.pool.tails_have_room(&mbuf, TAILROOM));
    let found = rig.send(mbuf);
    assert_valid(&found, len);
    rig.close();
}

#[test]
fn what_the_device_does_not_pass_is_refused_by_name() {
    let mut rig = Rig::new(1500);
    for (len, fits) in [(1518, true), (1519, false)] {
        let mbuf = rig.mem.alloc_len(len).unwrap();
        assert_eq!(rig.send(mbuf).len(), usize::from(fits));
    }
    rig.queue.set_mtu(1280);
    let mbuf = rig.mem.alloc_len(1400).unwrap();
    assert!(rig.send(mbuf).is_empty());
    assert_eq!((rig.drops(DropReason::Oversize), rig.stats.tx_frames.get()), (2, 1));
    rig.close();
}

#[test]
fn a_raised_mtu_does_not_make_frames_longer_than_descriptors_hold() {
    for (mtu, longest) in [(1500, FIRST_SEGMENT), (9000, MAX_FRAME)] {
        let mut rig = Rig::new(mtu);
        rig.queue.set_mtu(u32::MAX >> 1);
        for (len, fits) in [(longest, true), (longest + 1, false)] {
            let mbuf = rig.mem.alloc_len(len).unwrap();
            assert_eq!(!rig.send(mbuf).is_empty(), fits, "{len} bytes");
        }
        rig.close();
    }
}

#[test]
fn a_short_frame_in_two_chunks_is_made_one_where_chains_are_not_taken() {
    let mut rig = Rig::new(1500);
    let (mut mbuf, tail) = (rig.mem.alloc_len(60).unwrap(), rig.mem.alloc_len(40).unwrap());
    rig.pool.append(&mut mbuf, tail).unwrap();
    let found = rig.send(mbuf);
    assert_eq!(found.len(), 1);
    assert_valid(&found, 100);
    rig.close();
}

#[test]
fn a_partial_checksum_is_asked_for_on_the_first_descriptor_only() {
    let mut rig = Rig::new(9000);
    let mut mbuf = rig.mem.alloc_len(4000).unwrap();
    let offload = Offload { csum_start: 34, csum_offset: 16, needs_csum: true, gso: Gso::None, ..Offload::NONE };
    rig.pool.set_offload(&mut mbuf, offload);
    let found = rig.send(mbuf);
    let asked: Vec<bool> = found.iter().map(|desc| desc.options & OPTION_TX_METADATA != 0).collect();
    assert_eq!(asked, [true, false, false]);
    rig.close();
}

#[test]
fn a_queue_whose_fill_ring_lacks_frames_says_so_until_it_is_full_again() {
    let mut rig = Rig::new(1500);
    let mut held: Vec<Mbuf> = std::iter::from_fn(|| rig.mem.alloc()).collect();
    for _ in 0..200 {
        rig.arrive(&[60]);
    }
    for _ in 0..7 {
        let mut burst = Burst::new();
        rig.queue.rx_burst(&mut burst, &mut rig.mem, &rig.stats);
        held.extend(burst);
    }
    assert_eq!((rig.queue.flush(&mut rig.mem), rig.kernel.fill.peek(256)), (Backlog::Starved, 0));
    held.drain(..100).for_each(|mbuf| rig.mem.free(mbuf));
    assert_eq!((rig.queue.flush(&mut rig.mem), rig.kernel.fill.peek(256)), (Backlog::Starved, 100));
    held.drain(..).for_each(|mbuf| rig.mem.free(mbuf));
    assert_eq!((rig.queue.flush(&mut rig.mem), rig.kernel.fill.peek(256)), (Backlog::None, 200));
    rig.close();
}

#[test]
fn a_driver_that_waits_for_frames_is_kicked_though_none_arrive() {
    let mut rig = Rig::new(1500);
    let asked = |rig: &mut Rig| (rig.receive(), rig.kernel.rx_wakeups()).1;
    assert_eq!(asked(&mut rig), 0);
    rig.kernel.fill.set_needs_wakeup(true);
    assert_eq!(asked(&mut rig), 1);
    rig.kernel.fill.set_needs_wakeup(false);
    assert_eq!(asked(&mut rig), 0);
    rig.close();
}
