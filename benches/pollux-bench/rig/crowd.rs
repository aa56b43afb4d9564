//! More than two stations: ports (pairs or TAPs) whose other ends are up in station B's namespace and say nothing,
//! addresses, and domains.

use super::{MAC_B, Ports};
use crate::failure::Result;
use crate::process::{ip, run};
use crate::world::{B, World};

/// The kernel's mark on all interfaces of a crowd, so that they come and go in one request.
const GROUP: u32 = 77;

/// How many more ports, and of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    /// Ports beside those of the stations.
    pub ports: usize,
    /// TAPs of Pollux, whatever the stations' ports are.
    pub taps: bool,
    /// Addresses the switch is to learn.
    pub addresses: u32,
    /// Domains beside that of the stations: without ports, but station B's address is known in each.
    pub domains: u32,
}

/// Our end of port `n`.
pub fn ours(n: usize) -> String {
    format!("c{n}")
}

/// The end in station B's namespace.
pub fn theirs(n: usize) -> String {
    format!("d{n}")
}

impl Crowd {
    /// Makes the pairs, with `and` for each of our ends ("link set NAME master br0").
    pub fn lay(self, world: &World, and: impl Fn(&str) -> Option<String>) -> Result<()> {
        const QUEUES: &str = "numtxqueues 1 numrxqueues 1";
        let pair = |n: usize| {
            let (ours, theirs) = (ours(n), theirs(n));
            let peer = format!("peer name {theirs} netns {B} {QUEUES} group {GROUP}");
            let more = and(&ours).map_or(String::new(), |words| words + "\n");
            format!("link add {ours} {QUEUES} group {GROUP} type veth {peer}\n{more}")
        };
        batch(world, None, &(0..self.ports).map(pair).collect::<String>())?;
        ip(&format!("link set group {GROUP} up")).map(drop)
    }

    /// The ports of Pollux's configuration.
    pub fn configuration(self, ports: Ports) -> String {
        let port = |n: usize| {
            let (ours, theirs) = (ours(n), theirs(n));
            match ports {
                Ports::Tap => format!("  {ours}: {{ kind: tap, netns: {B}, ifname: {theirs}, domain: lan }}\n"),
                _ if self.taps => format!("  {ours}: {{ kind: tap, netns: {B}, ifname: {theirs}, domain: lan }}\n"),
                Ports::Veth => format!("  {ours}: {{ kind: veth, netns: {B}, ifname: {theirs}, domain: lan }}\n"),
                Ports::AfXdp => format!("  {ours}: {{ kind: af_xdp, dev: {ours}, domain: lan }}\n"),
            }
        };
        (0..self.ports).map(port).collect()
    }

    /// The domains of Pollux's configuration. Station B's address is in each: one taken for the stations' would show, for
    /// to these domains it is an address to be dropped.
    pub fn domains(self) -> String {
        (1..=self.domains).map(|n| format!("  d{n}: {{ static: [{{ mac: \"{MAC_B}\", kind: filter }}] }}\n")).collect()
    }

    /// A bridge of the kernel for each domain; station B's address is its own in each.
    pub fn bridges(self, world: &World) -> Result<()> {
        let bridge = |n| format!("link add d{n} group {GROUP} type bridge stp_state 0 mcast_snooping 0\n");
        batch(world, None, &(1..=self.domains).map(bridge).collect::<String>())?;
        ip(&format!("link set group {GROUP} up"))?;
        let address = |n| format!("fdb replace {MAC_B} dev d{n} self permanent\n");
        let file = world.write("bridge.batch", &(1..=self.domains).map(address).collect::<String>())?;
        run(&["bridge", "-batch", &file]).map(drop)
    }

    /// Sets the far ends up.
    pub fn raise(self, world: &World) -> Result<()> {
        let up = |n: usize| format!("link set dev {} up\n", theirs(n));
        batch(world, Some(B), &(0..self.ports).map(up).collect::<String>())
    }

    /// Attaches an XDP program to each far end.
    pub fn attach(self, world: &World, object: &str) -> Result<()> {
        let attach = |n: usize| format!("link set dev {} xdpdrv obj {object} sec xdp\n", theirs(n));
        batch(world, Some(B), &(0..self.ports).map(attach).collect::<String>())
    }

    /// Removes what [`lay`](Self::lay) and [`bridges`](Self::bridges) made.
    pub fn remove() {
        let _not_made = ip(&format!("link del group {GROUP}"));
    }
}

fn batch(world: &World, netns: Option<&str>, lines: &str) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let file = world.write("ip.batch", lines)?;
    let at = netns.map_or(vec![], |netns| vec!["-n", netns]);
    run(&[&["ip"], &at[..], &["-batch", &file]].concat()).map(drop)
}
