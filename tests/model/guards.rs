//! Guards, mirrors and snooping in the whole engine: what they do to frames, what they tell, and that no frame is lost to
//! the count.

use crate::common::{frame, pool, wait_for, wait_until};
use crate::subject::Subject;
use crate::wired::{CABLE, Wired};
use dataplane::command::Event;
use dataplane::engine::{DomainSpec, EngineError, PortSpec};
use dataplane::pmd::ring;
use dataplane::port::{DomainId, PortId};
use dataplane::stats::{DropReason, PortStats};
use dataplane::switch::policy::{
    Action, DomainMode, DomainPolicy, Learning, LoopGuard, Mirror, MirrorSource, MoveGuard, PortPolicy, Rate, Security,
    Snooping, Storm, VidSet, VlanPolicy,
};
use dataplane::switch::{Notice, Traffic};
use std::time::Duration;

const ALL: [u8; 6] = [0xff; 6];

fn mac(n: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, n]
}

struct Lab {
    wired: Wired,
    domain: DomainId,
    ports: Vec<PortId>,
    events: Vec<Notice>,
}

fn learning(learning: Learning) -> DomainPolicy {
    let learning = Learning { ageing: Some(Duration::from_secs(3600)), ..learning };
    DomainPolicy { mode: DomainMode::Learning(learning), fdb_limit: u32::MAX }
}

impl Lab {
    fn new(workers: usize, policy: DomainPolicy, policies: &[PortPolicy]) -> Self {
        let mut wired = Wired::new(&pool(16384), workers);
        let domain = wired.engine.add_domain(DomainSpec { mtu: 1500, policy }).unwrap();
        let ports = policies.iter().map(|policy| add(&mut wired, domain, policy.clone())).collect();
        Self { wired, domain, ports, events: Vec::new() }
    }

    /// `n` ports of which nothing is asked.
    fn usual(workers: usize, policy: DomainPolicy, n: usize) -> Self {
        Self::new(workers, policy, &vec![PortPolicy::default(); n])
    }

    /// Sends frames, and waits until they have come to their end.
    fn send(&mut self, port: usize, frames: &[Vec<u8>]) {
        self.wired.inject(self.ports[port].0, frames);
        self.wired.settle();
    }

    /// What has come out of each port, by number of frames.
    fn came(&mut self) -> Vec<usize> {
        let ports = self.ports.clone();
        ports.iter().map(|port| self.wired.collect_from(port.0).len()).collect()
    }

    fn stats(&self, port: usize) -> PortStats {
        let all = self.wired.engine.stats().ports;
        all.into_iter().find(|(id, _)| *id == self.ports[port]).unwrap().1
    }

    fn dropped(&self, port: usize, reason: DropReason) -> u64 {
        self.stats(port).drops[reason as usize]
    }

    /// Waits for a notice, whatever comes before it.
    fn notice(&mut self, what: &str, is_it: impl Fn(&Notice) -> bool) -> Notice {
        wait_for(what, || {
            let notices = self.wired.engine.events().into_iter().map(|event| match event {
                Event::Notice(notice) => notice,
                other => panic!("{other:?}"),
            });
            self.events.extend(notices);
            self.events.iter().position(&is_it).map(|at| self.events.remove(at))
        })
    }

    /// The same while time goes on.
    fn wait(&mut self, what: &str, is_it: impl Fn(&Notice) -> bool) {
        wait_until(what, || {
            self.wired.engine.tick();
            self.wired.engine.events().iter().any(|event| matches!(event, Event::Notice(notice) if is_it(notice)))
        });
    }

    fn finish(self) {
        let (total, free) = self.wired.finish();
        assert_eq!(free, total, "every frame came home");
    }
}

fn add(wired: &mut Wired, domain: DomainId, policy: PortPolicy) -> PortId {
    let (near, far) = ring::pair(CABLE).unwrap();
    let id = wired.engine.add_port(PortSpec { domain, policy, queues: vec![near.into()] }).unwrap();
    wired.far.insert(id.0, far.into());
    id
}

fn broadcasts(n: u32, from: u8) -> Vec<Vec<u8>> {
    (0..n).map(|i| frame(ALL, mac(from), i, 64)).collect()
}

#[test]
fn a_storm_is_cut_to_its_rate_and_the_culprit_is_named() {
    for act in [Action::Drop, Action::Observe] {
        let storm = Storm { broadcast: Some(Rate { per_second: 1, burst: 10 }), act, ..Storm::default() };
        let policies = [PortPolicy { storm, ..PortPolicy::default() }, PortPolicy::default()];
        let mut lab = Lab::new(1, learning(Learning::default()), &policies);
        lab.send(0, &broadcasts(500, 1));
        lab.send(1, &broadcasts(500, 2));
        let came = lab.came();
        let (dropped, observed) = (lab.dropped(0, DropReason::StormBroadcast), lab.stats(0).observed);
        assert_eq!(came[0], 500, "the other port has no limit");
        match act {
            Action::Drop => assert!((10..20).contains(&came[1]) && dropped == 500 - came[1] as u64, "{came:?}"),
            Action::Observe => assert!(came[1] == 500 && dropped == 0 && observed > 480, "{came:?} {observed}"),
        }
        let (port, observed) = (lab.ports[0], act == Action::Observe);
        let of = Traffic::Broadcast;
        lab.notice("the storm", |notice| *notice == Notice::Storm { port, of, observed });
        lab.finish();
    }
}

#[test]
fn port_security_keeps_strangers_out_and_its_own_from_being_taken() {
    let macs = vec![dataplane::eth::MacAddr(mac(1))];
    let security = Some(Security { macs, act: Action::Drop });
    let policies = [PortPolicy { security, ..PortPolicy::default() }, PortPolicy::default(), PortPolicy::default()];
    let mut lab = Lab::new(1, learning(Learning::default()), &policies);
    lab.send(0, &[frame(ALL, mac(9), 0, 64), frame(ALL, mac(1), 1, 64)]);
    assert_eq!((lab.came(), lab.dropped(0, DropReason::Insecure)), (vec![0, 1, 1], 1));
    let (a, b) = (lab.ports[0], lab.ports[1]);
    lab.notice("the stranger", |n| matches!(n, Notice::Insecure { port, mac: m, .. } if *port == a && m.0 == mac(9)));
    lab.send(1, &[frame(mac(5), mac(1), 2, 64)]);
    lab.notice("the thief", |n| matches!(n, Notice::Pinned { owner, seen, .. } if (*owner, *seen) == (a, b)));
    lab.came();
    lab.send(2, &[frame(mac(1), mac(3), 3, 64)]);
    assert_eq!(lab.came(), [1, 0, 0], "it is still where it belongs");
    lab.finish();
}

#[test]
fn an_address_that_moves_to_and_fro_is_held() {
    let moves =
        MoveGuard { moves: 3, window: Duration::from_secs(3600), hold: Duration::from_secs(3600), act: Action::Drop };
    let mut lab = Lab::usual(1, learning(Learning { moves: Some(moves), ..Learning::default() }), 2);
    for i in 0..10 {
        lab.send(usize::try_from(i % 2).unwrap(), &[frame(ALL, mac(1), i, 64)]);
    }
    // Ports 0 1 0 1 are three moves; the fourth, back to 0, is one too many.
    assert_eq!(lab.came(), [5, 2]);
    assert_eq!((lab.dropped(0, DropReason::MacMove), lab.dropped(1, DropReason::MacMove)), (3, 0));
    let (a, b) = (lab.ports[0], lab.ports[1]);
    let held = |n: &Notice| matches!(n, Notice::Flapping { from, to, observed: false, .. } if (*from, *to) == (b, a));
    lab.notice("the move that was too much", held);
    lab.finish();
}

#[test]
fn a_mirror_gets_one_copy_of_each_frame_and_sends_none() {
    let mut lab = Lab::usual(2, learning(Learning::default()), 4);
    let (a, b, c, probe) = (lab.ports[0], lab.ports[1], lab.ports[2], lab.ports[3]);
    let vlan = MirrorSource::Vlan(lab.domain, 0);
    let from = vec![MirrorSource::Rx(a), MirrorSource::Tx(b), MirrorSource::Tx(c), vlan];
    lab.wired.engine.set_mirrors(vec![Mirror { from: from.clone(), to: probe }, Mirror { from, to: probe }]).unwrap();
    lab.send(0, &broadcasts(100, 1));
    assert_eq!(lab.came(), [0, 100, 100, 100], "four reasons, one copy");
    lab.wired.engine.set_mirrors(vec![Mirror { from: vec![MirrorSource::Tx(b)], to: probe }]).unwrap();
    lab.send(2, &[frame(mac(1), mac(3), 0, 64), frame(ALL, mac(3), 1, 64)]);
    assert_eq!(lab.came(), [2, 1, 0, 1], "only what left on b");
    lab.send(3, &broadcasts(50, 4));
    assert_eq!((lab.came(), lab.dropped(3, DropReason::MirrorPort)), (vec![0; 4], 50));
    let looped = vec![Mirror { from: vec![MirrorSource::Rx(b)], to: b }];
    assert!(lab.wired.engine.set_mirrors(looped).unwrap_err().to_string().contains("a mirror ends at"));
    lab.wired.engine.remove_port(probe).unwrap();
    lab.wired.far.remove(&probe.0).unwrap().close(&mut lab.wired.mem);
    lab.ports.pop();
    lab.send(0, &broadcasts(10, 1));
    assert_eq!(lab.came(), [0, 10, 10], "a mirror without an end is none");
    lab.finish();
}

/// Carries everything that comes out of two ports into the other, as a cable between them does.
fn carry(lab: &mut Lab, a: usize, b: usize) {
    for (from, to) in [(a, b), (b, a)] {
        let frames = lab.wired.collect_from(lab.ports[from].0);
        lab.wired.inject(lab.ports[to].0, &frames);
    }
}

#[test]
fn a_loop_is_found_one_port_is_blocked_and_opened_again() {
    let second = Duration::from_secs(1);
    let guard = LoopGuard { interval: second, block: second, act: Action::Drop };
    let mut lab = Lab::usual(2, learning(Learning { loops: Some(guard), ..Learning::default() }), 3);
    let looped = wait_for("the loop to be found", || {
        lab.wired.engine.tick();
        carry(&mut lab, 0, 1);
        lab.wired.engine.events().into_iter().find_map(|event| match event {
            Event::Notice(notice @ Notice::Loop { .. }) => Some(notice),
            _ => None,
        })
    });
    let Notice::Loop { port, sent, blocked_s } = looped else { panic!("{looped:?}") };
    let pair = [lab.ports[0], lab.ports[1]];
    assert!(pair.contains(&port) && pair.contains(&sent) && blocked_s == Some(1), "{looped:?}");
    let blocked = usize::from(port == lab.ports[1]);
    lab.wired.settle();
    lab.came();
    lab.send(2, &broadcasts(5, 3));
    let came = lab.came();
    assert_eq!((came[blocked], came[1 - blocked]), (0, 5), "one of the two is shut, the other works");
    lab.send(blocked, &broadcasts(5, 1));
    assert!(lab.dropped(blocked, DropReason::Blocked) >= 5);
    wait_until("the port to be opened", || {
        lab.wired.engine.tick();
        lab.wired
            .engine
            .events()
            .iter()
            .any(|e| matches!(e, Event::Notice(Notice::Unblocked { port: p }) if *p == port))
    });
    lab.wired.settle();
    lab.came();
    lab.send(2, &broadcasts(5, 3));
    assert!(lab.came()[blocked] >= 5);
    lab.finish();
}

/// Frames go round between two ports that a cable joins, and the addresses of honest stations with them: the loop is cut
/// all the same, and then a station is where it sends again, whatever the move guard had made of it.
#[test]
fn a_loop_full_of_frames_is_cut_and_what_it_moved_is_forgotten() {
    let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
    for workers in [1, 2] {
        let loops = Some(LoopGuard { interval: second, block: hour, act: Action::Drop });
        let moves = Some(MoveGuard { moves: 3, window: hour, hold: hour, act: Action::Drop });
        let mut lab = Lab::usual(workers, learning(Learning { loops, moves, ..Learning::default() }), 2);
        let (one, other) = ring::pair(CABLE).unwrap();
        let looped = [one, other].map(|end| {
            let spec = PortSpec { domain: lab.domain, policy: PortPolicy::default(), queues: vec![end.into()] };
            lab.wired.engine.add_port(spec).unwrap()
        });
        let all: Vec<_> = (1..=40).map(|n| frame(ALL, mac(n), 0, 64)).collect();
        lab.wired.inject(lab.ports[0].0, &all);
        lab.wait("the loop to be cut", |notice| {
            matches!(notice, Notice::Loop { port, sent, blocked_s: Some(3600) } if looped.contains(port) && looped.contains(sent))
        });
        let blocked = looped.map(|port| lab.wired.engine.blocked(port));
        assert!(blocked[0].is_some() != blocked[1].is_some(), "one of the two: {blocked:?}");
        let [a, b] = [lab.ports[0].0, lab.ports[1].0];
        wait_until("the answer to a station whose address was in the loop", || {
            lab.wired.engine.tick();
            lab.wired.inject(a, &[frame(ALL, mac(1), 1, 64)]);
            lab.wired.collect_from(b);
            lab.wired.inject(b, &[frame(mac(1), mac(99), 2, 64)]);
            lab.wired.collect_from(a).contains(&frame(mac(1), mac(99), 2, 64))
        });
        lab.finish();
    }
}

/// An IGMP message of version 2.
fn igmp(kind: u8, to: [u8; 4], group: [u8; 4]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0], &group[..]].concat();
    let sum: u32 = message.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    message[2..4].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    ipv4(2, to, &message)
}

fn ipv4(proto: u8, to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let total = u8::try_from(20 + payload.len()).unwrap();
    let mut frame = [&[1, 0, 0x5e, to[1] & 0x7f, to[2], to[3]], &mac(to[3])[..], &[8, 0]].concat();
    frame.extend([0x45, 0, 0, total, 0, 0, 0, 0, 1, proto, 0, 0, 10, 0, 0, 1]);
    frame.extend(to);
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

#[test]
fn multicast_goes_to_those_who_asked_and_to_routers() {
    const GROUP: [u8; 4] = [239, 0, 0, 7];
    let mut lab = Lab::usual(2, learning(Learning { snooping: Some(Snooping::default()), ..Learning::default() }), 4);
    let data = || ipv4(17, GROUP, &[0; 8]);
    lab.send(3, &[igmp(0x16, GROUP, GROUP), data()]);
    assert_eq!(lab.came(), [2, 2, 2, 0], "no querier: flooded");
    lab.send(0, &[igmp(0x11, [224, 0, 0, 1], [0; 4])]);
    assert_eq!(lab.came(), [0, 1, 1, 1], "a query reaches everybody");
    lab.send(1, &[igmp(0x16, GROUP, GROUP)]);
    wait_until("two members and a router", || {
        lab.wired.engine.events();
        let groups = lab.wired.engine.groups(lab.domain);
        groups.first().is_some_and(|g| g.ports.len() == 2) && !lab.wired.engine.multicast_routers(lab.domain).is_empty()
    });
    // The workers have it a message later; removing and adding nothing waits for them.
    let none = Vec::new();
    lab.wired.engine.set_mirrors(none).unwrap();
    lab.came();
    lab.send(2, &[data(), igmp(0x16, GROUP, GROUP), ipv4(17, [239, 9, 9, 9], &[0; 8])]);
    assert_eq!(lab.came(), [3, 1, 0, 1], "members 1 and 3; the router at 0 has all three");
    lab.send(0, &[ipv4(17, [239, 9, 9, 9], &[0; 8])]);
    assert_eq!(lab.dropped(0, DropReason::NoMember), 1);
    lab.send(2, &[ipv4(17, [224, 0, 0, 251], &[0; 8]), frame([0x33, 0x33, 0xff, 0, 0, 1], mac(2), 0, 64)]);
    assert_eq!(lab.came(), [2, 2, 0, 2], "link-local groups and what is not IP reach everybody");
    let mut broken = igmp(0x16, GROUP, GROUP);
    broken[36] ^= 1;
    lab.send(2, &[broken]);
    assert_eq!(lab.dropped(2, DropReason::BadMembership), 1);
    lab.finish();
}

#[test]
fn vlans_are_bounded_and_the_error_says_which_did_not_fit() {
    let mut lab = Lab::usual(1, learning(Learning::default()), 1);
    let every: VidSet = (1..4095).collect();
    let trunk =
        |n| PortPolicy { vlan: Some(VlanPolicy::trunk(every.clone(), None)), fdb_limit: n, ..PortPolicy::default() };
    lab.wired.engine.set_port_policy(lab.ports[0], trunk(1)).unwrap();
    let spec = || DomainSpec { mtu: 1500, policy: learning(Learning::default()) };
    let second = lab.wired.engine.add_domain(spec()).unwrap();
    let port = add(&mut lab.wired, second, trunk(1));
    lab.ports.push(port);
    let third = lab.wired.engine.add_domain(spec()).unwrap();
    let port = add(&mut lab.wired, third, PortPolicy::default());
    lab.ports.push(port);
    let refused = lab.wired.engine.set_port_policy(port, trunk(1)).unwrap_err();
    assert!(matches!(refused, EngineError::TooManyVlans { vlan: 2, .. }), "{refused}");
    lab.wired.engine.set_port_policy(lab.ports[0], PortPolicy::default()).unwrap();
    lab.wired.engine.set_port_policy(port, trunk(1)).unwrap();
    lab.finish();
}

/// A flood of random sources from one port, with a table that is far too small for them: what the others send each other
/// is not flooded, neither during it nor after.
#[test]
fn a_flood_of_addresses_leaves_the_traffic_of_others_unflooded() {
    for workers in [1, 2] {
        let mut lab = Lab::new(workers, learning(Learning::default()), &vec![PortPolicy::limited(64); 4]);
        let stations: Vec<u8> = (0..40).collect();
        for station in &stations {
            lab.send(1, &[frame(ALL, [2, 1, 0, 0, 0, *station], 0, 64)]);
            lab.send(2, &[frame(ALL, [2, 2, 0, 0, 0, *station], 0, 64)]);
        }
        lab.came();
        let mut bits = 88_172_645_463_325_252_u64;
        for round in 0..20u32 {
            let strangers = (0..500).map(|i| {
                bits ^= bits << 13;
                bits ^= bits >> 7;
                bits ^= bits << 17;
                let [a, b, c, d, e, ..] = bits.to_be_bytes();
                frame([2, 9, 9, 9, 9, 9], [2, a, b, c, d, e], i, 64)
            });
            let strangers: Vec<_> = strangers.collect();
            lab.wired.inject(lab.ports[0].0, &strangers);
            let talk = |from: u8, to: u8| {
                let pair = |s: &u8| frame([2, to, 0, 0, 0, *s], [2, from, 0, 0, 0, *s], round, 64);
                stations.iter().map(pair).collect::<Vec<_>>()
            };
            lab.wired.inject(lab.ports[1].0, &talk(1, 2));
            lab.wired.inject(lab.ports[2].0, &talk(2, 1));
            lab.wired.settle();
            assert_eq!(lab.came(), [0, 540, 540, 500], "the strangers' flood, and nobody else's frames, at port 3");
        }
        assert!(lab.wired.engine.fdb().len() <= 64 + 80);
        lab.finish();
    }
}
