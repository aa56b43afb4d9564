//! VLANs of a port: one way to say it, numbers that exist, a native VLAN among those of the trunk.

use super::{Check, Plan, PortPlan};
use crate::config::{Protocol, VidRange, Vlan};
use dataplane::switch::policy::{TagProtocol, VidSet, VlanPolicy};

/// 802.1Q Table 9-2: 0 means "no VLAN", 4095 is reserved.
const REMEDY: &str = "use 1 to 4094";

/// Checks `vlan:`; `None` only if no VLANs can be made of it.
pub(super) fn vlan(written: &Vlan, path: &str, check: &mut Check<'_>) -> Option<VlanPolicy> {
    one_way(written, path, check)?;
    let made = if let Some(vid) = written.access {
        id(vid, &format!("{path}.access"), check).then(|| VlanPolicy::access(vid))
    } else if let Some(vid) = written.tunnel {
        id(vid, &format!("{path}.tunnel"), check).then(|| VlanPolicy::tunnel(vid))
    } else if let Some(list) = &written.trunk {
        trunk(list, written.native, path, check)
    } else {
        map(written, path, check)
    };
    let protocol = match written.protocol {
        Some(Protocol::Dot1q) => Some(TagProtocol::Dot1q),
        Some(Protocol::Dot1ad) => Some(TagProtocol::Dot1ad),
        None => None,
    };
    let pcp = written.pcp;
    if let Some(pcp) = pcp.filter(|pcp| *pcp > 7) {
        check.bad(&format!("{path}.pcp"), format!("there is no priority {pcp}"), "use 0 to 7");
    }
    made.map(|made| VlanPolicy { pcp, protocol: protocol.unwrap_or(made.protocol), ..made })
}

/// Exactly one of the four ways, and `native` with a trunk only.
fn one_way(written: &Vlan, path: &str, check: &mut Check<'_>) -> Option<()> {
    let ways = [
        ("access", written.access.is_some()),
        ("trunk", written.trunk.is_some()),
        ("tunnel", written.tunnel.is_some()),
        ("map", written.map.is_some()),
    ];
    let said: Vec<_> = ways.iter().filter(|(_, said)| *said).map(|(way, _)| *way).collect();
    match said.as_slice() {
        [_] => {}
        [] => {
            check.bad(
                path,
                "this says no VLAN",
                "write `{ access: 10 }`, `{ trunk: [10, 20-29] }`, `{ tunnel: 100 }` or `{ map: { 10: 110 } }`",
            );
            return None;
        }
        [first, second, ..] => {
            let what = format!("`{first}` and `{second}` contradict each other");
            check.bad(&format!("{path}.{second}"), what, "keep one of them");
            return None;
        }
    }
    if let Some(native) = written.native.filter(|_| written.trunk.is_none() && written.map.is_none()) {
        let remedy = format!("write `{{ trunk: [{native}, …], native: {native} }}`, or remove it");
        check.bad(&format!("{path}.native"), format!("`{}` has no native VLAN", said[0]), remedy);
    }
    Some(())
}

fn trunk(list: &[VidRange], native: Option<u16>, path: &str, check: &mut Check<'_>) -> Option<VlanPolicy> {
    let mut members = VidSet::EMPTY;
    let mut good = true;
    for (i, range) in list.iter().enumerate() {
        good &= add(*range, &format!("{path}.trunk.{i}"), &mut members, check);
    }
    if list.is_empty() {
        check.bad(&format!("{path}.trunk"), "a trunk without VLANs carries nothing", "list them, such as [10, 20-29]");
        return None;
    }
    if let Some(native) = native.filter(|native| good && !members.contains(*native)) {
        let path = format!("{path}.native");
        check.bad(
            &path,
            format!("the native VLAN {native} is not one of the trunk's"),
            format!("add {native} to `trunk`"),
        );
        return None;
    }
    good.then(|| VlanPolicy::trunk(members, native))
}

fn map(written: &Vlan, path: &str, check: &mut Check<'_>) -> Option<VlanPolicy> {
    let pairs = written.map.as_ref()?;
    let mut seen = VidSet::EMPTY;
    let mut good = !pairs.is_empty();
    if !good {
        check.bad(&format!("{path}.map"), "a map without VLANs carries nothing", "write `{ 10: 110 }`");
    }
    for (outside, inside) in pairs {
        let path = format!("{path}.map.{outside}");
        good &= id(*outside, &path, check) && id(*inside, &path, check);
        if seen.contains(*inside) {
            check.bad(&path, format!("two VLANs become {inside}"), "give each its own");
            good = false;
        }
        seen.insert(*inside);
    }
    let made = VlanPolicy::translated(pairs.iter().map(|(outside, inside)| (*outside, *inside)).collect());
    native_of_map(written.native, made, path, check).filter(|_| good)
}

/// The native VLAN of a map is one of those inside.
fn native_of_map(native: Option<u16>, made: VlanPolicy, path: &str, check: &mut Check<'_>) -> Option<VlanPolicy> {
    if let Some(native) = native.filter(|native| !made.members.contains(*native)) {
        let what = format!("the native VLAN {native} is not one that `map` leads to");
        check.bad(&format!("{path}.native"), what, "name one of those on its right side");
        return None;
    }
    Some(VlanPolicy { native, ..made })
}

/// Adds a range to a set.
pub(super) fn add(range: VidRange, path: &str, set: &mut VidSet, check: &mut Check<'_>) -> bool {
    if range.first > range.last {
        check.bad(
            path,
            format!("the range {range} ends before it begins"),
            format!("write {}-{}", range.last, range.first),
        );
        return false;
    }
    let good = id(range.first, path, check) && (range.first == range.last || id(range.last, path, check));
    if good {
        for vid in range.first..=range.last {
            set.insert(vid);
        }
    }
    good
}

/// Whether there is a VLAN of that number.
pub(super) fn id(vid: u16, path: &str, check: &mut Check<'_>) -> bool {
    let good = (1..VidSet::RESERVED).contains(&vid);
    if !good {
        check.bad(path, format!("there is no VLAN {vid}"), REMEDY);
    }
    good
}

/// VLANs as in the file, without brackets.
#[must_use]
pub fn spell(policy: &VlanPolicy) -> String {
    let members = ranges(policy.members.iter());
    let mut text = match (policy.native, policy.map.as_slice()) {
        (Some(vid), []) if policy.members.iter().eq([vid]) && policy.protocol == TagProtocol::Dot1ad => {
            return format!("tunnel {vid}");
        }
        (Some(vid), []) if policy.members.iter().eq([vid]) => format!("access {vid}"),
        (native, []) => format!("trunk {members}{}", native.map(|vid| format!(" native {vid}")).unwrap_or_default()),
        (native, map) => {
            let pairs: Vec<_> = map.iter().map(|(outside, inside)| format!("{outside}:{inside}")).collect();
            format!("map {}{}", pairs.join(","), native.map(|vid| format!(" native {vid}")).unwrap_or_default())
        }
    };
    if policy.protocol == TagProtocol::Dot1ad {
        text += " 802.1ad";
    }
    text + &policy.pcp.map(|pcp| format!(" pcp {pcp}")).unwrap_or_default()
}

/// Numbers in a row become ranges.
fn ranges(vids: impl Iterator<Item = u16>) -> String {
    let mut ranges: Vec<VidRange> = Vec::new();
    for vid in vids {
        match ranges.last_mut() {
            Some(range) if range.last + 1 == vid => range.last = vid,
            _ => ranges.push(VidRange { first: vid, last: vid }),
        }
    }
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// In a domain with VLANs every port says in which it is: one that looks at no tags would reach none of the others. A
/// port where a mirror ends is in none.
pub(super) fn together(port: &PortPlan, plan: &Plan, check: &mut Check<'_>) {
    let ends = |name: &str| plan.mirrors.iter().any(|mirror| mirror.to == name);
    let mut others = plan.ports.iter().filter(|other| other.domain == port.domain && other.name != port.name);
    let with = others.find(|other| other.policy.vlan.is_some());
    let says = port.written.vlan.is_some();
    if let Some(other) = with.filter(|_| !says && !ends(&port.name)) {
        let what = format!(
            "port `{}` of this domain has VLANs, this one looks at no tags: neither would reach the other",
            other.name
        );
        check.bad_name(
            &format!("ports.{}", port.name),
            what,
            "add `vlan: { access: 1 }`, or `vlan: { trunk: [1, 10] }`",
        );
    }
}
