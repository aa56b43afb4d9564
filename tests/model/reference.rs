//! The switch as a HashMap: what ours must do, in the plainest words. No bursts, no workers, no bits.

use dataplane::stats::DropReason;
use std::collections::{BTreeMap, HashMap};

/// Bytes that a frame may have beyond the MTU: Ethernet header and two tags.
const OVERHEAD: usize = 14 + 2 * 4;
const PAUSE: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 1];

pub type Mac = [u8; 6];

/// What is said about a domain when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainSetup {
    /// Seconds; `None`: does not learn.
    pub ageing: Option<u32>,
    pub mtu: u32,
    pub fdb_limit: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    port: u16,
    seen: u32,
    fixed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Port {
    domain: u16,
    fdb_limit: u32,
}

/// What must have been counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub rx_frames: u64,
    pub rx_bytes: u64,
    pub tx_frames: u64,
    pub tx_bytes: u64,
    pub drops: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
pub struct Reference {
    pub now: u32,
    domains: BTreeMap<u16, DomainSetup>,
    ports: BTreeMap<u16, Port>,
    stations: HashMap<(u16, Mac), Entry>,
    /// Frames that have come out of each port since they were last taken.
    out: BTreeMap<u16, Vec<Vec<u8>>>,
    tallies: BTreeMap<u16, Tally>,
    pub flood_copies: u64,
}

impl Reference {
    /// An empty switch at second `now`.
    pub fn new(now: u32) -> Self {
        Self { now, ..Self::default() }
    }

    pub fn domains(&self) -> Vec<u16> {
        self.domains.keys().copied().collect()
    }

    pub fn ports(&self) -> Vec<u16> {
        self.ports.keys().copied().collect()
    }

    pub fn domain_of(&self, port: u16) -> u16 {
        self.ports[&port].domain
    }

    pub fn max_len(&self, port: u16) -> usize {
        self.domains[&self.domain_of(port)].mtu as usize + OVERHEAD
    }

    pub fn is_empty_domain(&self, domain: u16) -> bool {
        self.ports.values().all(|port| port.domain != domain)
    }

    pub fn add_domain(&mut self, id: u16, setup: DomainSetup) {
        self.domains.insert(id, setup);
    }

    pub fn remove_domain(&mut self, id: u16) {
        self.domains.remove(&id);
        self.stations.retain(|(domain, _), _| *domain != id);
    }

    pub fn add_port(&mut self, id: u16, domain: u16, fdb_limit: u32) {
        self.ports.insert(id, Port { domain, fdb_limit });
        self.tallies.insert(id, Tally::default());
    }

    pub fn remove_port(&mut self, id: u16) {
        self.ports.remove(&id);
        self.tallies.remove(&id);
        self.stations.retain(|_, entry| entry.port != id);
    }

    pub fn add_static(&mut self, domain: u16, mac: Mac, port: u16) {
        self.stations.insert((domain, mac), Entry { port, seen: self.now, fixed: true });
    }

    pub fn forget(&mut self, domain: u16, mac: Mac) -> bool {
        self.stations.remove(&(domain, mac)).is_some()
    }

    /// One second passes.
    pub fn tick(&mut self) {
        self.now += 1;
        let (now, domains) = (self.now, &self.domains);
        self.stations.retain(|(domain, _), entry| {
            entry.fixed || domains[domain].ageing.is_none_or(|ageing| now - entry.seen < ageing.max(1))
        });
    }

    /// All that is known: domain, address, port, static.
    pub fn stations(&self) -> Vec<(u16, Mac, u16, bool)> {
        let mut all: Vec<_> = self.stations.iter().map(|((d, mac), e)| (*d, *mac, e.port, e.fixed)).collect();
        all.sort_unstable();
        all
    }

    pub fn take_output(&mut self) -> BTreeMap<u16, Vec<Vec<u8>>> {
        std::mem::take(&mut self.out)
    }

    pub fn tallies(&self) -> &BTreeMap<u16, Tally> {
        &self.tallies
    }

    /// A frame comes in.
    pub fn receive(&mut self, ingress: u16, frame: &[u8]) {
        let tally = self.tallies.get_mut(&ingress).expect("a port of the model");
        tally.rx_frames += 1;
        tally.rx_bytes += frame.len() as u64;
        match self.decide(ingress, frame) {
            Ok(targets) => {
                self.flood_copies += targets.len() as u64 - 1;
                for port in targets {
                    self.send(port, frame);
                }
            }
            Err(reason) => {
                let drops = &mut self.tallies.get_mut(&ingress).expect("a port of the model").drops;
                *drops.entry(reason.name()).or_default() += 1;
            }
        }
    }

    fn send(&mut self, port: u16, frame: &[u8]) {
        let tally = self.tallies.get_mut(&port).expect("a port of the model");
        tally.tx_frames += 1;
        tally.tx_bytes += frame.len() as u64;
        self.out.entry(port).or_default().push(frame.to_vec());
    }

    /// Where a frame goes, at least one port, or why nowhere.
    fn decide(&mut self, ingress: u16, frame: &[u8]) -> Result<Vec<u16>, DropReason> {
        let (Some(dst), Some(src)) = (frame.first_chunk::<6>(), frame.get(6..).and_then(<[u8]>::first_chunk::<6>))
        else {
            return Err(DropReason::Runt);
        };
        if frame.len() < 14 {
            return Err(DropReason::Runt);
        }
        if frame.len() > self.max_len(ingress) {
            return Err(DropReason::Oversize);
        }
        if src[0] & 1 == 1 || *src == [0; 6] {
            return Err(DropReason::BadSource);
        }
        if *dst == PAUSE {
            return Err(DropReason::Pause);
        }
        self.learn(ingress, *src);
        let known = self.stations.get(&(self.domain_of(ingress), *dst)).filter(|_| dst[0] & 1 == 0);
        match known.map(|entry| entry.port) {
            Some(port) if port == ingress => Err(DropReason::SamePort),
            Some(port) => Ok(vec![port]),
            None => self.flood(ingress),
        }
    }

    fn flood(&self, ingress: u16) -> Result<Vec<u16>, DropReason> {
        let domain = self.domain_of(ingress);
        let others = self.ports.iter().filter(|(id, port)| port.domain == domain && **id != ingress);
        let targets: Vec<u16> = others.map(|(id, _)| *id).collect();
        if targets.is_empty() { Err(DropReason::NoDestination) } else { Ok(targets) }
    }

    fn learn(&mut self, port: u16, mac: Mac) {
        let Port { domain, fdb_limit } = self.ports[&port];
        let setup = self.domains[&domain];
        if setup.ageing.is_none() {
            return;
        }
        let count = |which: &dyn Fn(&u16, &Entry) -> bool| {
            let learned = self.stations.iter().filter(|((d, _), e)| !e.fixed && which(d, e));
            u32::try_from(learned.count()).expect("few stations")
        };
        let port_is_full = count(&|_, e| e.port == port) >= fdb_limit;
        let domain_is_full = count(&|d, _| *d == domain) >= setup.fdb_limit;
        let now = self.now;
        match self.stations.get_mut(&(domain, mac)) {
            Some(entry) if entry.fixed => {}
            Some(entry) if entry.port == port => entry.seen = now,
            Some(_) if port_is_full => {}
            Some(entry) => *entry = Entry { port, seen: now, fixed: false },
            None if port_is_full || domain_is_full => {}
            None => {
                self.stations.insert((domain, mac), Entry { port, seen: now, fixed: false });
            }
        }
    }
}
