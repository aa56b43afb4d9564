//! Messages as hosts and routers send them, and the same with something wrong.

use super::*;
use proptest::prelude::*;

/// The Internet checksum of a message, put into it at `at`.
fn checksummed(mut message: Vec<u8>, at: usize, before: u32) -> Vec<u8> {
    let words = message.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = before + words.sum::<u32>();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[at..at + 2].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    message
}

fn ipv4_frame(source: [u8; 4], to: [u8; 4], proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x46, 0]);
    frame.extend(u16::try_from(24 + payload.len()).unwrap().to_be_bytes());
    frame.extend([0, 0, 0, 0, 1, proto, 0, 0]);
    frame.extend(source.into_iter().chain(to).chain([0x94, 4, 0, 0]));
    frame.extend(payload);
    frame
}

fn igmp_frame(to: [u8; 4], message: &[u8]) -> Vec<u8> {
    ipv4_frame([10, 0, 0, 1], to, IGMP, &checksummed(message.to_vec(), 2, 0))
}

fn mld_frame(source: &str, to: &str, message: &[u8]) -> Vec<u8> {
    let (source, to): (Ipv6Addr, Ipv6Addr) = (source.parse().unwrap(), to.parse().unwrap());
    let pseudo: u32 = source.segments().into_iter().chain(to.segments()).map(u32::from).sum();
    let message = checksummed(message.to_vec(), 2, pseudo + u32::try_from(message.len()).unwrap() + 58);
    let mut frame = vec![0; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(u16::try_from(8 + message.len()).unwrap().to_be_bytes());
    frame.extend([HOP_BY_HOP, 1]);
    frame.extend(source.octets().into_iter().chain(to.octets()));
    frame.extend([ICMPV6, 0, 5, 2, 0, 0, 1, 0]);
    frame.extend(message);
    frame
}

fn read(frame: &[u8]) -> Result<(Class, Vec<Said>), Malformed> {
    let mut said = Vec::new();
    look(frame, 12, &mut |s| said.push(s)).map(|class| (class, said))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const G: [u8; 4] = [239, 1, 2, 3];

#[test]
fn igmp_of_versions_1_and_2() {
    let group = ip("239.1.2.3");
    let with = |kind: u8, code: u8, to, group: [u8; 4]| read(&igmp_frame(to, &[[kind, code, 0, 0], group].concat()));
    for kind in [0x12, 0x16] {
        assert_eq!(with(kind, 0, G, G), Ok((Class::Report(group), vec![Said::Join(group)])));
        assert_eq!(with(kind, 0, G, [10, 0, 0, 1]), Err(Malformed), "a group of one");
    }
    assert_eq!(with(0x17, 0, [224, 0, 0, 2], G), Ok((Class::Control, vec![Said::Leave(group)])));
    let query = |group, response_ds| Said::Query { group, v6: false, response_ds, router: true };
    assert_eq!(with(0x11, 100, [224, 0, 0, 1], [0; 4]), Ok((Class::Control, vec![query(None, 100)])));
    assert_eq!(with(0x11, 0, [224, 0, 0, 1], [0; 4]), Ok((Class::Control, vec![query(None, 100)])), "version 1");
    assert_eq!(with(0x11, 10, G, G), Ok((Class::Control, vec![query(Some(group), 10)])));
    assert_eq!(with(0x11, 10, G, [0; 4]), Err(Malformed), "a general query, but not to all hosts");
    assert_eq!(with(0x99, 0, G, G), Ok((Class::Data(group), vec![])), "unknown: data");
}

#[test]
fn a_query_without_a_source_is_no_router_s() {
    let message = checksummed(vec![0x11, 100, 0, 0, 0, 0, 0, 0], 2, 0);
    let (_, said) = read(&ipv4_frame([0; 4], [224, 0, 0, 1], IGMP, &message)).unwrap();
    assert!(matches!(said[..], [Said::Query { router: false, .. }]));
}

/// IGMPv3 reports: `(record type, sources)` and what each comes to.
#[test]
fn igmp_version_3() {
    let report = |records: &[(u8, u8)]| {
        let mut message = vec![0x22, 0, 0, 0, 0, 0, 0, u8::try_from(records.len()).unwrap()];
        for (kind, sources) in records {
            message.extend([*kind, 0, 0, *sources].into_iter().chain(G));
            message.extend(vec![9; 4 * usize::from(*sources)]);
        }
        message
    };
    let group = ip("239.1.2.3");
    for (kind, sources, said) in [
        (1, 0, Some(Said::Leave(group))),
        (1, 1, Some(Said::Join(group))),
        (2, 0, Some(Said::Join(group))),
        (2, 2, Some(Said::Join(group))),
        (3, 0, Some(Said::Leave(group))),
        (3, 1, Some(Said::Join(group))),
        (4, 0, Some(Said::Join(group))),
        (5, 0, None),
        (5, 1, Some(Said::Join(group))),
        (6, 1, None),
        (7, 0, None),
    ] {
        let read = read(&igmp_frame([224, 0, 0, 22], &report(&[(kind, sources)])));
        assert_eq!(read, Ok((Class::Control, said.into_iter().collect())), "type {kind}, {sources} sources");
    }
    let two = report(&[(4, 0), (3, 0)]);
    let said = vec![Said::Join(group), Said::Leave(group)];
    assert_eq!(read(&igmp_frame([224, 0, 0, 22], &two)), Ok((Class::Control, said)));
    for cut in 9..two.len() {
        assert_eq!(read(&igmp_frame([224, 0, 0, 22], &two[..cut])), Err(Malformed), "cut to {cut}: nothing is told");
    }
    let query = [[0x11, 0x8f, 0, 0], [0; 4], [2, 125, 0, 0]].concat();
    let (_, said) = read(&igmp_frame([224, 0, 0, 1], &query)).unwrap();
    assert!(matches!(said[..], [Said::Query { response_ds, .. }] if response_ds == 0x1f << 3), "{said:?}");
}

#[test]
fn mld_of_both_versions() {
    let group = ip("ff05::7");
    let octets = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let with = |kind: u8, source, to, group| {
        let message = [&[kind, 0, 0, 0, 0x27, 0x10, 0, 0][..], &octets(group)].concat();
        read(&mld_frame(source, to, &message))
    };
    let query = |group| Said::Query { group, v6: true, response_ds: 100, router: true };
    assert_eq!(with(130, "fe80::1", "ff02::1", "::"), Ok((Class::Control, vec![query(None)])));
    assert_eq!(with(130, "fe80::1", "ff05::7", "ff05::7"), Ok((Class::Control, vec![query(Some(group))])));
    assert_eq!(with(130, "2001:db8::1", "ff02::1", "::"), Err(Malformed), "queries are link-local");
    assert_eq!(with(131, "::", "ff05::7", "ff05::7"), Ok((Class::Report(group), vec![Said::Join(group)])));
    assert_eq!(with(131, "fe80::1", "ff05::7", "fe80::7"), Err(Malformed));
    assert_eq!(with(132, "fe80::1", "ff02::2", "ff05::7"), Ok((Class::Control, vec![Said::Leave(group)])));
    assert_eq!(with(135, "fe80::1", "ff02::1", "::"), Ok((Class::Data(ip("ff02::1")), vec![])), "neighbour discovery");
    let mut report = vec![143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0];
    report.extend(octets("ff05::7"));
    assert_eq!(read(&mld_frame("fe80::1", "ff02::16", &report)), Ok((Class::Control, vec![Said::Join(group)])));
    report[7] = 2;
    assert_eq!(read(&mld_frame("fe80::1", "ff02::16", &report)), Err(Malformed), "one record of two");
}

#[test]
fn pim_hellos_and_data() {
    let hello = |to| read(&ipv4_frame([10, 0, 0, 1], to, PIM, &[PIM_HELLO, 0, 0, 0]));
    let data = |to: [u8; 4]| Class::Data(to.into());
    assert_eq!(hello([224, 0, 0, 13]), Ok((data([224, 0, 0, 13]), vec![Said::Router { v6: false }])));
    assert_eq!(hello(G), Ok((data(G), vec![])));
    assert_eq!(read(&ipv4_frame([10, 0, 0, 1], G, 17, &[1; 8])), Ok((data(G), vec![])));
    assert_eq!(read(&ipv4_frame([10, 0, 0, 1], [10, 0, 0, 2], 17, &[1; 8])), Ok((Class::Other, vec![])));
    assert_eq!(read(&[0xff; 60]), Ok((Class::Other, vec![])));
    assert_eq!(read(&[]), Ok((Class::Other, vec![])));
}

#[test]
fn what_is_damaged_or_in_pieces_says_nothing() {
    let good = igmp_frame(G, &[[0x16, 0, 0, 0], G].concat());
    assert!(read(&good).is_ok());
    for at in [14, 16, 17, 20, 38, 40, 45] {
        let mut bad = good.clone();
        bad[at] ^= 0x1f;
        assert_eq!(read(&bad), Err(Malformed), "byte {at}");
    }
    for len in 14..good.len() {
        assert_eq!(read(&good[..len]), Err(Malformed), "{len} bytes");
    }
    let mut tagged = good;
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    assert_eq!(read(&tagged), Ok((Class::Other, vec![])), "behind a tag that does not count");
    assert!(matches!(look(&tagged, 16, &mut |_| {}), Ok(Class::Report(_))), "behind one that does");
}

proptest! {
    #[test]
    fn any_bytes_will_do(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        v6: bool,
        proto in prop_oneof![Just(IGMP), Just(PIM), any::<u8>()],
    ) {
        let mut frame = vec![0; 12];
        frame.extend(if v6 { [0x86, 0xdd, 0x60] } else { [8, 0, 0x45] });
        frame.extend(bytes);
        if let Some(at) = frame.get_mut(if v6 { 20 } else { 23 }) {
            *at = proto;
        }
        let _ = read(&frame);
    }
}
