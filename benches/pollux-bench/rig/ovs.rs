//! Open vSwitch with its userspace datapath on AF_XDP, with a database and directory of its own.

use super::{MAC_B, SWITCH_CORE};
use crate::failure::{During, Failure, Result};
use crate::process::{Job, ip, run};
use crate::world::World;
use std::fs;
use std::path::Path;
use std::time::Duration;

const STARTING: Duration = Duration::from_secs(20);
/// Where Debian has it; the dpdk build speaks AF_XDP, the plain one does not.
const VSWITCHD: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Whether it is installed.
pub fn installed() -> bool {
    Path::new(VSWITCHD).is_file() && Path::new(SCHEMA).is_file() && crate::process::installed("ovs-vsctl")
}

/// Its two daemons.
#[derive(Debug)]
pub struct Ovs {
    switch: Job,
    _database: Job,
}

impl Ovs {
    /// Starts both and adds the stations' pairs to a bridge.
    pub fn start(world: &World) -> Result<Self> {
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
        let switch = Job::start(&world.directory, "ovs", &[VSWITCHD, &socket, &control, &pidfile])?;
        let mut ovs = Self { switch, _database: database };
        ovs.configure(&socket, &file("switch.ctl"))?;
        Ok(ovs)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.switch.pid()
    }

    fn configure(&mut self, socket: &str, control: &str) -> Result<()> {
        let mask = format!("other_config:pmd-cpu-mask={:#x}", 1 << SWITCH_CORE);
        vsctl(socket, &["--no-wait", "init", "--", "set", "Open_vSwitch", ".", &mask])?;
        vsctl(socket, &["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"])?;
        for port in ["v0", "w0"] {
            let afxdp = ["--", "set", "Interface", port, "type=afxdp", "options:n_rxq=1"];
            vsctl(socket, &[&["add-port", "br0", port][..], &afxdp].concat())?;
        }
        let error = vsctl(socket, &["--bare", "--columns=error", "list", "Interface"])?;
        if !error.trim().is_empty() {
            return Err(Failure(format!("ovs: {}", error.trim())));
        }
        run(&["ovs-appctl", "-t", control, "fdb/add", "br0", "w0", "0", MAC_B])?;
        self.switch.must_live()
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        // killed, it leaves these two
        for link in ["br0", "ovs-netdev"] {
            let _not_there = ip(&format!("link del {link}"));
        }
    }
}

fn vsctl(socket: &str, words: &[&str]) -> Result<String> {
    let db = format!("--db={socket}");
    run(&[&["ovs-vsctl", "--timeout=20", &db][..], words].concat())
}
