//! Ethernet addresses and a header view over the bytes of a frame (IEEE 802.3 §3.1.1).
//!
//! [`EthHdr::new_checked`] is the one length check; after it no accessor panics.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// A 48-bit MAC address in wire order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// 01:80:c2:00:00:01, the PAUSE address (802.3 Annex 31B): never forwarded by a bridge.
    pub const PAUSE: Self = Self([0x01, 0x80, 0xc2, 0, 0, 1]);

    /// Group bit set: multicast or broadcast.
    #[must_use]
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// 00:00:00:00:00:00, which no station may own.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == [0; 6]
    }

    /// The address as the low 48 bits of an integer; integer comparison beats byte arrays.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The inverse of [`MacAddr::to_u64`]; the upper 16 bits are ignored.
    #[must_use]
    pub fn from_u64(bits: u64) -> Self {
        let [_, _, mac @ ..] = bits.to_be_bytes();
        Self(mac)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not six groups of two hexadecimal digits, all joined by colons or all by dashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address; write six groups of two hexadecimal digits, such as 02:00:00:00:00:01")]
pub struct ParseMacError;

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let mut octets = [0; 6];
        let mut parts = text.split(if text.contains('-') { '-' } else { ':' });
        for octet in &mut octets {
            let two_digits = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let part = parts.next().filter(two_digits);
            *octet = part.and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or(ParseMacError)?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(ParseMacError),
        }
    }
}

/// Offsets in an Ethernet II header.
pub mod field {
    use super::Range;
    /// Destination address.
    pub const DST: Range<usize> = 0..6;
    /// Source address.
    pub const SRC: Range<usize> = 6..12;
    /// EtherType or tag protocol id.
    pub const ETHERTYPE: Range<usize> = 12..14;
}

/// Bytes of an untagged Ethernet header.
pub const HEADER_LEN: usize = 14;
/// Bytes of one 802.1Q or 802.1ad tag.
pub const TAG_LEN: usize = 4;
/// EtherType of an 802.1Q tag (C-VLAN).
pub const TPID_8021Q: u16 = 0x8100;
/// EtherType of an 802.1ad tag (S-VLAN).
pub const TPID_8021AD: u16 = 0x88a8;

/// A view of an Ethernet header.
#[derive(Debug, Clone, Copy)]
pub struct EthHdr<'a>(&'a [u8; HEADER_LEN]);

impl<'a> EthHdr<'a> {
    /// The header of `frame`, or `None` when it is a runt of 0..=13 bytes.
    #[must_use]
    pub fn new_checked(frame: &'a [u8]) -> Option<Self> {
        frame.first_chunk().map(Self)
    }

    /// Both addresses as they lie there, good for a comparison.
    #[must_use]
    pub fn addresses(&self) -> (u64, u32) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *self.0;
        (u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u32::from_ne_bytes([i, j, k, l]))
    }

    /// Destination address.
    #[must_use]
    pub fn dst(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = *self.0;
        MacAddr([a, b, c, d, e, f])
    }

    /// Source address.
    #[must_use]
    pub fn src(&self) -> MacAddr {
        let [_, _, _, _, _, _, a, b, c, d, e, f, ..] = *self.0;
        MacAddr([a, b, c, d, e, f])
    }

    /// EtherType, or the tag protocol id of a tagged frame.
    #[must_use]
    pub fn ethertype(&self) -> u16 {
        u16::from_be_bytes([self.0[12], self.0[13]])
    }
}

/// `(ethertype, offset of what follows it)` behind up to two VLAN tags; `None` when the frame ends before.
#[must_use]
pub fn payload(frame: &[u8]) -> Option<(u16, usize)> {
    let mut at = field::ETHERTYPE.start;
    for _ in 0..3 {
        let bytes = frame.get(at..at + 2)?;
        let ethertype = u16::from_be_bytes([bytes[0], bytes[1]]);
        match ethertype {
            TPID_8021Q | TPID_8021AD => at += TAG_LEN,
            _ => return Some((ethertype, at + 2)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runt_has_no_header() {
        for len in 0..HEADER_LEN {
            assert!(EthHdr::new_checked(&vec![0; len]).is_none());
        }
    }

    #[test]
    fn header_fields() {
        let frame: Vec<u8> = (0..20).collect();
        let hdr = EthHdr::new_checked(&frame).unwrap();
        assert_eq!(hdr.dst(), MacAddr([0, 1, 2, 3, 4, 5]));
        assert_eq!(hdr.src(), MacAddr([6, 7, 8, 9, 10, 11]));
        assert_eq!(hdr.ethertype(), 0x0c0d);
    }

    #[test]
    fn addresses_parse_print_and_pack() {
        let mac: MacAddr = "02:00:5e:10:00:fF".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
        assert_eq!(MacAddr::from_u64(mac.to_u64()), mac);
        assert_eq!("02-00-5E-10-00-FF".parse(), Ok(mac));
        for bad in ["", "02", "02:00:00:00:00", "02:00:00:00:00:00:00", "02:00:00:00:00:0g", "002:0:0:0:0:0"] {
            assert_eq!(bad.parse::<MacAddr>(), Err(ParseMacError), "{bad:?}");
        }
        for bad in ["+2:00:00:00:00:01", "2:0:0:0:0:1", "02:00:00-00:00:01", " 2:00:00:00:00:01", "02005e1000ff"] {
            assert_eq!(bad.parse::<MacAddr>(), Err(ParseMacError), "{bad:?}");
        }
    }

    #[test]
    fn payload_skips_two_tags_and_no_more() {
        let mut frame = vec![0; 12];
        frame.extend([0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 0x08, 0, 0x45]);
        assert_eq!(payload(&frame), Some((0x0800, 22)));
        let mut triple = vec![0; 12];
        triple.extend([0x81, 0, 0, 1].repeat(4));
        assert_eq!(payload(&triple), None);
        assert_eq!(payload(&[0; 13]), None);
    }
}
