//! What becomes of a port when its interface changes under it.

use super::{PortState, Switch};
use crate::kernel::monitor::{LinkNews, LinkState};
use crate::kernel::netlink::Netlink;
use crate::kernel::netns;
use crate::net::Netns;
use dataplane::port::PortId;

impl Switch {
    /// The kernel said something of an interface.
    pub fn link_news(&mut self, news: &LinkNews) {
        let is_it = |link: &(Netns, u32)| link.0 == news.place && link.1 == news.index;
        if news.link == LinkState::Gone {
            self.fail_where("its interface was deleted", |_, open| open.link.as_ref().is_some_and(is_it));
            return;
        }
        let ours = |state: &PortState| matches!(state, PortState::Open(open) if open.link.as_ref().is_some_and(is_it));
        let ports: Vec<usize> = (0..self.ports.len()).filter(|at| ours(&self.ports[*at].state)).collect();
        for at in ports {
            // News may be old when they are read; what counts is how it is now.
            if let Some((up, mtu)) = now(&news.place, news.index) {
                self.link_is(at, up, mtu);
            }
        }
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

/// Whether an interface is up with a carrier, and its MTU.
fn now(place: &Netns, index: u32) -> Option<(bool, u32)> {
    let links = netns::inside(place, || Netlink::open().and_then(|netlink| netlink.links())).ok()?.ok()?;
    let link = links.iter().find(|link| link.index == index)?;
    Some((link.state() == "up", link.mtu))
}
