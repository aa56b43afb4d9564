//! What becomes of a port when its interface changes under it.

use super::{PortState, Switch};
use crate::kernel::monitor::{LinkNews, LinkState};
use crate::kernel::netlink::Netlink;
use crate::kernel::netns;
use crate::net::Netns;

impl Switch {
    /// The kernel said something of an interface.
    pub fn link_news(&mut self, news: &LinkNews) {
        let is_it = |link: &(Netns, String, u32)| link.0 == news.place && link.2 == news.index;
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
        let Self { ports, engine, plan, .. } = self;
        let port = &mut ports[at];
        let PortState::Open(open) = &mut port.state else { return };
        let Some(id) = open.id else { return };
        let name = &port.plan.name;
        if open.down == up {
            open.down = !up;
            tracing::info!(port = name, "link {}", if up { "up" } else { "down" });
            if let Err(error) = engine.set_link(id, up) {
                tracing::error!(port = name, %error, "the workers were not told of the link");
            }
        }
        if open.mtu.replace(mtu) != Some(mtu) {
            engine.set_mtu(id, mtu);
            if let Some(domain) = plan.domain(&port.plan.domain).filter(|domain| mtu < domain.mtu) {
                let needed = domain.mtu;
                tracing::warn!(
                    port = name,
                    mtu,
                    needed,
                    "MTU below the domain's: longer frames are dropped as oversize"
                );
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
