//! Reading IGMP (RFC 1112, 2236, 3376) and MLD (RFC 2710, 3810) as the kernel's bridge does (`ip_mc_check_igmp`,
//! `ipv6_mc_check_mld`). Every access is checked; any bytes will do.

use super::Said;
use crate::offload::csum::{self, Sum};
use crate::offload::parse::{be16, ipv4, ipv6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const IGMP: u8 = 2;
const PIM: u8 = 103;
const HOP_BY_HOP: u8 = 0;
const ICMPV6: u8 = 58;
/// 224.0.0.13 and ff02::d, all PIM routers.
const PIM_ROUTERS_4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 13);
const PIM_ROUTERS_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xd);
/// Version 2, hello (RFC 7761 §4.9).
const PIM_HELLO: u8 = 0x20;
/// Fixed part of a version 1 or 2 message, of a group record, of an IGMPv3 and an MLDv2 query.
const IGMP_LEN: usize = 8;
const MLD_LEN: usize = 24;

/// What a multicast frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Not IP, or IP to a group we cannot read.
    Other,
    /// IP to a group.
    Data(IpAddr),
    /// A membership report of version 1 or 2, which only routers need (hosts that hear it keep silent).
    Report(IpAddr),
    /// Any other membership message.
    Control,
}

/// A membership message that contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed IGMP or MLD message")]
pub struct Malformed;

/// What a multicast frame carries whose EtherType is at byte `at`, behind the tag that counts, and, one by one to
/// `tell`, what it says if it is a membership message. A frame with further tags is somebody else's business.
///
/// # Errors
/// [`Malformed`]; nothing was told then.
pub fn look(frame: &[u8], at: usize, tell: &mut impl FnMut(Said)) -> Result<Class, Malformed> {
    let packet = frame.get(at + 2..).unwrap_or_default();
    match be16(frame, at) {
        Some(ETHERTYPE_IPV4) => behind_ipv4(packet, tell),
        Some(ETHERTYPE_IPV6) => behind_ipv6(packet, tell),
        _ => Ok(Class::Other),
    }
}

fn behind_ipv4(packet: &[u8], tell: &mut impl FnMut(Said)) -> Result<Class, Malformed> {
    let header: &[u8; ipv4::MIN_LEN] = packet.first_chunk().ok_or(Malformed)?;
    let (len, total) = (usize::from(header[0] & 0xf) * 4, be16(header, ipv4::TOTAL_LEN).map_or(0, usize::from));
    if header[0] >> 4 != 4 || len < ipv4::MIN_LEN || total < len {
        return Err(Malformed);
    }
    let address = |at: usize| v4(header, at).ok_or(Malformed);
    let (source, group) = (address(12)?, address(16)?);
    if !group.is_multicast() {
        return Ok(Class::Other);
    }
    let message = packet.get(len..total).filter(|_| be16(header, ipv4::FRAGMENT).is_some_and(|f| f & 0x3fff == 0));
    match (header[ipv4::PROTOCOL], message) {
        (IGMP, Some(message)) => igmp(message, source, group, tell),
        (IGMP, None) => Err(Malformed),
        (PIM, Some([PIM_HELLO, ..])) if group == PIM_ROUTERS_4 => {
            tell(Said::Router { v6: false });
            Ok(Class::Data(group.into()))
        }
        _ => Ok(Class::Data(group.into())),
    }
}

fn igmp(message: &[u8], source: Ipv4Addr, to: Ipv4Addr, tell: &mut impl FnMut(Said)) -> Result<Class, Malformed> {
    if message.len() < IGMP_LEN || csum::sum(message) != 0xffff {
        return Err(Malformed);
    }
    let group = v4(message, 4).ok_or(Malformed)?;
    let asked = (!group.is_unspecified()).then_some(group.into());
    match message[0] {
        0x11 => {
            // A general query goes to all hosts, and nowhere else.
            if asked.is_none() && to != Ipv4Addr::new(224, 0, 0, 1) {
                return Err(Malformed);
            }
            // Version 1 says nothing of time: ten seconds.
            let response_ds = if message[1] == 0 { 100 } else { float(message[1].into(), 4, message.len() >= 12) };
            tell(Said::Query { group: asked, v6: false, response_ds, router: !source.is_unspecified() });
            Ok(Class::Control)
        }
        0x12 | 0x16 if group.is_multicast() => {
            tell(Said::Join(group.into()));
            Ok(Class::Report(group.into()))
        }
        0x12 | 0x16 => Err(Malformed),
        0x17 => {
            tell(Said::Leave(group.into()));
            Ok(Class::Control)
        }
        0x22 => records(message, 4, &|at| v4(message, at).map(IpAddr::from), tell),
        _ => Ok(Class::Data(to.into())),
    }
}

fn behind_ipv6(packet: &[u8], tell: &mut impl FnMut(Said)) -> Result<Class, Malformed> {
    let header: &[u8; ipv6::LEN] = packet.first_chunk().ok_or(Malformed)?;
    let total = ipv6::LEN + be16(header, ipv6::PAYLOAD_LEN).map_or(0, usize::from);
    if header[0] >> 4 != 6 {
        return Err(Malformed);
    }
    let address = |at: usize| v6(header, at).ok_or(Malformed);
    let (source, group) = (address(8)?, address(24)?);
    if !group.is_multicast() {
        return Ok(Class::Other);
    }
    // MLD is behind a hop-by-hop header with the router alert option, always (RFC 2710 §3).
    match header[ipv6::NEXT_HEADER] {
        HOP_BY_HOP => {
            let options = packet.get(ipv6::LEN..total).ok_or(Malformed)?;
            let [next, units, ..] = *options else { return Err(Malformed) };
            let message = options.get((usize::from(units) + 1) * 8..).ok_or(Malformed)?;
            if next == ICMPV6 { mld(message, source, group, tell) } else { Ok(Class::Data(group.into())) }
        }
        PIM if group == PIM_ROUTERS_6 && packet.get(ipv6::LEN) == Some(&PIM_HELLO) => {
            tell(Said::Router { v6: true });
            Ok(Class::Data(group.into()))
        }
        _ => Ok(Class::Data(group.into())),
    }
}

fn mld(message: &[u8], source: Ipv6Addr, to: Ipv6Addr, tell: &mut impl FnMut(Said)) -> Result<Class, Malformed> {
    let kind = *message.first().ok_or(Malformed)?;
    if !matches!(kind, 130..=132 | 143) {
        return Ok(Class::Data(to.into()));
    }
    if icmpv6_sum(message, source, to) != 0xffff {
        return Err(Malformed);
    }
    if kind == 143 {
        return records(message, 16, &|at| v6(message, at).map(IpAddr::from), tell);
    }
    let group = v6(message, 8).filter(|_| message.len() >= MLD_LEN).ok_or(Malformed)?;
    let asked = (!group.is_unspecified()).then_some(group.into());
    match kind {
        130 => {
            // Queries come from link-local addresses (RFC 2710 §3).
            if !source.is_unicast_link_local() {
                return Err(Malformed);
            }
            let code = be16(message, 4).ok_or(Malformed)?;
            let response_ms = float(code.into(), 12, message.len() >= 28);
            tell(Said::Query { group: asked, v6: true, response_ds: response_ms.div_ceil(100), router: true });
            Ok(Class::Control)
        }
        131 if group.is_multicast() => {
            tell(Said::Join(group.into()));
            Ok(Class::Report(group.into()))
        }
        132 => {
            tell(Said::Leave(group.into()));
            Ok(Class::Control)
        }
        _ => Err(Malformed),
    }
}

/// The group records of an IGMPv3 or MLDv2 report: all of them, or the message is malformed (`ip_mc_check_igmp`).
fn records(
    message: &[u8],
    address_len: usize,
    address: &impl Fn(usize) -> Option<IpAddr>,
    tell: &mut impl FnMut(Said),
) -> Result<Class, Malformed> {
    let count = be16(message, 6).ok_or(Malformed)?;
    let record = |at: usize| {
        let (kind, aux) = (*message.get(at)?, usize::from(*message.get(at + 1)?) * 4);
        let sources = usize::from(be16(message, at + 2)?);
        let group = address(at + 4).filter(IpAddr::is_multicast)?;
        let end = at + 4 + address_len * (1 + sources) + aux;
        (end <= message.len()).then_some((kind, sources, group, end))
    };
    for told in [false, true] {
        let mut at = 8;
        for _ in 0..count {
            let (kind, sources, group, end) = record(at).ok_or(Malformed)?;
            if let Some(said) = change(kind, sources, group).filter(|_| told) {
                tell(said);
            }
            at = end;
        }
    }
    Ok(Class::Control)
}

/// What a group record comes to for a switch that knows no sources (RFC 3376 §4.2.12).
fn change(kind: u8, sources: usize, group: IpAddr) -> Option<Said> {
    match (kind, sources) {
        // IS_IN {}, TO_IN {}: nothing is wanted any more
        (1 | 3, 0) => Some(Said::Leave(group)),
        // IS_IN, IS_EX, TO_IN, TO_EX, ALLOW
        (1..=5, _) if kind != 5 || sources > 0 => Some(Said::Join(group)),
        // BLOCK takes some sources off; the rest is still wanted
        _ => None,
    }
}

/// A response code: itself, or in the newer versions a floating-point number with a mantissa of `bits` (RFC 3376
/// §4.1.1, RFC 3810 §5.1.3).
fn float(code: u32, bits: u32, newer: bool) -> u32 {
    if !newer || code >> (bits + 3) == 0 {
        return code;
    }
    let (exponent, mantissa) = (code >> bits & 7, code & ((1 << bits) - 1));
    (mantissa | 1 << bits) << (exponent + 3)
}

/// The sum of an ICMPv6 message and its pseudo-header (RFC 8200 §8.1).
fn icmpv6_sum(message: &[u8], source: Ipv6Addr, to: Ipv6Addr) -> u16 {
    let mut sum = Sum::default();
    sum.add_u16(u16::try_from(message.len()).unwrap_or(0));
    sum.add_u16(ICMPV6.into());
    for piece in [&source.octets()[..], &to.octets()[..], message] {
        sum.add(piece);
    }
    sum.fold()
}

fn v4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes.get(at..)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

fn v6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    bytes.get(at..)?.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets))
}

#[cfg(test)]
mod tests;
