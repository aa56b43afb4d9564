//! Loop probes: frames that a port sends now and then, and that must not come home.
//!
//! A probe goes to a group address that no protocol uses, so that other switches flood it. It carries a number that only
//! this process knows: no peer can make one, and a peer that sends one back blocks its own port and no other.

use crate::eth::{HEADER_LEN, MacAddr, field};
use crate::port::PortId;

/// Where probes go: a group address of local meaning.
pub const GROUP: MacAddr = MacAddr([0x03, b'p', b'o', b'l', b'l', b'x']);
/// IEEE 802 local experimental EtherType 1.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
/// The shortest frame there is.
const LEN: usize = 60;
const ID: std::ops::Range<usize> = HEADER_LEN..HEADER_LEN + 8;
const PORT: std::ops::Range<usize> = ID.end..ID.end + 2;

/// A probe that came home: there is a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned {
    /// The port on which it came in.
    pub port: PortId,
    /// The port that had sent it.
    pub sent: PortId,
}

/// A probe of one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe([u8; LEN]);

impl Probe {
    /// The probe that `port` sends; `id` is this process's.
    #[must_use]
    pub fn new(id: u64, port: PortId) -> Self {
        let mut frame = [0; LEN];
        let (id, port) = (id.to_be_bytes(), port.0.to_be_bytes());
        frame[field::DST].copy_from_slice(&GROUP.0);
        // An address of local meaning, of this port only: other switches may learn it.
        frame[field::SRC].copy_from_slice(&[2, id[0], id[1], id[2], port[0], port[1]]);
        frame[field::ETHERTYPE].copy_from_slice(&ETHERTYPE);
        frame[ID].copy_from_slice(&id);
        frame[PORT].copy_from_slice(&port);
        Self(frame)
    }

    /// The frame.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The port that sent the probe, if `frame` is one of this process, tagged on its way or not.
#[must_use]
pub fn sender(id: u64, frame: &[u8]) -> Option<PortId> {
    let (ethertype, at) = crate::eth::payload(frame)?;
    let body = frame.get(at..).filter(|_| ethertype == u16::from_be_bytes(ETHERTYPE))?;
    let (theirs, port) = (body.first_chunk::<8>()?, body.get(8..)?.first_chunk::<2>()?);
    (u64::from_be_bytes(*theirs) == id).then(|| PortId(u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_tells_its_sender_to_the_process_that_made_it() {
        let probe = Probe::new(7 << 40, PortId(1023));
        assert_eq!(sender(7 << 40, probe.bytes()), Some(PortId(1023)));
        assert_eq!(sender(8 << 40, probe.bytes()), None);
        let mut tagged = probe.bytes().to_vec();
        tagged.splice(12..12, [0x81, 0, 0, 5]);
        assert_eq!(sender(7 << 40, &tagged), Some(PortId(1023)), "through a VLAN of somebody else's");
        for len in 0..probe.bytes().len() {
            assert_eq!(sender(7 << 40, &probe.bytes()[..len]).is_some(), len >= 24, "{len} bytes");
        }
    }
}
