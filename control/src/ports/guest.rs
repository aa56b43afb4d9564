//! The `vhost-user` kind: queue pairs that wait for a guest, and the thread that speaks with its front end.

use super::{Open, PortError, Workshop};
use crate::plan::PortPlan;
use crate::state::Thing;
use crate::vhost::{Guest, Offer, Role};
use dataplane::pmd::vhost::{Complaints, Vhost};
use dataplane::port::DomainId;
use std::sync::Arc;

pub(super) fn open(
    shop: &mut Workshop<'_>,
    plan: &PortPlan,
    offer: &Offer,
    (domain, open): (DomainId, &mut Open),
) -> Result<(), PortError> {
    let path = offer.socket.display();
    let fault = |error| PortError::Io { what: format!("socket {path}"), error };
    let complaints = Arc::new(Complaints::new().map_err(fault)?);
    open.mode = match offer.role {
        Role::Server => format!("server at {path}"),
        Role::Client => format!("client of {path}"),
    };
    let pairs = (0..offer.pairs).map(|pair| Vhost::new(pair, &complaints).into()).collect();
    shop.connect(plan, domain, pairs, open)?;
    let Some(id) = open.id else { return Ok(()) };
    let line = shop.engine.vhost_line(id, offer.pairs);
    let (guests, name) = (shop.guests.clone(), plan.name.clone());
    // the receiver lives as long as the supervisor, which closes us before
    let tell = move |news| drop(guests.send((name.clone(), news)));
    let guest = Guest::start(&plan.name, offer, (line, shop.engine.pool()), complaints, tell).map_err(fault)?;
    open.guest = Some(guest);
    if offer.role == Role::Server {
        // written down once it is ours: until then it may be somebody else's
        shop.intend(Thing::Socket { path: offer.socket.clone() }, open)?;
    }
    Ok(())
}
