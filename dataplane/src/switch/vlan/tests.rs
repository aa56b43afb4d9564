//! Ingress and egress tables, exhaustively, and that what comes out of a trunk goes back in where it was.

use super::*;
use proptest::prelude::*;

const C: u16 = TPID_8021Q;
const S: u16 = TPID_8021AD;

/// The head of a frame with these tags.
fn head(tags: &[(u16, u16)]) -> Vec<u8> {
    let mut head = vec![2; 12];
    for (tpid, tci) in tags {
        head.extend(tpid.to_be_bytes().into_iter().chain(tci.to_be_bytes()));
    }
    head.extend([8, 0, 0x45, 0]);
    head
}

fn vids(vids: &[Vid]) -> VidSet {
    vids.iter().copied().collect()
}

/// What a port of that policy makes of a frame: `(VLAN, priority bits, tag to be removed)`.
fn classify(policy: &VlanPolicy, tags: &[(u16, u16)]) -> Result<(Vid, u16, bool), DropReason> {
    PortVlans::new(policy).classify(&head(tags)).map(|t| (t.vid, t.priority, t.tagged))
}

#[test]
fn ingress_table_of_an_access_port() {
    let port = VlanPolicy::access(10);
    for (tags, expected) in [
        (&[][..], Ok((10, 0, false))),
        // a priority tag: the native VLAN, its priority kept
        (&[(C, 0xa000)], Ok((10, 0xa000, true))),
        (&[(C, 0x1000)], Ok((10, 0x1000, true))),
        // its own VLAN's tag is taken, another's is not
        (&[(C, 0xe00a)], Ok((10, 0xe000, true))),
        (&[(C, 11)], Err(DropReason::VlanDenied)),
        (&[(C, 4095)], Err(DropReason::VlanDenied)),
        // another kind of tag is payload
        (&[(S, 11)], Ok((10, 0, false))),
        (&[(S, 10), (C, 11)], Ok((10, 0, false))),
        (&[(C, 10), (C, 11)], Ok((10, 0, true))),
        (&[(0x9100, 11)], Ok((10, 0, false))),
    ] {
        assert_eq!(classify(&port, tags), expected, "{tags:x?}");
    }
}

#[test]
fn ingress_table_of_a_trunk() {
    let (with, without) = (VlanPolicy::trunk(vids(&[1, 10, 4094]), Some(1)), VlanPolicy::trunk(vids(&[10]), None));
    for (tags, of_with, of_without) in [
        (&[][..], Ok((1, 0, false)), Err(DropReason::VlanUntagged)),
        (&[(C, 0x6000)], Ok((1, 0x6000, true)), Err(DropReason::VlanUntagged)),
        (&[(C, 1)], Ok((1, 0, true)), Err(DropReason::VlanDenied)),
        (&[(C, 0x200a)], Ok((10, 0x2000, true)), Ok((10, 0x2000, true))),
        (&[(C, 4094)], Ok((4094, 0, true)), Err(DropReason::VlanDenied)),
        (&[(C, 4095)], Err(DropReason::VlanDenied), Err(DropReason::VlanDenied)),
        (&[(S, 10)], Ok((1, 0, false)), Err(DropReason::VlanUntagged)),
    ] {
        assert_eq!((classify(&with, tags), classify(&without, tags)), (of_with, of_without), "{tags:x?}");
    }
}

#[test]
fn ingress_table_of_a_tunnel() {
    let port = VlanPolicy::tunnel(100);
    for (tags, expected) in [
        (&[][..], Ok((100, 0, false))),
        (&[(C, 10)], Ok((100, 0, false))),
        (&[(C, 4095)], Ok((100, 0, false))),
        (&[(S, 100), (C, 10)], Ok((100, 0, true))),
        (&[(S, 101), (C, 10)], Err(DropReason::VlanDenied)),
    ] {
        assert_eq!(classify(&port, tags), expected, "{tags:x?}");
    }
}

#[test]
fn a_priority_may_be_set_and_leaves_drop_eligibility_alone() {
    let port = VlanPolicy { pcp: Some(5), ..VlanPolicy::access(10) };
    for (tags, priority) in [(&[][..], 0xa000), (&[(C, 0xf00a)], 0xb000), (&[(C, 0x200a)], 0xa000)] {
        assert_eq!(classify(&port, tags).unwrap().1, priority, "{tags:x?}");
    }
}

#[test]
fn a_tag_that_is_not_all_there_is_refused() {
    let port = PortVlans::new(&VlanPolicy::access(10));
    for len in 14..20 {
        let whole = port.classify(&head(&[(C, 10)])[..len]);
        assert_eq!(whole.is_ok(), len >= 18, "{len} bytes");
        assert!(len >= 18 || whole == Err(DropReason::BadTag));
        assert!(port.classify(&head(&[])[..len.min(16)]).is_ok(), "{len} bytes without a tag");
    }
}

#[test]
fn egress_table() {
    let (access, trunk) = (VlanPolicy::access(10), VlanPolicy::trunk(vids(&[1, 10]), Some(1)));
    let provider = VlanPolicy::trunk(vids(&[10]), None).with_protocol(TagProtocol::Dot1ad);
    let of = |vid, tagged| Tagging { vid, priority: 0x6000, tagged };
    for (policy, frame, expected) in [
        (&access, of(10, false), Retag::Keep),
        (&access, of(10, true), Retag::Pop),
        (&trunk, of(1, false), Retag::Keep),
        (&trunk, of(1, true), Retag::Pop),
        (&trunk, of(10, false), Retag::Push { tpid: C, tci: 0x600a }),
        (&trunk, of(10, true), Retag::Set { tpid: C, tci: 0x600a }),
        (&provider, of(10, false), Retag::Push { tpid: S, tci: 0x600a }),
        (&provider, of(10, true), Retag::Set { tpid: S, tci: 0x600a }),
    ] {
        assert_eq!(PortVlans::new(policy).retag(frame), expected, "{frame:?} at {policy:?}");
    }
}

#[test]
fn translation_swaps_ids_both_ways_and_hides_those_of_the_domain() {
    // 10 ↔ 110 as asked; 20 and 30 change places; 40 stays what it is
    let mut policy = VlanPolicy::translated(vec![(10, 110), (20, 30), (30, 20)]);
    policy.members.insert(40);
    let port = PortVlans::new(&policy);
    let in_as = |wire: u16| port.classify(&head(&[(C, wire)])).map(|t| t.vid);
    assert_eq!([10, 20, 30, 40].map(in_as), [Ok(110), Ok(30), Ok(20), Ok(40)]);
    assert_eq!([110, 11].map(in_as), [Err(DropReason::VlanDenied); 2]);
    for (inside, wire) in [(110, 10), (30, 20), (20, 30), (40, 40)] {
        let retag = port.retag(Tagging { vid: inside, priority: 0, tagged: true });
        assert_eq!(retag, Retag::Set { tpid: C, tci: wire });
    }
}

#[test]
fn filtering_ids_are_those_of_vlans_that_exist() {
    let fid = |n| Fid::new(n).unwrap();
    let map = FidMap::new(fid(7));
    assert_eq!((map.get(0), map.get(1), map.get(4095)), (Some(fid(7)), None, None));
    let map = map.with([(1, fid(8)), (4094, fid(8191))]);
    let ids = [0, 1, 2, 4094, 4095, u16::MAX].map(|vid| map.get(vid));
    assert_eq!(ids, [Some(fid(7)), Some(fid(8)), None, Some(fid(8191)), None, None]);
    assert_eq!(map.base(), fid(7));
}

proptest! {
    /// Through a trunk and back in at its far end, a frame is in the same VLAN with the same priority.
    #[test]
    fn a_trunk_keeps_vlan_and_priority(
        members in proptest::collection::vec(1u16..4095, 1..20),
        native in any::<bool>(),
        tci: u16,
        dot1ad: bool,
    ) {
        let protocol = if dot1ad { TagProtocol::Dot1ad } else { TagProtocol::Dot1q };
        let native = native.then_some(members[0]);
        let trunk = PortVlans::new(&VlanPolicy::trunk(vids(&members), native).with_protocol(protocol));
        for vid in &members {
            let frame = Tagging { vid: *vid, priority: tci & 0xf000, tagged: false };
            let arrived = match trunk.retag(frame) {
                Retag::Keep => trunk.classify(&head(&[])),
                Retag::Push { tpid, tci } => trunk.classify(&head(&[(tpid, tci)])),
                other => panic!("{other:?} of a frame without a tag"),
            }.unwrap();
            prop_assert_eq!(arrived.vid, *vid);
            prop_assert!(arrived.priority == frame.priority || native == Some(*vid));
        }
    }

    /// No bytes make it panic, and what it accepts is a VLAN of the port.
    #[test]
    fn any_bytes_are_in_a_vlan_of_the_port_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let port = PortVlans::new(&VlanPolicy::trunk(vids(&[1, 10]), Some(1)));
        if let Ok(tagging) = port.classify(&bytes) {
            prop_assert!(port.contains(tagging.vid));
        }
    }
}
