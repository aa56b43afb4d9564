//! The `vhost-user` kind: queue pairs that wait for a guest, and the thread that speaks with its front end.

use super::{OpenPort, PortBuilder, PortError};
use crate::config::Role;
use crate::live::journal::Resource;
use crate::live::vhost::Guest;
use crate::plan::{Offer, PortPlan};
use crate::socket::missing_directories;
use dataplane::pmd::vhost::{RingFaultEvents, Vhost};
use dataplane::port::DomainId;
use std::sync::Arc;

pub(super) fn open(
    builder: &mut PortBuilder<'_>,
    plan: &PortPlan,
    offer: &Offer,
    (domain, open): (DomainId, &mut OpenPort),
) -> Result<(), PortError> {
    let path = offer.socket.display();
    let fault = |error| PortError::Io { what: format!("socket {path}"), error };
    let fault_events = Arc::new(RingFaultEvents::new().map_err(fault)?);
    open.mode = match offer.role {
        Role::Server => format!("server at {path}"),
        Role::Client => format!("client of {path}"),
    };
    let pairs = (0..offer.pairs).map(|pair| Vhost::new(pair, offer.pairs, &fault_events).into()).collect();
    builder.connect(plan, domain, pairs, open)?;
    let Some(id) = open.id else { return Ok(()) };
    if offer.role == Role::Server {
        for path in missing_directories(&offer.socket) {
            builder.record(Resource::Directory { path }, open)?;
        }
    }
    let vrings = builder.engine.vring_handle(id, offer.pairs);
    let (guests, name) = (builder.guests.clone(), plan.name.clone());
    // the receiver lives as long as the supervisor, which closes us before
    let tell = move |news| drop(guests.send((name.clone(), news)));
    let guest = Guest::start(&plan.name, offer, (vrings, builder.engine.pool()), fault_events, tell).map_err(fault)?;
    open.guest = Some(guest);
    if offer.role == Role::Server {
        // written down once it is ours: until then it may be somebody else's
        builder.record(Resource::Socket { path: offer.socket.clone() }, open)?;
    }
    Ok(())
}
