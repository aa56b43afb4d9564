//! A scenario on the kernel: a bridge between veth pairs, or macvlan devices on one end of a pair.
//!
//! Everything is in the namespace of the calling thread, which stays on one core: there the kernel takes frames out of one
//! queue, in order. So a frame that was sent after another and has arrived shows that the other has gone as far; two
//! such rounds cover the two queues that a frame passes.

mod bridge;
mod macvlan;

use crate::common::wait_until;
use crate::common::world::silence;
use crate::frames;
use crate::rig::Rig;
use crate::script::{Kind, Port, Scenario, address, colons};
use crate::wire::{Sight, Wire};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

/// The source of frames that only show how far the kernel is.
const SENTINEL: [u8; 6] = [0x02, 0, 0, 0, 0x99, 0x99];

/// Runs `job` in a network namespace of its own, on one core.
pub fn alone<T: Send>(job: impl FnOnce() -> T + Send) -> T {
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        let me = Pid::from_raw(0);
        let allowed = sched_getaffinity(me).expect("the cores we may use");
        let mut one = CpuSet::new();
        let core = (0..CpuSet::count()).find(|core| allowed.is_set(*core).unwrap_or(false)).expect("a core");
        one.set(core).expect("a core number");
        sched_setaffinity(me, &one).expect("staying on one core");
        silence();
        job()
    };
    thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs lines of `ip` or `bridge`.
fn batch(tool: &str, lines: &[String]) {
    let mut child =
        Command::new(tool).args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect(tool);
    child.stdin.take().expect("its input").write_all((lines.join("\n") + "\n").as_bytes()).expect("lines");
    let done = child.wait_with_output().expect(tool);
    assert!(done.status.success(), "{tool}: {}\n{}", String::from_utf8_lossy(&done.stderr), lines.join("\n"));
}

/// Whether this kernel's bridges know VLANs (CONFIG_BRIDGE_VLAN_FILTERING).
pub fn knows_vlans() -> bool {
    alone(|| {
        let probe = ["ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1"];
        crate::common::world::output(&probe).status.success()
    })
}

/// A topology of the kernel.
#[derive(Debug)]
pub struct Kernel {
    ports: Vec<Port>,
    kind: Kind,
    wires: BTreeMap<String, Vec<Wire>>,
    probe: [Wire; 2],
    /// A second sight of the macvlan ports that hear broadcasts from outside.
    witnesses: BTreeMap<String, Wire>,
    down: BTreeSet<String>,
}

impl Kernel {
    /// Builds it in the namespace of the calling thread.
    pub fn build(scenario: &Scenario) -> Self {
        let mut links = vec!["link add probe0 type veth peer name probe1".to_owned()];
        links.extend(["probe0", "probe1"].map(|name| format!("link set dev {name} up")));
        links.extend(match scenario.kind {
            Kind::Bridge => bridge::links(scenario),
            Kind::Macvlan => macvlan::links(scenario),
        });
        batch("ip", &links);
        if scenario.kind == Kind::Bridge {
            batch("bridge", &bridge::settings(scenario));
            wait_until("the bridge's ports to forward", || bridge::forwards(scenario.ports.len()));
        }
        let probe = ["probe0", "probe1"].map(|name| Wire::open(name, Sight::All));
        let (ports, kind) = (scenario.ports.clone(), scenario.kind);
        let down = ports.iter().filter(|port| port.has("down")).map(|port| port.name.clone()).collect();
        let mut kernel = Self { ports, kind, wires: BTreeMap::new(), probe, witnesses: BTreeMap::new(), down };
        kernel.open_wires();
        kernel
    }

    fn open_wires(&mut self) {
        for port in &self.ports {
            self.wires.insert(port.name.clone(), vec![Wire::open(&port.name, Sight::All)]);
        }
        if self.kind == Kind::Bridge {
            return;
        }
        self.wires.insert("wire".to_owned(), vec![Wire::open("wire", Sight::All)]);
        let types = [u16::from_be_bytes(crate::common::ETHERTYPE), 0x8808];
        self.wires.insert("host".to_owned(), types.map(|it| Wire::open("host", Sight::Stack(it))).into());
        for port in self.ports.iter().filter(|port| !port.has("source")) {
            self.witnesses.insert(port.name.clone(), Wire::open(&port.name, Sight::All));
        }
    }

    /// Sends a frame past the topology and waits for it.
    fn round(&self) {
        self.probe[0].send(&frames::sentinel([0xff; 6], SENTINEL));
        wait_until("the sentinel", || self.probe[1].receive().is_some());
    }

    /// Broadcasts from outside go to the ports of a macvlan through a queue, by a work item of the kernel: one more goes
    /// the same way.
    fn queue_round(&self) {
        let Some((_, witness)) = self.witnesses.iter().find(|(name, _)| !self.down.contains(*name)) else { return };
        self.wires["wire"][0].send(&frames::sentinel([0xff; 6], SENTINEL));
        let is_it = |frame: Vec<u8>| frames::read(&frame).is_some_and(|(number, _)| number == u32::MAX);
        wait_until("the sentinel behind the broadcast queue", || witness.receive().is_some_and(is_it));
    }
}

impl Rig for Kernel {
    fn wires(&self) -> &BTreeMap<String, Vec<Wire>> {
        &self.wires
    }

    fn settle(&mut self) {
        self.round();
        self.queue_round();
        self.round();
    }

    fn change(&mut self, words: &[&str]) {
        match words {
            ["down", port] => {
                self.down.insert((*port).to_owned());
                batch("ip", &[format!("link set dev {port} down")]);
            }
            ["up", port] => {
                self.down.remove(*port);
                batch("ip", &[format!("link set dev {port} up")]);
            }
            ["mode", port, mode] => batch("ip", &[format!("link set dev {port} type macvlan mode {mode}")]),
            ["source", "flush", port] => batch("ip", &[format!("link set dev {port} type macvlan macaddr flush")]),
            ["source", change, port, mac] => {
                let mac = colons(address(mac, &self.ports));
                batch("ip", &[format!("link set dev {port} type macvlan macaddr {change} {mac}")]);
            }
            ["forgotten"] => wait_until("learned addresses to be forgotten", || bridge::knows(&self.ports) == 0),
            _ => bridge::change(words, &self.ports),
        }
    }
}
