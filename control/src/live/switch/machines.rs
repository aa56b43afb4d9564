//! The virtual machines of a lab: processes of the switch, started when their ports are there, ended before those go.
//!
//! `setpriv --pdeathsig` has the kernel end them with the switch, whatever ends that.

use crate::config::Accel;
use crate::live::journal::DIRECTORY;
use crate::live::vhost::shown;
use crate::plan::{Driver, MachinePlan, Offer, Plan, PortPlan};
use crate::view::GuestView;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where the console of a machine is written to.
#[must_use]
pub fn console(switch: &str, machine: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{switch}.{machine}.log"))
}

/// A machine that runs. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Vm {
    name: String,
    console: PathBuf,
    child: Child,
    ended: bool,
}

impl Vm {
    /// Starts one machine of the plan, on its ports.
    pub(super) fn start(plan: &Plan, machine: &MachinePlan) -> io::Result<Self> {
        let console = console(&plan.name, &machine.name);
        for file in [Some(&machine.kernel), machine.initrd.as_ref()].into_iter().flatten() {
            // QEMU would say it, but only in the log
            std::fs::metadata(file).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", file.display())))?;
        }
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(arguments(machine, &plan.ports, &console))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        Ok(Self { name: machine.name.clone(), console, child, ended: false })
    }

    /// Says once that it has ended by itself.
    pub(super) fn look(&mut self) {
        if self.ended {
            return;
        }
        if let Ok(Some(status)) = self.child.try_wait() {
            self.ended = true;
            let console = self.console.display().to_string();
            tracing::warn!(machine = self.name, %status, console, "the machine has ended");
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole command line of QEMU.
fn arguments(machine: &MachinePlan, ports: &[PortPlan], console: &Path) -> Vec<String> {
    let memory = format!("{}M", machine.memory >> 20);
    let mut args: Vec<String> = ["-nodefaults", "-no-user-config", "-display", "none"].map(str::to_owned).into();
    let mut add = |key: &str, value: String| args.extend([key.to_owned(), value]);
    match machine.accel {
        // MSI-X on vhost-user devices needs KVM (QEMU 7.2)
        Accel::Tcg => {
            add("-accel", "tcg".to_owned());
            add("-cpu", "max".to_owned());
            add("-global", "virtio-net-pci.vectors=0".to_owned());
        }
        Accel::Kvm => {
            add("-accel", "kvm".to_owned());
            add("-cpu", "host".to_owned());
        }
    }
    add("-m", memory.clone());
    add("-smp", machine.cpus.to_string());
    add("-serial", format!("file:{}", console.display()));
    add("-kernel", machine.kernel.display().to_string());
    if let Some(initrd) = &machine.initrd {
        add("-initrd", initrd.display().to_string());
    }
    let mine = |port: &&PortPlan| offer(port).is_some_and(|offer| offer.node() == Some(&machine.name));
    let mine: Vec<(&str, &Offer)> =
        ports.iter().filter(mine).filter_map(|port| Some((port.name.as_str(), offer(port)?))).collect();
    add("-append", command_line(machine, &mine));
    args.extend(words(&GuestView::memory_args(&memory)));
    args.extend(mine.iter().flat_map(|(name, offer)| words(&shown::offered(offer).port_args(name))));
    args
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn offer(port: &PortPlan) -> Option<&Offer> {
    match &port.shape {
        Driver::VhostUser(offer) => Some(offer),
        _ => None,
    }
}

/// Console, addresses as in the kernel's nfsroot.rst, and what the file adds.
fn command_line(machine: &MachinePlan, ports: &[(&str, &Offer)]) -> String {
    let mut words = vec!["console=ttyS0".to_owned(), "panic=-1".to_owned()];
    for (i, (_, offer)) in ports.iter().enumerate() {
        let v4 = offer.nic.iter().flat_map(|station| &station.ip).find_map(|net| match net.addr {
            IpAddr::V4(addr) => Some((addr, net.prefix)),
            IpAddr::V6(_) => None,
        });
        if let Some((addr, prefix)) = v4 {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            words.push(format!("ip={addr}:::{}::eth{i}:off", std::net::Ipv4Addr::from_bits(mask)));
        }
    }
    words.push(machine.append.clone());
    words.join(" ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;
    use crate::net::IpNet;
    use crate::plan::Rights;
    use crate::plan::VmNic;

    #[test]
    fn a_machine_gets_its_memory_its_addresses_and_its_ports() {
        let machine = MachinePlan {
            name: "vm1".to_owned(),
            kernel: "/k".into(),
            initrd: None,
            append: "quiet".to_owned(),
            memory: 256 << 20,
            cpus: 2,
            accel: Accel::Tcg,
        };
        let net = IpNet { addr: [10, 0, 0, 3].into(), prefix: 24 };
        let station = VmNic { node: "vm1".to_owned(), mac: None, ip: vec![net] };
        let offer = Offer {
            socket: "/s".into(),
            role: Role::Server,
            rights: Rights::default(),
            pairs: 1,
            mtu: 1500,
            nic: Some(station),
        };
        let line = command_line(&machine, &[("p", &offer)]);
        assert_eq!(line, "console=ttyS0 panic=-1 ip=10.0.0.3:::255.255.255.0::eth0:off quiet");
        let args = arguments(&machine, &[], Path::new("/c")).join(" ");
        assert!(args.contains("size=256M,share=on") && args.contains("-smp 2") && args.contains("vectors=0"), "{args}");
    }
}
