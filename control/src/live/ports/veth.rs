//! The `veth` kind: a pair made for the port. Our end stays on the host and is driven by AF_XDP; the far end is the
//! interface the user asked for.

use super::{OpenPort, PortBuilder, PortError, bring_up, must_be_free};
use crate::kernel::netlink::{Change, Netlink, VethPair, ipv6_setting};
use crate::kernel::netns;
use crate::live::journal::{Resource, find_veth};
use crate::net::Netns;
use crate::plan::{Netdev, PortPlan};
use dataplane::eth::MacAddr;
use dataplane::pmd::af_xdp::{self, XdpConfig};
use dataplane::port::DomainId;

pub(super) fn open(
    builder: &mut PortBuilder<'_>,
    plan: &PortPlan,
    netdev: &Netdev,
    (domain, open): (DomainId, &mut OpenPort),
) -> Result<(), PortError> {
    must_be_free(netdev)?;
    let (name, mac) = our_end(builder.switch, &plan.name);
    builder.record(Resource::Veth { name: name.clone(), mac: mac.to_string() }, open)?;
    let index = make_pair(&name, mac, netdev)?;
    open.link = Some((Netns::Host, index));
    let (rx_queues, tx_queues) = (netdev.queues, netdev.queues);
    let config = XdpConfig {
        ifname: name,
        ifindex: index,
        rx_queues,
        tx_queues,
        driver: "veth".to_owned(),
        mtu: netdev.mtu,
        depth: builder.depth,
    };
    let port = af_xdp::open(&config, builder.engine.pool())?;
    builder.connect_xdp(plan, domain, port, open)?;
    let far = bring_up(netdev)?;
    open.interface = Some((netdev.place.clone(), far));
    open.outside.interface.clone_from(&open.interface);
    Ok(())
}

/// Makes the pair, each end where it belongs, ours up and silent: the host does not speak on it.
fn make_pair(name: &str, mac: MacAddr, netdev: &Netdev) -> Result<u32, PortError> {
    let far = netns::open(&netdev.place)?;
    let pair = VethPair {
        ours: name,
        our_mac: mac,
        theirs: &netdev.ifname,
        their_mac: Some(netdev.mac),
        mtu: netdev.mtu,
        queues: netdev.queues,
        far: &far,
    };
    netns::inside(&Netns::Host, || {
        let netlink = Netlink::open()?;
        netlink.add_veth(&pair)?;
        let missing = || PortError::NoDevice { dev: name.to_owned(), place: Netns::Host };
        let index = netlink.link(name)?.ok_or_else(missing)?.index;
        // where /proc/sys is read-only; it still counts the frames that come in
        if ipv6_setting(name, "disable_ipv6", "1").is_err() {
            netlink.without_ipv6_address(index)?;
        }
        netlink.set(index, &Change { up: Some(true), ..Change::default() })?;
        Ok(index)
    })?
}

/// Sets our end up or down; the far end's carrier follows it.
pub(super) fn set_up(index: u32, up: bool) -> Result<(), PortError> {
    let change = Change { up: Some(up), ..Change::default() };
    Ok(netns::inside(&Netns::Host, || Netlink::open()?.set(index, &change))??)
}

/// Removes our end, and with it the pair. It may be gone already.
pub(super) fn remove(name: &str, mac: &str) {
    let removed = netns::inside(&Netns::Host, || {
        let netlink = Netlink::open()?;
        find_veth(&netlink, name, mac)?.map_or(Ok(()), |link| netlink.delete(link.index))
    });
    match removed {
        Ok(Err(error)) => tracing::warn!(interface = name, %error, "not removed"),
        Err(error) => tracing::warn!(interface = name, %error, "not removed"),
        Ok(Ok(())) => {}
    }
}

/// Name and address of our end: the same for the same switch and port, different for all others.
fn our_end(switch: &str, port: &str) -> (String, MacAddr) {
    let hash = fnv1a(switch.bytes().chain([b'/']).chain(port.bytes()));
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijkmnpqrstuvwx";
    let digit = |i: u32| char::from(DIGITS[usize::from(hash.rotate_right(5 * i).to_le_bytes()[0] & 31)]);
    let name = "plx-".chars().chain((0..11).map(digit)).collect();
    let [_, _, _, tail @ ..] = hash.to_be_bytes();
    // 02: locally administered, so it is no vendor's
    let [a, b, c, d, e] = tail;
    (name, MacAddr([0x02, a, b, c, d, e]))
}

/// FNV-1a, 64 bits: short, and the same in every build (the journal of an older one must match).
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_end_has_a_name_that_fits_and_is_its_own() {
        let (name, mac) = our_end("demo", "h1");
        assert_eq!((name.len(), &name[..4]), (15, "plx-"));
        assert!(!mac.is_multicast());
        assert_eq!(our_end("demo", "h1"), (name.clone(), mac));
        for (switch, port) in [("demo", "h2"), ("demo2", "h1"), ("dem", "oh1"), ("demo/h", "1")] {
            assert_ne!(our_end(switch, port).0, name, "{switch} {port}");
        }
    }
}
