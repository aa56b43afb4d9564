//! The pipeline in memory: a burst is learned, looked up and sorted into egress lanes, then the lanes are emptied, as
//! a worker does between `rx_burst` and `tx_burst`. 64-byte frames, 1000 addresses on two ports.
//!
//! A [`Case`] is the policy of the domain and its ports; [`features`] has one for each feature of layer 2. Criterion
//! times them (`cargo bench --bench pipeline`), `pollux-pipeline cycles` reads the time-stamp counter around them, and
//! `pollux-pipeline check` counts their instructions. The table's seed is fixed: the work is the same every time.

#![forbid(unsafe_code)]

pub mod baseline;
pub mod best;
pub mod fdb;

use dataplane::lcore;
use dataplane::mem::{Arena, ArenaConfig, Burst, Hugepages, Mempool, MempoolCache};
use dataplane::port::{DomainId, PortId};
use dataplane::stats::PortCounters;
use dataplane::switch::fdb::{Fdb, Fid};
use dataplane::switch::policy::{
    Action, BridgePort, DomainMode, DomainPolicy, Learning, MacvlanMode, MacvlanPort, Mirror, MirrorSource, MoveGuard,
    PortPolicy, Rate, Role, Security, Snooping, Storm, VlanPolicy,
};
use dataplane::switch::{Domain, Egress, Forwarding, Member, Switch, macvlan};
use std::sync::Arc;
use std::time::Duration;

const MACS: u64 = 1000;
/// The same table every time.
const SEED: u64 = 1;
const DOMAIN: DomainId = DomainId(0);
/// A third port, on which nothing happens.
const IDLE: u16 = 2;
const AGEING: Option<Duration> = Some(Duration::from_secs(300));

/// The address of a station behind a port.
fn mac(port: u8, station: u64) -> [u8; 6] {
    let [.., a, b] = station.to_be_bytes();
    [2, 0, 0, port, a, b]
}

/// What is switched: policies of domain and ports, the tag frames come in with, and where they go.
#[derive(Debug)]
pub struct Case {
    domain: DomainPolicy,
    ports: [PortPolicy; 2],
    idle: Option<PortPolicy>,
    tag: Option<u16>,
    broadcast: bool,
    mirrors: Vec<Mirror>,
    /// Stations behind each port.
    speakers: u64,
}

impl Case {
    /// A learning domain without features.
    pub fn plain() -> Self {
        let domain = DomainPolicy::learning(AGEING, u32::MAX);
        let (ports, mirrors) = (Default::default(), Vec::new());
        Self { domain, ports, idle: None, tag: None, broadcast: false, mirrors, speakers: MACS }
    }

    /// The same, and all frames are of one flow.
    fn one_flow() -> Self {
        Self { speakers: 1, ..Self::plain() }
    }

    /// A third port has a feature: the domain is not plain any more.
    fn bridged() -> Self {
        let flags = BridgePort { hairpin: true, ..BridgePort::default() };
        let idle = PortPolicy { role: Role::Bridge(flags), ..PortPolicy::default() };
        Self { idle: Some(idle), ..Self::plain() }
    }

    fn vlans(from: VlanPolicy, to: VlanPolicy, tag: Option<u16>) -> Self {
        let port = |vlan| PortPolicy { vlan: Some(vlan), ..PortPolicy::default() };
        Self { ports: [port(from), port(to)], tag, ..Self::plain() }
    }

    fn learning(learning: Learning) -> Self {
        let mode = DomainMode::Learning(Learning { ageing: AGEING, ..learning });
        Self { domain: DomainPolicy { mode, fdb_limit: u32::MAX }, ..Self::plain() }
    }

    /// Stations are addresses of macvlan devices.
    fn macvlan(roles: [Role; 2]) -> Self {
        let ports = roles.map(|role| PortPolicy { role, ..PortPolicy::default() });
        Self { domain: DomainPolicy::macvlan(), ports, ..Self::plain() }
    }

    fn broadcast(self) -> Self {
        Self { broadcast: true, ..self }
    }
}

/// A switch of two ports and the frames to go through it.
#[derive(Debug)]
pub struct Pipeline {
    switch: Switch,
    mem: MempoolCache,
    counters: Vec<PortCounters>,
    case: Case,
    next: u64,
}

fn fid(id: u16) -> Fid {
    Fid::new(id).unwrap()
}

impl Pipeline {
    /// Both sides of it are learned already.
    #[allow(clippy::missing_panics_doc, reason = "32 MiB are to be had")]
    pub fn new(case: Case) -> Self {
        let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 16384, hugepages: Hugepages::Auto }).unwrap());
        let mut switch = Switch::new(Arc::new(Fdb::with_seed(8192, SEED)));
        let topology = switch.topology_mut();
        let ports: Vec<_> = (0..).map(PortId).zip(case.ports.iter().chain(&case.idle)).collect();
        let mut domain = Domain::new(&case.domain, 1500, fid(0));
        domain.fids = domain.fids.with([(10, fid(1))]);
        if let DomainMode::Macvlan(extensions) = case.domain.mode {
            let table = macvlan::Table::new(extensions, ports.iter().copied());
            domain.forwarding = Forwarding::Macvlan(Arc::new(table));
        }
        if let DomainMode::Learning(Learning { snooping: Some(_), .. }) = case.domain.mode {
            domain.mdb = Some(Arc::default());
        }
        topology.put_domain(DOMAIN, domain);
        for (port, policy) in &ports {
            topology.put_port(*port, Member::new(DOMAIN, policy));
        }
        if !case.mirrors.is_empty() {
            topology.put_port(PortId(IDLE), Member::new(DOMAIN, &PortPolicy::default()));
        }
        topology.put_mirrors(case.mirrors.clone());
        let counters = (0..3).map(|_| PortCounters::default()).collect();
        let mut pipeline = Self { switch, mem: MempoolCache::new(&pool), counters, case, next: 0 };
        pipeline.switch.now = 1;
        pipeline.switch.cycles = lcore::cycles();
        pipeline.learn();
        pipeline
    }

    /// Both sides are learned before anything is measured.
    fn learn(&mut self) {
        let fid = fid(u16::from(self.case.ports[0].vlan.is_some()));
        for station in 0..MACS {
            for port in 0..2 {
                let fdb = self.switch.fdb();
                let _ = fdb.learn(fid, dataplane::eth::MacAddr(mac(port, station)), PortId(port.into()), 1);
            }
        }
    }

    /// Frames from station n behind `from` to station n behind the other port.
    #[allow(clippy::missing_panics_doc, reason = "frames are freed before more are taken")]
    pub fn burst(&mut self, n: usize, from: u8) -> Burst {
        (0..n)
            .map(|_| {
                self.next = (self.next + 1) % self.case.speakers;
                let mut frame = [0u8; 64];
                frame[..6].copy_from_slice(&if self.case.broadcast { [0xff; 6] } else { mac(1 - from, self.next) });
                frame[6..12].copy_from_slice(&mac(from, self.next));
                if let Some(vid) = self.case.tag {
                    let [a, b] = vid.to_be_bytes();
                    frame[12..16].copy_from_slice(&[0x81, 0, a, b]);
                }
                self.mem.alloc_from(&frame).unwrap()
            })
            .collect()
    }

    /// Switches a burst that came in at port `from`, and frees what came out.
    pub fn forward(&mut self, from: u16, burst: &mut Burst) {
        self.switch.forward(PortId(from), burst, &mut self.mem, &self.counters, &mut |egress, mem| {
            free_lanes(egress, mem);
        });
        free_lanes(&mut self.switch.egress, &mut self.mem);
    }

    /// Cycles per frame of `forward` alone.
    #[allow(clippy::missing_panics_doc, reason = "a case that drops frames is no case")]
    pub fn cycles(&mut self, n: usize) -> f64 {
        let cycles = median(n, || {
            let mut burst = self.burst(n, 0);
            let from = lcore::cycles();
            self.switch.cycles = from;
            self.forward(0, &mut burst);
            lcore::cycles() - from
        });
        let dropped: u64 = self.counters.iter().map(dropped).sum();
        assert_eq!(dropped, 0, "the case is about frames that pass");
        cycles
    }
}

#[inline(always)]
fn free_lanes(egress: &mut Egress, mem: &mut MempoolCache) {
    while let Some((_, lane)) = egress.next_dirty() {
        mem.free_burst(lane);
    }
}

/// Cycles per frame of bursts of `n`, each of which took the cycles `burst` says: the median of 101 rounds of 1024.
fn median(n: usize, mut burst: impl FnMut() -> u64) -> f64 {
    let mut rounds: Vec<u64> = (0..101).map(|_| (0..1024).map(|_| burst()).sum()).collect();
    rounds.sort_unstable();
    rounds[50] as f64 / (1024.0 * n as f64)
}

fn dropped(counters: &PortCounters) -> u64 {
    let mut stats = dataplane::stats::PortStats::default();
    stats.add(counters);
    stats.drops.iter().sum()
}

/// Each feature with its name.
pub fn features() -> Vec<(&'static str, Case)> {
    let (access, trunk) = (VlanPolicy::access(10), VlanPolicy::trunk([10].into_iter().collect(), None));
    let second = Duration::from_secs(1);
    let moves = MoveGuard { moves: 5, window: 10 * second, hold: 60 * second, act: Action::Drop };
    let device = |port| {
        let macs = (0..MACS).map(|station| dataplane::eth::MacAddr(mac(port, station))).collect();
        Role::Macvlan(MacvlanPort::new(MacvlanMode::Bridge, macs))
    };
    let macs = (0..MACS).map(|station| dataplane::eth::MacAddr(mac(0, station))).collect();
    let security = Some(Security { macs, act: Action::Drop });
    let plenty = Some(Rate { per_second: 1_000_000_000, burst: 1_000_000 });
    let storm = Storm { broadcast: plenty, multicast: plenty, unknown_unicast: plenty, act: Action::Drop };
    let with = |policy: PortPolicy| Case { ports: [policy, PortPolicy::default()], ..Case::plain() };
    let mirror = |from| Case { mirrors: vec![Mirror { from: vec![from], to: PortId(IDLE) }], ..Case::plain() };
    vec![
        ("plain", Case::plain()),
        ("plain, one flow", Case::one_flow()),
        ("another port has a flag", Case::bridged()),
        ("vlan: access to access", Case::vlans(access.clone(), access.clone(), None)),
        ("vlan: trunk to trunk", Case::vlans(trunk.clone(), trunk.clone(), Some(10))),
        ("vlan: access to trunk", Case::vlans(access.clone(), trunk.clone(), None)),
        ("vlan: trunk to access", Case::vlans(trunk, access, Some(10))),
        ("port security, 1000 addresses", with(PortPolicy { security, ..PortPolicy::default() })),
        ("move guard", Case::learning(Learning { moves: Some(moves), ..Learning::default() })),
        ("snooping", Case::learning(Learning { snooping: Some(Snooping::default()), ..Learning::default() })),
        ("mirror rx", mirror(MirrorSource::Rx(PortId(0)))),
        ("mirror tx", mirror(MirrorSource::Tx(PortId(1)))),
        ("macvlan: wire to device", Case::macvlan([Role::Uplink, device(1)])),
        ("macvlan: device to device", Case::macvlan([device(0), device(1)])),
        ("broadcast to one port", Case::plain().broadcast()),
        ("broadcast, the port has a flag", {
            let flags = BridgePort { isolated: true, ..BridgePort::default() };
            with(PortPolicy { role: Role::Bridge(flags), ..PortPolicy::default() }).broadcast()
        }),
        ("broadcast, storm control", with(PortPolicy { storm, ..PortPolicy::default() }).broadcast()),
    ]
}
