//! Isolation: random domains, VLANs, port flags and filters, changed while frames pass. What comes out of each port, byte
//! for byte, is what a switch in the plainest words says; everything that went in has come to an end.

use crate::common::pool;
use crate::ops::{Address, STATIONS};
use crate::subject::Outputs;
use crate::wired::{CABLE, Wired};
use dataplane::engine::{DomainSpec, FdbEntry, PortSpec};
use dataplane::eth::MacAddr;
use dataplane::pmd::ring;
use dataplane::port::{DomainId, PortId};
use dataplane::switch::policy::{
    BridgePort, ControlProtocols, DomainPolicy, PortPolicy, Role, TagProtocol, Vid, VidSet, VlanPolicy,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

type Mac = [u8; 6];
type Frame = Vec<u8>;

const PORTS: usize = 6;
const DOMAINS: usize = 2;
/// Few, so that they meet.
const VIDS: std::ops::Range<Vid> = 1..5;

#[derive(Debug, Clone)]
enum Op {
    Policy(usize, Box<PortPolicy>),
    Fixed { domain: usize, vlan: Vid, station: u8, entry: Fixed },
    Frames(usize, Vec<Sent>),
}

#[derive(Debug, Clone, Copy)]
enum Fixed {
    Static(usize),
    Sticky(usize),
    Filter,
    Gone,
}

#[derive(Debug, Clone)]
struct Sent {
    dst: Address,
    src: u8,
    tags: Vec<(u16, u16)>,
}

fn vlan() -> impl Strategy<Value = Option<VlanPolicy>> {
    let protocol = prop_oneof![3 => Just(TagProtocol::Dot1q), 1 => Just(TagProtocol::Dot1ad)];
    let members = proptest::collection::btree_set(VIDS, 1..4);
    let vlan = (protocol, members, any::<bool>(), proptest::option::weighted(0.2, 0u8..8), any::<bool>());
    let vlan = vlan.prop_map(|(protocol, members, native, pcp, translated)| {
        let first = members.first().copied();
        let members: VidSet = members.into_iter().collect();
        // A VLAN that is no member's id on the wire.
        let map = first.filter(|_| translated).map(|vid| vec![(vid + 100, vid)]).unwrap_or_default();
        VlanPolicy { protocol, pcp, map, ..VlanPolicy::trunk(members, first.filter(|_| native)) }
    });
    proptest::option::weighted(0.8, vlan)
}

fn policy() -> impl Strategy<Value = PortPolicy> {
    let mostly = || prop_oneof![4 => Just(true), 1 => Just(false)];
    let rarely = || prop_oneof![4 => Just(false), 1 => Just(true)];
    let flags = (mostly(), mostly(), mostly(), mostly(), rarely(), rarely(), rarely(), mostly());
    let control = prop_oneof![Just(ControlProtocols::TRANSPARENT), Just(ControlProtocols::IEEE)];
    (flags, vlan(), control).prop_map(|(f, vlan, control)| {
        let (learning, flood, mcast_flood, bcast_flood) = (f.0, f.1, f.2, f.3);
        let (hairpin, isolated, locked) = (f.4, f.5, f.6);
        let flags = BridgePort { learning, flood, mcast_flood, bcast_flood, hairpin, isolated, locked };
        PortPolicy { role: Role::Bridge(flags), enabled: f.7, vlan, control, ..PortPolicy::default() }
    })
}

fn sent() -> impl Strategy<Value = Sent> {
    let dst = prop_oneof![
        8 => (0..STATIONS).prop_map(Address::Station),
        2 => Just(Address::Broadcast),
        1 => (0..2u8).prop_map(Address::Multicast),
        1 => Just(Address::Lldp),
    ];
    let tpid = prop_oneof![3 => Just(0x8100u16), 1 => Just(0x88a8)];
    let vid = prop_oneof![1 => Just(0u16), 8 => VIDS, 3 => VIDS.prop_map(|vid| vid + 100), 1 => Just(4095)];
    let tag = (tpid, vid, 0u16..16).prop_map(|(tpid, vid, priority)| (tpid, priority << 12 | vid));
    (dst, 0..STATIONS, proptest::collection::vec(tag, 0..3)).prop_map(|(dst, src, tags)| Sent { dst, src, tags })
}

fn op() -> impl Strategy<Value = Op> {
    let entry = prop_oneof![
        (0..PORTS).prop_map(Fixed::Static),
        (0..PORTS).prop_map(Fixed::Sticky),
        Just(Fixed::Filter),
        Just(Fixed::Gone)
    ];
    let fixed = (0..DOMAINS, prop_oneof![Just(0), VIDS], 0..STATIONS, entry);
    prop_oneof![
        2 => (0..PORTS, policy()).prop_map(|(port, policy)| Op::Policy(port, Box::new(policy))),
        1 => fixed.prop_map(|(domain, vlan, station, entry)| Op::Fixed { domain, vlan, station, entry }),
        6 => (0..PORTS, proptest::collection::vec(sent(), 1..40)).prop_map(|(port, frames)| Op::Frames(port, frames)),
    ]
}

/// The switch in the plainest words.
struct Plain {
    policies: Vec<PortPolicy>,
    /// By domain, VLAN and station: port and kind.
    stations: HashMap<(usize, Vid, Mac), (usize, Kind)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Learned,
    Static,
    Sticky,
    Filter,
}

/// A frame without the tag that counted.
struct Inside {
    vlan: Vid,
    priority: u16,
    bytes: Frame,
}

fn domain(port: usize) -> usize {
    port % DOMAINS
}

fn flags(policy: &PortPolicy) -> BridgePort {
    let Role::Bridge(flags) = policy.role else { panic!("bridge ports only") };
    flags
}

fn tpid(vlan: &VlanPolicy) -> [u8; 2] {
    if vlan.protocol == TagProtocol::Dot1q { [0x81, 0] } else { [0x88, 0xa8] }
}

impl Plain {
    fn new() -> Self {
        Self { policies: vec![PortPolicy::default(); PORTS], stations: HashMap::new() }
    }

    fn is_in(&self, port: usize, vlan: Vid) -> bool {
        self.policies[port].vlan.as_ref().map_or(vlan == 0, |policy| policy.members.contains(vlan))
    }

    fn set(&mut self, port: usize, policy: PortPolicy) {
        self.policies[port] = policy;
        let (exists, down) = (self.vlans(), !self.policies[port].enabled);
        let left: Vec<_> = VIDS.chain([0]).filter(|vlan| down || !self.is_in(port, *vlan)).collect();
        self.stations.retain(|(of, vlan, _), (on, kind)| {
            let gone = *on == port && *kind == Kind::Learned && left.contains(vlan);
            // a VLAN that no port is in any more does not exist, nor does what was known of it
            !gone && exists.contains(&(*of, *vlan))
        });
    }

    fn vlans(&self) -> BTreeSet<(usize, Vid)> {
        let members = |port: usize| self.policies[port].vlan.iter().flat_map(|v| v.members.iter()).collect::<Vec<_>>();
        let all = (0..PORTS).flat_map(|port| members(port).into_iter().map(move |vlan| (domain(port), vlan)));
        all.chain((0..DOMAINS).map(|domain| (domain, 0))).collect()
    }

    /// The VLAN a frame is in, and the frame without its tag.
    fn enter(&self, port: usize, frame: &[u8]) -> Option<Inside> {
        let Some(policy) = &self.policies[port].vlan else {
            return Some(Inside { vlan: 0, priority: 0, bytes: frame.to_vec() });
        };
        let (mut wire, mut priority, mut bytes) = (0, 0, frame.to_vec());
        if frame[12..14] == tpid(policy) {
            let tci = u16::from_be_bytes([frame[14], frame[15]]);
            (wire, priority) = (tci & 0xfff, tci & 0xf000);
            bytes.drain(12..16);
        }
        if let Some(pcp) = policy.pcp {
            priority = priority & 0x1000 | u16::from(pcp) << 13;
        }
        let mapped = policy.map.iter().find(|(out, _)| *out == wire).map(|(_, inside)| *inside);
        let hidden = policy.map.iter().any(|(_, inside)| *inside == wire);
        let vlan = match (wire, mapped) {
            (0, _) => policy.native?,
            (_, Some(inside)) => inside,
            (_, None) if hidden => return None,
            (wire, None) => wire,
        };
        policy.members.contains(vlan).then_some(Inside { vlan, priority, bytes })
    }

    /// The frame as it leaves on a port.
    fn leave(&self, port: usize, frame: &Inside) -> Frame {
        let mut bytes = frame.bytes.clone();
        let Some(policy) = &self.policies[port].vlan else { return bytes };
        if policy.native != Some(frame.vlan) {
            let wire =
                policy.map.iter().find(|(_, inside)| *inside == frame.vlan).map_or(frame.vlan, |(wire, _)| *wire);
            bytes.splice(12..12, [tpid(policy), (frame.priority | wire).to_be_bytes()].concat());
        }
        bytes
    }

    fn may_leave(&self, from: usize, to: usize, vlan: Vid) -> bool {
        let (a, b) = (&self.policies[from], &self.policies[to]);
        b.enabled
            && domain(from) == domain(to)
            && self.is_in(to, vlan)
            && (from != to || flags(b).hairpin)
            && !(flags(a).isolated && flags(b).isolated)
    }

    /// What a frame comes to: bytes by port.
    fn receive(&mut self, port: usize, frame: &[u8]) -> Vec<(usize, Frame)> {
        let Some(inside) = self.enter(port, frame).filter(|_| self.policies[port].enabled) else { return Vec::new() };
        let (dst, src): (Mac, Mac) = (frame[..6].try_into().unwrap(), frame[6..12].try_into().unwrap());
        let key = |mac: Mac| (domain(port), inside.vlan, mac);
        let (known, flags) = (self.stations.get(&key(src)).copied(), flags(&self.policies[port]));
        if known.is_some_and(|(_, kind)| kind == Kind::Filter) || flags.locked && known.is_none_or(|(on, _)| on != port)
        {
            return Vec::new();
        }
        if flags.learning {
            let entry = self.stations.entry(key(src)).or_insert((port, Kind::Learned));
            if entry.1 != Kind::Sticky {
                entry.0 = port;
            }
        }
        if dst == Address::Lldp.mac() && self.policies[port].control == ControlProtocols::IEEE {
            return Vec::new();
        }
        let to = self.targets(port, dst, inside.vlan);
        to.into_iter().map(|to| (to, self.leave(to, &inside))).collect()
    }

    fn targets(&self, port: usize, dst: Mac, vlan: Vid) -> Vec<usize> {
        let group = dst[0] & 1 == 1;
        let all = (0..PORTS).filter(|to| self.may_leave(port, *to, vlan));
        match self.stations.get(&(domain(port), vlan, dst)) {
            Some((_, Kind::Filter)) => Vec::new(),
            Some((on, _)) if !group => all.filter(|to| to == on).collect(),
            _ => {
                let wants = |to: &usize| {
                    let flags = flags(&self.policies[*to]);
                    if !group {
                        flags.flood
                    } else if dst == [0xff; 6] {
                        flags.bcast_flood
                    } else {
                        flags.mcast_flood
                    }
                };
                all.filter(wants).collect()
            }
        }
    }
}

/// The engine, with ids as the test numbers them.
struct Lab {
    wired: Wired,
    domains: Vec<DomainId>,
    ports: Vec<PortId>,
}

impl Lab {
    fn new(workers: usize) -> Self {
        let mut wired = Wired::new(&pool(16384), workers);
        let policy = DomainPolicy::learning(Some(Duration::from_secs(3600)), u32::MAX);
        let domain_spec = || DomainSpec { mtu: 1500, policy: policy.clone() };
        let domains: Vec<_> = (0..DOMAINS).map(|_| wired.engine.add_domain(domain_spec()).unwrap()).collect();
        let ports = (0..PORTS)
            .map(|port| {
                let (near, far) = ring::pair(CABLE).unwrap();
                let domain = domains[domain(port)];
                let spec = PortSpec { domain, policy: PortPolicy::default(), queues: vec![near.into()] };
                let id = wired.engine.add_port(spec).unwrap();
                wired.far.insert(id.0, far.into());
                id
            })
            .collect();
        Self { wired, domains, ports }
    }

    /// Makes or removes an entry; false if it was refused, as it is in a VLAN that no port is in.
    fn fix(&mut self, domain: usize, vlan: Vid, mac: Mac, entry: Fixed) -> bool {
        let (domain, mac) = (self.domains[domain], MacAddr(mac));
        let entry = match entry {
            Fixed::Static(port) => FdbEntry::Static(self.ports[port]),
            Fixed::Sticky(port) => FdbEntry::Sticky(self.ports[port]),
            Fixed::Filter => FdbEntry::Filter,
            Fixed::Gone => return self.wired.engine.remove_entry(domain, vlan, mac),
        };
        self.wired.engine.add_entry(domain, vlan, mac, entry).is_ok()
    }
}

fn fix(plain: &mut Plain, domain_of: usize, vlan: Vid, mac: Mac, entry: Fixed) -> bool {
    let entry = match entry {
        Fixed::Static(port) => (port, Kind::Static),
        Fixed::Sticky(port) => (port, Kind::Sticky),
        Fixed::Filter => (PORTS, Kind::Filter),
        Fixed::Gone => return plain.stations.remove(&(domain_of, vlan, mac)).is_some(),
    };
    let possible = (entry.0 == PORTS || domain(entry.0) == domain_of) && plain.vlans().contains(&(domain_of, vlan));
    if possible {
        plain.stations.insert((domain_of, vlan, mac), entry);
    }
    possible
}

fn build(sent: &Sent, serial: u32) -> Frame {
    let mut frame = crate::common::frame(sent.dst.mac(), Address::Station(sent.src).mac(), serial, 64);
    let tags = sent.tags.iter().flat_map(|(tpid, tci)| [tpid.to_be_bytes(), tci.to_be_bytes()].concat());
    frame.splice(12..12, tags.collect::<Vec<_>>());
    frame
}

fn live(workers: usize, ops: &[Op]) -> Result<(), TestCaseError> {
    let (mut lab, mut plain, mut serial) = (Lab::new(workers), Plain::new(), 0);
    for op in ops {
        match op {
            Op::Policy(port, policy) => {
                lab.wired.engine.set_port_policy(lab.ports[*port], (**policy).clone()).unwrap();
                plain.set(*port, (**policy).clone());
            }
            Op::Fixed { domain, vlan, station, entry } => {
                let mac = Address::Station(*station).mac();
                let done = lab.fix(*domain, *vlan, mac, *entry);
                prop_assert_eq!(done, fix(&mut plain, *domain, *vlan, mac, *entry), "{:?}", op);
            }
            Op::Frames(port, frames) => {
                let frames: Vec<Frame> = frames.iter().map(|sent| (serial += 1, build(sent, serial)).1).collect();
                let mut expected: BTreeMap<u16, Vec<Frame>> = Outputs::new();
                for (to, bytes) in frames.iter().flat_map(|frame| plain.receive(*port, frame)) {
                    expected.entry(lab.ports[to].0).or_default().push(bytes);
                }
                lab.wired.inject(lab.ports[*port].0, &frames);
                lab.wired.settle();
                prop_assert_eq!(lab.wired.collect(), expected, "after {:?}", op);
            }
        }
    }
    let (total, free) = crate::subject::Subject::finish(lab.wired);
    prop_assert_eq!(free, total, "free frames of the pool at the end");
    Ok(())
}

fn lives(workers: usize) {
    let config = Config { cases: 64, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let ops = proptest::collection::vec(op(), 1..40);
    TestRunner::new(config).run(&ops, |ops| live(workers, &ops)).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn nothing_is_delivered_where_the_model_says_no_on_one_worker() {
    lives(1);
}

#[test]
fn nothing_is_delivered_where_the_model_says_no_on_two_workers() {
    lives(2);
}
