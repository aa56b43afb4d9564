//! Open vSwitch with its userspace datapath, on AF_XDP or vhost-user, with a database and directory of its own.

use super::crowd::{self, Crowd};
use super::{MAC_B, MAC_FLOWS};
use crate::failure::{During, Failure, Result};
use crate::process::{Job, ip, run};
use crate::world::World;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const STARTING: Duration = Duration::from_secs(20);
/// Where Debian has it; the dpdk build speaks AF_XDP, the plain one does not.
const VSWITCHD: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// MiB of huge pages, and a pool of mbufs per port, of the size it needs. The pool that ports share otherwise is made when
/// the first guest connects, of the largest of 256 k, 128 k, 64 k ... mbufs for which there is memory: while it tries,
/// there is none for the device of the second port, and OVS disconnects the guest or leaves the port without a ring.
const MEMORY: [&str; 3] =
    ["other_config:dpdk-socket-mem=256", "other_config:dpdk-socket-limit=256", "other_config:per-port-memory=true"];

/// Whether it is installed.
pub fn installed() -> bool {
    Path::new(VSWITCHD).is_file() && Path::new(SCHEMA).is_file() && crate::process::installed("ovs-vsctl")
}

/// What its two ports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wires {
    /// The ends of the stations' pairs and of a crowd's, by AF_XDP.
    Pairs(Crowd),
    /// vhost-user sockets `vm1` and `vm2` in its directory.
    Guests,
}

/// Its two daemons.
#[derive(Debug)]
pub struct Ovs {
    switch: Job,
    _database: Job,
    directory: PathBuf,
}

impl Ovs {
    /// Starts both and adds the ports to a bridge; a PMD thread on each of `cores`.
    pub fn start(world: &World, wires: Wires, cores: &[usize]) -> Result<Self> {
        let directory = world.directory.join("ovs");
        // of the round before
        let _not_there = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).during(directory.display())?;
        let file = |name: &str| directory.join(name).display().to_string();
        let (data, socket, pid) = (file("conf.db"), format!("unix:{}", file("db.sock")), file("vswitchd.pid"));
        run(&["ovsdb-tool", "create", &data, SCHEMA])?;
        let remote = format!("--remote=p{socket}");
        let control = format!("--unixctl={}", file("db.ctl"));
        let mut database = Job::start(&world.directory, "ovsdb", &["ovsdb-server", &data, &remote, &control])?;
        crate::process::wait_for(STARTING, || Ok(directory.join("db.sock").exists().then_some(())))?;
        database.must_live()?;
        let control = format!("--unixctl={}", file("switch.ctl"));
        let pidfile = format!("--pidfile={pid}");
        if wires == Wires::Guests {
            let memory = format!("other_config:dpdk-extra=--no-pci --in-memory --huge-dir {}", world.huge);
            let set = ["--no-wait", "init", "--", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true", &memory];
            vsctl(&socket, &[&set[..], &MEMORY].concat())?;
        }
        let rundir = format!("OVS_RUNDIR={}", directory.display());
        let switch = Job::start(&world.directory, "ovs", &["env", &rundir, VSWITCHD, &socket, &control, &pidfile])?;
        let mut ovs = Self { switch, _database: database, directory: directory.clone() };
        ovs.configure(&socket, wires, cores)?;
        if let Wires::Pairs(crowd) = wires {
            let size = format!("other_config:mac-table-size={}", (2 * crowd.addresses).max(2048));
            ovs.order(&["set", "bridge", "br0", &size])?;
            for mac in [MAC_B, MAC_FLOWS] {
                ovs.control(&["fdb/add", "br0", "w0", "0", mac])?;
            }
        }
        Ok(ovs)
    }

    /// Changes its configuration.
    pub fn order(&self, words: &[&str]) -> Result<()> {
        vsctl(&format!("unix:{}", self.directory.join("db.sock").display()), words).map(drop)
    }

    /// Tells the daemon something.
    pub fn control(&self, words: &[&str]) -> Result<()> {
        let socket = self.directory.join("switch.ctl").display().to_string();
        run(&[&["ovs-appctl", "-t", &socket], words].concat()).map(drop)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.switch.pid()
    }

    fn configure(&mut self, socket: &str, wires: Wires, cores: &[usize]) -> Result<()> {
        let mask = cores.iter().fold(0, |mask: u128, core| mask | 1 << core);
        let mask = format!("other_config:pmd-cpu-mask={mask:#x}");
        vsctl(socket, &["--no-wait", "init", "--", "set", "Open_vSwitch", ".", &mask])?;
        vsctl(socket, &["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"])?;
        let (ports, kind) = match wires {
            Wires::Pairs(crowd) => {
                let crowd = (0..crowd.ports).map(crowd::ours);
                let kind = format!("type=afxdp options:n_rxq={}", cores.len());
                (["v0", "w0"].map(str::to_owned).into_iter().chain(crowd).collect(), kind)
            }
            Wires::Guests => (vec!["vm1".to_owned(), "vm2".to_owned()], "type=dpdkvhostuser".to_owned()),
        };
        let add = |port: &String| format!("-- add-port br0 {port} -- set Interface {port} {kind}");
        let words = ports.iter().map(add).collect::<Vec<_>>().join(" ");
        vsctl(socket, &words.split(' ').collect::<Vec<_>>())?;
        let error = vsctl(socket, &["--bare", "--columns=error", "list", "Interface"])?;
        if !error.trim().is_empty() {
            return Err(Failure(format!("ovs: {}", error.trim())));
        }
        self.switch.must_live()
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        // killed, it leaves these two; alive, it would make them again
        self.switch.end();
        for link in ["br0", "ovs-netdev"] {
            let _not_there = ip(&format!("link del {link}"));
        }
    }
}

fn vsctl(socket: &str, words: &[&str]) -> Result<String> {
    let db = format!("--db={socket}");
    run(&[&["ovs-vsctl", "--timeout=20", &db][..], words].concat())
}
