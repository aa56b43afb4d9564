//! What `GET /v1/ports` says of a guest.

use super::{Guest, features};
use crate::plan::Offer;
use crate::view::{GuestView, PairView, SocketRights};
use dataplane::pmd::vhost::Reply;

/// Before there is a guest.
#[must_use]
pub fn offered(offer: &Offer) -> GuestView {
    GuestView {
        socket: offer.socket.display().to_string(),
        role: offer.role,
        rights: SocketRights {
            mode: format!("{:04o}", offer.rights.mode),
            owner: offer.rights.owner,
            group: offer.rights.group,
        },
        queues: offer.pairs,
        mtu: offer.mtu,
        mac: offer.nic.as_ref().and_then(|nic| nic.mac).map(|mac| mac.to_string()),
        ..GuestView::default()
    }
}

/// As things are now.
#[must_use]
pub fn guest(offer: &Offer, guest: &Guest) -> GuestView {
    let status = guest.status();
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let size = |i: usize| status.rings.get(i).copied().flatten();
    let pair = |(i, reply): (usize, Reply)| PairView {
        active: status.active.get(i).copied().unwrap_or(false),
        size: [size(2 * i), size(2 * i + 1)],
        waiting: reply.waiting,
        calls: reply.calls,
        kicks: reply.kicks,
    };
    GuestView {
        connected: status.connected,
        sessions: status.sessions,
        last: status.last,
        offered: owned(features::names(features::offered())),
        features: owned(features::names(status.acked)),
        protocol: owned(features::protocol_names(status.protocol)),
        memory: status.memory,
        pairs: guest.report().into_iter().enumerate().map(pair).collect(),
        ..offered(offer)
    }
}
