//! Against the kernel, in namespaces of our own.

use super::*;
use crate::kernel::netns::{self, NetnsError};
use crate::kernel::privileged;
use crate::net::Netns;

struct Scratch(&'static str, u64);

impl Scratch {
    fn new(name: &'static str) -> Self {
        let mut number = 0;
        let made = netns::create::<NetnsError>(
            name,
            |n| {
                number = n;
                Ok(())
            },
            || Ok(()),
        );
        made.unwrap();
        Self(name, number)
    }

    fn place(&self) -> Netns {
        Netns::Named(self.0.to_owned())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        netns::delete(self.0, self.1);
    }
}

#[test]
fn a_veth_pair_comes_up_in_its_places_with_everything_set() {
    if !privileged::allowed("a_veth_pair_comes_up_in_its_places_with_everything_set") {
        return;
    }
    let (here, there) = (Scratch::new("plxt-nl1"), Scratch::new("plxt-nl2"));
    let far = netns::open(&there.place()).unwrap();
    let (our_mac, their_mac) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    let index = netns::inside(&here.place(), || {
        let netlink = Netlink::open().unwrap();
        assert_eq!(netlink.link("ours").unwrap(), None);
        netlink
            .add_veth(&VethPair {
                ours: "ours",
                our_mac,
                theirs: "eth0",
                their_mac: Some(their_mac),
                mtu: 1400,
                queues: 2,
                far: &far,
            })
            .unwrap();
        ipv6_setting("ours", "disable_ipv6", "1").unwrap();
        let ours = netlink.link("ours").unwrap().unwrap();
        assert_eq!(
            (ours.mtu, ours.kind.as_str(), ours.rx_queues, ours.tx_queues, ours.state()),
            (1400, "veth", 2, 2, "down")
        );
        netlink.set(ours.index, &Change { up: Some(true), promiscuous: Some(true), ..Change::default() }).unwrap();
        assert_eq!(netlink.link("ours").unwrap().unwrap().state(), "no-carrier");
        ours.index
    })
    .unwrap();
    netns::inside(&there.place(), || {
        let netlink = Netlink::open().unwrap();
        let theirs = netlink.link("eth0").unwrap().unwrap();
        assert_eq!((theirs.mac, theirs.mtu), (Some(their_mac), 1400));
        netlink.set(theirs.index, &Change { up: Some(true), ..Change::default() }).unwrap();
        for text in ["10.0.0.1/24", "fd00::1/64"] {
            let (addr, prefix) = text.split_once('/').unwrap();
            netlink
                .add_address(theirs.index, IpNet { addr: addr.parse().unwrap(), prefix: prefix.parse().unwrap() })
                .unwrap();
        }
        let twice = IpNet { addr: "10.0.0.1".parse().unwrap(), prefix: 24 };
        assert!(netlink.add_address(theirs.index, twice).unwrap_err().to_string().contains("10.0.0.1/24"));
        assert!(fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap().contains("fd00"));
    })
    .unwrap();
    netns::inside(&here.place(), || {
        let netlink = Netlink::open().unwrap();
        let ours = netlink.link("ours").unwrap().unwrap();
        assert_eq!((ours.state(), ours.promiscuous), ("up", true));
        netlink.delete(index).unwrap();
        assert_eq!(netlink.links().unwrap().len(), 1);
    })
    .unwrap();
}
