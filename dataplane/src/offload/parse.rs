//! Where the transport header of a frame is. Every access is checked; a walk over IPv6 extension headers is bounded.

use crate::eth;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// EtherType of IPv4.
const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Extension headers walked; RFC 8200 §4.1 has each kind once, destination options twice.
const MAX_EXTENSIONS: usize = 8;

/// Offsets in an IPv4 header (RFC 791).
pub mod ipv4 {
    #![allow(missing_docs, reason = "the names of the fields")]
    pub const TOTAL_LEN: usize = 2;
    pub const ID: usize = 4;
    pub const FRAGMENT: usize = 6;
    pub const PROTOCOL: usize = 9;
    pub const CHECKSUM: usize = 10;
    pub const ADDRESSES: std::ops::Range<usize> = 12..20;
    pub const MIN_LEN: usize = 20;
}

/// Offsets in an IPv6 header (RFC 8200).
pub mod ipv6 {
    #![allow(missing_docs, reason = "the names of the fields")]
    pub const PAYLOAD_LEN: usize = 4;
    pub const NEXT_HEADER: usize = 6;
    pub const ADDRESSES: std::ops::Range<usize> = 8..40;
    pub const LEN: usize = 40;
}

/// Offsets in a TCP header (RFC 9293).
pub mod tcp {
    #![allow(missing_docs, reason = "the names of the fields")]
    pub const SEQ: usize = 4;
    pub const DATA_OFFSET: usize = 12;
    pub const FLAGS: usize = 13;
    pub const CHECKSUM: usize = 16;
    pub const MIN_LEN: usize = 20;
    pub const FIN: u8 = 0x01;
    pub const PSH: u8 = 0x08;
    pub const CWR: u8 = 0x80;
}

/// Offsets in a UDP header (RFC 768).
pub mod udp {
    #![allow(missing_docs, reason = "the names of the fields")]
    pub const LENGTH: usize = 4;
    pub const CHECKSUM: usize = 6;
    pub const LEN: usize = 8;
}

/// What lies behind the IP headers of a frame, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L4 {
    /// Where the IP header begins.
    pub l3: usize,
    /// Where the transport header begins; the frame may end before it.
    pub l4: usize,
    /// Its IP protocol number.
    pub proto: u8,
    /// IPv6, not IPv4.
    pub v6: bool,
}

impl L4 {
    /// Bytes up to the end of the TCP or UDP header; `None` for other protocols and for headers cut short.
    #[must_use]
    pub fn headers_end(&self, frame: &[u8]) -> Option<usize> {
        let len = match self.proto {
            TCP => usize::from(frame.get(self.l4 + tcp::DATA_OFFSET)? >> 4) * 4,
            UDP => udp::LEN,
            _ => return None,
        };
        let whole = self.proto == UDP || len >= tcp::MIN_LEN;
        (whole && self.l4 + len <= frame.len()).then_some(self.l4 + len)
    }

    /// Where the checksum is, from the transport header; `None` for other protocols.
    #[must_use]
    pub fn csum_offset(&self) -> Option<usize> {
        match self.proto {
            TCP => Some(tcp::CHECKSUM),
            UDP => Some(udp::CHECKSUM),
            _ => None,
        }
    }
}

/// Finds the transport header behind Ethernet, up to two VLAN tags and IP. `None` for what is not IP, for fragments,
/// and for headers that end before they should.
#[must_use]
pub fn find_l4(frame: &[u8]) -> Option<L4> {
    let (ethertype, l3) = eth::payload(frame)?;
    match ethertype {
        ETHERTYPE_IPV4 => behind_ipv4(frame, l3),
        ETHERTYPE_IPV6 => behind_ipv6(frame, l3),
        _ => None,
    }
}

/// The 16-bit field at `at`, in host order.
#[must_use]
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

fn behind_ipv4(frame: &[u8], l3: usize) -> Option<L4> {
    let hdr: &[u8; ipv4::MIN_LEN] = frame.get(l3..)?.first_chunk()?;
    let len = usize::from(hdr[0] & 0xf) * 4;
    // More fragments, or an offset: everything but the don't-fragment and reserved bits.
    let fragment = be16(hdr, ipv4::FRAGMENT)? & 0x3fff != 0;
    if hdr[0] >> 4 != 4 || len < ipv4::MIN_LEN || fragment {
        return None;
    }
    Some(L4 { l3, l4: l3 + len, proto: hdr[ipv4::PROTOCOL], v6: false })
}

fn behind_ipv6(frame: &[u8], l3: usize) -> Option<L4> {
    let hdr: &[u8; ipv6::LEN] = frame.get(l3..)?.first_chunk()?;
    if hdr[0] >> 4 != 6 {
        return None;
    }
    let (mut proto, mut at) = (hdr[ipv6::NEXT_HEADER], l3 + ipv6::LEN);
    for _ in 0..=MAX_EXTENSIONS {
        let unit = match proto {
            // hop-by-hop, routing, destination options; authentication counts otherwise (RFC 4302 §2.2)
            0 | 43 | 60 => |n: u8| (usize::from(n) + 1) * 8,
            51 => |n: u8| (usize::from(n) + 2) * 4,
            // fragment
            44 => return None,
            _ => return Some(L4 { l3, l4: at, proto, v6: true }),
        };
        let extension: &[u8; 2] = frame.get(at..)?.first_chunk()?;
        proto = extension[0];
        at += unit(extension[1]);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv6_with(extensions: &[(u8, usize)], proto: u8) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60]);
        frame.resize(14 + ipv6::LEN, 0);
        let mut link = 14 + ipv6::NEXT_HEADER;
        for (kind, units) in extensions {
            frame[link] = *kind;
            link = frame.len();
            let len = if *kind == 51 { (units + 2) * 4 } else { (units + 1) * 8 };
            frame.resize(link + len, 0);
            frame[link + 1] = u8::try_from(*units).unwrap();
        }
        frame[link] = proto;
        frame
    }

    #[test]
    fn ipv4_with_options_and_tags() {
        let mut frame = vec![0; 12];
        frame.extend([0x81, 0, 0, 5, 0x08, 0x00, 0x47]);
        frame.resize(18 + 28, 0);
        frame[18 + ipv4::PROTOCOL] = TCP;
        assert_eq!(find_l4(&frame), Some(L4 { l3: 18, l4: 46, proto: TCP, v6: false }));
        frame[18] = 0x44;
        assert_eq!(find_l4(&frame), None, "a header of 16 bytes");
        frame[18] = 0x65;
        assert_eq!(find_l4(&frame), None, "version 6 under the EtherType of 4");
    }

    #[test]
    fn fragments_have_no_transport_header() {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45]);
        frame.resize(34, 0);
        for (bits, seen) in [(0x4000u16, true), (0x2000, false), (0x0001, false), (0x1fff, false)] {
            frame[14 + ipv4::FRAGMENT..][..2].copy_from_slice(&bits.to_be_bytes());
            assert_eq!(find_l4(&frame).is_some(), seen, "{bits:#x}");
        }
        assert_eq!(find_l4(&ipv6_with(&[(44, 0)], UDP)), None);
    }

    #[test]
    fn ipv6_extension_headers_are_walked_and_bounded() {
        let frame = ipv6_with(&[(0, 0), (60, 2), (43, 1), (51, 4)], TCP);
        assert_eq!(find_l4(&frame), Some(L4 { l3: 14, l4: frame.len(), proto: TCP, v6: true }));
        assert!(find_l4(&ipv6_with(&[(60, 0); MAX_EXTENSIONS], UDP)).is_some());
        assert_eq!(find_l4(&ipv6_with(&[(60, 0); MAX_EXTENSIONS + 1], UDP)), None);
        assert_eq!(find_l4(&frame[..60]), None, "cut inside the extensions");
    }

    #[test]
    fn a_transport_header_cut_short_is_none() {
        let mut frame = ipv6_with(&[], TCP);
        let l4 = find_l4(&frame).unwrap();
        assert_eq!(l4.headers_end(&frame), None);
        frame.resize(54 + 24, 0);
        for (words, end) in [(5u8, Some(74)), (6, Some(78)), (7, None), (4, None)] {
            frame[54 + tcp::DATA_OFFSET] = words << 4;
            assert_eq!(l4.headers_end(&frame), end, "{words} words");
        }
    }
}
