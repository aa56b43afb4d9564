//! Nodes that are virtual machines, checked.

use super::{Check, names};
use crate::config::{Accel, Config, Node, NodeKind};
use std::path::{Path, PathBuf};

/// A virtual machine to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachinePlan {
    /// Its name.
    pub name: String,
    /// The kernel it boots, as an absolute path; so for all.
    pub kernel: PathBuf,
    /// Its initramfs.
    pub initrd: Option<PathBuf>,
    /// What is said to the kernel besides console and addresses.
    pub append: String,
    /// Memory, in bytes.
    pub memory: u64,
    /// Virtual processors.
    pub cpus: u16,
    /// By what it is run.
    pub accel: Accel,
}

/// Memory of a machine unless the file says otherwise.
const MEMORY: u64 = 256 << 20;
/// Less boots no kernel.
const LEAST: u64 = 64 << 20;
const MOST_CPUS: u16 = 64;

/// The machines among the nodes.
pub(super) fn machines(config: &Config, file: &str, check: &mut Check<'_>) -> Vec<MachinePlan> {
    // a pipe has no directory of its own
    let base = Path::new(file).parent().filter(|base| !base.starts_with("/dev")).unwrap_or(Path::new(""));
    let made = config.nodes.iter().map(|(name, node)| machine(name, node, base, check));
    made.collect::<Vec<_>>().into_iter().flatten().collect()
}

fn machine(name: &str, node: &Node, base: &Path, check: &mut Check<'_>) -> Option<MachinePlan> {
    let path = format!("nodes.{name}");
    if node.kind == NodeKind::Namespace {
        only_for_machines(&path, node, check);
        return None;
    }
    names::check_key(name, "nodes", names::SHORT, check);
    let Some(kernel) = &node.kernel else {
        check.bad_name(&path, "the machine has no kernel", "add `kernel: /boot/vmlinuz-…`");
        return None;
    };
    let memory = node.memory.map_or(MEMORY, |size| size.0);
    if memory < LEAST {
        check.bad(&format!("{path}.memory"), "too little to boot a kernel", "write `memory: 256M`");
    }
    let cpus = node.cpus.unwrap_or(1);
    if !(1..=MOST_CPUS).contains(&cpus) {
        let what = format!("{cpus} processors are out of range");
        check.bad(&format!("{path}.cpus"), what, format!("write 1 to {MOST_CPUS}"));
    }
    Some(MachinePlan {
        name: name.to_owned(),
        kernel: resolve(base, kernel),
        initrd: node.initrd.as_ref().map(|initrd| resolve(base, initrd)),
        append: node.append.clone().unwrap_or_default(),
        memory,
        cpus,
        accel: node.accel,
    })
}

/// A path counts from the file it is written in; the switch does not stay where it was started.
fn resolve(base: &Path, path: &str) -> PathBuf {
    let path = base.join(path);
    // fails only where there is no current directory
    std::path::absolute(&path).unwrap_or(path)
}

fn only_for_machines(path: &str, node: &Node, check: &mut Check<'_>) {
    let written = [
        ("kernel", node.kernel.is_some()),
        ("initrd", node.initrd.is_some()),
        ("append", node.append.is_some()),
        ("memory", node.memory.is_some()),
        ("cpus", node.cpus.is_some()),
    ];
    for (key, _) in written.iter().filter(|(_, there)| *there) {
        check.bad(&format!("{path}.{key}"), format!("a namespace has no `{key}`"), "add `kind: qemu`, or remove it");
    }
}
