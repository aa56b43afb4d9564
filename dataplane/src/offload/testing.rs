//! Frames for the tests of this module, built and judged by another implementation (etherparse).

use super::parse::find_l4;
use crate::mem::{Arena, ArenaConfig, Gso, Hugepages, Mbuf, Mempool, MempoolCache, Offload};
use etherparse::{
    IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, Ipv6RawExtHeader, LinkExtHeader,
    NetHeaders, PacketBuilder, PacketHeaders, TcpHeader, TransportHeader, UdpHeader, VlanId,
};
use proptest::prelude::*;
use std::sync::Arc;

pub(super) fn pool() -> Arc<Mempool> {
    Mempool::new(Arena::new(&ArenaConfig { frames: 1024, hugepages: Hugepages::Off }).unwrap())
}

/// The parts of a frame.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) v6: bool,
    pub(super) udp: bool,
    /// VLAN tags, up to 2.
    pub(super) tags: usize,
    /// IPv4 options or IPv6 extension headers.
    pub(super) ip_extras: bool,
    /// 32-bit words of TCP options, up to 10.
    pub(super) tcp_words: usize,
    pub(super) payload: usize,
    pub(super) gso_size: u16,
    pub(super) seq: u32,
    pub(super) fin: bool,
    pub(super) psh: bool,
    pub(super) cwr: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            v6: false,
            udp: false,
            tags: 0,
            ip_extras: false,
            tcp_words: 3,
            payload: 4000,
            gso_size: 1448,
            seq: 1,
            fin: true,
            psh: true,
            cwr: true,
        }
    }
}

/// All kinds of frames that need at most 256 segments.
pub(super) fn specs() -> impl Strategy<Value = Spec> {
    let kind = (any::<bool>(), any::<bool>(), 0..=2usize, any::<bool>(), 0..=10usize);
    let size = prop_oneof![1..3000usize, 3000..64_000usize]
        .prop_flat_map(|n| (Just(n), n.div_ceil(256).max(1)..=n.min(60_000)));
    (kind, size, any::<u32>(), any::<[bool; 3]>()).prop_map(|(kind, (payload, gso_size), seq, [fin, psh, cwr])| {
        let ((v6, udp, tags, ip_extras, tcp_words), gso_size) = (kind, u16::try_from(gso_size).unwrap());
        Spec { v6, udp, tags, ip_extras, tcp_words, payload, gso_size, seq, fin, psh, cwr }
    })
}

pub(super) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 16).to_le_bytes()[0]).collect()
}

/// The frame with its checksum complete, as etherparse writes it.
pub(super) fn complete_frame(spec: &Spec) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let id = |n: u16| VlanId::try_new(n).unwrap();
    let ip = ip_headers(spec);
    let builder = match spec.tags {
        0 => builder.ip(ip),
        1 => builder.single_vlan(id(5)).ip(ip),
        _ => builder.double_vlan(id(6), id(7)).ip(ip),
    };
    let (payload, mut frame) = (content(spec.payload), Vec::new());
    if spec.udp {
        builder.udp(4000, 4001).write(&mut frame, &payload).unwrap();
    } else {
        builder.tcp_header(tcp_header(spec)).write(&mut frame, &payload).unwrap();
    }
    frame
}

fn ip_headers(spec: &Spec) -> IpHeaders {
    if spec.v6 {
        let header = Ipv6Header { source: [0x20; 16], destination: [0x30; 16], hop_limit: 9, ..Ipv6Header::default() };
        let raw = |len| Some(Ipv6RawExtHeader::new_raw(IpNumber::TCP, &vec![1; len]).unwrap());
        let extras = Ipv6Extensions {
            hop_by_hop_options: raw(6).filter(|_| spec.ip_extras),
            destination_options: raw(22).filter(|_| spec.ip_extras),
            ..Ipv6Extensions::default()
        };
        return IpHeaders::Ipv6(header, extras);
    }
    let mut header = Ipv4Header::new(0, 64, IpNumber::TCP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
    header.identification = 0xfffe;
    if spec.ip_extras {
        header.options = [1; 12].into();
    }
    IpHeaders::Ipv4(header, Ipv4Extensions::default())
}

fn tcp_header(spec: &Spec) -> TcpHeader {
    let mut header = TcpHeader::new(4000, 4001, spec.seq, 1000);
    (header.fin, header.psh, header.cwr, header.ack) = (spec.fin, spec.psh, spec.cwr, true);
    header.acknowledgment_number = 77;
    header.set_options_raw(&vec![1; spec.tcp_words * 4]).unwrap();
    header
}

/// The frame as a kernel with offloads leaves it: pseudo-header sum instead of the checksum.
pub(super) fn partial_frame(spec: &Spec) -> (Vec<u8>, Offload) {
    let mut frame = complete_frame(spec);
    let l4 = find_l4(&frame).unwrap();
    let at = l4.l4 + l4.csum_offset().unwrap();
    let transport = frame.len() - l4.l4;
    let addresses = if spec.v6 { l4.l3 + 8..l4.l3 + 40 } else { l4.l3 + 12..l4.l3 + 20 };
    let words = frame[addresses].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let mut sum = words.sum::<u32>() + u32::from(l4.proto) + u32::try_from(transport).unwrap();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    frame[at..at + 2].copy_from_slice(&u16::try_from(sum).unwrap().to_be_bytes());
    let offload = Offload {
        csum_start: u16::try_from(l4.l4).unwrap(),
        csum_offset: u16::try_from(at - l4.l4).unwrap(),
        needs_csum: true,
        ..Offload::NONE
    };
    (frame, offload)
}

/// A super-frame with its GSO state.
pub(super) fn super_frame(spec: &Spec) -> (Vec<u8>, Offload) {
    let (frame, offload) = partial_frame(spec);
    let hdr_len = u16::try_from(frame.len() - spec.payload).unwrap();
    let gso = match (spec.udp, spec.v6) {
        (true, _) => Gso::Udp,
        (_, false) => Gso::Tcp4,
        (_, true) => Gso::Tcp6,
    };
    (frame, Offload { gso, gso_size: spec.gso_size, hdr_len, ..offload })
}

/// A frame in chunks cut at `cuts` (each at most a first chunk's room apart).
pub(super) fn chain(mem: &mut MempoolCache, frame: &[u8], cuts: &[usize]) -> Mbuf {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % frame.len().max(1)).filter(|cut| *cut > 0).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts.push(frame.len());
    let mut mbuf = mem.alloc_from(&frame[..cuts[0]]).unwrap();
    for pair in cuts.windows(2) {
        let tail = mem.alloc_from(&frame[pair[0]..pair[1]]).unwrap();
        mem.pool().append(&mut mbuf, tail).unwrap();
    }
    mbuf
}

pub(super) fn bytes(pool: &Mempool, mbuf: &Mbuf) -> Vec<u8> {
    pool.segments(mbuf).flatten().copied().collect()
}

/// A frame that another implementation has found correct.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) tags: Vec<u16>,
    pub(super) ip_id: Option<u16>,
    pub(super) tcp: Option<TcpHeader>,
    pub(super) udp: Option<UdpHeader>,
    pub(super) payload: Vec<u8>,
}

/// Checks all lengths and checksums.
pub(super) fn verify(frame: &[u8]) -> Verified {
    let packet = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let payload = packet.payload.slice();
    let tag = |ext: &LinkExtHeader| match ext {
        LinkExtHeader::Vlan(tag) => tag.vlan_id.value(),
        other => panic!("{other:?}"),
    };
    let net = packet.net.unwrap();
    let transport = packet.transport.unwrap();
    check_ip(&net, payload.len() + transport.header_len());
    let (tcp, udp) = match transport {
        TransportHeader::Tcp(tcp) => {
            let check = match &net {
                NetHeaders::Ipv4(ip, _) => tcp.calc_checksum_ipv4(ip, payload),
                NetHeaders::Ipv6(ip, _) => tcp.calc_checksum_ipv6(ip, payload),
                other @ NetHeaders::Arp(_) => panic!("{other:?}"),
            };
            assert!(tcp.checksum % 0xffff == check.unwrap() % 0xffff, "{:#x}", tcp.checksum);
            (Some(tcp), None)
        }
        TransportHeader::Udp(udp) => {
            let check = match &net {
                NetHeaders::Ipv4(ip, _) => udp.calc_checksum_ipv4(ip, payload),
                NetHeaders::Ipv6(ip, _) => udp.calc_checksum_ipv6(ip, payload),
                other @ NetHeaders::Arp(_) => panic!("{other:?}"),
            };
            assert_eq!((udp.checksum, usize::from(udp.length)), (check.unwrap(), 8 + payload.len()));
            assert_ne!(udp.checksum, 0);
            (None, Some(udp))
        }
        other => panic!("{other:?}"),
    };
    let ip_id = if let NetHeaders::Ipv4(ip, _) = &net { Some(ip.identification) } else { None };
    Verified { tags: packet.link_exts.iter().map(tag).collect(), ip_id, tcp, udp, payload: payload.to_vec() }
}

fn check_ip(net: &NetHeaders, transport: usize) {
    match net {
        NetHeaders::Ipv4(ip, _) => {
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            assert_eq!(usize::from(ip.total_len), ip.header_len() + transport);
        }
        NetHeaders::Ipv6(ip, extras) => assert_eq!(usize::from(ip.payload_length), extras.header_len() + transport),
        other @ NetHeaders::Arp(_) => panic!("{other:?}"),
    }
}
