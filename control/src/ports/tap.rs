//! The `tap` kind: an interface whose frames we read and write; it is gone when its last queue is closed.

use super::{Open, PortError, Workshop, bring_up, must_be_free};
use crate::netns;
use crate::plan::{Netdev, PortPlan};
use crate::state::Thing;
use dataplane::pmd::Pmd;
use dataplane::pmd::tap::{self, IdleLook, TapConfig};
use dataplane::port::DomainId;

pub(super) fn open(
    shop: &mut Workshop<'_>,
    plan: &PortPlan,
    netdev: &Netdev,
    (domain, open): (DomainId, &mut Open),
) -> Result<(), PortError> {
    must_be_free(netdev)?;
    shop.intend(Thing::Tap { place: netdev.place.clone(), name: netdev.ifname.clone() }, open)?;
    let config = TapConfig { ifname: netdev.ifname.clone(), queues: netdev.queues, idle: IdleLook::Auto };
    let port = netns::inside(&netdev.place, || tap::open(&config))??;
    open.mode = format!("offloads {}; idle by {}", port.offloads, port.idle);
    open.carrier = Some(port.carrier);
    shop.connect(plan, domain, port.queues.into_iter().map(Pmd::from).collect(), open)?;
    let index = bring_up(netdev)?;
    open.link = Some((netdev.place.clone(), netdev.ifname.clone(), index));
    Ok(())
}
