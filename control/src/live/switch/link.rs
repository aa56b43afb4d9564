//! What becomes of a port when its interface changes under it.

use super::{PortState, Switch};
use crate::kernel::monitor::{LinkNews, LinkState};
use crate::kernel::netlink::{Link, Netlink};
use crate::kernel::netns;
use crate::net::Netns;
use crate::plan::PortPlan;
use dataplane::eth::MacAddr;
use dataplane::port::PortId;
use dataplane::switch::policy::Role;

impl Switch {
    /// The kernel said something of an interface.
    pub fn link_news(&mut self, news: &LinkNews) {
        let is_it = |of: &Option<(Netns, u32)>| of.as_ref().is_some_and(|of| of.0 == news.place && of.1 == news.index);
        if news.link == LinkState::Gone {
            self.fail_where("its interface was deleted", |_, open| is_it(&open.link));
            return;
        }
        for at in 0..self.ports.len() {
            let PortState::Open(open) = &self.ports[at].state else { continue };
            let (its_link, its_interface) = (is_it(&open.link), is_it(&open.interface));
            if !its_link && !its_interface {
                continue;
            }
            // News may be old when they are read; what counts is how it is now.
            let Some(link) = now(&news.place, news.index) else { continue };
            if its_link {
                self.link_is(at, link.state() == "up", link.mtu);
            }
            if let Some(mac) = link.mac.filter(|_| its_interface) {
                self.address_is(at, mac, &link.name);
            }
        }
    }

    /// In a macvlan domain a port receives what is for the addresses it owns: its interface may have changed its own.
    fn address_is(&mut self, at: usize, mac: MacAddr, ifname: &str) {
        let port = &mut self.ports[at];
        let PortState::Open(open) = &mut port.state else { return };
        let changed = open.mac.replace(mac) != Some(mac);
        let owned = owned(&port.plan);
        let Some(first) = owned.first().filter(|_| changed && !owned.contains(&mac)) else { return };
        let (name, mut macs) = (port.plan.name.clone(), port.plan.written.macs.to_vec());
        macs.push(mac.to_string());
        let adds = format!("`pollux port set {name} 'macs={macs:?}'` adds it");
        let text = format!(
            "{ifname} of port {name} has the address {mac} instead of {first}, and receives nothing for it; {adds}"
        );
        self.note("address", &name, text);
    }

    fn link_is(&mut self, at: usize, up: bool, mtu: u32) {
        self.set_link(at, up);
        self.set_mtu(at, mtu);
    }

    /// The link of a port is up or down, as it was or not.
    fn set_link(&mut self, at: usize, up: bool) {
        let Some(id) = self.note_link(at, up) else { return };
        if let Err(error) = self.engine.set_link(id, up) {
            tracing::error!(port = self.ports[at].plan.name, %error, "the workers were not told of the link");
        }
    }

    /// Notes the link of a port; its id if that is a change.
    fn note_link(&mut self, at: usize, up: bool) -> Option<PortId> {
        let port = &mut self.ports[at];
        let PortState::Open(open) = &mut port.state else { return None };
        let id = open.id.filter(|_| open.down == up)?;
        open.down = !up;
        let name = port.plan.name.clone();
        let (kind, what) =
            if up { ("link_up", "is up") } else { ("link_down", "is down, its addresses are forgotten") };
        self.note(kind, &name, format!("the link of {name} {what}"));
        Some(id)
    }

    fn set_mtu(&mut self, at: usize, mtu: u32) {
        let Self { ports, engine, plan, .. } = self;
        let port = &mut ports[at];
        let PortState::Open(open) = &mut port.state else { return };
        let Some(id) = open.id.filter(|_| open.mtu != Some(mtu)) else { return };
        open.mtu = Some(mtu);
        engine.set_mtu(id, mtu);
        if let Some(domain) = plan.domain(&port.plan.domain).filter(|domain| mtu < domain.mtu) {
            let (name, needed) = (&port.plan.name, domain.mtu);
            tracing::warn!(port = name, mtu, needed, "MTU below the domain's: longer frames are dropped as oversize");
        }
    }

    /// Nothing tells of a TAP in a namespace that is not watched: it is looked at once a second. Its port stays open while
    /// it is down, so that the first frame after that passes, however late the look comes.
    pub(super) fn look_at_taps(&mut self) {
        for at in 0..self.ports.len() {
            let PortState::Open(open) = &self.ports[at].state else { continue };
            let is_watched = open.link.as_ref().is_none_or(|(place, ..)| *place == Netns::Host);
            let Some(up) = open.tap_is_up().filter(|_| !is_watched) else { continue };
            if let Some(id) = self.note_link(at, up).filter(|_| !up) {
                self.engine.forget_addresses(id);
            }
        }
    }
}

/// The addresses that a port of a macvlan domain owns.
fn owned(port: &PortPlan) -> &[MacAddr] {
    match &port.policy.role {
        Role::Macvlan(device) => &device.macs,
        Role::Host { macs } => macs,
        _ => &[],
    }
}

/// An interface as it is now.
fn now(place: &Netns, index: u32) -> Option<Link> {
    netns::inside(place, || Netlink::open().and_then(|netlink| netlink.link_at(index))).ok()?.ok()?
}
