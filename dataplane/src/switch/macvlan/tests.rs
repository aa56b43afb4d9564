//! Every cell of the kernel's tables, with names: `w` the wire, `h` the host, `p q` private, `v x` vepa, `b c` bridge
//! devices, `s t` devices of mode source; `o` is a station beyond the wire.

use super::*;
use crate::switch::policy::MacvlanPort;

const PORTS: &str = "whpqvxbcst";
const PAUSE_TYPE: bool = true;

fn port(name: char) -> PortId {
    PortId(u16::try_from(PORTS.find(name).unwrap()).unwrap())
}

/// The address of a port, of the station `o` beyond the wire, or `*` everybody, `+` a group.
fn mac(name: char) -> MacAddr {
    match name {
        '*' => MacAddr::BROADCAST,
        '+' => MacAddr([0x01, 0, 0x5e, 1, 2, 3]),
        name => MacAddr([2, 0, 0, 0, 0, name as u8]),
    }
}

#[derive(Clone)]
struct Rig {
    extensions: MacvlanDomain,
    ports: Vec<(PortId, PortPolicy)>,
}

fn policy(name: char, sources: &str) -> PortPolicy {
    let device = |mode| Role::Macvlan(MacvlanPort::new(mode, vec![mac(name)]));
    let role = match name {
        'w' => Role::Uplink,
        'h' => Role::Host { macs: vec![mac('h')] },
        'p' | 'q' => device(MacvlanMode::Private),
        'v' | 'x' => device(MacvlanMode::Vepa),
        'b' | 'c' => device(MacvlanMode::Bridge),
        _ => device(MacvlanMode::Source(sources.chars().map(mac).collect())),
    };
    PortPolicy { role, ..PortPolicy::default() }
}

/// One port per name; devices of mode source listen to `o` and to `b`.
fn rig(names: &str) -> Rig {
    let ports = names.chars().map(|name| (port(name), policy(name, "ob"))).collect();
    Rig { extensions: MacvlanDomain::default(), ports }
}

impl Rig {
    fn change(mut self, name: char, change: impl Fn(&mut PortPolicy)) -> Self {
        let (_, policy) = self.ports.iter_mut().find(|(id, _)| *id == port(name)).unwrap();
        change(policy);
        self
    }

    fn device(self, name: char, change: impl Fn(&mut MacvlanPort)) -> Self {
        self.change(name, |policy| {
            let Role::Macvlan(device) = &mut policy.role else { panic!("{name} is no device") };
            change(device);
        })
    }

    fn down(self, name: char) -> Self {
        self.change(name, |policy| policy.enabled = false)
    }

    fn table(&self) -> Table {
        Table::new(self.extensions, self.ports.iter().map(|(port, policy)| (*port, policy)))
    }

    fn try_send(&self, from: char, frame: &Frame) -> Result<String, DropReason> {
        let role = &self.ports.iter().find(|(id, _)| *id == port(from)).unwrap().1.role;
        let mut to = Vec::new();
        self.table().verdict((port(from), role), frame, &mut to)?;
        let mut names: Vec<char> = to.iter().map(|id| PORTS.chars().nth(id.index()).unwrap()).collect();
        names.sort_by_key(|name| PORTS.find(*name));
        Ok(names.into_iter().collect())
    }

    /// Who gets a frame that `from` puts in, "" for nobody.
    fn send(&self, from: char, src: char, dst: char) -> String {
        self.try_send(from, &frame(src, dst)).unwrap_or_default()
    }
}

fn frame(src: char, dst: char) -> Frame {
    Frame { dst: mac(dst), src: mac(src), mac_control: false }
}

const ALL: &str = "whpqvxbcs";

/// What comes from the wire: source, destination, who gets it.
#[test]
fn frames_from_the_wire() {
    let all = rig("whpqvxbc");
    for (src, dst, to) in [
        // R5, R6, R7: a stranger's multicast goes to everybody and to the host
        ('o', '*', "hpqvxbc"),
        ('o', '+', "hpqvxbc"),
        // R4: a private device's own frame, reflected, goes to itself only
        ('p', '*', "p"),
        ('p', '+', "p"),
        // a vepa device's own, reflected, goes to vepa and bridge but not to itself
        ('v', '*', "hxbc"),
        // a bridge device's own: bridge siblings had it already
        ('b', '*', "hvx"),
        // R12: whoever owns the address, whatever its mode and whoever sent it
        ('o', 'p', "p"),
        ('o', 'v', "v"),
        ('o', 'b', "b"),
        ('q', 'p', "p"),
        ('b', 'p', "p"),
        ('b', 'c', "c"),
        // R10: the host's and nobody's end at the host
        ('o', 'h', "h"),
        ('o', 'o', "h"),
        ('b', 'h', "h"),
    ] {
        assert_eq!(all.send('w', src, dst), to, "{src} to {dst}");
    }
    assert_eq!(rig("wpb").try_send('w', &frame('o', 'o')), Err(DropReason::NoOwner), "no unknown unicast is flooded");
}

/// What devices send: sender, destination, who gets it.
#[test]
fn frames_of_devices() {
    let all = rig(ALL).device('s', |s| s.mode = MacvlanMode::Source(vec![mac('o')]));
    for (from, dst, to) in [
        // bridge: its siblings of that mode, and the wire
        ('b', '*', "wc"),
        ('b', '+', "wc"),
        ('b', 'c', "c"),
        ('b', 'p', "w"),
        ('b', 'v', "w"),
        ('b', 's', "w"),
        ('b', 'h', "w"),
        ('b', 'o', "w"),
        // corner case 14: to itself
        ('b', 'b', "b"),
        // all others: the wire
        ('p', '*', "w"),
        ('p', 'q', "w"),
        ('p', 'b', "w"),
        ('p', 'h', "w"),
        ('v', '*', "w"),
        ('v', 'x', "w"),
        ('v', 'b', "w"),
        ('s', '*', "w"),
        ('s', 'b', "w"),
        ('s', 'o', "w"),
        // and the host: no hook sees what it sends
        ('h', '*', "w"),
        ('h', 'b', "w"),
        ('h', 'o', "w"),
    ] {
        assert_eq!(all.send(from, from, dst), to, "{from} to {dst}");
    }
}

/// What a switch on the wire sends back (reflective relay), derived from the two tables above.
#[test]
fn hairpinned_frames() {
    let all = rig("whpqvxbc");
    for from in "pvb".chars() {
        for (dst, to) in [('q', "q"), ('x', "x"), ('c', "c"), ('h', "h")] {
            assert_eq!(all.send('w', from, dst), to, "{from} to {dst}, even to private ones");
        }
    }
    let strict = Rig { extensions: MacvlanDomain { strict_private: true, ..MacvlanDomain::default() }, ..all };
    for from in "pvb".chars() {
        assert_eq!(strict.try_send('w', &frame(from, 'q')), Err(DropReason::PrivateReflected), "{from}");
        assert_eq!(strict.send('w', from, 'x'), "x");
    }
    assert_eq!(strict.send('w', 'o', 'q'), "q", "a stranger is no sibling");
}

/// Devices of mode source: by list, whatever the destination; never by address, never by mode.
#[test]
fn frames_by_source_list() {
    let all = rig("whpbcs").device('s', |s| s.macs = vec![mac('s')]);
    for (src, dst, to) in [
        // R2: a copy, and the rest goes its way (corner case 4)
        ('o', '*', "hpbcs"),
        ('o', 'b', "bs"),
        ('o', 'h', "hs"),
        // R8, R10: not by its own address
        ('o', 's', "hs"),
        ('p', 's', "h"),
        // not by mode
        ('p', '*', "p"),
    ] {
        assert_eq!(all.send('w', src, dst), to, "{src} to {dst}");
    }
    let twice = rig("ws").device('s', |s| s.mode = MacvlanMode::Source(vec![mac('o'), mac('b'), mac('o')]));
    assert_eq!(twice.send('w', 'o', 'o'), "s", "listed twice, heard once");
    let two = rig("wst");
    assert_eq!(two.send('w', 'o', 'o'), "st", "corner case 3: two that listen to one source");
    let nodst = rig("whbcs").device('s', |s| s.nodst = true);
    assert_eq!(nodst.send('w', 'o', '*'), "s", "R3: nobody else");
    assert_eq!(nodst.send('w', 'o', 'b'), "s");
    assert_eq!(nodst.send('b', 'b', 'c'), "s", "corner case 1: stolen from between siblings");
    assert_eq!(
        nodst.down('s').try_send('w', &frame('o', 'b')),
        Err(DropReason::SourceOnly),
        "corner case 2: swallowed"
    );
}

#[test]
fn devices_that_are_down_own_nothing() {
    let rig = rig("whbcp").down('c').down('p');
    assert_eq!(rig.send('w', 'o', 'c'), "h", "not in the hash: as nobody's");
    assert_eq!(rig.send('b', 'b', 'c'), "w", "corner case 15");
    assert_eq!(rig.send('w', 'o', '*'), "hb");
    assert_eq!(rig.send('w', 'p', '*'), "hb", "its address is a stranger's");
    assert_eq!(rig.down('w').try_send('b', &frame('b', '*')), Err(DropReason::NoDestination));
}

#[test]
fn a_passthru_device_gets_every_unicast_frame_and_multicast_as_all() {
    let rig = rig("whp").device('p', |p| p.mode = MacvlanMode::Passthru);
    for (src, dst, to) in [('o', 'o', "p"), ('o', 'h', "p"), ('o', 'p', "p"), ('o', '*', "hp"), ('p', '*', "p")] {
        assert_eq!(rig.send('w', src, dst), to, "corner case 7: {src} to {dst}");
    }
    assert_eq!(rig.send('p', 'p', 'h'), "w");
    assert_eq!(rig.down('p').try_send('w', &frame('o', 'h')), Err(DropReason::PortDown));
}

#[test]
fn mac_control_reaches_no_device_by_group_address() {
    let rig = rig("whpvbcs").device('s', |s| s.mode = MacvlanMode::Source(vec![mac('o')]));
    let control = |src, dst| Frame { mac_control: PAUSE_TYPE, ..frame(src, dst) };
    assert_eq!(rig.try_send('w', &control('o', '+')).unwrap(), "hs", "corner case 12; lists come first");
    assert_eq!(rig.try_send('w', &control('p', '+')).unwrap(), "p", "R4 does not look at the type");
    assert_eq!(rig.try_send('b', &control('b', '+')).unwrap(), "w");
    assert_eq!(rig.try_send('w', &control('z', 'b')).unwrap(), "b", "unicast does not look at the type");
}

#[test]
fn several_addresses_lead_to_one_device() {
    let rig = rig("wbc").device('c', |c| c.macs.push(mac('o')));
    assert_eq!((rig.send('b', 'b', 'o'), rig.send('w', 'z', 'o')), ("c".into(), "c".into()));
}

#[test]
fn host_and_devices_reach_each_other_where_the_domain_says_so() {
    let plain = rig("whpvbcs");
    let reach = Rig { extensions: MacvlanDomain { host_reach: true, ..MacvlanDomain::default() }, ..plain };
    for (from, dst, to) in [
        ('h', 'p', "p"),
        ('h', 'b', "b"),
        ('h', 's', "w"),
        ('h', 'o', "w"),
        ('h', '*', "wpvbc"),
        ('p', 'h', "h"),
        ('b', 'h', "h"),
        ('s', 'h', "h"),
        ('p', '*', "wh"),
        ('b', '*', "whc"),
        ('p', 'v', "w"),
    ] {
        assert_eq!(reach.send(from, from, dst), to, "{from} to {dst}");
    }
}

#[test]
fn a_promiscuous_device_sees_unknown_unicast_and_no_other() {
    let rig = rig("whpbc").device('c', |c| c.promisc_rx = true).device('p', |p| p.promisc_rx = true);
    for (from, src, dst, to) in [
        ('w', 'o', 'o', "hpc"),
        ('w', 'o', 'b', "b"),
        ('w', 'o', 'h', "hpc"),
        ('b', 'b', 'o', "wc"),
        ('c', 'c', 'o', "w"),
        ('b', 'b', 'p', "w"),
        ('p', 'p', 'o', "w"),
    ] {
        assert_eq!(rig.send(from, src, dst), to, "{from}: {src} to {dst}");
    }
}

#[test]
fn beyond_the_broadcast_queue_only_lists_and_the_host_hear() {
    let rig = rig("whpbs");
    let mut to = Vec::new();
    rig.table().overflow(&frame('o', '*'), &mut to).unwrap();
    assert_eq!(to, [port('s'), port('h')]);
    let deaf = self::rig("wpb");
    assert_eq!(deaf.table().overflow(&frame('o', '*'), &mut Vec::new()), Err(DropReason::BroadcastQueue));
    assert!(rig.table().is_queued(&Role::Uplink, &frame('o', '*')));
    assert!(!rig.table().is_queued(&Role::Uplink, &frame('o', 'b')));
}

/// What holds for every frame, whatever the table: nobody hears a frame twice, nobody who is down hears anything,
/// nobody hears his own but by his own address, and nothing comes out of a domain that is not in it.
#[test]
fn no_frame_reaches_a_port_twice_or_one_that_is_down() {
    let names = "whpqvxbcst";
    let addresses = "hpqvxbcsto*+";
    for mask in 0..1u32 << names.len() {
        // one of them listens to its own address, and to one twice
        let own = MacvlanMode::Source("stos".chars().map(mac).collect());
        let mut rig = rig(names).device('s', |device| device.mode = own.clone());
        for (i, name) in names.chars().enumerate().filter(|(i, _)| mask >> i & 1 == 1) {
            rig = if i % 3 == 2 { rig.device(name, |device| device.nodst = true) } else { rig.down(name) };
        }
        let table = rig.table();
        let down = |id: &PortId| !rig.ports.iter().find(|(port, _)| port == id).unwrap().1.enabled;
        for (from, policy) in rig.ports.iter().filter(|(_, policy)| policy.enabled) {
            for (src, dst) in addresses.chars().flat_map(|src| addresses.chars().map(move |dst| (src, dst))) {
                let mut to = Vec::new();
                let _ = table.verdict((*from, &policy.role), &frame(src, dst), &mut to);
                assert!(!to.iter().any(down), "{mask:b} {from:?} {src} {dst} {to:?}");
                assert!((1..to.len()).all(|i| !to[..i].contains(&to[i])), "{mask:b} {from:?} {src} {dst} {to:?}");
                let own = PORTS.chars().nth(from.index()) == Some(dst);
                assert!(own || !to.contains(from), "{mask:b} {from:?} {src} {dst} {to:?}");
            }
        }
    }
}
