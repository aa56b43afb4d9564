//! A vhost-user port, checked.

use super::port::mtu;
use super::{Check, Plan, PortPlan, Shape};
use crate::config::Port;
use crate::vhost::Offer;
use dataplane::pmd::vhost::MAX_PAIRS;
use std::path::Path;

/// Longest path that a unix socket can have (sun_path, unix(7)), without its final 0.
const LONGEST_SOCKET: usize = 107;

pub(super) fn offer(name: &str, port: &Port, plan: &Plan, check: &mut Check<'_>) -> Option<Offer> {
    let path = format!("ports.{name}");
    let Some(socket) = &port.socket else {
        check.bad_name(&path, "the port has no socket", format!("add `socket: /run/pollux/{name}.sock`"));
        return None;
    };
    if !socket.starts_with('/') || socket.len() > LONGEST_SOCKET {
        let what = format!("`{socket}` cannot be the path of a socket");
        let remedy = format!("write an absolute path of at most {LONGEST_SOCKET} bytes");
        check.bad(&format!("{path}.socket"), what, remedy);
    }
    let taken =
        |other: &&PortPlan| matches!(&other.shape, Shape::VhostUser(offer) if offer.socket == Path::new(socket));
    if let Some(other) = plan.ports.iter().find(taken) {
        let what = format!("port `{}` has the socket {socket} already", other.name);
        check.bad(&format!("{path}.socket"), what, "give every port its own");
    }
    let pairs = port.queues.unwrap_or(1);
    if !(1..=MAX_PAIRS).contains(&pairs) {
        let what = format!("{pairs} queue pairs are out of range");
        check.bad(&format!("{path}.queues"), what, format!("write 1 to {MAX_PAIRS}"));
    }
    let mtu = mtu(port, &path, plan, check);
    Some(Offer { socket: socket.into(), role: port.role.unwrap_or_default(), pairs: pairs.clamp(1, MAX_PAIRS), mtu })
}
