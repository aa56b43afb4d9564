//! Random lives of a switch: domains and ports come and go, frames of all kinds pass, time goes by.

use crate::reference::{DomainSetup, Mac};
use proptest::prelude::*;

/// Stations there are; few, so that they meet.
pub const STATIONS: u8 = 8;

/// One thing that happens. A `usize` picks one of what exists at that moment.
#[derive(Debug, Clone)]
pub enum Op {
    AddDomain(DomainSetup),
    RemoveDomain(usize),
    AddPort { domain: usize, fdb_limit: u32 },
    RemovePort(usize),
    AddStatic { port: usize, station: u8 },
    Forget { domain: usize, station: u8 },
    Frames { port: usize, frames: Vec<FrameKind> },
    Tick(u32),
}

/// One frame.
#[derive(Debug, Clone, Copy)]
pub struct FrameKind {
    pub dst: Address,
    pub src: Address,
    pub len: Length,
}

#[derive(Debug, Clone, Copy)]
pub enum Address {
    Station(u8),
    Broadcast,
    Multicast(u8),
    /// 802.3 PAUSE.
    Pause,
    /// The nearest bridge, to whom LLDP speaks.
    Lldp,
    Zero,
}

impl Address {
    pub fn mac(self) -> Mac {
        match self {
            Self::Station(n) => [0x02, 0, 0, 0, 0, n],
            Self::Broadcast => [0xff; 6],
            Self::Multicast(n) => [0x33, 0x33, 0, 0, 0, n],
            Self::Pause => [0x01, 0x80, 0xc2, 0, 0, 1],
            Self::Lldp => [0x01, 0x80, 0xc2, 0, 0, 0xe],
            Self::Zero => [0; 6],
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Length {
    /// This many bytes.
    Bytes(usize),
    /// As long as the ingress port's domain takes, and this many bytes more or less.
    Limit(i8),
}

impl Length {
    pub fn bytes(self, limit: usize) -> usize {
        match self {
            Self::Bytes(n) => n,
            Self::Limit(more) => limit.saturating_add_signed(more.into()),
        }
    }
}

fn domain() -> impl Strategy<Value = DomainSetup> {
    let ageing = prop_oneof![3 => (1u32..6).prop_map(Some), 1 => Just(None)];
    let limit = prop_oneof![3 => Just(u32::MAX), 1 => 0u32..6];
    (ageing, prop_oneof![Just(1500u32), Just(9000)], limit).prop_map(|(ageing, mtu, fdb_limit)| DomainSetup {
        ageing,
        mtu,
        fdb_limit,
    })
}

fn source() -> impl Strategy<Value = Address> {
    prop_oneof![
        20 => (0..STATIONS).prop_map(Address::Station),
        1 => Just(Address::Zero),
        1 => Just(Address::Broadcast),
        1 => (0..4u8).prop_map(Address::Multicast),
    ]
}

fn destination() -> impl Strategy<Value = Address> {
    prop_oneof![
        12 => (0..STATIONS + 2).prop_map(Address::Station),
        2 => Just(Address::Broadcast),
        1 => (0..4u8).prop_map(Address::Multicast),
        1 => Just(Address::Pause),
        1 => Just(Address::Zero),
    ]
}

fn length() -> impl Strategy<Value = Length> {
    prop_oneof![
        2 => (0usize..14).prop_map(Length::Bytes),
        2 => Just(Length::Bytes(14)),
        8 => (15usize..128).prop_map(Length::Bytes),
        2 => (1780usize..1800).prop_map(Length::Bytes),
        3 => (-1i8..=1).prop_map(Length::Limit),
    ]
}

fn frames() -> impl Strategy<Value = Vec<FrameKind>> {
    let frame = (destination(), source(), length()).prop_map(|(dst, src, len)| FrameKind { dst, src, len });
    proptest::collection::vec(frame, 1..80)
}

fn op() -> impl Strategy<Value = Op> {
    let limit = prop_oneof![4 => Just(u32::MAX), 1 => 0u32..4];
    let pick = 0usize..64;
    prop_oneof![
        1 => domain().prop_map(Op::AddDomain),
        1 => pick.clone().prop_map(Op::RemoveDomain),
        4 => (pick.clone(), limit).prop_map(|(domain, fdb_limit)| Op::AddPort { domain, fdb_limit }),
        2 => pick.clone().prop_map(Op::RemovePort),
        1 => (pick.clone(), 0..STATIONS).prop_map(|(port, station)| Op::AddStatic { port, station }),
        1 => (pick.clone(), 0..STATIONS).prop_map(|(domain, station)| Op::Forget { domain, station }),
        10 => (pick, frames()).prop_map(|(port, frames)| Op::Frames { port, frames }),
        2 => (1u32..4).prop_map(Op::Tick),
    ]
}

/// A life: it begins with two domains and four ports, so that something happens.
pub fn life(length: usize) -> impl Strategy<Value = Vec<Op>> {
    let start = (domain(), domain()).prop_map(|(a, b)| {
        let ports = [0, 0, 1, 0].map(|domain| Op::AddPort { domain, fdb_limit: u32::MAX });
        [Op::AddDomain(a), Op::AddDomain(b)].into_iter().chain(ports).collect::<Vec<_>>()
    });
    (start, proptest::collection::vec(op(), 1..length)).prop_map(|(mut ops, more)| {
        ops.extend(more);
        ops
    })
}
