//! The whole engine with its workers; every port is a patch cable whose other end the test holds.

use crate::common::{take_bytes, wait_until};
use crate::reference::{DomainSetup, Mac};
use crate::subject::{Outputs, Subject, Tallies, tally};
use dataplane::engine::{DomainSpec, Engine, EngineConfig, FdbEntry, PortSpec, Snapshot};
use dataplane::eth::MacAddr;
use dataplane::idle::Poll;
use dataplane::mem::{BURST_SIZE, Burst, Mempool, MempoolCache};
use dataplane::pmd::Pmd;
use dataplane::pmd::ring;
use dataplane::port::{DomainId, PortId};
use dataplane::stats::PortCounters;
use dataplane::switch::fdb::Kind;
use dataplane::switch::policy::{DomainPolicy, PortPolicy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Frames a cable holds; more than a test sends before it looks.
pub const CABLE: u32 = 2048;
/// Ageing of domains that age: longer than any test.
const LONG: Duration = Duration::from_secs(3600);

pub struct Wired {
    pub engine: Engine,
    pub mem: MempoolCache,
    /// The other ends.
    pub far: BTreeMap<u16, Pmd>,
    /// What the other ends count; nobody asks.
    scrap: PortCounters,
    sent: u64,
}

/// The cores to use: as many as wanted, the same one again where the machine has fewer.
pub fn cores(workers: usize) -> Vec<usize> {
    let mine: Vec<usize> = core_affinity::get_core_ids().expect("cores").into_iter().map(|core| core.id).collect();
    mine.into_iter().cycle().take(workers).collect()
}

impl Wired {
    pub fn new(pool: &Arc<Mempool>, workers: usize) -> Self {
        let workers = cores(workers).into_iter().map(|core| (core, Poll::Adaptive)).collect();
        let config = EngineConfig { workers, fdb_entries: 1024, pool: Arc::clone(pool) };
        Self {
            engine: Engine::start(config).expect("an engine"),
            mem: MempoolCache::new(pool),
            far: BTreeMap::new(),
            scrap: PortCounters::default(),
            sent: 0,
        }
    }

    /// Puts frames into the cable of `port`, without waiting for what becomes of them.
    pub fn inject(&mut self, port: u16, frames: &[Vec<u8>]) {
        let cable = self.far.get_mut(&port).expect("a port");
        for chunk in frames.chunks(BURST_SIZE) {
            let mut burst: Burst = chunk.iter().map(|f| self.mem.alloc_from(f).expect("frames left")).collect();
            wait_until("room in the cable", || {
                cable.tx_burst(&mut burst, &mut self.mem, &self.scrap);
                burst.is_empty()
            });
        }
        self.sent += frames.len() as u64;
    }

    /// Waits until every frame ever injected has come to its end.
    pub fn settle(&self) {
        let mut before = None;
        wait_until("all frames to be dealt with", || {
            let now = self.engine.stats();
            let key = fingerprint(&now);
            // Twice the same, since counters are read one after the other while workers count.
            let settled = key.0 == self.sent && key.1 == 0 && before.as_ref() == Some(&key);
            before = Some(key);
            settled
        });
    }

    /// What has arrived at the other end of `port`'s cable.
    pub fn collect_from(&mut self, port: u16) -> Vec<Vec<u8>> {
        let cable = self.far.get_mut(&port).expect("a port");
        let (mut out, mut burst) = (Vec::new(), Burst::new());
        while cable.rx_burst(&mut burst, &mut self.mem, &self.scrap) > 0 {
            out.extend(burst.drain(..).map(|mbuf| take_bytes(&mut self.mem, mbuf)));
        }
        out
    }

    /// What has arrived at the other ends; ports where nothing has are left out.
    pub fn collect(&mut self) -> Outputs {
        let ports: Vec<u16> = self.far.keys().copied().collect();
        let all = ports.into_iter().map(|port| (port, self.collect_from(port)));
        all.filter(|(_, frames)| !frames.is_empty()).collect()
    }
}

/// Frames received, balance, and all counters, of all ports there ever were.
fn fingerprint(now: &Snapshot) -> (u64, i128, Vec<u64>) {
    let all = || now.ports.iter().map(|(_, stats)| stats).chain([&now.removed]);
    let counters = all().flat_map(|s| [s.rx_frames, s.tx_frames, s.flood_copies].into_iter().chain(s.drops));
    (all().map(|s| s.rx_frames).sum(), all().map(|s| s.balance()).sum(), counters.collect())
}

impl Subject for Wired {
    fn add_domain(&mut self, setup: DomainSetup) -> u16 {
        let spec =
            DomainSpec { mtu: setup.mtu, policy: DomainPolicy::learning(setup.ageing.map(|_| LONG), setup.fdb_limit) };
        self.engine.add_domain(spec).expect("a domain").0
    }

    fn remove_domain(&mut self, domain: u16) {
        self.engine.remove_domain(DomainId(domain)).expect("a domain without ports");
    }

    fn add_port(&mut self, domain: u16, fdb_limit: u32) -> u16 {
        let (near, far) = ring::pair(CABLE).expect("a cable");
        let spec =
            PortSpec { domain: DomainId(domain), policy: PortPolicy::limited(fdb_limit), queues: vec![near.into()] };
        let port = self.engine.add_port(spec).expect("a port").0;
        self.far.insert(port, far.into());
        port
    }

    fn remove_port(&mut self, port: u16) {
        self.engine.remove_port(PortId(port)).expect("a port");
        self.far.remove(&port).expect("a port").close(&mut self.mem);
    }

    fn add_static(&mut self, domain: u16, mac: Mac, port: u16) {
        let entry = FdbEntry::Sticky(PortId(port));
        self.engine.add_entry(DomainId(domain), 0, MacAddr(mac), entry).expect("a static entry");
    }

    fn forget(&mut self, domain: u16, mac: Mac) -> bool {
        self.engine.remove_entry(DomainId(domain), 0, MacAddr(mac))
    }

    fn send(&mut self, port: u16, frames: &[Vec<u8>]) {
        self.inject(port, frames);
        self.settle();
    }

    fn tick(&mut self, _now: u32) {
        // The engine has a clock of its own, and no test lasts as long as `LONG`.
        self.engine.tick();
    }

    fn output(&mut self) -> Outputs {
        self.collect()
    }

    fn tallies(&mut self) -> (Tallies, i128) {
        let now = self.engine.stats();
        let tallies = now.ports.iter().map(|(port, stats)| (port.0, tally(stats))).collect();
        (tallies, fingerprint(&now).1)
    }

    fn stations(&self) -> Vec<(u16, Mac, u16, bool)> {
        let records = self.engine.fdb().into_iter();
        let mut all: Vec<_> =
            records.map(|r| (r.domain.0, r.mac.0, r.port.map_or(u16::MAX, |p| p.0), r.kind != Kind::Learned)).collect();
        all.sort_unstable();
        all
    }

    fn finish(mut self) -> (u32, u32) {
        for (_, cable) in std::mem::take(&mut self.far) {
            cable.close(&mut self.mem);
        }
        drop(self.mem);
        let report = self.engine.stop();
        (report.total, report.free)
    }
}
