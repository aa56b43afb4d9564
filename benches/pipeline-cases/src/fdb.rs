//! The forwarding table alone: the cost of learning a known source and looking up the destination of a frame.

use dataplane::eth::MacAddr;
use dataplane::lcore;
use dataplane::port::PortId;
use dataplane::switch::fdb::{Fdb, Fid};
use std::hint::black_box;

const FID: Fid = Fid::new(1).unwrap();
const NOW: u32 = 1000;
const BURST: usize = 32;
/// Frames of one round.
const FRAMES: usize = 1 << 16;
const ROUNDS: usize = 21;

/// How frames are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Each for itself.
    Single,
    /// In bursts of 32, all prefetched before the first is looked at: what the switch does.
    Burst,
}

/// A table full of stations, and traffic between them in random order.
#[derive(Debug)]
pub struct Table {
    fdb: Fdb,
    stations: Vec<(MacAddr, PortId)>,
    next: usize,
}

impl Table {
    /// With `n` stations on 32 ports.
    pub fn with(n: u32) -> Self {
        let (fdb, mut stations) = (Fdb::with_seed(n, super::SEED), stations(n));
        // a burst is full even when all its frames are from one station
        stations.resize(stations.len().next_multiple_of(BURST), stations[0]);
        for (mac, port) in &stations {
            let _ = fdb.learn(FID, *mac, *port, NOW);
        }
        Self { fdb, stations, next: 0 }
    }

    /// Cycles of the time-stamp counter per frame: the median of 21 rounds. Rounds go on where the one before stopped,
    /// so that no round finds entries in the cache that a walk over the whole table would have evicted.
    pub fn cycles(&mut self, way: Way) -> f64 {
        let mut rounds: Vec<u64> = (0..ROUNDS).map(|_| self.round(way)).collect();
        rounds.sort_unstable();
        rounds[ROUNDS / 2] as f64 / FRAMES as f64
    }

    fn round(&mut self, way: Way) -> u64 {
        let from = lcore::cycles();
        for _ in 0..FRAMES / BURST {
            let burst = &self.stations[self.next..self.next + BURST];
            match way {
                Way::Single => one_by_one(&self.fdb, burst),
                Way::Burst => together(&self.fdb, burst),
            }
            self.next = if self.next + 2 * BURST > self.stations.len() { 0 } else { self.next + BURST };
        }
        lcore::cycles() - from
    }
}

fn one_by_one(fdb: &Fdb, burst: &[(MacAddr, PortId)]) {
    for ((mac, port), (other, _)) in burst.iter().zip(burst.iter().rev()) {
        let _ = black_box(fdb.learn(FID, *mac, *port, NOW));
        black_box(fdb.lookup(FID, *other));
    }
}

fn together(fdb: &Fdb, burst: &[(MacAddr, PortId)]) {
    let mut keys = [fdb.hash(FID, burst[0].0); BURST];
    for (key, (mac, _)) in keys.iter_mut().zip(burst) {
        *key = fdb.hash(FID, *mac);
        fdb.prefetch_at(*key);
    }
    for ((key, other), (_, port)) in keys.iter().zip(keys.iter().rev()).zip(burst) {
        let _ = black_box(fdb.learn_at(*key, *port, NOW));
        black_box(fdb.lookup_at(*other));
    }
}

/// `n` stations in random order, on 32 ports; the same every time.
#[allow(clippy::cast_possible_truncation, reason = "five bits are a port")]
#[must_use]
pub fn stations(n: u32) -> Vec<(MacAddr, PortId)> {
    let mut x = 88_172_645_463_325_252_u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    let station = |bits: u64| (MacAddr::from_u64(bits & !(1 << 40)), PortId((bits >> 59) as u16));
    (0..n).map(|_| station(next())).collect()
}
