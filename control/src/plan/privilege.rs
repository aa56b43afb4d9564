//! What the plan needs to be allowed, asked before anything is made.

use crate::kernel::caps::held;
use crate::net::Netns;
use crate::plan::{Driver, Plan};

/// Capabilities by number (`linux/capability.h`).
const NET_ADMIN: (u32, &str) = (12, "CAP_NET_ADMIN");
const NET_RAW: (u32, &str) = (13, "CAP_NET_RAW");
const SYS_ADMIN: (u32, &str) = (21, "CAP_SYS_ADMIN");
const BPF: (u32, &str) = (39, "CAP_BPF");

/// What is missing for `plan`, as a sentence.
#[must_use]
pub fn missing(plan: &Plan) -> Option<String> {
    // CAP_SYS_ADMIN includes CAP_BPF
    let has = |(bit, _): (u32, &str)| held(bit) || (bit == BPF.0 && held(SYS_ADMIN.0));
    let lacking: Vec<_> =
        needed(plan).into_iter().filter(|capability| !has(*capability)).map(|(_, name)| name).collect();
    (!lacking.is_empty()).then(|| format!("{} needed but not held; run as root (`sudo pollux …`)", lacking.join(", ")))
}

fn needed(plan: &Plan) -> Vec<(u32, &'static str)> {
    let xdp = plan.ports.iter().any(|port| matches!(port.shape, Driver::AfXdp(_) | Driver::Veth(_)));
    let netdevs = plan.ports.iter().any(|port| port.interface().is_some());
    let elsewhere = |place: &Netns| *place != Netns::Host;
    let namespaces = !plan.nodes.is_empty()
        || plan.ports.iter().filter_map(|port| port.interface()).any(|(place, _)| elsewhere(place));
    [(netdevs, NET_ADMIN), (xdp, NET_RAW), (xdp, BPF), (namespaces, SYS_ADMIN)]
        .into_iter()
        .filter_map(|(yes, capability)| yes.then_some(capability))
        .collect()
}
