//! Baselines of the pipeline: the same bursts, with less work per frame.

use crate::median;
use dataplane::lcore;
use dataplane::mem::{Arena, ArenaConfig, Burst, Hugepages, Mempool, MempoolCache};
use dataplane::port::PortId;
use dataplane::switch::Switch;
use dataplane::switch::fdb::Fdb;
use std::hint::black_box;
use std::sync::Arc;

/// Where everything goes.
const OUT: PortId = PortId(1);

/// What is done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Baseline {
    /// It is put into the lane of a fixed port and freed: nothing is parsed, learned or looked up.
    Null,
    /// Its bytes are copied into another chunk of the arena.
    Memcpy,
}

impl Baseline {
    /// Cycles per frame of `bytes`, `n` at a time; taken as those of the pipeline are.
    ///
    /// # Panics
    /// If a frame of so many bytes does not fit into a chunk.
    #[must_use]
    pub fn cycles(self, n: usize, bytes: usize) -> f64 {
        let pool =
            Mempool::new(Arena::new(&ArenaConfig { frames: 16384, hugepages: Hugepages::Auto }).expect("memory"));
        let mut mem = MempoolCache::new(&pool);
        let frame = vec![1; bytes];
        match self {
            Self::Null => null(&mut mem, n, &frame),
            Self::Memcpy => memcpy(&mut mem, n, &frame),
        }
    }
}

fn burst(mem: &mut MempoolCache, n: usize, frame: &[u8]) -> Burst {
    (0..n).map(|_| mem.alloc_from(frame).expect("frames are freed before more are taken")).collect()
}

fn null(mem: &mut MempoolCache, n: usize, frame: &[u8]) -> f64 {
    let mut egress = Switch::new(Arc::new(Fdb::with_seed(64, 1))).egress;
    median(n, || {
        let mut burst = burst(mem, n, frame);
        let from = lcore::cycles();
        burst
            .drain(..)
            .for_each(|mbuf| egress.push(black_box(OUT), mbuf).unwrap_or_else(|_| unreachable!("one burst")));
        while let Some((_, lane)) = egress.next_dirty() {
            mem.free_burst(lane);
        }
        lcore::cycles() - from
    })
}

/// Both frames are in this core's caches, as those of the pipeline are: copying costs no less.
fn memcpy(mem: &mut MempoolCache, n: usize, frame: &[u8]) -> f64 {
    let (mut from, mut to) = (burst(mem, n, frame), burst(mem, n, frame));
    assert!(from.iter().all(|mbuf| mbuf.segments() == 1), "{} bytes do not fit into a chunk", frame.len());
    let pool = Arc::clone(mem.pool());
    let cycles = median(n, || {
        let start = lcore::cycles();
        for (from, to) in from.iter().zip(&mut to) {
            black_box(pool.data_mut(to)).copy_from_slice(black_box(pool.data(from)));
        }
        lcore::cycles() - start
    });
    [&mut from, &mut to].into_iter().for_each(|burst| mem.free_burst(burst));
    cycles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copying_more_takes_longer_and_frames_come_home() {
        // a frame that is lost panics
        let copy = |bytes| Baseline::Memcpy.cycles(32, bytes);
        assert!(copy(1514) > copy(64));
        assert!(Baseline::Null.cycles(32, 64) > 0.0);
    }
}
