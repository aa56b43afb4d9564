//! The inner half's world: a network, mounts and a `/run` of its own, a directory, the binaries under test.

use crate::failure::{During, Failure, Result};
use crate::process::{ip, run};
use nix::sys::signal::SigSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Namespace of the sending station.
pub const A: &str = "plxb-a";
/// Namespace of the receiving station.
pub const B: &str = "plxb-b";
/// Where testpmd finds huge pages.
const HUGE: &str = "huge";

/// The paths of a run.
#[derive(Debug)]
pub struct World {
    /// Files of this run; removed by the outer half.
    pub directory: PathBuf,
    /// The switch.
    pub pollux: PathBuf,
    /// VPP, if it is named.
    pub vpp: Option<PathBuf>,
    /// hugetlbfs.
    pub huge: String,
}

impl World {
    /// Makes the namespaces we were started in usable.
    pub fn enter(directory: &Path, vpp: Option<&Path>) -> Result<Self> {
        SigSet::all().thread_unblock().during("unblocking signals")?;
        run(&["mount", "-t", "tmpfs", "tmpfs", "/run"])?;
        fs::create_dir_all("/run/netns").during("/run/netns")?;
        // `ip` mounts a bpf file system where it finds none; one of the machine's, hidden below our sysfs, would mislead it
        while run(&["umount", "-l", "/sys"]).is_ok() {}
        // a sysfs shows the interfaces of the namespace it was mounted in
        // what is mounted below the old one (a bpffs, on most machines) is not: `ip` would look for it and fail without a word
        let _not_mounted = run(&["umount", "--recursive", "--lazy", "/sys"]);
        run(&["mount", "-t", "sysfs", "sysfs", "/sys"])?;
        let huge = directory.join(HUGE).display().to_string();
        fs::create_dir_all(&huge).during(&huge)?;
        run(&["mount", "-t", "hugetlbfs", "hugetlbfs", &huge])?;
        if vpp.is_some() {
            // where it keeps segments of fixed names: those of a VPP of the machine are not to be touched
            run(&["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"])?;
        }
        ip("link set lo up")?;
        silence(None)?;
        Ok(Self { directory: directory.to_owned(), pollux: pollux_binary()?, vpp: vpp.map(Path::to_owned), huge })
    }

    /// Writes a file into our directory; its path.
    pub fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.directory.join(name);
        fs::write(&path, text).during(path.display())?;
        Ok(path.display().to_string())
    }
}

/// The binary named by POLLUX_BIN, or the one beside us.
pub fn pollux_binary() -> Result<PathBuf> {
    let beside = || Some(std::env::current_exe().ok()?.with_file_name("pollux"));
    let path = std::env::var_os("POLLUX_BIN").map(PathBuf::from).or_else(beside);
    let path = path.filter(|path| path.is_file());
    let path = path.and_then(|path| path.canonicalize().ok());
    path.ok_or_else(|| {
        let what = "the pollux binary is neither beside pollux-bench nor named by POLLUX_BIN";
        Failure(format!("{what}: `cargo build --release --workspace --bins`"))
    })
}

/// Makes a namespace that sends no frame by itself.
pub fn add_netns(name: &str) -> Result<()> {
    ip(&format!("netns add {name}"))?;
    ip(&format!("-n {name} link set lo up"))?;
    silence(Some(name))
}

/// No IPv6: its neighbour and router discovery would count as traffic.
fn silence(netns: Option<&str>) -> Result<()> {
    let set = ["sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"];
    match netns {
        Some(netns) => run(&crate::process::within(netns, &set)),
        None => run(&set),
    }
    .map(drop)
}
