//! The `tap` kind: an interface whose frames we read and write; it is gone when its last queue is closed.

use super::{OpenPort, PortBuilder, PortError, bring_up, must_be_free};
use crate::kernel::netns;
use crate::live::journal::Resource;
use crate::plan::{Netdev, PortPlan};
use dataplane::pmd::Pmd;
use dataplane::pmd::tap::{self, IdleLook, TapConfig};
use dataplane::port::DomainId;

pub(super) fn open(
    builder: &mut PortBuilder<'_>,
    plan: &PortPlan,
    netdev: &Netdev,
    (domain, open): (DomainId, &mut OpenPort),
) -> Result<(), PortError> {
    must_be_free(netdev)?;
    builder.record(Resource::Tap { place: netdev.place.clone(), name: netdev.ifname.clone() }, open)?;
    let config = TapConfig { ifname: netdev.ifname.clone(), queues: netdev.queues, idle: IdleLook::Auto };
    let port = netns::inside(&netdev.place, || tap::open(&config))??;
    open.mode = format!("offloads {}; idle by {}", port.offloads, port.idle);
    open.carrier = Some(port.carrier);
    builder.connect(plan, domain, port.queues.into_iter().map(Pmd::from).collect(), open)?;
    let index = bring_up(netdev)?;
    open.link = Some((netdev.place.clone(), index));
    open.interface.clone_from(&open.link);
    open.outside.interface.clone_from(&open.link);
    Ok(())
}
