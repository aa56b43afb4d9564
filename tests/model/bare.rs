//! `Switch`, `Fdb` and egress lanes on one thread, without workers and drivers: time can be told what to be.

use crate::common::take_bytes;
use crate::reference::{DomainSetup, Mac};
use crate::subject::{Outputs, Subject, Tallies, tally};
use dataplane::eth::MacAddr;
use dataplane::mem::{BURST_SIZE, Burst, Mempool, MempoolCache};
use dataplane::port::{DomainId, MAX_PORTS, PortId};
use dataplane::stats::{PortCounters, PortStats};
use dataplane::switch::fdb::{Fdb, Fid, Fixed, Kind};
use dataplane::switch::policy::{DomainPolicy, PortPolicy};
use dataplane::switch::{Domain, Egress, Member, Switch};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub struct Bare {
    switch: Switch,
    fdb: Arc<Fdb>,
    mem: MempoolCache,
    counters: Vec<PortCounters>,
    domains: BTreeMap<u16, DomainSetup>,
    ports: BTreeMap<u16, PortStats>,
    removed: i128,
    out: Outputs,
}

fn fid(domain: u16) -> Fid {
    Fid::new(domain).expect("few domains")
}

impl Bare {
    pub fn new(pool: &Arc<Mempool>) -> Self {
        let fdb = Arc::new(Fdb::new(1024));
        Self {
            switch: Switch::new(Arc::clone(&fdb)),
            fdb,
            mem: MempoolCache::new(pool),
            counters: (0..MAX_PORTS).map(|_| PortCounters::default()).collect(),
            domains: BTreeMap::new(),
            ports: BTreeMap::new(),
            removed: 0,
            out: Outputs::new(),
        }
    }

    /// Counters of a port since it got its id.
    fn since(&self, port: u16) -> PortStats {
        let (base, mut now) = (&self.ports[&port], PortStats::default());
        now.add(&self.counters[usize::from(port)]);
        let drops = std::array::from_fn(|i| now.drops[i] - base.drops[i]);
        PortStats {
            rx_frames: now.rx_frames - base.rx_frames,
            rx_bytes: now.rx_bytes - base.rx_bytes,
            tx_frames: now.tx_frames - base.tx_frames,
            tx_bytes: now.tx_bytes - base.tx_bytes,
            flood_copies: now.flood_copies - base.flood_copies,
            drops,
            ..now
        }
    }
}

/// What a worker does with the lanes, here into a list.
fn drain(egress: &mut Egress, mem: &mut MempoolCache, counters: &[PortCounters], out: &mut Outputs) {
    while let Some((port, lane)) = egress.next_dirty() {
        for mbuf in lane.drain(..) {
            counters[port.index()].sent(1, mbuf.len());
            out.entry(port.0).or_default().push(take_bytes(mem, mbuf));
        }
    }
}

impl Subject for Bare {
    fn add_domain(&mut self, setup: DomainSetup) -> u16 {
        let id = (0..).find(|id| !self.domains.contains_key(id)).expect("few domains");
        self.domains.insert(id, setup);
        self.fdb.set_fid_limit(fid(id), setup.fdb_limit);
        let ageing = setup.ageing.map(|s| Duration::from_secs(s.into()));
        let policy = DomainPolicy::learning(ageing, setup.fdb_limit);
        let domain = Domain::new(&policy, setup.mtu as usize, fid(id));
        self.switch.topology_mut().put_domain(DomainId(id), domain);
        id
    }

    fn remove_domain(&mut self, domain: u16) {
        self.domains.remove(&domain);
        self.switch.topology_mut().drop_domain(DomainId(domain));
        self.fdb.flush_fid(fid(domain));
    }

    fn add_port(&mut self, domain: u16, fdb_limit: u32) -> u16 {
        let id = (0..).find(|id| !self.ports.contains_key(id)).expect("few ports");
        let mut base = PortStats::default();
        base.add(&self.counters[usize::from(id)]);
        self.ports.insert(id, base);
        self.fdb.set_port_limit(PortId(id), fdb_limit);
        let member = Member::new(DomainId(domain), &PortPolicy::limited(fdb_limit));
        self.switch.topology_mut().put_port(PortId(id), member);
        id
    }

    fn remove_port(&mut self, port: u16) {
        self.removed += self.since(port).balance();
        self.ports.remove(&port);
        self.switch.topology_mut().drop_port(PortId(port));
        self.fdb.flush_port(PortId(port));
    }

    fn add_static(&mut self, domain: u16, mac: Mac, port: u16) {
        let done = self.fdb.insert_fixed(fid(domain), MacAddr(mac), PortId(port), Fixed::Sticky);
        done.expect("room for a static entry");
    }

    fn forget(&mut self, domain: u16, mac: Mac) -> bool {
        self.fdb.remove(fid(domain), MacAddr(mac))
    }

    fn send(&mut self, port: u16, frames: &[Vec<u8>]) {
        for chunk in frames.chunks(BURST_SIZE) {
            let mut burst: Burst = chunk.iter().map(|f| self.mem.alloc_from(f).expect("frames left")).collect();
            self.counters[usize::from(port)].received(chunk.len(), chunk.iter().map(Vec::len).sum());
            let Self { switch, mem, counters, out, .. } = self;
            switch
                .forward(PortId(port), &mut burst, mem, counters, &mut |egress, mem| drain(egress, mem, counters, out));
            assert!(burst.is_empty(), "forward leaves nothing behind");
            drain(&mut switch.egress, mem, counters, out);
        }
    }

    fn tick(&mut self, now: u32) {
        self.switch.now = now;
        let domains = &self.domains;
        self.fdb.age(now, |fid| domains[&fid.get()].ageing.unwrap_or(u32::MAX));
    }

    fn output(&mut self) -> Outputs {
        std::mem::take(&mut self.out)
    }

    fn tallies(&mut self) -> (Tallies, i128) {
        let stats: Vec<_> = self.ports.keys().map(|port| (*port, self.since(*port))).collect();
        let balance = stats.iter().map(|(_, s)| s.balance()).sum::<i128>() + self.removed;
        (stats.into_iter().map(|(port, s)| (port, tally(&s))).collect(), balance)
    }

    fn stations(&self) -> Vec<(u16, Mac, u16, bool)> {
        let records = self.fdb.dump(self.switch.now).into_iter();
        let mut all: Vec<_> = records.map(|r| (r.fid.get(), r.mac.0, r.port.0, r.kind != Kind::Learned)).collect();
        all.sort_unstable();
        all
    }

    fn finish(self) -> (u32, u32) {
        let pool = Arc::clone(self.mem.pool());
        drop(self);
        (pool.total(), pool.free())
    }
}
