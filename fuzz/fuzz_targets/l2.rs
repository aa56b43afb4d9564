//! What layer 2 reads from frames: VLAN tags, and IGMP and MLD messages. The first byte chooses the port's VLANs; the
//! rest is a frame. Whatever the bytes: no panic, a frame that is let in is in a VLAN of the port, one that is refused
//! says nothing, and membership is of groups only.

#![no_main]

use dataplane::switch::policy::{TagProtocol, VlanPolicy};
use dataplane::switch::snoop::{Said, parse};
use dataplane::switch::vlan::{PortVlans, Retag};
use dataplane::switch::probe;
use libfuzzer_sys::fuzz_target;

/// Where the EtherType is, and behind one tag.
const PLACES: [usize; 2] = [12, 16];

fuzz_target!(|data: &[u8]| {
    let Some((choice, frame)) = data.split_first() else { return };
    tags(*choice, frame);
    membership(frame);
    let _ = probe::sender(u64::from(*choice), frame);
});

fn policy(choice: u8) -> VlanPolicy {
    let vids = || (1..=u16::from(choice >> 4) + 1).collect();
    let policy = match choice & 3 {
        0 => VlanPolicy::access(1),
        1 => VlanPolicy::trunk(vids(), Some(1)),
        2 => VlanPolicy::trunk(vids(), None),
        _ => VlanPolicy::translated(vec![(100, 1), (2, 3), (3, 2)]),
    };
    if choice & 4 == 0 { policy } else { policy.with_protocol(TagProtocol::Dot1ad) }
}

fn tags(choice: u8, frame: &[u8]) {
    let port = PortVlans::new(&policy(choice));
    let Ok(tagging) = port.classify(frame) else { return };
    assert!(port.contains(tagging.vid));
    assert!(!tagging.tagged || frame.len() >= 18, "a tag is whole");
    if let Retag::Pop | Retag::Set { .. } = port.retag(tagging) {
        assert!(tagging.tagged, "only a tag that is there is taken off");
    }
}

fn membership(frame: &[u8]) {
    for at in PLACES {
        let mut said = Vec::new();
        let read = parse::look(frame, at, &mut |one| said.push(one));
        assert!(read.is_ok() || said.is_empty(), "a malformed message says nothing");
        for one in said {
            match one {
                Said::Join(group) => assert!(group.is_multicast()),
                Said::Leave(_) | Said::Query { .. } | Said::Router { .. } => {}
            }
        }
    }
}
