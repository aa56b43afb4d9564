//! What the kernel lost of a port's frames outside the queues' own counters: in the XDP program, and at the interface behind
//! the port. Read when somebody asks, on a thread that may wait.

use crate::kernel::netns;
use crate::net::Netns;
use dataplane::pmd::af_xdp::DropCounters;
use dataplane::stats::{Loss, Losses};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where the kernel counts what a port loses.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// The interface in front of the port that was made for it, by index: a TAP, or the far end of a veth pair. What it
    /// has counted was ours from the start.
    pub interface: Option<(Netns, u32)>,
    /// What the port's XDP program drops.
    pub program: Option<Arc<DropCounters>>,
}

impl Outside {
    fn of_program(&self) -> Losses {
        let mut losses = Losses::default();
        // a program that cannot be asked has dropped nothing that could be told
        if let Some(Ok(drops)) = self.program.as_ref().map(|program| program.read()) {
            losses.add(Loss::XdpNoSocket, drops.map_miss);
            losses.add(Loss::XdpNoHeadroom, drops.meta);
        }
        losses
    }
}

/// The losses of each port, in the order they were asked for. Enters the namespaces of their interfaces one after the other.
#[must_use]
pub fn read(ports: &[&Outside]) -> Vec<Losses> {
    let mut wanted: BTreeMap<&Netns, Vec<(usize, u32)>> = BTreeMap::new();
    for (at, outside) in ports.iter().enumerate() {
        if let Some((place, index)) = &outside.interface {
            wanted.entry(place).or_default().push((at, *index));
        }
    }
    let mut losses: Vec<Losses> = ports.iter().map(|outside| outside.of_program()).collect();
    let found = netns::in_each(wanted.into_iter(), |wanted: Vec<_>| of_interfaces(&wanted));
    for (at, loss, n) in found {
        losses[at].add(loss, n);
    }
    losses
}

/// What these interfaces of the thread's namespace, each with the place of its port, have dropped.
fn of_interfaces(wanted: &[(usize, u32)]) -> Vec<(usize, Loss, u64)> {
    let Ok(table) = std::fs::read_to_string("/proc/thread-self/net/dev") else { return Vec::new() };
    let table = dropped(&table);
    let of = |(at, index): &(usize, u32)| {
        // by index, since it may have another name by now
        let name = nix::net::if_::if_indextoname(*index).ok()?.into_string().ok()?;
        // what it sends goes to us, what it receives comes from us
        let (received, sent) = *table.get(name.as_str())?;
        Some([(*at, Loss::PeerDropped, received), (*at, Loss::DeviceDropped, sent)])
    };
    wanted.iter().filter_map(of).flatten().collect()
}

/// Frames dropped while receiving and while sending, by interface, from `/proc/net/dev` (dev_seq_printf_stats in
/// net/core/net-procfs.c).
fn dropped(table: &str) -> BTreeMap<&str, (u64, u64)> {
    table.lines().filter_map(dropped_by).collect()
}

fn dropped_by(line: &str) -> Option<(&str, (u64, u64))> {
    let (name, counters) = line.split_once(':')?;
    let counters: Vec<u64> = counters.split_whitespace().map_while(|n| n.parse().ok()).collect();
    Some((name.trim(), (*counters.get(3)?, *counters.get(11)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_both_directions_are_read_from_the_table() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n  \
            eth0:  3600      60    0    7    0     0          0         0   360000    6000    0 5006    0     0       0          0\n";
        assert_eq!(dropped(table), BTreeMap::from([("lo", (0, 0)), ("eth0", (7, 5006))]));
    }

    #[test]
    fn an_interface_that_is_gone_has_lost_nothing() {
        let gone = Outside { interface: Some((Netns::Host, u32::MAX)), program: None };
        let elsewhere = Outside { interface: Some((Netns::Named("no-such-namespace".to_owned()), 1)), program: None };
        assert_eq!(read(&[&gone, &elsewhere, &Outside::default()]), [Losses::default(); 3]);
    }
}
